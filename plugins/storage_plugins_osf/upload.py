"""Uploads: one request with all bytes, and a look that the version it named is ours and no other's.

OSF has no compare-and-swap, numbers versions by counting them, and may lose an answer. So nothing is
guessed: after anything unclear the versions are looked at, and their sha256 says what became of the upload.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from storage_plugins import (
    AlreadyExists,
    RateLimited,
    Source,
    StorageError,
    StoreUnavailable,
)

from .errors import refusal
from .records import Records
from .tree import Entry, Tree
from .versions import Row, Rows

_ATTEMPTS = 4
_LONGEST_WAIT = 60.0
_BLOCK = 1 << 18  # bytes that must be taken within the connection's first timeout


class Uploads:
    """Uploads to one store. Those of one name take turns within a process."""

    def __init__(self, tree: Tree, records: Records, rows: Rows) -> None:
        self._tree, self._records, self._rows = tree, records, rows
        self._turns: dict[tuple[int, str], threading.Lock] = {}

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str:
        """Keep ``source`` as a new version and return its id. Its record is kept first, so that it is never without."""
        with self._turns.setdefault((os.getpid(), key), threading.Lock()):
            upload = _Upload(self._tree, self._rows, key, source, if_absent)
            if if_absent and self._rows.newest(self._tree.look(), key) is not None:
                raise upload.taken()
            problem: StoreUnavailable | None = None
            for attempt in range(_ATTEMPTS):
                try:
                    if problem is not None:
                        _pause(attempt, problem)
                        found = upload.landed()
                        if found is not None:
                            return found.version_id
                    self._records.keep(self._tree.look(), key, source, metadata)
                    return upload.send().version_id
                except StoreUnavailable as error:
                    problem = error
            assert problem is not None  # noqa: S101  for mypy: the loop ends with one
            raise problem


class _Upload:
    """One file on its way."""

    def __init__(self, tree: Tree, rows: Rows, key: str, source: Source, if_absent: bool) -> None:
        self._tree, self._rows, self._key, self._source, self._if_absent = tree, rows, key, source, if_absent
        self._connection = tree.connection
        self._before: dict[str, int] = {}  # how many versions a file had when we began
        self._sent = False  # whether any of our bytes may have arrived

    def taken(self) -> AlreadyExists:
        """Return the error of a name that was to be new."""
        return AlreadyExists(f"{self._key} is in {self._connection.settings.address} already")

    def send(self) -> Row:
        """Send all bytes and return the version they became, confirmed.

        Raises:
            StoreUnavailable: it is not clear what became of it, or it shares its number with another one.
        """
        known = self._tree.ids.files.get(self._key)
        made = False
        entry = self._update(known[0]) if known and not self._if_absent else None
        if entry is None:
            made, entry = self._create()
        if entry is None:
            raise StoreUnavailable(
                f"{self._key} comes and goes in {self._connection.settings.address}: nothing was kept",
                hint="Somebody else is at the same file: upload it again when they have finished.",
            )
        row = self._confirmed(entry, made)
        if row is None:
            raise StoreUnavailable(
                f"The upload of {self._key} to {self._connection.settings.address} could not be confirmed: version "
                f"{entry.number} (sha256 {entry.sha256}) is another one's, or another one's too",
                hint="If somebody else uploads to the same name, do it one after the other.",
            )
        return row

    def landed(self) -> Row | None:
        """Return the version that our bytes became after all, None if they did not."""
        if not self._sent:
            return None
        known = self._tree.ids.files.get(self._key)
        rows = self._rows.of_file(self._key, known[0]) if known else []
        if not rows:
            entries = self._tree.look().file_entries(self._key)
            rows = self._rows.of_file(self._key, entries[0].id) if entries else []
        numbers = [row.number for row in rows]
        for row in rows:
            new = row.number > self._before.get(row.file_id, 0)
            if new and row.sha256 == self._source.sha256 and numbers.count(row.number) == 1:
                return row
        return None

    def _update(self, file_id: str) -> Entry | None:
        """Make a new version of a file; None if it is gone."""
        if file_id not in self._before:
            seen = self._rows.seen(file_id)
            if seen is None:
                rows = self._rows.of_file(self._key, file_id)
                seen = rows[0].number if rows else 0
            self._before[file_id] = seen
        response = self._request(self._tree.url(file_id), {"kind": "file"})
        if response.status_code == 404:
            self._tree.ids.files.pop(self._key, None)
            return None
        return self._tree.kept(response, self._key)

    def _create(self) -> tuple[bool, Entry | None]:
        """Make a file, or if the name is taken by now a new version; also whether it was made."""
        folder = self._tree.folder
        look = self._tree.look()
        query = {"kind": "file", "name": self._key}
        response = self._request(self._tree.url(look.make_folder(folder), folder=True), query)
        if response.status_code == 404 and self._tree.ids.folders.pop(folder, ""):  # deleted meanwhile
            look = self._tree.look()
            response = self._request(self._tree.url(look.make_folder(folder), folder=True), query)
        if response.status_code != 409:
            return True, self._tree.kept(response, self._key)
        if self._if_absent:
            raise self.taken()
        there = self._tree.entry(self._connection.json(response, self._key).get("data"))
        if there is None or there.is_folder:
            entries = self._tree.look().file_entries(self._key)
            if not entries:
                raise refusal(response, self._key, self._connection.settings.address)
            there = entries[0]
        self._tree.ids.files[self._key] = (there.id,)
        self._before.setdefault(there.id, there.number)
        return False, self._update(there.id)

    def _confirmed(self, entry: Entry, made: bool) -> Row | None:
        """Look that the version is ours, and the only one of its number; and a new file the first of its name."""
        if (entry.sha256, entry.size) != (self._source.sha256, self._source.size):
            return None
        ours = Row.newest_of(entry, main=True)
        if made:
            entries = self._tree.look().file_entries(self._key)
            if not entries or entries[0].id != entry.id:
                return None  # a twin came into being: what counts is a version of the first one
            if (entries[0].number, entries[0].sha256) == (1, self._source.sha256):
                return ours
        rows = [row for row in self._rows.of_file(self._key, entry.id) if row.number == entry.number]
        if len(rows) != 1 or rows[0].sha256 != self._source.sha256:
            return None
        self._rows.keep_size(entry.id, entry.number, self._source.size)
        return ours

    def _request(self, url: str, query: Mapping[str, str]) -> Any:
        body = _Body(self._source)
        self._sent = True
        try:
            return self._connection.request("PUT", url, self._key, query, body)
        except StorageError:
            if body.failed is not None:  # the file's own trouble, which looks like the connection's
                raise body.failed from body.failed.__cause__
            raise


class _Body:
    """A file's verified blocks as a request's body of known length; each time it is begun anew."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.failed: StorageError | None = None

    def __len__(self) -> int:
        return self._source.size

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._source.blocks(_BLOCK)
        except StorageError as error:
            self.failed = error
            raise


def _pause(attempt: int, error: StoreUnavailable) -> None:
    asked = error.retry_after if isinstance(error, RateLimited) else None
    if asked is not None and asked > _LONGEST_WAIT:
        raise error
    time.sleep(asked if asked is not None else 0.1 * 2**attempt * (0.5 + random.random()))  # noqa: S311
