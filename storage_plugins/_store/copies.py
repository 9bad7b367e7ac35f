"""Where else a copy of something is that a store does not have, by the receipts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .._config.config import GROUP
from .._records import Pin
from ..errors import AssemblyNotFound, AssemblyWithdrawn, StorageError

if TYPE_CHECKING:
    from .file_store import FileStore

COPY = "a copy is in"


@contextlib.contextmanager
def saying_where_copies_are(store: FileStore, name: str, key: str, pin: Pin) -> Iterator[None]:
    """Add to an AssemblyNotFound in this block which other configured store has it, by the receipts."""
    try:
        yield
    except AssemblyWithdrawn:
        raise
    except AssemblyNotFound as error:
        other = _other_store(store, key, pin)
        if other is not None and COPY not in str(error):
            error.hint = "\n  ".join(filter(None, [copy_in(other, store.name, name), error.hint]))
        raise


def copy_in(other: str, store: str, name: str) -> str:
    """Return the sentence that says so."""
    return f"{store!r} does not have it; {COPY} {other!r}: storage-plugins mirror {other} {store} {name}"


def _other_store(store: FileStore, key: str, pin: Pin) -> str | None:
    receipts = [
        receipt
        for receipt in store.receipts.of(key)
        if pin.fits(receipt) and (pin.by_hash or pin.version_id in (None, receipt.version_id))
    ]
    addresses = {receipt.address for receipt in receipts} - {store.address}
    if not addresses:
        return None
    return next((other.name for other in stores_at(store, addresses)), None)


def stores_at(store: FileStore, addresses: set[str]) -> Iterator[FileStore]:
    """Yield the other stores of the configuration that are at these addresses, each address once."""
    left = addresses - {store.address}
    for name, entry in store._entry.others.items():
        if entry.backend == GROUP:
            continue
        try:
            others = store.sibling(name).file_stores("copies")
        except StorageError:
            continue
        for other in others:
            if other.address in left:
                left.discard(other.address)
                yield other
