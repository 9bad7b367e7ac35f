"""Files that appear whole or not at all: a temporary name in the same folder, flush, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from .errors import AccessDenied, QuotaExceeded, StorageError

TEMPORARY = ".tmp-"  # names of unfinished files and folders begin with it; no key does
WRITTEN = 256 << 10  # bytes of one write; with 1 MiB, Linux 6.18 takes four times as long on ext4
SMALL = 1 << 16  # bytes: the most that a receipt, a record or a note may have
_STALE = 24 * 3600.0  # seconds after which an unfinished file is what a crash left behind
_NO_MODES = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` with ``~`` replaced by the user's home; ``~nobody`` is left as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises for an unknown user


def temporary_name(folder: Path) -> Path:
    """Return a name in ``folder`` that nobody else uses."""
    return folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}"


@contextlib.contextmanager
def atomic_file(target: Path, *, exclusive: bool = False, durable: bool = True) -> Iterator[BinaryIO]:
    """Write a file that appears under ``target`` whole, on leaving the block, or not at all.

    ``exclusive``: a file that is already there is left as it is, and FileExistsError is raised.
    ``durable``: False for what may be lost or damaged in a power failure: it does not wait for the disk, so
    the reader must check what the file contains.
    The file's mode follows the umask.
    """
    temporary = temporary_name(target.parent)
    try:
        with temporary.open("xb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if exclusive:
            link_new(temporary, target)
        else:
            temporary.replace(target)
        if durable:
            sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Fill a folder that appears under ``target`` whole, on leaving the block, or not at all.

    FileExistsError if ``target`` exists by then and is not an empty folder.
    """
    temporary = temporary_name(target.parent)
    temporary.mkdir()
    try:
        yield temporary
        try:
            if os.name == "nt" and target.is_dir():
                target.rmdir()  # elsewhere a rename takes an empty folder's place
            temporary.rename(target)
        except OSError as error:
            if not target.exists():
                raise
            raise FileExistsError(errno.EEXIST, "Something is there already", str(target)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def link_new(existing: Path, target: Path) -> None:
    """Give ``existing`` the further name ``target``; FileExistsError if that is taken.

    Where the file system has no hard links, the file is renamed after checking that the name is free. Two
    simultaneous writers may then both succeed, so callers use names that determine the content.
    """
    try:
        os.link(existing, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(target)) from None
        existing.replace(target)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable, where the system can (Windows cannot)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network filesystems have no fsync for folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def open_regular(path: Path, *, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading. A link is followed only if ``follow``.

    Raises:
        OSError: it is a link, or something else that may have no end, such as a device or a pipe.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags if follow else flags | getattr(os, "O_NOFOLLOW", 0)), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return cast(BinaryIO, file)


def read_small(path: Path) -> bytes:
    """Return the bytes of a small regular file; follow no link.

    Raises:
        OSError: it cannot be read, is not a regular file, or has more than `SMALL` bytes.
    """
    with open_regular(path) as file:
        data = b""
        while len(data) <= SMALL and (block := file.read(SMALL + 1 - len(data))):
            data += block
    if len(data) > SMALL:
        raise OSError(errno.EFBIG, f"Larger than {SMALL} bytes", str(path))
    return data


def set_mode(descriptor: int, mode: int) -> None:
    """Set the mode of an open file, where the file system has modes (SMB and many FUSE mounts have none)."""
    change = getattr(os, "fchmod", None)  # Windows has none
    try:
        if change is not None:
            change(descriptor, mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise


def only_ours(status: os.stat_result) -> bool:
    """Whether nobody but this user, and root, can write the file or folder."""
    return os.name == "nt" or (status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022)


def sweep(folder: Path) -> None:
    """Remove what crashes left unfinished in ``folder`` more than a day ago."""
    with contextlib.suppress(OSError):
        for path in list(folder.glob(f"{TEMPORARY}*")):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if time.time() - status.st_mtime <= _STALE:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


@contextlib.contextmanager
def disk_errors(doing: str, *, hint: str | None = None) -> Iterator[None]:
    """Turn the operating system's errors in this block into this package's errors.

    ``doing`` completes the sentence "Cannot …"; ``hint`` replaces the general advice.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise from_os_error(error, doing, hint=hint) from error


def from_os_error(error: OSError, doing: str, *, hint: str | None = None) -> StorageError:
    """Return this package's error for an error of the operating system."""
    where = f" ({error.filename})" if error.filename else ""
    message = f"Cannot {doing}: {error.strerror or error}{where}"
    if error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
        advice = "Free some space there, or choose another folder; nothing was saved."
        return QuotaExceeded(message, hint=hint or advice)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(message, hint=hint or "Ask its owner for permission, or choose another folder.")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StorageError(message, hint="Close files that are not needed, or raise the limit (`ulimit -n`).")
    return StorageError(message, hint=hint)
