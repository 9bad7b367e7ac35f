"""Making folders, and merging twins of them.

OSF makes a second folder of a name if two requests look before either has written. So after a folder was made its
parent is listed: if there are twins, everything goes into the one with the lowest id, and a twin left empty is deleted.
"""

from __future__ import annotations

import json
import logging

from storage_plugins import AlreadyExists, StorageError

from .entries import Entry, retired_name
from .errors import refusal
from .tree import Look, Tree
from .turns import turn

_log = logging.getLogger(__name__)
RECORDS = ".storage-plugins"


class Folders:
    """The making of folders in one project."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def make(self, look: Look, path: str, *, check: bool = True) -> str:
        """Return the id of a folder, made with its parents where there is none.

        One that this process has not seen most likely does not exist: OSF reports it if it does. ``check``: look for
        twins afterwards.
        """
        known = self._tree.ids.folders.get(path)
        if known:
            return known[0]
        if not path:
            return look.folder_ids("")[0]
        with turn(self._tree.connection.settings.address, "folder", path):
            known = self._tree.ids.folders.get(path)  # another thread may have made it
            return known[0] if known else self._make(look, path, check)

    def merge(self, look: Look, path: str) -> bool:
        """Move all that is in twins of the folder ``path`` into the one with the lowest id. Whether there were any."""
        folder_ids = look.folder_ids(path)
        if len(folder_ids) < 2:
            return False
        _log.warning("%d folders called %s in %s: merging them", len(folder_ids), path, self._tree.connection.address)
        with turn(self._tree.connection.settings.address, "folder", path):
            for twin in folder_ids[1:]:
                self._merge(twin, folder_ids[0], path)
        self._tree.ids.folders.pop(path, None)
        return True

    def merge_seen(self, look: Look) -> bool:
        """Merge the twins that this process has seen of the store's folder, its parents, and its folder of records."""
        records = f"{self._tree.folder}/{RECORDS}".lstrip("/")
        merged = False
        for path in (*self._tree.chain(), records):
            if len(self._tree.ids.folders.get(path, ())) > 1:
                try:
                    merged |= self.merge(look, path)
                except StorageError as error:  # all twins are read, so nothing is out of sight
                    _log.warning("The folders called %s could not be merged: %s", path, error.message)
        return merged

    def rename(self, entry: Entry, name: str, *, into: str | None = None, version: int | None = None) -> bool:
        """Rename a file or folder, and move it to another folder if one is given. False if the name is taken there."""
        action = {"action": "rename", "rename": name}
        if into is not None:
            action = {"action": "move", "path": f"/{into}/" if into else "/", "rename": name, "conflict": "warn"}
        url = self._tree.url(entry.id, folder=entry.is_folder)
        query = {"version": f"{version}"} if version else None
        body = json.dumps(action).encode()
        response = self._tree.connection.request("POST", url, entry.name, query, body, kind="application/json")
        if response.status_code == 409:
            return False
        if response.status_code not in (200, 201, 202, 404):
            raise refusal(response, entry.name, self._tree.connection.settings.address)
        return True

    def _make(self, look: Look, path: str, check: bool) -> str:
        parent, _, name = path.rpartition("/")
        url = self._tree.url(self.make(look, parent), folder=True)
        what = f"the folder {path}"
        response = self._tree.connection.request("PUT", url, what, {"kind": "folder", "name": name})
        if response.status_code == 404 and self._tree.ids.folders.pop(parent, ()):  # deleted meanwhile
            look.from_the_root()
            url = self._tree.url(self.make(look, parent), folder=True)
            response = self._tree.connection.request("PUT", url, what, {"kind": "folder", "name": name})
        if response.status_code != 409:
            made = self._tree.written(response, what)
            self._tree.ids.made |= path in self._tree.chain()
            if not check:
                self._tree.ids.folders[path] = (made.id,)
                return made.id
        look.again(parent)
        found = look.folder_ids(path)
        if not found:
            raise AlreadyExists(f"The folder {path} cannot be created in {self._tree.connection.settings.address}")
        if len(found) > 1 and response.status_code != 409 and made.id != found[0]:
            self._merge(made.id, found[0], path)  # who made a twin removes it
            self._tree.ids.folders[path] = tuple(identifier for identifier in found if identifier != made.id)
        return found[0]

    def _merge(self, twin: str, into: str, path: str) -> None:
        """Move what is in one folder into another one, and delete the first if nothing is left in it."""
        what = f"the folder {path}"
        inside, there = self._tree.listing(twin, what), self._tree.listing(into, what)
        if inside is None or there is None:
            return  # someone else was faster
        for entry in inside:
            same = [e for e in there if e.is_folder == entry.is_folder and e.name == entry.name and e.id != entry.id]
            if entry.is_folder and same:
                lowest = min(same, key=lambda e: e.id)
                self._merge(entry.id, lowest.id, f"{path}/{entry.name}")
            elif not self.rename(entry, entry.name, into=into):
                self._move_beside(entry, into, path)
        if not self._tree.listing(twin, what):
            self._tree.delete(self._tree.url(twin, folder=True), what)

    def _move_beside(self, entry: Entry, into: str, path: str) -> None:
        """Move what could not be moved because its name is taken, unless it is itself what has the name by now."""
        there = self._tree.listing(into, path) or []
        if any(other.id == entry.id for other in there):
            return
        if entry.is_folder:
            same = [other for other in there if other.is_folder and other.name == entry.name]
            if same:
                self._merge(entry.id, min(same, key=lambda e: e.id).id, f"{path}/{entry.name}")
        elif RECORDS in path.split("/"):  # a record's name is its content: the other one is the same
            self._tree.delete(self._tree.url(entry.id), entry.name)
        else:
            self.rename(entry, retired_name(entry), into=into)
