"""What an interrupted download brought: it stays, for the next download of the same bytes.

Nothing says that it is right but the hash of the whole, once the rest has arrived. It is removed after a day, as
everything is that a crash leaves in a cache (`sweep`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

from ..atomic import TEMPORARY

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LEAST = 16 << 20  # bytes; less is soon downloaded again
_NAME = f"{TEMPORARY}unfinished-"


def taken(folder: Path, what: str) -> tuple[int, Path] | None:
    """Return the file in ``folder`` for ``what``, open and locked, and its path.

    None where another download has it, or files cannot be locked.
    """
    path = folder / f"{_NAME}{hashlib.sha256(what.encode()).hexdigest()[:32]}"
    descriptor = _locked(path, os.O_CREAT)
    if descriptor is None:
        return None
    os.truncate(descriptor, max(0, os.fstat(descriptor).st_size - 1))  # so that there is something to ask for
    os.utime(descriptor)
    return descriptor, path


def is_worth_it(descriptor: int) -> bool:
    """Whether an open file has so much that it is not soon downloaded again."""
    return os.fstat(descriptor).st_size >= _LEAST


def release(descriptor: int) -> None:
    """Unlock a file before it is closed: children that were forked meanwhile have it open too."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def remove(folder: Path) -> None:
    """Remove all such files in ``folder``, except those that a download has."""
    for path in folder.glob(f"{_NAME}*"):
        descriptor = _locked(path)
        if descriptor is not None:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _locked(path: Path, flags: int = 0) -> int | None:
    """Return a file, open for reading and writing, that nobody else has; None where that cannot be."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    except OSError:  # no locks here, so nobody has this one
        with contextlib.suppress(OSError):
            path.unlink()
    else:
        with contextlib.suppress(OSError):
            status = os.fstat(descriptor)
            alone = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
            if alone and os.path.samestat(status, path.lstat()):  # else it was adopted meanwhile
                return descriptor
    os.close(descriptor)
    return None
