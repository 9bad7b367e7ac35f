"""Receipts beside ``storage.yaml``: what was uploaded, and where copies are, one small file each.

``<key>/<sha256[:16]>.yaml`` describes a version; ``<key>/<sha256[:16]>@<location>.yaml`` says where a copy of it
is, ``location`` being a hash of the address and the version id there. Each is written once and never edited, so any
number of writers, and two branches of a repository, need no lock and no merge.

``<key>/<sha1[:16]>@<location>.pin.yaml`` is a pin that was found in source code: a sha1, and the names used there.
It has no sha256, no size and no date, so it is not a receipt; see docs/decisions/009.

``<key>/<sha256[:16]>.withdrawn.yaml`` says that a version was withdrawn, when, by whom and why. Its receipts stay.

Receipts may come from other people, with a repository. Links are not followed, and files are small.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._records import Withdrawal
from .._visible import visible
from ..atomic import atomic_file, disk_errors, read_small, sweep
from ..protocol import Receipt, date_from

_log = logging.getLogger(__name__)
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PIN = ".pin.yaml"
_WITHDRAWN = ".withdrawn.yaml"
_PLAIN = r"[A-Za-z0-9/._+?#=&%,@~-]+"
_LINE = re.compile(rf"([a-z][a-z0-9_]*): (?:'([ -&(-\[\]-~]*)'|([A-Za-z0-9/](?:{_PLAIN})?(?::{_PLAIN})*))")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportedPin:
    """A version as source code pins it: a hash, and the names by which it was loaded there.

    Attributes:
        key: file name in a store.
        sha1: lower-case hex digest of the file.
        identifier: the assembly's name, or the file's name for other files; None if only the key was written.
        version_id: the host's name for this version, None where none was written.
        address: the location, such as ``s3://bucket/prefix``; None for the default location there.
    """

    key: str
    sha1: str
    identifier: str | None = None
    version_id: str | None = None
    address: str | None = None

    @property
    def sha256(self) -> None:
        """None: source code does not pin by it."""
        return

    def to_dict(self) -> dict[str, str | None]:
        """Return the pin as plain values."""
        return dataclasses.asdict(self)


class Receipts:
    """The receipts in one folder.

    Args:
        folder: where they are stored; None: nothing is saved, and nothing is found.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def write(self, receipt: Receipt) -> None:
        """Save a receipt. Failing to is a warning, as the upload itself is complete."""
        if self.folder is None:
            return
        location = hashlib.sha256(f"{receipt.address}\n{receipt.version_id or ''}".encode()).hexdigest()
        stem = receipt.sha256[:16]
        version = ("identifier", "key", "sha1", "sha256", "size", "content_digest")
        copy = ("sha256", "store", "address", "version_id", "created", "uri")
        values = receipt.to_dict()
        try:
            folder = self._made(receipt.key)
            for name, fields in ((f"{stem}.yaml", version), (f"{stem}@{location[:16]}.yaml", copy)):
                _write_once(folder / name, {field: values[field] for field in fields if values[field] is not None})
        except OSError as error:
            _log.warning(
                "%s was uploaded, but its receipt could not be written (%s). Note this address: %s",
                receipt.identifier,
                error,
                receipt.uri,
            )

    def keep(self, pin: ImportedPin) -> bool:
        """Save an imported pin; False if it was there already.

        Raises:
            StorageError: it could not be written.
        """
        path = self.path_of(pin)
        if path is None or _read(path, missing_ok=True) is not None:
            return False
        with disk_errors(f"write {path}"):
            self._made(pin.key)
            _write_once(path, {field: value for field, value in pin.to_dict().items() if value is not None})
        return True

    def withdraw(self, withdrawal: Withdrawal) -> None:
        """Note that a version was withdrawn, beside its receipts. Failing to is a warning."""
        if self.folder is None:
            return
        try:
            path = self._made(withdrawal.key) / f"{withdrawal.sha256[:16]}{_WITHDRAWN}"
            values = {field: value for field, value in withdrawal.to_dict().items() if value is not None}
            _write_once(path, {field: str(value) for field, value in values.items()})
        except OSError as error:
            _log.warning("%s was withdrawn, but that could not be noted in %s (%s)", withdrawal.key, self.folder, error)

    def withdrawn(self, key: str) -> list[Withdrawal]:
        """Return which versions of ``key`` were withdrawn."""
        if self.folder is None:
            return []
        values = [_read(path) for path in _files(self.folder / key, _WITHDRAWN)]
        return [Withdrawal.read(value) for value in values if value is not None]

    def path_of(self, pin: ImportedPin) -> Path | None:
        """Return where an imported pin is saved, whether or not it exists; None if nothing is saved."""
        if self.folder is None:
            return None
        names = "\n".join(value or "" for value in (pin.identifier, pin.address, pin.version_id))
        name = f"{pin.sha1[:16]}@{hashlib.sha256(names.encode()).hexdigest()[:16]}{_PIN}"
        return self.folder / pin.key / name

    def imported(self, key: str) -> list[ImportedPin]:
        """Return the imported pins of ``key``, in no meaningful order: they have no dates."""
        if self.folder is None:
            return []
        values = [_read(path) for path in _files(self.folder / key, _PIN)]
        return [ImportedPin(**value) for value in values if value is not None]

    def known(self, key: str) -> list[Receipt | ImportedPin]:
        """Return every receipt of ``key``, the newest first, and then every imported pin."""
        return [*self.of(key), *self.imported(key)]

    def latest(self, key: str, identifier: str | None = None) -> Sequence[Receipt | ImportedPin]:
        """Return the receipts of ``key``, the newest first; without any, its imported pins if all are of one version.

        Pins have no dates, so pins of several versions do not tell which is the newest. A plain file, which was
        uploaded under its key, has any identifier.
        """
        receipts = [
            receipt for receipt in self.of(key) if identifier is None or receipt.identifier in (identifier, key)
        ]
        if receipts:
            return receipts
        pins = [pin for pin in self.imported(key) if pin.identifier is None or identifier in (None, pin.identifier)]
        versions = {pin.sha1 for pin in pins}
        if len(versions) > 1:
            _log.warning(
                "%s without a pin: %d versions of it were imported, and it is unknown which is the newest",
                key,
                len(versions),
            )
            return []
        return pins

    def all_keys(self) -> list[str]:
        """Return the keys that have receipts or imported pins, sorted."""
        if self.folder is None or not self.folder.is_dir():
            return []
        with disk_errors(f"list {self.folder}"):
            names = [path.name for path in self.folder.iterdir() if path.is_dir() and not path.is_symlink()]
        return sorted(name for name in names if not name.startswith("."))

    def of(self, key: str) -> list[Receipt]:
        """Return a receipt for every copy of every version of ``key``, the newest first."""
        if self.folder is None:
            return []
        versions: dict[str, dict[str, Any]] = {}
        copies: list[dict[str, Any]] = []
        for path in _files(self.folder / key, None):
            values = _read(path)
            if values is None:
                continue
            if "@" in path.name:
                copies.append(values)
            else:
                versions[values["sha256"]] = values
        receipts = [_receipt(versions[copy["sha256"]], copy) for copy in copies if copy["sha256"] in versions]
        return sorted(receipts, key=lambda receipt: receipt.created, reverse=True)

    def _made(self, key: str) -> Path:
        """Return the folder of a key's receipts, made if it is not there, and without what crashes left in it."""
        assert self.folder is not None  # noqa: S101  for mypy
        folder = self.folder / key
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink():
            raise OSError(errno.ELOOP, "It is a link, and receipts are not written through links", str(folder))
        sweep(folder)
        return folder


