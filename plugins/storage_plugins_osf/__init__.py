"""The ``osf`` backend: the files of a project on the Open Science Framework."""

from __future__ import annotations

import storage_plugins

from .settings import OsfSettings, locate

__all__ = ["OsfSettings", "storage_plugins_backend"]


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="osf",
        settings=OsfSettings,
        files="storage_plugins_osf.files:OsfFiles",  # imported when a store is opened
        requires=("osfclient", "requests"),
        install="storage-plugins[osf]",
        schemes=("osf",),
        locate=locate,
        summary="a project on the Open Science Framework",
    )
