"""The warning of a load without a pin that took the newest receipt, while the store has a newer version."""

from __future__ import annotations

import logging

from .._backend.host import Host
from .._copies.receipts import ImportedPin
from .._visible import visible
from ..errors import StorageError
from ..protocol import Receipt
from .parts import Parts

_log = logging.getLogger(__name__)
_PATIENCE = 5.0  # seconds: the load does not depend on the answer
_ASKED: set[tuple[str, str]] = set()  # addresses and keys


def warn_if_stale(parts: Parts, key: str, identifier: str | None, taken: Receipt | ImportedPin) -> None:
    """Ask the store, once in a process, whether it has a newer version than any receipt."""
    if (parts.host.address, key) in _ASKED:
        return
    _ASKED.add((parts.host.address, key))
    try:
        newest = Host(parts.host.files, min(_PATIENCE, parts.host.timeout)).newest(key)
    except StorageError:
        return  # what is loaded is verified all the same
    known = {entry.sha256 or entry.sha1 for entry in parts.receipts.known(key)}
    if newest is None or newest.sha256 is None or known & {newest.sha256, newest.sha1}:
        return
    if identifier is None or newest.answers_to(identifier):
        _log.warning(
            "%s without a pin: loaded %s, but the store has a newer version, %s; newest=True loads it",
            parts.named(key),
            describe(taken),
            visible(newest.version_id or "the newest"),
        )


def describe(entry: Receipt | ImportedPin) -> str:
    """Return in words what a load without a pin took."""
    if isinstance(entry, Receipt):
        return f"the newest receipt, sha1 {entry.sha1} of {entry.created.isoformat(timespec='seconds')}"
    return f"the imported pin, sha1 {entry.sha1}"
