"""What OSF's answers contain, as values: files, folders, hashes, dates."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from typing import Any

_ID = re.compile(r"[0-9a-f]{24}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RETIRED = re.compile(r"(.+)\.twin-([0-9a-f]{24})")
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file or folder, as a listing or the answer to an upload describes it.

    Attributes:
        count: how many versions a file has. It is the newest one's number unless uploads collided.
        size, sha256, modified: of the newest version of a file.
    """

    id: str
    name: str
    is_folder: bool
    count: int = 0
    size: int | None = None
    sha256: str | None = None
    modified: datetime | None = None

    @property
    def retired(self) -> bool:
        """Whether it was renamed because another file has its name."""
        match = _RETIRED.fullmatch(self.name)
        return bool(match and match[2] == self.id)

    @property
    def key(self) -> str:
        """The name that a file is found by: its own, or the one it had before it was renamed."""
        match = _RETIRED.fullmatch(self.name)
        return match[1] if match and match[2] == self.id else self.name

    @property
    def rank(self) -> tuple[bool, bool, datetime, str]:
        """Sorts files of one name: the one that uploads go to comes first.

        Twins cannot get further versions, so a file that has several existed before its twin; of the others,
        the earlier one did.
        """
        several = self.count > 1
        return self.retired, not several, LONG_AGO if several else self.modified or LONG_AGO, self.id


def retired_name(entry: Entry) -> str:
    """Return the name for a file that has to give way to another one of its name.

    Example:
        >>> retired_name(Entry("5f" * 12, "a.nc", False))
        'a.nc.twin-5f5f5f5f5f5f5f5f5f5f5f5f'
    """
    return f"{entry.key}.twin-{entry.id}"


def entry_of(row: Any) -> Entry | None:
    """Return an entity of the API or of the files host; None if it does not describe a file or folder."""
    name, path = at(row, "attributes", "name"), at(row, "attributes", "path")
    identifier = path.strip("/") if isinstance(path, str) else ""
    if not isinstance(name, str) or not _ID.fullmatch(identifier):
        return None
    if at(row, "attributes", "kind") == "folder":
        return Entry(identifier, name, True)
    count = at(row, "attributes", "extra", "version") or at(row, "attributes", "current_version")
    size = at(row, "attributes", "size")
    modified = at(row, "attributes", "modified_utc") or at(row, "attributes", "date_modified")
    return Entry(
        identifier,
        name,
        False,
        count if isinstance(count, int) else 0,
        size if isinstance(size, int) else None,
        sha256_in(row),
        moment(modified),
    )


def sha256_in(row: Any) -> str | None:
    """Return the sha256 that OSF gives for a version."""
    value = at(row, "attributes", "extra", "hashes", "sha256")
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else None


def moment(text: object) -> datetime | None:
    """Return a date of OSF's, with its time zone.

    Example:
        >>> moment("2026-01-04T10:00:00")
        datetime.datetime(2026, 1, 4, 10, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        date = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def number_in(text: object) -> int | None:
    """Return the number that a text is; None for other texts, and for numbers of a size that nothing has.

    Example:
        >>> number_in("12"), number_in("9" * 5000)
        (12, None)
    """
    shown = str(text)
    return int(shown) if shown.isascii() and shown.isdecimal() and len(shown) <= 18 else None


def rows_of(content: Any) -> list[Any] | None:
    """Return the rows of an answer; None if it has no list."""
    rows = content.get("data") if isinstance(content, dict) else None
    return rows if isinstance(rows, list) else None


def at(row: Any, *names: str) -> Any:
    """Return the value under one name within the other, None where something is missing.

    Example:
        >>> at({"data": {"id": 5}}, "data", "id")
        5
    """
    for name in names:
        row = row.get(name) if isinstance(row, dict) else None
    return row
