"""The commands about receipts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import print_json

if TYPE_CHECKING:
    from ..importing import ImportReport

_UNREAD = 1  # exit code


@click.group()
def receipts() -> None:
    """Keep what is known of versions."""


@receipts.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and write nothing.")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The storage.yaml to use.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(paths: tuple[Path, ...], dry_run: bool, config: Path | None, as_json: bool) -> int:
    """Import the pins of Brain-Score plugins: files, or folders of them.

    They are the version ids and hashes in calls of load_assembly_from_s3, load_stimulus_set_from_s3,
    load_from_s3 and fetch_file. Sources are read, never run. What could not be read is said, with file and line.
    """
    from .._config.config import Config
    from .._copies.receipts import Receipts
    from ..errors import AssemblyNotFound, ConfigError
    from ..importing import import_pins

    found = Config.open(config)
    folder = next(iter(found.stores.values())).receipts  # one for all stores
    if folder is None:
        raise ConfigError(f"{found.path} keeps no receipts, so pins have no place", hint="Write `receipts: true`.")
    report = import_pins(paths, Receipts(folder), dry_run=dry_run)
    if as_json:
        print_json({"folder": str(folder), "dry_run": dry_run, **report.to_dict()})
    else:
        _print(report, folder, dry_run)
    if report.unread:
        return _UNREAD
    if not report.imported and not report.there:
        raise AssemblyNotFound(f"There is no call with a pin in {', '.join(map(str, paths))}")
    return 0


def _print(report: ImportReport, folder: Path, dry_run: bool) -> None:
    click.echo(f"{'Would go' if dry_run else 'Pins'} to {folder}:")
    click.echo(f"  imported       {len(report.imported)}")
    click.echo(f"  there already  {len(report.there)}")
    if report.unread:
        click.echo(f"  not read       {len(report.unread)}")
    for unread in report.unread:
        click.echo(
            f"{unread.path}:{unread.line}: {unread.reason}" if unread.line else f"{unread.path}: {unread.reason}"
        )
