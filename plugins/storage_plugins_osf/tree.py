"""Folders and files by name: OSF knows them by id only, so names are looked for, and ids kept for the process.

Ids never change. An id that turns out to be gone is forgotten, and the name is looked for again.
"""

from __future__ import annotations

import dataclasses
import os
import re
from datetime import UTC, datetime
from typing import Any

import requests

from storage_plugins import AlreadyExists

from .connection import Connection
from .errors import refusal

_ID = re.compile(r"[0-9a-f]{24}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file or folder as a listing or an upload's answer tells of it.

    Attributes:
        number, size, sha256, modified: of the newest version of a file.
    """

    id: str
    name: str
    is_folder: bool
    number: int = 0
    size: int | None = None
    sha256: str | None = None
    modified: datetime | None = None


class _Ids:
    """The ids one process has seen: of folders by path, of a key's files (more than one: twins), lowest first."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.folders: dict[str, str] = {}
        self.files: dict[str, tuple[str, ...]] = {}


class Tree:
    """The folders and files of one project, below the files host's address of it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.folder = connection.settings.folder
        self._ids: dict[int, _Ids] = {}

    @property
    def ids(self) -> _Ids:
        """What this process knows."""
        made = self._ids.get(os.getpid())
        return made or self._ids.setdefault(os.getpid(), _Ids())

    def look(self) -> Look:
        """Begin an operation: each folder is listed at most once within it."""
        return Look(self)

    def url(self, identifier: str = "", *, folder: bool = False) -> str:
        """Return the files host's address of a file or folder; the root's for none."""
        root = self.root()
        return f"{root}{identifier}/" if folder and identifier else f"{root}{identifier}"

    def root(self) -> str:
        """Return the files host's address of the project, which the API names."""
        if self.ids.root is None:
            content = self.connection.project("files/")
            for row in rows_of(content):
                if at(row, "attributes", "provider") == "osfstorage":
                    self.keep_root(at(row, "links", "upload"), "")
        if self.ids.root is None:
            raise self.connection.odd("the project", "it names no storage of its own")
        return self.ids.root

    def keep_root(self, url: object, path: str) -> None:
        """Learn the root's address from a link to what has ``path`` in it."""
        if self.ids.root is None and isinstance(url, str):
            address = url.partition("?")[0].removesuffix(path.lstrip("/"))
            if address.endswith("/providers/osfstorage/"):
                self.connection.name_files_host(address)
                self.ids.root = address

    def entry(self, row: Any) -> Entry | None:
        """Return an entity of the API or of the files host; None for what is none."""
        name, path = at(row, "attributes", "name"), at(row, "attributes", "path")
        identifier = path.strip("/") if isinstance(path, str) else ""
        if not isinstance(name, str) or not _ID.fullmatch(identifier):
            return None
        if at(row, "attributes", "kind") == "folder":
            return Entry(identifier, name, True)
        number = at(row, "attributes", "extra", "version") or at(row, "attributes", "current_version")
        size = at(row, "attributes", "size")
        modified = at(row, "attributes", "modified_utc") or at(row, "attributes", "date_modified")
        return Entry(
            identifier,
            name,
            False,
            number if isinstance(number, int) else 0,
            size if isinstance(size, int) else None,
            sha256_in(row),
            moment(modified),
        )

    def kept(self, response: requests.Response, what: str) -> Entry:
        """Return what the answer to a write says was written; else raise what the answer stands for."""
        if response.status_code not in (200, 201):
            raise refusal(response, what, self.connection.settings.address)
        entry = self.entry(self.connection.json(response, what).get("data"))
        if entry is None or (not entry.is_folder and entry.number < 1):
            raise self.connection.odd(what, "no description of what was written")
        return entry

    def delete(self, url: str, what: str) -> None:
        """Delete a file with all its versions, or a folder with all that is in it; one that is gone already is that."""
        response = self.connection.request("DELETE", url, what)
        if response.status_code not in (204, 404, 410):
            raise refusal(response, what, self.connection.settings.address)


class Look:
    """Looks made within one operation."""

    def __init__(self, tree: Tree) -> None:
        self._tree, self._connection = tree, tree.connection
        self._listed: dict[str, list[Entry] | None] = {}

    def children(self, path: str) -> list[Entry] | None:
        """Return all that is in the folder ``path`` of the project; None if there is no such folder."""
        if path not in self._listed:
            entries = self._list(path)
            self._listed[path] = entries
            if entries is not None:
                self._remember(path, entries)
        return self._listed[path]

    def has_listed(self, path: str) -> bool:
        """Whether that folder was listed within this operation."""
        return path in self._listed

    def listed_files(self) -> list[Entry]:
        """Return the files in the store's folder if it was listed within this operation, else none."""
        return [entry for entry in self._listed.get(self._tree.folder) or [] if not entry.is_folder]

    def file_entries(self, key: str) -> list[Entry]:
        """Return the files called ``key``, as they are now, the lowest id first."""
        entries = self.children(self._tree.folder) or []
        return sorted((e for e in entries if e.name == key and not e.is_folder), key=lambda entry: entry.id)

    def file_ids(self, key: str) -> tuple[str, ...]:
        """Return the ids of the files called ``key``, looked for where this process knows none."""
        known = self._tree.ids.files.get(key)
        if known and self._tree.folder not in self._listed:
            return known
        return tuple(entry.id for entry in self.file_entries(key))

    def folder_id(self, path: str) -> str | None:
        """Return the id of a folder, "" for the project's root; None if there is none."""
        if not path:
            return ""
        known = self._tree.ids.folders.get(path)
        if known:
            return known
        parent, _, name = path.rpartition("/")
        entries = self.children(parent) or []
        return next((e.id for e in sorted(entries, key=lambda e: e.id) if e.is_folder and e.name == name), None)

    def make_folder(self, path: str) -> str:
        """Return the id of a folder, made with its parents where there is none.

        One that this process has not seen is most likely not there: OSF says so if it is.
        """
        known = self._tree.ids.folders.get(path)
        if known or not path:
            return known or ""
        parent, _, name = path.rpartition("/")
        url = self._tree.url(self.make_folder(parent), folder=True)
        response = self._connection.request("PUT", url, f"the folder {path}", {"kind": "folder", "name": name})
        if response.status_code != 409:
            made = self._tree.kept(response, f"the folder {path}")
            self._tree.ids.folders[path] = made.id
            return made.id
        self._listed.pop(parent, None)  # listed before it was made
        found = self.folder_id(path)
        if found is None:
            raise AlreadyExists(f"The folder {path} cannot be made in {self._connection.settings.address}")
        return found

    def _list(self, path: str) -> list[Entry] | None:
        ids = self._tree.ids
        if not path and ids.root is None:
            entries = self._list_through_api()
            if entries is not None:
                return entries
        folder_id = self.folder_id(path)
        if folder_id is None:
            return None
        what = f"the folder {path}" if path else "the project"
        response = self._connection.request("GET", self._tree.url(folder_id, folder=True), what)
        if response.status_code == 404 and path in ids.folders:
            ids.folders.clear()  # it was deleted, and perhaps made again
            ids.files.clear()
            self._listed.clear()
            return self._list(path)
        if response.status_code != 200:
            raise refusal(response, what, self._connection.settings.address, of_project=not path)
        return self._entries(self._connection.json(response, what))

    def _list_through_api(self) -> list[Entry] | None:
        """List the project's root where the files host is not known yet: one request tells both.

        None unless that is everything: rows repeat and vanish across pages of the API's listing.
        """
        content = self._connection.project("files/osfstorage/", **{"page[size]": "100"})
        for row in rows_of(content):
            entry = self._tree.entry(row)
            if entry is not None:
                self._tree.keep_root(at(row, "links", "upload"), f"/{entry.id}/" if entry.is_folder else entry.id)
        links = content.get("links")
        whole = isinstance(links, dict) and links.get("next") is None and self._tree.ids.root is not None
        return self._entries(content) if whole else None

    def _entries(self, content: Any) -> list[Entry]:
        entries = [entry for row in rows_of(content) if (entry := self._tree.entry(row)) is not None]
        if not isinstance(content.get("data"), list):
            raise self._connection.odd("the list of files", "no list")
        return list({entry.id: entry for entry in entries}.values())

    def _remember(self, path: str, entries: list[Entry]) -> None:
        ids = self._tree.ids
        for entry in sorted(entries, key=lambda entry: entry.id, reverse=True):
            if entry.is_folder:
                ids.folders[f"{path}/{entry.name}".lstrip("/")] = entry.id
        if path == self._tree.folder:
            files: dict[str, tuple[str, ...]] = {}
            for entry in sorted(entries, key=lambda entry: entry.id):
                if not entry.is_folder:
                    files[entry.name] = (*files.get(entry.name, ()), entry.id)
            ids.files = files


def sha256_in(row: Any) -> str | None:
    """Return the sha256 that OSF tells of a version."""
    value = at(row, "attributes", "extra", "hashes", "sha256")
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else None


def moment(text: object) -> datetime | None:
    """Return a moment that OSF tells, with its time zone."""
    try:
        date = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def rows_of(content: Any) -> list[Any]:
    """Return what an answer lists; nothing where it lists nothing."""
    rows = content.get("data")
    return rows if isinstance(rows, list) else []


def at(row: Any, *names: str) -> Any:
    """Return what stands in an answer under one name within the other, None where something is missing."""
    for name in names:
        row = row.get(name) if isinstance(row, dict) else None
    return row
