"""botocore's HTTP, except that an answer must end in time once it has begun.

A server that sends a byte now and then resets every timeout of `http.client`, urllib3 and botocore.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import Any

import botocore.awsrequest
import botocore.httpsession

_BEGUN = 5.0  # seconds that the headers of an answer may take once they have begun, and its body as well
_INTERIM = 10  # answers 100 before the one that counts
_SLOWEST = 4 << 10  # bytes a second that a longer body must have
_PIECE = 64 << 10  # bytes
_LARGEST_ANSWER = 16 << 20  # bytes; a page of 1,000 entries has at most 1.5 MB


def body(raw: Any, has_length: bool) -> bytes:
    """Return the body of an answer, or raise where it comes byte by byte.

    While S3 makes an object of many parts it sends spaces, before an answer whose length it does not know yet. These
    may take as long as the operation.
    """
    found, read = b"", getattr(raw, "read1", raw.read)  # urllib3 1 has no read1
    begun = time.monotonic() if has_length else None
    while len(found) < _LARGEST_ANSWER and (more := read(_PIECE)):
        found += more
        if begun is None and found.strip():
            begun = time.monotonic()
        if begun is not None and time.monotonic() - begun > _BEGUN + len(found) / _SLOWEST:
            raise TimeoutError(f"the answer came at less than {_SLOWEST >> 10} KiB/s")
    return found


class _Head(io.RawIOBase):
    """What a connection brings. Until `ended`, it raises if this is no answer, or if its headers do not end.

    It is no answer where a server sends a body after that to a HEAD, and the connection is in use again.
    """

    def __init__(self, raw: Any) -> None:
        self._raw, self._begun, self._left = raw, False, _INTERIM
        self._end: float | None = None  # None: nothing of the next status line is here

    def next(self) -> None:
        """Wait for a status line: the first, or the one after "100 Continue", when the server is still at work."""
        self._left -= 1
        if self._left < 0:
            raise http.client.HTTPException("the server goes on to answer 100")
        self._end = None

    def ended(self) -> None:
        """Let the body take its time."""
        self._end = float("inf")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what there is, at most as much as ``buffer`` takes."""
        if self._end is not None and time.monotonic() > self._end:
            raise TimeoutError("the headers of the answer do not end")
        count: int | None = self._raw.readinto(buffer)
        if count and self._end is None:
            start = bytes(buffer[: min(count, 7)])
            if not self._begun and not b"HTTP/1.".startswith(start):
                raise http.client.BadStatusLine("what came is no answer")
            self._begun, self._end = True, time.monotonic() + _BEGUN
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    _head: _Head | None = None  # None: of the answer to a CONNECT

    def begin(self) -> None:
        self._head = _Head(self.fp.detach())
        self.fp = io.BufferedReader(self._head)
        super().begin()
        self._head.ended()

    def _read_status(self) -> tuple[str, int, str]:  # the only place to see where the next answer begins
        if self._head is not None:
            self._head.next()
        status: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
        return status


class _Connection(botocore.awsrequest.AWSHTTPConnection):  # type: ignore[misc]
    response_class = _Response


class _SecureConnection(botocore.awsrequest.AWSHTTPSConnection):  # type: ignore[misc]
    response_class = _Response


class _Pool(botocore.awsrequest.AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _SecurePool(botocore.awsrequest.AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _SecureConnection


class Session(botocore.httpsession.URLLib3Session):  # type: ignore[misc]
    """botocore's, with proxies, certificates and pools as the AWS tools have them, whose answers end in time."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._pool_classes_by_scheme.update(http=_Pool, https=_SecurePool)  # botocore has no public way
