"""``load`` and ``fetch``, from a store to this computer; ``content-digest``, of a file that is here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import AssemblyNotFound
from ._opening import near_names, on_store
from ._options import example, json_option, output_options, pin_options, prefix_option
from ._output import new_file, print_json, say

if TYPE_CHECKING:
    from .._store.store import Store


@click.command(
    epilog=example(
        "storage-plugins load Lab2026.rates",
        "storage-plugins load Lab2026.rates -o rates.nc",
        "storage-plugins load Lab2026.rates --sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
    )
)
@click.argument("identifier")
@output_options
@prefix_option
@pin_options
@on_store
def load(
    store: Store,
    identifier: str,
    output: Path | None,
    force: bool,
    assembly_prefix: str | None,
    as_json: bool,
    **pin: Any,
) -> None:
    """Load an assembly, verified; print it or write its file.

    Without --output it prints the assembly; with --json the path of the verified file on this computer.
    """
    with near_names(store, identifier):
        if output is None and not as_json:
            say(repr(store.load(identifier, assembly_prefix=assembly_prefix, **pin)))
            return
        path = store.load_file(identifier, assembly_prefix=assembly_prefix, **pin)
    _deliver(path, output, force, as_json)


@click.command(
    epilog=example("storage-plugins fetch stimulus_hvm.zip", "storage-plugins fetch stimulus_hvm.zip -o hvm.zip")
)
@click.argument("name")
@output_options
@pin_options
@on_store
def fetch(store: Store, name: str, output: Path | None, force: bool, as_json: bool, **pin: Any) -> None:
    """Fetch any file, verified; print its path or write it."""
    with near_names(store, name):
        path = store.fetch(name, **pin)
    _deliver(path, output, force, as_json)


def _deliver(path: Path, output: Path | None, force: bool, as_json: bool) -> None:
    """Print where a verified file is, after copying it to ``output`` if there is one."""
    import shutil

    if output is not None:
        with new_file(output, replace=force) as file, path.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
        path = output
    if as_json:
        print_json({"path": str(path), "size": path.stat().st_size})
    else:
        say(path)


@click.command("content-digest", epilog=example("storage-plugins content-digest rates.nc"))
@click.argument("path", metavar="FILE.nc", type=click.Path(path_type=Path))
@json_option
def content_digest(path: Path, as_json: bool) -> None:
    """Print the digest of an assembly's content.

    It is the hash of the data, coordinates and attributes. Files with the same content have the same digest, whatever
    program and library versions wrote them.
    """
    from .. import codec

    if not path.is_file():
        raise AssemblyNotFound(f"There is no file {path}")
    digest = codec.content_digest(codec.decode(path))
    if as_json:
        print_json({"path": str(path), "content_digest": digest})
    else:
        say(digest)
