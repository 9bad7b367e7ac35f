"""The commands, each a few lines over the public API."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import __version__, errors
from ._trust import asking, trust
from .checking import check
from .exit_codes import INTERRUPTED, exit_code
from .mirroring import mirror
from .new_backend import new_backend
from .output import new_file, print_json, print_receipt, print_table
from .receipts import receipts
from .schema import schema

if TYPE_CHECKING:
    from .._store.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])


def main() -> None:
    """Run the command line and exit with a code that says what kind of thing went wrong."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        code = asking(lambda: cli(standalone_mode=False)) or 0
    except errors.StorageError as error:
        click.echo(f"Error: {error}", err=True)
        code = exit_code(error)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. What was not finished was taken back.", err=True)
        code = INTERRUPTED
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="storage-plugins")
@click.option("-v", "--verbose", is_flag=True, help="Tell what is being done.")
def cli(verbose: bool) -> None:
    """Keep brain-data assemblies where storage.yaml says, and load them back verified."""
    if verbose:
        logging.getLogger("storage_plugins").setLevel(logging.INFO)


cli.add_command(check)
cli.add_command(mirror)
cli.add_command(new_backend)
cli.add_command(receipts)
cli.add_command(schema)
cli.add_command(trust)


def _store_options(command: Command) -> Command:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, and no progress."),
        click.option("-c", "--config", type=click.Path(path_type=Path), help="The storage.yaml to use."),
        click.option("-s", "--store", "store_name", help="A store's name; else the default one."),
    ):
        command = option(command)
    return command


def _pin_options(command: Command) -> Command:
    for option in (
        click.option("--newest", is_flag=True, help="Ask the store for its newest, whatever receipts say."),
        click.option("--sha256", help="The version with this hash."),
        click.option("--sha1", help="The version with this hash."),
        click.option("--version-id", help="The version the host calls so."),
    ):
        command = option(command)
    return command


_prefix_option = click.option("--assembly-prefix", help="What the file's name begins with; else the store's setting.")
_output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the file here."
)
_force_option = click.option("--force", is_flag=True, help="Let --output replace a file.")


@cli.command()
def demo() -> None:
    """Upload a small assembly to the embedded local store and load it back."""
    from .. import _sample as demo
    from .._config.config import Config
    from .._store.open import open_entry

    store = open_entry(Config.embedded().entry("local"))
    made = demo.assembly()
    click.echo(f"An assembly: {dict(made.sizes)}, {made.attrs['unit_of_measure']}")
    receipt = store.upload(made, demo.IDENTIFIER)
    print_receipt(receipt)
    loaded = store.load(receipt)
    if not loaded.identical(made):
        raise errors.IntegrityError(f"What came back of {demo.IDENTIFIER} is not what was uploaded")
    click.echo("Loaded back by this receipt: verified, and identical.")
    click.echo("Another place is one line of YAML: `storage-plugins init` writes a storage.yaml to begin with.")


@cli.command()
@click.argument("path", type=click.Path(path_type=Path), default="storage.yaml")
def init(path: Path) -> None:
    """Write a storage.yaml to begin with, here or at PATH."""
    from ..atomic import atomic_file, disk_errors
    from .template import STORAGE_YAML

    try:
        with disk_errors(f"write {path}"), atomic_file(path.absolute(), exclusive=True) as file:
            file.write(STORAGE_YAML.encode())
    except errors.StorageError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise errors.AlreadyExists(f"{path} is there already; it was left as it is") from error
        raise
    click.echo(f"Wrote {path}. Its store 'scratch' is ready: storage-plugins upload FILE.nc IDENTIFIER")


