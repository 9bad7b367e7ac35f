"""Where Brain-Score's code says that its files are: buckets, locations on S3, and hashes."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..errors import InvalidIdentifier

PUBLIC_BUCKET = "brainscore-storage/brainscore-language"  # where brainscore_language stores its assemblies
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
# before the key: the bucket, or, as BrainIO writes it, "bucket/folder", and the server; or the server alone
_ON_S3 = re.compile(r"(?:(?P<bucket>.+?)\.)?s3[.-][^/]+/(?P<key>.+)")


def is_sha1(value: object) -> bool:
    """Return whether a value is a sha1 as text; a version id never is."""
    return isinstance(value, str) and _SHA1.fullmatch(value) is not None


def bucket_and_file(location: str) -> tuple[str, str]:
    """Return ``bucket`` or ``bucket/folder``, and the file's name, of a location on S3.

    Args:
        location: such as ``https://bucket.s3.amazonaws.com/folder/file.nc``, in any of the forms that S3 has had.

    Raises:
        InvalidIdentifier: it is not on S3, or does not name a bucket and a file.

    Example:
        >>> bucket_and_file("https://s3.amazonaws.com/bucket/folder/file.nc")
        ('bucket/folder', 'file.nc')
        >>> bucket_and_file("https://bucket/folder.s3.amazonaws.com/file.nc")
        ('bucket/folder', 'file.nc')
    """
    folder, _, name = _path(location).rpartition("/")
    if not folder or not name:
        raise InvalidIdentifier(
            f"{location!r} does not name a bucket and a file on S3",
            hint="Such as https://bucket.s3.amazonaws.com/folder/file.nc",
        )
    return folder, name


def _path(location: str) -> str:
    """Return the bucket, and what is after it, of a location on S3; empty: it is another."""
    try:
        parts = urlsplit(location)
    except ValueError:  # such as http://[
        return ""
    path = f"{parts.netloc}/{parts.path.strip('/')}"
    if parts.scheme == "s3":
        return path
    found = _ON_S3.fullmatch(path)
    return "/".join(filter(None, found.groups())) if found else ""
