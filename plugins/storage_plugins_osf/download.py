"""One version's bytes: requested by number and in closed ranges; a web page in their place is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

from storage_plugins import AssemblyNotFound, StoreUnavailable

from .connection import Connection
from .entries import number_in
from .errors import refusal, translated

_BLOCK = 1 << 20


class Download:
    """The blocks of a version's bytes ``start`` to ``stop``, requested when the first of them is wanted.

    ``size`` is that of the whole version. If it is unknown, all of it is asked for, since OSF only honours closed
    ranges. ``doubted`` is called when an answer contradicts the size.
    """

    def __init__(
        self,
        connection: Connection,
        url: str,
        what: str,
        number: int,
        *,
        size: int | None,
        start: int,
        stop: int | None,
        doubted: Callable[[], None],
    ) -> None:
        self._connection, self._url, self._what, self._number = connection, url, what, number
        self._doubted = doubted
        self._size, self._start = size, start
        self._stop = stop if size is None or (stop is not None and stop < size) else size
        self._response: Any = None
        self._skip = 0
        self._left: int | None = None

    def begin(self) -> int | None:
        """Ask for the bytes, and return the size of the whole version."""
        partial = self._start > 0 or self._stop != self._size
        headers = {}
        if partial and self._stop is not None and self._size is not None and self._start < self._stop:
            headers["Range"] = f"bytes={self._start}-{self._stop - 1}"
        response = self._connection.download(self._url, self._what, {"version": f"{self._number}"}, headers)
        try:
            self._understand(response)
        except BaseException:
            response.close()
            raise
        self._response = response
        return self._size

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._response is None:
            self.begin()
        address = self._connection.settings.address
        while self._left != 0:
            with translated(self._what, address):
                block: bytes = self._response.raw.read(_BLOCK, decode_content=False)
            if not block:
                break
            skipped = min(self._skip, len(block))
            self._skip -= skipped
            block = block[skipped:]
            if self._left is not None:
                block = block[: self._left]
                self._left -= len(block)
            if block:
                return block
        if self._left:
            raise StoreUnavailable(f"{self._what} in {address}: the connection was lost {self._left} bytes too early")
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End the transfer."""
        if self._response is not None:
            self._response.close()

    def _understand(self, response: Any) -> None:
        """Find out which of the bytes wanted are coming."""
        address = self._connection.settings.address
        if response.status_code == 400:  # older services answer 404
            with translated(self._what, address):
                refused = refusal(response, self._what, address)
            raise AssemblyNotFound(f"There is no {self._what} in {address}") from refused
        if response.status_code == 416:
            self._doubted()
            raise self._connection.odd(self._what, f"it has fewer than {self._start + 1} bytes")
        if response.status_code not in (200, 206):
            with translated(self._what, address):
                raise refusal(response, self._what, address)
        kind, disposition = response.headers.get("Content-Type", ""), response.headers.get("Content-Disposition", "")
        if kind.lower().startswith("text/html") and not disposition.lower().startswith("attachment"):
            raise self._connection.odd(self._what, "a web page instead of the file")
        if response.status_code == 206:
            self._understand_range(response.headers.get("Content-Range", ""))
            return
        length = number_in(response.headers.get("Content-Length", ""))
        if length is not None:
            if self._size not in (None, length):
                self._doubted()
                raise self._connection.odd(self._what, f"{length} bytes instead of {self._size}")
            self._size = length
        self._skip = self._start
        stop = self._size if self._stop is None else self._stop
        if stop is not None:
            self._left = max(0, min(stop, self._size if self._size is not None else stop) - self._start)

    def _understand_range(self, given: str) -> None:
        match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", given)
        if not match or self._stop is None:
            raise self._connection.odd(self._what, "a part of the file without its range")
        first, last, whole = map(int, match.groups())
        if (first, last + 1, whole) != (self._start, self._stop, self._size):
            self._doubted()
            raise self._connection.odd(self._what, f"another range than asked for: {given[:60]}")
        self._left = last + 1 - first
