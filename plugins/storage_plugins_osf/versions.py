"""Which versions a file has, and under which numbers they can be read.

OSF counts versions in three ways. The *count* is what uploads, listings and descriptions give; the *position* by date
is what the files host's list of versions gives; the *stored number* is what ``?version=`` selects. They are equal
until two uploads of one file overlap: then two versions have one stored number. Neither can be read, and until a
further upload the file is "wedged": each request without ``?version=`` is answered 400. API v2 lists stored numbers.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections import Counter
from datetime import datetime, timedelta

import requests

from storage_plugins import StorageError

from .entries import LONG_AGO, Entry, at, entry_of, moment, number_in, rows_of, sha256_in
from .errors import refusal
from .tree import ARCHIVE, Look, Tree

_log = logging.getLogger(__name__)
_CLOSE = timedelta(minutes=2)  # uploads that far apart did not overlap: OSF's transactions are shorter
_MOST_PAGES = 100


@dataclasses.dataclass(frozen=True)
class Row:
    """One version of one file that can be read.

    Attributes:
        number: the stored one.
        main: whether the file is the one of its name that uploads go to; else it is a twin.
        size: None where OSF does not give it.
        position: 1 for the oldest version, whatever its number.
        sure: whether OSF has confirmed that this number can be read.
    """

    file_id: str
    number: int
    main: bool = True
    sha256: str | None = None
    size: int | None = None
    modified: datetime | None = None
    position: int = 0
    sure: bool = True

    @property
    def version_id(self) -> str:
        """The version id that the store gives it."""
        return f"{self.number}" if self.main else f"{self.number}@{self.file_id}"

    @classmethod
    def newest_of(cls, entry: Entry, *, main: bool, sure: bool = False) -> Row:
        """Return the newest version of a file that was listed."""
        number = entry.count
        return cls(entry.id, number, main, entry.sha256, entry.size, entry.modified, number, sure or number == 1)


class _Known:
    """What one process knows: sizes never change; what an answer claimed to be a size is enough to ask for the rest."""

    def __init__(self) -> None:
        self.sizes: dict[tuple[str, int], int] = {}
        self.claims: dict[tuple[str, int], int] = {}
        self.counts: dict[str, int] = {}
        self.lost: dict[str, int] = {}  # how many versions of a key cannot be read
        self.wedged: dict[str, int] = {}  # of each wedged file, a number that can be asked for


class Rows:
    """Looks at versions."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._processes: dict[int, _Known] = {}

    @property
    def _known(self) -> _Known:
        made = self._processes.get(os.getpid())
        return made or self._processes.setdefault(os.getpid(), _Known())

    def newest(self, look: Look, key: str) -> Row | None:
        """Return the newest version of ``key`` as it is now. Not `Row.sure` if only a listing was asked."""
        rows: list[Row] = []
        known = look.file_ids(key)
        if not look.has_listed(self._tree.folder):
            for place, file_id in enumerate(known):
                row = self._described(file_id, key, main=not place)
                if row is None:
                    rows = []
                    break
                rows.append(row)
        if not rows:
            rows = [Row.newest_of(e, main=not place) for place, e in enumerate(look.file_entries(key))]
        for row in rows:
            self._notice(row)
        return max(rows, key=_age, default=None)

    def readable(self, row: Row, key: str) -> Row | None:
        """Return the newest version of a file that can be read; ``row``, unless uploads of it collided."""
        if row.sure:
            return row
        return self._described(row.file_id, key, main=row.main)

    def known(self, look: Look, file_id: str, number: int, *, main: bool) -> Row:
        """Return what is known of a version without a request."""
        for entry in look.listed_files():
            if (entry.id, entry.count) == (file_id, number):
                row = Row.newest_of(entry, main=main)
                self._notice(row)
                return row
        place = (file_id, number)
        return Row(file_id, number, main, size=self._known.sizes.get(place, self._known.claims.get(place)))

    def of(self, look: Look, key: str, ids: tuple[str, ...]) -> list[Row]:
        """Return all readable versions of the files ``ids``, newest first."""
        rows = [row for place, file_id in enumerate(ids) for row in self._of_file(look, key, file_id, main=not place)]
        return rows if len(ids) < 2 else sorted(rows, key=_age, reverse=True)

    def of_file(self, key: str, file_id: str, *, doubted: bool = False) -> list[Row]:
        """Return the versions of one file that can be read, newest first; none if the file is gone.

        ``doubted``: ask for the stored numbers even if the dates give no reason to.
        """
        stored: list[Row] | None = None
        response = self._request(file_id, key, {"revisions": ""})
        if response.status_code == 400:
            stored = self._stored(file_id, key)
            whole = _unique(stored or [])
            if not whole:
                return []
            self._known.wedged[file_id] = whole[-1].number
            response = self._request(file_id, key, {"revisions": "", "version": f"{whole[-1].number}"})
        if response.status_code == 404:
            return []
        rows = self._listed(response, file_id, key)
        if stored is None:
            self._known.wedged.pop(file_id, None)
            if doubted or _overlap(rows):
                try:
                    stored = self._stored(file_id, key)
                except StorageError as error:
                    _log.info("The stored numbers of %s cannot be listed (%s)", key, error.message)
        if stored:
            rows = self._numbered(rows, stored, key)
        for row in rows:
            self._notice(row)
        return rows

    def with_number(self, file_id: str, key: str, number: int) -> list[Row]:
        """Return the files host's list of versions, by position, if exactly one has that stored number; else none."""
        response = self._request(file_id, key, {"revisions": "", "version": f"{number}"})
        if response.status_code in (400, 404, 500):
            return []
        return self._listed(response, file_id, key)

    def described(self, file_id: str, key: str, version: int | None = None) -> Entry | int | None:
        """Return a file's description; the status if ``version`` cannot be read (None: the count); None if it is gone.

        A description has the newest version's hash and date and the oldest one's size.
        """
        query = {"meta": "", **({"version": f"{version}"} if version else {})}
        response = self._request(file_id, key, query)
        if response.status_code == 404 and version is None:
            return None
        if response.status_code in (400, 404) or (response.status_code == 500 and version):
            return int(response.status_code)
        if response.status_code != 200:
            raise refusal(response, key, self._tree.connection.address)
        data = self._tree.connection.json(response, key).get("data")
        entry = entry_of(data)
        if entry is None or entry.id != file_id or entry.count < 1:
            raise self._tree.connection.odd(key, "it does not describe the file")
        if str(at(data, "attributes", "materialized")).rpartition("/")[0].strip("/") != self._folder():
            return None  # people move files
        return entry if entry.count == 1 else dataclasses.replace(entry, size=None)

    def unreadable(self, file_id: str, number: int, key: str) -> bool:
        """Whether OSF stored two versions under that number, or none. Asked after a version could not be read."""
        try:
            stored = self._stored(file_id, key)
        except StorageError:
            return False
        return stored is not None and [row.number for row in stored].count(number) != 1

    def wedged(self, file_id: str) -> int | None:
        """Return the number to ask with if a file is known to be wedged, else None."""
        return self._known.wedged.get(file_id)

    def count(self, file_id: str) -> int | None:
        """Return the highest count of a file's versions that this process has seen."""
        return self._known.counts.get(file_id)

    def remember_size(self, file_id: str, number: int, size: int) -> None:
        """Remember the size of a version."""
        self._known.sizes[file_id, number] = size

    def remember_claim(self, file_id: str, number: int, size: int) -> None:
        """Remember the length of an answer: enough to ask for the rest of a version, not to report as its size."""
        self._known.claims[file_id, number] = size

    def forget_size(self, file_id: str, number: int) -> None:
        """Forget a size that an answer contradicted."""
        self._known.sizes.pop((file_id, number), None)
        self._known.claims.pop((file_id, number), None)

    def _described(self, file_id: str, key: str, *, main: bool) -> Row | None:
        """Return a file's newest readable version; None if it is gone from its folder or has another name."""
        seen = self.described(file_id, key)
        if isinstance(seen, int):  # wedged
            rows = self.of_file(key, file_id)
            return dataclasses.replace(rows[0], main=main) if rows else None
        if seen is None or seen.key != key:
            return None
        self._known.wedged.pop(file_id, None)
        return Row.newest_of(seen, main=main, sure=True)

    def _of_file(self, look: Look, key: str, file_id: str, *, main: bool) -> list[Row]:
        for entry in look.listed_files():
            if entry.id == file_id and entry.count == 1:  # just listed, and that is all there is
                return [Row.newest_of(entry, main=main)]
        return [dataclasses.replace(row, main=main) for row in self.of_file(key, file_id)]

    def _listed(self, response: requests.Response, file_id: str, key: str) -> list[Row]:
        """Return the files host's list: positions, dates and hashes."""
        connection = self._tree.connection
        if response.status_code != 200:
            raise refusal(response, key, connection.address)
        rows: list[Row] = []
        for listed in rows_of(connection.json(response, key)) or []:
            number = number_in(at(listed, "id"))
            if number is None:
                raise connection.odd(key, "a version has no number")
            size = self._known.sizes.get((file_id, number))
            modified = moment(at(listed, "attributes", "modified_utc"))
            rows.append(Row(file_id, number, True, sha256_in(listed), size, modified, number))
        if not rows:
            raise connection.odd(key, "the file has no versions")
        self._known.counts[file_id] = max(len(rows), self._known.counts.get(file_id, 0))
        return rows

    def _stored(self, file_id: str, key: str) -> list[Row] | None:
        """Return the API's list, newest first: stored numbers, sizes and dates. None if the file is gone."""
        found: dict[str, Row] = {}
        for page in range(1, _MOST_PAGES + 1):
            content = self._tree.connection.file_versions(file_id, key, page)
            if content is None:
                return None
            before, listed = len(found), rows_of(content)
            if listed is None or not isinstance(content.get("links"), dict):
                raise self._tree.connection.odd(key, "that is not a page of a list")
            for place, row in enumerate(listed):
                number, size = number_in(at(row, "id")), at(row, "attributes", "size")
                if number is None:
                    raise self._tree.connection.odd(key, "a version has no number")
                made = moment(at(row, "attributes", "date_created"))
                known = size if isinstance(size, int) else None
                found[f"{number} {made} {'' if made else place}"] = Row(file_id, number, True, None, known, made)
            if at(content, "links", "next") is None:
                return list(found.values())
            if len(found) == before:
                break
        raise self._tree.connection.odd(key, "its list of versions does not end")

    def _numbered(self, rows: list[Row], stored: list[Row], key: str) -> list[Row]:
        """Give the versions of the files host's list their stored numbers; leave out those that cannot be read."""
        whole = {id(row) for row in _unique(stored)}
        numbered = []
        # a version may have been added between the two lists: counted from the oldest, they agree
        for listed, kept in zip(reversed(rows), reversed(stored), strict=False):
            if id(kept) in whole:
                numbered.append(dataclasses.replace(listed, number=kept.number, size=kept.size))
        lost = min(len(rows), len(stored)) - len(numbered)
        if lost > self._known.lost.get(key, 0):  # else it was logged before
            self._known.lost[key] = lost
            text = "%d versions of %s in %s cannot be read: uploads at the same moment got the same number at OSF"
            _log.warning(text, lost, key, self._tree.connection.address)
        return numbered[::-1]

    def _request(self, file_id: str, key: str, query: dict[str, str]) -> requests.Response:
        return self._tree.connection.request("GET", self._tree.url(file_id), key, query)

    def _folder(self) -> str:
        base = f"{ARCHIVE}/" if self._tree.connection.registration else ""
        return f"{base}{self._tree.folder}".strip("/")

    def _notice(self, row: Row) -> None:
        counts = self._known.counts
        counts[row.file_id] = max(row.position, counts.get(row.file_id, 0))
        if row.size is not None:
            self.remember_size(row.file_id, row.number, row.size)


def _unique(rows: list[Row]) -> list[Row]:
    """Return the rows whose number no other one has."""
    numbers = Counter(row.number for row in rows)
    return [row for row in rows if numbers[row.number] == 1]


def _overlap(rows: list[Row]) -> bool:
    """Whether two uploads were so close to each other that they may have got one number."""
    dates = [row.modified for row in rows]
    return any(one is None or two is None or abs(one - two) < _CLOSE for one, two in itertools.pairwise(dates))


def _age(row: Row) -> tuple[datetime, bool, int]:
    return row.modified or LONG_AGO, row.main, row.number
