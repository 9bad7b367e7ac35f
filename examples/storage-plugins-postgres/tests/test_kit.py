"""The test-kit, run on a real server."""

import pytest
from conftest import PostgresHost
from served import Server

from storage_plugins.testing import BackendTests


class TestPostgres(BackendTests):
    """The reasons of skipped tests say what PostgreSQL does not support."""

    @pytest.fixture
    def host(self, server: Server) -> PostgresHost:
        return PostgresHost(server)
