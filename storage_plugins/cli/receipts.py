"""The commands about receipts."""

from __future__ import annotations

from pathlib import Path

import click

from .output import print_json

_UNREAD = 1  # exit code


@click.group()
def receipts() -> None:
    """Manage receipts."""


@receipts.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be imported, and write nothing.")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The storage.yaml to use.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(paths: tuple[Path, ...], dry_run: bool, config: Path | None, as_json: bool) -> int:
    """Import pins from the Python files of Brain-Score plugins, or from folders of them.

    Pins are the version ids and hashes in calls of load_assembly_from_s3, load_stimulus_set_from_s3, load_from_s3 and
    fetch_file. The files are read, never run. What cannot be read is listed with file, line and reason.

    Example: storage-plugins receipts import brainscore_vision/data
    """
    from ..brainscore._pins_in_sources import find_pins
    from ..config import Config
    from ..errors import AssemblyNotFound, ConfigError
    from ..receipts import Receipts

    found = Config.open(config)
    folder = next(iter(found.stores.values())).receipts  # one for all stores
    if folder is None:
        raise ConfigError(f"Pins cannot be saved: {found.path} switches receipts off", hint="Write `receipts: true`.")
    pins, unread = find_pins(paths)
    saved = Receipts(folder)
    before = {pin for key in {pin.key for pin in pins} for pin in saved.imported(key)}
    places = [(pin in before, pin.to_dict() | {"path": str(path), "line": line}) for pin, (path, line) in pins.items()]
    imported, there = ([values for known, values in places if known is wanted] for wanted in (False, True))
    for pin in pins.keys() - before if not dry_run else ():
        saved.keep(pin)
    if as_json:
        reasons = [{"path": str(path), "line": line, "reason": reason} for path, line, reason in unread]
        print_json({"folder": str(folder), "dry_run": dry_run, "imported": imported, "there": there, "unread": reasons})
    else:
        click.echo(f"Pins {'that would be saved' if dry_run else 'saved'} in {folder}:")
        click.echo(f"  imported          {len(imported)}")
        click.echo(f"  imported before   {len(there)}")
        if unread:
            click.echo(f"  could not be read {len(unread)}")
        for path, line, reason in unread:
            click.echo(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
    if unread:
        return _UNREAD
    if not pins:
        raise AssemblyNotFound(f"There is no call with a pin in {', '.join(map(str, paths))}")
    return 0
