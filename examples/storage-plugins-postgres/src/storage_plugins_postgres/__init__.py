"""The ``postgres`` backend: tables in a PostgreSQL database."""

from __future__ import annotations

import storage_plugins

from .settings import PostgresSettings, locate

__all__ = ["PostgresSettings", "storage_plugins_backend"]


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="postgres",
        settings=PostgresSettings,
        files="storage_plugins_postgres.files:PostgresFiles",  # imported when a store is opened
        requires=("psycopg",),
        install="storage-plugins-postgres",
        schemes=("postgres",),
        locate=locate,
        summary="tables in a PostgreSQL database",
        api=1,
    )
