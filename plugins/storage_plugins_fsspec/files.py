"""Versions as folders, laid out as those of the ``local`` backend where renaming a folder is atomic.

There, a version is made in a temporary folder and claimed by renaming it to the next free number::

    root/.versions/<key>/000003/{data.nc, receipt.json}

On other filesystems nothing can be claimed, so each version gets a folder with a unique name. It counts as soon as
its record, which is written last, can be read::

    root/.versions/<key>/000003-<first 12 of sha256>-<random>/{data.nc, receipt.json}

No file is ever written twice. ``root/<key>``, a file put there by hand, is read while there is no version.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from storage_plugins import AlreadyExists, AssemblyNotFound, Content, FileOperations, IntegrityError, Source, Version
from storage_plugins.atomic import TEMPORARY

from .connections import Hosts
from .host import Host

if TYPE_CHECKING:
    from .settings import FsspecSettings

_VERSIONS = ".versions"
_RECORD = "receipt.json"
_LONGEST_RECORD = 1 << 16  # bytes
_UNIQUE = "([0-9a-f]{12}-[0-9a-f]{8})"
_NAME = re.compile(rf"([0-9]{{6}}|[1-9][0-9]{{6,17}})(?:-{_UNIQUE})?")
_SHA256 = re.compile("[0-9a-f]{64}")
_VERSION_ID = re.compile(rf"([1-9][0-9]{{0,17}})-(?:{_UNIQUE}|([0-9a-f]{{12}}))")
_STALE = timedelta(days=1)  # after which an unfinished folder is what a crash left behind


class _Folder(NamedTuple):
    """A version's folder: its number, and what makes its name unique where numbers cannot be claimed."""

    number: int
    unique: str = ""

    @property
    def name(self) -> str:
        return f"{self.number:06d}" + (f"-{self.unique}" if self.unique else "")


