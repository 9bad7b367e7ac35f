"""Fetch and upload files with the two functions through which BrainIO reads and writes."""

from __future__ import annotations

import os
from typing import Any

from ..errors import NotSupported
from ..protocol import Receipt
from ._buckets import store_for
from ._locations import bucket_and_file


def fetch_file(location_type: str, location: str, sha1: str | None = None, version_id: str | None = None) -> str:
    """Return the path of a verified, read-only local copy of a file, like BrainIO's ``fetch_file``.

    Args:
        location_type: ``"S3"``.
        location: for example ``https://bucket.s3.amazonaws.com/folder/assy_X.nc``.
        sha1, version_id: which version; the hash takes precedence. See ``Store.load``.

    Raises:
        NotSupported: it is another type of location.
        InvalidIdentifier: the location does not name a bucket and a file on S3.
        StorageError: as ``Store.fetch``.
    """
    if location_type != "S3":
        raise NotSupported(f"{location}: location type {location_type!r} is not supported, only 'S3'")
    bucket, key = bucket_and_file(location)
    return str(store_for(bucket).fetch(key, version_id=version_id, sha1=sha1))


def upload_to_s3(source_file_path: str | os.PathLike[str], bucket_name: str, target_s3_key: str) -> dict[str, Any]:
    """Upload a file as a new version, like BrainIO's ``upload_to_s3``. Its bytes are not changed.

    Args:
        source_file_path: the file.
        bucket_name: ``bucket`` or ``bucket/folder``.
        target_s3_key: its name in the bucket, or folders and name.

    Returns:
        the same as `properties`.

    Raises:
        StorageError: as ``Store.upload_file``.
    """
    place, _, key = f"{bucket_name.strip('/')}/{target_s3_key}".rpartition("/")
    return properties(store_for(place).upload_file(source_file_path, key))


def properties(receipt: Receipt) -> dict[str, Any]:
    """Return what BrainIO's callers expect of an upload: the fields that S3 returns, and the sha1.

    ``VersionId`` is ``"null"`` if the store has no versions. ``ETag`` is the sha256, not the ETag of S3.
    """
    return {
        "VersionId": receipt.version_id or "null",
        "ContentLength": receipt.size,
        "ETag": f'"{receipt.sha256}"',
        "LastModified": receipt.created,
        "sha1": receipt.sha1,
    }