@cli.command()
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The storage.yaml to use.")
@click.option("--ask", is_flag=True, help="Ask each host what it does with what is uploaded again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stores(config: Path | None, ask: bool, as_json: bool) -> None:
    """List the configured stores, and what is wrong with any."""
    from .._config.config import Config
    from .._store.open import open_entry

    found = Config.open(config)
    rows = []
    for name, entry in found.stores.items():
        row: dict[str, Any] = {"name": name, "backend": entry.backend, "default": name == found.default}
        try:
            store = open_entry(entry)
            row |= {"address": store.address, "problem": None}
            if ask:
                row["promises"] = store.promises()
        except errors.StorageError as error:
            row |= {"address": None, "problem": str(error)}
        rows.append(row)
    if as_json:
        print_json({"config": str(found.path) if found.path else None, "stores": rows})
        return
    click.echo(f"From {found.path}:" if found.path else f"{entry.origin}; the embedded store:")
    print_table(
        ["", "store", "backend", "address"],
        [
            ["*" if row["default"] else "", row["name"], row["backend"], row["address"] or row["problem"]]
            for row in rows
        ],
    )
    for row in rows:
        if "promises" in row:
            click.echo(f"{row['name']}: {row['promises']}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backends(as_json: bool) -> None:
    """List the installed backends, what is wrong with any, and how to mend it."""
    from .._backend.discovery import installed

    plugins = installed()
    if as_json:
        kept = ("name", "distribution", "version", "problem", "remedy")
        print_json([{field: getattr(plugin, field) for field in kept} for plugin in plugins])
        return
    rows = []
    for plugin in plugins:
        summary = plugin.backend.summary if plugin.backend else ""
        rows.append([plugin.name, f"{plugin.distribution} {plugin.version}", plugin.problem or summary])
        if plugin.problem and plugin.remedy:
            rows.append(["", "", f"to mend it: {plugin.remedy}"])
    print_table(["backend", "from", ""], rows)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("identifier", required=False)
@_prefix_option
@click.option("--replace", is_flag=True, default=None, help="On a host without versions, replace changed bytes.")
@_store_options
def upload(
    path: Path,
    identifier: str | None,
    assembly_prefix: str | None,
    replace: bool | None,
    store_name: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Upload the netCDF file PATH as the assembly IDENTIFIER; its bytes are kept as they are.

    Without IDENTIFIER, a file of any kind is kept under its own name, for `fetch`.
    """
    with _opened(store_name, config, as_json) as store:
        if identifier is None:
            receipt = store.upload_file(path, replace=replace)
        else:
            receipt = store.upload(path, identifier, assembly_prefix=assembly_prefix, replace=replace)
    if as_json:
        print_json(receipt.to_dict())
    else:
        print_receipt(receipt)


@cli.command()
@click.argument("identifier")
@_output_option
@_force_option
@_prefix_option
@_pin_options
@_store_options
def load(
    identifier: str,
    output: Path | None,
    force: bool,
    assembly_prefix: str | None,
    store_name: str | None,
    config: Path | None,
    as_json: bool,
    **pin: Any,
) -> None:
    """Load the assembly IDENTIFIER, verified, and print what it is, or write its file with -o."""
    with _opened(store_name, config, as_json) as store:
        if output is None and not as_json:
            click.echo(repr(store.load(identifier, assembly_prefix=assembly_prefix, **pin)))
            return
        path = store.load_file(identifier, assembly_prefix=assembly_prefix, **pin)
    _deliver(path, output, force, as_json)


@cli.command()
@click.argument("name")
@_output_option
@_force_option
@_pin_options
@_store_options
def fetch(
    name: str,
    output: Path | None,
    force: bool,
    store_name: str | None,
    config: Path | None,
    as_json: bool,
    **pin: Any,
) -> None:
    """Fetch the file NAME, verified, and print where it lies on this computer, or write it with -o."""
    with _opened(store_name, config, as_json) as store:
        path = store.fetch(name, **pin)
    _deliver(path, output, force, as_json)


@cli.command("ls")
@_prefix_option
@_store_options
def list_identifiers(assembly_prefix: str | None, store_name: str | None, config: Path | None, as_json: bool) -> None:
    """List the assemblies in a store, and its other files."""
    with _opened(store_name, config, as_json) as store:
        identifiers = store.identifiers(assembly_prefix=assembly_prefix)
        files = store.file_names(assembly_prefix=assembly_prefix)
    if as_json:
        print_json({"identifiers": identifiers, "files": files})
        return
    for identifier in identifiers:
        click.echo(identifier)
    if files:
        click.echo("Other files:")
        for file in files:
            click.echo(f"  {file}")


@cli.command()
@click.argument("identifier")
@_prefix_option
@_store_options
def versions(
    identifier: str, assembly_prefix: str | None, store_name: str | None, config: Path | None, as_json: bool
) -> None:
    """List the versions of IDENTIFIER, newest first."""
    with _opened(store_name, config, as_json) as store:
        found = store.versions(identifier, assembly_prefix=assembly_prefix)
    if not found:
        raise errors.AssemblyNotFound(f"There is no {identifier} in {store.address}")
    if as_json:
        print_json([dataclasses.asdict(version) for version in found])
        return
    rows = [
        [
            version.version_id or "-",
            version.created.isoformat(sep=" ", timespec="seconds") if version.created else "-",
            str(version.size),
            version.sha1 or "-",
        ]
        for version in found
    ]
    print_table(["version_id", "created", "bytes", "sha1"], rows)


_version_option = click.option("--version-id", help="The version the host calls so; else the newest.")


@cli.command()
@click.argument("identifier")
@_version_option
@_prefix_option
@_store_options
def publish(
    identifier: str,
    version_id: str | None,
    assembly_prefix: str | None,
    store_name: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Make one version of IDENTIFIER readable by everybody, and prove it."""
    with _opened(store_name, config, as_json) as store:
        receipt = store.publish(identifier, version_id=version_id, assembly_prefix=assembly_prefix)
    if as_json:
        print_json(receipt.to_dict())
    else:
        click.echo(f"Everybody can load {identifier} now; an anonymous reader just did:\n{receipt.uri}")


@cli.command()
@click.argument("identifier")
@click.option("--version-id", help="The version the host calls so; else all.")
@_prefix_option
@_store_options
def unpublish(
    identifier: str,
    version_id: str | None,
    assembly_prefix: str | None,
    store_name: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Make IDENTIFIER private again, and prove it."""
    with _opened(store_name, config, as_json) as store:
        store.unpublish(identifier, version_id=version_id, assembly_prefix=assembly_prefix)
    if as_json:
        print_json({"identifier": identifier, "private": True})
    else:
        click.echo(f"{identifier} is private: an anonymous reader was just refused.")


@cli.command("publish-store")
@click.option("--confirm", metavar="ADDRESS", help="The store's address, to say that all of it is meant.")
@_store_options
def publish_store(confirm: str | None, store_name: str | None, config: Path | None, as_json: bool) -> None:
    """Make the whole place readable by everybody, where the host opens nothing smaller: OSF opens projects.

    Without --confirm it says what would be opened, and leaves it as it is.
    """
    with _opened(store_name, config, as_json) as store:
        store.publish_store(confirm=confirm or "")
    if as_json:
        print_json({"address": store.address, "public": True})
    else:
        click.echo(f"Everybody can read {store.address} now; an anonymous reader just did.")


@cli.command()
@click.argument("identifier")
@click.option("--expires", default="7d", show_default=True, help="Such as 7d, 12h, 30m.")
@_version_option
@_prefix_option
@_store_options
def share(
    identifier: str,
    expires: str,
    version_id: str | None,
    assembly_prefix: str | None,
    store_name: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Print a link from which anybody can load one version of IDENTIFIER for some time."""
    try:
        with _opened(store_name, config, as_json) as store:
            link = store.share(identifier, expires=expires, version_id=version_id, assembly_prefix=assembly_prefix)
    except ValueError as error:
        if isinstance(error, errors.StorageError):
            raise
        raise click.BadParameter(str(error)) from error
    if as_json:
        print_json({"link": link})
    else:
        click.echo(link)


@contextmanager
def _opened(name: str | None, config: Path | None, as_json: bool) -> Iterator[Store]:
    """Open a store; on a terminal, with a progress bar for each transfer."""
    from .._store.open import open_store
    from .progress import bars

    store = open_store(name, config=config)
    if as_json or not sys.stderr.isatty():
        yield store
        return
    with bars() as report:
        store.progress = report
        yield store


def _deliver(path: Path, output: Path | None, force: bool, as_json: bool) -> None:
    """Say where a verified file lies, after copying it to ``output`` if there is one."""
    import shutil

    if output is not None:
        with new_file(output, replace=force) as file, path.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
        path = output
    if as_json:
        print_json({"path": str(path), "size": path.stat().st_size})
    else:
        click.echo(str(path))
