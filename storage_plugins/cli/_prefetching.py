"""The command that brings many files into the cache."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AssemblyNotFound, StorageError
from ._exit_codes import exit_code
from ._opening import configured, opened
from ._options import config_option, example, json_option
from ._output import print_json, say

if TYPE_CHECKING:
    from .._config.config import Config
    from .._store.prefetch import PrefetchReport, Wanted
    from .._store.store import Store


@click.command(
    epilog=example("storage-plugins prefetch Lab2026.rates stimulus_hvm.zip", "storage-plugins prefetch -f receipts/")
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "-f",
    "--from",
    "folders",
    metavar="FOLDER",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A receipts folder.",
)
@click.option("-s", "--store", "store_name", metavar="STORE", help="Store (default: as receipts say, or the default).")
@config_option
@json_option
def prefetch(
    names: tuple[str, ...], folders: tuple[Path, ...], store_name: str | None, config: Path | None, as_json: bool
) -> int:
    """Bring files into the cache, to work without a network.

    NAMEs are identifiers or names of other files. With --from, every version that has a receipt, or an imported pin, in
    that folder is fetched. Afterwards, with STORAGE_PLUGINS_OFFLINE=1, loads ask no server for anything. The exit code
    is that of the first failure; the other files are fetched all the same.
    """
    from .._store.prefetch import Wanted, prefetch

    if not (names or folders):
        raise click.UsageError("Give names, or a receipts folder with --from.")
    with configured(config) as found:
        default = opened(found, store_name)
        tasks = [(default, Wanted.of(name)) for name in names]
        for folder in folders:
            tasks += _of_receipts(folder, default, found if store_name is None else None)
        with _progress(as_json, {store for store, _ in tasks}) as done:
            report = prefetch(tasks, done)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    return next((exit_code(one.error) for one in report.failed), 0)


def _of_receipts(folder: Path, default: Store, config: Config | None) -> list[tuple[Store, Wanted]]:
    """Return every version that a folder's receipts and pins name, once, with the store to fetch it from.

    What was withdrawn is left out.

    That is ``default`` where it has a copy, or where no store of ``config`` has one.
    """
    from .._copies.receipts import Receipts
    from .._records import Pin
    from .._store.prefetch import Wanted

    stores, receipts = {default.address: default}, Receipts(folder)
    for entry in config.stores.values() if config else ():
        with contextlib.suppress(StorageError):  # a problem of that store alone
            store = opened(config, entry.name) if config else default
            stores.setdefault(store.address, store)
    found: dict[tuple[str, str], tuple[Store, Wanted]] = {}
    gone: set[tuple[str, str]] = set()
    for key in receipts.all_keys():
        of_key = sorted(receipts.of(key), key=lambda receipt: receipt.address != default.address)
        for receipt in of_key:
            if receipt.address in stores:
                found.setdefault((key, receipt.sha1), (stores[receipt.address], Wanted.of(receipt)))
        for receipt in of_key:
            found.setdefault((key, receipt.sha1), (default, Wanted.of(receipt)))
        gone |= {(key, withdrawal.sha1) for withdrawal in receipts.withdrawn(key)}
        for pin in receipts.imported(key):
            wanted = Wanted(pin.identifier or key, key, Pin(pin.version_id, sha1=pin.sha1))
            found.setdefault((key, pin.sha1), (stores.get(pin.address or "", default), wanted))
    if not found:
        raise AssemblyNotFound(f"There are no receipts in {folder}")
    return [task for version, task in found.items() if version not in gone]


@contextlib.contextmanager
def _progress(as_json: bool, stores: Iterable[Store]) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how many files are done, and a bar for each download."""
    if as_json or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from .._progress import Bars, counter

    with Bars() as report, counter("Fetching", "files") as count:
        for store in stores:
            store.progress = report
        yield count


def _print(report: PrefetchReport) -> None:
    for one in report.failed:
        say(f"{one.name}: {one.error}")
    size = sum(one.size for one in report.fetched)
    say(f"{len(report.fetched)} {'file' if len(report.fetched) == 1 else 'files'} on this computer, {size} bytes.")
    if report.failed:
        say(f"{len(report.failed)} failed.")
