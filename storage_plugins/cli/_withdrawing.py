"""The command that removes a version for good."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ._opening import near_names, on_store
from ._options import example, prefix_option, version_options
from ._output import print_json, say

if TYPE_CHECKING:
    from .._store.store import Store

_COPY_LEFT = 1  # exit code


@click.command(
    epilog=example(
        "storage-plugins withdraw Lab2026.rates --version-id 2-87b7f0091ddd --reason 'consent withdrawn' --yes"
    )
)
@click.argument("name")
@version_options
@prefix_option
@click.option("--reason", metavar="TEXT", required=True, help="Why, for everyone who tries to load it.")
@click.option("--all-copies", is_flag=True, help="Remove the copies that receipts know of, too.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@on_store
def withdraw(store: Store, name: str, reason: str, all_copies: bool, yes: bool, as_json: bool, **pin: Any) -> int:
    """Remove one version for good, and say why.

    NAME is an identifier, or the name of another file. The bytes are deleted on the server; a tombstone stays, so that
    a load of this version fails with the reason. On a terminal the name must be typed to confirm it. The exit code is
    1 if a copy in another store could not be removed.
    """
    chosen = [str(value) for option, value in pin.items() if value and option != "assembly_prefix"]
    if not chosen:
        raise click.UsageError("Give --version-id, --sha1 or --sha256 of the version to remove.")
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Give --yes to remove the version for good.")
        say(f"This removes {name}, version {', '.join(chosen)}, from {store.address} for good.", error=True)
        if click.prompt(f"Type {name} to confirm", err=True) != name:
            raise click.UsageError("That is another name. Nothing was removed.")
    with near_names(store, name, elsewhere=False):
        report = store.withdraw(name, reason=reason, confirm=name, all_copies=all_copies, **pin)
    if as_json:
        print_json(report.to_dict())
    else:
        for one in report.withdrawn:
            say(f"{one.identifier}, version {one.version_id}, was removed from {one.address}")
        for failed, problem in report.failed.items():
            say(f"{failed}: a copy is still there: {problem}")
    return _COPY_LEFT if report.failed else 0
