"""Work in the event loop of s3fs: coroutines that are waited for, and bodies read ahead."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from .errors import translated

_BLOCK = 1 << 20
_CLEAN_UP = 15.0  # seconds that ctrl-C waits for an upload to be taken back
T = TypeVar("T")


class Body:
    """An answer's body in blocks; the next one is on its way while the last is worked on.

    A class, since a generator that was never begun does not run its clean-up when it is closed, and the
    connection would never come free.
    """

    def __init__(self, filesystem: Any, body: Any, key: str, address: str) -> None:
        self._loop, self._body, self._key, self._address = filesystem.loop, body, key, address
        self._coming: concurrent.futures.Future[bytes] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        coming = self._coming or self._ask()
        with translated(self._key, self._address):
            data = coming.result()
        if not data:
            raise StopIteration
        self._coming = self._ask()
        return data

    def close(self) -> None:
        """End the transfer."""
        if self._coming is not None:
            self._coming.cancel()
        self._loop.call_soon_threadsafe(self._body.close)

    def _ask(self) -> concurrent.futures.Future[bytes]:
        return asyncio.run_coroutine_threadsafe(self._block(), self._loop)

    async def _block(self) -> bytes:
        parts: list[bytes] = []
        left = _BLOCK
        try:
            while left and (part := await self._body.read(left)):
                parts.append(part)
                left -= len(part)
        except Exception:
            if not parts:  # what came before the cut is good; the next call fails again
                raise
        return b"".join(parts)


def run(filesystem: Any, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the filesystem's own loop and wait for it; on ctrl-C, for its clean-up too."""
    ended = threading.Event()

    async def work() -> T:
        try:
            return await coroutine
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(work(), filesystem.loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        ended.wait(_CLEAN_UP)
        raise


async def cancelled(tasks: list[asyncio.Task[T]]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
