"""Bugs to be put into the product on purpose: a campaign that does not find them proves nothing.

    python tests/campaign_bugs.py

puts in one after the other, and says how many faults it took until it was found.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import campaign

from storage_plugins import StorageError, Version
from storage_plugins._backend.host import Host
from storage_plugins._copies.receipts import Receipts
from storage_plugins._mirror.history import HistoryCopy
from storage_plugins._records import Pin
from storage_plugins._store.upload import _Upload as Upload
from storage_plugins_local import files
from storage_plugins_s3 import uploads

FAULTS, SEED = 150, 4  # as the tests play it


class Bug(NamedTuple):
    """A change of one function: ``change`` is given the right one and returns the wrong one. ``seed`` finds it."""

    does: str
    backend: str
    where: Any
    name: str
    change: Callable[[Callable[..., Any]], Callable[..., Any]]
    seed: int = SEED


def quiet(right: Callable[..., Any], instead: Any) -> Callable[..., Any]:
    """Return ``instead`` where the right function fails."""

    def wrong(*arguments: Any, **named: Any) -> Any:
        try:
            return right(*arguments, **named)
        except StorageError:
            return instead

    return wrong


def answer(change: Callable[[Any], Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Change what the right function returns."""
    return lambda right: lambda *arguments, **named: change(right(*arguments, **named))


def first_id(right: Callable[..., Any]) -> Callable[..., Any]:
    """Return the id of the oldest version from a write."""

    def wrong(self: Host, key: str, *arguments: Any, **named: Any) -> Any:
        right(self, key, *arguments, **named)
        return self.versions(key)[-1].version_id

    return wrong


def unproven(bucket: Any, what: str, key: str, source: Any, reply: Any, expected: str) -> Version:
    return Version(version_id=reply.headers.get("x-amz-version-id") or "made-up", size=source.size)


def reverse(versions: list[Any]) -> list[Any]:
    return versions[::-1]


@contextlib.contextmanager
def no_errors(doing: str, *, hint: str | None = None) -> Iterator[None]:
    yield


BUGS = {
    bug.does: bug
    for bug in (
        Bug("the hash of a pin is not compared", "fsspec", Pin, "fits", lambda right: lambda self, other: True),
        Bug("a listing that fails counts as empty", "osf", Host, "keys", lambda right: quiet(right, []), 3),
        Bug("only the newest version is listed", "fsspec", Host, "versions", answer(lambda found: found[:1])),
        Bug("a write returns the id of an older version", "fsspec", Host, "put", first_id),
        Bug("any answer to a write counts", "s3", uploads, "_proven", lambda right: unproven, 20),
        Bug("no receipt is written", "fsspec", Receipts, "write", lambda right: lambda *_: None),
        Bug("what is there is uploaded again", "fsspec", Upload, "_is_same", lambda right: lambda *_: False),
        Bug("a mirror copies the newest version first", "fsspec", HistoryCopy, "_oldest_first", answer(reverse)),
        Bug("a look that fails counts as nothing there", "fsspec", Host, "newest", lambda right: quiet(right, None)),
        Bug("errors of the disk pass as they are", "local", files, "disk_errors", lambda right: no_errors),
    )
}


@contextlib.contextmanager
def put_in(bug: Bug) -> Iterator[None]:
    right = getattr(bug.where, bug.name)
    with mock.patch.object(bug.where, bug.name, bug.change(right)):
        yield


def found(bug: Bug) -> str:
    """Return how the campaign found it; empty if it did not."""
    with put_in(bug):
        try:
            campaign.run(bug.backend, FAULTS, bug.seed)
        except campaign.Violation as violation:
            return str(violation)
    return ""


def main() -> int:
    missed = 0
    for bug in BUGS.values():
        how = found(bug)
        missed += not how
        print(f"{bug.does}: {how[:300] or 'NOT FOUND'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
