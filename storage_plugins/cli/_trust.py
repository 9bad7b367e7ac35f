"""What a storage.yaml sends where, and the user's word that it may: ``trust``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ..errors import ConfigError, StorageError
from ._options import example, json_option
from ._output import print_json, say

if TYPE_CHECKING:
    from .._config.trust import Sending

T = TypeVar("T")


@click.command(epilog=example("storage-plugins trust storage.yaml"))
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@json_option
def trust(file: Path | None, as_json: bool) -> None:
    """Allow a storage.yaml to send credentials to its servers.

    FILE is the storage.yaml that is found here by default. What its stores send to servers other than their
    backend's own is shown and remembered; on a terminal you are asked first. If the servers or the variables in the
    file change, you are asked again.
    """
    from .._config.finding import find

    path = file or find()
    if path is None:
        raise ConfigError("There is no storage.yaml here", hint="Name the file: storage-plugins trust FILE")
    sendings, problems = _read(path)
    if as_json:
        rows = [sending._asdict() for sending in sendings]
        print_json({"file": str(path.absolute()), "sends": rows, "problems": problems})
    else:
        _show(path, sendings, problems)
    if sendings and not as_json and _on_terminal():
        click.confirm("Allow this?", abort=True, err=True)
    _remember(path, sendings)
    if sendings and not as_json:
        say(f"Trusted: {path}")


def asking(run: Callable[[], T]) -> T:
    """Run a command; on a terminal, ask about the storage.yaml that it found and is not trusted, and run it again."""
    try:
        return run()
    except ConfigError as error:
        from .._config.trust import Untrusted

        if not (isinstance(error, Untrusted) and _on_terminal()):
            raise
        sendings, problems = _read(error.path)
        _show(error.path, sendings, problems, err=True)
        if not click.confirm("Allow this?", err=True):
            raise
        _remember(error.path, sendings)
    return run()


def trust_new(path: Path) -> None:
    """Trust a file that ``init`` has just written from the user's own words."""
    with contextlib.suppress(StorageError):  # such as without a home folder: the user is asked at first use
        sendings, _ = _read(path)
        if sendings:
            _remember(path, sendings)


def _read(path: Path) -> tuple[list[Sending], dict[str, str]]:
    from .._config.config import Config
    from .._config.finding import why_unsafe
    from .._config.trust import sendings_in
    from ..atomic import disk_errors

    config = Config.open(path)
    with disk_errors(f"read {path}"):
        reason = why_unsafe(path)
    if reason is not None:
        raise ConfigError(f"{path} cannot be trusted: {reason}", hint=f"Use it by its name: -c {path}")
    return sendings_in(config)


def _remember(path: Path, sendings: list[Sending]) -> None:
    from .._config.trust import remember

    remember(path, sendings)


def _show(path: Path, sendings: list[Sending], problems: dict[str, str], *, err: bool = False) -> None:
    if not sendings:
        say(f"{path} sends no credentials to servers other than its backends' own.", error=err)
    else:
        say(f"{path} sends:", error=err)
    for store, setting, secret, host in sendings:
        where = f"store {store!r}, {setting}" if setting else f"store {store!r}"
        say(f"  {secret} to {host}  ({where})", error=err)
    for store, problem in problems.items():
        say(f"  store {store!r} was not looked at: {problem}", error=err)


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
