"""The names in a store, listed once for many uploads."""

from __future__ import annotations

import math
import threading
import time

from .._backend.host import Host
from ..errors import StorageError

_BELIEVED = 60.0  # seconds
_MOST = 1000  # names: what one page of a listing holds; of a larger store, each name is asked for


class Names:
    """Which names a store has, from one listing that its uploads share for a minute.

    It is a hint: what it lacks is uploaded on condition that it is not there. It is made when a second new name comes
    within a minute.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = set[str]()  # without their case
        self._complete, self._until = False, 0.0
        self._last_new = -math.inf

    def lack(self, host: Host, key: str) -> bool:
        """Whether the store seems to have neither ``key`` nor a name that differs from it in case only."""
        now, folded = time.monotonic(), key.casefold()
        if folded in self._known:
            return False
        # nobody waits for a thread that lists; nor does a child that was forked meanwhile
        due = now >= self._until and now - self._last_new < _BELIEVED
        if due and host.asks_by_name and self._lock.acquire(blocking=False):
            try:
                listed = _listed(host)
                self._known.update(name.casefold() for name in listed or ())
                self._complete, self._until = listed is not None, now + _BELIEVED
            finally:
                self._lock.release()
        return self._complete and now < self._until and folded not in self._known

    def give_up(self) -> None:
        """List no more: the host cannot upload on condition that a name is not there."""
        self._complete, self._until = False, math.inf

    def add(self, key: str, *, new: bool) -> None:
        """Note a name that was uploaded, and whether it was new."""
        self._known.add(key.casefold())
        if new:
            self._last_new = time.monotonic()


def _listed(host: Host) -> list[str] | None:
    """Return the names in a store; None where each upload must ask for its own."""
    try:
        names = host.keys(most=_MOST + 1) if host.keeps_versions() else None
    except StorageError:  # the uploads will say what is wrong
        return None
    return names if names is not None and len(names) <= _MOST else None
