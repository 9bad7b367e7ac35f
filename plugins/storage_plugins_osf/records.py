"""The record of each version, kept beside the files where OSF has no metadata: in the names of small files.

``.storage-plugins/<record of the name>/<record of the bytes>.json``, such as
``.storage-plugins/assy_@Pereira2018.language/<sha256>-<sha1>-<size>-<rule>-<hex>.json``. What is needed to
find a version stands in the names, so that one listing tells all records of a file without a download of
each; the file itself says the same as JSON, for people. Its name is its content: it is never changed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping

from storage_plugins import Source

from .tree import Look, Tree

FOLDER = ".storage-plugins"
_BYTES = re.compile(
    r"(?P<sha256>[0-9a-f]{64})-(?P<sha1>[0-9a-f]{40})-(?P<size>\d{1,15})"
    r"(?:-(?P<rule>[a-z0-9]{1,16})-(?P<hex>[0-9a-f]{64}))?\.json"
)


class Records:
    """The records of one store. What one process has seen of them is kept: they never change."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._base = f"{tree.folder}/{FOLDER}".lstrip("/")
        self._known: dict[int, dict[str, dict[str, dict[str, str]]]] = {}

    def of(self, look: Look, key: str, wanted: Iterable[str | None]) -> Mapping[str, Mapping[str, str]]:
        """Return the records of ``key`` by sha256; ``wanted``: those that are worth a request."""
        known = self._of(key)
        missing = {sha256 for sha256 in wanted if sha256 is not None} - known.keys()
        if missing:
            seen = [path for path in list(self._tree.ids.folders) if self._is_of(path, key)]
            self._read(look, key, seen)
        if missing - known.keys():
            found = look.children(self._base) or []
            paths = [f"{self._base}/{entry.name}" for entry in found if entry.is_folder]
            self._read(look, key, [path for path in paths if self._is_of(path, key)])
        return known

    def keep(self, look: Look, key: str, source: Source, metadata: Mapping[str, str]) -> None:
        """Keep a record. One that is there already says the same."""
        prefix, identifier = metadata.get("assembly-prefix"), metadata.get("identifier")
        named = f"{prefix}@{identifier}"
        if prefix is None or _key(named) != key:
            named = key
        if source.sha256 in self._of(key):
            return
        rule, _, digest = metadata.get("content-digest", "").partition(":")
        name = f"{source.sha256}-{source.sha1}-{source.size}{f'-{rule}-{digest}' if digest else ''}.json"
        path, what = f"{self._base}/{named}", f"the record of {key}"
        url = self._tree.url(look.make_folder(path), folder=True)
        body = json.dumps({**metadata, "key": key}, indent=1).encode()
        connection = self._tree.connection
        response = connection.request("PUT", url, what, {"kind": "file", "name": name}, body)
        if response.status_code == 404 and self._tree.ids.folders.pop(path, ""):  # deleted meanwhile
            fresh = self._tree.look()
            url = self._tree.url(fresh.make_folder(path), folder=True)
            response = connection.request("PUT", url, what, {"kind": "file", "name": name}, body)
        if response.status_code != 409:
            self._tree.kept(response, what)
        self._add(key, named, name)

    def discard(self, look: Look, key: str) -> None:
        """Delete all records of ``key``."""
        for entry in look.children(self._base) or []:
            path = f"{self._base}/{entry.name}"
            if entry.is_folder and self._is_of(path, key):
                self._tree.delete(self._tree.url(entry.id, folder=True), f"the records of {key}")
                self._tree.ids.folders.pop(path, None)
        self._of(key).clear()

    def _read(self, look: Look, key: str, paths: Iterable[str]) -> None:
        for path in paths:
            for entry in look.children(path) or []:
                if not entry.is_folder:
                    self._add(key, path.rpartition("/")[2], entry.name)

    def _add(self, key: str, named: str, name: str) -> None:
        match = _BYTES.fullmatch(name)
        if match is None:
            return  # not one of ours
        prefix, at, identifier = named.rpartition("@")
        record = {"identifier": identifier, "sha1": match["sha1"], "sha256": match["sha256"], "size": match["size"]}
        if at:
            record["assembly-prefix"] = prefix
        if match["rule"]:
            record["content-digest"] = f"{match['rule']}:{match['hex']}"
        self._of(key).setdefault(match["sha256"], record)

    def _is_of(self, path: str, key: str) -> bool:
        parent, _, name = path.rpartition("/")
        return parent == self._base and _key(name) == key

    def _of(self, key: str) -> dict[str, dict[str, str]]:
        return self._known.setdefault(os.getpid(), {}).setdefault(key, {})

    def __getstate__(self) -> dict[str, object]:
        return {"tree": self._tree}

    def __setstate__(self, state: dict[str, Tree]) -> None:
        self.__init__(state["tree"])  # type: ignore[misc]


def _key(named: str) -> str:
    """Return the key that a folder of records is of."""
    prefix, at, identifier = named.rpartition("@")
    return f"{prefix}{identifier.replace('.', '_')}.nc" if at else named