def _write_once(path: Path, values: dict[str, Any]) -> None:
    import yaml

    there = os.path.lexists(path)
    if there and _read(path) is not None:
        return
    try:
        with atomic_file(path, exclusive=not there) as file:  # a file damaged by a crash or a merge is replaced
            file.write(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())
    except FileExistsError:
        pass  # another process wrote the same receipt first


def _files(folder: Path, ending: str | None) -> list[Path]:
    """Return the files with that ending in a key's folder, None: of receipts; none if that folder is a link."""
    if folder.is_symlink():
        _log.warning("Passing over %s: it is a link, and receipts are not read through links", folder)
        return []
    paths = folder.glob("*.yaml")
    kinds = {path: next((kind for kind in (_PIN, _WITHDRAWN) if path.name.endswith(kind)), None) for path in paths}
    found = [path for path, kind in kinds.items() if kind == ending]
    return sorted(found, key=lambda path: path.name)


def _read(path: Path, *, missing_ok: bool = False) -> dict[str, Any] | None:
    """Return a receipt file's values, or None, with a warning, if it is not a receipt."""
    if missing_ok and not os.path.lexists(path):
        return None
    try:
        values = _parsed(read_small(path).decode("utf-8"))
        if path.name.endswith(_PIN):
            return _checked_pin(values, path)
        if path.name.endswith(_WITHDRAWN):
            if Withdrawal.read(values).key != path.parent.name:
                raise ValueError("it is about another file")
            return values
        if not _SHA256.fullmatch(values["sha256"]):
            raise ValueError("it has no sha256")
        if "@" in path.name:
            values["created"] = date_from(values["created"])
            if values["created"] is None:
                raise ValueError("it has no date")
            missing = {"store", "address", "uri"} - values.keys()
        else:
            if not _SHA1.fullmatch(values["sha1"]):
                raise ValueError("it has no sha1")
            values["size"] = int(values["size"])
            missing = {"identifier"} - values.keys()
            if values["key"] != path.parent.name:
                raise ValueError("it is about another file")
        if missing:
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
    except KeyError as error:
        reason = f"it has no {error.args[0]}"
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
    else:
        return values
    _log.warning("%s", visible(f"Passing over {path}, which is not a receipt ({reason})", one_line=True))
    return None


def _parsed(text: str) -> dict[str, Any]:
    """Return the texts of a YAML mapping, as text.

    Files in the plain form that `_write_once` gives most of them are read without a YAML parser, which takes a
    hundred times as long.

    Raises:
        ValueError: it is something else.
    """
    lines = [_LINE.fullmatch(line) for line in text.splitlines()]
    names = [line[1] for line in lines if line]
    if len(set(names)) == len(lines):
        return {line[1]: line[2] if line[2] is not None else line[3] for line in lines if line}

    import yaml

    try:
        # BaseLoader: every value is its text; no type is guessed and no object is built
        values: Any = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    if not isinstance(values, dict) or not all(isinstance(part, str) for pair in values.items() for part in pair):
        raise ValueError("it is not a mapping of texts to texts")
    return values


def _checked_pin(values: dict[str, Any], path: Path) -> dict[str, Any]:
    if not _SHA1.fullmatch(values["sha1"]):
        raise ValueError("it has no sha1")
    if values["key"] != path.parent.name:
        raise ValueError("it is about another file")
    return {field.name: values.get(field.name) for field in dataclasses.fields(ImportedPin)}


def _receipt(version: dict[str, Any], copy: dict[str, Any]) -> Receipt:
    return Receipt(
        identifier=version["identifier"],
        key=version["key"],
        sha1=version["sha1"],
        sha256=version["sha256"],
        size=version["size"],
        content_digest=version.get("content_digest"),
        store=copy["store"],
        address=copy["address"],
        version_id=copy.get("version_id"),
        created=copy["created"],
        uri=copy["uri"],
    )
