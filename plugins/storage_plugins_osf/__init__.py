"""The ``osf`` backend: the files of a project on the Open Science Framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import storage_plugins

from .settings import OsfSettings, locate

if TYPE_CHECKING:
    from .files import OsfFiles

__all__ = ["OsfSettings", "storage_plugins_backend"]


def _files(settings: Any) -> OsfFiles:
    from .files import OsfFiles  # here, not above: this module is imported where the SDK is missing too

    return OsfFiles(settings)


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="osf",
        settings=OsfSettings,
        files=_files,
        requires=("osfclient", "requests"),
        install="storage-plugins[osf]",
        schemes=("osf",),
        locate=locate,
        summary="a project on the Open Science Framework",
    )
