"""How results look on a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..protocol import Receipt


def print_json(value: Any) -> None:
    """Print one JSON document; dates in ISO 8601."""

    def encode(value: object) -> str:
        if isinstance(value, datetime):
            return value.isoformat()
        raise TypeError(f"{type(value).__name__} has no JSON form")

    click.echo(json.dumps(value, indent=2, default=encode))


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
