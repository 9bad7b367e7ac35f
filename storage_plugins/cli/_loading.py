"""``load`` and ``fetch``, from a store to this computer; ``content-digest``, of a file that is here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._identifiers import check_identifier
from .._records import Pin
from .._visible import error_in_words
from ..errors import AssemblyNotFound
from ._exit_codes import exit_code_of_first
from ._opening import configured, near_names, on_store, opened, progress_of
from ._options import (
    config_option,
    delivery_options,
    example,
    json_option,
    pin_options,
    prefix_option,
    store_option,
)
from ._output import new_file, print_json, say

if TYPE_CHECKING:
    from .._records import Cached
    from .._store.store import Store


@click.command(
    epilog=example(
        "storage-plugins load Lab2026.rates",
        "storage-plugins load Lab2026.rates -o rates.nc",
        "storage-plugins load Lab2026.monkey1 Lab2026.monkey2 -o data/",
        "storage-plugins load Lab2026.rates --sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "storage-plugins load 's3://my-bucket/assy_Lab2026_rates.nc?versionId=3sL4kq#sha256=87b7...'",
    )
)
@click.argument("identifiers", metavar="IDENTIFIER...", nargs=-1, required=True)
@delivery_options
@prefix_option
@pin_options
@store_option
@config_option
@json_option
def load(identifiers: tuple[str, ...], store_name: str | None, config: Path | None, as_json: bool, **rest: Any) -> int:
    """Load assemblies, verified; print one or write files.

    Without --output it prints the assembly; with --json the path of the verified file on this computer. Several
    assemblies are written into a folder, as IDENTIFIER.nc, side by side. Files that are there already are not written
    again. The URI of a receipt is loaded without any configuration.
    """
    from .._store.naming import is_uri

    if len(identifiers) == 1 and is_uri(identifiers[0]):
        return _load_uri(identifiers[0], config, as_json, store_name=store_name, **rest)
    with configured(config) as found:
        store = opened(found, store_name)
        with progress_of(as_json, store):
            return _load_names(store, identifiers, as_json=as_json, **rest)


def _load_uri(
    uri: str, config: Path | None, as_json: bool, *, output: str | None, force: bool, **rest: str | bool | None
) -> int:
    from .. import codec
    from .._store.open import found_at

    if any(rest.values()):
        raise click.UsageError("A URI names its store and version: leave out the other options.")
    named = found_at(uri, config)
    if output is None and not as_json:
        say(repr(codec.decode(named.fetch())))
        return 0
    return _deliver(
        named.store, {named.key: named.key}, lambda key: named.store._fetch(key, named.pin), output, force, as_json
    )


def _load_names(
    store: Store,
    identifiers: tuple[str, ...],
    *,
    output: str | None,
    force: bool,
    assembly_prefix: str | None,
    as_json: bool,
    **pin: Any,
) -> int:
    if output is None and not as_json:
        if len(identifiers) > 1:
            raise click.UsageError("Several assemblies need a folder: -o FOLDER/")
        with near_names(store, identifiers[0]):
            say(repr(store.load(identifiers[0], assembly_prefix=assembly_prefix, **pin)))
        return 0
    pins = _pin_of(identifiers, assembly_prefix=assembly_prefix, **pin)
    names = {identifier: f"{identifier}.nc" for identifier in identifiers}
    return _deliver(store, names, lambda name: store._verified(check_identifier(name), pins)[1], output, force, as_json)


@click.command(
    epilog=example(
        "storage-plugins fetch stimulus_hvm.zip",
        "storage-plugins fetch stimulus_hvm.zip -o hvm.zip",
        "storage-plugins fetch stimulus_hvm.zip stimulus_hvm.csv -o stimuli/",
    )
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@delivery_options
@pin_options
@on_store
def fetch(store: Store, names: tuple[str, ...], output: str | None, force: bool, as_json: bool, **pin: Any) -> int:
    """Fetch files, verified; print the paths or write them.

    Several files are written into a folder, side by side. Files that are there already are not written again.
    """
    pins = _pin_of(names, **pin)
    return _deliver(
        store, dict(zip(names, names, strict=True)), lambda name: store._fetch(name, pins), output, force, as_json
    )


def _pin_of(names: tuple[str, ...], **given: Any) -> Pin:
    """Return the pin that the options give; it can be of one name only."""
    pin = Pin(**given)
    if len(set(names)) > 1 and pin.names_version:
        raise click.UsageError("--version-id, --sha1 and --sha256 choose a version of one name: give one at a time.")
    return pin


def _deliver(
    store: Store,
    names: dict[str, str],
    verified: Callable[[str], Cached],
    output: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Print where verified files are, after copying them to ``output`` if it is given.

    ``names`` are the files' names in a folder, by what the user calls them.
    """
    from .._store.many import copied_into

    folder = Path(output) if output is not None and _is_folder(output) else None
    if len(names) == 1:
        (name,) = names
        with near_names(store, name):
            found = verified(name)
        if folder is not None:
            path = copied_into(folder, names[name], found, replace=force)
        elif output is not None:
            path = _copied(found.path, Path(output), force)
        else:
            path = found.path
        if as_json:
            print_json({"path": str(path), "size": found.digests.size})
        else:
            say(path)
        return 0
    return _deliver_many(store, names, verified, output, folder, force, as_json)


def _deliver_many(
    store: Store,
    names: dict[str, str],
    verified: Callable[[str], Cached],
    output: str | None,
    folder: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    from .._store.many import copied_into, refuse_same_files, run

    if output is not None and folder is None:
        raise click.BadParameter(f"{len(names)} files need a folder: -o {output}/", param_hint="--output")
    if folder is not None:
        refuse_same_files(names.values())

    def delivered(name: str) -> Path:
        found = verified(name)
        return found.path if folder is None else copied_into(folder, names[name], found, replace=force)

    report = run(names, delivered, at_once=store._fetches_at_once, finished=_say_nothing if as_json else _say_outcome)
    if as_json:
        print_json(
            {
                "loaded": [
                    {"name": name, "path": str(path), "size": path.stat().st_size} for name, path in report.done.items()
                ],
                "failed": [
                    {"name": name, "error": type(error).__name__, "problem": error_in_words(error)}
                    for name, error in report.failed.items()
                ],
            }
        )
    elif report.complete:
        say(f"{len(names)} files, all verified")
    else:
        say(f"{len(report.done)} of {len(names)} files. To continue, run the same command again.")
    return exit_code_of_first(report)


def _is_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def _copied(source: Path, path: Path, force: bool) -> Path:
    with new_file(path, replace=force) as file, source.open("rb") as opened:
        shutil.copyfileobj(opened, file, 1 << 20)
    return path


def _say_nothing(name: str, outcome: object) -> None:
    pass


def _say_outcome(name: str, outcome: Path | Exception) -> None:
    if isinstance(outcome, Exception):
        say(f"{name}: {error_in_words(outcome)}", error=True)
    else:
        say(f"{name}: {outcome}")


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
