"""``catalogue``: a web site of what stores have."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._visible import on_one_line
from ._opening import configured
from ._options import config_option, example, json_option, store_names
from ._output import print_json, say

if TYPE_CHECKING:
    from .._catalogue.build import CatalogueReport
    from .._catalogue.listing import Private

_INCOMPLETE = 1  # exit code


@click.command(
    epilog=example(
        "storage-plugins catalogue site/",
        "storage-plugins catalogue site-of-all/ --store all --title 'Data of the lab'",
        "storage-plugins catalogue site-of-receipts/ --receipts --private names",
    )
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    *("-s", "--store", "store_name"),
    metavar="STORE",
    shell_complete=store_names,
    help="Store (default: the default store); all: every store.",
)
@click.option("--receipts", is_flag=True, help="List what has a receipt, not what stores list.")
@click.option("--title", metavar="TEXT", help="Title of the site (default: made of the store's name).")
@click.option(
    "--private",
    type=click.Choice(["hide", "names", "full"]),
    default="hide",
    show_default=True,
    help="What to show of assemblies that not everyone can read.",
)
@config_option
@json_option
def catalogue(
    folder: Path,
    store_name: str | None,
    receipts: bool,
    title: str | None,
    private: Private,
    config: Path | None,
    as_json: bool,
) -> int:
    """Write a web site of the assemblies in a store.

    DIR gets a table to search and sort, and a page for each assembly with coordinates, a picture, hashes, versions, and
    the code that loads it. It needs no server. Run the command again to bring the site up to date.

    Where the store has anonymous access, assemblies that not everyone can read are left out (see --private). The exit
    code is 1 if something could not be read; the rest of the site is written.
    """
    from .._catalogue.build import build

    with configured(config) as found, _counted(as_json) as count:
        report = build(found, folder, store=store_name, receipts=receipts, title=title, private=private, count=count)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    return 0 if report.complete else _INCOMPLETE


@contextlib.contextmanager
def _counted(as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how many assemblies are done."""
    if as_json or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from .._progress import counter

    with counter("Writing pages", "assemblies") as count:
        yield count


def _print(report: CatalogueReport) -> None:
    for name, problem in report.problems.items():
        say(f"{name}: {problem}", error=True)
    for identifier, problem in report.failed.items():
        say(f"{identifier}: {on_one_line(problem)}", error=True, one_line=True)
    say(f"Assemblies in {report.folder / 'index.html'}: {report.assemblies}")
    say(f"Pages made: {len(report.made)}, up to date: {report.unchanged}, files removed: {report.removed}")
    if report.left_out:
        say(
            f"Left out, because not everyone can read them or it is unknown who can: {report.left_out}. "
            "To list their names: --private names"
        )
