"""Record names: empty objects whose names hold what an upload recorded, so that one listing gives many records.

The layout and its reasons are in ``docs/decisions/016-s3-record-names.md``. A record is a hint: it counts only for a
version with the same id, ETag and size, and loaded bytes are hashed whatever it says.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from collections.abc import Mapping

FOLDER = ".storage-plugins/"
_LONGEST_KEY = 1024  # bytes, S3's own limit
_PLAIN = re.compile(r"[A-Za-z0-9._+-]{1,240}")
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,200}")
_ETAG = re.compile(r"[A-Za-z0-9-]{1,64}")
_RULE = re.compile(r"[a-z0-9]{1,16}")
_SHAPE = re.compile(
    r"(?P<version>[A-Za-z0-9._-]+)!(?P<etag>[A-Za-z0-9-]+)!(?P<size>[0-9]{1,15})"
    r"!(?P<sha1>[A-Za-z0-9_-]{27})!(?P<sha256>[A-Za-z0-9_-]{43})!(?:(?P<rule>[a-z0-9]+)\.(?P<digest>[A-Za-z0-9_-]{43}))?"
)


@dataclasses.dataclass(frozen=True)
class Record:
    """What was recorded at an upload, and the version that it holds for."""

    key: str
    version_id: str
    etag: str
    size: int
    metadata: dict[str, str]


def folder_of(key: str) -> str:
    """Return what the names of all records of ``key`` begin with, and of keys that differ from it in case only."""
    return f"{FOLDER}{key.lower()}!"


def name(key: str, version_id: str | None, etag: str, size: int, metadata: Mapping[str, str]) -> str | None:
    """Return the name of a version's record, None where a name cannot hold it."""
    identifier, prefix = metadata.get("identifier", ""), metadata.get("assembly-prefix")
    rule, _, digest = metadata.get("content-digest", "").partition(":")
    version_id, etag = version_id or "null", etag.strip('"')
    fits = _PLAIN.fullmatch(key) and _PLAIN.fullmatch(identifier) and _VERSION.fullmatch(version_id)
    if not fits or not _ETAG.fullmatch(etag) or (rule and not _RULE.fullmatch(rule)):
        return None
    try:
        hashes = [_short(metadata["sha1"], 20), _short(metadata["sha256"], 32)]
        content = f"{rule}.{_short(digest, 32)}" if rule else ""
    except (KeyError, ValueError):
        return None
    told = f"{key}!{'' if prefix is None else f'_{prefix}'}!{identifier}"
    whole = f"{folder_of(key)}{told}/{version_id}!{etag}!{size}!{'!'.join(hashes)}!{content}"
    return whole if len(whole) <= _LONGEST_KEY else None


def parse_folder(text: str) -> tuple[str, dict[str, str]] | None:
    """Return the key that a record folder is about, and the part of its metadata that the folder's name holds."""
    parts = text.removeprefix(FOLDER).rstrip("/").split("!")
    if len(parts) != 4 or parts[0] != parts[1].lower() or not all(_PLAIN.fullmatch(parts[i]) for i in (1, 3)):
        return None
    metadata = {"identifier": parts[3]}
    if parts[2].startswith("_"):
        metadata["assembly-prefix"] = parts[2][1:]
    return parts[1], metadata


def parse(text: str) -> Record | None:
    """Return the record that a name holds, None for other names."""
    folder, _, last = text.rpartition("/")
    about, shape = parse_folder(folder), _SHAPE.fullmatch(last)
    if about is None or shape is None:
        return None
    key, metadata = about
    try:
        metadata |= {"sha1": _long(shape["sha1"]), "sha256": _long(shape["sha256"])}
        if shape["rule"]:
            metadata["content-digest"] = f"{shape['rule']}:{_long(shape['digest'])}"
    except ValueError:
        return None
    return Record(key, shape["version"], shape["etag"], int(shape["size"]), metadata)


def _short(digest: str, size: int) -> str:
    """Return a hex digest in base64, which is a third shorter."""
    data = bytes.fromhex(digest)
    if len(data) != size:
        raise ValueError(f"{digest!r} has not {size} bytes")
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _long(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
    except binascii.Error as error:
        raise ValueError(str(error)) from error