class FsspecFiles(FileOperations):
    """The files below one folder of a filesystem."""

    def __init__(self, settings: FsspecSettings) -> None:
        self._settings = settings
        self._hosts = Hosts(settings)
        self._swept = False  # once in each process

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["settings"])  # type: ignore[misc]

    @property
    def address(self) -> str:
        """The folder's URL, without user and secrets."""
        return self._settings.address

    def keeps_versions(self) -> bool:
        """Each upload is a folder of its own, so always."""
        return True

    def uri(self, key: str, version_id: str | None) -> str:
        """Return the ``fsspec:`` URI of a version."""
        return self._settings.uri(key, version_id)

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
        """Make the next version."""
        with self._hosts.lease(f"store {key}") as host:
            if not self._swept:
                self._sweep(host)
            folders = self._folders(host, key)
            if not folders and self._adopt_plain_file(host, key):
                folders = self._folders(host, key)
            folder = self._claim(host, key, folders, source, metadata, first=if_absent)
            if folder is None:
                raise AlreadyExists(f"{key} is in {self.address} already")
        return _version_id(folder, source.sha256)

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Read a version's file. A file put there by hand may be changed while it is read, and is then refused."""
        with self._hosts.lease(f"read {key}") as host:
            path, version = self._find(host, key, version_id)
        plain = version.version_id is None
        if plain and if_match not in (None, version.etag):
            raise self._changed(key)
        size = version.size or 0

        def blocks() -> Iterator[bytes]:
            with self._hosts.lease(f"read {key}") as host:
                yield from host.read(path, start, size if stop is None else min(stop, size))
                if plain and (now := self._plain_file(host, key)) != version:
                    raise self._changed(key) if now else AssemblyNotFound(f"{key} was removed from {self.address}")

        return Content(version, blocks())

    def versions(self, key: str) -> Iterable[Version]:
        """Return the versions, newest first; a plain file put there by hand is one version without an id."""
        with self._hosts.lease(f"look for {key}") as host:
            return list(self._versions(host, key))

    def newest(self, key: str) -> Version | None:
        """Return the newest version."""
        with self._hosts.lease(f"look for {key}") as host:
            return next(self._versions(host, key), None)

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return the names of all files with a version, and of those put there by hand."""
        with self._hosts.lease("list what is") as host:
            names = {name for name, entry in host.entries(host.root).items() if entry["type"] == "file"}
            versions = _path(host, _VERSIONS)
            if host.renames:  # a key's folder appears together with its first version
                names |= host.entries(versions).keys()
            else:
                # an upload that failed may have left an empty record
                parts = (path.split("/") for path, entry in host.below(versions).items() if entry.get("size") != 0)
                names |= {part[0] for part in parts if part[2:] == [_RECORD] and _NAME.fullmatch(part[1])}
        hidden = not prefix.startswith(".")
        return [name for name in names if name.startswith(prefix) and not (hidden and name.startswith("."))]

    def discard(self, key: str) -> None:
        """Remove a key's folder of versions, and a file put there by hand."""
        with self._hosts.lease(f"remove {key}") as host:
            for path in (_path(host, _VERSIONS, key), _path(host, key)):
                host.discard(path)

    def removes(self) -> bool:
        """Each version is a folder of its own."""
        return True

    def remove(self, key: str, version_id: str | None) -> None:
        """Remove a version's folder, and a file put there by hand that has the same bytes."""
        with self._hosts.lease(f"remove {key}") as host:
            path, version = self._find(host, key, version_id)
            plain = _path(host, key)
            if version.version_id is None:
                host.discard(plain)
                return
            host.discard(path.rpartition("/")[0])
            host.remove_empty(_path(host, _VERSIONS, key))
            info = host.info(plain)
            if info is not None and int(info["size"]) == version.size and _sha256(host, plain, info) == version.sha256:
                host.discard(plain)

    # finding

    def _find(self, host: Host, key: str, version_id: str | None) -> tuple[str, Version]:
        """Return a version's file and its description."""
        version: Version | None = None
        if version_id is None:
            version = next(self._versions(host, key), None)
        elif match := _VERSION_ID.fullmatch(version_id):
            folder = _Folder(int(match[1]), match[2] or "")
            version = self._version(host, key, folder)
            if version is not None and version.version_id != version_id:
                version = None
        if version is None:
            missing = "" if host.is_folder(host.root) else ": that folder does not exist"
            what = f"{key} has no version {version_id}" if version_id else f"There is no {key}"
            raise AssemblyNotFound(f"{what} in {self.address}{missing}")
        if version.version_id is None:
            return _path(host, key), version
        match = _VERSION_ID.fullmatch(version.version_id)
        assert match  # noqa: S101  for mypy
        return _data(host, key, _Folder(int(match[1]), match[2] or "")), version

    def _folders(self, host: Host, key: str) -> list[_Folder]:
        """Return the folders of a key's versions, finished or not, newest first."""
        matches = map(_NAME.fullmatch, host.entries(_path(host, _VERSIONS, key)))
        return sorted((_Folder(int(match[1]), match[2] or "") for match in matches if match), reverse=True)

    def _versions(self, host: Host, key: str) -> Iterator[Version]:
        found = False
        for folder in self._folders(host, key):
            version = self._version(host, key, folder)
            if version is not None:
                found = True
                yield version
        if not found and (plain := self._plain_file(host, key)) is not None:
            yield plain

    def _version(self, host: Host, key: str, folder: _Folder) -> Version | None:
        """Return the description of a version, None for a folder that is not, or not yet, a version."""
        data = _data(host, key, folder)
        info = host.info(data)
        record = _record(host, f"{_path(host, _VERSIONS, key, folder.name)}/{_RECORD}") if info else {}
        if info is None or (folder.unique and not record):
            return None
        size = int(info["size"])
        sha256 = str(record.get("sha256") or "")
        if not _SHA256.fullmatch(sha256):  # its record was lost or changed
            sha256 = _sha256(host, data, info)
        return Version.described(
            record,
            version_id=_version_id(folder, sha256),
            size=size,
            created=_date(record.get("created")) or _changed_at(info),
        )

    def _plain_file(self, host: Host, key: str) -> Version | None:
        info = host.info(_path(host, key))
        if info is None:
            return None
        changed = next((info[name] for name in ("etag", "ETag", "mtime", "modified", "created") if info.get(name)), "")
        etag = hashlib.sha256(f"{info['size']} {changed}".encode()).hexdigest()[:16]
        return Version(version_id=None, size=int(info["size"]), created=_changed_at(info), etag=etag)

    def _changed(self, key: str) -> IntegrityError:
        return IntegrityError(f"{key} in {self.address} was changed while it was read", hint="Read it again.")

    # writing

    def _claim(
        self,
        host: Host,
        key: str,
        folders: list[_Folder],
        source: Source,
        metadata: Mapping[str, str],
        *,
        first: bool,
    ) -> _Folder | None:
        """Write a version after ``folders``; None if it is to be the ``first`` and there is one."""
        if first and folders:
            return None
        number = _next(folders)
        if not host.renames:
            folder = _Folder(number, f"{source.sha256[:12]}-{secrets.token_hex(4)}")
            self._write(host, _path(host, _VERSIONS, key, folder.name), key, source, metadata)
            return folder
        unfinished = _path(host, _VERSIONS, f"{TEMPORARY}{secrets.token_hex(8)}")
        made = f"{unfinished}/{_Folder(1).name}"
        self._write(host, made, key, source, metadata)
        try:
            while True:
                # the first one brings the key's folder along, so that no key is seen without a version
                if number == 1 and host.rename(unfinished, _path(host, _VERSIONS, key)):
                    return _Folder(1)
                if host.rename(made, _path(host, _VERSIONS, key, _Folder(number).name)):
                    return _Folder(number)
                if first:
                    return None
                number = _next(self._folders(host, key))
        finally:
            host.remove(unfinished)

    def _write(self, host: Host, folder: str, key: str, source: Source, metadata: Mapping[str, str]) -> None:
        """Write a version's files, its record last; after an error, remove them."""
        try:
            host.make_folder(folder)
            data = f"{folder}/{_data_name(key)}"
            host.write(data, source.blocks())
            info = host.info(data)
            if info is None or info["size"] != source.size:
                arrived = "nothing" if info is None else f"{info['size']} bytes"
                raise IntegrityError(
                    f"{key} did not arrive whole in {self.address}: expected {source.size} bytes, got {arrived}; "
                    "nothing was stored"
                )
            record = json.dumps({**metadata, "created": datetime.now(UTC).isoformat()}, indent=1).encode()
            host.write(f"{folder}/{_RECORD}", [record])
        except BaseException:
            host.remove(folder if not host.renames else folder.rpartition("/")[0])
            raise

    def _sweep(self, host: Host) -> None:
        """Remove what crashes left unfinished more than a day ago, where folders are claimed by renaming."""
        with contextlib.suppress(OSError):
            for name, entry in host.entries(_path(host, _VERSIONS)).items() if host.renames else ():
                changed = _changed_at(entry)
                if name.startswith(TEMPORARY) and changed and datetime.now(UTC) - changed > _STALE:
                    host.remove(_path(host, _VERSIONS, name))
        self._swept = True

    def _adopt_plain_file(self, host: Host, key: str) -> bool:
        """Make a file put there by hand the first version, so that nothing replaces it later; False without one."""
        plain = self._plain_file(host, key)
        if plain is None:
            return False
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch, "plain")
            with copy.open("wb") as file:
                for block in host.read(_path(host, key), 0, plain.size or 0):
                    file.write(block)
            source = Source.of(copy)
            self._claim(host, key, [], source, {"sha1": source.sha1, "sha256": source.sha256}, first=True)
        return True


