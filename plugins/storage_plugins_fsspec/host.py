"""One connection to a filesystem of fsspec, used by one thread at a time, and the pool that they come from."""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from storage_plugins import ConfigError, StorageError, StoreUnavailable

from .errors import translated
from .settings import WEBDAV, parse

if TYPE_CHECKING:
    from .settings import FsspecSettings

_PIECE = 4 << 20  # bytes of one ranged read: one request each on web filesystems
_IDLE = 4  # connections that are kept for later
_FOLDERS_AT_THE_TOP = ("dav", "ftp", "memory", "sftp", "smb", "webdav")  # others have buckets there, or projects


class Host:
    """What is asked of a filesystem, in calls that every one of them has.

    Attributes:
        root: the store's folder, as the filesystem writes it.
        renames: whether `rename` gives a folder a free name at once, or not at all.
    """

    renames = False

    def __init__(self, settings: FsspecSettings) -> None:
        import fsspec

        place = parse(settings.url)
        options = settings.told()
        if place.protocol in WEBDAV and "password" in options:
            options["auth"] = (options.pop("username", ""), options.pop("password"))
        self.fs, root = fsspec.url_to_fs(settings.url.rstrip("/"), **options, skip_instance_cache=True)
        self.root = root.rstrip("/")
        self._protocol = place.protocol

    def entries(self, folder: str) -> dict[str, dict[str, Any]]:
        """Return what lies in a folder, by name; nothing where there is no such folder."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        parts = ((entry["name"].rstrip("/").rpartition("/"), entry) for entry in found)
        return {name: entry for (parent, _, name), entry in parts if parent.strip("/") == folder.strip("/")}

    def below(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder, from it on."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.find(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        start = len(folder.strip("/")) + 1
        return [path.strip("/")[start:] for path in found]

    def info(self, path: str) -> dict[str, Any] | None:
        """Return what is known of a file, None if there is none."""
        self.fs.invalidate_cache()
        try:
            info: dict[str, Any] = self.fs.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return info if info["type"] == "file" else None

    def is_folder(self, path: str) -> bool:
        """Whether there is such a folder."""
        self.fs.invalidate_cache()
        return bool(self.fs.isdir(path))

    def beginning(self, path: str, size: int) -> bytes:
        """Return a small file, or its first bytes."""
        data: bytes = self.fs.cat_file(path, start=0, end=size)
        return data

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a range of a file."""
        while start < stop and (piece := self.fs.cat_file(path, start=start, end=min(start + _PIECE, stop))):
            start += len(piece)
            yield piece

    def write(self, path: str, blocks: Iterable[bytes]) -> None:
        """Write a new file; what of it is there after an error is the caller's to remove."""
        with self.fs.open(path, "wb") as file:
            for block in blocks:
                file.write(block)

    def make_folder(self, path: str) -> None:
        """Make a folder and those that it is in; no bucket, or whatever a filesystem may have at its top."""
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
            if not self.is_folder(path):  # else somebody else made it meanwhile
                raise

    def remove(self, folder: str) -> None:
        """Remove a folder that is nobody's version, if that can be done."""
        with contextlib.suppress(Exception):
            self.fs.rm(folder, recursive=True)

    def discard(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(path, recursive=True)

    def rename(self, folder: str, target: str) -> bool:
        """Rename a folder where `renames`; False if ``target`` is taken."""
        raise NotImplementedError

    def alive(self) -> bool:
        """Whether the connection stands, as far as can be told from here."""
        return True

    def close(self) -> None:
        """End the connection, where the filesystem keeps one open: of those on the web, WebDAV's."""
        http = getattr(getattr(self.fs, "client", None), "http", None)
        if http is not None:
            with contextlib.suppress(Exception):
                http.close()


class Hosts:
    """Connections to one place, made when needed, and never carried into a forked process."""

    def __init__(self, settings: FsspecSettings) -> None:
        self._settings = settings
        self._pools: dict[int, _Pool] = {}

    @contextlib.contextmanager
    def lease(self, doing: str) -> Iterator[Host]:
        """Lend a connection to the block, and turn what is raised in it into this project's errors.

        ``doing`` completes the sentence "Cannot …". A connection that failed, or was left in the middle
        of something, is not used again.
        """
        pool = self._pools.setdefault(os.getpid(), _Pool())
        host = None
        whole = False
        try:
            host = pool.take(self._settings)
            yield host
            whole = True
        except StorageError as error:
            whole = not isinstance(error, StoreUnavailable)
            raise
        except Exception as error:
            told = translated(error, doing, self._settings, made=host is not None, alive=not host or host.alive())
            whole = not isinstance(told, StoreUnavailable)
            raise told from error
        finally:
            if host is not None:
                pool.give_back(host, whole)


class _Pool:
    """The connections of one process."""

    def __init__(self) -> None:
        self._idle: collections.deque[Host] = collections.deque()
        self._connecting = threading.Lock()  # one after the other: servers drop those who knock too often
        weakref.finalize(self, _close_all, self._idle, os.getpid())

    def take(self, settings: FsspecSettings) -> Host:
        with contextlib.suppress(IndexError):
            while True:
                host = self._idle.pop()
                if host.alive():
                    return host
                host.close()
        with self._connecting:
            return _connect(settings)

    def give_back(self, host: Host, whole: bool) -> None:
        if whole and len(self._idle) < _IDLE:
            self._idle.append(host)
        else:
            host.close()


def _connect(settings: FsspecSettings) -> Host:
    if parse(settings.url).protocol == "sftp":
        from .sftp import SftpHost

        return SftpHost(settings)
    return Host(settings)


def _close_all(idle: collections.deque[Host], process: int) -> None:
    if os.getpid() == process:
        for host in idle:
            host.close()
