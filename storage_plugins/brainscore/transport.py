"""The two functions through which BrainIO reads and writes: `fetch_file` and `upload_to_s3`."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from ..errors import InvalidIdentifier, NotSupported
from ..protocol import Receipt
from .places import store_for


def fetch_file(location_type: str, location: str, sha1: str | None = None, version_id: str | None = None) -> str:
    """Return the path of a verified local copy of a file, for reading only; as BrainIO's function of that name.

    Args:
        location_type: ``"S3"``.
        location: such as ``https://bucket.s3.amazonaws.com/folder/assy_X.nc``.
        sha1, version_id: which version; see ``Store.load``. The hash decides.

    Raises:
        NotSupported: another type of location.
        InvalidIdentifier: a location that names no bucket and file.
        and what ``Store.fetch`` raises.
    """
    if location_type != "S3":
        raise NotSupported(f"{location}: a location of type {location_type!r} is not known, only 'S3'")
    place, key = _taken_apart(location)
    return str(store_for(place).fetch(key, version_id=version_id, sha1=sha1))


def upload_to_s3(source_file_path: str | os.PathLike[str], bucket_name: str, target_s3_key: str) -> dict[str, Any]:
    """Keep a file as a new version, byte for byte; as BrainIO's function of that name.

    Args:
        source_file_path: the file.
        bucket_name: ``bucket`` or ``bucket/folder``.
        target_s3_key: its name there; may begin with folders too.

    Returns:
        as `properties`.

    Raises:
        what ``Store.upload_file`` raises.
    """
    place, _, key = f"{bucket_name.strip('/')}/{target_s3_key}".rpartition("/")
    return properties(store_for(place).upload_file(source_file_path, key))


def properties(receipt: Receipt) -> dict[str, Any]:
    """Return what callers of BrainIO's functions index: what S3 tells of an object, and its sha1.

    ``VersionId`` is ``"null"`` on a host without versions. ``ETag`` names the bytes, by their sha256: it is not the one
    that S3 gives them.
    """
    return {
        "VersionId": receipt.version_id or "null",
        "ContentLength": receipt.size,
        "ETag": f'"{receipt.sha256}"',
        "LastModified": receipt.created,
        "sha1": receipt.sha1,
    }


def _taken_apart(location: str) -> tuple[str, str]:
    """Return the place and the file's name of an address on S3, in any of the forms that S3 has had."""
    parts = urlsplit(location)
    host, path = parts.hostname or "", parts.path.strip("/")
    if parts.scheme == "s3":
        path = f"{parts.netloc}/{path}"
    elif not host.startswith(("s3.", "s3-")):  # else the bucket is the path's first part
        bucket = host.split(".s3.")[0].split(".s3-")[0]
        path = f"{bucket}/{path}"
    place, _, key = path.rpartition("/")
    if not place or not key:
        raise InvalidIdentifier(
            f"{location!r} names no bucket and file", hint="Such as https://bucket.s3.amazonaws.com/folder/file.nc"
        )
    return place, key
