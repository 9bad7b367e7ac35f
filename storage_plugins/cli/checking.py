"""The command that tries a store out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import StorageError
from .exit_codes import exit_code
from .output import print_json

if TYPE_CHECKING:
    from .._check.check import Check
    from .._check.trials import Finding

_MARKS = {True: ("ok", "green"), False: ("no", "red"), None: ("-", "yellow")}
_INDENT = 4 + 11 + 2  # columns before a finding's text


@click.command()
@click.argument("store", required=False)
@click.option("--read-only", is_flag=True, help="Leave the place as it is, and try only reading.")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The storage.yaml to use.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(store: str | None, read_only: bool, config: Path | None, as_json: bool) -> int:
    """Try out STORE, else the default one, as it is configured, and say in words what it can do.

    What is uploaded for that is called storage-plugins-check-… and taken away again, where the host can do
    that. The exit code is 0 if nothing is wrong, else that of the first thing that is.
    """
    from .. import open_store
    from .._check.check import Check
    from .._store.group import Group

    opened = open_store(store, config=config)
    members = opened.members() if isinstance(opened, Group) else {opened.name: True}
    documents, codes = [], []
    for name, uploads in members.items():
        try:
            member = open_store(name, config=config) if isinstance(opened, Group) else opened
        except StorageError as error:
            documents.append({"store": name, "ok": False, "problem": str(error)})
            codes.append(exit_code(error))
            if not as_json:
                click.echo(f"{name}: cannot be opened: {error}")
            continue
        findings: list[Finding] = []
        trial = Check(member, read_only=read_only or not uploads)
        if not as_json:
            click.echo(f"{name}: {member.address}")
        try:
            with trial:
                for finding in trial:
                    findings.append(finding)
                    if not as_json:
                        _print(finding)
        finally:  # after ctrl-C too
            if not as_json:
                _print_rest(trial)
        documents.append(_document(trial, findings))
        codes += [1 if each.error is None else exit_code(each.error) for each in findings if each.ok is False]
    if as_json:
        print_json({"stores": documents})
    return next(filter(None, codes), 0)


def _print(finding: Finding) -> None:
    mark, colour = _MARKS[finding.ok]
    rest = [*finding.text.splitlines(), *(finding.hint or "").splitlines()]
    click.echo(f"  {click.style(f'{mark:<2}', fg=colour)}  {finding.check:<11}  {rest[0]}")
    for line in rest[1:]:
        click.echo(" " * (_INDENT + 2) + line.strip())


def _print_rest(trial: Check) -> None:
    if trial.not_tried:
        click.echo(f"Not tried after that: {', '.join(trial.not_tried)}.")
    if trial.earlier:
        click.echo(f"Of another check that is running or was stopped: {', '.join(trial.earlier)}.")
    for left in trial.left:
        click.echo(f"Left behind: {left.name}: {left.why}")
    if not (trial.left or trial.read_only):
        click.echo("Nothing was left behind.")


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
