"""Opening versions to everybody, proved by reading them as everybody; and links that open one for a time.

Some hosts open whole places only, such as OSF's projects: `FileOperations.place_is_public` is not None there.
"""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta

from .._backend import answers
from .._backend.operations import FileOperations
from .._backend.transfer import Hashes, download, retrying
from ..errors import AccessDenied, AssemblyNotFound, NotSupported, StorageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class _Nowhere:
    """Takes bytes that are only hashed."""

    def write(self, block: memoryview, /) -> int:
        """Take them."""
        return len(block)


def seconds_of(expires: str | int | timedelta) -> int:
    """Return a time span in seconds: of ``"7d"``, ``"12h"``, ``"30m"``, ``"90s"``, a number, or a timedelta."""
    if isinstance(expires, timedelta):
        seconds = int(expires.total_seconds())
    elif isinstance(expires, str):
        found = re.fullmatch(r"\s*([0-9]{1,9})\s*([smhdw]?)\s*", expires)
        if found is None:
            raise ValueError(f"expires={expires!r} is no time span: write 7d, 12h, 30m or seconds")
        seconds = int(found[1]) * _UNITS.get(found[2], 1)
    else:
        seconds = int(expires)
    if seconds < 1:
        raise ValueError(f"expires={expires!r} is over before it begins")
    return seconds


def publish(
    files: FileOperations, key: str, version_id: str | None, hashes: Hashes
) -> tuple[FileOperations, str | None]:
    """Open one version to everybody; return the files as everybody sees them, and its version id there.

    Raises:
        AccessDenied: it cannot be opened, or cannot be read although it was; it was closed again.
        NotSupported: not in this kind of store.
    """
    readers, public = everybody(files), retrying(files.place_is_public)
    there = version_id if public else files.publish(key, version_id)
    try:
        if _read_by(readers, key, there) != hashes:
            raise AccessDenied(
                f"{key} in {files.address} is still not readable by everybody, and was left private",
                hint=files.why_still_private(key),
            )
    except BaseException:
        if not public:
            with contextlib.suppress(StorageError):
                files.unpublish(key, version_id)
        raise
    return readers, there


def publish_place(files: FileOperations, confirm: str) -> None:
    """Open the whole place to everybody.

    Raises:
        NotSupported: this host opens each file alone, or nothing from here.
        StorageError: ``confirm`` is not the address; says what would be opened.
        AccessDenied: it cannot be opened, or is not open although it should be.
    """
    readers = everybody(files)
    public = retrying(files.place_is_public)
    if public is None:
        raise NotSupported(f"{files.address} is opened file by file", hint="Use publish, for each identifier.")
    if confirm != files.address:
        raise StorageError(
            f"{files.address} was left as it is. To publish it opens {files.describe_place()}",
            hint=f"If that is wanted, confirm it by the address: publish_store(confirm={files.address!r}), or "
            f"storage-plugins publish-store --confirm {files.address}",
        )
    if not public:
        retrying(files.publish_place)
    key = next(iter(retrying(lambda: answers.keys(files))), None)
    if not retrying(readers.place_is_public) or (
        key is not None and retrying(lambda: answers.newest(readers, key)) is None
    ):
        raise AccessDenied(f"{files.address} is still not readable by everybody", hint=files.why_still_private(""))


def unpublish(files: FileOperations, key: str, version_id: str | None) -> None:
    """Close one version to everybody.

    Raises:
        StorageError: everybody can read it all the same.
    """
    readers, public = everybody(files), retrying(files.place_is_public)
    if public:
        raise NotSupported(
            f"{files.address} is open as a whole: {key} cannot be closed alone",
            hint="Whoever looks after the place can close it there, with all that is in it.",
        )
    if public is None:
        files.unpublish(key, version_id)
    if _read_by(readers, key, version_id) is not None:
        raise StorageError(
            f"{key} in {files.address} can still be read by everybody, for another reason than publish",
            hint="Look at the policy of the place and at its access lists: they may open more than this file.",
        )


def opens_alone(files: FileOperations, what: str) -> None:
    """Raise NotSupported where one version cannot be opened, or not without all else that is private there."""
    everybody(files)
    if retrying(files.place_is_public) is False:
        raise NotSupported(
            f"{files.address} is opened as a whole or not at all: {what} cannot be opened alone",
            hint=f"publish_store opens {files.describe_place()} Or keep what is public in a place of its own, and "
            "name both in a group.",
        )


def everybody(files: FileOperations) -> FileOperations:
    """Return the files as everybody sees them; raise NotSupported where there is no such access."""
    readers = files.anonymous()
    if readers is None:
        raise NotSupported(f"{files.address} cannot be opened to everybody from here")
    return readers


def _read_by(readers: FileOperations, key: str, version_id: str | None) -> Hashes | None:
    """Return what an anonymous reader gets of one version; None: that is refused.

    Some servers refuse to name a version without credentials, yet give the newest with its id.
    """
    for wanted in dict.fromkeys((version_id, None)):
        with contextlib.suppress(AccessDenied, AssemblyNotFound):
            got = download(readers, key, wanted, _Nowhere())
            if isinstance(got, tuple) and (version_id is None or got[0].version_id == version_id):
                return got[1]
    return None
