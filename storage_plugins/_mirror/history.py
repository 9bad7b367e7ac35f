"""One file's history, brought from one store to another: oldest version first, byte for byte."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from .._backend.operations import Source
from .._identifiers import check_file_name
from .._records import Digests, Withdrawal
from .._store.file_store import FileStore
from .._store.upload import refuse_other_name
from .._store.withdrawn import merged, withdrawn_from, write_tombstone
from ..atomic import disk_errors
from ..errors import AssemblyNotFound, IntegrityError, NotSupported
from ..protocol import Receipt, Version, record

_TICK = timedelta(microseconds=1)


class AnotherHistory(Exception):
    """The target has versions that are not the first ones of the source."""


class Stopped(Exception):
    """The mirror was told to end."""


class _Held(NamedTuple):
    """A version that the target has, the last of equal neighbours."""

    version: Version
    sha256: str


class Copy(NamedTuple):
    """A version of the source, and the target's name for its bytes."""

    original: Version
    digests: Digests
    version_id: str | None


@dataclasses.dataclass
class Plan:
    """The settings of a mirror that are the same for every file. A pickled copy has a ``stop`` of its own.

    Attributes:
        source, target: the stores.
        append: whether to put what the target lacks after versions of its own.
        versioned: whether the target keeps versions.
        withdrawn, withdrawn_here: the files of which versions were withdrawn from the source, from the target.
        stop: ends the copying, at the next block of bytes, when it is set.
    """

    source: FileStore
    target: FileStore
    append: bool
    versioned: bool
    withdrawn: frozenset[str]
    withdrawn_here: frozenset[str]
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)

    def __reduce__(self) -> tuple[type[Plan], tuple[Any, ...]]:
        return Plan, (self.source, self.target, self.append, self.versioned, self.withdrawn, self.withdrawn_here)