def _next(folders: list[_Folder]) -> int:
    return folders[0].number + 1 if folders else 1


def _path(host: Host, *names: str) -> str:
    return "/".join((host.root, *names))


def _data_name(key: str) -> str:
    return f"data{PurePosixPath(key).suffix}"


def _data(host: Host, key: str, folder: _Folder) -> str:
    return _path(host, _VERSIONS, key, folder.name, _data_name(key))


def _sha256(host: Host, path: str, info: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for block in host.read(path, 0, int(info["size"])):
        digest.update(block)
    return digest.hexdigest()


def _version_id(folder: _Folder, sha256: str) -> str:
    return f"{folder.number}-{folder.unique or sha256[:12]}"


def _record(host: Host, path: str) -> dict[str, Any]:
    try:
        record = json.loads(host.beginning(path, _LONGEST_RECORD))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _changed_at(info: Mapping[str, Any]) -> datetime | None:
    moments = (info.get(name) for name in ("mtime", "modified", "updated", "LastModified", "last_modified", "created"))
    with contextlib.suppress(ValueError, OverflowError, OSError):  # a number that is not a date
        for moment in moments:
            if isinstance(moment, datetime):
                return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            if isinstance(moment, int | float):
                return datetime.fromtimestamp(moment, UTC)
            if isinstance(moment, str):
                return _date(moment)
    return None


def _date(text: object) -> datetime | None:
    try:
        date = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
