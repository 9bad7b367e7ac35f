"""Which stores have which versions of a name, asked now and side by side."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from .._backend.host import Host
from .._config.config import GROUP, StoreEntry
from .._identifiers import check_identifier
from .._waiting import each
from ..errors import AccessDenied, NotSupported, StorageError
from ..protocol import Version

if TYPE_CHECKING:
    from .._store.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """What one store has of a name.

    Attributes:
        store: its name.
        address: the location; empty if the store could not be opened.
        state: ``there``; ``missing``; ``denied``: these credentials may not see it; ``unreachable``: the store does
            not answer, or could not be opened.
        versions: newest first.
        problem: why it is denied or out of reach, else None.
    """

    store: str
    address: str = ""
    state: Literal["there", "missing", "denied", "unreachable"]
    versions: tuple[Version, ...] = ()
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)


def where_among(
    opener: Callable[[StoreEntry], Store],
    entries: Iterable[StoreEntry],
    identifier: str,
    *,
    patience: float | None = None,
) -> tuple[Whereabouts, ...]:
    """Open the stores of these entries, and ask them; ``patience``: seconds to wait for each at most."""
    check_identifier(identifier)
    wanted = [entry for entry in entries if entry.backend != GROUP]
    with concurrent.futures.ThreadPoolExecutor(max(1, len(wanted)), thread_name_prefix="where") as pool:
        return tuple(each(pool, lambda entry: _asked(opener, entry, identifier, patience), wanted))


def _asked(
    opener: Callable[[StoreEntry], Store], entry: StoreEntry, identifier: str, patience: float | None
) -> Whereabouts:
    store: Store | None = None
    try:
        store = opener(entry)
        versions = store.versions(identifier) if patience is None else _versions(store, identifier, patience)
    except StorageError as error:
        return Whereabouts(
            store=entry.name,
            address=store.address if store else "",
            state="denied" if isinstance(error, AccessDenied) else "unreachable",
            problem=error.message,
        )
    state: Literal["there", "missing"] = "there" if versions else "missing"
    return Whereabouts(store=store.name, address=store.address, state=state, versions=tuple(versions))


def _versions(store: Store, identifier: str, patience: float) -> list[Version]:
    try:
        (files,) = store.file_stores("patience")
    except NotSupported:
        return store.versions(identifier)
    host = Host(files.files, min(patience, files.settings.timeout))
    newest = (host.newest(key) for key in files.keys_of(identifier))
    return [version for version in newest if version is not None and version.answers_to(identifier)]
