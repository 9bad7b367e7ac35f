"""One verification: several stores side by side, name by name."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from .._waiting import each
from ..errors import AccessDenied, NotSupported, StorageError
from .compare import Comparison, Finding
from .expected import Expected, by_other_store, by_receipts
from .reading import Reader
from .report import STATES, Verified, VerifyReport

if TYPE_CHECKING:
    from .._store.file_store import FileStore

_log = logging.getLogger(__name__)
_ASKED_AT_ONCE = 16
_READ_AT_ONCE = 4


class Show:
    """Where the progress of a verification is shown: names done, and in all."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress, self._done, self._lock = progress, 0, threading.Lock()
        self.total = 0

    def one_more(self) -> None:
        """Count one name."""
        with self._lock:
            self._done += 1
            self._progress(self._done, self.total)


class _Place:
    """One store, and what should be in it by key."""

    def __init__(self, store: FileStore, *, unplaced: bool) -> None:
        self.store, self._unplaced = store, unplaced
        self.expected: dict[str, list[Expected]] = {}
        self.listed: set[str] | None = None
        self.error: StorageError | None = None
        self.reader: Reader | None = None

    def look(self, names: list[str] | None) -> None:
        """Find out which keys are to be compared."""
        named = None if names is None else _keys_of(self.store, names)
        try:
            with self.store.explained():
                prefixes = [""] if named is None else named
                self.listed = {key for prefix in prefixes for key in self.store.all_keys(prefix)}
        except StorageError as error:
            self.error = error
            _log.warning(
                "%s cannot be listed (%s); only what has receipts is verified", self.store.address, error.message
            )
        listed = self.listed or set()
        for key in dict.fromkeys([*self.store.receipts.all_keys(), *listed] if named is None else named):
            expected = by_receipts(self.store, key, unplaced=self._unplaced)
            if expected or named is not None or key in listed:
                self.expected[key] = expected

    @property
    def out_of_reach(self) -> StorageError | None:
        """Why nothing can be asked of the store; None where only its listing is refused."""
        return None if isinstance(self.error, AccessDenied | NotSupported) else self.error

    def compare(self, key: str) -> list[Finding]:
        """Compare one key."""
        expected = self.expected[key]
        if self.out_of_reach is not None:
            return Comparison(self.store, key, expected).unsound(self.out_of_reach)
        hidden = self.listed is not None and key not in self.listed
        return Comparison(self.store, key, expected, hidden=hidden, reader=self.reader).run()


