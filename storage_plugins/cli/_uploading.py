"""``upload``: one file, or many under names that are clear before anything is sent."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import AssemblyNotFound, InvalidIdentifier, StorageError, error_in_words
from ._exit_codes import exit_code_of_first
from ._opening import on_store
from ._options import example, prefix_option
from ._output import print_json, print_receipt, say

if TYPE_CHECKING:
    from .._store.many import ManyReport
    from .._store.store import Store
    from ..protocol import Receipt

_FIELDS = ("{stem}", "{parent}")


class Upload(NamedTuple):
    """One file to upload: as an assembly, or for None under its own name."""

    path: Path
    identifier: str | None


@click.command(
    epilog=example(
        "storage-plugins upload rates.nc Lab2026.rates",
        "storage-plugins upload stimulus_hvm.zip",
        "storage-plugins upload monkey1.nc monkey2.nc --as 'Lab2026.{stem}'",
        "storage-plugins upload --manifest assemblies.csv",
    )
)
@click.argument("words", metavar="[FILE... [IDENTIFIER]]", nargs=-1)
@click.option("--as", "template", metavar="TEMPLATE", help="Identifier of each FILE, with {stem} or {parent}.")
@click.option("--manifest", type=click.Path(path_type=Path, dir_okay=False), help="CSV or YAML: path, identifier.")
@prefix_option
@click.option("--replace", is_flag=True, default=None, help="Replace changed bytes in a store without versions.")
@on_store
def upload(
    store: Store,
    words: tuple[str, ...],
    template: str | None,
    manifest: Path | None,
    assembly_prefix: str | None,
    replace: bool | None,
    as_json: bool,
) -> int:
    """Upload assemblies, or files of any kind.

    With one FILE and an IDENTIFIER, or with --as or --manifest, each file is a netCDF file with an assembly. Its
    bytes are stored unchanged. Otherwise each FILE is stored under its own name, for `fetch`.

    In --as, {stem} is the file's name without its ending, and {parent} the name of its folder. A manifest has two
    columns, path and identifier; paths are relative to it.

    Files that the store has already are not sent again: to continue after an interruption, run the command again.
    """
    from .._store.many import run

    uploads = _uploads(words, template, manifest)
    prefix = store.settings.assembly_prefix if assembly_prefix is None else assembly_prefix
    _refuse_ambiguous(uploads, prefix)
    if len(uploads) == 1 and manifest is None:
        receipt = _upload(store, uploads[0], assembly_prefix, replace)
        if as_json:
            print_json(receipt.to_dict())
        else:
            print_receipt(receipt)
        return 0
    by_name = {one.identifier or one.path.name: one for one in uploads}
    report = run(
        by_name,
        lambda name: _upload(store, by_name[name], assembly_prefix, replace),
        at_once=store._at_once,
        gives_up=True,
        finished=lambda name, outcome: None if as_json else _say_outcome(by_name[name], outcome),
    )
    _summarize(store, by_name, report, as_json)
    return exit_code_of_first(report)


def _uploads(words: tuple[str, ...], template: str | None, manifest: Path | None) -> list[Upload]:
    """Return which file is uploaded under which name. Nothing is guessed: what is unclear is a usage error."""
    if manifest is not None:
        if words or template:
            raise click.UsageError("--manifest names the files itself: give no FILE and no --as.")
        return _of_manifest(manifest)
    if not words:
        raise click.UsageError("Give a FILE, or --manifest.")
    if template is not None:
        return [Upload(path, _filled(template, path)) for path in map(Path, words)]
    if len(words) == 2 and not Path(words[1]).exists():
        if words[1].endswith(".nc"):
            raise click.UsageError(
                f"{words[1]!r} is not an identifier but the name of a file that does not exist. "
                f"If it is meant as the identifier, give it with --as."
            )
        return [Upload(Path(words[0]), words[1])]
    if len(words) > 1 and any(word.endswith(".nc") for word in words):
        raise click.UsageError(
            "Several files need a rule for their identifiers: --as 'Lab2026.{stem}', or --manifest FILE."
        )
    return [Upload(Path(word), None) for word in words]


def _filled(template: str, path: Path) -> str:
    filled = template.replace("{stem}", path.stem).replace("{parent}", path.absolute().parent.name)
    if "{" in template.replace("{stem}", "").replace("{parent}", ""):
        raise click.BadParameter(f"{template!r} may use {' and '.join(_FIELDS)} only.", param_hint="--as")
    return filled


def _of_manifest(manifest: Path) -> list[Upload]:
    """Return the rows of a manifest."""
    from ..atomic import disk_errors

    try:
        with disk_errors(f"read {manifest}"):
            text = manifest.read_text("utf-8-sig")
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise AssemblyNotFound(f"There is no file {manifest}") from None
        raise
    except UnicodeDecodeError:
        raise click.BadParameter(f"{manifest} is not text in UTF-8.", param_hint="--manifest") from None
    rows = _of_yaml(text) if manifest.suffix in (".yaml", ".yml") else csv.DictReader(io.StringIO(text))
    uploads = []
    for number, row in enumerate(rows, 1):
        path, identifier = row.get("path"), row.get("identifier")
        if not (isinstance(path, str) and path and isinstance(identifier, str) and identifier) or None in row:
            raise click.BadParameter(
                f"entry {number} of {manifest} must have a path and an identifier.", param_hint="--manifest"
            )
        uploads.append(Upload(manifest.parent / path, identifier))
    if not uploads:
        raise click.BadParameter(f"{manifest} names no file.", param_hint="--manifest")
    return uploads


def _of_yaml(text: str) -> Iterable[dict[str, Any]]:
    import yaml

    try:
        # every value is its text: 2026 is an identifier, not a number
        rows = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise click.BadParameter(f"not YAML: {error}", param_hint="--manifest") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise click.BadParameter("must be a list of entries with path and identifier.", param_hint="--manifest")
    return rows


def _refuse_ambiguous(uploads: list[Upload], prefix: str) -> None:
    """Refuse impossible names, and two files for one name, before anything is sent."""
    from .._identifiers import assembly_key, check_file_name

    seen: dict[str, Upload] = {}
    for one in uploads:
        try:
            key = check_file_name(one.path.name) if one.identifier is None else assembly_key(one.identifier, prefix)
        except InvalidIdentifier as error:
            raise InvalidIdentifier(f"{one.path} was not uploaded: {error.message}", hint=error.hint) from None
        other = seen.setdefault(key.casefold(), one)
        if other is not one:
            names = " and ".join(dict.fromkeys(str(each.identifier or each.path.name) for each in (other, one)))
            raise click.UsageError(
                f"{other.path} and {one.path} would be stored under one name ({names}). Nothing was uploaded."
            )


def _upload(store: Store, one: Upload, assembly_prefix: str | None, replace: bool | None) -> Receipt:
    if one.identifier is None:
        return store.upload_file(one.path, replace=replace)
    return store.upload(one.path, one.identifier, assembly_prefix=assembly_prefix, replace=replace)


def _say_outcome(one: Upload, outcome: Receipt | Exception) -> None:
    if isinstance(outcome, Exception):
        say(f"{one.path}: not uploaded: {error_in_words(outcome)}", error=True)
    else:
        say(f"{one.path}: {outcome.identifier}, version {outcome.version_id}, sha1 {outcome.sha1}")


def _summarize(store: Store, by_name: dict[str, Upload], report: ManyReport[Receipt], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "uploaded": [receipt.to_dict() for receipt in report.done.values()],
                "failed": [
                    {
                        "path": str(by_name[name].path),
                        "identifier": by_name[name].identifier,
                        "error": type(error).__name__,
                        "problem": error_in_words(error),
                    }
                    for name, error in report.failed.items()
                ],
                "not_tried": [str(by_name[name].path) for name in report.not_tried],
            }
        )
        return
    say(f"{len(report.done)} of {len(by_name)} files are in store {store.name!r}, {store.address}")
    if not report.complete:
        say(f"{len(report.failed)} failed, {len(report.not_tried)} not tried. To continue, run the same command again.")
