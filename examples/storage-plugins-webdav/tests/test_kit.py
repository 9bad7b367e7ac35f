"""The backend keeps the promises that the kit tests, on a real server."""

from pathlib import Path

import pytest
from conftest import WebDAVHost

from storage_plugins.testing import BackendTests


class TestWebDAV(BackendTests):
    """Whatever is skipped says what WebDAV does not have."""

    @pytest.fixture
    def host(self, server: tuple[str, Path]) -> WebDAVHost:
        return WebDAVHost(*server)
