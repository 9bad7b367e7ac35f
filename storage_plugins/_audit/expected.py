"""What a store should hold: by the receipts of its address, by imported pins, and by another store's versions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from .._backend.host import Nowhere
from .._records import Hashed
from ..protocol import Version

if TYPE_CHECKING:
    from .._store.file_store import FileStore


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """One version that should be in a store.

    Attributes:
        identifier: its name for people.
        key: file name in the store.
        version_id: the host's name for it; None where any will do.
        sha1, sha256, size: of its bytes; None where they are unknown.
        recorded: whether a record was stored with it, for certain.
        elsewhere: whether it is expected because another store has it.
    """

    identifier: str
    key: str
    version_id: str | None = None
    sha1: str | None = None
    sha256: str | None = None
    size: int | None = None
    recorded: bool = False
    elsewhere: bool = False

    def fits(self, other: Hashed) -> bool | None:
        """Whether it has the hash of ``other``; None where no hash is known of both."""
        for mine, theirs in ((self.sha256, other.sha256), (self.sha1, other.sha1)):
            if mine is not None and theirs is not None:
                return mine == theirs
        return None


def by_receipts(store: FileStore, key: str, *, unplaced: bool) -> list[Expected]:
    """Return what receipts and imported pins say of a key in this store.

    ``unplaced``: whether pins without an address are about this store.
    """
    expected = [
        Expected(
            identifier=receipt.identifier,
            key=key,
            version_id=receipt.version_id,
            sha1=receipt.sha1,
            sha256=receipt.sha256,
            size=receipt.size,
            recorded=receipt.content_digest is not None,  # it was stored in both, or in neither
        )
        for receipt in store.receipts.of(key)
        if receipt.address == store.address
    ]
    known = {one.sha1 for one in expected}
    for pin in store.receipts.imported(key):
        if pin.sha1 not in known and (pin.address == store.address or (pin.address is None and unplaced)):
            known.add(pin.sha1)
            expected.append(
                Expected(identifier=pin.identifier or key, key=key, version_id=pin.version_id, sha1=pin.sha1)
            )
    return expected


def by_other_store(other: FileStore, key: str, *, full: bool) -> list[Expected]:
    """Return the versions that another store has of a key, each content once.

    ``full``: read those of which neither the store nor a receipt gives a hash.
    """
    receipts = {receipt.version_id: receipt for receipt in other.receipts.of(key) if receipt.address == other.address}
    found: dict[tuple[str | None, int | None], Expected] = {}
    with other.explained():
        for version in other.host.versions(key):
            # "null" and no id at all may be other bytes by now
            receipt = None if version.version_id in (None, "null") else receipts.get(version.version_id)
            known = version.digests or (receipt.digests if receipt else None)
            if known is None and full:
                known = other.host.download(key, version.version_id, Nowhere()).digests
            expected = Expected(
                identifier=_identifier(version, key),
                key=key,
                sha1=known.sha1 if known else version.sha1,
                sha256=known.sha256 if known else version.sha256,
                size=known.size if known else version.size,
                elsewhere=True,
            )
            found.setdefault((expected.sha256 or expected.sha1, expected.size), expected)
    return list(found.values())


def _identifier(version: Version, key: str) -> str:
    return version.identifier or key
