"""Versions that were withdrawn: the tombstone that a store has of them, and the error that a load gets.

The tombstone of a file is one small JSON file in the same store, ``.gone-<key>.json``, put there like any other
file. Listings hide it, as its name begins with a dot. It is asked for only where a version is not found, or where a
load without a pin would give an older version.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence

from .._backend.host import Host
from .._backend.operations import Source
from .._copies import cache_tools
from .._copies.cache import Cache
from .._records import Pin, Withdrawal
from .._visible import visible
from ..atomic import SMALL
from ..errors import AccessDenied, AssemblyNotFound, AssemblyWithdrawn, NotSupported, StorageError
from ..protocol import Receipt, record
from .parts import Parts

_log = logging.getLogger(__name__)
_PREFIX, _SUFFIX = ".gone-", ".json"
_MOST = SMALL * 16  # bytes of a tombstone
_LONGEST = 1000  # characters of a text in it that are shown


class _TooLong(Exception):
    """The store sends more than a tombstone can have."""


def tombstone_of(key: str) -> str:
    """Return the name of the tombstone of ``key``."""
    return f"{_PREFIX}{key}{_SUFFIX}"


def keys_with_tombstones(host: Host) -> list[str]:
    """Return the keys of which versions were withdrawn; none where they may not be listed."""
    try:
        names = host.keys(_PREFIX)
    except (AccessDenied, NotSupported):
        return []
    return [name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]


def withdrawn_from(host: Host, key: str, version_id: str | None = None) -> list[Withdrawal]:
    """Return what the tombstone of ``key`` says, the last withdrawal first; nothing if there is none.

    ``version_id``: of the tombstone; None: the newest.
    """
    sink = io.BytesIO()

    def refuse_more(done: int, size: int | None) -> None:
        if done > _MOST:
            raise _TooLong

    try:
        name = tombstone_of(key)
        host.download(name, version_id, sink, wanted=lambda version: (version.size or 0) <= _MOST, progress=refuse_more)
    except (AssemblyNotFound, AccessDenied):
        return []
    except _TooLong:
        sink = io.BytesIO()
    try:
        found = [Withdrawal.read(one) for one in json.loads(sink.getvalue())["withdrawn"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _log.warning("The tombstone of %s in %s cannot be read (%s)", key, host.address, error)
        return []
    return [one for one in found if one.key == key]


def visible_withdrawals(parts: Parts, key: str) -> list[Withdrawal]:
    """Return what the tombstone of ``key`` says; nothing where it cannot be read."""
    try:
        return withdrawn_from(parts.host, key)
    except StorageError as error:
        _log.info("What was withdrawn of %s cannot be seen (%s)", parts.named(key), error.message)
        return []


def ever_withdrawn(host: Host, key: str) -> set[str]:
    """Return the sha256 of all that any version of the tombstone of ``key`` names."""
    tombstones = host.versions(tombstone_of(key))
    return {one.sha256 for tombstone in tombstones for one in withdrawn_from(host, key, tombstone.version_id)}


def write_tombstone(parts: Parts, key: str, withdrawals: Sequence[Withdrawal]) -> None:
    """Let the tombstone of ``key`` say this."""
    host, name = parts.host, tombstone_of(key)
    text = json.dumps({"withdrawn": [one.to_dict() for one in withdrawals]}, indent=1)
    with parts.cache.scratch() as folder:
        path = folder / "tombstone"
        path.write_text(text, "utf-8")
        source = Source.of(path)
        metadata = record(None, None, source.digests, None)
        versioned, seen = host.keeps_versions(), host.newest(name)
        if seen is None or versioned:
            host.put(name, source, metadata=metadata, if_absent=not versioned, seen=seen)
        else:
            host.replace(name, source, metadata=metadata, seen=seen)


def merged(*lists: Sequence[Withdrawal]) -> list[Withdrawal]:
    """Return the withdrawals of several lists, each content once, the last one first."""
    found: dict[str, Withdrawal] = {}
    for one in sorted((one for withdrawals in lists for one in withdrawals), key=lambda one: one.when):
        found.setdefault(one.sha256, one)
    return list(found.values())[::-1]


def refuse(cache: Cache, withdrawal: Withdrawal, older: str | None = None) -> AssemblyWithdrawn:
    """Return the error of a load that means a withdrawn version, whose bytes the cache now forgets.

    Anyone who can write to the store may have written the tombstone: it removes nothing that is cached under another
    name, and its texts are shown on one line.

    ``older``: id of the version that is there still, for a load without a pin.
    """
    try:
        cache_tools.drop(cache, withdrawal.sha256, withdrawal.key)
    except StorageError as error:
        _log.warning("%s", error.message)
    version = f", version {_shown(withdrawal.version_id)}," if withdrawal.version_id else ""
    hint = f"An older version is there: version_id={older!r}." if older else "Use another version."
    return AssemblyWithdrawn(
        f"{_shown(withdrawal.identifier)}{version} was withdrawn from {_shown(withdrawal.address)} on "
        f"{_shown(withdrawal.when[:10])} by {_shown(withdrawal.by)}: {_shown(withdrawal.reason)}",
        hint=hint,
    )


def _shown(text: str) -> str:
    return visible(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…", one_line=True)


def meant(withdrawals: Sequence[Withdrawal], pin: Pin) -> Withdrawal | None:
    """Return the withdrawn version that a pin means, None if it means none of them."""
    if pin.by_hash:
        return next((one for one in withdrawals if pin.fits(one)), None)
    if pin.version_id is not None:
        return next((one for one in withdrawals if one.version_id == pin.version_id), None)
    return next((one for one in withdrawals if one.newest), None)


def refuse_withdrawn(parts: Parts, key: str, pin: Pin, identifier: str | None) -> None:
    """Refuse what was withdrawn by the receipts. Nothing is asked.

    Raises:
        AssemblyWithdrawn: ``pin`` means a version that was withdrawn.
    """
    withdrawals = parts.receipts.withdrawn(key)
    if not withdrawals or pin.newest or (pin.version_id == "null" and not pin.by_hash):
        return
    if pin.names_version:
        withdrawn = meant(withdrawals, pin)
        receipts = parts.receipts.of(key) if withdrawn is not None and not pin.by_hash else []
        if withdrawn is None or any(
            receipt.version_id == pin.version_id and receipt.sha256 != withdrawn.sha256 for receipt in receipts
        ):
            return
        raise refuse(parts.cache, withdrawn)
    of_hash = {withdrawal.sha256: withdrawal for withdrawal in withdrawals}
    receipts = [one for one in parts.receipts.latest(key, identifier) if isinstance(one, Receipt)]
    if receipts and receipts[0].sha256 in of_hash:
        older = next((receipt.version_id for receipt in receipts if receipt.sha256 not in of_hash), None)
        raise refuse(parts.cache, of_hash[receipts[0].sha256], older)
