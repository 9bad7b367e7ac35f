"""Find the store to use instead of a bucket that Brain-Score's code names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from .._config.config import Config, StoreEntry
from .._store.open import open_entry, store_at
from .._store.store import Store
from ..errors import InvalidIdentifier
from ._locations import PUBLIC_BUCKET

_log = logging.getLogger(__name__)
_SHARED = "brainscore-storage"
# former buckets, now folders of the shared one; plugins use both names
_MOVED = ("brainio-brainscore", "brainscore-language", "brainscore-vision")


def store_for(bucket: str | None) -> Store:
    """Return the store to use for a bucket.

    Args:
        bucket: ``bucket`` or ``bucket/folder``. The store is the one that ``brainscore: {buckets: …}`` names for it,
            otherwise this bucket on S3. None means the default store or, without a ``storage.yaml``, Brain-Score's
            public bucket.

    Raises:
        InvalidIdentifier: it is not a bucket or bucket and folder.
        ConfigError: ``storage.yaml`` has an error.
        PluginError: the backend is missing or broken.
    """
    config = Config.open()
    if bucket is None:
        entry = config.entry()
        if entry.implicit is None:
            return open_entry(entry)
        bucket = PUBLIC_BUCKET
    place = bucket.strip("/")
    if {"", ".", ".."}.intersection(place.split("/")):
        raise InvalidIdentifier(f"{bucket!r} is not a bucket", hint="Write bucket or bucket/folder.")
    name = _routed(place, config.buckets)
    if name is not None:
        return open_entry(config.stores[name])
    _log.info(
        "No store is configured for the bucket %s in %s: using the bucket itself, on S3",
        place,
        config.path or "any storage.yaml",
    )
    return store_at(_as_it_is(place, config), config)


def _as_it_is(place: str, config: Config) -> StoreEntry:
    """Return the entry of a bucket that is not configured; its receipts are saved with those of the other stores."""
    if config.path is None:
        return StoreEntry(place, "s3", {"bucket": place}, None, Path.cwd(), None)
    beside = next(iter(config.stores.values()))
    return StoreEntry(place, "s3", {"bucket": place}, beside.path, beside.folder, beside.receipts)


def _routed(place: str, buckets: Mapping[str, str]) -> str | None:
    """Return the name of the store for a bucket: by its own entry, else by the longest with ``*``, else None."""
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
    """Return all names of one bucket, first the one that was given."""
    first, _, rest = place.partition("/")
    if first in _MOVED:
        return place, f"{_SHARED}/{place}"
    if first == _SHARED and rest.partition("/")[0] in _MOVED:
        return place, rest
    return (place,)
