"""Pins in the sources of Brain-Score plugins: the version ids and hashes in calls of its loading functions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from .._copies.receipts import ImportedPin
from .._identifiers import assembly_key, check_file_name
from ..errors import InvalidIdentifier
from ._locations import bucket_and_file, is_sha1
from ._source_reader import Call, Reader, Unknown, Unread

_FUNCTIONS = {  # their parameters that matter, in order
    "load_assembly_from_s3": ["identifier", "version_id", "sha1", "bucket"],
    "load_stimulus_set_from_s3": [
        *("identifier", "bucket", "csv_sha1", "zip_sha1", "csv_version_id", "zip_version_id", "filename_prefix")
    ],
    "load_from_s3": ["identifier", "version_id", "sha1", "assembly_prefix"],
    "fetch_file": ["location_type", "location", "sha1", "version_id"],
}


def find_pins(paths: Iterable[Path]) -> tuple[dict[ImportedPin, tuple[Path, int]], list[Unread]]:
    """Return the pins in Python files and folders, with file and line of the first call, and what could not be read."""
    own = {"sha1", "csv_sha1", "location"}
    reader = Reader({name: next(one for one in order if one in own) for name, order in _FUNCTIONS.items()})
    pins: dict[ImportedPin, tuple[Path, int]] = {}
    for call in sorted(reader.calls(paths), key=lambda call: (call.path, call.line)):
        found: list[ImportedPin] = []
        reasons: list[str] = []
        for kind in ("csv", "zip") if call.name == "load_stimulus_set_from_s3" else ("",):
            try:
                found.append(_pin(call, kind, reasons))
            except (InvalidIdentifier, Unknown) as error:
                reasons.append(getattr(error, "message", str(error)))
        if not (reasons and call.repeated):
            pins |= {pin: pins.get(pin, (call.path, call.line)) for pin in found}
            reader.unread |= {(*call.given_at, f"{call.name}: {reason}") for reason in reasons}
    return pins, sorted(reader.unread)


def _pin(call: Call, kind: str, reasons: list[str]) -> ImportedPin:
    """Return the pin of one call; add to ``reasons`` why its version id or bucket are left out."""
    order = list(_FUNCTIONS[call.name])
    if call.name == "load_from_s3" and is_sha1(call.given.get(1)):  # the order of its other release
        order[1:3] = ["sha1", "version_id"]

    def text(name: str, default: str | None = None) -> str:
        value = call.given.get(name, call.given.get(order.index(name), call.given.get("**")))
        if isinstance(value, Unknown):
            raise Unknown(f"{name} could not be read: {value}")
        if not isinstance(value, str | None) or (not value and default is None):
            raise Unknown(f"{name} is not text" if value else f"{name} is not given")
        return value if value is not None else default or ""

    def hint(name: str) -> str | None:
        try:
            return text(name, "") or None
        except Unknown as unknown:
            reasons.append(f"{unknown}; only the hash was imported")
            return None

    sha1 = text(f"{kind}_sha1" if kind else "sha1")
    if not is_sha1(sha1):
        raise Unknown(f"sha1 must be 40 hexadecimal digits, got {sha1!r:.50}")
    bucket = identifier = None
    if call.name == "fetch_file":
        bucket, key = bucket_and_file(text("location"))
        identifier = None if check_file_name(key).endswith(".nc") else key
    elif kind:
        stem = text("filename_prefix", "stimulus_") + text("identifier").replace(".", "_")
        key = identifier = check_file_name(f"{stem}.{kind}")
    else:
        prefix = text("assembly_prefix", "assy_") if "assembly_prefix" in order else "assy_"
        identifier = text("identifier")
        key = assembly_key(identifier, prefix)
    bucket = hint("bucket") if "bucket" in order else bucket
    name, _, folder = (bucket or "").partition("/")
    address = f"s3://{name}/{quote(folder)}" if folder else f"s3://{name}" if name else None
    version_id = hint(f"{kind}_version_id" if kind else "version_id")
    return ImportedPin(key=key, sha1=sha1.lower(), identifier=identifier, version_id=version_id, address=address)
