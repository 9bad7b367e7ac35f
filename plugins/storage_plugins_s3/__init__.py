"""The ``s3`` backend: Amazon S3, and servers that speak its protocol (Ceph, MinIO, …)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import storage_plugins

from .settings import S3Settings, locate

if TYPE_CHECKING:
    from .files import S3Files

__all__ = ["S3Settings", "storage_plugins_backend"]


def _files(settings: Any) -> S3Files:
    from .files import S3Files  # here, not above: this module is imported where the SDK is missing too

    return S3Files(settings)


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="s3",
        settings=S3Settings,
        files=_files,
        requires=("s3fs",),
        install="storage-plugins[s3]",
        schemes=("s3",),
        locate=locate,
        summary="Amazon S3 and servers that speak its protocol",
    )
