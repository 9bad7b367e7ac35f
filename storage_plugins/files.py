"""What the author of a backend writes: a handful of file operations, and the types they speak in.

``FileStore`` turns them into a whole `AssemblyStore`: identifiers, pins, receipts, cache, hashing,
retries and the file format are its work. An author moves bytes and tells what the host said.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from .atomic import disk_errors
from .errors import IntegrityError, NotSupported
from .protocol import Version

BLOCK = 1 << 20  # bytes read and hashed at a time: hash speed hardly depends on it, memory does


@dataclasses.dataclass(frozen=True)
class Source:
    """A finished local file that is about to be uploaded, hashed once before the first request.

    Attributes:
        path: where it lies.
        size: bytes.
        sha1, sha256: lower-case hex digests.
    """

    path: Path
    size: int
    sha1: str
    sha256: str
    progress: Callable[[int], None] | None = dataclasses.field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, path: Path, progress: Callable[[int], None] | None = None) -> Self:
        """Hash the file at ``path``. ``progress`` is told the number of bytes of each block sent."""
        sha1, sha256, size = hashlib.sha1(), hashlib.sha256(), 0
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                sha1.update(block)
                sha256.update(block)
                size += len(block)
        return cls(path, size, sha1.hexdigest(), sha256.hexdigest(), progress)

    def open(self) -> BinaryIO:
        """Open the file for a client that wants a seekable file. The caller closes it."""
        return self.path.open("rb")

    def blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        """Yield the file in blocks of ``size`` bytes, and fail unless they are the bytes that were hashed.

        The last block is given out only after the whole file proved unchanged, so that an upload
        made of these blocks cannot complete with other bytes. An empty file yields no block.

        Raises:
            IntegrityError: the file was changed since it was hashed.
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
                f"{self.path.name} was changed while it was being uploaded; nothing was kept of it",
                hint="Upload it again once nothing writes to it any more.",
            )


