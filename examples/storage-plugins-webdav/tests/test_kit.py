"""The test-kit, run on a real server."""

from pathlib import Path

import pytest
from conftest import WebDAVHost

from storage_plugins.testing import BackendTests


class TestWebDAV(BackendTests):
    """The reasons of skipped tests say what WebDAV does not support."""

    @pytest.fixture
    def host(self, server: tuple[str, Path]) -> WebDAVHost:
        return WebDAVHost(*server)
