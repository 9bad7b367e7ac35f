"""The names in a store, listed once for many uploads."""

from __future__ import annotations

import threading
import time

from .._backend.host import Host
from ..errors import StorageError

_BELIEVED = 60.0  # seconds
_MOST = 1000  # names: what one page of a listing holds; a larger store is asked for each name


class Names:
    """Which names a store has, from one listing that many uploads share.

    It may be a minute old, so it is made only where the host keeps every version: the worst that a name which
    somebody uploads meanwhile can do there is one more version of the same bytes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._folded: frozenset[str] | None = None

    def lack(self, host: Host, key: str) -> bool:
        """Whether the store certainly has neither ``key`` nor a name that differs from it in case only."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._folded = _listed(host)
                self._until = time.monotonic() + _BELIEVED
            return self._folded is not None and key.casefold() not in self._folded


def _listed(host: Host) -> frozenset[str] | None:
    """Return the names in a store without their case; None where each upload must ask for its own."""
    try:
        keys = host.keys(most=_MOST + 1) if host.keeps_versions() else None
    except StorageError:  # each upload will say what is wrong
        return None
    return frozenset(key.casefold() for key in keys) if keys is not None and len(keys) <= _MOST else None
