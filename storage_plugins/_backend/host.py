"""The only way from the core to a backend's operations.

Each answer is checked, what changes nothing is repeated, every operation ends by its deadline, and a
write whose answer was lost is looked for. What is learnt about hosts that answer wrongly, slowly or
never belongs here.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from .._records import Digesting, Digests, Pin
from ..atomic import WRITTEN, disk_errors
from ..errors import AlreadyExists, IntegrityError, NotSupported, StorageError, StoreUnavailable
from ..protocol import Version
from .arriving import Arriving
from .calls import ATTEMPTS, MOST_ITEMS, Calls, kind_of, wait
from .deadline import Deadline, Incoming, within
from .discovery import is_understood
from .offline import refuse_if_offline
from .operations import BLOCK, Content, FileOperations, Source

_log = logging.getLogger(__name__)
_ANY = Pin()
_DOI = re.compile(r"10\.[0-9]{4,9}/[!-~]{1,200}")
_WHOLE = 1 << 62  # bytes, more than any file has


class Sink(Protocol):
    """What a download is written to: an unbuffered binary file, say."""

    def write(self, block: memoryview, /) -> int | None:
        """Take bytes, and return how many of them."""

    def seek(self, offset: int, /) -> object:
        """Go back, to begin again."""

    def truncate(self, size: int, /) -> object:
        """Drop what was written."""


class Nowhere:
    """Takes bytes that are only to be hashed."""

    def write(self, block: memoryview, /) -> int:
        """Take them."""
        return len(block)

    def seek(self, offset: int, /) -> None:
        """Go back."""

    def truncate(self, size: int, /) -> None:
        """Drop them."""


@dataclasses.dataclass(frozen=True)
class Download:
    """What a download brought.

    Attributes:
        version: what the host says of the version.
        digests: of the bytes; None where they were not wanted, and not transferred.
        private: whether credentials were needed.
        contradiction: how the bytes differ from what the host says of them; None if they do not.
    """

    version: Version
    digests: Digests | None = None
    private: bool = True
    contradiction: str | None = None


@dataclasses.dataclass(frozen=True)
class Part:
    """Some bytes of one version.

    Attributes:
        version: what the host says of it.
        data: the bytes.
    """

    version: Version
    data: bytes


class Host(Calls):
    """A backend's operations, as the core uses them.

    Made when needed from a store's ``files``; has no state of its own.

    Args:
        files: the backend's operations.
        timeout: seconds that an operation may take without progress.
    """

    # what it is

    @property
    def address(self) -> str:
        """The location, such as ``s3://bucket/prefix``."""
        return self._checked("address", self.files.address, str)

    def uri(self, key: str, version_id: str | None) -> str:
        """Return a URI of one version; empty where no installed backend understands it."""
        uri = self._checked("uri", self.files.uri(key, version_id), str)
        return uri if is_understood(uri) else ""

    def cited(self, key: str, version_id: str | None, sha256: str) -> str:
        """Return a URI of one version with the hash of its bytes, or nothing; see `uri`."""
        uri = self.uri(key, version_id)
        return f"{uri}#sha256={sha256}" if uri else ""

    def keeps_versions(self) -> bool:
        """Ask the host whether every upload stays loadable."""
        return self._safe("keeps_versions", self.files.keeps_versions, bool)

    def creates_safely(self) -> bool:
        """Whether ``if_absent`` is atomic on this host."""
        return self._safe("creates_safely", self.files.creates_safely, bool)

    def replaces(self) -> bool:
        """Whether the host can replace a version that it does not keep."""
        return self._safe("replaces", self.files.replaces, bool)

    def removes(self) -> bool:
        """Whether the host can remove one of several versions."""
        return self._safe("removes", self.files.removes, bool)

    def free_space(self) -> int | None:
        """Return the free space in bytes, None where it is unknown."""
        return self._safe("free_space", self.files.free_space, int, None)

    @property
    def downloads(self) -> bool:
        """Whether versions must be downloaded, as they are not files of this computer."""
        return type(self.files).local_file is FileOperations.local_file

    @property
    def may_leave_uploads(self) -> bool:
        """Whether this kind of host can have unfinished uploads that are not listed."""
        return type(self.files).unfinished is not FileOperations.unfinished

    def unfinished(self) -> tuple[list[str], str]:
        """Return the names of unfinished uploads that no longer run, and what its owner can do about them."""
        match self._safe("unfinished", self.files.unfinished, tuple):
            case (list() as names, str() as advice) if all(isinstance(name, str) for name in names):
                return names, advice
            case other:
                raise self._wrong("unfinished", "a list of str and a str", got=repr(other)[:200])

    def doi(self) -> str | None:
        """Return the DOI of the location, None where it has none."""
        doi = self._safe("doi", self.files.doi, str, None)
        if doi is not None and not _DOI.fullmatch(doi):
            raise self._wrong("doi", "a DOI such as 10.17605/OSF.IO/ABC12", got=repr(doi))
        return doi

    # looking

    def versions(self, key: str) -> list[Version]:
        """Return all versions of ``key``, newest first."""
        return self._list("versions", lambda: self.files.versions(key), Version)

    def newest(self, key: str) -> Version | None:
        """Return the newest version of ``key``, None if there is none."""
        if self._is_default("newest"):
            return next(iter(self._list("versions", lambda: self.files.versions(key), Version, most=1)), None)
        return self._safe("newest", lambda: self.files.newest(key), Version, None)

    def newest_of_all(self, prefix: str) -> list[tuple[str, Version]] | None:
        """Return every key with its newest version, None where each must be asked for."""
        if self._is_default("newest_of_all"):
            return None
        deadline = Deadline(self.timeout)

        def listed() -> list[tuple[str, Version]] | None:
            answer = self.files.newest_of_all(prefix)
            return None if answer is None else list(self._each("newest_of_all", answer, tuple, deadline, MOST_ITEMS))

        pairs = self._repeated("newest_of_all", listed, deadline)
        for pair in pairs or ():
            if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], Version):
                got = ", ".join(map(kind_of, pair))
                raise self._wrong("newest_of_all", "pairs of a key and a Version", got=got)
            self._check_prefix("newest_of_all", pair[0], prefix)
            self._check_version("newest_of_all", pair[1])
        return pairs

    def keys(self, prefix: str = "") -> list[str]:
        """Return every key that begins with ``prefix``."""
        keys = self._list("keys", lambda: self.files.keys(prefix), str)
        for key in keys:
            self._check_prefix("keys", key, prefix)
        return keys

    def _check_prefix(self, operation: str, key: str, prefix: str) -> None:
        if not key.startswith(prefix):
            raise self._wrong(operation, f"only keys that begin with {prefix!r}", got=repr(key))

    def differing_in_case(self, key: str) -> list[str]:
        """Return the keys that differ from ``key`` in case only."""
        if self._is_default("differing_in_case"):
            return [other for other in self.keys() if other != key and other.casefold() == key.casefold()]
        return self._list("differing_in_case", lambda: self.files.differing_in_case(key), str)

    def local_file(self, key: str, version_id: str | None) -> tuple[Path, Version] | None:
        """Return the version's own file where it is on this computer."""
        if self._is_default("local_file"):
            return None
        answer = self._safe("local_file", lambda: self.files.local_file(key, version_id), tuple, None)
        if answer is None:
            return None
        if len(answer) != 2 or not isinstance(answer[0], Path) or not isinstance(answer[1], Version):
            raise self._wrong("local_file", "a Path and a Version", got=", ".join(type(one).__name__ for one in answer))
        self._check_version("local_file", answer[1])
        return answer

    # reading

    def download(
        self,
        key: str,
        version_id: str | None,
        sink: Sink,
        *,
        pin: Pin = _ANY,
        certain: bool = False,
        wanted: Callable[[Version], bool] = lambda version: True,
        progress: Callable[[int, int | None], None] | None = None,
        begun: BinaryIO | None = None,
    ) -> Download:
        """Write one version's bytes to ``sink``, hashed while they arrive.

        A connection that breaks is resumed at the same version. Bytes that contradict what the host says of
        them are downloaded again.

        Args:
            key, version_id: which version; None: the newest.
            sink: an unbuffered file, so that nothing is left to be written when it is closed after an error.
            pin: bytes that fit its hash are right, whatever the host says of them.
            certain: whether these bytes must fit ``pin``; otherwise they may be another version's.
            wanted: asked with the host's first answer; if it says no, nothing is transferred.
            progress: called with the bytes done and in all.
            begun: the file that is ``sink``, if it has the first bytes already. Only a file that fits ``pin`` is made
                of them; else all bytes are downloaded.

        Raises:
            IntegrityError: the host sent more or fewer bytes than it said, or other bytes after a break.
            AssemblyNotFound, AccessDenied, StoreUnavailable: from the backend.
        """
        earlier: Digests | None = None
        if begun is not None:
            try:
                got = self._download(key, version_id, sink, wanted, progress, begun)
                if got.digests is None or pin.fits(got.digests):
                    return dataclasses.replace(got, contradiction=None)
                _log.warning(
                    "What had arrived of %s from %s before was damaged. Downloading all of it", key, self.address
                )
            except StoreUnavailable:
                raise
            except StorageError as error:
                _log.info("The download of %s from %s cannot go on (%s). Beginning again", key, self.address, error)
            sink.seek(0)
            sink.truncate(0)
        while True:
            got = self._download(key, version_id, sink, wanted, progress)
            if got.digests is None:
                return got
            if pin.by_hash and (certain or pin.fits(got.digests)):
                wrong = None if pin.fits(got.digests) else f"expected {pin}, got sha256 {got.digests.sha256}"
                got = dataclasses.replace(got, contradiction=wrong)
            if got.contradiction is None:
                return got
            if got.digests == earlier:  # these are the bytes that the host has
                return got
            if earlier is not None:
                raise IntegrityError(
                    f"{key} from {self.address} was damaged on the way, each time differently: {got.contradiction}",
                    hint="Check the network and this computer's memory.",
                )
            _log.warning("%s from %s was damaged: %s. Downloading it again", key, self.address, got.contradiction)
            earlier = got.digests
            sink.seek(0)
            sink.truncate(0)

    def _download(
        self,
        key: str,
        version_id: str | None,
        sink: Sink,
        wanted: Callable[[Version], bool],
        progress: Callable[[int, int | None], None] | None,
        begun: BinaryIO | None = None,
    ) -> Download:
        refuse_if_offline(self.files.address)
        before = Digesting()
        if begun is not None:
            with disk_errors("read what arrived before"):
                begun.seek(0)
                while block := begun.read(BLOCK):
                    before.update(block)
                    if progress:
                        progress(before.size, None)

        def read(start: int, stop: int | None, known: Version | None) -> Content:
            pinned = version_id if known is None else known.version_id or version_id
            return self._read(key, pinned, start, stop, known.etag if known else None)

        what = f"Reading {key} from {self.address}"
        with Arriving(Deadline(self.timeout), what, read, self._reads_at_once(), before.size) as arriving:
            version = arriving.version
            if not wanted(version):
                return Download(version)
            if before.size and arriving.whole:  # to pass over so much could take longer than the timeout
                raise NotSupported("the host ignores ranges")
            md5_of = _WHOLE if version.md5 and not version.sha256 else None
            digesting = before if before.size else Digesting(md5_of=md5_of)
            for block in arriving:
                self._write(sink, block)
                digesting.update(block)
                if progress:
                    progress(digesting.size, version.size)
        digests = digesting.digests()
        if version.size is not None and digests.size != version.size:
            raise IntegrityError(
                f"{key} in {self.address}: expected {version.size} bytes, got {digests.size}; nothing was stored"
            )
        contradiction = _contradiction(version, digests, digesting.md5s())
        return Download(version, digests, arriving.private, contradiction)

    def read(self, key: str, version_id: str | None, start: int, stop: int, *, seen: Version | None = None) -> Part:
        """Return the bytes ``start`` to ``stop`` of one version, or fewer at its end.

        Args:
            key, version_id: which version; None: the newest.
            start, stop: of the part.
            seen: the version as an earlier part came with it: all parts are of this very version.

        Raises:
            IntegrityError: the version is another one by now.
            NotSupported: the host ignores ranges.
            AssemblyNotFound, AccessDenied, StoreUnavailable: from the backend.
        """
        deadline, what = Deadline(self.timeout), f"Reading {key} from {self.address}"
        data, version, failures = bytearray(), seen, 0
        while True:
            at = start + len(data)
            pinned = version_id if version is None else version.version_id or version_id
            etag = version.etag if version else None
            try:
                with Incoming(deadline, what, lambda: self._read(key, pinned, at, stop, etag)) as incoming:  # noqa: B023
                    version = self._same(key, version, incoming.version)
                    if incoming.whole:
                        raise NotSupported(f"{self.address} does not support reading parts of files")
                    for block in incoming.blocks():
                        data += block
                        if start + len(data) > stop:
                            raise NotSupported(f"{self.address} sends more of {key} than was asked for")
                if version.size is not None and start + len(data) < min(stop, version.size):
                    raise StoreUnavailable(f"{key} ended after {start + len(data)} bytes in {self.address}")
                return Part(version, bytes(data))
            except StoreUnavailable as error:
                failures = failures + 1 if start + len(data) == at else 1
                if failures >= ATTEMPTS or not deadline.left():
                    raise
                wait(failures, error, deadline)

    def _same(self, key: str, seen: Version | None, got: Version) -> Version:
        """Return the version that is being read; raise IntegrityError if it is another one by now."""
        if seen is None:
            return got
        for name in ("version_id", "size", "etag"):
            before, now = getattr(seen, name), getattr(got, name)
            if None not in (before, now) and before != now:
                raise IntegrityError(
                    f"{key} was replaced in {self.address} while it was read ({name} {before}, now {now})",
                    hint="Load it again.",
                )
        return seen

    def _read(self, key: str, version_id: str | None, start: int, stop: int | None, if_match: str | None) -> Content:
        content = self.files.read(key, version_id, start=start, stop=stop, if_match=if_match)
        content = self._checked("read", content, Content)
        self._check_version("read(…).version", self._checked("read(…).version", content.version, Version))
        return content

    def _reads_at_once(self) -> int:
        return self._checked("reads_at_once", self.files.reads_at_once(), int)

    def _write(self, sink: Sink, block: bytes) -> None:
        try:
            rest = memoryview(block)
        except TypeError as error:
            raise self._wrong("read(…).blocks", "blocks of bytes", got=type(block).__name__) from error
        with disk_errors("write what is being downloaded"):
            while rest:
                rest = rest[sink.write(rest[:WRITTEN]) or 0 :]

    # writing

    def part_size(self, size: int) -> int | None:
        """Return of how many bytes each the MD5 is needed for an upload; None where it is not."""
        return self._checked("part_size", self.files.part_size(size), int, None)

    def put(
        self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool, seen: Version | None = None
    ) -> str | None:
        """Store ``source`` as a new version of ``key``, and return its version id.

        Where the answer to the write was lost, or proves nothing, what is there is compared with
        ``source``. ``seen`` is the newest version from before.
        """
        return self._stored(
            "put", key, source, seen, lambda file: self.files.put(key, file, metadata=metadata, if_absent=if_absent)
        )

    def replace(self, key: str, source: Source, *, metadata: Mapping[str, str], seen: Version) -> str | None:
        """Store ``source`` in place of the version ``seen``; otherwise as `put`."""
        return self._stored(
            "replace", key, source, seen, lambda file: self.files.replace(key, file, metadata=metadata, seen=seen)
        )

    def _stored(
        self,
        operation: str,
        key: str,
        source: Source,
        seen: Version | None,
        write: Callable[[Source], str | None],
    ) -> str | None:
        refuse_if_offline(self.files.address)
        deadline = Deadline(self.timeout)

        def progress(count: int) -> None:
            deadline.sent(count)
            if source.progress:
                source.progress(count)

        file = dataclasses.replace(source, progress=progress)
        try:
            answer = within(deadline, f"Uploading {key} to {self.address}", lambda: write(file))
        except (StoreUnavailable, AlreadyExists) as error:
            found = self._found_after(key, source, seen) if deadline.left() else None
            if found is None:
                raise
            _log.info("%s; it is there all the same, as version %s", error.message, found.version_id)
            return found.version_id
        return self._checked(operation, answer, str, None)

    def _found_after(self, key: str, source: Source, seen: Version | None) -> Version | None:
        """Return the version that a write without an answer made; None where there is none, or it cannot be seen."""
        try:
            versions = self.versions(key)
        except StorageError as error:
            _log.info("Whether %s was stored in %s cannot be seen (%s)", key, self.address, error.message)
            return None
        named = seen is not None and seen.version_id not in (None, "null")  # else it may be other bytes by now
        known = seen.sha256 if seen else None
        for version in versions:
            old = seen is not None and (version.version_id == seen.version_id if named else version.etag == seen.etag)
            anew = old and known not in (None, version.sha256)  # that one was deleted, and ids are numbers
            if (anew or not old) and (version.sha256, version.size) == (source.sha256, source.size):
                return version
            if old:
                return None
        return None

    def discard(self, key: str) -> None:
        """Delete ``key`` with all its versions."""
        self._once("discard", lambda: self.files.discard(key), None)

    def remove(self, key: str, version_id: str | None) -> list[Version]:
        """Remove one version's bytes for good, look that it is gone, and return the others that are gone as well."""
        before = self.versions(key)
        self._once("remove", lambda: self.files.remove(key, version_id), None)
        after = {version.version_id for version in self.versions(key)}
        if version_id in after:
            raise StoreUnavailable(f"{self.address} still has {key}, version {version_id}, after it was removed")
        return [version for version in before if version.version_id not in {version_id, *after}]

    # who may read

    def anonymous(self) -> Host | None:
        """Return the same files as readers without credentials see them; None: there is no such access."""
        readers = self._safe("anonymous", self.files.anonymous, FileOperations, None)
        return None if readers is None else Host(readers, self.timeout)

    def publish(self, key: str, version_id: str | None) -> str | None:
        """Make one version public; return the version id that anonymous readers give."""
        return self._once("publish", lambda: self.files.publish(key, version_id), str, None)

    def unpublish(self, key: str, version_id: str | None) -> None:
        """Make one version private."""
        self._safe("unpublish", lambda: self.files.unpublish(key, version_id), None)

    def why_still_private(self, key: str) -> str:
        """Return what has to be done where publishing was not enough."""
        return self._safe("why_still_private", lambda: self.files.why_still_private(key), str)

    def place_is_public(self) -> bool | None:
        """Whether anyone can read everything at this location; None: each file has its own access."""
        return self._safe("place_is_public", self.files.place_is_public, bool, None)

    def publish_place(self) -> None:
        """Make the whole location public."""
        self._safe("publish_place", self.files.publish_place, None)

    def describe_place(self) -> str:
        """Return in words what `publish_place` would make public."""
        return self._safe("describe_place", self.files.describe_place, str)

    def longest_link(self) -> int | None:
        """Return for how many seconds a link can be valid, None where there is no limit."""
        return self._safe("longest_link", self.files.longest_link, int, None)

    def share(self, key: str, version_id: str | None, seconds: int) -> str:
        """Return a link to one version that expires."""
        return self._safe("share", lambda: self.files.share(key, version_id, seconds), str)


def _contradiction(version: Version, got: Digests, md5s: Sequence[bytes]) -> str | None:
    """Return how bytes differ from what the host says of them; None if they do not."""
    for name, expected, actual in (
        ("sha256", version.sha256, got.sha256),
        ("sha1", version.sha1, got.sha1),
        ("md5", version.md5 if md5s else None, md5s[0].hex() if md5s else None),
    ):
        if expected not in (None, actual):
            return f"expected {name} {expected}, got {actual}"
    return None
