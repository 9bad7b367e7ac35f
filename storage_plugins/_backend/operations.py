"""What the author of a backend writes: a few file operations, and the types that they take and return.

The core makes a whole `AssemblyStore` of them: identifiers, pins, receipts, the cache, hashing, retries and
the file format are its work. A backend moves bytes, and returns what the host answered.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import quote

from .._records import Digesting, Digests
from ..atomic import disk_errors
from ..errors import IntegrityError, NotSupported
from ..protocol import Version

BLOCK = 1 << 20  # bytes read and hashed at a time: hash speed hardly depends on it, memory does


@dataclasses.dataclass(frozen=True)
class Source:
    """A local file that is about to be uploaded, hashed once before the first request.

    Attributes:
        path: where it is.
        digests: its hashes and size, also as ``size`` (bytes), ``sha1`` and ``sha256`` (lower-case hex).
        progress: called with the number of bytes of each block sent.
        parts: the size of the parts of which MD5s are known, and the MD5s; see `md5s`.
    """

    path: Path
    digests: Digests
    progress: Callable[[int], None] | None = dataclasses.field(default=None, compare=False, repr=False)
    parts: tuple[int, tuple[bytes, ...]] | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.digests.size

    @property
    def sha1(self) -> str:
        """Lower-case hex digest."""
        return self.digests.sha1

    @property
    def sha256(self) -> str:
        """Lower-case hex digest."""
        return self.digests.sha256

    @classmethod
    def of(cls, path: Path, progress: Callable[[int], None] | None = None, *, part_size: int | None = None) -> Self:
        """Hash the file at ``path``, and each part of ``part_size`` bytes with MD5, reading it once."""
        digesting = Digesting(md5_of=part_size)
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digesting.update(block)
        return cls(path, digesting.digests(), progress, (part_size, digesting.md5s()) if part_size else None)

    def md5s(self, part_size: int) -> tuple[bytes, ...]:
        """Return the MD5 of each part of ``part_size`` bytes; of the last part, what is left.

        Known from the first reading if `FileOperations.part_size` asked for these parts. Otherwise the file is read
        again.

        Raises:
            IntegrityError: the file was changed after it was hashed.
        """
        if self.parts is not None and self.parts[0] == part_size:
            return self.parts[1]
        return self._read_again(part_size).md5s()

    def verify(self) -> None:
        """Read the file again, and fail unless it has the bytes that were hashed.

        Raises:
            IntegrityError: the file was changed after it was hashed.
        """
        self._read_again(None)

    def _read_again(self, part_size: int | None) -> Digesting:
        digesting = Digesting(md5_of=part_size)
        with disk_errors(f"read {self.path.name}"), self.path.open("rb") as file:
            while block := file.read(BLOCK):
                digesting.update(block)
        self._check(digesting.digests().sha256, digesting.size)
        return digesting

    def open(self) -> BinaryIO:
        """Open the file for a client that wants a seekable file. The caller closes it."""
        return self.path.open("rb")

    def blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        """Yield the file in blocks of ``size`` bytes, and fail unless they are the bytes that were hashed.

        The last block comes only after the whole file proved unchanged, so that an upload made of these
        blocks cannot complete with other bytes. An empty file yields no block.

        Raises:
            IntegrityError: the file was changed after it was hashed.
        """
        sha256, done = hashlib.sha256(), 0
        with disk_errors(f"read {self.path.name}"), self.path.open("rb") as file:
            block = file.read(size)
            while block:
                sha256.update(block)
                done += len(block)
                following = file.read(size)
                if not following:
                    self._check(sha256.hexdigest(), done)
                yield block
                if self.progress:
                    self.progress(len(block))
                block = following
        if not done:
            self._check(sha256.hexdigest(), 0)

    def _check(self, sha256: str, size: int) -> None:
        if (sha256, size) != (self.sha256, self.size):
            raise IntegrityError(
                f"{self.path.name} was changed while it was being uploaded; nothing of it was stored",
                hint="Upload it again when no other program writes to it.",
            )


class Content:
    """One version's bytes while they arrive: what the host says of the version, and an iterator of blocks.

    A context manager; leaving it ends the transfer.

    Attributes:
        version: what the host's answer says of these bytes. ``size`` is that of the whole file,
            whatever range was requested.
        blocks: the requested bytes, in order.
        private: whether credentials were needed; the copy then stays in the user's own cache.
        whole: whether the server ignored the range and sends the whole file, of which ``blocks`` passes over the rest.
    """

    def __init__(self, version: Version, blocks: Iterator[bytes], *, private: bool = True, whole: bool = False) -> None:
        self.version = version
        self.blocks = blocks
        self.private = private
        self.whole = whole

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close = getattr(self.blocks, "close", None)
        if close is not None:
            close()


class FileOperations(abc.ABC):
    """The transport of a backend: the host's files, under keys, in immutable versions.

    Every method raises only this package's errors, with the SDK's error as the cause. Keys are already
    checked: ASCII letters, digits, ``. _ - +``; where the host `replaces`, also ``.versions/<key>/<file name>``.
    Instances are pickled and shared between threads: create clients lazily, once per process, and leave
    them out of the pickle. The core runs each operation under a deadline, in a thread of its own.
    """

    @property
    @abc.abstractmethod
    def address(self) -> str:
        """The location, the same for all who mean it: ``s3://bucket/prefix``. No secrets."""

    @abc.abstractmethod
    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
        """Store ``source`` as a new version of ``key`` and return its version id, None if it has none.

        The id must come from the answer to the write. ``metadata`` is stored with the version, and returned
        by `versions` and `read` through `Version.described`. Either the whole file becomes a version or
        nothing does.

        Raises:
            AlreadyExists: ``if_absent`` and the key has a version.
            IntegrityError: the bytes that arrived are not those of ``source``.
            StoreUnavailable: no answer, or one that does not prove that the file was stored. The core then
                looks whether it is there.
        """

    def part_size(self, size: int) -> int | None:
        """How many bytes at a time of a file of ``size`` bytes `put` sends under an MD5; None: it needs no MD5s.

        The core then computes them while it hashes the file: see `Source.md5s`.
        """
        return None

    @abc.abstractmethod
    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Read bytes ``start`` to ``stop`` (exclusive; None: the end) of one version; None: the newest.

        ``if_match`` is the ``etag`` of an earlier answer: a host without immutable versions must fail
        with IntegrityError if the bytes have changed since.

        Raises:
            AssemblyNotFound: no such key or version.
        """

    def reads_at_once(self) -> int:
        """How many ranges of one version may be read at a time, where that makes a download faster; 1: none."""
        return 1

    @abc.abstractmethod
    def versions(self, key: str) -> Iterable[Version]:
        """Return all versions of ``key``, newest first, with their records; none for an unknown key."""

    @abc.abstractmethod
    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return every key that begins with ``prefix``, each once, completely."""

    def keeps_versions(self) -> bool:
        """Whether a second `put` to a key leaves the earlier version loadable. The host must confirm it."""
        return False

    def newest(self, key: str) -> Version | None:
        """Return the newest version with its record, None for an unknown key."""
        return next(iter(self.versions(key)), None)

    def newest_of_all(self, prefix: str = "") -> Iterable[tuple[str, Version]] | None:
        """Return every key that begins with ``prefix`` and its newest version, where few requests give them all.

        None where each key must be asked for by `newest`. The version has its identifier at least, where that is
        recorded.
        """
        return None

    def differing_in_case(self, key: str) -> Iterable[str]:
        """Return the keys that differ from ``key`` only in upper and lower case."""
        return [other for other in self.keys() if other != key and other.casefold() == key.casefold()]

    def creates_safely(self) -> bool:
        """Whether ``if_absent`` is atomic: files nobody saw, and simultaneous uploads, are not overwritten."""
        return False

    def replaces(self) -> bool:
        """Whether the host has `replace`, and accepts keys in the folder ``.versions/<key>/``, for old bytes."""
        return False

    def replace(self, key: str, source: Source, *, metadata: Mapping[str, str], seen: Version) -> str | None:
        """Store ``source`` in place of the version ``seen``, on a host that does not keep it; else as `put`.

        Called after the old bytes were copied to ``.versions/``.

        Raises:
            AlreadyExists: the newest version is no longer ``seen``.
        """
        raise NotSupported(
            f"{self.address} keeps no versions, and cannot replace a file only if it is a certain version"
        )

    def anonymous(self) -> FileOperations | None:
        """Return the same files as readers without credentials see them; None: there is no such access."""
        return None

    def publish(self, key: str, version_id: str | None) -> str | None:
        """Make one version public; return its version id as `anonymous` readers give it.

        The core proves it by an anonymous read, and calls `unpublish` if that fails.

        Raises:
            AccessDenied: these credentials may not; the hint says what a person with the right must do.
            NotSupported: the host cannot do it.
        """
        raise NotSupported(f"Files in {self.address} cannot be published one by one")

    def unpublish(self, key: str, version_id: str | None) -> None:
        """Make one version private; do nothing where it was not public. Raises as `publish`."""
        raise NotSupported(f"Files in {self.address} cannot be made private one by one")

    def why_still_private(self, key: str) -> str:
        """Return what has to be done, and by whom, where anonymous reads are refused after `publish`."""
        return "Ask the owner of the store."

    def place_is_public(self) -> bool | None:
        """Whether anyone can read everything at this location; None: each file has its own access.

        For hosts whose unit is larger than a file. Asked before each upload, so cache the answer for a minute.
        """
        return None

    def publish_place(self) -> None:
        """Make the whole location public, with everything in it. Raises as `publish`."""
        raise NotSupported(f"{self.address} cannot be published as a whole")

    def describe_place(self) -> str:
        """Return in words what `publish_place` would make public: this store's files, and everything else."""
        return f"everything in {self.address}"

    def share(self, key: str, version_id: str | None, seconds: int) -> str:
        """Return a web address from which anyone can download one version for so many seconds."""
        raise NotSupported(f"{self.address} has no links that expire")

    def longest_link(self) -> int | None:
        """Return for how many seconds a link of `share` can be valid; None where there is no limit."""
        return None

    def discard(self, key: str) -> None:
        """Delete ``key``, with all its versions and their records; do nothing if there is none.

        Only ``storage-plugins check`` calls it, with keys of files that it uploaded itself.

        Raises:
            AccessDenied: these credentials may not.
            NotSupported: the host cannot do it.
        """
        raise NotSupported(f"Files in {self.address} cannot be deleted by this package")

    def removes(self) -> bool:
        """Whether `remove` can remove one of several versions; loads without a pin then look whether it was."""
        return False

    def remove(self, key: str, version_id: str | None) -> None:
        """Remove one version's bytes and its record for good, and nothing else. None: the only one.

        Called by `Store.withdraw`, after a person confirmed it. The core looks afterwards that this version, and no
        other one, is gone.

        Raises:
            AssemblyNotFound: no such version.
            AccessDenied: these credentials may not.
            NotSupported: the host cannot do it; the hint says what a person must do.
        """
        raise NotSupported(
            f"Single versions in {self.address} cannot be removed by this package",
            hint="Ask the owner of the store to remove it with the host's own tools.",
        )

    def free_space(self) -> int | None:
        """Return the free space in bytes, None where the host does not report it."""
        return None

    def unfinished(self) -> tuple[list[str], str]:
        """Return the names of unfinished uploads that can no longer be running, and what its owner can do about them.

        They are not listed otherwise, and may cost money.
        """
        return [], ""

    def doi(self) -> str | None:
        """Return the DOI of the location, ``10.…``; None where it has none. For citations."""
        return None

    def local_file(self, key: str, version_id: str | None = None) -> tuple[Path, Version] | None:
        """Return the version's own file if it is on this computer, to be read where it is.

        None: it is downloaded. Raises as `read` does.
        """
        return None

    def uri(self, key: str, version_id: str | None) -> str:
        """Return a URI that this backend's `Backend.locate` understands. No secrets."""
        suffix = f"?versionId={quote(version_id, safe='')}" if version_id else ""
        return f"{self.address}/{key}{suffix}"
