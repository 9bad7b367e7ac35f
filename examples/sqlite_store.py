"""All assemblies in one SQLite database: a backend without files that has only ``upload`` and ``load``.

A package registers it with the entry point ``sqlite = "sqlite_store"``. Then write in storage.yaml::

    stores:
      lab: {backend: sqlite, database: ./assemblies.db}

It stores the file that a ``local`` store in a temporary folder makes, so that assemblies come back exactly. (Zarr
would be easier to inspect, but then the author would have to find everything that xarray changes in a round trip.)
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import xarray as xr
from pydantic import Field

import storage_plugins
from storage_plugins import AssemblyNotFound, IntegrityError, NotSupported, Receipt, StorageError, StoreUnavailable

TABLE = """CREATE TABLE IF NOT EXISTS versions (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, identifier TEXT,
    sha1 TEXT, sha256 TEXT, content_digest TEXT, created TEXT, file BLOB)"""
INSERT = "INSERT INTO versions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
NEWEST = (
    "SELECT *, 'v' || number AS version_id, length(file) AS size FROM versions WHERE {} ORDER BY number DESC LIMIT 1"
)
FIELDS = ("identifier", "key", "version_id", "sha1", "sha256", "size", "content_digest")
ERRORS: dict[int, type[StorageError]] = {
    sqlite3.SQLITE_BUSY: StoreUnavailable,
    sqlite3.SQLITE_CANTOPEN: StoreUnavailable,
    sqlite3.SQLITE_CORRUPT: IntegrityError,
    sqlite3.SQLITE_NOTADB: IntegrityError,
    sqlite3.SQLITE_FULL: storage_plugins.QuotaExceeded,
    sqlite3.SQLITE_TOOBIG: storage_plugins.QuotaExceeded,
    sqlite3.SQLITE_READONLY: storage_plugins.AccessDenied,
}
PATIENCE = 60.0  # seconds to wait for other uploads


class SQLiteSettings(storage_plugins.StoreSettings):
    """Settings of a ``sqlite`` store."""

    database: storage_plugins.ConfigFolder = Field(description="the database file, created at first use")


class SQLiteStore:
    """An `AssemblyStore`. Each call opens its own connection, so threads, forks and pickles need no special care."""

    def __init__(self, settings: SQLiteSettings) -> None:
        self.settings = settings

    def upload(
        self,
        assembly: Any,
        identifier: str,
        *,
        extras: Mapping[str, xr.DataArray] | None = None,
        assembly_prefix: str | None = None,
        drop_attrs: Sequence[str] = (),
        replace: bool | None = None,
    ) -> Receipt:
        """Store an assembly as a new version, in one transaction, unless the newest version has the same content."""
        if extras:
            raise NotSupported(f"{self.settings.database} does not support extras")
        with self._scratch() as (scratch, _), self._database() as database:
            made = scratch.upload(assembly, identifier, assembly_prefix=assembly_prefix, drop_attrs=drop_attrs)
            database.execute("BEGIN IMMEDIATE")
            row = _newest(database, key=made.key, identifier=identifier)
            if row is None or (row["content_digest"] or row["sha256"]) != (made.content_digest or made.sha256):
                record = made.sha1, made.sha256, made.content_digest, made.created.isoformat()
                database.execute(INSERT, (made.key, identifier, *record, scratch.load_file(made).read_bytes()))
                row = _newest(database, key=made.key, identifier=identifier)
            database.execute("COMMIT")
        fields = {field: row[field] for field in FIELDS}
        created, uri = datetime.fromisoformat(row["created"]), f"sqlite:{self.settings.database}#sha256={row['sha256']}"
        return Receipt(**fields, created=created, uri=uri, store="", address="")

    def load(
        self,
        identifier: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        cls: type | None = None,
        chunks: Any = None,
        assembly_prefix: str | None = None,
        newest: bool = False,
    ) -> xr.DataArray:
        """Return a verified assembly. With a hash, the version ID is ignored."""
        if chunks is not None:
            raise NotSupported(f"{self.settings.database} loads only whole assemblies", hint="Load it without chunks=.")
        prefix = self.settings.assembly_prefix if assembly_prefix is None else assembly_prefix
        if isinstance(identifier, Receipt):
            wanted = {"key": identifier.key, "sha256": identifier.sha256}
        else:
            wanted = {"key": f"{prefix}{identifier.replace('.', '_')}.nc", "identifier": identifier}
            wanted |= {"sha1": sha1.lower()} if sha1 else {}
            wanted |= {"sha256": sha256.lower()} if sha256 else {}
            wanted |= {"version_id": version_id} if version_id and not sha1 and not sha256 else {}
        with self._scratch() as (scratch, folder), self._database() as database:
            row = _newest(database, **wanted)
            if row is None:
                raise AssemblyNotFound(f"{self.settings.database} holds no assembly with {wanted}")
            (folder / "assy_found.nc").write_bytes(row["file"])
            return scratch.load("found", sha1=row["sha1"], sha256=row["sha256"], cls=cls, assembly_prefix="assy_")

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[tuple[storage_plugins.Store, Path]]:
        """Give an empty local store and its folder. It encodes, decodes and verifies."""
        with tempfile.TemporaryDirectory() as folder:
            local = {
                "backend": "local",
                "root": folder,
                **self.settings.model_dump(include={"assembly_prefix", "compression"}),
            }
            yield storage_plugins.open_store(config={"receipts": False, "stores": {"scratch": local}}), Path(folder)

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Give a connection. Changes that are not committed are discarded."""
        path = self.settings.database
        try:
            with contextlib.closing(sqlite3.connect(path, PATIENCE, isolation_level=None)) as database:
                database.row_factory = sqlite3.Row
                database.execute(TABLE)
                yield database
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the other bits are details
            raise ERRORS.get(code, StorageError)(f"The database {path} cannot be used: {error}") from error


def _newest(database: sqlite3.Connection, **wanted: str) -> Any:
    where = " AND ".join(f"{column} = ?" for column in wanted)
    return database.execute(NEWEST.format(where), tuple(wanted.values())).fetchone()


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="sqlite", settings=SQLiteSettings, store=SQLiteStore, summary="assemblies in one SQLite database"
    )
