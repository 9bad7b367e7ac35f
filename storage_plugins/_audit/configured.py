"""All stores of a configuration at once: verified, or asked for a name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from .._config.config import GROUP, Config
from .._store.file_store import FileStore
from .._store.open import open_entry
from ..errors import StorageError
from .report import VerifyReport
from .verify import verify_config
from .where import Whereabouts, where_among

_log = logging.getLogger(__name__)


def verify(
    identifiers: Iterable[str] | None = None,
    *,
    full: bool = False,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
) -> VerifyReport:
    """Compare every configured store with the receipts, and each version with its record. Nothing is changed.

    A store should hold each version that has a receipt with the store's address. A version whose receipts name only
    addresses that no store has is out of reach. The cache is not used.

    Args:
        identifiers: of the assemblies, or names of files; None: everything.
        full: read every byte, and compare its hash. Otherwise existence, sizes, and the hashes that the stores
            report are compared. A full run that was interrupted continues where it stopped.
        config: as in `open_store`.

    Returns:
        the state of each version. `VerifyReport.ok` is False if there is none.

    Example:
        >>> import storage_plugins, tempfile, xarray as xr
        >>> config = {"stores": {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}}
        >>> receipt = storage_plugins.open_store(config=config).upload(xr.DataArray([1.5], dims="neuroid"), "Lab2026.x")
        >>> [version.state for version in storage_plugins.verify(full=True, config=config).versions]
        ['whole']
    """
    found = Config.open(config)
    return verify_config(found, *stores_of(found), identifiers, full=full)


def stores_of(config: Config) -> tuple[list[FileStore], dict[str, str]]:
    """Open the stores of a configuration that consist of files; return why others could not be opened, too."""
    stores, problems = [], {}
    for entry in config.stores.values():
        if entry.backend == GROUP:
            continue  # its members are stores themselves
        try:
            store = open_entry(entry)
        except StorageError as error:
            problems[entry.name] = error.message
            continue
        if isinstance(store, FileStore):
            stores.append(store)
        else:
            _log.info("Store %r does not consist of files, and is not verified", store.name)
    return stores, problems


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
    return where_among(open_entry, Config.open(config).stores.values(), identifier)
