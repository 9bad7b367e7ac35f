"""Turns and pauses: within one process, one upload at a time to a name, and one creation at a time of a folder.

OSF itself has no locks. The turns belong to the location and the name, not to a store object, so two stores
opened on one location share them. They are never pickled, and a forked child begins with none held.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref


class _Turn:
    """A lock that can be referred to weakly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


_guard = threading.Lock()
_turns: weakref.WeakValueDictionary[tuple[str, ...], _Turn] = weakref.WeakValueDictionary()


def turn(*name: str) -> _Turn:
    """Return the lock for ``name``: the location's address, then what is written there.

    Example:
        >>> with turn("osf:abc12", "assy_X.nc"):
        ...     pass
        >>> turn("osf:abc12", "f") is turn("osf:abc12", "g")
        False
    """
    with _guard:
        return _turns.setdefault(name, _Turn())


def pause(attempt: int) -> None:
    """Wait, longer each time, and by a random share, so that several processes do not meet again."""
    time.sleep(min(4.0, 0.1 * 2**attempt) * (0.5 + random.random()))  # noqa: S311


def _forget() -> None:
    """Start afresh in a forked child: another thread of the parent may have held a lock."""
    global _guard, _turns
    _guard, _turns = threading.Lock(), weakref.WeakValueDictionary()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
