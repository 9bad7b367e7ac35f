"""Turns: of those who want the same bytes in one cache, one downloads them and the others wait.

This spares downloads, and nothing depends on it: where files cannot be locked, or the one whose turn it is makes no
progress, the others download too.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PATIENCE = 10.0  # seconds without progress
_LOOK = 0.05  # seconds


@contextlib.contextmanager
def turn(path: Path | None) -> Iterator[Callable[[], None]]:
    """Wait for the lock file ``path``, hold it within the block, and give out what is to be called at each progress.

    Without a path, nobody waits.
    """
    descriptor = _locked(path) if path is not None else None

    def progress() -> None:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.utime(descriptor)

    try:
        yield progress
    finally:
        if path is not None and descriptor is not None:
            with contextlib.suppress(OSError):
                path.unlink()  # while it is held: whoever waits for it looks whether it is still there
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for children that were forked meanwhile
            os.close(descriptor)


def _locked(path: Path) -> int | None:
    """Return the open and locked file; None where that cannot be, or takes too long."""
    end = time.monotonic() + _PATIENCE
    seen: tuple[int, int] | None = None
    while fcntl is not None and time.monotonic() < end:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass  # its holder has just finished
        except BlockingIOError:
            status = os.fstat(descriptor)
            if seen is not None and seen[0] == status.st_ino and seen[1] != status.st_mtime_ns:
                end = time.monotonic() + _PATIENCE
            seen = status.st_ino, status.st_mtime_ns
            time.sleep(_LOOK)
        except OSError:  # no locks here, so nobody has this one
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        os.close(descriptor)
    return None
