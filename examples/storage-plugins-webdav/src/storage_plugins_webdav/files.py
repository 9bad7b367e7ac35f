"""Each version is a folder, written under a temporary name and then moved to a unique name.

::

    .versions/<key>/000003-<first 12 of sha256>-<random>/{data.nc, record.json}

Two uploads must not compete for a name, because ``Overwrite: F`` does not protect them on every server: Nextcloud
checks the name, and later removes a folder that appeared in the meantime. A writer that has seen version 3 therefore
uses number 4 or higher, and the random part makes the name unique. A file ``<key>`` from another program is read as the
oldest version while it is unchanged.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from storage_plugins import (
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    Content,
    FileOperations,
    IntegrityError,
    Source,
    StorageError,
    StoreUnavailable,
    Version,
)
from storage_plugins.atomic import TEMPORARY

from .server import Server

if TYPE_CHECKING:
    import httpx

    from .settings import WebDAVSettings

_VERSIONS = ".versions"
_RECORD = "record.json"
_VERSION = re.compile("([0-9]{6,18})-[0-9a-f]{12}-[0-9a-f]{8}")
_BY_HAND = re.compile("0-[0-9a-f]{12}")
_AT_ONCE = 8  # records that are requested at the same time
_WAITS = (0.1, 0.3, 1.0)  # seconds


class WebDAVFiles(FileOperations):
    """The files of one folder on a WebDAV server."""

    def __init__(self, settings: WebDAVSettings) -> None:
        self._settings = settings
        self._server = Server(settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._settings,)

    @property
    def address(self) -> str:
        """The folder's URL."""
        return self._settings.address

    def keeps_versions(self) -> bool:
        """Return True: each upload has its own folder."""
        return True

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str:
        """Make the next version."""
        folders = self._folders(key)
        if if_absent and (folders or self._by_hand(key)):
            raise AlreadyExists(f"{key} already exists in {self.address}")
        number = _number(folders[0]) + 1 if folders else 1
        version_id = f"{number:06d}-{source.sha256[:12]}-{secrets.token_hex(4)}"
        unfinished = _VERSIONS, f"{TEMPORARY}{secrets.token_hex(8)}"
        self._make_own(*unfinished)
        try:
            self._fill(unfinished, key, source, metadata)
            if not folders:
                self._make_shared(_VERSIONS, key)
        except BaseException:
            with contextlib.suppress(StorageError):
                self._server.send("DELETE", *unfinished, "")
            raise
        # without a response the move may be done or still running, so nothing is deleted
        target = {"Destination": self._server.url(_VERSIONS, key, version_id, ""), "Overwrite": "F"}
        self._server.send("MOVE", *unfinished, "", headers=target)
        return version_id

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Read a version. With its ID this is one request, because versions never change."""
        version = Version(version_id=version_id) if version_id else self.newest(key)
        name = (version and version.version_id) or ""
        by_hand = _BY_HAND.fullmatch(name)
        missing = AssemblyNotFound(f"There is no {key} {version_id or ''} in {self.address}")
        if version is None or not (by_hand or _VERSION.fullmatch(name)):
            raise missing
        path = (key,) if by_hand else (_VERSIONS, key, name, _data(key))
        part = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if start or stop is not None else {}
        answer = self._server.send("GET", *path, headers=part, stream=True)
        headers = answer.headers
        if (
            by_hand
            and answer.is_success
            and name != _id_by_hand(headers.get("ETag") or headers.get("Last-Modified", ""))
        ):
            answer.close()
            raise missing
        size = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
        blocks = self._blocks(answer, start, stop)
        next(blocks)  # started, so that closing the blocks always closes the response
        return Content(dataclasses.replace(version, size=int(size) if size.isdecimal() else None), blocks)

    def versions(self, key: str) -> list[Version]:
        """Return the versions, newest first."""
        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(lambda name: self._version(key, name), self._folders(key))
            return [version for version in [*found, self._by_hand(key)] if version]

    def newest(self, key: str) -> Version | None:
        """Return the newest version."""
        found = (self._version(key, name) for name in self._folders(key))
        return next(filter(None, found), None) or self._by_hand(key)

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return the names of all files with a version, and of those from other programs."""
        entries = self._server.listing("")
        names = {name for name, entry in entries.items() if not entry.is_folder}
        if _VERSIONS in entries:
            names |= self._server.listing(_VERSIONS, "").keys()
        return [name for name in names if name.startswith(prefix) and not name.startswith(".")]

    def discard(self, key: str) -> None:
        """Delete the folder of a key's versions, and a file from another program."""
        for path in ((_VERSIONS, key, ""), (key,)):
            with contextlib.suppress(AssemblyNotFound):
                self._server.send("DELETE", *path)

    def free_space(self) -> int | None:
        """Return the free space within the quota, in bytes."""
        return self._server.free_space()

    def _folders(self, key: str) -> list[str]:
        """Return the names of the folders of a key's versions, newest first."""
        return sorted(filter(_VERSION.fullmatch, self._server.listing(_VERSIONS, key, "")), key=_number, reverse=True)

    def _version(self, key: str, name: str) -> Version | None:
        """Return the recorded version, or None if the folder has no valid record."""
        try:
            record = json.loads(self._server.send("GET", _VERSIONS, key, name, _RECORD).content)
            created = datetime.fromisoformat(record["created"])
            return Version.described(record, version_id=name, size=int(record["size"]), created=created)
        except (AssemblyNotFound, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _by_hand(self, key: str) -> Version | None:
        entry = self._server.listing(key, depth=0).get(key)
        return None if not entry or entry.is_folder else Version(version_id=_id_by_hand(entry.tag), size=entry.size)

    def _blocks(self, answer: httpx.Response, start: int, stop: int | None) -> Iterator[bytes]:
        done = start if "Content-Range" in answer.headers else 0  # some servers ignore ranges
        with contextlib.closing(answer), self._server.talking():
            yield b""
            for block in answer.iter_raw() if answer.is_success else ():
                yield block[max(0, start - done) : None if stop is None else max(0, stop - done)]
                done += len(block)

    def _make_own(self, *folder: str) -> None:
        """Create a folder with a unique name and, the first time, its parents."""
        try:
            self._server.send("MKCOL", *folder, "")
        except ConfigError:
            self._make_shared()
            self._make_shared(*folder[:-1])
            self._server.send("MKCOL", *folder, "")

    def _make_shared(self, *folder: str) -> None:
        """Create a folder unless it exists. Others may create it at the same time, and some servers then lock it."""
        for wait in (*_WAITS, None):
            try:
                self._server.send("MKCOL", *folder, "")
            except StorageError as error:
                if self._server.listing(*folder, "", depth=0):
                    return
                if wait is None or not isinstance(error, StoreUnavailable):
                    raise
                time.sleep(wait)
            else:
                return

    def _fill(self, folder: tuple[str, str], key: str, source: Source, metadata: Mapping[str, str]) -> None:
        """Send the file and the record of a version, and check that the whole file arrived."""
        data = _data(key)
        size = {"Content-Length": str(source.size)}  # without it the body is chunked, which some servers refuse
        self._server.send("PUT", *folder, data, headers=size, content=source.blocks())
        record = json.dumps({**metadata, "created": datetime.now(UTC).isoformat()}, indent=1)
        self._server.send("PUT", *folder, _RECORD, content=record.encode())
        arrived = self._server.listing(*folder, "").get(data)
        if arrived is None or arrived.size not in (source.size, None):
            raise IntegrityError(f"{key} arrived incomplete in {self.address}, so it was not stored")


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def _data(key: str) -> str:
    return f"data{PurePosixPath(key).suffix}"


def _id_by_hand(tag: str) -> str:
    bare = tag.removeprefix("W/").strip('"')  # some servers write the quotes only in some responses
    return f"0-{hashlib.sha256(bare.encode()).hexdigest()[:12]}"
