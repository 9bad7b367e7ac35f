"""The command that copies a store into another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._opening import configured, opened, progress_of
from ._options import config_option, example, json_option, store_names
from ._output import print_json, say

if TYPE_CHECKING:
    from .._mirror.mirror import Mirrored, MirrorReport

_FAILED, _LEFT_ALONE = 1, 6  # exit codes


@click.command(
    epilog=example("storage-plugins mirror lab ours", "storage-plugins mirror lab ours Lab2026.rates stimulus_hvm.zip")
)
@click.argument("source", shell_complete=store_names)
@click.argument("target", shell_complete=store_names)
@click.argument("identifiers", metavar="[IDENTIFIER]...", nargs=-1)
@click.option("--append", is_flag=True, help="Add missing versions after the target's own versions.")
@config_option
@json_option
def mirror(
    source: str, target: str, identifiers: tuple[str, ...], append: bool, config: Path | None, as_json: bool
) -> int:
    """Copy a store into another one, with all versions.

    SOURCE and TARGET are names of stores. With IDENTIFIERs, or names of other files, only those are copied. Files are
    copied byte for byte, and what the target has already is not sent again: to continue after an interruption, run
    the same command again. To switch to the target, write `default: TARGET` in storage.yaml.
    """
    from .. import mirror

    with configured(config) as found:
        origin, place = opened(found, source), opened(found, target)
        with progress_of(as_json, origin, place):
            report = mirror(origin, place, identifiers or None, append=append)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    if report.failed:
        return _FAILED
    return _LEFT_ALONE if report.left_alone else 0


def _print(report: MirrorReport) -> None:
    say(f"From {report.source} to {report.target}:")
    say(f"  copied         {_count(report.copied)}, {report.bytes_sent} bytes sent")
    say(f"  there already  {_count(report.there)}")
    for title, files in (("left alone", report.left_alone), ("failed", report.failed)):
        if files:
            say(f"  {title:<13}  {_count(files)}")
    for file in report.files:
        if file.reason is not None:
            say(f"{file.key}: {file.outcome}: {file.reason}")
    if report.left_alone:
        say("To add the missing versions after the target's own versions: --append")
    if report.failed:
        say("To continue, fix that and run the same command again; nothing is sent twice.")


def _count(files: tuple[Mirrored, ...]) -> str:
    return f"{len(files)} {'file' if len(files) == 1 else 'files'}"
