"""What a store holds: ``ls`` and ``versions``."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._waiting import each
from ..errors import AssemblyNotFound, StorageError
from ._exit_codes import exit_code
from ._opening import configured, near_names, not_found, on_store, opened
from ._options import config_option, example, json_option, prefix_option, store_option, version_options
from ._output import print_json, print_table, say, size_and_date

if TYPE_CHECKING:
    from .._config.config import Config
    from .._store.store import Store
    from ..protocol import Version

_AT_ONCE = 16  # requests side by side
_ALL = "all"  # every store, unless one has this name


@click.command(
    "ls", epilog=example("storage-plugins ls", "storage-plugins ls -l --store lab", "storage-plugins ls --store all")
)
@click.option("-l", "--long", is_flag=True, help="Show the number of versions, and size and date of the newest.")
@prefix_option
@store_option
@config_option
@json_option
def list_names(
    long: bool, assembly_prefix: str | None, store_name: str | None, config: Path | None, as_json: bool
) -> int:
    """List the assemblies and other files in a store.

    `--store all` lists every store of the configuration. One that cannot be listed does not stop the others.
    """
    with configured(config) as found:
        if store_name == _ALL and _ALL not in found.stores:
            return _list_all(found, long, assembly_prefix, as_json)
        store = opened(found, store_name)
        listing = _listed(store, long, assembly_prefix)
        if as_json:
            print_json(listing.to_dict())
        elif not listing:
            say("\n".join(filter(None, [f"{store.address} is empty.", not_found(store._entry)])), error=True)
        else:
            _print(listing)
        return 0


def _list_all(config: Config, long: bool, assembly_prefix: str | None, as_json: bool) -> int:
    rows: list[dict[str, Any]] = []
    code = 0
    for name in config.stores:
        row: dict[str, Any] = {"store": name, "address": None, "identifiers": [], "files": [], "problem": None}
        rows.append(row)
        try:
            store = opened(config, name)
            row["address"] = store.address
            listing = _listed(store, long, assembly_prefix)
        except StorageError as error:
            row["problem"] = str(error)
            code = code or exit_code(error)
            if not as_json:
                say(f"{name}: {error}", error=True)
            continue
        row.update(listing.to_dict())
        if not as_json:
            say(f"{name}, {store.address}:" if listing else f"{name}, {store.address}: empty")
            _print(listing, indent="  ")
    if as_json:
        print_json({"stores": rows})
    return code


@dataclasses.dataclass(frozen=True)
class _Listing:
    """Assemblies and other files in a store, by name: with their versions in a long listing, else with None."""

    assemblies: dict[str, list[Version] | None]
    files: dict[str, list[Version] | None]

    def __bool__(self) -> bool:
        return bool(self.assemblies or self.files)

    def to_dict(self) -> dict[str, Any]:
        return {"identifiers": _rows(self.assemblies), "files": _rows(self.files)}


def _listed(store: Store, long: bool, assembly_prefix: str | None) -> _Listing:
    identifiers = store.identifiers(assembly_prefix=assembly_prefix)
    files = store.file_names(assembly_prefix=assembly_prefix)
    if not long:
        return _Listing(dict.fromkeys(identifiers), dict.fromkeys(files))
    prefix = store.settings.assembly_prefix if assembly_prefix is None else assembly_prefix
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        of_identifiers = each(pool, lambda name: store.versions(name, assembly_prefix=prefix), identifiers)
        of_files = each(pool, lambda name: _versions_of_file(store, name), files)
        return _Listing(dict(zip(identifiers, of_identifiers, strict=True)), dict(zip(files, of_files, strict=True)))


def _print(listing: _Listing, indent: str = "") -> None:
    both = [*listing.assemblies.items(), *listing.files.items()]
    long = [(name, found) for name, found in both if found is not None]
    if long:
        rows = [[str(len(found) or "-"), *size_and_date(found[0] if found else None), name] for name, found in long]
        print_table([f"{indent}versions", "bytes", "created", "name"], [[indent + row[0], *row[1:]] for row in rows])
        return
    for identifier in listing.assemblies:
        say(f"{indent}{identifier}", one_line=True)
    if listing.files:
        say(f"{indent}Other files:")
        for file in listing.files:
            say(f"{indent}  {file}", one_line=True)


def _versions_of_file(store: Store, name: str) -> list[Version]:
    try:
        return store.versions(name)
    except ValueError:  # a file that was put there by other means, with a name that cannot be loaded
        return []


def _rows(found: dict[str, list[Version] | None]) -> list[Any]:
    return [
        name
        if versions is None
        else {
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
