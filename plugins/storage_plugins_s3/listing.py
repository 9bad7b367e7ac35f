"""What is in a folder of a bucket, from few listings: objects, versions, and the record names beside them."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from storage_plugins import AccessDenied, AssemblyNotFound, StoreUnavailable, Version

from . import records
from .answers import Entry
from .bucket import Bucket

_LOOKS_AT_ONCE = 16
_MOST_LOOKS = 16  # at objects without records, in a listing of a whole folder
T = TypeVar("T")
S = TypeVar("S")


def objects(bucket: Bucket, prefix: str, anonymous: bool) -> Iterator[Entry]:
    """Yield the objects that begin with ``prefix``, those in deeper folders left out."""
    for page in bucket.objects(prefix, anonymous=anonymous):
        yield from page.entries


def record_objects(bucket: Bucket, folder: str, key: str) -> list[str]:
    """Return the whole keys of the objects that are records of ``key``."""
    pages = bucket.objects(folder + records.folder_of(key), delimiter="")
    names = [entry.key for page in pages for entry in page.entries]
    return [name for name in names if (found := records.parse(name.removeprefix(folder))) and found.key == key]


def differing_in_case(bucket: Bucket, folder: str, key: str, anonymous: bool) -> list[str]:
    """Return the keys of records that differ from ``key`` in case only."""
    found = _recorded(bucket, folder, folder + records.folder_of(key), anonymous)
    return sorted(other for other in found if other != key)


def versions(bucket: Bucket, folder: str, key: str, anonymous: bool) -> list[Version]:
    """Return the versions of ``key``, newest first; those without a record name are looked at one by one."""
    entries = [entry for entry in bucket.versions(folder + key, anonymous=anonymous) if entry.size is not None]
    if not entries:
        return []
    known = _records(bucket, folder, key, anonymous)

    def describe(entry: Entry) -> Version:
        metadata = known.get(_place(entry.version_id, entry.etag, entry.size))
        if metadata is not None:
            return _listed(entry, metadata)
        # not every server knows "null" by name where a bucket was never versioned
        named = None if entry.version_id == "null" and entry.latest else entry.version_id
        try:
            held = bucket.head(key, folder + key, named, anonymous=anonymous)
        except (AccessDenied, AssemblyNotFound):
            return _listed(entry, {})  # its record stays unknown
        return dataclasses.replace(held, version_id=entry.version_id, size=entry.size, created=entry.created)

    return _side_by_side(describe, entries)


def newest_of_all(bucket: Bucket, folder: str, prefix: str, anonymous: bool) -> list[tuple[str, Version]]:
    """Return every key that begins with ``prefix`` with what listings show of its newest version.

    Of the keys without a record, a few are looked at, those first whose name alone is ambiguous; the rest stay
    without a record.
    """
    entries = [entry for entry in objects(bucket, folder + prefix, anonymous) if entry.key != folder]
    recorded = _recorded(bucket, folder, folder + records.FOLDER + prefix.lower(), anonymous)

    def key_of(entry: Entry) -> str:
        return entry.key.removeprefix(folder)

    unknown = [entry for entry in entries if len(recorded.get(key_of(entry), ())) != 1]
    ambiguous = sorted(unknown, key=lambda entry: "_" not in key_of(entry).removeprefix(prefix))[:_MOST_LOOKS]
    looked = dict(_side_by_side(lambda entry: (entry.key, _look(bucket, key_of(entry), entry, anonymous)), ambiguous))

    def describe(entry: Entry) -> Version | None:
        if entry.key in looked:
            return looked[entry.key]
        told = recorded.get(key_of(entry), [])
        metadata = told[0] if len(told) == 1 else {}
        return _listed(entry, metadata)

    described = [(key_of(entry), describe(entry)) for entry in entries]
    return [(key, version) for key, version in described if version is not None]


def _look(bucket: Bucket, key: str, entry: Entry, anonymous: bool) -> Version | None:
    """Return a listed object's description, None if it was deleted meanwhile."""
    for _ in range(2):
        try:
            return bucket.head(key, entry.key, anonymous=anonymous)
        except AccessDenied:
            return _listed(entry, {})
        except AssemblyNotFound:
            continue  # once may be the server's mistake
    if any(other.key == entry.key for other in objects(bucket, entry.key, anonymous)):
        raise StoreUnavailable(f"{bucket.address} lists {key} and does not find it", hint="Try again later.")
    return None


def _recorded(bucket: Bucket, folder: str, prefix: str, anonymous: bool) -> dict[str, list[dict[str, str]]]:
    """Return, for each key with record folders that begin with ``prefix``, what those folders' names hold."""
    found: dict[str, list[dict[str, str]]] = {}
    for page in bucket.objects(prefix, anonymous=anonymous):
        for name in page.folders:
            about = records.parse_folder(name.removeprefix(folder))
            if about is not None:
                found.setdefault(about[0], []).append(about[1])
    return found


def _records(
    bucket: Bucket, folder: str, key: str, anonymous: bool
) -> dict[tuple[str, str, int | None], dict[str, str]]:
    """Return the records of ``key`` by version; of two that contradict each other, neither."""
    found: dict[tuple[str, str, int | None], dict[str, str]] = {}
    refuted = set()
    try:
        pages = list(bucket.objects(folder + records.folder_of(key), anonymous=anonymous, delimiter=""))
    except AccessDenied:
        return {}
    for entry in (entry for page in pages for entry in page.entries):
        record = records.parse(entry.key.removeprefix(folder))
        if record is None or record.key != key:
            continue
        place = _place(record.version_id, record.etag, record.size)
        if found.setdefault(place, record.metadata) != record.metadata:
            refuted.add(place)
    return {place: metadata for place, metadata in found.items() if place not in refuted}


def _place(version_id: str | None, etag: str | None, size: int | None) -> tuple[str, str, int | None]:
    return version_id or "null", (etag or "").strip('"'), size


def _listed(entry: Entry, metadata: Mapping[str, str]) -> Version:
    return Version.described(
        metadata, version_id=entry.version_id, size=entry.size, created=entry.created, etag=entry.etag
    )


def _side_by_side(call: Callable[[S], T], entries: Sequence[S]) -> list[T]:
    with concurrent.futures.ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        return list(pool.map(call, entries))
