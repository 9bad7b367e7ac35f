"""The ``webdav`` backend: a folder on Nextcloud, or on any other WebDAV server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import storage_plugins

from .settings import WebDAVSettings, locate

if TYPE_CHECKING:
    from .files import WebDAVFiles

__all__ = ["WebDAVSettings", "storage_plugins_backend"]


def _files(settings: Any) -> WebDAVFiles:
    from .files import WebDAVFiles  # imported here, so that listing backends does not import httpx

    return WebDAVFiles(settings)


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="webdav",
        settings=WebDAVSettings,
        files=_files,
        requires=("httpx",),
        install="storage-plugins-webdav",
        schemes=("webdav",),
        locate=locate,
        summary="a folder on Nextcloud, or another WebDAV server",
    )
