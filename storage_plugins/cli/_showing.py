"""``show``: what is in a stored assembly, and where it is. ``diff``: how two differ. Neither downloads much."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import NotSupported
from ._opening import configured, near_names, on_store, opened
from ._options import config_option, example, json_option, pin_options, prefix_option, store_option
from ._output import new_file, print_json, say

if TYPE_CHECKING:
    from .._records import Pin
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


@click.command(
    epilog=example(
        "storage-plugins diff rates.nc rebuilt.nc",
        "storage-plugins diff lab:Lab2026.rates ours:Lab2026.rates",
        "storage-plugins diff Lab2026.rates --from 1-87b7f0091ddd",
    )
)
@click.argument("what", metavar="A B | IDENTIFIER", nargs=-1, required=True)
@click.option("--from", "before", metavar="VERSION", help="Version of IDENTIFIER: its ID or a hash.")
@click.option("--to", "after", metavar="VERSION", help="The other version (default: the newest in the store).")
@store_option
@config_option
@json_option
def diff(
    what: tuple[str, ...],
    before: str | None,
    after: str | None,
    store_name: str | None,
    config: Path | None,
    as_json: bool,
) -> int:
    """Compare two assemblies by content.

    A and B are netCDF files, STORE:IDENTIFIER, or the URIs of receipts. With --from, two versions of one identifier are
    compared. Only the parts that differ are read. The exit code is 1 if the content differs.
    """
    from .. import codec
    from .._records import Pin
    from .._store.diff import opened as opened_assembly
    from .._store.naming import in_store, named

    if len(what) != (1 if before else 2) or (after and not before) or (store_name and not before):
        raise click.UsageError("Give two assemblies, or one IDENTIFIER with --from VERSION.")
    with configured(config) as found:
        if before is None:
            one, other = (named(each, config) for each in what)
        else:
            store = opened(found, store_name)
            pins = (_pin_of(before), Pin(newest=True) if after is None else _pin_of(after))
            one, other = (in_store(store, what[0], pin) for pin in pins)
        compared = codec.compare(opened_assembly(one), opened_assembly(other))
    if as_json:
        print_json({"a": one.name, "b": other.name, **compared.as_dict()})
    else:
        say(compared)
    return 0 if compared.same else 1


def _pin_of(version: str) -> Pin:
    """Return the pin of a version that was given by its ID or by a hash."""
    from .._records import Pin

    if re.fullmatch("[0-9a-fA-F]{40}", version):
        return Pin(sha1=version)
    return Pin(sha256=version) if re.fullmatch("[0-9a-fA-F]{64}", version) else Pin(version)
