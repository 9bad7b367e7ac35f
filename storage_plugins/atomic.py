"""Files that appear whole or not at all: a temporary name in the same folder, flush, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import AccessDenied, QuotaExceeded, StorageError

TEMPORARY = ".tmp-"  # begins the name of whatever is not finished yet; no key begins so
_STALE = 24 * 3600.0  # seconds after which an unfinished file is what a crash left behind


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` with ``~`` as the user's home; ``~nobody`` stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises for an unknown user


def temporary_name(folder: Path) -> Path:
    """Return a name in ``folder`` that nobody else uses."""
    return folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}"


@contextlib.contextmanager
def atomic_file(target: Path, *, exclusive: bool = False, durable: bool = True) -> Iterator[BinaryIO]:
    """Write a file that appears under ``target`` whole, on leaving the block, or not at all.

    ``exclusive``: a file that is already there stays, and FileExistsError is raised.
    ``durable``: False for what a power failure may take or spoil: it does not wait for the disk, and
    whoever reads the file must expect anything in it.
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

    FileExistsError if by then there is something else than an empty folder.
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

    Where the filesystem has no hard links the file is renamed, after a look: there two writers at the
    same moment may both succeed, so callers use names whose content is the same whoever writes it.
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


def sweep(folder: Path) -> None:
    """Remove what crashes left unfinished in ``folder`` more than a day ago."""
    with contextlib.suppress(OSError):
        for path in list(folder.glob(f"{TEMPORARY}*")):
            if time.time() - path.stat().st_mtime > _STALE:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


@contextlib.contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn the operating system's refusals in this block into this package's errors.

    ``doing`` completes the sentence "Cannot …".
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise from_os_error(error, doing) from error


def from_os_error(error: OSError, doing: str) -> StorageError:
    """Return this package's error for one of the operating system."""
    where = f" ({error.filename})" if error.filename else ""
    message = f"Cannot {doing}: {error.strerror or error}{where}"
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return QuotaExceeded(message, hint="Free some space there, or choose another folder; nothing was kept.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(message, hint="Ask its owner for the right to do that, or choose another folder.")
    return StorageError(message)
