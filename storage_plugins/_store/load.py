"""Which bytes a load means: a pin is resolved to one verified local file.

With a hash, the hash is the identity and ``version_id`` a hint; the places are tried in the order of
`Loader.fetch`. The rules, with their reasons, are in ``docs/pins.md``.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence

from .._copies.receipts import ImportedPin
from .._identifiers import assembly_key
from .._records import Cached, Digests, Pin
from .._visible import visible
from ..atomic import disk_errors
from ..errors import (
    AccessDenied,
    AssemblyNotFound,
    AssemblyWithdrawn,
    IntegrityError,
    InvalidPin,
    NotSupported,
    PluginError,
    StorageError,
    StoreUnavailable,
)
from ..protocol import Receipt, Version
from .parts import Parts
from .replaced import replaced_key, replaced_versions
from .stale import describe, warn_if_stale
from .withdrawn import meant, refuse, refuse_withdrawn, visible_withdrawals

_log = logging.getLogger(__name__)
_MOST_DOWNLOADS = 8  # of versions nobody described, in search of one hash
_NOTHING = Pin()
Place = tuple[str, str | None]  # key and version id


@dataclasses.dataclass
class _Search:
    """What was learnt in the search of one hash: which versions were tried, and what those read turned out to be."""

    tried: set[Place] = dataclasses.field(default_factory=set)
    found: dict[Place, Digests] = dataclasses.field(default_factory=dict)
    certain: set[Place] = dataclasses.field(default_factory=set)  # of which a receipt says that they fit
    denied: AccessDenied | None = None
    damaged: IntegrityError | None = None


class Loader:
    """Finds the file that a pin means, in one store."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._host = parts, parts.host
        self._cache, self._receipts = parts.cache, parts.receipts
        self._progress: Callable[[], None] = lambda: None  # for those who wait for this download

    def fetch(self, key: str, pin: Pin, identifier: str | None = None) -> Cached:
        """Return the verified local file that ``pin`` means.

        With a hash, in this order: the cache; a receipt with that hash, giving this store's own version
        id; the version id given; versions whose record has that hash; the other versions, newest
        first, at most eight of them. The first bytes with the hash win.

        With a version id alone: this store's version of that id, or the one that receipts name; an
        error if those are different bytes. With nothing: the newest receipt, or, with ``pin.newest`` or
        without receipts, the store's newest version of ``identifier``.

        An imported pin counts as a receipt that has a sha1 and no date; see `Receipts.latest`.

        Raises:
            AssemblyWithdrawn, AssemblyNotFound, AccessDenied, IntegrityError, InvalidPin, StoreUnavailable
        """
        refuse_withdrawn(self._parts, key, pin, identifier)
        try:
            if pin.by_hash:
                return self._by_hash(key, pin)
            if pin.version_id:
                found = self._by_version(key, pin.version_id)
                if found is not None:
                    return found
            return self._unpinned(key, identifier, pin.newest)
        except AssemblyWithdrawn:
            raise
        except AssemblyNotFound:
            withdrawn = meant(visible_withdrawals(self._parts, key), pin)
            if withdrawn is not None:
                raise refuse(self._cache, withdrawn) from None
            raise

    def own(self, key: str, version_id: str | None) -> Cached:
        """Return this store's own version of that id, whatever has the id elsewhere. None: its newest."""
        for receipt in self._receipts.of(key):
            if version_id and (receipt.address, receipt.version_id) == (self._host.address, version_id):
                return self._by_hash(key, Pin(version_id, sha256=receipt.sha256))
        found, version = self._read(key, (key, version_id))
        self._check_id(key, version_id, version)
        self._check_record(key, found, self._described(key, found, version))
        return found

    # with a hash

    def _by_hash(self, key: str, pin: Pin, *, thorough: bool = True) -> Cached:
        cached = self._cache.find(key, sha1=pin.sha1, sha256=pin.sha256)
        if cached is not None:
            return cached
        if not self._host.downloads:
            return self._found_by_hash(key, pin, thorough)[1]
        with self._cache.turn(f"{key} {pin.sha256 or pin.sha1}") as self._progress:
            cached = self._cache.find(key, sha1=pin.sha1, sha256=pin.sha256)  # somebody may have downloaded it by now
            return cached if cached is not None else self._found_by_hash(key, pin, thorough)[1]

    def own_by_hash(self, key: str, pin: Pin) -> tuple[str | None, Cached]:
        """Return the id of this store's own version with a hash, and its verified file."""
        (found_key, version_id), found = self._found_by_hash(key, pin, thorough=True)
        if found_key != key:
            raise NotSupported(
                f"{self._parts.named(key)}: the version with {pin} was replaced, and only the newest can be shared"
            )
        return version_id, found

    def _found_by_hash(self, key: str, pin: Pin, thorough: bool) -> tuple[Place, Cached]:
        """Return where in the store the bytes with a hash are, and their verified file."""
        search = _Search()
        for place in self._places(key, pin, search, thorough):
            if place in search.tried:
                continue
            search.tried.add(place)
            found = self._attempt(key, place, pin, search)
            if found is not None and pin.fits(found.digests):
                if pin.version_id not in (None, "null", place[1]):
                    _log.warning(
                        "%s has no version %s with the pinned hash; loaded the bytes with that hash, version %s",
                        self._parts.named(key),
                        visible(str(pin.version_id)),
                        visible(str(place[1])),
                    )
                return place, found
        raise self._not_found(key, pin, search)

    def _places(self, key: str, pin: Pin, search: _Search, thorough: bool) -> Iterator[Place]:
        """Yield where to look for a hash, likeliest first.

        Records are hints that may be wrong, so a thorough search ends with the versions that are
        described as something else.
        """
        known = [entry for entry in self._receipts.known(key) if pin.fits(entry)]
        for entry in known:
            if entry.address == self._host.address:
                search.certain.add((key, entry.version_id))
                yield key, entry.version_id
        if pin.version_id:
            yield key, pin.version_id
        sha256 = pin.sha256 or next((entry.sha256 for entry in known if entry.sha256), None)
        versions = self._listed(key)
        if versions is None:
            yield key, None  # its newest version can perhaps be read all the same
            if sha256 is not None:
                yield from self._replaced(key, pin, sha256)
            return
        described = [version for version in versions if version.sha1 or version.sha256]
        matching = [version for version in described if pin.fits(version)]
        yield from ((key, version.version_id) for version in matching[:_MOST_DOWNLOADS])
        yield from self._replaced(key, pin, sha256)
        rest = itertools.chain(
            (version for version in versions if version not in described),
            self._described_otherwise(key, pin, described, matching) if thorough else (),
        )
        untried = ((key, version.version_id) for version in rest if (key, version.version_id) not in search.tried)
        yield from itertools.islice(untried, max(0, _MOST_DOWNLOADS - len(matching)))

    def _described_otherwise(
        self, key: str, pin: Pin, described: Sequence[Version], matching: Sequence[Version]
    ) -> Iterator[Version]:
        """Yield versions whose records would have to be wrong, unless what is wanted was withdrawn."""
        withdrawn = meant(visible_withdrawals(self._parts, key), pin) if len(described) > len(matching) else None
        if withdrawn is not None:
            raise refuse(self._cache, withdrawn)
        yield from (version for version in described if version not in matching)

    def _replaced(self, key: str, pin: Pin, sha256: str | None) -> Iterator[Place]:
        """Yield where an upload put what it replaced on a host without versions."""
        if not self._host.replaces():
            return
        if sha256 is None:
            sha256 = next((old.sha256 for old in replaced_versions(self._host, key) if pin.fits(old)), None)
        if sha256 is not None:
            yield replaced_key(key, sha256), None

    def _attempt(self, key: str, place: Place, pin: Pin, search: _Search) -> Cached | None:
        """Read one version; None, and noted in ``search``, where that is not possible."""
        try:
            # "null", and no id at all, may be other bytes by now
            certain = place in search.certain and place[1] not in (None, "null")
            found, _ = self._read(key, place, pin, certain=certain)
        except AssemblyNotFound:
            return None
        except AccessDenied as error:
            search.denied = error
            return None
        except IntegrityError as error:
            search.damaged = error
            return None
        search.found[place] = found.digests
        return found

    def _not_found(self, key: str, pin: Pin, search: _Search) -> Exception:
        if search.denied is not None:
            return search.denied
        if search.damaged is not None:
            return search.damaged
        if not search.found:
            return AssemblyNotFound(
                f"{self._parts.named(key)}: no version with {pin}",
                hint="See what is there with `storage-plugins ls` and `storage-plugins versions`.",
            )
        got = ", ".join(
            f"{hashes.sha1 if pin.sha1 else hashes.sha256} (version {version_id})"
            for (_, version_id), hashes in search.found.items()
        )
        return IntegrityError(
            f"{self._parts.named(key)}: expected {pin}, got {got}",
            hint="Compare the pin with the upload's receipt, or ask whoever gave it to you.",
        )

    # with a version id alone

    def _by_version(self, key: str, version_id: str) -> Cached | None:
        """Return what the version id means; None if it is the "null" that pins nothing here."""
        known = [entry for entry in self._receipts.known(key) if entry.version_id == version_id]
        here = [entry for entry in known if self._is_here(entry)]
        claims = [(_where(entry), entry) for entry in known]
        if known:
            _agree(key, version_id, claims)
        if here:
            return self._by_hash(key, Pin.of(here[0], version_id))
        try:
            found, version = self._read(key, (key, version_id))
        except AssemblyNotFound:
            if known:
                return self._by_hash(key, Pin.of(known[0]))
            if version_id == "null":
                return None
            raise
        except StoreUnavailable:
            cached = self._cache.find(key, sha1=known[0].sha1, sha256=known[0].sha256) if known else None
            if cached is None:
                raise
            return cached
        self._check_id(key, version_id, version)
        self._check_record(key, found, self._described(key, found, version))
        _agree(key, version_id, [*claims, (repr(self._parts.name), found.digests)])
        return found

    # without a pin

    def _unpinned(self, key: str, identifier: str | None, newest: bool) -> Cached:
        if not newest:
            latest = self._receipts.latest(key, identifier)
            here = [entry for entry in latest if self._is_here(entry)]
            for entry in [*here[:1], *latest[:1]]:
                try:
                    found = self._by_hash(key, Pin.of(entry), thorough=bool(here))
                except AssemblyWithdrawn:
                    raise
                except (AssemblyNotFound, IntegrityError):
                    if here:
                        raise
                    break  # uploaded to another store only: what is here is for this one to say
                _log.info("%s without a pin: took %s", self._parts.named(key), describe(entry))
                warn_if_stale(self._parts, key, identifier, entry)
                return found
        try:
            return self._newest(key, identifier)
        except StoreUnavailable as error:
            if not newest and not error.hint:
                error.hint = "Without a pin and without a receipt, only the store can say what is newest."
            raise

    def _newest(self, key: str, identifier: str | None) -> Cached:
        """Return the store's newest version, passing over those of another identifier."""
        found, version = self._read(key, (key, None))
        if identifier is not None and not version.answers_to(identifier):
            others = self._host.versions(key)
            mine = next((other for other in others if other.answers_to(identifier)), None)
            if mine is None:
                raise AssemblyNotFound(
                    f"{self._parts.named(key)} holds {version.identifier!r}, not {identifier!r}",
                    hint="Two names that differ in . and _ only share a file name.",
                )
            found, version = self._read(key, (key, mine.version_id))
        self._check_record(key, found, version)
        for withdrawn in visible_withdrawals(self._parts, key) if self._host.removes() else ():
            if withdrawn.newest and withdrawn.older == version.version_id:  # else a newer one was uploaded since
                raise refuse(self._cache, withdrawn, withdrawn.older)
        return found

    def _is_here(self, entry: Receipt | ImportedPin) -> bool:
        """Whether it is of this store. A pin whose source names no place is of whichever place is in use."""
        return entry.address in (None, self._host.address)

    # one version

    def _described(self, key: str, found: Cached, version: Version) -> Version:
        """Return what the host's list says of a version, where its answer with the bytes said nothing of them."""
        if version.sha256 or version.created:
            return version
        same = [listed for listed in self._listed(key) or () if listed.version_id == version.version_id]
        fitting = [listed for listed in same if listed.sha256 == found.digests.sha256]  # racing uploads may share an id
        return (fitting or same or [version])[0]

    def _listed(self, key: str) -> Sequence[Version] | None:
        """Return the versions of a file; None if this user may not list them."""
        try:
            return self._host.versions(key)
        except (StoreUnavailable, PluginError):
            raise
        except StorageError as error:
            _log.info("The versions of %s cannot be listed (%s)", self._parts.named(key), error)
            return None

    def _check_id(self, key: str, wanted: str | None, got: Version) -> None:
        """Without a hash to go by, an answer that says it is another version is not taken for the one asked for."""
        if wanted and got.version_id not in (None, wanted):
            raise IntegrityError(f"{self._parts.named(key)}: asked for version {wanted}, got version {got.version_id}")

    def _check_record(self, key: str, found: Cached, version: Version) -> None:
        """Without a hash to go by, bytes must be those recorded at their upload, of this very file."""
        if version.sha256 not in (None, found.digests.sha256):
            raise self._damaged(key, f"expected sha256 {version.sha256}, got {found.digests.sha256}")
        if version.identifier is not None and version.assembly_prefix is not None:
            of = assembly_key(version.identifier, version.assembly_prefix)
            if of != key:
                raise IntegrityError(
                    f"{self._parts.named(key)}: version {version.version_id} belongs to {version.identifier!r} ({of})",
                    hint="Check the version id. If it is right, report this to the author of the backend.",
                )

    def _damaged(self, key: str, how: str) -> IntegrityError:
        return IntegrityError(
            f"{self._parts.named(key)} was damaged: {how}, as recorded at its upload",
            hint="Load an earlier version, and inform the owner of the store.",
        )

    def _read(self, key: str, place: Place, pin: Pin = _NOTHING, *, certain: bool = False) -> tuple[Cached, Version]:
        """Return one version's file, hashed, and its description. ``key`` is the file's name in the cache.

        Where the newest is asked for and its record names bytes in the cache, they are not read again.
        """
        local = self._host.local_file(*place)
        if local is not None:
            path, version = local
            with disk_errors(f"read {self._parts.named(key)}"):
                return self._cache.verify(path), version
        held: list[Cached] = []

        def wanted(version: Version) -> bool:
            if place[1] is None and version.sha256:
                held.extend(filter(None, [self._cache.find(key, sha256=version.sha256)]))
            return not held

        shared = self._parts.settings.cache == "shared"
        report = self._parts.reporting(key)

        def progress(done: int, size: int | None) -> None:
            self._progress()
            report(done, size)

        lasting = pin.by_hash and place[1] not in (None, "null")
        with self._cache.incoming(f"{self._host.address} {place}" if lasting else "") as (sink, path):
            begun = sink if sink.seek(0, os.SEEK_END) else None
            got = self._host.download(
                *place, sink, pin=pin, certain=certain, wanted=wanted, progress=progress, begun=begun
            )
            if got.digests is None:
                return held[0], got.version
            if got.contradiction is not None:
                raise self._damaged(key, got.contradiction)
            cached = self._cache.adopt(sink, path, got.digests, key, private=got.private and not shared)
        return cached, got.version


def _agree(key: str, version_id: str, claims: Sequence[tuple[str, Receipt | ImportedPin | Digests]]) -> None:
    """Raise InvalidPin unless all claims, each with where it is from, are of the same bytes."""
    hashes = [hash_ for _, hash_ in claims]
    if len({one.sha1 for one in hashes}) > 1 or len({one.sha256 for one in hashes} - {None}) > 1:
        found = [f"{where} {f'sha256 {one.sha256}' if one.sha256 else f'sha1 {one.sha1}'}" for where, one in claims]
        raise InvalidPin(
            f"Version {version_id} of {key} is ambiguous: in {'; in '.join(dict.fromkeys(found))}",
            hint="Give its hash: load(…, sha1=…).",
        )


def _where(entry: Receipt | ImportedPin) -> str:
    return repr(entry.store) if isinstance(entry, Receipt) else entry.address or "imported sources"
