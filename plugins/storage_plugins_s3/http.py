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
        self._raw, self._begun = raw, False
        self._end: float | None = None  # None: not begun, or only with "100 Continue"

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
            start = bytes(buffer[: min(count, 10)])
            if not self._begun and not start.startswith(b"HTTP/1."[: len(start)]):
                raise http.client.BadStatusLine("what came is no answer")
            self._begun = True
            if not start.endswith(b" 1"):  # after "100 Continue" the server is still at work
                self._end = time.monotonic() + _BEGUN
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        head = _Head(self.fp.detach())
        self.fp = io.BufferedReader(head)
        super().begin()
        head.ended()


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
