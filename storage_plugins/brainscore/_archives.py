"""Unpack downloaded ZIP archives safely: inside one folder, at most so large, completely or not at all, and once."""

from __future__ import annotations

import functools
import shutil
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO

from .._copies.cache import Cache
from ..errors import EncodingError, QuotaExceeded, StorageError

_KIND = "unpacked"  # the folder of the cache
_MOST = 1 << 30  # bytes that any archive may unpack to
_MOST_TIMES = 100  # beyond that, how many times its own size; images, sounds and videos are compressed already
_BLOCK = 1 << 20


def unpacked(archive: Path) -> tuple[Path, set[str]]:
    """Return the folder with the unpacked files of a verified archive, and their names in it.

    It is in the user's own cache. It is created at the first use, and again if any of its files is missing.

    Raises:
        EncodingError: the file is not a ZIP archive, or has a password, a name outside the folder, a link, or much more
            data than its size suggests. Nothing was unpacked.
        QuotaExceeded: there is not enough free space on the disk.
    """
    cache = Cache.from_environment()
    try:
        with zipfile.ZipFile(archive) as opened:
            sizes = _checked(opened, archive)
            folder = cache.made_once(
                cache.verify(archive),
                _KIND,
                functools.partial(_is_whole, sizes=sizes),
                functools.partial(_extract, opened, sizes),
            )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, StorageError):
            raise
        raise EncodingError(f"{archive.name} cannot be unpacked as a ZIP archive: {error}") from error
    return folder, set(sizes)


def _checked(opened: zipfile.ZipFile, archive: Path) -> dict[str, int]:
    """Return the size of each file in an archive, after checking that all names are safe."""
    sizes: dict[str, int] = {}
    for entry in opened.infolist():
        name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
        parts = name.removesuffix("/").split("/")
        reason = None
        if Path(name).is_absolute() or Path(name).drive or {"", ".", ".."}.intersection(parts):
            reason = "would be outside the folder"
        elif "\\" in name or "\0" in name:
            reason = "is not the same name on every system"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            reason = "is a link or a device"
        elif name in sizes:
            reason = "is in it more than once"
        if reason:
            raise EncodingError(f"{archive.name} was not unpacked: {name!r} {reason}")
        if not entry.is_dir():
            sizes[name] = entry.file_size
    total, packed = sum(sizes.values()), archive.stat().st_size
    if total > max(_MOST, _MOST_TIMES * packed):
        raise EncodingError(
            f"{archive.name} was not unpacked: its {packed} bytes would become {total}",
            hint="If this is intended, split it into several archives, or use less compression.",
        )
    return sizes


def _is_whole(folder: Path, *, sizes: dict[str, int]) -> bool:
    try:
        return all((folder / name).stat().st_size == size for name, size in sizes.items()) and folder.is_dir()
    except OSError:
        return False


def _extract(opened: zipfile.ZipFile, sizes: dict[str, int], folder: Path) -> None:
    """Write the files of an archive; zipfile checks their sizes and checksums."""
    total, free = sum(sizes.values()), shutil.disk_usage(folder).free
    if total > free:
        raise QuotaExceeded(
            f"Not enough free space to unpack {Path(str(opened.filename)).name}: {total} bytes needed, {free} free",
            hint="Delete files there, or set STORAGE_PLUGINS_CACHE to a folder on another disk.",
        )
    for name in sizes:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(name) as source, target.open("xb") as file:
            while block := _read(source, name):
                file.write(block)


def _read(source: IO[bytes], name: str) -> bytes:
    """Return the next bytes of an entry. Decompressors have errors of their own, and lzma's may want 4 GB at once."""
    try:
        return source.read(_BLOCK)
    except Exception as error:
        if getattr(error, "errno", None) is not None:  # the computer's
            raise
        raise zipfile.BadZipFile(f"{name!r} is damaged ({str(error) or 'it needs too much memory'})") from error
