"""First steps: ``demo``, and ``init``, which writes a storage.yaml."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from .. import errors
from .._visible import visible
from ._checking import check
from ._options import example
from ._output import print_receipt, say
from ._trust import trust_new

_FILE_ENDINGS = (".yaml", ".yml")


@click.command(epilog=example("storage-plugins demo"))
def demo() -> None:
    """Upload and load a small assembly on this computer."""
    from .. import _sample
    from .._config.config import Config
    from .._store.open import open_entry

    store = open_entry(Config.embedded().entry("local"))
    made = _sample.assembly()
    say(f"An assembly: {dict(made.sizes)}, {made.attrs['unit_of_measure']}")
    receipt = store.upload(made, _sample.IDENTIFIER)
    print_receipt(receipt)
    loaded = store.load(receipt)
    if not loaded.identical(made):
        raise errors.IntegrityError(f"The loaded {_sample.IDENTIFIER} differs from what was uploaded")
    say("Loaded back by this receipt: verified, and identical.")
    say("Next: `storage-plugins init` writes a storage.yaml, where one line says which store is used.")


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=example(
        "storage-plugins init",
        "storage-plugins init scratch/ --check",
        "storage-plugins init lab/ --name lab --backend s3 --bucket my-bucket/my-folder",
        "storage-plugins init --backend osf --project abc12 --token '${OSF_TOKEN}'",
    ),
)
@click.argument("words", metavar="[PATH] [--SETTING VALUE]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--backend", metavar="NAME", help="Kind of store: see `storage-plugins backends`.")
@click.option("--name", metavar="STORE", help="Name of the store in storage.yaml.")
@click.option("--check", "check_it", is_flag=True, help="Test the store afterwards, as `check` does.")
@click.pass_context
def init(context: click.Context, words: tuple[str, ...], backend: str | None, name: str | None, check_it: bool) -> int:
    """Write a storage.yaml, here or in a folder.

    PATH is a folder, or a file that ends in .yaml. Existing files are never changed. With --backend, each further
    option is a setting of that backend, such as --bucket for s3. Without it, the file has a local store; on a
    terminal you are asked, also whether to test the store.

    A JSON Schema is written beside it, so that editors complete and check the file.
    """
    from ._template import STORAGE_YAML, store_yaml

    path, settings = _split(words)
    if path.exists():
        raise errors.AlreadyExists(f"{path} exists already; it was not changed")
    if backend is None and (settings or name):
        raise click.UsageError(f"{'--name' if name else '--' + next(iter(settings))} needs --backend.")
    asks = backend is None and sys.stdin.isatty() and sys.stdout.isatty()
    if asks:
        backend, settings = _asked()
    name = name or ("lab" if backend else "scratch")
    _write(path, store_yaml(name, backend, settings, path.absolute().parent) if backend else STORAGE_YAML)
    trust_new(path)
    here = "" if path.absolute().parent == Path.cwd() and path.name == "storage.yaml" else f" -c {path}"
    say(f"Wrote {path}.")
    if asks and not check_it:
        check_it = click.confirm(f"Test the store {name!r} now", default=True)
    if check_it:
        code: int = context.invoke(check, store=name, read_only=False, config=path, as_json=False)
    else:
        code = 0
        say(f"To test its store {name!r}:  storage-plugins check{here}")
    say(f"To upload an assembly:  storage-plugins upload FILE.nc IDENTIFIER{here}")
    return code


def _split(words: tuple[str, ...]) -> tuple[Path, dict[str, str]]:
    """Return the path of the file to write, and the settings among the words of a command line."""
    paths: list[str] = []
    settings: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            paths.append(word)
            continue
        option, equals, value = word.partition("=")
        given = value if equals else next(rest, None)
        if not option.startswith("--") or given is None:
            raise click.UsageError(f"Option {option} needs a value, as in --bucket my-bucket.")
        settings[option[2:].replace("-", "_")] = given
    if len(paths) > 1:
        raise click.UsageError(f"Give one PATH, not {len(paths)}: {', '.join(paths)}")
    given = paths[0] if paths else "storage.yaml"
    path = Path(given)
    is_file = given.endswith(_FILE_ENDINGS) and not path.is_dir()
    return path if is_file else path / "storage.yaml", settings


def _asked() -> tuple[str | None, dict[str, str]]:
    """Ask a person for the kind of store, for the settings that it needs, and for where its secrets are."""
    from .._backend.discovery import find_backend, installed
    from .._backend.settings import StoreSettings, secret_fields

    names = [plugin.name for plugin in installed() if plugin.backend and not plugin.problem]
    backend = click.prompt("Kind of store", type=click.Choice(names), default="local")
    if backend == "local":
        return None, {}
    fields = find_backend(backend).settings.model_fields
    own = [field for field in fields if field not in StoreSettings.model_fields]
    secrets = secret_fields(find_backend(backend).settings)
    settings = {}
    for field in [field for field in own if fields[field].is_required()] or own[:1]:
        settings[field] = click.prompt(_question(field, fields[field].description))
    for field in [field for field in own if field in secrets]:
        variable = click.prompt(
            _question(f"Environment variable with the {field}, empty for none", fields[field].description), default=""
        )
        if variable:
            settings[field] = variable if variable.startswith("$") else f"${{{variable}}}"
    return backend, settings


def _question(what: str, description: str | None) -> str:
    return visible(f"{what} ({description})" if description else what, one_line=True)


def _write(path: Path, text: str) -> None:
    from .._config.schema import schema
    from ..atomic import atomic_file, disk_errors
    from ._schema import schema_text
    from ._template import SCHEMA_FILE

    folder = path.absolute().parent
    try:
        with disk_errors(f"write {path}"):
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(path.absolute(), exclusive=True) as file:
                file.write(text.encode())
            beside = folder / SCHEMA_FILE
            if not os.path.lexists(beside):
                with atomic_file(beside) as file:
                    file.write(schema_text(schema()[0]))
    except errors.StorageError as error:
        if isinstance(error.__cause__, FileExistsError):
            what = path if folder.is_dir() else folder
            raise errors.AlreadyExists(f"{what} exists already; it was not changed") from error
        raise
