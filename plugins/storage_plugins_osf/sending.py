"""One upload on its way: sent in one request, then looked up, since OSF's answer alone does not prove enough.

An answer gives the count of versions, not the number that the upload was stored under, and a new file may turn out
to be one of two of its name. So a receipt is only given for a version that a look finds under its file and number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import requests

from storage_plugins import AlreadyExists, Source, StorageError, StoreUnavailable

from .entries import Entry, entry_of
from .errors import refusal
from .folders import Folders
from .records import Announcement, Records
from .repair import repair
from .tree import Look, Tree
from .turns import pause, progress, rest
from .twins import Twins
from .versions import Row, Rows

_BLOCK = 1 << 18  # bytes that must be taken within the connection's first timeout
_TRANSACTION = 1.0  # seconds after which OSF has stored what began before ours was stored, or never will
_WAITS = 40  # for those who are ahead of us


class Contested(StoreUnavailable):
    """Someone else uploaded to the same name at the same moment; no version can be confirmed."""


class Sending:
    """One file on its way."""

    def __init__(
        self,
        tree: Tree,
        folders: Folders,
        records: Records,
        rows: Rows,
        key: str,
        source: Source,
        metadata: Mapping[str, str],
        if_absent: bool,
    ) -> None:
        self._tree, self._folders, self._records, self._rows = tree, folders, records, rows
        self._key, self._source, self._metadata, self._if_absent = key, source, metadata, if_absent
        self._connection, self._address = tree.connection, tree.connection.address
        self._twins = Twins(tree, folders, rows)
        self._announced: Announcement | None = None
        self._before: dict[str, int] = {}  # how many versions a file had when this began
        self.sent = False  # whether any of our bytes may have arrived
        self.queue = False  # whether someone else was uploading to the same name a short while ago
        self.contested = False  # whether someone else is
        self.stuck = False  # whether the file is wedged, and its newest version has our bytes: OSF takes no others

    def taken(self) -> AlreadyExists:
        """Return the error for a name that had to be new."""
        return AlreadyExists(f"{self._key} already exists in {self._address}")

    def send(self) -> Row:
        """Announce the upload, send all bytes and return the version they became, confirmed.

        Raises:
            Contested: someone else uploads to the same name; ours may not be readable.
            StoreUnavailable: it is not clear what became of it.
        """
        self.withdraw()
        self._announced = self._records.announce(
            self._tree.look(), self._key, self._source, self._metadata, queue=self.queue or self.contested
        )
        if self.queue or self.contested:
            self._wait_for_our_turn(self._announced)
        known = self._tree.ids.files.get(self._key)
        if known and len(known) > 1:
            self._one_left()
            known = self._tree.ids.files.get(self._key)
        entry = self._update(known[0]) if known and not self._if_absent else None
        if entry is not None:
            return self._confirmed(entry)
        made, entry = self._create()
        if entry is None:
            raise self._contest("the file is deleted while we upload to it")
        return self._confirmed_new(entry) if made else self._confirmed(entry)

    def _wait_for_our_turn(self, ours: Announcement) -> None:
        """Let those go first who announced their upload before us; not for ever: they may have been killed."""
        for attempt in range(_WAITS):
            if not self._records.ahead(ours):
                break
            self.contested = True
            pause(min(attempt, 3))

    def withdraw(self) -> None:
        """End what was announced."""
        if self._announced is not None:
            self._records.withdraw(self._announced)
            self._announced = None

    def landed(self) -> Row | None:
        """Return the version that our bytes became after all; None if they did not, or it cannot be read."""
        return self._lasting(self._found) if self.sent else None

    def _lasting(self, find: Callable[[], tuple[Row | None, list[Row]]]) -> Row | None:
        """Return the version that ``find`` returns, once no one else can store one under its number any more.

        Someone who uploads at the same moment may not have seen ours. OSF's transactions end soon: then it shows.
        """
        row, rows = find()
        if row is None or self._announced is None:
            return row
        if self._records.others(self._announced, [one.sha256 for one in rows]):
            self.contested = True
            rest(_TRANSACTION)
            row, _ = find()
        return row

    def _found(self) -> tuple[Row | None, list[Row]]:
        """Look for our bytes among the new versions, and return all."""
        known = self._tree.ids.files.get(self._key)
        rows = self._rows.of_file(self._key, known[0], doubted=True) if known else []
        if not rows:
            entries = self._tree.look().file_entries(self._key)
            if self._if_absent and entries and entries[0].sha256 != self._source.sha256:
                raise self.taken()  # perhaps the refusal was lost
            rows = self._rows.of_file(self._key, entries[0].id, doubted=True) if entries else []
        for row in rows:
            if row.position > self._before.get(row.file_id, 0) and row.sha256 == self._source.sha256:
                return row, rows
        return None, rows

    def unblock(self) -> None:
        """Make a wedged file whose newest version has our bytes take them again."""
        known = self._tree.ids.files.get(self._key)
        if known and (rows := self._rows.of_file(self._key, known[0], doubted=True)):
            repair(self._tree, self._rows, rows[-1], self._key)

    # one request

    def _update(self, file_id: str) -> Entry | None:
        """Make a new version of a file; None if it is gone."""
        if file_id not in self._before:
            if self._rows.count(file_id) is None:
                self._rows.of_file(self._key, file_id)
            self._before[file_id] = self._rows.count(file_id) or 0
        response = self._put_version(file_id, self._rows.wedged(file_id))
        if response.status_code == 400 and response.content:  # wedged, or well again: ask with another number
            self._rows.of_file(self._key, file_id)
            response = self._put_version(file_id, self._rows.wedged(file_id))
            if response.status_code == 400 and self._rows.wedged(file_id):
                raise self._contest("other uploads got one number")
        if response.status_code == 404:
            self._tree.ids.files.pop(self._key, None)
            return None
        if response.status_code == 500 and self._one_left():
            raise self._contest("there are two files of that name")
        return self._tree.written(response, self._key)

    def _create(self) -> tuple[bool, Entry | None]:
        """Make a file, or if the name is taken by now a new version; also whether it was made."""
        folder, query = self._tree.folder, {"kind": "file", "name": self._key}
        response = self._request(self._folder_url(self._tree.look()), query)
        if response.status_code == 404 and self._tree.ids.folders.pop(folder, ()):  # deleted meanwhile
            look = self._tree.look()
            look.from_the_root()
            response = self._request(self._folder_url(look), query)
        if response.status_code == 500 and self._one_left():
            raise self._contest("there are two files of that name")
        if response.status_code != 409:
            return response.status_code == 201, self._tree.written(response, self._key)
        if self._if_absent:
            raise self.taken()
        self.meet()
        there = entry_of(self._connection.json(response, self._key).get("data"))
        if there is None or there.is_folder:
            entries = self._tree.look().file_entries(self._key)
            if not entries:
                raise refusal(response, self._key, self._address)
            there = entries[0]
        self._tree.ids.files[self._key] = (there.id,)
        self._before.setdefault(there.id, there.count)
        return False, self._update(there.id)

    def meet(self) -> None:
        """Bring our records and those of whoever made the file at the same moment together."""
        self.contested = True
        self._records.merge(self._tree.look(), self._key)

    def _folder_url(self, look: Look) -> str:
        return self._tree.url(self._folders.make(look, self._tree.folder), folder=True)

    def _put_version(self, file_id: str, number: int | None) -> requests.Response:
        query = {"kind": "file", **({"version": f"{number}"} if number else {})}
        return self._request(self._tree.url(file_id), query)

    def _request(self, url: str, query: Mapping[str, str]) -> requests.Response:
        body = _Body(self._source)
        self.sent = True
        try:
            return self._connection.request("PUT", url, self._key, query, body)
        except StorageError:
            if body.failed is not None:  # the local file's own trouble, which looks like the connection's
                raise body.failed from body.failed.__cause__
            raise

    # what became of it

    def _confirmed(self, entry: Entry) -> Row:
        """Look for a new version of a file.

        A stored number is never above its version's position. So if the newest version is ours and its count is a
        stored number, that is the number of ours.
        """
        self._refuse_other_bytes(entry)

        def find() -> tuple[Row | None, list[Row]]:
            rows = self._rows.with_number(entry.id, self._key, entry.count)
            if rows and (rows[0].position, rows[0].sha256) == (entry.count, self._source.sha256):
                return rows[0], rows
            return self._found()

        row = self._lasting(find)
        if row is None:
            self.stuck = entry.count <= self._before.get(entry.id, 0)
            raise self._contest("another upload got the same number")
        self._rows.remember_size(row.file_id, row.number, self._source.size)
        return row

    def _confirmed_new(self, entry: Entry) -> Row:
        """Look for a new file: that it is there, in the folder that all use, and the only one of its name."""
        self._refuse_other_bytes(entry)
        look = self._tree.look()
        if self._tree.ids.made:
            look.from_the_root()  # someone else may have made the folder at the same time
        there = self._twins.there(look, self._key)
        if self._folders.merge_seen(look):
            look.from_the_root()
            there = self._twins.there(look, self._key)
        if len(there) > 1:
            self.contested = True
            if not self._twins.settle(self._key, entry.id, there):
                raise self._contest("someone else created a file of that name")
        elif [one.id for one in there] != [entry.id]:
            raise self._contest("the file is not there")
        self._tree.ids.made = False
        return Row(entry.id, 1, True, self._source.sha256, self._source.size, entry.modified, 1)

    def _refuse_other_bytes(self, entry: Entry) -> None:
        if (entry.sha256, entry.size) != (self._source.sha256, self._source.size):
            raise StoreUnavailable(
                f"{self._key} in {self._address}: OSF confirmed other bytes (sha256 {entry.sha256}) than were sent"
            )

    def _one_left(self) -> bool:
        """Wait until there is one file of our name. Whether there were more."""
        more = self._twins.wait_for_one(self._key)
        self.contested |= more
        return more

    def _contest(self, why: str) -> Contested:
        self.contested = True
        return Contested(
            f"The upload of {self._key} to {self._address} could not be confirmed: {why}",
            hint="Another upload to the same name is running. Upload again when it has finished.",
        )


class _Body:
    """A file's verified blocks as a request's body of known length; each request reads it from the beginning."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.failed: StorageError | None = None

    def __len__(self) -> int:
        return self._source.size

    def __iter__(self) -> Iterator[bytes]:
        try:
            for block in self._source.blocks(_BLOCK):
                progress()
                yield block
        except StorageError as error:
            self.failed = error
            raise
