"""The record of each version, in the name of a small file, since OSF has no metadata.

It is ``.storage-plugins/<prefix>@<identifier>/<sha256>-<sha1>-<size>-<rule>-<hex>.json``, such as
``.storage-plugins/assy_@Pereira2018.language/…``. What is needed to find a version is in the names, so one
listing gives all records of a file without a download of each. The file contains the same as JSON, for
people. Its name is its content, and it is never changed. Twins of these folders are read as one.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from storage_plugins import Source, StorageError

from .entries import Entry
from .folders import RECORDS, Folders
from .tree import Look, Tree

_log = logging.getLogger(__name__)
_BYTES = re.compile(
    r"(?P<sha256>[0-9a-f]{64})-(?P<sha1>[0-9a-f]{40})-(?P<size>\d{1,15})"
    r"(?:-(?P<rule>[a-z0-9]{1,16})-(?P<hex>[0-9a-f]{64}))?\.json"
)


_NOTE = re.compile(r"(?P<sha256>[0-9a-f]{64})\.[0-9a-f]{8}\.uploading\.json")
_WAITED_FOR = timedelta(minutes=1)
_FORGOTTEN = timedelta(days=1)  # an upload announced before the newest one by that much is no longer running


@dataclasses.dataclass(frozen=True)
class Announcement:
    """What others see of an upload that is running: a file in the folder of the key's records.

    Attributes:
        path: of that folder.
        name: of the file.
        note_id: of a file that is deleted afterwards.
    """

    path: str
    name: str
    note_id: str | None


class _Known:
    """What one process has seen: the records of each key by sha256, and what has none."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, dict[str, str]]] = {}
        self.none: set[tuple[str, str]] = set()


