"""The command that begins a backend: it writes a package to which only the host's operations are to be added."""

from __future__ import annotations

import re
import shlex
import string
from pathlib import Path

import click

from ._options import example
from ._output import say

_LONGEST = 40  # characters of a name, so that the lines it stands in are not too long
_OTHERS_IN_YAML = ("null", "true", "false", "yes", "no", "on", "off")
_FILES = {
    # where it goes: its template in the folder skeleton/
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "CHANGELOG.md": "CHANGELOG.md.txt",
    "LICENSE": "LICENSE.txt",
    ".gitignore": "gitignore.txt",
    ".github/workflows/publish.yml": "publish.yml.txt",
    ".github/workflows/test.yml": "test.yml.txt",
    "src/$module/__init__.py": "__init__.py.txt",
    "src/$module/settings.py": "settings.py.txt",
    "src/$module/$kind.py": "$kind.py.txt",
    "src/$module/py.typed": None,
    "tests/test_$package.py": "test.py.txt",
}
_OF_FILES = {"kind": "files", "made": "Files", "tests": "BackendTests", "kit": "BackendTests, Host"}
_OF_A_STORE = {"kind": "store", "made": "Store", "tests": "StoreTests", "kit": "Host, StoreTests"}


@click.command("new-backend", epilog=example("storage-plugins new-backend shelf storage-plugins-shelf"))
@click.argument("name")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--store", is_flag=True, help="A store with its own upload and load, such as a database, not of files.")
def new_backend(name: str, folder: Path, store: bool) -> None:
    """Write a package to begin a new backend with.

    NAME is what `backend:` will say in storage.yaml, DIR a new folder. The package can be installed at once; its
    tests are the test-kit, and say what is left to write. It has a licence (MIT), a changelog, and workflows that test
    and publish it.
    """
    from ..atomic import atomic_folder, disk_errors
    from ..errors import AlreadyExists, StorageError

    words = {**_words(name), **(_OF_A_STORE if store else _OF_FILES)}
    modules = {words["kind"]: words["made"], "settings": "Settings"}
    words["imports"] = "\n".join(
        f"from .{name} import {words['prefix']}{made}" for name, made in sorted(modules.items())
    )
    folder = folder.resolve()
    try:
        with disk_errors(f"write {folder}"), atomic_folder(folder) as made:
            for path, text in _written(words).items():
                (made / path).parent.mkdir(parents=True, exist_ok=True)
                (made / path).write_text(text, encoding="utf-8")
    except StorageError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise AlreadyExists(f"{folder} exists already and is not empty", hint="Name a new folder.") from error
        raise
    say(f"Wrote the backend {name!r} to {folder}. Next:")
    say(f"  cd {shlex.quote(str(folder))} && pip install -e '.[test]' && python -m pytest -x")
    say(f"  The tests say what is left to write in src/{words['module']}/{words['kind']}.py.")


def _words(name: str) -> dict[str, str]:
    """Return what stands for the words of the templates; refuse a name that cannot be a backend's."""
    from .. import __version__
    from .._backend.discovery import NAME, installed
    from .._config.config import GROUP
    from ..errors import AlreadyExists, InvalidIdentifier

    if not NAME.fullmatch(name) or len(name) > _LONGEST or name in _OTHERS_IN_YAML:
        raise InvalidIdentifier(
            f"{name!r} cannot be a backend's name",
            hint=f"Use a lower-case letter, then lower-case letters, digits, - and _: at most {_LONGEST} characters.",
        )
    parts = _parts(name)
    for taken, owner in [(GROUP, "storage-plugins"), *((one.name, one.distribution) for one in installed())]:
        if _parts(taken) == parts:
            raise AlreadyExists(f"There is a backend {taken!r} already, in {owner}", hint="Choose another name.")
    package = "_".join(parts)
    return {
        "name": name,
        "package": package,
        "module": f"storage_plugins_{package}",
        "distribution": f"storage-plugins-{'-'.join(parts)}",
        "prefix": "".join(part.capitalize() for part in parts),
        "version": __version__,
    }


def _parts(name: str) -> list[str]:
    """Return the words of a name: names of the same words would be one package."""
    return [part for part in re.split("[-_]", name) if part]


def _written(words: dict[str, str]) -> dict[str, str]:
    """Return the package's files by their paths."""
    import importlib.resources

    templates = importlib.resources.files(__package__) / "skeleton"

    def filled(text: str) -> str:
        return string.Template(text).substitute(words)

    return {
        filled(path): filled((templates / filled(template)).read_text("utf-8")) if template else ""
        for path, template in _FILES.items()
    }
