"""All assemblies in one SQLite database: a backend without files, with only ``upload`` and ``load``.

A package registers it with ``sqlite = "sqlite_store"`` among its entry points; storage.yaml then has::

    stores:
      lab: {backend: sqlite, database: ./assemblies.db}

``storage_plugins.codec`` makes a netCDF file of each assembly, so that assemblies come back exactly. (Zarr would be
nicer to look into, but its author would have to find everything that xarray changes in a round trip.)
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xarray as xr
from pydantic import Field

import storage_plugins
from storage_plugins import (
    AssemblyNotFound,
    IntegrityError,
    NotSupported,
    Receipt,
    StorageError,
    StoreUnavailable,
    codec,
)

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
PATIENCE = 60.0  # seconds that other uploads may take


class SQLiteSettings(storage_plugins.StoreSettings):
    """Settings of a ``sqlite`` store."""

    database: storage_plugins.ConfigFolder = Field(description="the database's file, made at its first use")


class SQLiteStore:
    """An `AssemblyStore`. Each call has a connection of its own, so that it works in threads, forks and pickles."""

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
        """Store an assembly as a new version, in one transaction, unless the newest has the same content."""
        if extras:
            raise NotSupported(f"{self.settings.database} does not store extras")
        key = self._key(identifier, assembly_prefix)
        with tempfile.TemporaryDirectory() as folder, self._database() as database:
            digest = None
            if isinstance(assembly, str | os.PathLike):  # a netCDF file: its bytes are stored as they are
                path = Path(assembly)
                codec.check(path)
            else:
                path = Path(folder, "assembly.nc")
                digest = codec.encode(
                    assembly,
                    path,
                    identifier=identifier,
                    drop_attrs=drop_attrs,
                    compression=self.settings.compression,
                )
            file = path.read_bytes()
            sha1, sha256 = hashlib.sha1(file).hexdigest(), hashlib.sha256(file).hexdigest()
            database.execute("BEGIN IMMEDIATE")
            row = _newest(database, key=key, identifier=identifier)
            if row is None or (row["content_digest"] or row["sha256"]) != (digest or sha256):
                now = datetime.now(UTC).isoformat()
                database.execute(INSERT, (key, identifier, sha1, sha256, digest, now, file))
                row = _newest(database, key=key, identifier=identifier)
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
        """Return an assembly, verified. A hash is the identity, whatever version id comes with it."""
        if chunks is not None:
            raise NotSupported(f"{self.settings.database} returns whole assemblies", hint="Load it without chunks=.")
        if isinstance(identifier, Receipt):
            wanted = {"key": identifier.key, "sha256": identifier.sha256}
        else:
            wanted = {"key": self._key(identifier, assembly_prefix), "identifier": identifier}
            wanted |= {"sha1": sha1.lower()} if sha1 else {}
            wanted |= {"sha256": sha256.lower()} if sha256 else {}
            wanted |= {"version_id": version_id} if version_id and not sha1 and not sha256 else {}
        with self._database() as database:
            row = _newest(database, **wanted)
        if row is None:
            raise AssemblyNotFound(f"{self.settings.database} has no assembly with {wanted}")
        if hashlib.sha256(row["file"]).hexdigest() != row["sha256"]:
            raise IntegrityError(f"The file of {row['key']} in {self.settings.database} was changed or damaged")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, row["key"])
            path.write_bytes(row["file"])
            return codec.decode(path, cls=cls)

    def _key(self, identifier: str, prefix: str | None) -> str:
        prefix = self.settings.assembly_prefix if prefix is None else prefix
        return f"{prefix}{identifier.replace('.', '_')}.nc"

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open a connection. What is not committed when it ends was never stored."""
        path = self.settings.database
        try:
            with contextlib.closing(sqlite3.connect(path, PATIENCE, isolation_level=None)) as database:
                database.row_factory = sqlite3.Row
                database.execute(TABLE)
                yield database
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest has details
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
