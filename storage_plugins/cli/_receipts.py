"""The commands about receipts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AssemblyNotFound, ConfigError
from ._opening import configured
from ._options import config_option, example, json_option
from ._output import print_json, say

if TYPE_CHECKING:
    from ..importing import ImportReport

_UNREAD = 1  # exit code


@click.group(epilog=example("storage-plugins receipts import brainscore_vision --dry-run"))
def receipts() -> None:
    """Manage receipts."""


@receipts.command("import", epilog=example("storage-plugins receipts import brainscore_vision --dry-run"))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be imported; write nothing.")
@config_option
@json_option
def import_(paths: tuple[Path, ...], dry_run: bool, config: Path | None, as_json: bool) -> int:
    """Import the pins in the sources of Brain-Score plugins.

    PATHs are files or folders. Pins are the version IDs and hashes in calls of load_assembly_from_s3,
    load_stimulus_set_from_s3, load_from_s3 and fetch_file. The sources are read, never run. Calls that cannot be
    read are listed with file and line.
    """
    from .._copies.receipts import Receipts
    from ..importing import import_pins

    with configured(config) as found:
        folder = next(iter(found.stores.values())).receipts  # one for all stores
        if folder is None:
            raise ConfigError(f"{found.path} turns receipts off", hint="Write `receipts: true` to import pins.")
        report = import_pins(paths, Receipts(folder), dry_run=dry_run)
        if not (report.imported or report.there or report.unread):
            raise AssemblyNotFound(f"There is no call with a pin in {', '.join(map(str, paths))}")
    if as_json:
        print_json({"folder": str(folder), "dry_run": dry_run, **report.to_dict()})
    else:
        _print(report, folder, dry_run)
    return _UNREAD if report.unread else 0


def _print(report: ImportReport, folder: Path, dry_run: bool) -> None:
    say(f"{'Would go' if dry_run else 'Pins'} to {folder}:")
    say(f"  imported       {len(report.imported)}")
    say(f"  there already  {len(report.there)}")
    if report.unread:
        say(f"  not read       {len(report.unread)}")
    for unread in report.unread:
        say(f"{unread.path}:{unread.line}: {unread.reason}" if unread.line else f"{unread.path}: {unread.reason}")
