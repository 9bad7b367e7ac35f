"""Folders and files by name. OSF addresses them by id only, so names are looked up and ids remembered for the process.

OSF allows two folders, or two files, of one name ("twins"). Twin folders are read as one; the lowest id is used.
Ids never change. An id that is gone is forgotten, and the name is looked up again.
"""

from __future__ import annotations

import os
from typing import Any

import requests

from storage_plugins import NotSupported

from .connection import Connection
from .entries import Entry, at, entry_of, rows_of
from .errors import refusal

ARCHIVE = "Archive of OSF Storage"  # the folder of a registration that has the files of its project
_PAGE = 100  # rows, the most that the API gives at once


class _Ids:
    """The ids that one process has seen.

    Attributes:
        root: the files host's address of the project.
        folders: of each path, the lowest first; "" is the project's root, or a registration's archive.
        files: of each key in the store's folder, the one that uploads go to first.
        made: whether this process made the store's folder, or one above, and has not looked for it again since.
    """

    def __init__(self) -> None:
        self.root: str | None = None
        self.folders: dict[str, tuple[str, ...]] = {}
        self.files: dict[str, tuple[str, ...]] = {}
        self.made = False


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

    def chain(self) -> list[str]:
        """Return the paths from the project's root, without it, down to the store's folder."""
        parts = self.folder.split("/") if self.folder else []
        return ["/".join(parts[: number + 1]) for number in range(len(parts))]

    def url(self, identifier: str = "", *, folder: bool = False) -> str:
        """Return the files host's address of a file or folder; the root's for the empty id."""
        root = self.root()
        return f"{root}{identifier}/" if folder and identifier else f"{root}{identifier}"

    def root(self) -> str:
        """Return the files host's address of the project, which the API gives."""
        if self.ids.root is None:
            content = self.connection.project("files/")
            for row in rows_of(content) or []:
                if at(row, "attributes", "provider") == "osfstorage":
                    self.remember_root(at(row, "links", "upload"), "")
        if self.ids.root is None:
            raise self.connection.odd("the project", "it names no storage of its own")
        return self.ids.root

    def refuse_if_read_only(self) -> None:
        """Raise NotSupported where nothing can be uploaded or changed."""
        settings = self.connection.settings
        if settings.view_only is not None and settings.token is None:
            raise NotSupported(
                f"{settings.address}: a view-only link is for reading", hint="Set token: to upload; see storage.yaml."
            )
        self.root()  # finds out what it is; needed anyway
        if self.connection.registration:
            raise NotSupported(
                f"{settings.address} is a registration, which OSF keeps unchanged",
                hint="Upload to the project that it was made from, or to another project.",
            )

    def remember_root(self, url: object, path: str) -> None:
        """Learn the root's address from a link to what has ``path`` in it."""
        if self.ids.root is None and isinstance(url, str):
            address = url.partition("?")[0].removesuffix(path.lstrip("/"))
            if address.endswith("/providers/osfstorage/"):
                self.connection.trust_files_host(address)
                self.ids.root = address

    def listing(self, folder_id: str, what: str, *, of_project: bool = False) -> list[Entry] | None:
        """Return all that is in one folder, now; None if the folder is gone. The files host lists it without pages."""
        response = self.connection.request("GET", self.url(folder_id, folder=True), what)
        if response.status_code == 404 and not of_project:
            return None
        if response.status_code != 200:
            raise refusal(response, what, self.connection.settings.address, of_project=of_project)
        return self.entries(self.connection.json(response, what))

    def entries(self, content: Any) -> list[Entry]:
        """Return what a listing lists, each id once. One that cannot be read as a whole is an error, never empty."""
        rows = rows_of(content)
        if rows is None:
            raise self.connection.odd("the list of files", "there is no list in it")
        entries = [entry_of(row) for row in rows]
        if None in entries:
            raise self.connection.odd("the list of files", "an entry has no name or id")
        return list({entry.id: entry for entry in entries if entry is not None}.values())

    def written(self, response: requests.Response, what: str) -> Entry:
        """Return what the answer to a write describes; else raise the error that the answer means."""
        if response.status_code not in (200, 201):
            raise refusal(response, what, self.connection.settings.address)
        entry = entry_of(self.connection.json(response, what).get("data"))
        if entry is None or (not entry.is_folder and entry.count < 1):
            raise self.connection.odd(what, "it does not describe what was written")
        return entry

    def delete(self, url: str, what: str, version: int | None = None) -> None:
        """Delete a file with all its versions, or a folder with all that is in it. It may be gone already."""
        query = {"version": f"{version}"} if version else None
        response = self.connection.request("DELETE", url, what, query)
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

    def again(self, path: str) -> list[Entry] | None:
        """List a folder anew."""
        self._listed.pop(path, None)
        return self.children(path)

    def from_the_root(self) -> None:
        """Look for the store's folder again, level by level."""
        self._listed.clear()
        for path in self._tree.chain():
            self._tree.ids.folders.pop(path, None)

    def has_listed(self, path: str) -> bool:
        """Whether that folder was listed within this operation."""
        return path in self._listed

    def listed_files(self) -> list[Entry]:
        """Return the files in the store's folder if it was listed within this operation, else none."""
        return [entry for entry in self._listed.get(self._tree.folder) or [] if not entry.is_folder]

    def file_entries(self, key: str) -> list[Entry]:
        """Return the files found by ``key``, as they are now, the one that uploads go to first."""
        entries = self.children(self._tree.folder) or []
        return sorted((e for e in entries if e.key == key and not e.is_folder), key=lambda entry: entry.rank)

    def file_ids(self, key: str) -> tuple[str, ...]:
        """Return the ids of the files found by ``key``, looked up where this process knows none."""
        known = self._tree.ids.files.get(key)
        if known and self._tree.folder not in self._listed:
            return known
        return tuple(entry.id for entry in self.file_entries(key))

    def folder_ids(self, path: str) -> tuple[str, ...]:
        """Return the ids of the folders at ``path``, the lowest first; none if there is no such folder."""
        known = self._tree.ids.folders.get(path)
        if known:
            return known
        if not path:
            return self._root_ids()
        parent, _, name = path.rpartition("/")
        entries = self.children(parent) or []
        return tuple(sorted(entry.id for entry in entries if entry.is_folder and entry.name == name))

    def _root_ids(self) -> tuple[str, ...]:
        ids = self._tree.ids
        self._tree.root()  # which also finds out whether it is a registration
        if not self._connection.registration:
            ids.folders[""] = ("",)
            return ids.folders[""]
        top = self._tree.listing("", "the registration", of_project=True) or []
        found = tuple(sorted(entry.id for entry in top if entry.is_folder and entry.name == ARCHIVE))
        if found:
            ids.folders[""] = found
        return found

    def _list(self, path: str) -> list[Entry] | None:
        if not path and self._tree.ids.root is None:
            entries = self._list_through_api()
            if entries is not None:
                return entries
        what = f"the folder {path}" if path else "the project"
        found: dict[str, Entry] = {}
        for fresh in (False, True):
            folder_ids = self.folder_ids(path)
            gone = 0
            # files of twin folders are moved to the lowest id: listed last, it has what was moved meanwhile
            for folder_id in reversed(folder_ids):
                listed = self._tree.listing(folder_id, what, of_project=folder_id == "")
                gone += listed is None
                found.update((entry.id, entry) for entry in listed or [])
            if not gone:
                return list(found.values()) if folder_ids else None
            if not fresh:
                self._forget()
        return list(found.values()) if gone < len(folder_ids) else None

    def _forget(self) -> None:
        """Forget all ids: a folder was deleted, and perhaps made again."""
        self._tree.ids.folders.clear()
        self._tree.ids.files.clear()
        self._listed.clear()

    def _list_through_api(self) -> list[Entry] | None:
        """List the project's root where the files host is not known yet: one request finds both.

        None unless that is all: rows repeat and vanish across the pages of the API's listing.
        """
        content = self._connection.project("files/osfstorage/", **{"page[size]": f"{_PAGE}"})
        entries = self._tree.entries(content)
        for row, entry in zip(rows_of(content) or [], map(entry_of, rows_of(content) or []), strict=True):
            if entry is not None:
                self._tree.remember_root(at(row, "links", "upload"), f"/{entry.id}/" if entry.is_folder else entry.id)
        if self._connection.registration:
            found = tuple(sorted(entry.id for entry in entries if entry.is_folder and entry.name == ARCHIVE))
            if found:
                self._tree.ids.folders[""] = found
            return None
        self._tree.ids.folders[""] = ("",)
        total = at(content, "meta", "total")
        whole = isinstance(content.get("links"), dict) and content["links"].get("next") is None
        if not whole or total not in (None, len(entries)):
            return None
        self._tree.root()  # of an empty project, asked for
        return entries

    def _remember(self, path: str, entries: list[Entry]) -> None:
        ids = self._tree.ids
        folders: dict[str, tuple[str, ...]] = {}
        for entry in sorted(entries, key=lambda entry: entry.id):
            if entry.is_folder:
                place = f"{path}/{entry.name}".lstrip("/")
                folders[place] = (*folders.get(place, ()), entry.id)
        ids.folders.update(folders)
        if path == self._tree.folder:
            files: dict[str, tuple[str, ...]] = {}
            for entry in sorted(entries, key=lambda entry: entry.rank):
                if not entry.is_folder:
                    files[entry.key] = (*files.get(entry.key, ()), entry.id)
            ids.files = files
