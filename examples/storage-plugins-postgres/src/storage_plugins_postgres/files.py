"""Each version is a row, and its bytes are rows of one chunk each. An upload is one transaction.

::

    versions(id, key, number, size, created, metadata)    chunks(version, position, data)

The row of a version is written last, with the next free number of its key. Two uploads that want the same number wait
for each other there, and nowhere else: the second one gets a higher number, or `AlreadyExists` if it wanted to be the
first. Numbers only order the versions. A version's ID is random, so that it is not used again, and it is looked up
together with the key.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple

from psycopg import Connection, sql
from psycopg.types.json import Jsonb

from storage_plugins import AlreadyExists, AssemblyNotFound, Content, FileOperations, IntegrityError, Source, Version

from .database import NO_TABLES, Database

if TYPE_CHECKING:
    from .settings import PostgresSettings

CHUNK = 1 << 20  # bytes
_ONE = """
    SELECT {columns} FROM {versions} WHERE key = %s AND id = coalesce(%s, id) ORDER BY number DESC LIMIT 1
"""
_NEWEST_OF_ALL = """
    SELECT DISTINCT ON (key) key, {columns} FROM {versions} WHERE key LIKE %s ORDER BY key, number DESC
"""
_CHUNK = """
    SELECT octet_length(data), substring(data FROM %s FOR %s) FROM {chunks} WHERE version = %s AND position = %s
"""
_INSERT = """
    INSERT INTO {versions} (id, key, number, size, metadata)
    SELECT %s, %s, coalesce(max(number), 0) + 1, %s, %s FROM {versions} WHERE key = %s
    HAVING count(*) = 0 OR NOT %s
    ON CONFLICT (key, number) DO NOTHING RETURNING id
"""
_LOCK = 0x5704A6E  # of simultaneous first uploads, which create the tables
_TABLES = """
    SELECT pg_advisory_xact_lock({lock});
    CREATE SCHEMA IF NOT EXISTS {folder};
    CREATE TABLE IF NOT EXISTS {versions} (
        id text PRIMARY KEY,
        key text COLLATE "C" NOT NULL,
        number bigint NOT NULL,
        size bigint NOT NULL,
        created timestamptz NOT NULL DEFAULT clock_timestamp(),
        metadata jsonb NOT NULL,
        UNIQUE (key, number)
    );
    CREATE TABLE IF NOT EXISTS {chunks} (
        version text NOT NULL REFERENCES {versions} ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
        position integer NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (version, position)
    );
    ALTER TABLE {chunks} ALTER COLUMN data SET STORAGE EXTERNAL;  -- not compressed, so that parts are read quickly
