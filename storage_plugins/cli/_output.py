"""Everything the command line prints goes through here, so that no text from outside can control the terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from .._visible import visible
from ..errors import AlreadyExists, StorageError

if TYPE_CHECKING:
    from ..protocol import Receipt, Version


def say(text: object, *, error: bool = False, one_line: bool = False) -> None:
    """Print a line, or several, on stdout; ``error``: on stderr."""
    _echo(visible(str(text), one_line=one_line), error)


def say_marked(mark: str, colour: str, text: str) -> None:
    """Print a line that begins with a short mark, coloured on a terminal."""
    _echo(f"  {click.style(f'{mark:<2}', fg=colour)}  {visible(text)}", error=False)


def _echo(text: str, error: bool) -> None:
    encoding = getattr(sys.stderr if error else sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=error)


def print_json(value: Any) -> None:
    """Print one JSON document, in ASCII; dates in ISO 8601."""

    def encode(value: object) -> str:
        if isinstance(value, datetime):
            return value.isoformat()
        raise TypeError(f"{type(value).__name__} has no JSON form")

    say(json.dumps(value, indent=2, default=encode).replace("\x7f", "\\u007f"))


def print_receipt(receipt: Receipt) -> None:
    """Print a receipt, and the lines that pin it in a Brain-Score plugin."""
    say(f"{receipt.identifier} is in store {receipt.store!r}, {receipt.address}")
    for field in ("version_id", "sha1", "sha256", "size", "uri"):
        say(f"  {field:<11} {getattr(receipt, field)}")
    if receipt.identifier != receipt.key:  # an assembly
        say("  in a Brain-Score plugin:")
        for line in receipt.pin().splitlines():
            say(f"    {line}")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, each row on one line; the last column is as long as it is."""
    lines = [[visible(cell, one_line=True) for cell in row] for row in [head, *rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=True)]
        say("  ".join([*cells, line[-1]]).rstrip())


def size_and_date(version: Version | None) -> list[str]:
    """Return a version's size and date."""
    if version is None:
        return ["-", "-"]
    return [
        "-" if version.size is None else str(version.size),
        version.created.isoformat(sep=" ", timespec="seconds") if version.created else "-",
    ]


class VisibleFormatter(logging.Formatter):
    """Formats log records for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's message, harmless."""
        return visible(super().format(record))


@contextmanager
def new_file(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """Write the file that --output names: complete or not at all. Only ``replace`` overwrites an existing file."""
    from ..atomic import atomic_file, disk_errors

    try:
        with disk_errors(f"write {path}"), atomic_file(path.absolute(), exclusive=not replace) as file:
            yield file
    except StorageError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise AlreadyExists(f"{path} exists already", hint="Use --force to replace it.") from error
        raise
