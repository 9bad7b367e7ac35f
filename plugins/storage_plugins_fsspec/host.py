"""One connection to a filesystem of fsspec, used by one thread at a time. What it returns is checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from storage_plugins import ConfigError, StoreUnavailable

from .settings import WEBDAV, parse

if TYPE_CHECKING:
    from .settings import FsspecSettings

_PIECE = 4 << 20  # bytes of one ranged read: one request each on web filesystems
_FOLDERS_AT_THE_TOP = ("dav", "ftp", "memory", "sftp", "smb", "webdav")  # others have buckets there, or projects


class Host:
    """The calls that every filesystem of fsspec has.

    Attributes:
        root: the store's folder, as the filesystem writes it.
        renames: whether `rename` gives a folder a free name atomically.
    """

    renames = False

    def __init__(self, settings: FsspecSettings) -> None:
        import fsspec

        place = parse(settings.url)
        options = settings.given()
        if place.protocol in WEBDAV and "password" in options:
            options["auth"] = (options.pop("username", ""), options.pop("password"))
        self.fs, root = fsspec.url_to_fs(settings.url.rstrip("/"), **options, skip_instance_cache=True)
        self.root = root.rstrip("/")
        self.address = settings.address
        self._protocol = place.protocol

    def entries(self, folder: str) -> dict[str, dict[str, Any]]:
        """Return the entries of a folder by name; nothing if there is no such folder."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        if not isinstance(found, list):
            raise self._wrong("a listing", found)
        entries = {}
        for entry in found:
            path = str(self._checked(entry).get("name", "")).strip("/")
            parent, _, name = path.rpartition("/")
            if parent == folder.strip("/"):
                entries[name] = entry
            elif path != folder.strip("/"):  # some list the folder itself
                raise self._wrong(f"a listing of {folder}", entry.get("name"))
        return entries

    def below(self, folder: str) -> dict[str, dict[str, Any]]:
        """Return all files below a folder, by their path relative to it."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.find(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        start = folder.strip("/") + "/"
        if not isinstance(found, dict) or not all(isinstance(path, str) for path in found):
            raise self._wrong("a listing", found)
        files = {path.strip("/"): self._checked(entry) for path, entry in found.items()}
        if strangers := [path for path in files if not path.startswith(start)]:
            raise self._wrong(f"a listing of {folder}", strangers[0])
        return {path.removeprefix(start): entry for path, entry in files.items()}

    def info(self, path: str) -> dict[str, Any] | None:
        """Return what is known of a file, None if there is none."""
        self.fs.invalidate_cache()
        try:
            info = self._checked(self.fs.info(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        if info["type"] != "file":
            return None
        if not isinstance(info.get("size"), int) or info["size"] < 0:
            raise self._wrong(f"the size of {path}", info.get("size"))
        return info

    def is_folder(self, path: str) -> bool:
        """Whether there is such a folder."""
        self.fs.invalidate_cache()
        return bool(self.fs.isdir(path))

    def beginning(self, path: str, size: int) -> bytes:
        """Return a small file, or its first bytes."""
        return self._range(path, 0, size)

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a range of a file."""
        while start < stop and (piece := self._range(path, start, min(start + _PIECE, stop))):
            start += len(piece)
            yield piece

    def write(self, path: str, blocks: Iterable[bytes]) -> None:
        """Write a new file. After an error, the caller removes what is there of it."""
        with self.fs.open(path, "wb") as file:
            for block in blocks:
                file.write(block)

    def make_folder(self, path: str) -> None:
        """Make a folder and its missing parents, but no bucket, or whatever a filesystem has at its top."""
        if self.is_folder(path):
            return
        parent = path.rpartition("/")[0]
        if parent.strip("/"):
            self.make_folder(parent)
        elif self._protocol not in _FOLDERS_AT_THE_TOP:
            raise ConfigError(f"There is no {path} at {self._protocol}://", hint="Make it first, or check url:.")
        try:
            self.fs.mkdir(path, create_parents=False)
        except Exception:
            if not self.is_folder(path):  # else another process made it meanwhile
                raise

    def remove(self, folder: str) -> None:
        """Remove a folder that is not a version, if possible."""
        with contextlib.suppress(Exception):
            self.fs.rm(folder, recursive=True)

    def discard(self, path: str) -> None:
        """Remove a file, or a folder with its content, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(path, recursive=True)

    def remove_empty(self, folder: str) -> None:
        """Remove a folder if it is empty, on hosts with `renames`: elsewhere an empty folder is not listed."""

    def rename(self, folder: str, target: str) -> bool:
        """Rename a folder, on hosts with `renames`; False if ``target`` is taken."""
        raise NotImplementedError

    def alive(self) -> bool:
        """Whether the connection is open, as far as is known here."""
        return True

    def close(self) -> None:
        """Close the connection, if the filesystem has one: of the web's, WebDAV."""
        http = getattr(getattr(self.fs, "client", None), "http", None)
        if http is not None:
            with contextlib.suppress(Exception):
                http.close()

    def _range(self, path: str, start: int, stop: int) -> bytes:
        data = self.fs.cat_file(path, start=start, end=stop)
        if not isinstance(data, bytes) or len(data) > stop - start:
            raise self._wrong(f"bytes {start} to {stop} of {path}", f"{len(data)} bytes" if data else data)
        return data

    def _checked(self, entry: Any) -> dict[str, Any]:
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise self._wrong("a description of a file or folder", entry)
        return entry

    def _wrong(self, expected: str, got: object) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.address} returned {str(got)[:100]!r} instead of {expected}",
            hint="Check url: in storage.yaml, and whether that server is what answers there.",
        )
