"""Whether anyone can read what is uploaded to a bucket."""

from __future__ import annotations

import contextlib

from storage_plugins import AccessDenied, AssemblyNotFound, StorageError, StoreUnavailable

from . import answers, records
from .bucket import Bucket
from .errors import Refusal

_PROBE = f"{records.FOLDER}public-check"
_WHAT = "an empty test file"


def is_public(bucket: Bucket, folder: str) -> bool | None:
    """Whether anyone can read whatever is in ``folder``; None where each file is published alone, or it is unknown.

    A bucket without a public policy needs one request. A policy may be public for tagged files only, and whoever
    uploads often may not read it; then an empty file is put there, and read without credentials.
    """
    if not bucket.signs() or _has_no_public_policy(bucket):
        return None
    probe = folder + _PROBE
    if _is_readable(bucket, probe):
        return True
    try:
        bucket.head(_WHAT, probe)
    except AssemblyNotFound:
        with contextlib.suppress(StorageError):
            bucket.ask(_WHAT, "PUT", probe)
            return _is_readable(bucket, probe) or None
    except (AccessDenied, StoreUnavailable):
        pass
    return None


def _has_no_public_policy(bucket: Bucket) -> bool:
    try:
        reply = bucket.ask("the bucket's policy", "GET", query={"policyStatus": ""})
        root = answers.document(reply, "PolicyStatus", bucket.address)
    except StorageError as error:
        return isinstance(error.__cause__, Refusal) and error.__cause__.code == "NoSuchBucketPolicy"
    return any(each.tag.endswith("IsPublic") and (each.text or "").lower() == "false" for each in root)


def _is_readable(bucket: Bucket, key: str) -> bool:
    try:
        bucket.head(_WHAT, key, anonymous=True)
    except (AccessDenied, AssemblyNotFound):
        return False
    return True