class Records:
    """The records of one store. A process remembers those it has seen: they never change."""

    def __init__(self, tree: Tree, folders: Folders) -> None:
        self._tree, self._folders = tree, folders
        self._base = f"{tree.folder}/{RECORDS}".lstrip("/")
        self._processes: dict[int, _Known] = {}

    @property
    def _known(self) -> _Known:
        made = self._processes.get(os.getpid())
        return made or self._processes.setdefault(os.getpid(), _Known())

    def of(self, look: Look, key: str, wanted: Iterable[str | None]) -> Mapping[str, Mapping[str, str]]:
        """Return the records of ``key`` by sha256; ``wanted``: those that are worth a request.

        A record is written before its version, so a version once seen without one is not asked about again.
        """
        known, none = self._of(key), self._known.none
        needed = {sha256 for sha256 in wanted if sha256 is not None and (key, sha256) not in none}
        if needed - known.keys():
            self._read(look, key, [path for path in list(self._tree.ids.folders) if self._is_of(path, key)])
        if needed - known.keys():
            self._read(look, key, self._paths(look, key))
        none.update((key, sha256) for sha256 in needed - known.keys())
        return known

    def names(self, look: Look) -> Mapping[str, Mapping[str, str]]:
        """Return identifier and prefix of each key whose folder of records says so, by one listing."""
        found: dict[str, set[str]] = {}
        for entry in look.children(self._base) or []:
            if entry.is_folder:
                found.setdefault(key_of(entry.name), set()).add(entry.name)
        return {key: _named(*names) for key, names in found.items() if len(names) == 1}

    def announce(
        self, look: Look, key: str, source: Source, metadata: Mapping[str, str], *, queue: bool
    ) -> Announcement:
        """Write the record before the upload, and if it is there already a note: others see by it that we upload.

        A record without its version, or a note, means that an upload is running. See `others`. ``queue``: write a
        note in any case, for `ahead`.
        """
        path = f"{self._base}/{self._name(key, metadata)}"
        rule, _, digest = metadata.get("content-digest", "").partition(":")
        record = f"{source.sha256}-{source.sha1}-{source.size}{f'-{rule}-{digest}' if digest else ''}.json"
        if len(self._tree.ids.folders.get(path, ())) > 1:
            self._folders.merge(look, path)
        body = json.dumps({**metadata, "key": key}, indent=1).encode()
        if source.sha256 not in self._of(key) and self._write(look, path, key, record, body) is not None:
            self._add(key, path.rpartition("/")[2], record)
            self._known.none.discard((key, source.sha256))
            if not queue:
                return Announcement(path, record, None)
        self._add(key, path.rpartition("/")[2], record)
        note = f"{source.sha256}.{secrets.token_hex(4)}.uploading.json"
        written = self._write(look, path, key, note, body)
        return Announcement(path, note, written.id if written else None)

    def others(self, ours: Announcement, versions: Iterable[str | None]) -> bool:
        """Whether someone else may be uploading to the same name; ``versions``: the sha256s that are there.

        Uploads announce themselves before they begin. So after ours is stored, whoever may still store one that
        did not see ours is announced.
        """
        names, look = self._names_in(self._tree.look(), ours.path), self._tree.look()
        if ours.name not in names:  # the folder was merged with a twin
            for path in (ours.path, self._base):
                self._tree.ids.folders.pop(path, None)
            names = self._names_in(look, ours.path)
        there, newest = set(versions), max(filter(None, names.values()), default=None)
        for name, made in names.items():
            announced = _BYTES.fullmatch(name) or _NOTE.fullmatch(name)
            running = announced is not None and (announced.re is _NOTE or announced["sha256"] not in there)
            old = made is not None and newest is not None and newest - made > _FORGOTTEN
            if running and name != ours.name and not old:
                return True
        return ours.name not in names

    def ahead(self, ours: Announcement) -> bool:
        """Whether someone else announced an upload to the same name by a note, shortly before us."""
        names = self._names_in(self._tree.look(), ours.path)
        mine = names.get(ours.name)
        for name, made in names.items():
            if mine is None or made is None or not _NOTE.fullmatch(name) or name == ours.name:
                continue
            if (made, name) < (mine, ours.name) and mine - made < _WAITED_FOR:
                return True
        return False

    def withdraw(self, ours: Announcement) -> None:
        """Delete a note. A record stays."""
        if ours.note_id is not None:
            try:
                self._tree.delete(self._tree.url(ours.note_id), "a note of an upload")
            except StorageError as error:
                _log.info("A note of an upload could not be deleted: %s", error.message)

    def merge(self, look: Look, key: str) -> None:
        """Merge twins of the folder of records of ``key``, after someone else uploaded it at the same time."""
        look.again(self._base)
        for path in self._paths(look, key):
            self._folders.merge(look, path)

    def discard(self, look: Look, key: str) -> None:
        """Delete all records of ``key``."""
        for path in self._paths(look, key):
            for folder_id in look.folder_ids(path):
                self._tree.delete(self._tree.url(folder_id, folder=True), f"the records of {key}")
            self._tree.ids.folders.pop(path, None)
        self._of(key).clear()

    def _write(self, look: Look, path: str, key: str, name: str, body: bytes) -> Entry | None:
        """Write a small file; None if there is one of that name."""
        what = f"the record of {key}"
        for fresh in (False, True):
            self._folders.make(look, self._base)
            url = self._tree.url(self._folders.make(look, path, check=False), folder=True)
            response = self._tree.connection.request("PUT", url, what, {"kind": "file", "name": name}, body)
            if response.status_code != 404 or fresh or not self._tree.ids.folders.pop(path, ()):
                break
            self._tree.ids.folders.pop(self._base, None)  # deleted meanwhile
            look = self._tree.look()
        return None if response.status_code == 409 else self._tree.written(response, what)

    def _names_in(self, look: Look, path: str) -> dict[str, datetime | None]:
        return {entry.name: entry.modified for entry in look.children(path) or [] if not entry.is_folder}

    def _name(self, key: str, metadata: Mapping[str, str]) -> str:
        """Return the name of the folder for the records of a key."""
        prefix, identifier = metadata.get("assembly-prefix"), metadata.get("identifier")
        named = f"{prefix}@{identifier}"
        return named if prefix is not None and key_of(named) == key else key

    def _paths(self, look: Look, key: str) -> list[str]:
        found = {f"{self._base}/{entry.name}" for entry in look.children(self._base) or [] if entry.is_folder}
        return sorted(path for path in found if self._is_of(path, key))

    def _read(self, look: Look, key: str, paths: Iterable[str]) -> None:
        for path in paths:
            for entry in look.children(path) or []:
                if not entry.is_folder:
                    self._add(key, path.rpartition("/")[2], entry.name)

    def _add(self, key: str, named: str, name: str) -> None:
        match = _BYTES.fullmatch(name)
        if match is None:
            return  # not a record
        record = {**_named(named), "sha1": match["sha1"], "sha256": match["sha256"], "size": match["size"]}
        if match["rule"]:
            record["content-digest"] = f"{match['rule']}:{match['hex']}"
        self._of(key).setdefault(match["sha256"], record)

    def _is_of(self, path: str, key: str) -> bool:
        parent, _, name = path.rpartition("/")
        return parent == self._base and key_of(name) == key

    def _of(self, key: str) -> dict[str, dict[str, str]]:
        return self._known.records.setdefault(key, {})


def key_of(named: str) -> str:
    """Return the key whose records a folder of that name has.

    Example:
        >>> key_of("assy_@Pereira2018.language")
        'assy_Pereira2018_language.nc'
    """
    prefix, at, identifier = named.rpartition("@")
    return f"{prefix}{identifier.replace('.', '_')}.nc" if at else named


def _named(named: str) -> dict[str, str]:
    """Return what the name of a folder of records says."""
    prefix, at, identifier = named.rpartition("@")
    return {"identifier": identifier, **({"assembly-prefix": prefix} if at else {})}
