"""What a store holds: ``ls`` and ``versions``."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import TYPE_CHECKING, Any

import click

from ..errors import AssemblyNotFound
from ._opening import near_names, not_found, on_store
from ._options import example, prefix_option, version_options
from ._output import print_json, print_table, say, size_and_date

if TYPE_CHECKING:
    from .._store.store import Store
    from ..protocol import Version

_AT_ONCE = 16  # requests side by side


@click.command("ls", epilog=example("storage-plugins ls", "storage-plugins ls -l --store lab"))
@click.option("-l", "--long", is_flag=True, help="Show the number of versions, and size and date of the newest.")
@prefix_option
@on_store
def list_names(store: Store, long: bool, assembly_prefix: str | None, as_json: bool) -> None:
    """List the assemblies and other files in a store."""
    identifiers = store.identifiers(assembly_prefix=assembly_prefix)
    files = store.file_names(assembly_prefix=assembly_prefix)
    if not (identifiers or files or as_json):
        say("\n".join(filter(None, [f"{store.address} is empty.", not_found(store._entry)])), error=True)
        return
    if long:
        _print_long(store, identifiers, files, assembly_prefix, as_json)
        return
    if as_json:
        print_json({"identifiers": identifiers, "files": files})
        return
    for identifier in identifiers:
        say(identifier, one_line=True)
    if files:
        say("Other files:")
        for file in files:
            say(f"  {file}", one_line=True)


def _print_long(
    store: Store, identifiers: list[str], files: list[str], assembly_prefix: str | None, as_json: bool
) -> None:
    prefix = store.settings.assembly_prefix if assembly_prefix is None else assembly_prefix
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        of_identifiers = pool.map(lambda name: store.versions(name, assembly_prefix=prefix), identifiers)
        of_files = pool.map(lambda name: _versions_of_file(store, name), files)
        assemblies = dict(zip(identifiers, of_identifiers, strict=True))
        others = dict(zip(files, of_files, strict=True))
    if as_json:
        print_json({"identifiers": _long_rows(assemblies), "files": _long_rows(others)})
        return
    rows = [
        [str(len(found) or "-"), *size_and_date(found[0] if found else None), name]
        for name, found in [*assemblies.items(), *others.items()]
    ]
    print_table(["versions", "bytes", "created", "name"], rows)


def _versions_of_file(store: Store, name: str) -> list[Version]:
    try:
        return store.versions(name)
    except ValueError:  # a file that was put there by other means, with a name that cannot be loaded
        return []


def _long_rows(found: dict[str, list[Version]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "versions": len(versions),
            "newest": dataclasses.asdict(versions[0]) if versions else None,
        }
        for name, versions in found.items()
    ]


@click.command(epilog=example("storage-plugins versions Lab2026.rates", "storage-plugins versions stimulus_hvm.zip"))
@click.argument("name")
@version_options
@prefix_option
@on_store
def versions(
    store: Store,
    name: str,
    version_id: str | None,
    sha1: str | None,
    sha256: str | None,
    assembly_prefix: str | None,
    as_json: bool,
) -> None:
    """List the versions of an assembly or file, newest first."""
    from .._records import Pin

    pin = Pin(version_id, sha1, sha256)
    with near_names(store, name):
        every = store.versions(name, assembly_prefix=assembly_prefix)
        if not every:
            raise AssemblyNotFound(f"There is no {name} in {store.address}")
    found = [one for one in every if pin.fits(one) and pin.version_id in (None, one.version_id)]
    if not found:
        raise AssemblyNotFound(f"{name} in {store.address}: no version is recorded with {pin}")
    if as_json:
        print_json([dataclasses.asdict(version) for version in found])
        return
    rows = []
    for version in found:
        size, created = size_and_date(version)
        rows.append([version.version_id or "-", created, size, version.sha1 or "-"])
    print_table(["version_id", "created", "bytes", "sha1"], rows)
