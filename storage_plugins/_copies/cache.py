"""Verified files by their hash: the user's cache, and read-only folders that are searched as well.

Files are stored as ``<2 hex>/<sha256>/<name>``, and appear there only after every byte was hashed. A folder that
others can write holds a folder for each user: ``shared-<uid>`` for what others may read, and ``private-<uid>``.

A note says that a file was verified, with its size, times and inode, so that it need not be hashed again. Notes are
written and believed only where this user alone can write, about files that this user alone can change. All other
files are hashed each time they are used.

A download does not wait until its bytes are on the disk. A power failure may lose them and keep the note. So a note
names the boot of the computer during which the file was hashed. The next use waits for the disk, and from then on
the note names no boot. If there was no other use before a restart, the file is hashed once more.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from .._backend.operations import BLOCK
from .._records import Cached, Digesting, Digests
from .._user_folders import user_folder
from ..atomic import (
    TEMPORARY,
    disk_errors,
    expanded,
    only_ours,
    open_regular,
    read_small,
    set_mode,
    sweep,
    temporary_name,
)
from ..errors import AccessDenied, StoreUnavailable
from . import unfinished
from .turns import turn

_log = logging.getLogger(__name__)
_AGAIN = 60.0  # seconds before leftovers are looked for again: that lists the folder
_HINT = "Free some space there, or name another folder in STORAGE_PLUGINS_CACHE."


class Cache:
    """Content-addressed folders: the first is written, the others are only read.

    Args:
        folders: at least one.
        brainio: BrainIO's folder (``<sha1>/<file name>``), read only, or None.
    """

    def __init__(self, folders: Sequence[Path], *, brainio: Path | None = None) -> None:
        if not folders:
            raise ValueError("A cache needs at least one folder")
        self.folders = tuple(folders)
        self.brainio = brainio
        self._swept = -_AGAIN  # when leftovers were last looked for

    @classmethod
    def from_environment(cls) -> Cache:
        """Return the cache that STORAGE_PLUGINS_CACHE and BRAINIO_HOME name.

        Without STORAGE_PLUGINS_CACHE, it is the user's usual cache folder, and BrainIO's usual folder is read too.

        Raises:
            ConfigError: no folder is named, and the user has no home folder.
        """
        named = os.environ.get("STORAGE_PLUGINS_CACHE", "")
        folders = [expanded(folder).absolute() for folder in named.split(os.pathsep) if folder]
        brainio = os.environ.get("BRAINIO_HOME") or (None if folders else "~/.brainio")
        if not folders:
            folders = [user_folder("cache", "Set STORAGE_PLUGINS_CACHE to a folder, or set HOME.")]
        return cls(folders, brainio=expanded(brainio).absolute() if brainio else None)

    def find(self, name: str, *, sha1: str | None = None, sha256: str | None = None) -> Cached | None:
        """Return a verified file with the hashes given (at least one), from any folder, or None.

        ``name`` is preferred where the same bytes are stored under several file names.
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
        """Return ``path`` with the hashes of its bytes, read now unless a note has them.

        Raises:
            OSError: it cannot be read, could not be written to the disk, or is a link where others can write.
        """
        ours = _is_ours(path.parent)
        with open_regular(path, follow=ours) as file:
            status = os.fstat(file.fileno())
            lasting = ours and only_ours(status)
            noted, boot = self._noted(path, status) if lasting else (None, "")
            if noted is not None and not boot:
                return noted
            if noted is not None and boot == _boot():
                _synchronize(file)
                return self._remember(path, status, noted.digests, "", noted.content_digest)
            digests = _digests(file)
            if lasting and _state(os.fstat(file.fileno())) == _state(status):
                if noted is not None and noted.digests == digests:  # it survived a restart
                    _synchronize(file)  # or the name of this boot cannot be read any more
                    return self._remember(path, status, digests, "", noted.content_digest)
                return self._remember(path, status, digests, _boot())
        return Cached(path, digests)

    @contextlib.contextmanager
    def incoming(self, what: str = "") -> Iterator[tuple[BinaryIO, Path]]:
        """Give out a file to download to, removed on leaving the block unless it was adopted.

        ``what`` names bytes that never change. What arrived of them stays for a day if the download is interrupted, and
        the file given out for them next has it.
        """
        with disk_errors("write to the cache", hint=_HINT):
            folder = self._made(private=True)
            self._sweep(folder)
            continued = unfinished.taken(folder, what) if what else None
            descriptor, path = continued or _new_file(folder)
        stays = False
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            try:
                yield cast(BinaryIO, file), path
            except BaseException as error:
                interrupted = isinstance(error, StoreUnavailable) or not isinstance(error, Exception)
                stays = interrupted and continued is not None and not file.closed and unfinished.is_worth_it(descriptor)
                raise
            finally:
                if not file.closed:  # else it was adopted, and this name may be another download's by now
                    if not stays:
                        path.unlink(missing_ok=True)
                    unfinished.release(descriptor)

    @contextlib.contextmanager
    def turn(self, what: str) -> Iterator[Callable[[], None]]:
        """Let only one process or thread at a time be in this block for ``what``, where files can be locked.

        It is given what is to be called at each progress.
        """
        name = f"{TEMPORARY}turn-{hashlib.sha256(what.encode()).hexdigest()[:32]}"
        try:
            lock = self._made(private=True) / name
        except (OSError, AccessDenied):  # which the download will report, if there is to be one
            lock = None
        with turn(lock) as progress:
            yield progress

    def adopt(self, file: BinaryIO, path: Path, digests: Digests, name: str, *, private: bool) -> Cached:
        """Move a finished file of `incoming` under its hash, and return it there.

        ``private`` files are readable by their owner only.
        """
        with disk_errors("write to the cache", hint=_HINT):
            folder = self._made(private)
            target = self._place(folder, digests.sha256) / name
            mode = 0o600 if private else _default_mode(folder)
            set_mode(file.fileno(), mode)
            if not _boot():
                os.fsync(file.fileno())
            _make_folder(target.parent, 0o755)
            if os.name == "nt":  # refuses to rename an open file; elsewhere it stays locked until it has its name
                file.close()
            path.replace(target)  # the name may be lost in a power failure: then the file is downloaded again
            file.close()
            status = target.lstat()
            self._write_note(folder, self._sha1_note(folder, digests.sha1), digests.sha256.encode(), mode)
        return self._remember(target, status, digests, _boot())

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give out an empty folder for this user alone, removed with its content on leaving the block."""
        with disk_errors("write to the cache", hint=_HINT):
            folder = self._made(private=True)
            self._sweep(folder)
            scratch = temporary_name(folder)
            scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def made_once(
        self, file: Cached, kind: str, is_whole: Callable[[Path], bool], make: Callable[[Path], None]
    ) -> Path:
        """Return the folder that ``make`` filled from a verified file: once, whole or not at all, for this user alone.

        ``is_whole`` returns whether an existing folder still has all its files.
        """
        folder = self._home(private=True) / kind / file.digests.sha256
        if is_whole(folder):
            return folder
        with self.scratch() as scratch, disk_errors("write to the cache", hint=_HINT):
            made = scratch / "made"
            made.mkdir(mode=0o700)
            make(made)
            _make_folder(folder.parent, 0o700)
            if not is_whole(folder):  # another process may have been first by now
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(scratch / "spoilt")
                try:
                    made.rename(folder)
                except OSError:
                    if not is_whole(folder):
                        raise
        return folder

    # reading

    def _candidates(self, name: str, sha1: str | None, sha256: str | None) -> Iterator[Path]:
        for folder in self._searched():
            of_sha1 = sha256
            if of_sha1 is None and sha1 is not None:
                with contextlib.suppress(OSError, ValueError):
                    of_sha1 = read_small(self._sha1_note(folder, sha1)).decode("ascii").strip()
            if of_sha1 is not None and len(of_sha1) == 64 and of_sha1.isalnum():
                yield from _files(self._place(folder, of_sha1), name)
        if self.brainio is not None and sha1 is not None:
            yield from _files(self.brainio / sha1, name)

    def _searched(self) -> Iterator[Path]:
        for folder in self.folders:
            yield folder
            if not _is_ours(folder):
                yield _private(folder)
                yield from sorted(folder.glob("shared-*"))

    def _verified(self, path: Path) -> Cached | None:
        try:
            return self.verify(path)
        except OSError as error:
            _log.debug("Passing over %s: %s", path, error.strerror)
            return None

    def _discard(self, path: Path, digests: Digests) -> None:
        """Delete a file of this user's cache that has other bytes than its name says."""
        _log.warning("The cached file %s was changed (its sha256 is now %s); it is not used", path, digests.sha256)
        if any(path.is_relative_to(self._home(private)) for private in (True, False)):
            with contextlib.suppress(OSError):
                path.unlink()

    # notes

    def _noted(self, path: Path, status: os.stat_result) -> tuple[Cached | None, str]:
        """Return what the note on a file says, None if it cannot be believed, and the boot that it names."""
        note = self._note(path)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            if not (_is_ours(note.parent) and _is_ours(note.parent.parent)):
                return None, ""
            known = json.loads(read_small(note))
            if known["path"] == os.fspath(path) and known["state"] == _state(status):
                digests = Digests(known["sha1"], known["sha256"], status.st_size)
                boot = known.get("boot", "")
                return self._cached(path, status, digests, boot, known.get("content_digest")), boot
        return None, ""

    def _remember(
        self, path: Path, status: os.stat_result, digests: Digests, boot: str, content_digest: str | None = None
    ) -> Cached:
        """Write a note, so that the next use need not read the whole file; failing to is harmless.

        ``boot``: during which boot alone it is to be believed; empty: as long as the file is not changed.
        """
        entry = {"path": os.fspath(path), "state": _state(status), "sha1": digests.sha1, "sha256": digests.sha256}
        entry |= {"boot": boot} if boot else {}
        if content_digest is not None:
            entry["content_digest"] = content_digest
        with contextlib.suppress(OSError):
            self._write_note(self._made(private=True), self._note(path), json.dumps(entry).encode())
        return self._cached(path, status, digests, boot, content_digest)

    def _cached(
        self, path: Path, status: os.stat_result, digests: Digests, boot: str, content_digest: str | None
    ) -> Cached:
        note = functools.partial(self._remember, path, status, digests, boot)
        return Cached(path, digests, content_digest, note)

    def _note(self, path: Path) -> Path:
        name = hashlib.sha256(os.fsencode(path)).hexdigest()
        return self._home(private=True) / "verified" / f"{name}.json"

    @staticmethod
    def _write_note(folder: Path, note: Path, content: bytes, mode: int = 0o600) -> None:
        """Write a note that may be lost in a power failure; its temporary file is in ``folder``, which is swept."""
        _make_folder(note.parent, 0o755)
        descriptor, path = _new_file(folder)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(content)
                set_mode(file.fileno(), mode)
            path.replace(note)
        finally:
            path.unlink(missing_ok=True)

    # where this user's files are

    def private_folder(self, name: str) -> Path:
        """Return a folder for this user's own notes, made if it is not there.

        Raises:
            OSError: it cannot be made.
        """
        folder = self._made(private=True) / name
        _make_folder(folder, 0o700)
        return folder

    def written_to(self) -> list[Path]:
        """Return the folders in which files of this user are stored."""
        return list(dict.fromkeys((self._home(private=True), self._home(private=False))))

    def _home(self, private: bool) -> Path:
        """Return where files of this user are stored: the first folder, or one of the user's own in it."""
        folder = self.folders[0]
        if _is_ours(folder) or not folder.exists():
            return folder
        return _private(folder) if private else folder / f"shared-{_user()}"

    def _made(self, private: bool) -> Path:
        """Return `_home`, made if it is not there.

        Raises:
            AccessDenied: somebody else made it.
        """
        home = self._home(private)
        _make_folder(home, 0o700 if private or home == self.folders[0] else 0o755)
        if home != self.folders[0]:
            status = home.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, _user()):
                raise AccessDenied(
                    f"Cannot write to the cache: {home} is a link, or belongs to another user",
                    hint="Have it removed, or name another folder in STORAGE_PLUGINS_CACHE.",
                )
        return home

    def _sweep(self, folder: Path) -> None:
        if time.monotonic() - self._swept >= _AGAIN:
            self._swept = time.monotonic()
            sweep(folder)

    @staticmethod
    def _place(folder: Path, sha256: str) -> Path:
        return folder / sha256[:2] / sha256

    @staticmethod
    def _sha1_note(folder: Path, sha1: str) -> Path:
        return folder / "sha1" / sha1[:2] / sha1


