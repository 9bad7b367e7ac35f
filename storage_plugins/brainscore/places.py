"""From a bucket that Brain-Score's code names to the store that stands for it.

A place is ``bucket`` or ``bucket/folder``, as it stands in data plugins.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from .._config.config import Config, StoreEntry
from .._store.open import open_entry, store_at
from .._store.store import Store
from ..errors import InvalidIdentifier

_log = logging.getLogger(__name__)
PUBLIC = "brainscore-storage/brainscore-language"  # where brainscore_language keeps its assemblies
_SHARED = "brainscore-storage"
# buckets that became folders of the shared one; plugins of both times are about
_MOVED = ("brainio-brainscore", "brainscore-language", "brainscore-vision")


def store_for(bucket: str | None) -> Store:
    """Return the store that stands for a bucket.

    Args:
        bucket: ``bucket`` or ``bucket/folder``: the store that ``brainscore: {buckets: …}`` names for it, else
            that very bucket on S3. None: the default store, or without any ``storage.yaml`` Brain-Score's public
            bucket.

    Raises:
        InvalidIdentifier: no bucket and folder.
        ConfigError: a wrong ``storage.yaml``.
        PluginError: the backend is missing or broken; says what mends that.
    """
    config = Config.open()
    if bucket is None:
        entry = config.entry()
        if entry.implicit is None:
            return open_entry(entry)
        bucket = PUBLIC
    place = bucket.strip("/")
    if {"", ".", ".."}.intersection(place.split("/")):
        raise InvalidIdentifier(f"{bucket!r} is no bucket", hint="Write bucket or bucket/folder.")
    name = _routed(place, config.buckets)
    if name is not None:
        return open_entry(config.stores[name])
    _log.info("No store of %s stands for the bucket %s: it is used as it is, on S3", _told(config), place)
    return store_at(_as_it_is(place, config), config)


def _as_it_is(place: str, config: Config) -> StoreEntry:
    """Return the entry of a bucket that nobody configured; receipts go where those of the other stores go."""
    if config.path is None:
        return StoreEntry(place, "s3", {"bucket": place}, None, Path.cwd(), None)
    beside = next(iter(config.stores.values()))
    return StoreEntry(place, "s3", {"bucket": place}, beside.path, beside.folder, beside.receipts)


def _routed(place: str, buckets: Mapping[str, str]) -> str | None:
    """Return the name of the store for a place: the exact entry, else the longest with ``*``; None: there is none."""
    names = _names(place)
    for name in names:
        if name in buckets:
            return buckets[name]
    above = [
        pattern
        for pattern in buckets
        if pattern.endswith("*") and any(f"{name}/".startswith(pattern[:-1]) for name in names)
    ]
    return buckets[max(above, key=len)] if above else None


def _names(place: str) -> tuple[str, ...]:
    """Return all names of one place, the one that was given first."""
    first, _, rest = place.partition("/")
    if first in _MOVED:
        return place, f"{_SHARED}/{place}"
    if first == _SHARED and rest.partition("/")[0] in _MOVED:
        return place, rest
    return (place,)


def _told(config: Config) -> str:
    return str(config.path) if config.path else "any storage.yaml"