"""


class _Row(NamedTuple):
    id: str
    size: int
    created: Any
    metadata: Mapping[str, str]

    def version(self) -> Version:
        return Version.described(self.metadata, version_id=self.id, size=self.size, created=self.created)


class PostgresFiles(FileOperations):
    """The files in one schema of a database."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._database = Database(settings)
        self._words: dict[str, sql.Composable] = {
            "versions": sql.Identifier(settings.folder, "versions"),
            "chunks": sql.Identifier(settings.folder, "chunks"),
            "columns": sql.SQL("id, size, created, metadata"),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._settings,)

    @property
    def address(self) -> str:
        """The schema's address."""
        return self._settings.address

    def keeps_versions(self) -> bool:
        """Return True: rows are only added."""
        return True

    def creates_safely(self) -> bool:
        """Return True: the numbers of a key are unique in the database."""
        return True

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str:
        """Write the chunks and then the version, in one transaction."""
        try:
            return self._put(key, source, metadata, if_absent)
        except NO_TABLES:  # raised before a byte is sent
            self._create()
            return self._put(key, source, metadata, if_absent)

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Read a version, by its key and its ID."""
        rows = [_Row(*row) for row in self._query(_ONE, key, version_id)]
        if not rows:
            raise AssemblyNotFound(f"There is no {key} {version_id or ''} in {self.address}")
        size = rows[0].size
        return Content(rows[0].version(), self._blocks(rows[0], start, size if stop is None else min(stop, size)))

    def versions(self, key: str) -> Iterable[Version]:
        """Return all versions of ``key``, newest first."""
        select = "SELECT {columns} FROM {versions} WHERE key = %s ORDER BY number DESC"
        return [_Row(*row).version() for row in self._query(select, key)]

    def newest(self, key: str) -> Version | None:
        """Return the newest version, read by the index of the numbers."""
        select = "SELECT {columns} FROM {versions} WHERE key = %s ORDER BY number DESC LIMIT 1"
        return next((_Row(*row).version() for row in self._query(select, key)), None)

    def newest_of_all(self, prefix: str = "") -> Iterable[tuple[str, Version]]:
        """Return every key that begins with ``prefix``, and its newest version, by one query."""
        return [(key, _Row(*row).version()) for key, *row in self._query(_NEWEST_OF_ALL, _pattern(prefix))]

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return every key that begins with ``prefix``."""
        select = "SELECT DISTINCT key FROM {versions} WHERE key LIKE %s"
        return [key for (key,) in self._query(select, _pattern(prefix))]

    def differing_in_case(self, key: str) -> Iterable[str]:
        """Return the keys that differ from ``key`` only in upper and lower case."""
        select = "SELECT DISTINCT key FROM {versions} WHERE lower(key) = lower(%s) AND key <> %s"
        return [other for (other,) in self._query(select, key, key)]

    def discard(self, key: str) -> None:
        """Delete all versions of a key, and with them their chunks."""
        self._query("DELETE FROM {versions} WHERE key = %s RETURNING id", key)

    def remove(self, key: str, version_id: str | None) -> None:
        """Delete one version, and with it its chunks."""
        if not self._query("DELETE FROM {versions} WHERE key = %s AND id = %s RETURNING id", key, version_id):
            raise AssemblyNotFound(f"There is no {key} {version_id or ''} in {self.address}")

    def _put(self, key: str, source: Source, metadata: Mapping[str, str], if_absent: bool) -> str:
        taken = AlreadyExists(f"{key} already exists in {self.address}")
        version_id = secrets.token_hex(8)
        with self._database.connection() as connection, connection.transaction():
            connection.execute("SET LOCAL synchronous_commit TO on")  # whatever the default of the database is
            if if_absent and self._run(connection, "SELECT 1 FROM {versions} WHERE key = %s LIMIT 1", key):
                raise taken
            self._send(connection, version_id, source)
            values = version_id, key, source.size, Jsonb(dict(metadata)), key, if_absent
            while not self._run(connection, _INSERT, *values):  # another upload got this number
                if if_absent:
                    raise taken
        return version_id

    def _send(self, connection: Connection[Any], version_id: str, source: Source) -> None:
        copy_to = sql.SQL("COPY {chunks} (version, position, data) FROM STDIN (FORMAT BINARY)").format(**self._words)
        with connection.cursor() as cursor, cursor.copy(copy_to) as copy:
            copy.set_types(["text", "int4", "bytea"])
            for position, block in enumerate(source.blocks(CHUNK)):
                copy.write_row((version_id, position, block))

    def _blocks(self, row: _Row, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes chunk by chunk, and use a connection only while a chunk is read."""
        while start < stop:
            position, offset = divmod(start, CHUNK)
            count = min(CHUNK - offset, stop - start)
            found = self._query(_CHUNK, offset + 1, count, row.id, position)
            if not found or found[0][0] != min(CHUNK, row.size - position * CHUNK):
                raise IntegrityError(f"Version {row.id} in {self.address} is damaged: chunk {position} is not whole")
            yield found[0][1]
            start += count

    def _query(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement, and return its rows: none if nothing has ever been uploaded."""
        try:
            with self._database.connection() as connection:
                return self._run(connection, query, *values)
        except NO_TABLES:
            return []

    def _run(self, connection: Connection[Any], query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        statement = sql.SQL(query).format(**self._words)
        rows: list[tuple[Any, ...]] = connection.execute(statement, values, binary=True).fetchall()
        return rows

    def _create(self) -> None:
        words = {"lock": sql.Literal(_LOCK), "folder": sql.Identifier(self._settings.folder), **self._words}
        with self._database.connection() as connection, connection.transaction():
            connection.execute(sql.SQL(_TABLES).format(**words))


def _pattern(prefix: str) -> str:
    """Return the pattern of LIKE for names that begin with ``prefix``, in which ``_`` and ``%`` mean themselves."""
    for special in ("\\", "%", "_"):
        prefix = prefix.replace(special, f"\\{special}")
    return f"{prefix}%"
