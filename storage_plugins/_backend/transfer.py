"""Bringing one version's bytes to a local file: hashed while they stream, resumed where they were cut."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from ..atomic import disk_errors
from ..errors import IntegrityError, RateLimited, StoreUnavailable
from ..protocol import Version
from . import answers
from .operations import FileOperations

_log = logging.getLogger(__name__)
_ATTEMPTS = 3  # of one request, or of a download without a single byte of progress between them
_LONGEST_WAIT = 60.0  # seconds; a host that wants us to wait longer is reported instead
T = TypeVar("T")


class Sink(Protocol):
    """What bytes are written to: an unbuffered file, say."""

    def write(self, block: memoryview, /) -> int | None:
        """Take bytes, and return how many of them."""


@dataclasses.dataclass(frozen=True)
class Hashes:
    """The identity of a file's bytes: lower-case hex digests, and the size in bytes."""

    sha1: str
    sha256: str
    size: int


def retrying(call: Callable[[], T]) -> T:
    """Return what ``call`` returns; repeat it, with waits, while the store is out of reach.

    Only for calls that change nothing.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return call()
        except StoreUnavailable as error:
            _wait(attempt, error)
    return call()


def download(
    files: FileOperations,
    key: str,
    version_id: str | None,
    sink: Sink,
    *,
    wanted: Callable[[Version], bool] = lambda version: True,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[Version, Hashes, bool] | Version:
    """Write one version's bytes to ``sink`` and return what they are.

    A connection that is cut is taken up where it broke, at the very same version. ``wanted`` is asked
    with the host's first answer; where it says no, nothing is transferred and the bare version comes
    back. ``progress`` is told bytes done and in all. ``sink`` is unbuffered, so that nothing is left to be
    written when it is closed after an error.

    Returns:
        the version as the host described it, the hashes of what was written, and whether it took
        credentials to read it.

    Raises:
        IntegrityError: the host sent more or fewer bytes than it said, or other bytes after a cut.
        AssemblyNotFound, AccessDenied, StoreUnavailable: as the backend says.
    """
    sha1, sha256, done, failures = hashlib.sha1(), hashlib.sha256(), 0, 0
    version: Version | None = None
    while True:
        before = done
        try:
            pinned = version_id if version is None else version.version_id or version_id
            etag = version.etag if version else None
            with answers.read(files, key, pinned, start=done, if_match=etag) as content:
                if version is None:
                    version = content.version
                    if not wanted(version):
                        return version
                private = content.private
                for block in content.blocks:
                    _write(sink, block, files)
                    sha1.update(block)
                    sha256.update(block)
                    done += len(block)
                    if progress:
                        progress(done, version.size)
            if version.size is not None and done < version.size:
                raise StoreUnavailable(f"{key} ended after {done} of {version.size} bytes in {files.address}")
            break
        except StoreUnavailable as error:
            failures = failures + 1 if done == before else 1
            if failures >= _ATTEMPTS:
                raise
            _wait(failures, error)
    if version.size is not None and done != version.size:
        raise IntegrityError(f"{key} in {files.address}: expected {version.size} bytes, got {done}; nothing was kept")
    return version, Hashes(sha1.hexdigest(), sha256.hexdigest(), done), private


def _write(sink: Sink, block: bytes, files: FileOperations) -> None:
    try:
        rest = memoryview(block)
    except TypeError as error:
        raise answers.no_bytes(files, block) from error
    with disk_errors("keep a copy of what is being downloaded"):
        while rest:
            rest = rest[sink.write(rest) or 0 :]


def _wait(attempt: int, error: StoreUnavailable) -> None:
    asked = error.retry_after if isinstance(error, RateLimited) else None
    if asked is not None and asked > _LONGEST_WAIT:
        raise error
    # a random share keeps many clients from returning at the same moment
    pause = asked if asked is not None else 0.1 * 2**attempt * (0.5 + random.random())  # noqa: S311
    _log.info("%s; trying again in %.1f s", error.message, pause)
    time.sleep(max(0.0, pause))
