"""Bringing many files into the cache: for a node without a network, or a journey."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .._records import Cached, Pin
from ..errors import StorageError
from ..protocol import Receipt
from .many import run

if TYPE_CHECKING:
    from .store import Store

_AT_ONCE = 8  # as `Store.fetch_many`


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
    error: Exception


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
    tasks, count = list(dict.fromkeys(wanted)), itertools.count(1)
    report = run(
        tasks, lambda task: _fetched(*task), at_once=_AT_ONCE, finished=lambda *_: done(next(count), len(tasks))
    )
    return PrefetchReport(
        fetched=tuple(
            Prefetched(name=one.name, path=found.path, sha256=found.digests.sha256, size=found.digests.size)
            for (_, one), found in report.done.items()
        ),
        failed=tuple(NotPrefetched(name=one.name, error=error) for (_, one), error in report.failed.items()),
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
