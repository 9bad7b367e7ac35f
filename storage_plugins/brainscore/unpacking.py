"""ZIP archives from elsewhere, unpacked: nothing outside the folder, no surprise in size, once, whole or not at all."""

from __future__ import annotations

import functools
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from .._copies.cache import Cache
from ..errors import EncodingError, QuotaExceeded, StorageError

_KIND = "unpacked"  # the folder of the cache
_MOST = 1 << 30  # bytes that any archive may hold, and
_MOST_TIMES = 100  # how many times its own size a larger one may; stimuli are images, sounds and videos, packed already
_BLOCK = 1 << 20


def unpacked(archive: Path) -> tuple[Path, set[str]]:
    """Return the folder that holds a verified archive's files, and their names in it.

    It is in the user's own cache, made at the first use, and made again if files of it are gone.

    Raises:
        EncodingError: no ZIP archive, or one with a password, a name that leaves the folder, a link, or far more in it
            than its size lets expect. Nothing was kept.
        QuotaExceeded: the disk has no room for it.
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
        raise EncodingError(f"{archive.name} is no ZIP archive that can be unpacked: {error}") from error
    return folder, set(sizes)


def _checked(opened: zipfile.ZipFile, archive: Path) -> dict[str, int]:
    """Return the size of each file in an archive, all of whose names are safe."""
    sizes: dict[str, int] = {}
    for entry in opened.infolist():
        name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
        parts = name.removesuffix("/").split("/")
        reason = None
        if Path(name).is_absolute() or Path(name).drive or {"", ".", ".."}.intersection(parts):
            reason = "leaves the folder it is unpacked to"
        elif "\\" in name or "\0" in name:
            reason = "is not written the same way on every system"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            reason = "is a link or a device"
        elif name in sizes:
            reason = "stands twice"
        if reason:
            raise EncodingError(f"{archive.name} is not unpacked: {name!r} {reason}")
        if not entry.is_dir():
            sizes[name] = entry.file_size
    total, packed = sum(sizes.values()), archive.stat().st_size
    if total > max(_MOST, _MOST_TIMES * packed):
        raise EncodingError(
            f"{archive.name} is not unpacked: its {packed} bytes would become {total}",
            hint="If it is meant to, pack its files in several archives, or less tightly.",
        )
    return sizes


def _is_whole(folder: Path, *, sizes: dict[str, int]) -> bool:
    try:
        return all((folder / name).stat().st_size == size for name, size in sizes.items()) and folder.is_dir()
    except OSError:
        return False


def _extract(opened: zipfile.ZipFile, sizes: dict[str, int], folder: Path) -> None:
    """Write the files of an archive, each of the size it says and with the right checksum."""
    total, free = sum(sizes.values()), shutil.disk_usage(folder).free
    if total > free:
        raise QuotaExceeded(
            f"No space left to unpack {Path(str(opened.filename)).name}: {total} bytes, and {free} are free",
            hint="Free some space there, or name another cache folder in STORAGE_PLUGINS_CACHE.",
        )
    for name in sizes:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(name) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file, _BLOCK)
