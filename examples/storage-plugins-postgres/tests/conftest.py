"""A PostgreSQL server for the tests, and folders in one of its databases."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from served import NAME, PASSWORD, USER, Server

from storage_plugins.testing import Host
from storage_plugins_postgres.files import CHUNK


class PostgresHost(Host):
    """A schema of the database, reached by its owner's SQL."""

    secrets = (PASSWORD,)
    part_size = CHUNK

    def __init__(self, server: Server) -> None:
        self.owner = server.owner
        self.server = "127.0.0.1", server.port
        self.folder = f"lab-{uuid.uuid4().hex}"
        place = {"host": "127.0.0.1", "port": server.port, "database": NAME, "folder": self.folder}
        self.settings = {"backend": "postgres", **place, "user": USER, "password": PASSWORD}

    def sql(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        names = {name: sql.Identifier(self.folder, name) for name in ("versions", "chunks")}
        with psycopg.connect(**self.owner) as connection:
            cursor = connection.execute(sql.SQL(query).format(**names), values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def ids(self, key: str) -> list[str]:
        return [row[0] for row in self.sql("SELECT id FROM {versions} WHERE key = %s ORDER BY number", key)]

    def get(self, key: str) -> list[bytes]:
        chunks = "SELECT data FROM {chunks} WHERE version = %s ORDER BY position"
        return [b"".join(row[0] for row in self.sql(chunks, version_id)) for version_id in self.ids(key)]

    def damage(self, key: str, number: int, data: bytes) -> None:
        self.sql("UPDATE {chunks} SET data = %s WHERE version = %s AND position = 0", data, self.ids(key)[number])

    def names(self) -> list[str]:
        rows = self.sql("SELECT version || '/' || position FROM {chunks} UNION SELECT id FROM {versions}")
        return [row[0] for row in rows]

    def unreachable(self) -> dict[str, object]:
        return {**self.settings, "port": 1}

    def silent(self, port: int) -> dict[str, object]:
        return {**self.settings, "port": port}

    def through(self, port: int) -> dict[str, object]:
        return {**self.settings, "port": port}

    def denied(self) -> dict[str, object]:
        return {**self.settings, "user": "reader", "password": None}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if Server.missing():
        pytest.skip(f"PostgreSQL is not installed: {Server.missing()}")
    with Server.running() as server:
        yield server


@pytest.fixture
def host(server: Server) -> PostgresHost:
    return PostgresHost(server)
