"""The ``webdav`` backend: a folder on Nextcloud, or on any other WebDAV server."""

from __future__ import annotations

import storage_plugins

from .settings import WebDAVSettings, locate

__all__ = ["WebDAVSettings", "storage_plugins_backend"]


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="webdav",
        settings=WebDAVSettings,
        files="storage_plugins_webdav.files:WebDAVFiles",  # imported when a store is opened
        requires=("httpx",),
        install="storage-plugins-webdav",
        schemes=("webdav",),
        locate=locate,
        summary="a folder on Nextcloud, or another WebDAV server",
        api=1,
    )
