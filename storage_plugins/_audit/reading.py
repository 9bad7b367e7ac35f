"""Reading every byte of versions, and remembering what an interrupted run has read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .._backend.host import Nowhere
from .._records import Digests
from ..protocol import Version

if TYPE_CHECKING:
    from .._store.file_store import FileStore

_LASTS = 7 * 24 * 3600.0  # seconds for which an interrupted run is continued
Place = tuple[str, str | None]  # key and version id


class Stopped(Exception):
    """The verification was told to end."""


class Reader:
    """Reads versions of one store, each at most once in a run that is interrupted and run again.

    Args:
        store: the store.
        scope: what else the run is about; only the same run is continued.
        stop: ends the reading, at the next block of bytes, when it is set.

    Attributes:
        bytes_read: bytes that were read.
        resumed: versions that an interrupted run had read.
    """

    def __init__(self, store: FileStore, scope: Iterable[str], stop: threading.Event) -> None:
        self.bytes_read = self.resumed = 0
        self._store, self._stop, self._lock = store, stop, threading.Lock()
        name = hashlib.sha256(json.dumps([store.address, *scope]).encode()).hexdigest()
        self._path: Path | None = None
        with contextlib.suppress(OSError):  # without it, an interrupted run begins anew
            self._path = store.cache.private_folder("verify") / name
        self._done = self._remembered()

    def read(self, place: Place, version: Version) -> tuple[Digests, str | None]:
        """Return what the bytes of a version are, and how they differ from what the host says of them.

        Raises:
            StorageError: they cannot be read.
        """
        about = self._name(place, version)
        with self._lock:
            known = self._done.get(about)
            if known is not None:
                self.resumed += 1
                return known, None
        with self._store.explained():
            got = self._store.host.download(*place, Nowhere(), progress=self._report(place[0]))
        assert got.digests is not None  # noqa: S101  all bytes were wanted
        with self._lock:
            self.bytes_read += got.digests.size
            if got.contradiction is None:
                self._remember(about, got.digests)
        return got.digests, got.contradiction

    def finish(self) -> None:
        """Forget what was remembered: the run is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _report(self, key: str) -> Callable[[int, int | None], None]:
        report = self._store.progress

        def progress(done: int, size: int | None) -> None:
            if self._stop.is_set():
                raise Stopped
            if report is not None:
                report(f"{key} in {self._store.name}", done, size)

        return progress

    def _name(self, place: Place, version: Version) -> str:
        """Return a name for a version as the host describes it now."""
        created = version.created.isoformat() if version.created else None
        told = [*place, version.size, created, version.etag, version.sha256]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def _remembered(self) -> dict[str, Digests]:
        done: dict[str, Digests] = {}
        if self._path is None:
            return done
        with contextlib.suppress(OSError):
            for line in self._path.read_bytes().splitlines():
                with contextlib.suppress(ValueError, TypeError):  # the last line of a run that was killed
                    at, about, sha1, sha256, size = json.loads(line)
                    if time.time() - at < _LASTS:
                        done[about] = Digests(sha1, sha256, size)
        return done

    def _remember(self, about: str, digests: Digests) -> None:
        line = json.dumps([time.time(), about, digests.sha1, digests.sha256, digests.size])
        if self._path is not None:
            with contextlib.suppress(OSError), self._path.open("a") as file:
                file.write(f"{line}\n")
