"""Versions as numbered folders: ``root/.versions/<key>/000003/{data.nc, receipt.json}``.

A version is made in a temporary folder beside them and claimed by renaming that folder onto the next
free number. A rename onto a folder with files in it fails, so that number and content appear at once and
no two writers get the same number; no lock is taken.

``root/<key>`` is for people who look into the folder. It is written, and not read while there are versions. It
shares the version's bytes where that is safe: as a copy-on-write clone where the file system has them, else as a hard
link if this user cannot write to the version's file. Otherwise (root, and file systems without modes) it is a copy, as
`cp` over a hard link would destroy the version.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage_plugins import AlreadyExists, AssemblyNotFound, Content, FileOperations, Source, Version
from storage_plugins.atomic import (
    TEMPORARY,
    WRITTEN,
    disk_errors,
    open_regular,
    read_small,
    set_mode,
    sweep,
    sync_folder,
    temporary_name,
)

_BLOCK = 1 << 20
_VERSION_ID = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{12})")
_NUMBER = re.compile(r"[0-9]{6}|[1-9][0-9]{6,}")
_RECORD = "receipt.json"
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.ENOTDIR)  # EACCES: on Windows
_NO_RECORD = (  # missing, a link, a folder, a device, too large, or not for this user
    *(errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO, errno.EFBIG),
    *(errno.EACCES, errno.EPERM),
)
_CLONE = 0x40049409  # FICLONE of Linux: let a new file share another's blocks until either is changed


class LocalFiles(FileOperations):
    """The files below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  one address for one folder, without ".."

    @property
    def address(self) -> str:
        """The folder as a ``file:`` URI."""
        return self.root.as_uri()

    def keeps_versions(self) -> bool:
        """Each upload is a folder of its own, so always."""
        return True

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
        """Make the next version; its number and its content appear at once."""
        with disk_errors(f"store {key} in {self.root}"):
            versions = self._versions_folder(key)
            versions.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, versions.parent, versions):
                sweep(folder)
            self._adopt_plain_file(key)
            number = self._claim(key, source.blocks(WRITTEN), metadata, only=1 if if_absent else None)
            if number is None:
                raise AlreadyExists(f"{key} is in {self.root} already")
            self._show(key, number)
        return f"{number}-{source.sha256[:12]}"

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Read a version's file."""
        path, version, _ = self._find(key, version_id)

        def blocks() -> Iterator[bytes]:
            with disk_errors(f"read {key} in {self.root}"), open_regular(path, follow=True) as file:
                file.seek(start)
                left = (version.size or 0) - start if stop is None else stop - start
                while left > 0 and (block := file.read(min(_BLOCK, left))):
                    left -= len(block)
                    yield block

        return Content(version, blocks(), private=False)

    def local_file(self, key: str, version_id: str | None = None) -> tuple[Path, Version] | None:
        """Return a version's own file, which is never changed.

        None for a file put there by hand, which may be changed at any time, and in a folder whose name is not
        UTF-8, as HDF5 opens no file there.
        """
        path, version, plain = self._find(key, version_id)
        return None if plain or not _is_utf8(path) else (path, version)

    def _find(self, key: str, version_id: str | None) -> tuple[Path, Version, bool]:
        """Return a version's file, its description, and whether it is one put there by hand."""
        with disk_errors(f"look for {key} in {self.root}"):
            numbers = self._numbers(key)
            if version_id is None:
                if numbers:
                    return self._data(key, numbers[0]), self._version(key, numbers[0]), False
            elif (match := _VERSION_ID.fullmatch(version_id)) and (number := int(match[1])) in numbers:
                version = self._version(key, number)
                if version.version_id == version_id:
                    return self._data(key, number), version, False
            plain = None if numbers else self._plain_file(key)
            if plain is not None and version_id in (None, plain.version_id):
                return self.root / key, plain, True
        what = f"{key} has no version {version_id}" if version_id and numbers else f"There is no {key}"
        missing = "" if self.root.is_dir() else ": that folder does not exist"
        raise AssemblyNotFound(f"{what} in {self.root}{missing}")

    def versions(self, key: str) -> Iterable[Version]:
        """Return the versions, newest first; a plain file put there by hand is one version."""
        with disk_errors(f"look for {key} in {self.root}"):
            numbers = self._numbers(key)
            if numbers:
                found = []
                for number in numbers:
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        found.append(self._version(key, number))
                return found
            plain = self._plain_file(key)
            return [plain] if plain is not None else []

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return the names of all files with a version, and of those put there by hand."""
        with disk_errors(f"list {self.root}"):
            names = {path.name for path in _entries(self.root) if path.is_file()}
            names |= {path.name for path in _entries(self.root / ".versions") if self._has_version(path.name)}
        hidden = not prefix.startswith(".")
        return [name for name in names if name.startswith(prefix) and not (hidden and name.startswith("."))]

    def discard(self, key: str) -> None:
        """Remove a key's folder of versions, and what is shown of it; the folder vanishes from sight at once."""
        with disk_errors(f"remove {key} from {self.root}"):
            unwanted = temporary_name(self.root)
            with contextlib.suppress(FileNotFoundError):
                self._versions_folder(key).rename(unwanted)
            (self.root / key).unlink(missing_ok=True)
            if unwanted.exists():
                shutil.rmtree(unwanted)

    def removes(self) -> bool:
        """Each version is a folder of its own."""
        return True

    def remove(self, key: str, version_id: str | None) -> None:
        """Remove a version's folder, after what is shown of it; the folder vanishes from sight at once."""
        path, _, plain = self._find(key, version_id)
        with disk_errors(f"remove {key} from {self.root}"):
            numbers = self._numbers(key)
            left = [number for number in numbers if self._data(key, number) != path]
            if plain or not left or self._data(key, numbers[0]) == path:
                (self.root / key).unlink(missing_ok=True)  # else it would be read as a file put there by hand
            if plain:
                return
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile, as below
                if left:
                    self._show(key, left[0])
            unwanted = temporary_name(self.root)
            with contextlib.suppress(FileNotFoundError):
                path.parent.rename(unwanted)
                shutil.rmtree(unwanted)
            if left and not self._numbers(key):  # others removed what is shown
                (self.root / key).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._versions_folder(key).rmdir()  # where it is empty now

    def free_space(self) -> int:
        """Ask the filesystem that the folder is on, or will be."""
        folder = self.root
        while not folder.exists():
            folder = folder.parent
        with disk_errors(f"look at {folder}"):
            return shutil.disk_usage(folder).free

    def uri(self, key: str, version_id: str | None) -> str:
        """Return the ``file:`` URI of a version."""
        suffix = f"?versionId={version_id}" if version_id else ""
        return f"{(self.root / key).as_uri()}{suffix}"

    def _claim(
        self, key: str, blocks: Iterator[bytes], metadata: Mapping[str, str], *, only: int | None = None
    ) -> int | None:
        """Write a version and give it the next free number; None if ``only`` that one will do and it is taken."""
        versions = self._versions_folder(key)
        unfinished = temporary_name(versions.parent)
        unfinished.mkdir()
        try:
            created = datetime.now(UTC).isoformat()
            _write(unfinished / self._data_name(key), blocks)
            record = json.dumps({**metadata, "created": created}, indent=1).encode()
            _write(unfinished / _RECORD, iter([record]))
            sync_folder(unfinished)
            versions.mkdir(exist_ok=True)
            while True:
                number = only or self._next_number(key)
                if _renamed(unfinished, versions / f"{number:06d}"):
                    sync_folder(versions)
                    if number == 1:  # the key's own folder is new as well
                        sync_folder(versions.parent)
                        sync_folder(self.root)
                    return number
                if only is not None:
                    return None
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _next_number(self, key: str) -> int:
        taken = (path.name for path in _entries(self._versions_folder(key)) if _NUMBER.fullmatch(path.name))
        return max(map(int, taken), default=0) + 1

    def _adopt_plain_file(self, key: str) -> None:
        """Make a file put there by hand the first version, so that nothing later replaces it."""
        if self._numbers(key):
            return
        plain = self._plain_file(key)
        if plain is None or plain.digests is None:
            return
        source = Source(self.root / key, plain.digests)
        self._claim(key, source.blocks(WRITTEN), {"sha1": source.sha1, "sha256": source.sha256}, only=1)

    def _show(self, key: str, number: int) -> None:
        """Put the newest version's file at ``root/<key>``, for people who look into the folder."""
        shown = temporary_name(self.root)
        with contextlib.suppress(OSError):  # the version is stored; the next upload tries this again
            data = self._data(key, number)
            try:
                _clone_link_or_copy(data, shown)
                shown.replace(self.root / key)
            finally:
                shown.unlink(missing_ok=True)

    def _versions_folder(self, key: str) -> Path:
        return self.root / ".versions" / key

    def _numbers(self, key: str) -> list[int]:
        """Return the numbers of all versions, newest first; a folder without its data is not one."""
        names = (path.name for path in _entries(self._versions_folder(key)) if _NUMBER.fullmatch(path.name))
        return sorted((n for n in map(int, names) if self._data(key, n).is_file()), reverse=True)

    def _has_version(self, key: str) -> bool:
        """Whether a key has a version, or a folder that this user may not look into."""
        try:
            return bool(self._numbers(key))
        except PermissionError:
            return True

    @staticmethod
    def _data_name(key: str) -> str:
        return f"data{Path(key).suffix}"

    def _data(self, key: str, number: int) -> Path:
        return self._versions_folder(key) / f"{number:06d}" / self._data_name(key)

    def _version(self, key: str, number: int) -> Version:
        data = self._data(key, number)
        record = _record(data.parent / _RECORD)
        status = data.stat()
        if not record.get("sha256"):
            source = Source.of(data)
            record = {**record, "sha1": source.sha1, "sha256": source.sha256}
        return Version.described(
            record,
            version_id=f"{number}-{str(record['sha256'])[:12]}",
            size=status.st_size,
            created=_date(record.get("created")) or datetime.fromtimestamp(status.st_mtime, UTC),
        )

    def _plain_file(self, key: str) -> Version | None:
        """Return what a file put there by hand is, as the version it becomes at the first upload."""
        path = self.root / key
        if not path.is_file():
            return None
        source = Source.of(path)
        return Version(
            version_id=f"1-{source.sha256[:12]}",
            size=source.size,
            created=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            sha1=source.sha1,
            sha256=source.sha256,
        )


