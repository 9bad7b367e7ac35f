"""Receipts beside ``storage.yaml``: what was uploaded, and where copies are, one small file each.

``<key>/<sha256[:16]>.yaml`` says what a version is; ``<key>/<sha256[:16]>@<place>.yaml`` says where a
copy of it lies, ``place`` being a hash of the address and the version id there. Each is written once
and never edited, so any number of writers, and two branches of a repository, need no lock and no merge.
"""

from __future__ import annotations

import hashlib
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .atomic import atomic_file, sweep
from .protocol import Receipt

_log = logging.getLogger(__name__)
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


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

    def of(self, key: str) -> list[Receipt]:
        """Return a receipt for every copy of every version of ``key``, the newest first."""
        if self.folder is None:
            return []
        versions: dict[str, dict[str, Any]] = {}
        copies: list[dict[str, Any]] = []
        for path in sorted((self.folder / key).glob("*.yaml")):
            values = _read(path)
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


def _read(path: Path) -> dict[str, Any] | None:
    """Return a receipt file's values, or None, with a warning, where it is not one."""
    import yaml

    try:
        # BaseLoader: every value as the text that stands there, no type guessed, no object built
        values: Any = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
        if not isinstance(values, dict) or not all(isinstance(part, str) for pair in values.items() for part in pair):
            raise ValueError("not a mapping of words to words")
        if not _SHA256.fullmatch(values["sha256"]):
            raise ValueError("no sha256 in it")
        if "@" in path.name:
            values["created"] = datetime.fromisoformat(values["created"])
            if values["created"].tzinfo is None:
                values["created"] = values["created"].replace(tzinfo=UTC)
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