class Run:
    """One verification.

    Args:
        stores: the stores.
        identifiers: what to verify; None: everything.
        full: whether to read every byte.
        unplaced: names of the stores that imported pins without an address are about.
        against: stores whose versions must be in one of ``stores``.
        show: where progress is shown.
    """

    def __init__(
        self,
        stores: Sequence[FileStore],
        identifiers: Iterable[str] | None,
        *,
        full: bool,
        unplaced: set[str],
        against: Sequence[FileStore] = (),
        show: Show | None = None,
    ) -> None:
        self.names = [identifiers] if isinstance(identifiers, str) else None if identifiers is None else [*identifiers]
        self.places = [_Place(store, unplaced=store.name in unplaced) for store in stores]
        self._full, self._against, self._show = full, against, show
        self._stop = threading.Event()
        self.problems: dict[str, str] = {}

    def report(self) -> VerifyReport:
        """Verify, and return what was found."""
        pool = concurrent.futures.ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="verify")
        try:
            list(each(pool, lambda place: place.look(self.names), self.places))
            self._expect_others(pool)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        if self._full:
            pool.shutdown()
            pool = concurrent.futures.ThreadPoolExecutor(_READ_AT_ONCE, thread_name_prefix="verify")
            scope = [*(self.names or ()), "against", *(other.address for other in self._against)]
            for place in self.places:
                place.reader = Reader(place.store, scope, self._stop)
        tasks = [(place, key) for place in self.places for key in sorted(place.expected)]
        if self._show:
            self._show.total = len(tasks)
        try:
            findings = [finding for found in each(pool, self._compare, tasks) for finding in found]
        finally:  # on ctrl-C, what is being read is left
            self._stop.set()
            pool.shutdown(cancel_futures=True)
        readers = [place.reader for place in self.places if place.reader is not None]
        for reader in readers:
            reader.finish()
        self._note_problems()
        versions = [*_combined(findings), *self._unknown_names(findings)]
        return VerifyReport(
            full=self._full,
            versions=ordered(_with_renames(versions)),
            problems=self.problems,
            bytes_read=sum(reader.bytes_read for reader in readers),
            resumed=sum(reader.resumed for reader in readers),
        )

    def _compare(self, task: tuple[_Place, str]) -> list[Finding]:
        place, key = task
        found = place.compare(key)
        if self._show:
            self._show.one_more()
        return found

    def _expect_others(self, pool: concurrent.futures.Executor) -> None:
        """Expect in each place what the other stores have."""
        for other in self._against:
            with other.explained():
                keys = other.all_keys("") if self.names is None else _keys_of(other, self.names)
            expect = functools.partial(by_other_store, other, full=self._full)
            for expected in each(pool, expect, dict.fromkeys(keys)):
                for place in self.places:
                    for one in expected:
                        place.expected.setdefault(one.key, []).append(one)

    def _note_problems(self) -> None:
        """Note the stores that could not be listed, unless receipts say what should be there."""
        for place in self.places:
            if place.error is not None and not any(place.expected.values()):
                self.problems[place.store.name] = place.error.message

    def _unknown_names(self, findings: Iterable[Finding]) -> list[Verified]:
        found = {finding.verified.key for finding in findings}
        stores = [place.store for place in self.places]
        return [
            Verified(
                store=stores[0].name,
                address=stores[0].address,
                identifier=name,
                key=stores[0].keys_of(name)[0],
                state="missing",
                reason="no receipt and no store has this name" if len(stores) > 1 else "there is no such name",
            )
            for name in (self.names or ()) * bool(stores)
            if not found.intersection(key for store in stores for key in store.keys_of(name))
        ]


def _keys_of(store: FileStore, names: Iterable[str]) -> list[str]:
    return [key for name in names for key in store.keys_of(name)]


def _combined(findings: Iterable[Finding]) -> list[Verified]:
    """Return each version once: of what another store has, the best state in any store."""
    own, others = list[Verified](), dict[tuple[object, ...], Verified]()
    for expected, verified in findings:
        if expected is None or not expected.elsewhere:
            own.append(verified)
        else:
            best = others.setdefault(_content(verified), verified)
            others[_content(verified)] = min(best, verified, key=_rank)
    known: dict[tuple[object, ...], int] = {}
    for verified in own:
        known[_content(verified)] = min(_rank(verified), known.get(_content(verified), len(STATES)))
    return [*own, *(one for one in others.values() if _rank(one) < known.get(_content(one), len(STATES)))]


def _content(verified: Verified) -> tuple[object, ...]:
    return (verified.key, verified.sha256 or verified.sha1, verified.size)


def _rank(verified: Verified) -> int:
    return STATES.index(verified.state)


def _with_renames(versions: Sequence[Verified]) -> list[Verified]:
    """Add to what is missing under which other name the store has its bytes."""
    there = {(one.address, one.sha256): one.key for one in versions if one.state == "whole"}
    found = []
    for one in versions:
        name = there.get((one.address, one.sha256)) if one.state == "missing" and one.sha256 else None
        found.append(
            one if name is None else dataclasses.replace(one, reason=f"{one.reason}; the same bytes are in {name}")
        )
    return found


def ordered(versions: Iterable[Verified]) -> tuple[Verified, ...]:
    return tuple(sorted(versions, key=lambda one: (one.store, one.key)))
