"""The commands about receipts."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import AssemblyNotFound, ConfigError
from ._opening import configured
from ._options import config_option, example, json_option
from ._output import print_json, say

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
    from ..brainscore._pins_in_sources import find_pins

    with configured(config) as found:
        folder = next(iter(found.stores.values())).receipts  # one for all stores
        if folder is None:
            raise ConfigError(f"{found.path} turns receipts off", hint="Write `receipts: true` to import pins.")
        pins, unread = find_pins(paths)
        if not pins and not unread:
            raise AssemblyNotFound(f"There is no call with a pin in {', '.join(map(str, paths))}")
    saved = Receipts(folder)
    before = {pin for key in {pin.key for pin in pins} for pin in saved.imported(key)}
    for pin in pins.keys() - before if not dry_run else ():
        saved.keep(pin)
    values = [(pin in before, pin.to_dict() | {"path": str(path), "line": line}) for pin, (path, line) in pins.items()]
    imported, there = ([pin for known, pin in values if known is wanted] for wanted in (False, True))
    if as_json:
        reasons = [{"path": str(path), "line": line, "reason": reason} for path, line, reason in unread]
        print_json({"folder": str(folder), "dry_run": dry_run, "imported": imported, "there": there, "unread": reasons})
    else:
        say(f"Pins {'that would be saved' if dry_run else 'saved'} in {folder}:")
        say(f"  imported           {len(imported)}")
        say(f"  imported before    {len(there)}")
        if unread:
            say(f"  could not be read  {len(unread)}")
        for path, line, reason in unread:
            say(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
    return _UNREAD if unread else 0
