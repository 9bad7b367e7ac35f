"""Text from outside, made safe to show: on a terminal, and as HTML in a notebook.

Identifiers, attributes, file names and servers' errors come from other people. In them, control characters (which
move the cursor or set the clipboard) and characters that change the direction of writing are shown as escapes.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

_HARMLESS = "\n\t"
_JOINERS = "\u200c\u200d"  # invisible, and part of how Persian, Hindi and emoji are written
_UNITS = ("kB", "MB", "GB", "TB")


def visible(text: str, *, one_line: bool = False) -> str:
    """Return ``text`` with control, bidi and other invisible characters as escapes.

    ``one_line``: line breaks and tabs too, for a name that must not look like several lines of output.
    """
    return "".join(
        character if _is_harmless(character, one_line) else character.encode("unicode_escape").decode()
        for character in text
    )


def html_fields(title: str, fields: Mapping[str, object]) -> str:
    """Return a title and a table of names and values as HTML; None and "" are left out. All is escaped."""
    rows = [
        f"<tr><th style='text-align:left'>{_cell(name)}</th><td style='text-align:left'>{_cell(value)}</td></tr>"
        for name, value in fields.items()
        if value not in (None, "")
    ]
    return f"<div><strong>{_cell(title)}</strong><table>{''.join(rows)}</table></div>"


def html_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], *, most: int = 20) -> str:
    """Return a title and a table as HTML, of the first rows if there are many. All is escaped."""
    every = list(rows)
    lines = ["".join(f"<th style='text-align:left'>{_cell(cell)}</th>" for cell in head)] if every else []
    lines += ["".join(f"<td style='text-align:left'>{_cell(cell)}</td>" for cell in row) for row in every[:most]]
    table = "".join(f"<tr>{line}</tr>" for line in lines)
    more = f"<div>… and {len(every) - most} more</div>" if len(every) > most else ""
    return f"<div><strong>{_cell(title)}</strong><table>{table}</table>{more}</div>"


def size_in_words(size: int | None) -> str | None:
    """Return a number of bytes as people read it: ``950.1 MB``."""
    if size is None or size < 1000:
        return None if size is None else f"{size} bytes"
    value = float(size)
    for unit in _UNITS:
        value /= 1000
        if value < 999.95 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def date_in_words(date: datetime | None) -> str | None:
    """Return a date to the minute."""
    return None if date is None else f"{date:%Y-%m-%d %H:%M %Z}"


def on_one_line(message: str) -> str:
    """Return an error's message and hint, which have lines of their own, as sentences on one line."""
    *first, last = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    return " ".join([*(line if line.endswith((".", ":", "?")) else f"{line}." for line in first), last])


def _cell(value: object) -> str:
    return html.escape(visible(str(value))).replace("\n", "<br>")


def _is_harmless(character: str, one_line: bool) -> bool:
    if character in _HARMLESS:
        return not one_line
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
