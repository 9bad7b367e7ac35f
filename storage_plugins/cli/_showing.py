"""``show``: what is in a stored assembly, and where it is, without downloading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import NotSupported
from ._opening import near_names, on_store
from ._options import example, pin_options, prefix_option
from ._output import new_file, print_json, say

if TYPE_CHECKING:
    from .._store.store import Store


@click.command(
    epilog=example("storage-plugins show Lab2026.rates", "storage-plugins show Lab2026.rates --png rates.png")
)
@click.argument("identifier")
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture of the data here.")
@click.option("--force", is_flag=True, help="Let --png replace an existing file.")
@prefix_option
@pin_options
@on_store
def show(
    store: Store,
    identifier: str,
    png: Path | None,
    force: bool,
    assembly_prefix: str | None,
    as_json: bool,
    **pin: Any,
) -> None:
    """Show what an assembly contains and where it is.

    Of the data, only a tile is read for the small picture, and none with --json. --png reads up to 16 MB of it,
    evenly spread.
    """
    with near_names(store, identifier):
        found = store.show(identifier, assembly_prefix=assembly_prefix, **pin)
    if as_json:
        print_json(found.as_dict())
    else:
        say(found)
    if png is not None:
        picture = found.picture(large=True)
        if picture is None:
            raise NotSupported(f"{identifier} has no numbers to draw")
        with new_file(png, replace=force) as file:
            file.write(picture.png())
    elif not as_json and (picture := found.picture()) is not None:
        say(picture.text())