def _user() -> int:
    return 0 if os.name == "nt" else os.geteuid()


def _private(folder: Path) -> Path:
    return folder / f"private-{_user()}"


def _is_ours(folder: Path) -> bool:
    """Whether nobody but this user, and root, can write in ``folder``."""
    try:
        return only_ours(folder.stat())
    except OSError:
        return False


@functools.cache
def _boot() -> str:
    """Return the id of this boot of the computer, as Linux has one (random(4)); elsewhere an empty text."""
    with contextlib.suppress(OSError, ValueError):
        return read_small(Path("/proc/sys/kernel/random/boot_id")).decode("ascii").strip()
    return ""


def _synchronize(file: BinaryIO) -> None:
    """Wait until a file is on the disk, as far as the file system can say so.

    Raises:
        OSError: an error when it was written, since it was downloaded or now.
    """
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS):
            raise


def _state(status: os.stat_result) -> list[int]:
    """Return what differs if a file was changed or replaced. Nobody but root can set the last, its ctime."""
    return [status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, status.st_ctime_ns]


def _digests(file: BinaryIO) -> Digests:
    digesting = Digesting()
    while block := file.read(BLOCK):
        digesting.update(block)
    return digesting.digests()


def _files(folder: Path, name: str) -> Iterable[Path]:
    """Return the files in ``folder``, the one called ``name`` first."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(TEMPORARY)]
    except OSError:
        return []
    return sorted(paths, key=lambda path: (path.name != name, path.name))


def _make_folder(folder: Path, mode: int) -> None:
    """Make a folder, and the parents that are missing, each with ``mode``."""
    if folder.is_dir():
        return
    _make_folder(folder.parent, mode)
    try:
        folder.mkdir(mode)
    except FileExistsError:
        if not folder.is_dir():
            raise


def _new_file(folder: Path, mode: int = 0o600) -> tuple[int, Path]:
    """Make an empty file under a temporary name; return its descriptor, open for writing, and its path."""
    path = temporary_name(folder)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode), path


def _default_mode(folder: Path) -> int:
    """Return the mode of a new file in ``folder``. Asking for the umask would change it for other threads."""
    descriptor, path = _new_file(folder, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
