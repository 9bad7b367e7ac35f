"""Which stores have which versions of a name, asked now and side by side."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from .._backend.host import Host
from .._config.config import Config, StoreEntry
from .._identifiers import check_identifier
from .._store.file_store import FileStore
from .._store.group import BACKEND as GROUP
from .._store.open import open_entry
from .._store.store import Store
from ..errors import AccessDenied, StorageError
from ..protocol import Version


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


def where(
    identifier: str, *, config: str | os.PathLike[str] | Mapping[str, Any] | None = None
) -> tuple[Whereabouts, ...]:
    """Ask every configured store which versions of an assembly, or of another file, it has.

    Args:
        identifier: its name.
        config: as in `open_store`.

    Returns:
        what each store answers, in the order of the configuration. Groups are left out: their members answer.

    Example:
        >>> import storage_plugins, tempfile
        >>> config = {"stores": {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}}
        >>> [answer.state for answer in storage_plugins.where("Lab2026.rates", config=config)]
        ['missing']
    """
    return where_among(Config.open(config).stores.values(), identifier)


def where_among(
    entries: Iterable[StoreEntry], identifier: str, *, patience: float | None = None
) -> tuple[Whereabouts, ...]:
    """Ask the stores of these entries; ``patience``: seconds to wait for each at most."""
    check_identifier(identifier)
    wanted = [entry for entry in entries if entry.backend != GROUP]
    with concurrent.futures.ThreadPoolExecutor(max(1, len(wanted)), thread_name_prefix="where") as pool:
        return tuple(pool.map(lambda entry: _asked(entry, identifier, patience), wanted))


def _asked(entry: StoreEntry, identifier: str, patience: float | None) -> Whereabouts:
    store: Store | None = None
    try:
        store = open_entry(entry)
        if isinstance(store, FileStore) and patience is not None:
            versions = _versions(store, identifier, patience)
        else:
            versions = store.versions(identifier)
    except StorageError as error:
        return Whereabouts(
            store=entry.name,
            address=store.address if store else "",
            state="denied" if isinstance(error, AccessDenied) else "unreachable",
            problem=error.message,
        )
    state: Literal["there", "missing"] = "there" if versions else "missing"
    return Whereabouts(store=store.name, address=store.address, state=state, versions=tuple(versions))


def _versions(store: FileStore, identifier: str, patience: float) -> list[Version]:
    host = Host(store.files, min(patience, store.settings.timeout))
    newest = (host.newest(key) for key in store.keys_of(identifier))
    return [version for version in newest if version is not None and version.answers_to(identifier)]
