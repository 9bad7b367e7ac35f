"""Connections to one database. Failures are raised as errors of storage-plugins."""

from __future__ import annotations

import contextlib
import os
import selectors
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import Connection, errors

from storage_plugins import AccessDenied, ConfigError, QuotaExceeded, StorageError, StoreUnavailable

if TYPE_CHECKING:
    from .settings import PostgresSettings

NO_TABLES = errors.UndefinedTable, errors.InvalidSchemaName  # nothing has been uploaded yet
_SHORTEST = 2  # seconds; libpq's shortest timeout
_NO_FILE = os.path.join(os.devnull, "none")  # noqa: PTH118  ~/.pgpass is not read
_inherited: list[object] = []  # never used, and never deleted: psycopg warns about connections that are not closed
_MEANING: dict[type[psycopg.Error], type[StorageError]] = {
    errors.InsufficientPrivilege: AccessDenied,
    errors.ReadOnlySqlTransaction: AccessDenied,
    errors.DiskFull: QuotaExceeded,
    errors.OperationalError: StoreUnavailable,  # also the parent of "server is shutting down", "deadlock" and others
    errors.InterfaceError: StoreUnavailable,
}
_REFUSALS = "authentication failed", "pg_hba.conf", "no password supplied", "permission denied", "is not permitted"


class Database:
    """The database in the settings.

    A connection is used by one call at a time, and by the process that made it. A child process that inherits
    connections must neither use nor close them, so they stay under the number of their process.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._idle: dict[int, list[Connection[Any]]] = {}
        weakref.finalize(self, _close, self._idle)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """Lend a connection for the block; each statement in it is a transaction, unless it begins one."""
        with self._talking():
            connection = self._take() or self._connect()
            try:
                yield connection
            except BaseException:
                connection.close()  # the server undoes what was not committed
                raise
            self._idle.setdefault(os.getpid(), []).append(connection)

    def _take(self) -> Connection[Any] | None:
        idle = self._idle.get(os.getpid(), [])
        while True:
            try:
                connection = idle.pop()  # atomic: no other thread gets it
            except IndexError:
                return None
            if not _is_closing(connection):
                return connection
            connection.close()

    def _connect(self) -> Connection[Any]:
        settings = self._settings
        try:
            return psycopg.connect(
                host=settings.host,
                port=settings.port,
                dbname=settings.database,
                user=settings.user,
                password=settings.password.get_secret_value() if settings.password else "",  # no PGPASSWORD
                passfile=_NO_FILE,
                require_auth="scram-sha-256,none",  # the password itself is never sent
                sslmode="require" if settings.is_encrypted else "prefer",
                connect_timeout=max(_SHORTEST, int(settings.timeout)),
                application_name="storage-plugins",
                autocommit=True,
                prepare_threshold=None,  # poolers such as pgbouncer do not support prepared statements
            )
        except psycopg.OperationalError as error:  # it has no code
            message = f"{settings.address} refused the role {settings.user!r}: {_text(error)}"
            if any(word in str(error) for word in _REFUSALS) or (error.pgconn and error.pgconn.needs_password):
                raise AccessDenied(message) from error
            if f'database "{settings.database}" does not exist' in str(error):
                raise ConfigError(message, hint="Check database: in storage.yaml.") from error
            raise

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Raise errors of storage-plugins for those of psycopg, except for `NO_TABLES`."""
        try:
            yield
        except NO_TABLES:
            raise
        except psycopg.Error as error:
            meaning = (ours for theirs, ours in _MEANING.items() if isinstance(error, theirs))
            raise next(meaning, StorageError)(f"{self._settings.address}: {_text(error)}") from error


def _close(idle: dict[int, list[Connection[Any]]]) -> None:
    for connection in idle.pop(os.getpid(), []):
        connection.close()
    _inherited.append(idle)


def _is_closing(connection: Connection[Any]) -> bool:
    """Whether the server has sent something unasked: it closed an idle connection, usually because it restarted."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        return bool(selector.select(0))


def _text(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
