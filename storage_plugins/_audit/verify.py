"""Comparing stores with what they should hold: receipts, imported pins, records, or another store's versions."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._config.config import Config
from .._copies.receipts import Receipts
from .._store.file_store import FileStore
from .._store.group import BACKEND as GROUP
from .._store.open import open_entry
from ..errors import StorageError
from .report import Verified, VerifyReport
from .run import Run, Show, ordered

_log = logging.getLogger(__name__)
Names = Iterable[str] | None


def verify(
    identifiers: Names = None,
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


def verify_config(
    config: Config,
    stores: Sequence[FileStore],
    problems: Mapping[str, str],
    identifiers: Names,
    *,
    full: bool,
    show: Show | None = None,
) -> VerifyReport:
    """Verify the stores of a configuration, as `stores_of` opens them; see `verify`."""
    default = config.default or next(iter(config.stores))
    run = Run(stores, identifiers, full=full, unplaced={default}, show=show)
    run.problems |= problems
    report = run.report()
    return dataclasses.replace(report, versions=ordered([*report.versions, *_without_store(config, run, report)]))


def verify_stores(
    stores: Sequence[FileStore],
    identifiers: Names,
    *,
    full: bool,
    against: Sequence[FileStore] = (),
    show: Show | None = None,
) -> VerifyReport:
    """Verify one store, or the members of a group; see `Store.verify`."""
    unplaced = {store.name for store in stores}
    return Run(stores, identifiers, full=full, against=against, unplaced=unplaced, show=show).report()


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


def _without_store(config: Config, run: Run, report: VerifyReport) -> list[Verified]:
    """Return the versions whose receipts name only addresses that no store has."""
    addresses = {place.store.address for place in run.places}
    whole = {one.sha256 for one in report.versions if one.state == "whole"}
    receipts = Receipts(next(iter(config.stores.values())).receipts)
    found: dict[str, Verified] = {}
    for key in receipts.all_keys():
        of_key = receipts.of(key)
        placed = whole | {receipt.sha256 for receipt in of_key if receipt.address in addresses}
        for receipt in of_key:
            wanted = run.names is None or receipt.identifier in run.names or key in run.names
            if wanted and receipt.sha256 not in placed and receipt.sha256 not in found:
                found[receipt.sha256] = Verified(
                    store=receipt.store,
                    address=receipt.address,
                    identifier=receipt.identifier,
                    key=key,
                    version_id=receipt.version_id,
                    sha1=receipt.sha1,
                    sha256=receipt.sha256,
                    size=receipt.size,
                    state="unreachable",
                    reason=report.problems.get(receipt.store, "no store in the configuration has this address"),
                )
    return list(found.values())
