"""Comparing stores with what they should hold: receipts, imported pins, records, or another store's versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .._config.config import Config
from .._copies.receipts import Receipts
from .report import Verified, VerifyReport
from .run import Run, Show, ordered

if TYPE_CHECKING:
    from .._store.file_store import FileStore

Names = Iterable[str] | None


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
