"""One name in one store: what should be there, compared with what is."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .._backend.host import Nowhere
from .._identifiers import assembly_key
from .._records import Digests, Pin
from .._store.replaced import replaced_key
from .._store.withdrawn import meant, withdrawn_from
from ..errors import AccessDenied, AssemblyNotFound, IntegrityError, NotSupported, StorageError
from ..protocol import Version
from .expected import Expected
from .reading import Place, Reader, Stopped
from .report import State, Verified

if TYPE_CHECKING:
    from .._store.file_store import FileStore

_log = logging.getLogger(__name__)
_HIDDEN = "it was deleted, so that it is not listed; its versions are still there"
_NO_RECORD = "its record is lost: without receipts, it is not found by its hash"


class Finding(NamedTuple):
    """A version's state, and what was expected of it; None for a version that nobody expected."""

    expected: Expected | None
    verified: Verified


class Unsound(Exception):
    """A version is not whole."""

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state, self.reason = state, reason


class Comparison:
    """The comparison of one key.

    Args:
        store: the store.
        key: the file.
        expected: what should be there.
        hidden: whether the store does not list this key.
        reader: reads every byte; None: the store's own word is enough.
    """

    def __init__(
        self,
        store: FileStore,
        key: str,
        expected: Sequence[Expected],
        *,
        hidden: bool = False,
        reader: Reader | None = None,
    ) -> None:
        self._store, self._host, self._key = store, store.host, key
        self._expected, self._hidden, self._reader = expected, hidden, reader

    def run(self) -> list[Finding]:
        """Return the state of each version that is expected or there."""
        try:
            return list(self._compared())
        except Stopped:
            raise
        except Exception as error:  # a backend's mistake, too, is one file's trouble
            _log.debug("%s could not be verified", self._key, exc_info=error)
            return self.unsound(error) or [self._unsound(self._nobody(), unsound_by(error))]

    def unsound(self, error: Exception) -> list[Finding]:
        """Return what an error of the whole key or store says of each version that is expected."""
        return [self._unsound(one, unsound_by(error)) for one in self._expected]

    def _compared(self) -> Iterator[Finding]:
        try:
            versions = self._host.versions(self._key)
        except (AccessDenied, NotSupported) as error:
            yield from self._one_by_one(error)
            return
        taken: set[int] = set()
        withdrawn = {one.sha256 for one in self._store.receipts.withdrawn(self._key)}
        matched = [(one, _match(one, versions)) for one in self._expected]
        taken.update(id(version) for _, version in matched if version is not None)
        unexpected = [version for version in versions if id(version) not in taken]
        for one, version in matched:
            if one.sha256 in withdrawn and version is None:
                continue
            try:
                if one.sha256 in withdrawn:
                    raise Unsound("changed", "it was withdrawn, and its bytes are still there")
                yield self._judged(one, version, versions, unexpected)
            except Unsound as unsound:
                if unsound.state != "missing" or not self._was_withdrawn(one):
                    yield self._unsound(one, unsound)
        for version in unexpected:
            yield self._judged_alone(version, over=versions[1:] if version is versions[0] else ())

    def _one_by_one(self, refusal: StorageError) -> Iterator[Finding]:
        """Ask for each version by its id, where they may not be listed."""
        if not self._expected:
            yield self._unsound(self._nobody(), unsound_by(refusal))
        for one in self._expected:
            try:
                version = self._peeked((self._key, one.version_id))
                if one.fits(version) is False:
                    raise Unsound("changed", f"it is {_named(version)} now")
                yield self._checked(one, (self._key, one.version_id), version)
            except Unsound as unsound:
                yield self._unsound(one, unsound)

    def _judged(
        self, one: Expected, version: Version | None, versions: Sequence[Version], unexpected: Sequence[Version]
    ) -> Finding:
        """Compare what is expected with the version of its id or hash."""
        if version is not None:
            if one.fits(version) is False:
                raise Unsound("changed", f"version {version.version_id} has sha256 {version.sha256} now")
            finding = self._checked(one, (self._key, version.version_id), version)
            if self._hidden and version is versions[0]:
                raise Unsound("missing", _HIDDEN)
            return finding
        replaced = self._replaced(one)
        if replaced is not None:
            return self._checked(one, *replaced)
        for other in unexpected:
            if self._reader is not None and one.fits(other) is None and one.fits(self._read_of(other)):
                return self._checked(one, (self._key, other.version_id), other)
            if one.elsewhere and one.fits(other) is None and one.size == other.size and self._reader is None:
                return self._checked(one, (self._key, other.version_id), other)
        if unexpected and not one.elsewhere:
            raise Unsound("changed", f"it is gone; there is {', '.join(map(_named, unexpected))} instead")
        raise Unsound("missing", "it is not there" if versions else f"there is no {self._key}")

    def _checked(self, one: Expected, place: Place, version: Version) -> Finding:
        """Compare size, record and, where they are to be read, the bytes."""
        lost = one.recorded and version.content_digest is None
        if one.fits(version) is None and self._reader is None:
            seen = self._peeked(place)  # a listing may hide that it is denied, and its record
            if one.fits(seen) is False:
                raise Unsound("changed", f"it is {_named(seen)} now")
            version = dataclasses.replace(version, sha1=seen.sha1, sha256=seen.sha256)
            lost = lost and seen.content_digest is None
        if one.size is not None and version.size not in (None, one.size):
            state: State = "damaged" if one.fits(version) else "changed"
            raise Unsound(state, f"expected {one.size} bytes, got {version.size}")
        if self._reader is not None:
            digests, contradiction = self._read(place, version)
            fits = one.fits(digests)
            if fits is False:
                raise Unsound("damaged", f"expected {_hash(one)}, got {_hash(digests)}")
            if fits is None and contradiction is not None:
                raise Unsound("damaged", contradiction)
        if lost:
            raise Unsound("changed", _NO_RECORD)
        return Finding(one, self._verified(one, version, "whole", self._note(one, place, version)))

    def _note(self, one: Expected, place: Place, version: Version) -> str | None:
        if self._reader is None and one.fits(version) is None:
            compared = "its name" if one.size is None or version.size is None else "its size"
            return f"the store has no record of it: only {compared} was compared"
        if place[0] != self._key:
            return "it was replaced; its bytes are still there"
        if one.version_id not in (None, "null", version.version_id):
            return f"it is version {version.version_id} now"
        return None

    def _judged_alone(self, version: Version, *, over: Sequence[Version]) -> Finding:
        """Compare a version that nobody expected with its own record.

        ``over``: the older ones, of the newest. One without a record on top of recorded ones was put there by other
        means, and loads without a pin may give it.
        """
        named = next((older.identifier for older in over if older.identifier), None)
        one = Expected(
            identifier=version.identifier or named or self._key,
            key=self._key,
            version_id=version.version_id,
            sha1=version.sha1,
            sha256=version.sha256,
            size=version.size,
        )
        note = None
        try:
            if version.identifier is not None and version.assembly_prefix is not None:
                own = assembly_key(version.identifier, version.assembly_prefix)
                if own != self._key:
                    note = f"it was stored as {own}, and is {self._key} now"
            if self._reader is not None:
                _, contradiction = self._read((self._key, version.version_id), version)
                if contradiction is not None:
                    raise Unsound("damaged", contradiction)
            if version.identifier is None and named is not None:
                raise Unsound("changed", "it was put over the earlier versions without a record, and has no receipt")
        except StorageError as error:  # an identifier that none can have
            return self._unsound(one, unsound_by(error), expected=False)
        except Unsound as unsound:
            return self._unsound(one, unsound, expected=False)
        return Finding(None, self._verified(one, version, "whole", note))

    def _replaced(self, one: Expected) -> tuple[Place, Version] | None:
        """Return where an upload put what it replaced on a host without versions."""
        if one.sha256 is None or not self._host.replaces():
            return None
        key = replaced_key(self._key, one.sha256)
        try:
            version = self._host.newest(key)
        except StorageError as error:
            raise unsound_by(error) from error
        return None if version is None else ((key, None), dataclasses.replace(version, sha256=one.sha256))

    def _was_withdrawn(self, one: Expected) -> bool:
        """Whether the store itself says that what is missing was withdrawn."""
        with contextlib.suppress(StorageError):
            pin = Pin(one.version_id, one.sha1, one.sha256)
            return pin.names_version and meant(withdrawn_from(self._host, self._key), pin) is not None
        return False

    # asking

    def _peeked(self, place: Place) -> Version:
        """Return what the host says of a version when its bytes are asked for; none are transferred."""
        try:
            with self._store.explained():
                return self._host.download(*place, Nowhere(), wanted=lambda _: False).version
        except StorageError as error:
            raise unsound_by(error) from error

    def _read(self, place: Place, version: Version) -> tuple[Digests, str | None]:
        assert self._reader is not None  # noqa: S101  for mypy
        try:
            return self._reader.read(place, version)
        except StorageError as error:
            raise unsound_by(error) from error

    def _read_of(self, version: Version) -> Digests:
        return self._read((self._key, version.version_id), version)[0]

    # findings

    def _nobody(self) -> Expected:
        return Expected(identifier=self._key, key=self._key)

    def _unsound(self, one: Expected, unsound: Unsound, *, expected: bool = True) -> Finding:
        return Finding(one if expected else None, self._verified(one, None, unsound.state, unsound.reason))

    def _verified(self, one: Expected, version: Version | None, state: State, reason: str | None) -> Verified:
        return Verified(
            store=self._store.name,
            address=self._store.address,
            identifier=one.identifier,
            key=self._key,
            version_id=one.version_id if version is None else version.version_id,
            sha1=one.sha1,
            sha256=one.sha256,
            size=one.size,
            state=state,
            read=self._reader is not None and state == "whole",
            reason=reason,
        )


def _match(one: Expected, versions: Iterable[Version]) -> Version | None:
    """Return the version with the hash of what is expected, else the one with its id."""
    named = [version for version in versions if one.version_id is not None and version.version_id == one.version_id]
    fitting = [version for version in versions if one.fits(version)]
    both = [version for version in named if one.fits(version)]
    return next(iter([*both, *fitting, *named]), None)


def unsound_by(error: Exception) -> Unsound:
    """Return what an error says of a version."""
    states: tuple[tuple[type[Exception], State], ...] = (
        (AssemblyNotFound, "missing"),
        (AccessDenied, "denied"),
        (IntegrityError, "damaged"),
    )
    state = next((state for kind, state in states if isinstance(error, kind)), "unreachable")
    reason = error.message if isinstance(error, StorageError) else f"{type(error).__name__}: {error}"
    return Unsound(state, " ".join(reason.split()))  # type: ignore[arg-type]


def _hash(known: Expected | Digests) -> str:
    return f"sha256 {known.sha256}" if known.sha256 else f"sha1 {known.sha1}"


def _named(version: Version) -> str:
    what = f"version {version.version_id}" if version.version_id else "a file without versions"
    return f"{what} ({version.size} bytes)"
