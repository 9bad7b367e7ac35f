"""Loads that download nothing: a pin is resolved to one version, of which parts are read where it is.

What a version contains is known before it is read: from its receipt, or from the record that its host has of the
upload. By that content digest the description in the file is verified, and by the description each tile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .._records import Cached, Pin
from ..errors import IntegrityError, NotSupported, StorageError
from ..protocol import Receipt, Version
from .load import _NOTHING, Loader, Place

if TYPE_CHECKING:
    from .. import codec
    from .file_store import FileStore

HEAD = 64 << 10  # bytes that are read of each version, with what its host says of it


class StoredSource:
    """One version's bytes where they are stored; for `codec.Parts`. Travels in pickles, without secrets.

    Args:
        store: opened again on another machine.
        key: name of the file.
        version: that all requests are for.
        size: bytes.
        head: the first bytes.
    """

    def __init__(self, store: FileStore, key: str, version: Version, size: int, head: bytes) -> None:
        self.store, self._key, self._version, self._head = store, key, version, head
        self.size = size

    @property
    def name(self) -> str:
        """Name of the file, with its store and address."""
        return self.store.parts.named(self._key)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""
        if stop <= len(self._head):
            return self._head[start:stop]
        with self.store.explained():
            return self.store.host.read(self._key, self._version.version_id, start, stop, seen=self._version).data


@dataclasses.dataclass(frozen=True, kw_only=True)
class InParts(Cached):
    """A version that was found and not downloaded. ``path`` is its name, and ``digests`` what was recorded of it.

    Attributes:
        content_digest: what it contains.
        source: its bytes.
        version: what its host says of it.
    """

    content_digest: str
    source: StoredSource
    version: Version


class PartLoader(Loader):
    """Finds the version that a pin means, as `Loader` does, but reads only its first bytes.

    Args:
        store: where it is.
        receipt: the one that the caller gave, if any.
    """

    def __init__(self, store: FileStore, receipt: Receipt | None = None) -> None:
        super().__init__(store.parts)
        self._store, self._given = store, receipt

    def _read(self, key: str, place: Place, pin: Pin = _NOTHING, *, certain: bool = False) -> tuple[Cached, Version]:
        """Return one version, and its description; from the cache if it is there."""
        part = self._host.read(*place, 0, HEAD)
        version, receipt = part.version, self._receipt_of(key, place[1], part.version)
        if receipt is None and not (version.digests and version.content_digest):
            version = self._recorded(place[0], version)
        digests = receipt.digests if receipt is not None else version.digests
        content_digest = receipt.content_digest if receipt is not None else version.content_digest
        if digests is None or content_digest is None:
            raise NotSupported(f"{self._parts.named(key)} has no record of its content, to verify parts of it by")
        if part.version.size not in (None, digests.size):
            raise IntegrityError(
                f"{self._parts.named(key)} was damaged: expected {digests.size} bytes, got {part.version.size}",
                hint="Load an earlier version, and inform the owner of the store.",
            )
        cached = self._cache.find(key, sha256=digests.sha256)
        if cached is not None:
            return cached, version
        source = StoredSource(self._store, place[0], part.version, digests.size, part.data)
        return InParts(Path(key), digests, content_digest=content_digest, source=source, version=version), version

    def _receipt_of(self, key: str, version_id: str | None, version: Version) -> Receipt | None:
        """Return the receipt of a version; None where there is none, or where the host has recorded other bytes."""
        known = [*filter(None, [self._given]), *self._receipts.of(key)]
        for receipt in known:
            if receipt.content_digest is None:
                continue
            same = (receipt.address, receipt.version_id) == (self._host.address, version_id or version.version_id)
            lasting = same and receipt.version_id not in (None, "null")
            if receipt.sha256 == version.sha256 or (lasting and version.sha256 is None):
                return receipt
            if version.sha256 is None and receipt.size == version.size and same:
                return receipt
        return None

    def _recorded(self, key: str, version: Version) -> Version:
        """Return what the host's list says of a version, where its answer with the bytes did not say it all."""
        try:
            versions = self._host.versions(key)
        except StorageError:
            return version
        same = [listed for listed in versions if listed.version_id == version.version_id]
        full = [listed for listed in same if listed.digests and listed.content_digest]
        return (full or [version])[0]


def parts_of(found: Cached, refetch: Callable[[], Path]) -> codec.Parts:
    """Return the assembly in a version, its description read and verified.

    ``refetch``: returns the path of a file from the cache on another machine.

    Raises:
        NotSupported: the file cannot be read in parts; says why.
        IntegrityError: it is damaged, or contains something else.
    """
    from .. import codec

    if isinstance(found, InParts):
        return codec.Parts(found.source, found.content_digest)
    return codec.Parts(codec.LocalSource(found.path, refetch))
