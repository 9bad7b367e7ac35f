"""Which versions a file has, as the files host tells: numbers and hashes."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime

from .errors import refusal
from .tree import Entry, Look, Tree, at, moment, rows_of, sha256_in

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Row:
    """One version of one file.

    Attributes:
        file_id: of the file.
        main: whether that is the one of its name that is written to; else it is a twin.
        size: None where OSF does not say.
    """

    file_id: str
    number: int
    main: bool = True
    sha256: str | None = None
    size: int | None = None
    modified: datetime | None = None

    @property
    def version_id(self) -> str:
        """What the version is called."""
        return f"{self.number}" if self.main else f"{self.number}@{self.file_id}"

    @classmethod
    def newest_of(cls, entry: Entry, *, main: bool) -> Row:
        """Return the newest version of a file that was listed."""
        return cls(entry.id, entry.number, main, entry.sha256, entry.size, entry.modified)


class Rows:
    """Looks at versions. What never changes, a version's size, is kept for the process."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._sizes: dict[int, dict[tuple[str, int], int]] = {}
        self._claims: dict[int, dict[tuple[str, int], int]] = {}
        self._seen: dict[int, dict[str, int]] = {}

    def newest(self, look: Look, key: str) -> Row | None:
        """Return the newest version of ``key``, as it is now."""
        known = look.file_ids(key)
        entries = [] if look.has_listed(self._tree.folder) else [self._entry(file_id, key) for file_id in known]
        if not entries or None in entries:
            entries = [*look.file_entries(key)]
        rows = [Row.newest_of(entry, main=not place) for place, entry in enumerate(filter(None, entries))]
        for row in rows:
            self._notice(row)
        return max(rows, key=_age, default=None)

    def known(self, look: Look, file_id: str, number: int, *, main: bool) -> Row:
        """Return what is known of a version without a request."""
        for entry in look.listed_files():
            if (entry.id, entry.number) == (file_id, number):
                row = Row.newest_of(entry, main=main)
                self._notice(row)
                return row
        place = (file_id, number)
        return Row(file_id, number, main, size=self._known_sizes().get(place, self._known_claims().get(place)))

    def of(self, look: Look, key: str, ids: tuple[str, ...]) -> list[Row]:
        """Return all versions of the files ``ids``, newest first."""
        rows = [row for place, file_id in enumerate(ids) for row in self._of_file(look, key, file_id, main=not place)]
        return rows if len(ids) < 2 else sorted(rows, key=_age, reverse=True)

    def of_file(self, key: str, file_id: str) -> list[Row]:
        """Return all versions of one file, newest first, asked for now; none if it is gone."""
        connection = self._tree.connection
        response = connection.request("GET", self._tree.url(file_id), key, {"versions": ""})
        if response.status_code == 404:
            return []
        if response.status_code != 200:
            raise refusal(response, key, connection.settings.address)
        content = connection.json(response, key)
        rows: list[Row] = []
        for listed in rows_of(content):
            number = str(at(listed, "id"))
            if not number.isdecimal():
                raise connection.odd(key, "a version without a number")
            modified = moment(at(listed, "attributes", "modified_utc"))
            size = self._known_sizes().get((file_id, int(number)))
            rows.append(Row(file_id, int(number), True, sha256_in(listed), size, modified))
        if not rows:
            raise connection.odd(key, "a file without versions")
        for row in rows:
            self._notice(row)
        return rows

    def keep_size(self, file_id: str, number: int, size: int) -> None:
        """Remember the size of a version."""
        self._known_sizes()[(file_id, number)] = size

    def keep_claim(self, file_id: str, number: int, size: int) -> None:
        """Remember the length of an answer: enough to ask for the rest of a version, but nothing to tell."""
        self._known_claims()[(file_id, number)] = size

    def forget_size(self, file_id: str, number: int) -> None:
        """Forget a size that an answer contradicted."""
        self._known_sizes().pop((file_id, number), None)
        self._known_claims().pop((file_id, number), None)

    def _of_file(self, look: Look, key: str, file_id: str, *, main: bool) -> list[Row]:
        for entry in look.listed_files():
            if entry.id == file_id and entry.number == 1:  # just listed, and that is all there is
                return [Row.newest_of(entry, main=main)]
        return [dataclasses.replace(row, main=main) for row in self.of_file(key, file_id)]

    def _entry(self, file_id: str, key: str) -> Entry | None:
        """Ask for a file's description; None if it is gone from its place."""
        connection = self._tree.connection
        response = connection.request("GET", self._tree.url(file_id), key, {"meta": ""})
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise refusal(response, key, connection.settings.address)
        data = connection.json(response, key).get("data")
        entry = self._tree.entry(data)
        if entry is None or entry.id != file_id or entry.number < 1:
            raise connection.odd(key, "no description of the file")
        place = f"{self._tree.folder}/{key}".strip("/")  # people move and rename files
        return entry if str(at(data, "attributes", "materialized")).strip("/") == place else None

    def seen(self, file_id: str) -> int | None:
        """Return the highest version number of a file that this process has seen."""
        return self._seen.setdefault(os.getpid(), {}).get(file_id)

    def _notice(self, row: Row) -> None:
        seen = self._seen.setdefault(os.getpid(), {})
        seen[row.file_id] = max(row.number, seen.get(row.file_id, 0))
        if row.size is not None:
            self.keep_size(row.file_id, row.number, row.size)

    def _known_sizes(self) -> dict[tuple[str, int], int]:
        return self._sizes.setdefault(os.getpid(), {})

    def _known_claims(self) -> dict[tuple[str, int], int]:
        return self._claims.setdefault(os.getpid(), {})


def _age(row: Row) -> tuple[datetime, bool, int]:
    return row.modified or _LONG_AGO, row.main, row.number
