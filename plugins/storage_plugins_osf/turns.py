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

_SILENCE = 2.0  # seconds after which a turn passes on if its thread began no request and sent nothing
_held = threading.local()


class _Turn:
    """A lock that can be referred to weakly, and that passes on when the thread that has it makes no progress.

    A call that took too long is abandoned with its thread, which may wait for a server forever. To upload at the same
    time as that thread is safe, as it is for another process.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holder: int | None = None
        self._seen = 0.0

    def __enter__(self) -> None:
        with self._changed:
            while self._holder is not None and (left := self._seen + _SILENCE - time.monotonic()) > 0:
                self._changed.wait(left)
            self._holder, self._seen = threading.get_ident(), time.monotonic()
        _held.turns = (*getattr(_held, "turns", ()), self)

    def __exit__(self, *error: object) -> None:
        _held.turns = _held.turns[:-1]
        with self._changed:
            if self._holder == threading.get_ident():
                self._holder = None
                self._changed.notify()

    def go_on(self, seconds: float) -> None:
        """Keep the turn, which this thread has, for ``seconds`` and then some."""
        with self._changed:
            if self._holder == threading.get_ident():
                self._seen = time.monotonic() + seconds


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


def progress(seconds: float = 0.0) -> None:
    """Note that this thread makes progress, or is about to wait for ``seconds``."""
    for held in getattr(_held, "turns", ()):
        held.go_on(seconds)


def rest(seconds: float) -> None:
    """Wait; the turns of this thread stay its own."""
    progress(seconds)
    time.sleep(seconds)


def pause(attempt: int) -> None:
    """Wait, longer each time, and by a random share, so that several processes do not meet again."""
    rest(min(4.0, 0.1 * 2**attempt) * (0.5 + random.random()))  # noqa: S311


def _forget() -> None:
    """Start afresh in a forked child: another thread of the parent may have held a lock."""
    global _guard, _turns, _held
    _guard, _turns, _held = threading.Lock(), weakref.WeakValueDictionary(), threading.local()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