class HistoryCopy:
    """The copying of one key: `read_receipts`, `copy`, `write_receipts`, of which `copy` may run on another computer.

    Attributes:
        copied: versions that were sent.
        there: versions that were there already.
        sent: bytes of the versions that were sent.
        copies: of each version of the source that was to be copied, once all are there.
        note: what the caller should know although all went well, or None.
    """

    def __init__(self, plan: Plan, key: str) -> None:
        self.source, self.target, self.key = plan.source, plan.target, key
        self.copied = self.there = self.sent = 0
        self.copies: list[Copy] = []
        self.note: str | None = None
        self._plan = plan
        self._receipts: dict[tuple[str, str | None], Receipt] = {}
        self._withdrawn: list[Withdrawal] = []

    def read_receipts(self) -> None:
        """Read what is known of the file here."""
        check_file_name(self.key)  # a bucket may hold what no store would take
        for store in (self.target, self.source):
            self._receipts |= {(one.address, one.version_id): one for one in store.receipts.of(self.key)}
            self._withdrawn += store.receipts.withdrawn(self.key)

    def copy(self) -> None:
        """Copy what the target lacks.

        Equal neighbours count as one version, since some hosts make no new version of equal bytes.

        Raises:
            AnotherHistory: the target's versions are not the first ones of the source; nothing was sent.
            StorageError: the first version that could not be copied. Those before it stand.
        """
        gone = withdrawn_from(self.source.host, self.key) if self.key in self._plan.withdrawn else []
        unwanted = {one.sha256 for one in (*gone, *self._withdrawn_from_target())}
        versions = self._oldest_first(self.source)
        if not versions and not gone:
            raise AssemblyNotFound(f"There is no {self.key} in {self.source.address}")
        originals = self._without_unwanted(versions, unwanted)
        held = self._without_withdrawn(self._held(), unwanted)
        if not originals:
            self._carry_tombstone(gone, [])
            return
        if not self._plan.versioned:
            self._refuse_several(originals)
        copies, position = self._copied(originals, held)
        if position < len(held):
            if not self._plan.append:
                raise AnotherHistory(f"it has {len(held) - position} more than {self.source.address}")
            self.note = self.note or "all was there; the newest version is one of its own"
        self._carry_tombstone(gone, copies)
        self.copies = copies

    def _copied(self, originals: Sequence[Version], held: list[_Held]) -> tuple[list[Copy], int]:
        """Copy what is not ``held``; return all copies, and how many of the target's versions they account for."""
        copies: list[Copy] = []
        newest = held[-1].version if held else None  # in the target
        position = 0  # so many of the target's versions are accounted for
        for original in originals:
            with contextlib.ExitStack() as stack:
                digests, file = self._known(self.source, original), None
                if digests is None:
                    file = stack.enter_context(self._fetched(self.source, original))
                    digests = file.digests
                if copies and copies[-1].digests.sha256 == digests.sha256:
                    copies.append(Copy(original, digests, copies[-1].version_id))
                    continue
                place = self._place(held, position, digests.sha256)
                if place is not None:
                    self.there += 1
                    copies.append(Copy(original, digests, held[place].version.version_id))
                    position = place + 1
                    continue
                position = len(held)
                file = file or stack.enter_context(self._fetched(self.source, original, digests))
                newest = self._send(original, file, newest)
                copies.append(Copy(original, digests, newest.version_id))
        return copies, position

    def _withdrawn_from_target(self) -> list[Withdrawal]:
        """Return what must not come back: by the target's tombstone, and by the receipts of both stores."""
        here = withdrawn_from(self.target.host, self.key) if self.key in self._plan.withdrawn_here else ()
        return [*self._withdrawn, *here]

    def _without_unwanted(self, versions: list[Version], unwanted: set[str]) -> list[Version]:
        """Leave out versions of the source that were withdrawn: their bytes are not to spread."""
        if not unwanted:
            return versions
        left = [version for version in versions if self._sha256(self.source, version) in unwanted]
        if left:
            names = ", ".join(str(version.version_id) for version in left)
            self.note = f"withdrawn, and not copied: version {names} of {self.source.address}"
        return [version for version in versions if version not in left]

    def _without_withdrawn(self, held: list[_Held], unwanted: set[str]) -> list[_Held]:
        """Leave out what was withdrawn; a mirror deletes nothing, so a person must."""
        left = [version for version in held if version.sha256 in unwanted]
        if left:
            names = ", ".join(str(version.version.version_id) for version in left)
            self.note = f"withdrawn, and still here: version {names}; withdraw it here, too"
        return [version for version in held if version not in left]

    def _carry_tombstone(self, gone: Sequence[Withdrawal], copies: Sequence[Copy]) -> None:
        """Let the target say, too, which versions were withdrawn from the source."""
        if not gone:
            return
        there = withdrawn_from(self.target.host, self.key)
        known = {one.sha256 for one in there}
        names = {copy.original.version_id: copy.version_id for copy in copies}
        new = [
            dataclasses.replace(one, address=self.target.address, older=names.get(one.older))
            for one in gone
            if one.sha256 not in known
        ]
        if new:
            write_tombstone(self.target.parts, self.key, merged(new, there))

    def _place(self, held: Sequence[_Held], position: int, sha256: str) -> int | None:
        """Return where the target has these bytes, in order after what is accounted for; None: they lack."""
        if self._plan.append:
            return next((place for place in range(position, len(held)) if held[place].sha256 == sha256), None)
        if position == len(held):
            return None
        if held[position].sha256 != sha256:
            raise AnotherHistory(
                f"its version {held[position].version.version_id} is sha256 {held[position].sha256[:12]}…, "
                f"where the source has {sha256[:12]}…"
            )
        return position

    def _held(self) -> list[_Held]:
        """Return the target's history, oldest first, equal neighbours as one."""
        held: list[_Held] = []
        for version in self._oldest_first(self.target):
            sha256 = version.sha256 or self._sha256(self.target, version)
            if held and held[-1].sha256 == sha256:
                held.pop()
            held.append(_Held(version, sha256))
        return held

    def _refuse_several(self, originals: Sequence[Version]) -> None:
        """Refuse, before anything is sent, what a host without versions could not keep."""
        if len(originals) > 1 and len({self._sha256(self.source, version) for version in originals}) > 1:
            raise NotSupported(
                f"{self.key} has several versions, and {self.target.address} keeps no versions",
                hint="Turn on versioning there.",
            )

    # reading

    def _oldest_first(self, store: FileStore) -> list[Version]:
        with store.explained():
            return store.host.versions(self.key)[::-1]

    def _known(self, store: FileStore, version: Version) -> Digests | None:
        """Return what a version's record or its receipt says, None where there is neither."""
        if version.digests is not None:
            return version.digests
        receipt = self._receipts.get((store.address, version.version_id))
        # "null" and no id at all may be other bytes by now
        if receipt is None or version.version_id in (None, "null") or version.size not in (None, receipt.size):
            return None
        return receipt.digests

    def _sha256(self, store: FileStore, version: Version) -> str:
        known = self._known(store, version)
        if known is not None:
            return known.sha256
        with self._fetched(store, version) as file:
            return file.sha256

    @contextlib.contextmanager
    def _fetched(self, store: FileStore, version: Version, expected: Digests | None = None) -> Iterator[Source]:
        """Give out a version's file, verified: where it lies on this computer, else downloaded for the block."""
        with contextlib.ExitStack() as stack:
            with store.explained():
                local = store.host.local_file(self.key, version.version_id)
                if local is not None:
                    with disk_errors(f"read {self.key}"):
                        file = Source.of(local[0])
                else:
                    sink, path = stack.enter_context(store.cache.incoming())
                    got = store.host.download(
                        self.key, version.version_id, sink, progress=self._reporting(store, version.size)
                    )
                    assert got.digests is not None  # noqa: S101  all bytes were wanted
                    if got.contradiction is not None:
                        raise self._damaged(store, version, got.contradiction)
                    file = Source(path, got.digests)
            for name in ("sha256", "sha1"):
                wanted = getattr(expected or version, name)
                if wanted not in (None, getattr(file, name)):
                    raise self._damaged(store, version, f"expected {name} {wanted}, got {getattr(file, name)}")
            yield file

    def _damaged(self, store: FileStore, version: Version, how: str) -> IntegrityError:
        return IntegrityError(
            f"{self.key}, version {version.version_id}, in {store.address} was damaged: {how}",
            hint="Neither it nor the versions after it were copied.",
        )

    def _reporting(self, store: FileStore, size: int | None) -> Callable[[int, int | None], None]:
        """Return what is called with each block: it tells the store's progress, and ends all when told to."""

        def report(done: int, total: int | None) -> None:
            if self._plan.stop.is_set():
                raise Stopped
            if store.progress:
                store.progress(self.key, done, size if total is None else total)

        return report

    # writing

    def _send(self, original: Version, file: Source, newest: Version | None) -> Version:
        """Put one version into the target after its ``newest``, with the source's record; return what it is there."""
        identifier, prefix = self._name(original)
        report, done = self._reporting(self.target, file.size), 0

        def progress(count: int) -> None:
            nonlocal done
            done += count
            report(done, file.size)

        metadata = record(identifier, prefix, file.digests, original.content_digest)
        with self.target.explained():
            if newest and identifier is not None:
                refuse_other_name(self.target.parts, newest, self.key, identifier, prefix)
            version_id = self.target.host.put(
                self.key,
                Source(file.path, file.digests, progress),
                metadata=metadata,
                if_absent=not self._plan.versioned,
                seen=newest,
            )
        self.copied += 1
        self.sent += file.size
        return dataclasses.replace(original, version_id=version_id, etag=None, sha256=file.sha256, size=file.size)

    def _name(self, version: Version) -> tuple[str | None, str | None]:
        """Return identifier and prefix as recorded; without a record, only where the key says them plainly."""
        if version.identifier is not None:
            return version.identifier, version.assembly_prefix
        if not self.key.endswith(".nc"):
            return self.key, None
        prefix = self.source.settings.assembly_prefix
        stem = self.key.removeprefix(prefix).removesuffix(".nc")
        # "_" may stand for a dot, and another prefix is not known to be one
        plain = self.key.startswith(prefix) and stem.replace("-", "").replace("+", "").isalnum()
        return (stem, prefix) if plain else (None, None)

    # receipts

    def write_receipts(self) -> None:
        """Write the receipts of a history that is whole in the target: of its copies, and of where they are from.

        Those of the source are what makes its version ids understood when they stand alone. Nothing is
        written beyond the version that a load without a pin gives from the source: it is to give the same
        from the target. The newest comes first, so that this holds whenever the writing ends.
        """
        copies: Sequence[Copy] = self.copies
        if not copies:
            return
        told = self.source.receipts.latest(self.key)
        here = [entry for entry in told if entry.address in (None, self.source.address)]
        newest = next(iter(here or [entry for entry in told if entry.address != self.target.address]), None)
        if newest is not None:
            of_newest = [number for number, copy in enumerate(copies) if copy.digests.sha1 == newest.sha1]
            copies = copies[: of_newest[-1] + 1] if of_newest else copies
        self._write(self.source, copies, [copy.original.version_id for copy in copies])
        self._write(self.target, copies, [copy.version_id for copy in copies])

    def _write(self, store: FileStore, copies: Sequence[Copy], version_ids: Sequence[str | None]) -> None:
        known = {
            (receipt.version_id, receipt.sha256): receipt.created
            for receipt in self.target.receipts.of(self.key)
            if receipt.address == store.address
        }
        places = [(version_id, copy.digests.sha256) for version_id, copy in zip(version_ids, copies, strict=True)]
        dates = _in_order([copy.original.created for copy in copies], [known.get(place) for place in places])
        if places[-1] not in known and known:  # versions of its own, which the copies were put after
            dates[-1] = max(dates[-1], max(known.values()) + _TICK)
        for copy, place, date in reversed(list(zip(copies, places, dates, strict=True))):
            if place not in known:
                known[place] = date
                self.target.receipts.write(self._receipt(store, copy, place[0], date))

    def _receipt(self, store: FileStore, copy: Copy, version_id: str | None, created: datetime) -> Receipt:
        original, digests = copy.original, copy.digests
        of_upload = self._receipts.get((self.source.address, original.version_id))
        if of_upload is not None and of_upload.sha256 != digests.sha256:
            of_upload = None
        named = of_upload.identifier if of_upload else self._name(original)[0]
        return store.parts.receipt(
            self.key,
            original.identifier or named or self.key,
            version_id,
            digests,
            original.content_digest or (of_upload.content_digest if of_upload else None),
            created,
        )


def _in_order(told: Sequence[datetime | None], known: Sequence[datetime | None]) -> list[datetime]:
    """Return dates that rise from version to version: those ``known``, between them those ``told`` as far as they fit.

    The newest receipt is what a load without a pin takes, and hosts tell dates by the second, by another clock.
    """
    dates: list[datetime] = []
    for number, date in enumerate(known):
        if date is None:
            date = told[number] or datetime.now(UTC)
            later = [after for after in known[number + 1 :] if after is not None]
            if dates:
                date = max(date, dates[-1] + _TICK)
            if later:
                date = min(date, min(later) - _TICK)
        dates.append(date)
    return dates
