"""The command that compares stores with receipts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._visible import on_one_line
from ..errors import AssemblyNotFound
from ._exit_codes import exit_code
from ._opening import configured, opened
from ._options import config_option, example, json_option
from ._output import print_json, say

if TYPE_CHECKING:
    from .._audit.report import VerifyReport
    from .._audit.run import Show
    from .._store.file_store import FileStore

_NOT_WHOLE = 1  # exit code
_WORDS = {"unreachable": "out of reach", "denied": "access denied"}


@click.command(
    epilog=example(
        "storage-plugins verify",
        "storage-plugins verify -s lab --full",
        "storage-plugins verify -s ours --against lab",
    )
)
@click.argument("identifiers", metavar="[IDENTIFIER]...", nargs=-1)
@click.option("-s", "--store", "store_name", metavar="STORE", help="Only this store (default: every store).")
@click.option("--against", metavar="STORE", help="A store whose versions must all be there, too.")
@click.option("--full", is_flag=True, help="Read every byte, and compare its hash.")
@config_option
@json_option
def verify(
    identifiers: tuple[str, ...],
    store_name: str | None,
    against: str | None,
    full: bool,
    config: Path | None,
    as_json: bool,
) -> int:
    """Verify that stores still have what was uploaded.

    Each store is compared with the receipts of its address, and each version with its record. With --against, the
    store (default: the default store) must also have every version of another one. Without --full, existence, sizes
    and the hashes that the servers report are compared. The cache is not used, and nothing is changed. A full
    verification that was interrupted continues where it stopped. The exit code is 0 if all versions are whole, 1 if
    not, and 3 if there is nothing to verify.
    """
    from .._audit.configured import stores_of
    from .._audit.verify import verify_config, verify_stores

    names = identifiers or None
    with configured(config) as found:
        if store_name is None and against is None:
            stores, problems = stores_of(found)
            with _progress(as_json, stores) as show:
                report = verify_config(found, stores, problems, names, full=full, show=show)
        else:
            stores = opened(found, store_name).file_stores("verify")
            others = opened(found, against).file_stores("verify") if against else []
            with _progress(as_json, stores) as show:
                report = verify_stores(stores, names, against=others, full=full, show=show)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    if not report.versions and not report.problems:
        return exit_code(AssemblyNotFound)
    return 0 if report.ok else _NOT_WHOLE


@contextlib.contextmanager
def _progress(as_json: bool, stores: Iterable[FileStore]) -> Iterator[Show | None]:
    """Show on a terminal how many names are done, and a bar for each file that is read."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from .._audit.run import Show
    from .._progress import Bars, counter

    with Bars() as report, counter("Verifying", "names") as count:
        for store in stores:
            store.progress = report
        yield Show(count)


def _print(report: VerifyReport) -> None:
    for name, problem in report.problems.items():
        say(f"{name}: {problem}")
    for version in report.versions:
        if version.reason is not None:
            state = _WORDS.get(version.state, version.state)
            named = version.identifier if version.version_id is None else f"{version.identifier} {version.version_id}"
            say(f"{state:<13}  {named} in {version.store}: {on_one_line(version.reason)}", one_line=True)
    counts = ", ".join(f"{count} {_WORDS.get(state, state)}" for state, count in report.counts.items() if count)
    if not report.versions:
        say("Nothing to verify: there are no receipts and no versions.")
        return
    say(f"{len(report.versions)} {'version' if len(report.versions) == 1 else 'versions'}: {counts}.")
    if report.full:
        resumed = f"; {report.resumed} versions were read before an interruption" if report.resumed else ""
        say(f"{report.bytes_read} bytes were read and hashed{resumed}.")
    elif report.ok:
        say("To read every byte: --full")
