"""The ``fsspec`` backend: any filesystem that fsspec knows, a lab's own SFTP server first of all."""

from __future__ import annotations

import storage_plugins

from .settings import FsspecSettings, locate

__all__ = ["FsspecSettings", "storage_plugins_backend"]


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="fsspec",
        settings=FsspecSettings,
        files="storage_plugins_fsspec.files:FsspecFiles",  # imported when a store is opened
        requires=("fsspec",),
        install="storage-plugins[fsspec]",
        schemes=("fsspec",),
        locate=locate,
        summary="an SFTP server, or any other filesystem that fsspec knows",
    )
