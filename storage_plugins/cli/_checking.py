"""The command that tests a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import StorageError
from ._exit_codes import exit_code
from ._opening import configured, opened
from ._options import config_option, example, json_option, store_names
from ._output import print_json, say, say_marked

if TYPE_CHECKING:
    from .._check.check import Check
    from .._check.trials import Finding

_MARKS = {True: ("ok", "green"), False: ("no", "red"), None: ("-", "yellow")}
_NAME = 20  # columns for the name of a check
_INDENT = 6 + _NAME + 2  # columns before a finding's text


@click.command(epilog=example("storage-plugins check", "storage-plugins check lab --read-only"))
@click.argument("store", required=False, shell_complete=store_names)
@click.option("--read-only", is_flag=True, help="Upload nothing; test only listing and reading.")
@config_option
@json_option
def check(store: str | None, read_only: bool, config: Path | None, as_json: bool) -> int:
    """Test a store as it is configured, and explain problems.

    STORE is a store's name (default: the default store). Small files named storage-plugins-check-... are uploaded
    and deleted again, where the server allows it. The exit code is 0 if every test passed, else that of the first
    problem.
    """
    from .._store.group import Group

    documents, codes = [], []
    with configured(config) as found:
        chosen = opened(found, store)
        members = chosen.members() if isinstance(chosen, Group) else {chosen.name: True}
        for name, uploads in members.items():
            try:
                member = opened(found, name) if isinstance(chosen, Group) else chosen
            except StorageError as error:
                documents.append({"store": name, "ok": False, "problem": str(error)})
                codes.append(exit_code(error))
                if not as_json:
                    say(f"{name}: cannot be opened: {error}")
                continue
            document, findings = _checked(member, read_only or not uploads, as_json)
            documents.append(document)
            codes += [1 if each.error is None else exit_code(each.error) for each in findings if each.ok is False]
    if as_json:
        print_json({"stores": documents})
    return next(filter(None, codes), 0)


def _checked(store: Any, read_only: bool, as_json: bool) -> tuple[dict[str, Any], list[Finding]]:
    """Run every check of one store, printing each finding at once; return them, and as a document."""
    from .._check.check import Check

    findings: list[Finding] = []
    trial = Check(store, read_only=read_only)
    if not as_json:
        say(f"{store.name}: {store.address}")
    try:
        with trial:
            for finding in trial:
                findings.append(finding)
                if not as_json:
                    _print(finding)
    finally:  # after ctrl-C too
        if not as_json:
            _print_rest(trial)
    return _document(trial, findings), findings


def _print(finding: Finding) -> None:
    mark, colour = _MARKS[finding.ok]
    rest = [*finding.text.splitlines(), *(finding.hint or "").splitlines()]
    say_marked(mark, colour, f"{finding.check:<{_NAME}}  {rest[0]}")
    for line in rest[1:]:
        say(" " * _INDENT + line.strip())


def _print_rest(trial: Check) -> None:
    if trial.not_tried:
        say(f"Not tried after that: {', '.join(trial.not_tried)}.")
    if trial.earlier:
        say(f"From another check that is running or was stopped: {', '.join(trial.earlier)}.")
    for left in trial.left:
        say(f"Left behind: {left.name}: {left.why}")
    if not (trial.left or trial.read_only):
        say("Nothing was left behind.")


def _document(trial: Check, findings: list[Finding]) -> dict[str, Any]:
    checks = []
    for finding in findings:
        error = finding.error.__name__ if finding.error else None
        checks.append({**vars(finding), "error": error, "figures": dict(finding.figures)})
    return {
        "store": trial.store.name,
        "address": trial.store.address,
        "ok": all(finding.ok is not False for finding in findings),
        "checks": checks,
        "not_tried": trial.not_tried,
        "of_other_checks": trial.earlier,
        "left": [left._asdict() for left in trial.left],
    }
