"""Bringing many files into the cache: for a node without a network, or a journey."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .._records import Cached, Pin
from ..errors import StorageError
from ..protocol import Receipt

if TYPE_CHECKING:
    from .store import Store

_log = logging.getLogger(__name__)
_AT_ONCE = 4


class _Stopped(Exception):
    """The work was told to end."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One file that is to be here.

    Attributes:
        name: an identifier, or a file's name.
        key: file name in the store, None where the name alone says it.
        pin: which version.
    """

    name: str
    key: str | None
    pin: Pin

    @classmethod
    def of(cls, wanted: str | Receipt) -> Self:
        """Return what a name or a receipt means."""
        if isinstance(wanted, Receipt):
            return cls(wanted.identifier, wanted.key, Pin.of(wanted))
        return cls(wanted, None, Pin())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prefetched:
    """A verified file on this computer.

    Attributes:
        name: the assembly's identifier, or the file's name.
        path: where it is; for reading only.
        sha256: lower-case hex digest.
        size: bytes.
    """

    name: str
    path: Path
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class NotPrefetched:
    """A file that could not be had.

    Attributes:
        name: the assembly's identifier, or the file's name.
        error: why.
    """

    name: str
    error: StorageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefetchReport:
    """What a prefetch did.

    Attributes:
        fetched: the files that are on this computer now.
        failed: the others.
    """

    fetched: tuple[Prefetched, ...]
    failed: tuple[NotPrefetched, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "fetched": [{**dataclasses.asdict(one), "path": str(one.path)} for one in self.fetched],
            "failed": [
                {"name": one.name, "error": type(one.error).__name__, "problem": str(one.error)} for one in self.failed
            ],
        }


def prefetch(
    wanted: Iterable[tuple[Store, Wanted]], done: Callable[[int, int], None] = lambda done, total: None
) -> PrefetchReport:
    """Bring files into the cache, each from its store; ``done`` is called with how many are done, and in all."""
    tasks = list(dict.fromkeys(wanted))
    stop, finished = threading.Event(), 0
    lock = threading.Lock()

    def attempt(task: tuple[Store, Wanted]) -> Prefetched | NotPrefetched:
        nonlocal finished
        store, one = task
        try:
            cached = _fetched(store, one)
        except StorageError as error:
            _log.info("%s: %s", one.name, error.message)
            return NotPrefetched(name=one.name, error=error)
        finally:
            with lock:
                finished += 1
                done(finished, len(tasks))
        return Prefetched(name=one.name, path=cached.path, sha256=cached.digests.sha256, size=cached.digests.size)

    pool = concurrent.futures.ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="prefetch")
    with _stopping({store for store, _ in tasks}, stop):
        try:
            results = list(pool.map(attempt, tasks))
        finally:  # on ctrl-C, unfinished downloads are dropped
            stop.set()
            pool.shutdown(cancel_futures=True)
    return PrefetchReport(
        fetched=tuple(one for one in results if isinstance(one, Prefetched)),
        failed=tuple(one for one in results if isinstance(one, NotPrefetched)),
    )


def _fetched(store: Store, wanted: Wanted) -> Cached:
    if wanted.key is not None:
        return store._fetch(wanted.key, wanted.pin)
    try:
        return store._verified(wanted.name, wanted.pin)[1]
    except StorageError as error:
        try:
            return store._fetch(wanted.name, wanted.pin)  # a file of another kind
        except StorageError:
            raise error from None


@contextlib.contextmanager
def _stopping(stores: Iterable[Store], stop: threading.Event) -> Iterator[None]:
    """Let the downloads of stores end when ``stop`` is set."""
    before = {store: store.progress for store in stores}

    def progress(store: Store) -> Callable[[str, int, int | None], None]:
        def report(name: str, done: int, size: int | None) -> None:
            if stop.is_set():
                raise _Stopped
            shown = before[store]
            if shown is not None:
                shown(name, done, size)

        return report

    for store in before:
        store.progress = progress(store)
    try:
        yield
    finally:
        for store, shown in before.items():
            store.progress = shown