def _clone_link_or_copy(existing: Path, target: Path) -> None:
    """Make ``target`` a file with the same bytes, such that writing to it does not change ``existing``."""
    with existing.open("rb") as source, target.open("xb") as file:
        if _cloned(source.fileno(), file.fileno()):
            set_mode(file.fileno(), stat.S_IMODE(os.fstat(source.fileno()).st_mode))
            return
    if not os.access(existing, os.W_OK):
        target.unlink()
        try:
            os.link(existing, target)
        except OSError:
            target.touch(exist_ok=False)
        else:
            return
    with existing.open("rb") as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, WRITTEN)
        set_mode(file.fileno(), stat.S_IMODE(os.fstat(source.fileno()).st_mode))


def _cloned(source: int, target: int) -> bool:
    """Clone one open file into another, where the file system can."""
    try:
        import fcntl

        fcntl.ioctl(target, _CLONE, source)
    except (ImportError, OSError):
        return False
    return True


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # bytes of the name that are not UTF-8 are surrogates in Python
        return False
    return True


def _renamed(folder: Path, target: Path) -> bool:
    """Rename ``folder`` to ``target``; False if that is taken."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in _TAKEN and target.exists():
            return False
        raise
    return True


def _write(path: Path, blocks: Iterator[bytes]) -> None:
    """Write a durable file that is not changed any more: read-only, otherwise with the mode by the umask."""
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        set_mode(file.fileno(), os.fstat(file.fileno()).st_mode & 0o444)
        os.fsync(file.fileno())


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(TEMPORARY)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(read_small(path))
    except OSError as error:
        if error.errno not in _NO_RECORD:
            raise  # it may have one
        return {}  # a version without a record is still a version
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _date(text: object) -> datetime | None:
    try:
        date = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
