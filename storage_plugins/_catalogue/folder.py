"""The folder of a catalogue: what was written there before, and how files get there and are removed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..atomic import TEMPORARY, atomic_file, disk_errors, open_regular, sweep
from ..errors import AlreadyExists, StorageError

MANIFEST = "catalogue.json"
PAGES = "assemblies"
_FORMAT = 1
# what is removed may only be what a catalogue writes, whatever a manifest says
_OWN = re.compile(rf"{PAGES}/[A-Za-z0-9][A-Za-z0-9._+-]*\.(?:html|png)")
_MOST = 256 << 20  # bytes of a manifest


@dataclasses.dataclass
class Manifest:
    """What a catalogue consists of.

    Attributes:
        files: paths of pages and pictures, below the folder; also those that were about to be written.
        pages: of each key, what is needed to leave its page as it is: `state`, `files`, `row`, `entity`.
    """

    files: set[str] = dataclasses.field(default_factory=set)
    pages: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


class Folder:
    """The folder of a catalogue.

    Raises:
        AlreadyExists: it has files, and is not a catalogue's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(f"write a catalogue into {path}"):
            if path.exists() and not path.is_dir():
                raise AlreadyExists(f"{path} is a file", hint="Choose a folder.")
            path.mkdir(parents=True, exist_ok=True)
            others = [each.name for each in path.iterdir() if not each.name.startswith(TEMPORARY)]
            if others and MANIFEST not in others:
                raise AlreadyExists(
                    f"{path} has other files ({sorted(others)[0]}) and no {MANIFEST}. Nothing was written.",
                    hint="Choose a new or empty folder.",
                )
            self.before = self._read() if others else Manifest()
            if (path / PAGES).is_symlink():
                raise AlreadyExists(f"{path / PAGES} is a link. Nothing was written.", hint="Choose another folder.")
            (path / PAGES).mkdir(exist_ok=True)
            for folder in (path, path / PAGES):
                sweep(folder)

    def _read(self) -> Manifest:
        path = self.path / MANIFEST
        try:
            with open_regular(path) as file:
                values = json.loads(b"".join(iter(lambda: file.read(1 << 20), b""))[:_MOST])
            if not isinstance(values, dict) or values["format"] != _FORMAT:
                raise ValueError("of another format")
            pages = {
                str(key): page
                for key, page in values["pages"].items()
                if isinstance(page, dict) and {"state", "files", "row", "entity"} <= page.keys()
            }
            return Manifest({name for name in values["files"] if isinstance(name, str)}, pages)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StorageError(
                f"{path} is not the manifest of a catalogue ({error}). Nothing was written.",
                hint="Choose another folder, or remove this one.",
            ) from error

    def has(self, names: Iterable[str]) -> bool:
        """Whether all of these files are there."""
        return all((self.path / name).is_file() for name in names)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, which appears whole or not at all; leave it if it has these bytes already."""
        path = self.path / name
        with disk_errors(f"write {path}"):
            with contextlib.suppress(OSError):
                if path.stat().st_size == len(data) and path.read_bytes() == data:
                    return
            with atomic_file(path, durable=False) as file:
                file.write(data)

    def save(self, manifest: Manifest) -> None:
        """Write the manifest."""
        values = {"format": _FORMAT, "files": sorted(manifest.files), "pages": dict(sorted(manifest.pages.items()))}
        self.write(MANIFEST, json.dumps(values).encode())

    def remove(self, names: Iterable[str], current: Iterable[str]) -> int:
        """Remove pages and pictures, and return how many files were removed. Other names are left alone.

        ``current``: what stays, which may be the same file where upper and lower case are not distinguished.
        """
        by_lower = {name.lower(): self.path / name for name in current}
        removed = 0
        for name in names:
            path, twin = self.path / name, by_lower.get(name.lower())
            same = twin is not None and path.exists() and twin.exists() and path.samefile(twin)
            if _OWN.fullmatch(name) and not same:
                with disk_errors(f"remove {path}"), contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    removed += 1
        return removed
