"""The command that copies a store into another one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import print_json

if TYPE_CHECKING:
    from .._mirror.mirror import Mirrored, MirrorReport
    from .._store.store import Store

_FAILED, _LEFT_ALONE = 1, 6  # exit codes


@click.command()
@click.argument("source")
@click.argument("target")
@click.argument("identifiers", metavar="[IDENTIFIER]...", nargs=-1)
@click.option("--append", is_flag=True, help="Put what the target lacks after versions of its own.")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The storage.yaml to use.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and no progress.")
def mirror(
    source: str, target: str, identifiers: tuple[str, ...], append: bool, config: Path | None, as_json: bool
) -> int:
    """Copy every file of the store SOURCE, all versions, byte for byte, into the store TARGET.

    With IDENTIFIERs (or names of files), only those. What is there already is not sent again: to go on
    after an interruption, run it again. Then `default: TARGET` in storage.yaml is the whole switch.
    """
    from .. import mirror, open_store

    origin, place = open_store(source, config=config), open_store(target, config=config)
    with _progress(origin, place, as_json):
        report = mirror(origin, place, identifiers or None, append=append)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    if report.failed:
        return _FAILED
    return _LEFT_ALONE if report.left_alone else 0


@contextmanager
def _progress(source: Store, target: Store, as_json: bool) -> Iterator[None]:
    """On a terminal, show a bar for each file on its way in, and on its way out."""
    from .progress import bars

    if as_json or not sys.stderr.isatty():
        yield
        return
    with bars() as report:
        source.progress = lambda name, done, size: report(f"{name} from {source.name}", done, size)
        target.progress = lambda name, done, size: report(f"{name} to {target.name}", done, size)
        yield


def _print(report: MirrorReport) -> None:
    click.echo(f"From {report.source} to {report.target}:")
    click.echo(f"  copied         {_count(report.copied)}, {report.bytes_sent} bytes sent")
    click.echo(f"  there already  {_count(report.there)}")
    for title, files in (("left alone", report.left_alone), ("failed", report.failed)):
        if files:
            click.echo(f"  {title:<13}  {_count(files)}")
    for file in report.files:
        if file.reason is not None:
            click.echo(f"{file.key}: {file.outcome}: {file.reason}")
    if report.left_alone:
        click.echo("To put what the target lacks after versions of its own: --append")
    if report.failed:
        click.echo("To go on once that is mended, run the same command again; nothing is sent twice.")


def _count(files: tuple[Mirrored, ...]) -> str:
    return f"{len(files)} {'file' if len(files) == 1 else 'files'}"
