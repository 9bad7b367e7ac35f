"""The command that asks all stores for a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AccessDenied, AssemblyNotFound, StoreUnavailable
from ._exit_codes import exit_code
from ._opening import configured
from ._options import config_option, example, json_option
from ._output import print_json, print_table, say, size_and_date

if TYPE_CHECKING:
    from .._audit.where import Whereabouts

_KINDS = {"missing": AssemblyNotFound, "denied": AccessDenied, "unreachable": StoreUnavailable}
_WORDS = {"missing": "does not have it", "denied": "access denied", "unreachable": "out of reach"}


@click.command(epilog=example("storage-plugins where Lab2026.rates", "storage-plugins where stimulus_hvm.zip"))
@click.argument("name")
@config_option
@json_option
def where(name: str, config: Path | None, as_json: bool) -> int:
    """Show which stores have which versions of a name.

    NAME is an identifier, or the name of another file. All configured stores are asked now. If none has it, the exit
    code is 3; but 4 or 7 if a store refused access or did not answer.
    """
    from .._audit.where import where_among
    from .._store.open import open_entry

    with configured(config) as found:
        answers = where_among(open_entry, found.stores.values(), name)
    if as_json:
        print_json([answer.to_dict() for answer in answers])
    else:
        _print(answers)
    states = {answer.state for answer in answers}
    if "there" in states:
        return 0
    return exit_code(next(_KINDS[state] for state in ("denied", "unreachable", "missing") if state in states))


def _print(answers: tuple[Whereabouts, ...]) -> None:
    rows = [
        [answer.store, version.version_id or "-", *reversed(size_and_date(version)), version.sha1 or "-"]
        for answer in answers
        for version in answer.versions
    ]
    if rows:
        print_table(["store", "version_id", "created", "bytes", "sha1"], rows)
    for answer in answers:
        if answer.state != "there":
            problem = f": {answer.problem}" if answer.problem else ""
            say(f"{answer.store}: {_WORDS[answer.state]}{problem}", one_line=True)
