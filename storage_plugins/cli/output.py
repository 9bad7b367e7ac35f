"""How results look on a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..errors import AlreadyExists, StorageError

if TYPE_CHECKING:
    from ..protocol import Receipt


def print_json(value: Any) -> None:
    """Print one JSON document; dates in ISO 8601."""

    def encode(value: object) -> str:
        if isinstance(value, datetime):
            return value.isoformat()
        raise TypeError(f"{type(value).__name__} has no JSON form")

    click.echo(json.dumps(value, indent=2, default=encode))


@contextmanager
def new_file(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """Write the file that a user named with --output: whole or not at all, and over another one only if told so."""
    from ..atomic import atomic_file, disk_errors

    try:
        with disk_errors(f"write {path}"), atomic_file(path.absolute(), exclusive=not replace) as file:
            yield file
    except StorageError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise AlreadyExists(f"{path} is there already", hint="--force replaces it.") from error
        raise


def print_receipt(receipt: Receipt) -> None:
    """Print a receipt, and the lines that pin it in a Brain-Score plugin."""
    click.echo(f"{receipt.identifier} is in store {receipt.store!r}, {receipt.address}")
    for field in ("version_id", "sha1", "sha256", "size", "uri"):
        click.echo(f"  {field:<11} {getattr(receipt, field)}")
    if receipt.identifier != receipt.key:  # an assembly
        click.echo("  in a Brain-Score plugin:")
        for line in receipt.pin().splitlines():
            click.echo(f"    {line}")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, the last one as long as it is."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    for row in [head, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())