class Content:
    """One version's bytes on their way: what the host says of the version, and an iterator of blocks.

    A context manager; leaving it ends the transfer.

    Attributes:
        version: what the host's answer said of these very bytes. ``size`` is that of the whole file,
            whatever range was asked for.
        blocks: the bytes asked for, in order.
        private: whether credentials were needed, so that the copy stays in the user's own cache.
    """

    def __init__(self, version: Version, blocks: Iterator[bytes], *, private: bool = True) -> None:
        self.version = version
        self.blocks = blocks
        self.private = private

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

    Every method raises this package's errors only, with the SDK's as their cause. Keys come checked:
    ASCII letters, digits, ``. _ - +``; where the host `replaces`, also ``.versions/<key>/<file name>``.
    Instances are pickled and shared between threads: make clients lazily, once a process, and leave
    them out of the pickle.
    """

    @property
    @abc.abstractmethod
    def address(self) -> str:
        """The place itself, the same for everybody who means it: ``s3://bucket/prefix``. No secrets."""

    @abc.abstractmethod
    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
        """Keep ``source`` as a new version of ``key`` and return its version id, None if there is none.

        The id must come from the answer to the write. ``metadata`` is kept with the version and given
        back by `versions` and `read` through `Version.described`. Either the whole file becomes a
        version or nothing does.

        Raises:
            AlreadyExists: ``if_absent`` and the key has a version.
            IntegrityError: the bytes that arrived are not those of ``source``.
        """

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
        """Read bytes ``start`` to ``stop`` (exclusive; None: the end) of one version, None: the newest.

        ``if_match`` is the ``etag`` of an earlier answer: a host without immutable versions must fail
        with IntegrityError if its bytes are others by now.

        Raises:
            AssemblyNotFound: no such key or version.
        """

    @abc.abstractmethod
    def versions(self, key: str) -> Iterable[Version]:
        """Return all versions of ``key``, newest first, with their records; none for an unknown key."""

    @abc.abstractmethod
    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return every key that begins with ``prefix``, each once, completely."""

    def keeps_versions(self) -> bool:
        """Whether a further `put` to a key leaves the earlier version loadable. The host must say so."""
        return False

    def newest(self, key: str) -> Version | None:
        """Return the newest version with its record, None for an unknown key."""
        from . import answers  # which needs this module

        return next(answers.each_version(self, key), None)

    def newest_of_all(self, prefix: str = "") -> Iterable[tuple[str, Version]] | None:
        """Return every key with its newest version and record, where few requests give them all.

        None where each key must be asked for by `newest`. The record holds the identifier at least, where it is known.
        """
        return None

    def differing_in_case(self, key: str) -> Iterable[str]:
        """Return the keys that differ from ``key`` in case only. Asked right after `newest` found no ``key``."""
        from . import answers

        return [other for other in answers.keys(self) if other != key and other.casefold() == key.casefold()]

    def creates_safely(self) -> bool:
        """Whether ``if_absent`` holds whatever else happens: unseen files and racing uploads are not overwritten."""
        return False

    def replaces(self) -> bool:
        """Whether the host has `replace`, and takes keys in the folder ``.versions/<key>/``, where old bytes go."""
        return False

    def replace(self, key: str, source: Source, *, metadata: Mapping[str, str], seen: Version) -> str | None:
        """Put ``source`` in the place of the version ``seen``, on a host that does not keep it; else as `put`.

        Called after the bytes that are there were kept elsewhere.

        Raises:
            AlreadyExists: by now there is another version than ``seen``.
        """
        raise NotSupported(
            f"{self.address} keeps no versions, and an upload cannot be told to replace only one of them"
        )

    def anonymous(self) -> FileOperations | None:
        """Return the same files as somebody without credentials sees them; None: there is no such access."""
        return None

    def publish(self, key: str, version_id: str | None) -> str | None:
        """Open one version to everybody; return its version id as `anonymous` readers are to give it.

        The core proves it by an anonymous read, and takes it back by `unpublish` if that fails.

        Raises:
            AccessDenied: these credentials may not; its hint is what somebody who may has to do.
            NotSupported: the host has no such thing.
        """
        raise NotSupported(f"{self.address} cannot be opened to everybody from here")

    def unpublish(self, key: str, version_id: str | None) -> None:
        """Close one version to everybody; nothing happens where it was not open. Raises as `publish`."""
        raise NotSupported(f"{self.address} cannot be closed to everybody from here")

    def why_still_private(self, key: str) -> str:
        """Return what has to be done, by whom, where `publish` succeeded and anonymous reads are still refused."""
        return "Ask whoever looks after the store."

    def place_is_public(self) -> bool | None:
        """Whether everybody can read all that is put here; None: each file is opened alone, by `publish`.

        For hosts whose unit is larger than a file. Asked before each upload, so keep the answer for a minute.
        """
        return None

    def publish_place(self) -> None:
        """Open the whole place to everybody, with all that is in it. Raises as `publish`."""
        raise NotSupported(f"{self.address} cannot be opened as a whole from here")

    def describe_place(self) -> str:
        """Return in words what `publish_place` would open: this store's files, and everything else."""
        return f"all that is in {self.address}"

    def share(self, key: str, version_id: str | None, seconds: int) -> str:
        """Return a web address from which anybody can download one version for so many seconds."""
        raise NotSupported(f"{self.address} has no links for others")

    def discard(self, key: str) -> None:
        """Take ``key`` away for good, with all its versions and their records; nothing happens if there is none.

        Only ``storage-plugins check`` asks for it, with keys of files that it has put there itself.

        Raises:
            AccessDenied: these credentials may not.
            NotSupported: the host has no such thing.
        """
        raise NotSupported(f"Files cannot be taken out of {self.address} from here")

    def free_space(self) -> int | None:
        """Return how many bytes there is room for, None where the host does not tell."""
        return None

    def local_file(self, key: str, version_id: str | None = None) -> tuple[Path, Version] | None:
        """Return the version's own file where it lies on this computer, to be read in place.

        None where it is not a file of this computer: it is then downloaded. Raises as `read` does.
        """
        return None

    def uri(self, key: str, version_id: str | None) -> str:
        """Return a URI that this backend's `Backend.locate` understands. No secrets."""
        suffix = f"?versionId={version_id}" if version_id else ""
        return f"{self.address}/{key}{suffix}"
