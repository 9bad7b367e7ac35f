"""Verified files by their hash: the user's cache, and read-only folders of files looked through first.

Files lie under ``<2 hex>/<sha256>/<name>`` and appear there only after every byte was hashed.
Whether a file is still the one that was verified is told by size, mtime and inode, recorded in the
user's own cache for files in any folder; a file without such a record is hashed on first use.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from .._backend.operations import Source
from .._records import Cached, Digests
from ..atomic import TEMPORARY, atomic_file, disk_errors, expanded, sweep, sync_folder, temporary_name

_log = logging.getLogger(__name__)
_PRIVATE = 0o600


class Cache:
    """Content-addressed folders: the first is written, the others are only read.

    Args:
        folders: at least one.
        own: where files go that must not be shared and whose first folder belongs to somebody else.
        brainio: BrainIO's folder (``<sha1>/<file name>``), read only, or None.
    """

    def __init__(self, folders: Sequence[Path], *, own: Path, brainio: Path | None = None) -> None:
        if not folders:
            raise ValueError("A cache needs at least one folder")
        self.folders = tuple(folders)
        self.own = own
        self.brainio = brainio

    @classmethod
    def from_environment(cls) -> Cache:
        """Return the cache that STORAGE_PLUGINS_CACHE and BRAINIO_HOME name, else the user's own."""
        import platformdirs

        own = platformdirs.user_cache_path("storage-plugins", appauthor=False)
        named = os.environ.get("STORAGE_PLUGINS_CACHE", "")
        folders = [expanded(folder).absolute() for folder in named.split(os.pathsep) if folder]
        brainio = expanded(os.environ.get("BRAINIO_HOME") or "~/.brainio").absolute()
        return cls(folders or [own], own=own, brainio=brainio)

    def find(self, name: str, *, sha1: str | None = None, sha256: str | None = None) -> Cached | None:
        """Return a verified file with the hashes given (at least one), from any folder, or None.

        ``name`` is preferred where the same bytes were kept under several file names.
        """
        for path in self._candidates(name, sha1, sha256):
            found = self._verified(path)
            if found is None:
                continue
            if sha1 in (None, found.digests.sha1) and sha256 in (None, found.digests.sha256):
                return found
            if path.parent.name not in (found.digests.sha256, found.digests.sha1):
                self._discard(path, found.digests)
        return None

    def verify(self, path: Path) -> Cached:
        """Return ``path`` with the hashes of its bytes, read now unless it is as it was last time."""
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        note = self._note(path)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(note.read_bytes())
            if known["path"] == str(path) and known["state"] == state:
                return Cached(path, Digests(known["sha1"], known["sha256"], status.st_size))
        digests = Source.of(path).digests
        self._remember(path, state, digests)
        return Cached(path, digests)

    @contextlib.contextmanager
    def incoming(self, *, private: bool = True) -> Iterator[tuple[BinaryIO, Path]]:
        """Give out a new file to download to, removed on leaving the block unless it was adopted."""
        folder = self._writable(private)
        with disk_errors("write to the cache"):
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            path = temporary_name(folder)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _PRIVATE)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                yield cast(BinaryIO, file), path
        finally:
            path.unlink(missing_ok=True)

    def adopt(self, file: BinaryIO, path: Path, digests: Digests, name: str, *, private: bool) -> Cached:
        """Move a finished file of `incoming` under its hash, and return it there.

        ``private`` files are readable by their owner only.
        """
        folder = self._writable(private)
        target = self._place(folder, digests.sha256) / name
        with disk_errors("write to the cache"):
            os.fsync(file.fileno())
            file.close()  # before the rename, which Windows refuses for an open file
            target.parent.mkdir(parents=True, exist_ok=True)
            if folder != path.parent:
                path = _copied(path, folder)
            path.chmod(_PRIVATE if private else _default_mode(folder))
            path.replace(target)
            sync_folder(target.parent)
            by_sha1 = self._sha1_note(folder, digests.sha1)
            by_sha1.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(by_sha1, durable=False) as note:
                note.write(digests.sha256.encode())
        status = target.stat()
        self._remember(target, [status.st_size, status.st_mtime_ns, status.st_ino], digests)
        return Cached(target, digests)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give out an empty folder of this user alone, removed with all that is in it on leaving the block."""
        folder = self._writable(private=True)
        with disk_errors("write to the cache"):
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            place = temporary_name(folder)
            place.mkdir(mode=0o700)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def made_once(
        self, file: Cached, kind: str, is_whole: Callable[[Path], bool], make: Callable[[Path], None]
    ) -> Path:
        """Return the folder that ``make`` filled from a verified file: once, whole or not at all, for this user alone.

        ``is_whole`` tells whether a folder that was made earlier is there and still has everything.
        """
        folder = self._writable(True) / kind / file.digests.sha256
        if is_whole(folder):
            return folder
        with self.scratch() as scratch, disk_errors("write to the cache"):
            made = scratch / "made"
            made.mkdir(mode=0o700)
            make(made)
            folder.parent.mkdir(parents=True, exist_ok=True)
            if not is_whole(folder):  # another process may have been first by now
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(scratch / "spoilt")
                try:
                    made.rename(folder)
                except OSError:
                    if not is_whole(folder):
                        raise
        return folder

    def _candidates(self, name: str, sha1: str | None, sha256: str | None) -> Iterator[Path]:
        for folder in dict.fromkeys((*self.folders, self.own)):
            of_sha1 = sha256
            if of_sha1 is None and sha1 is not None:
                with contextlib.suppress(OSError, ValueError):
                    of_sha1 = self._sha1_note(folder, sha1).read_text("ascii").strip()
            if of_sha1 is not None and len(of_sha1) == 64 and of_sha1.isalnum():
                yield from _files(self._place(folder, of_sha1), name)
        if self.brainio is not None and sha1 is not None:
            yield from _files(self.brainio / sha1, name)

    def _verified(self, path: Path) -> Cached | None:
        try:
            return self.verify(path)
        except OSError as error:
            _log.debug("Passing over %s: %s", path, error.strerror)
            return None

    def _discard(self, path: Path, digests: Digests) -> None:
        """Take a file out of the cache that has other bytes than its name says."""
        _log.warning("The cached file %s was changed (its sha256 is now %s); it is not used", path, digests.sha256)
        if any(path.is_relative_to(folder) for folder in (self.folders[0], self.own)):
            with contextlib.suppress(OSError):
                path.unlink()

    def _remember(self, path: Path, state: Sequence[int], digests: Digests) -> None:
        """Note what was verified, so that the next use need not read it all; only a convenience."""
        note = self._note(path)
        entry = {"path": str(path), "state": state, "sha1": digests.sha1, "sha256": digests.sha256}
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(note, durable=False) as file:
                file.write(json.dumps(entry).encode())

    def _note(self, path: Path) -> Path:
        # in a folder that is the user's own: another's word that a file was verified is worth nothing
        return self._writable(True) / "verified" / f"{hashlib.sha256(str(path).encode()).hexdigest()}.json"

    def _writable(self, private: bool) -> Path:
        return self.folders[0] if not private or _is_own(self.folders[0]) else self.own

    @staticmethod
    def _place(folder: Path, sha256: str) -> Path:
        return folder / sha256[:2] / sha256

    @staticmethod
    def _sha1_note(folder: Path, sha1: str) -> Path:
        return folder / "sha1" / sha1[:2] / sha1


def _files(folder: Path, name: str) -> Iterable[Path]:
    """Return the files in ``folder``, the one called ``name`` first."""
    try:
        paths = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(TEMPORARY)]
    except OSError:
        return []
    return sorted(paths, key=lambda path: (path.name != name, path.name))


def _copied(path: Path, folder: Path) -> Path:
    """Copy a file into another folder, under a temporary name, and return it there."""
    copy = temporary_name(folder)
    try:
        return Path(shutil.copyfile(path, copy))
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


def _is_own(folder: Path) -> bool:
    """Whether ``folder``, or the nearest parent that exists, belongs to this user."""
    if os.name == "nt":
        return True
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return place.stat().st_uid == os.geteuid()
    return False


def _default_mode(folder: Path) -> int:
    """Return the mode of a new file in ``folder``. Asking for the umask would change it for other threads."""
    probe = temporary_name(folder)
    try:
        probe.touch(0o666)
        return stat.S_IMODE(probe.stat().st_mode)
    finally:
        probe.unlink(missing_ok=True)
