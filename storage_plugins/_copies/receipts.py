"""Receipts beside ``storage.yaml``: what was uploaded, and where copies are, one small file each.

``<key>/<sha256[:16]>.yaml`` says what a version is; ``<key>/<sha256[:16]>@<place>.yaml`` says where a
copy of it lies, ``place`` being a hash of the address and the version id there. Each is written once
and never edited, so any number of writers, and two branches of a repository, need no lock and no merge.

``<key>/<sha1[:16]>@<place>.pin.yaml`` is a pin that stood in somebody's source: a sha1, and what the
source called it. It has no sha256, no size and no date, so it is no receipt; see docs/decisions/009.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..atomic import atomic_file, disk_errors, sweep
from ..protocol import Receipt, date_from

_log = logging.getLogger(__name__)
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PIN = ".pin.yaml"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportedPin:
    """What a source says of one version: a hash, and the names by which it was loaded there.

    Attributes:
        key: file name in a store.
        sha1: lower-case hex digest of the file.
        identifier: the assembly's name, or the file's name for other files; None if only the key was written.
        version_id: the host's name for this version, None where none was written.
        address: the place, such as ``s3://bucket/prefix``; None for the place that is the default one there.
    """

    key: str
    sha1: str
    identifier: str | None = None
    version_id: str | None = None
    address: str | None = None

    @property
    def sha256(self) -> None:
        """Nothing: no source pins by it."""
        return

    def to_dict(self) -> dict[str, str | None]:
        """Return the pin as plain values."""
        return dataclasses.asdict(self)


class Receipts:
    """The receipts in one folder.

    Args:
        folder: where they lie, or None for none: then nothing is kept and nothing is found.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def write(self, receipt: Receipt) -> None:
        """Keep a receipt. One that cannot be written is a warning: the upload stands."""
        if self.folder is None:
            return
        place = hashlib.sha256(f"{receipt.address}\n{receipt.version_id or ''}".encode()).hexdigest()
        stem = receipt.sha256[:16]
        version = ("identifier", "key", "sha1", "sha256", "size", "content_digest")
        copy = ("sha256", "store", "address", "version_id", "created", "uri")
        values = receipt.to_dict()
        try:
            folder = self.folder / receipt.key
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            for name, fields in ((f"{stem}.yaml", version), (f"{stem}@{place[:16]}.yaml", copy)):
                _write_once(folder / name, {field: values[field] for field in fields if values[field] is not None})
        except OSError as error:
            _log.warning(
                "The upload of %s stands, but its receipt could not be written (%s). Keep this: %s",
                receipt.identifier,
                error,
                receipt.uri,
            )

    def keep(self, pin: ImportedPin) -> bool:
        """Keep an imported pin; False if it was there already.

        Raises:
            StorageError: it could not be written.
        """
        path = self.path_of(pin)
        if path is None or _read(path, missing_ok=True) is not None:
            return False
        with disk_errors(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_once(path, {field: value for field, value in pin.to_dict().items() if value is not None})
        return True

    def path_of(self, pin: ImportedPin) -> Path | None:
        """Return where an imported pin is kept, whether or not it is; None if nothing is kept."""
        if self.folder is None:
            return None
        place = "\n".join(value or "" for value in (pin.identifier, pin.address, pin.version_id))
        name = f"{pin.sha1[:16]}@{hashlib.sha256(place.encode()).hexdigest()[:16]}{_PIN}"
        return self.folder / pin.key / name

    def imported(self, key: str) -> list[ImportedPin]:
        """Return the imported pins of ``key``, in no order that says anything of their age."""
        if self.folder is None:
            return []
        values = [_read(path) for path in sorted((self.folder / key).glob(f"*{_PIN}"))]
        return [ImportedPin(**value) for value in values if value is not None]

    def known(self, key: str) -> list[Receipt | ImportedPin]:
        """Return every receipt of ``key``, the newest first, and then every imported pin."""
        return [*self.of(key), *self.imported(key)]

    def latest(self, key: str, identifier: str | None = None) -> Sequence[Receipt | ImportedPin]:
        """Return what says which version is the newest, that first: receipts, else imported pins of one version.

        Pins have no dates. Several that are of different bytes say nothing of the newest. What was uploaded as a plain
        file, under its key, is of any identifier.
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
                "%s without a pin: %d versions of it were imported, and nothing says which is the newest",
                key,
                len(versions),
            )
            return []
        return pins

    def of(self, key: str) -> list[Receipt]:
        """Return a receipt for every copy of every version of ``key``, the newest first."""
        if self.folder is None:
            return []
        versions: dict[str, dict[str, Any]] = {}
        copies: list[dict[str, Any]] = []
        for path in sorted((self.folder / key).glob("*.yaml")):
            values = None if path.name.endswith(_PIN) else _read(path)
            if values is None:
                continue
            if "@" in path.name:
                copies.append(values)
            else:
                versions[values["sha256"]] = values
        receipts = [_receipt(versions[copy["sha256"]], copy) for copy in copies if copy["sha256"] in versions]
        return sorted(receipts, key=lambda receipt: receipt.created, reverse=True)


def _write_once(path: Path, values: dict[str, Any]) -> None:
    import yaml

    whole = path.exists() and _read(path) is not None
    if whole:
        return
    try:
        with atomic_file(path, exclusive=not path.exists()) as file:  # one that a crash or merge spoilt is replaced
            file.write(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())
    except FileExistsError:
        pass  # somebody else wrote the same receipt first


def _read(path: Path, *, missing_ok: bool = False) -> dict[str, Any] | None:
    """Return a receipt file's values, or None, with a warning, where it is not one."""
    import yaml

    if missing_ok and not path.exists():
        return None

    try:
        # BaseLoader: every value as the text that stands there, no type guessed, no object built
        values: Any = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
        if not isinstance(values, dict) or not all(isinstance(part, str) for pair in values.items() for part in pair):
            raise ValueError("not a mapping of words to words")
        if path.name.endswith(_PIN):
            return _checked_pin(values, path)
        if not _SHA256.fullmatch(values["sha256"]):
            raise ValueError("no sha256 in it")
        if "@" in path.name:
            values["created"] = date_from(values["created"])
            if values["created"] is None:
                raise ValueError("no date in it")
            missing = {"store", "address", "uri"} - values.keys()
        else:
            if not _SHA1.fullmatch(values["sha1"]):
                raise ValueError("no sha1 in it")
            values["size"] = int(values["size"])
            missing = {"identifier"} - values.keys()
            if values["key"] != path.parent.name:
                raise ValueError("it is of another file")
        if missing:
            raise ValueError(f"no {', '.join(sorted(missing))} in it")
    except (OSError, ValueError, KeyError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        _log.warning("Passing over %s, which is no receipt (%s)", path, reason)
        return None
    return values


def _checked_pin(values: dict[str, Any], path: Path) -> dict[str, Any]:
    if not _SHA1.fullmatch(values["sha1"]):
        raise ValueError("no sha1 in it")
    if values["key"] != path.parent.name:
        raise ValueError("it is of another file")
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
