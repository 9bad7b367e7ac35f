"""The ``fsspec`` backend: any filesystem that fsspec knows, a lab's own SFTP server first of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import storage_plugins

from .settings import FsspecSettings, locate

if TYPE_CHECKING:
    from .files import FsspecFiles

__all__ = ["FsspecSettings", "storage_plugins_backend"]


def _files(settings: Any) -> FsspecFiles:
    from .files import FsspecFiles  # here, not above: this module is imported where the SDK is missing too

    return FsspecFiles(settings)


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="fsspec",
        settings=FsspecSettings,
        files=_files,
        requires=("fsspec",),
        install="storage-plugins[fsspec]",
        schemes=("fsspec",),
        locate=locate,
        summary="an SFTP server, or any other filesystem that fsspec knows",
    )
