"""Working without a network on purpose: with STORAGE_PLUGINS_OFFLINE set, no host is asked for anything."""

from __future__ import annotations

import os

from ..errors import StoreUnavailable

VARIABLE = "STORAGE_PLUGINS_OFFLINE"
_OFF = ("", "0", "false", "no", "off")


def refuse_if_offline(address: str) -> None:
    """Raise StoreUnavailable if work is offline and ``address`` is not a folder of this computer."""
    value = os.environ.get(VARIABLE, "")
    if value.strip().lower() in _OFF or address.startswith("file:"):
        return
    raise StoreUnavailable(
        f"{VARIABLE} is set, so nothing is asked of {address}",
        hint=f"Unset {VARIABLE}. `storage-plugins prefetch` brings files into the cache beforehand.",
    )
