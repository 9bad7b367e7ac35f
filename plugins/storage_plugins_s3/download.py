"""One version's bytes on their way from the server."""

from __future__ import annotations

from typing import Any, Self

from storage_plugins import Content, IntegrityError, StoreUnavailable

from . import answers
from .bucket import Bucket
from .errors import not_s3, translated

_BLOCK = 1 << 20


def content(
    bucket: Bucket,
    what: str,
    key: str,
    version_id: str | None,
    wanted: tuple[int, int | None],
    if_match: str | None,
    *,
    anonymous: bool,
) -> Content:
    """Ask for a range of bytes. Where the server ignores the range, what comes before it is passed over."""
    start, stop = wanted
    headers = {"If-Match": if_match} if if_match is not None else {}
    if start or stop is not None:
        headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
    query = {"versionId": version_id} if version_id is not None else {}
    reply = bucket.ask(
        what, "GET", key, anonymous=anonymous, query=query, headers=headers, stream=True, expected=(200, 206)
    )
    try:
        size = answers.length(reply)
        if reply.status == 206:
            given, _, whole = reply.headers.get("content-range", "").partition("/")
            if "Range" not in headers or not given.startswith(f"bytes {start}-"):
                raise not_s3(bucket.address, f"asked for bytes from {start}, got {given[:60] or 'no range'}")
            size = answers.number(whole)
        version = answers.described(reply, bucket.address, size=size)
        if if_match is not None and version.etag != if_match:
            raise IntegrityError(f"{what} was replaced in {bucket.address} while it was read")
    except BaseException:
        reply.raw.close()
        raise
    skip = (start, stop) if reply.status == 200 else (0, None)
    ignored = reply.status == 200 and "Range" in headers
    body = Body(reply.raw, what, bucket.address, *skip)
    return Content(version, body, private=bucket.signs(anonymous), whole=ignored)


class Body:
    """An answer's body in blocks, from ``start`` to ``stop``.

    A class, since a generator that was never begun does not run its clean-up when it is closed, and the
    connection would never be free again.
    """

    def __init__(self, raw: Any, what: str, address: str, start: int, stop: int | None) -> None:
        self._raw, self._what, self._address = raw, what, address
        self._skip, self._left = start, None if stop is None else stop - start

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while self._left is None or self._left > 0:
            with translated(self._what, self._address):
                data: bytes = self._raw.read(_BLOCK)
            if not data:
                break
            passed = min(self._skip, len(data))
            self._skip -= passed
            data = data[passed : None if self._left is None else passed + self._left]
            if data:
                self._left = None if self._left is None else self._left - len(data)
                return data
        if self._skip:
            raise StoreUnavailable(f"{self._what} in {self._address} ended before the bytes asked for")
        raise StopIteration

    def close(self) -> None:
        """End the transfer: what was read to its end leaves its connection open for others."""
        if self._raw.closed:
            self._raw.release_conn()
        else:
            self._raw.close()
