"""The ``s3`` backend: Amazon S3, and servers with the same protocol (Ceph, MinIO, …)."""

from __future__ import annotations

import storage_plugins

from .settings import S3Settings, locate

__all__ = ["S3Settings", "storage_plugins_backend"]


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="s3",
        settings=S3Settings,
        files="storage_plugins_s3.files:S3Files",  # imported when a store is opened
        requires=("botocore",),
        install="storage-plugins[s3]",
        schemes=("s3",),
        locate=locate,
        summary="Amazon S3, and servers with the same protocol",
    )
