"""Looking after the cache: what it holds, whether that is undamaged, and making it smaller.

A cache folder holds ``<folder>/<sha256>/``, one folder for each cached content: a verified file, or what was unpacked
from it. Only such folders are ever removed, and only from folders that the cache writes to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .._backend.operations import Source
from ..atomic import TEMPORARY, disk_errors
from . import unfinished
from .cache import Cache

_SHA256 = re.compile(r"[0-9a-f]{64}")
_IN_USE = timedelta(days=1)  # file systems note a read within this time at the latest ("relatime")


@dataclasses.dataclass(frozen=True)
class CacheEntry:
    """One cached content.

    Attributes:
        path: its folder.
        names: of the files in it.
        sha256: of the file, or of the file that this was unpacked from.
        size: bytes of all its files.
        used: when it was written or read last, as far as the file system notes that.
        is_file: False for what was unpacked from a file.
    """

    path: Path
    names: tuple[str, ...]
    sha256: str
    size: int
    used: datetime
    is_file: bool


def entries(cache: Cache) -> list[CacheEntry]:
    """Return what the cache holds in the folders that it writes to, used last first."""
    found = [
        entry
        for root in cache.written_to()
        for folder in _folders(root)
        if _SHA256.fullmatch(folder.name)
        and folder.is_dir()
        and not (folder.is_symlink() or folder.parent.is_symlink())
        for entry in _entry(folder)
    ]
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def _folders(root: Path) -> Iterator[Path]:
    """Yield what the folders of a cache contain, passing over those that disappear meanwhile."""
    for folder in root.glob("*"):
        if not folder.name.startswith(TEMPORARY):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                yield from list(folder.iterdir())


def damaged(cache: Cache) -> Iterator[CacheEntry]:
    """Read every cached file; yield each whose bytes have another hash than it is cached under."""
    for entry in entries(cache):
        if not entry.is_file:
            continue
        for name in entry.names:
            with disk_errors(f"read {entry.path / name}"), contextlib.suppress(FileNotFoundError):
                if Source.of(entry.path / name).sha256 != entry.sha256:
                    yield entry
                    break


def prune(cache: Cache, *, max_size: int | None = None, max_age: timedelta | None = None) -> list[CacheEntry]:
    """Remove what was used least recently; return it.

    Args:
        cache: the cache.
        max_size: bytes that may stay.
        max_age: how long ago the last use of what stays may be.

    What was used within the last day stays, as it may be in use.
    """
    now, found = datetime.now(UTC), entries(cache)
    left = sum(entry.size for entry in found)
    unwanted = []
    for entry in reversed(found):
        unused = now - entry.used
        too_much = max_size is not None and left > max_size
        too_old = max_age is not None and unused > max_age
        if unused > _IN_USE and (too_much or too_old):
            unwanted.append(entry)
            left -= entry.size
    return _remove(cache, unwanted)


def clear(cache: Cache) -> list[CacheEntry]:
    """Remove everything that is cached, and what interrupted downloads left; return the former."""
    for folder in cache.written_to():
        unfinished.remove(folder)
    return _remove(cache, entries(cache))


def drop(cache: Cache, sha256: str, name: str) -> None:
    """Remove one file, and what was unpacked from it. The same bytes under another name stay."""
    found = [entry for entry in entries(cache) if entry.sha256 == sha256]
    files = [entry for entry in found if entry.is_file]
    if not any(name in entry.names for entry in files):
        return
    if all(entry.names == (name,) for entry in files):
        _remove(cache, found)
        return
    for entry in files:
        with disk_errors(f"remove {entry.path / name}"):
            (entry.path / name).unlink(missing_ok=True)
    _forget(cache)


def _entry(folder: Path) -> Iterator[CacheEntry]:
    """Yield the entry of a folder, unless it disappears meanwhile or is empty."""
    with contextlib.suppress(FileNotFoundError):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(TEMPORARY)]
        states = [path.stat() for path in files]
        if files:
            used = max(max(state.st_atime, state.st_mtime) for state in states)
            yield CacheEntry(
                path=folder,
                names=tuple(sorted(str(path.relative_to(folder)) for path in files)),
                sha256=folder.name,
                size=sum(state.st_size for state in states),
                used=datetime.fromtimestamp(used, UTC),
                is_file=folder.parent.name == folder.name[:2],
            )


def _remove(cache: Cache, unwanted: Iterable[CacheEntry]) -> list[CacheEntry]:
    removed = []
    for entry in unwanted:
        with disk_errors(f"remove {entry.path}"), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(entry.path)
            removed.append(entry)
        with contextlib.suppress(OSError):
            entry.path.parent.rmdir()  # where it is empty now
    _forget(cache)
    return removed


def _forget(cache: Cache) -> None:
    """Remove the notes about files that are not there any more."""
    for root in cache.written_to():
        left = {path.name for path in root.glob("??/*")}
        for note in root.glob("sha1/*/*"):
            with contextlib.suppress(OSError, ValueError):
                if note.read_text("ascii").strip() not in left:
                    note.unlink()
        for note in root.glob("verified/*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if not Path(json.loads(note.read_bytes())["path"]).exists():
                    note.unlink()
