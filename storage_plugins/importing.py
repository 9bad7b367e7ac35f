"""Pins out of the sources of Brain-Score plugins, kept beside the receipts.

The calls are those of ``brainscore_core``, ``brainscore_vision`` and ``brainscore_language``; the file names
are those which their functions make of an identifier.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ._copies.receipts import ImportedPin, Receipts
from ._identifiers import assembly_key, check_file_name, check_identifier
from .errors import InvalidIdentifier
from .sources import FoundCall, NotKnown, Unread, find_calls

_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
_FUNCTIONS = {  # each with a parameter of its own
    "load_assembly_from_s3": "sha1",
    "load_stimulus_set_from_s3": "csv_sha1",
    "load_from_s3": "sha1",
    "fetch_file": "location",
}


@dataclasses.dataclass(frozen=True)
class FoundPin:
    """A pin, and where it stands first."""

    pin: ImportedPin
    path: Path
    line: int


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """What came of reading pins out of sources.

    Attributes:
        imported: pins that were not there, and are now; ``there``: pins that were.
        unread: calls, and files, that could not be read, or not wholly.
    """

    imported: tuple[FoundPin, ...]
    there: tuple[FoundPin, ...]
    unread: tuple[Unread, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        pins = {
            name: [
                {**found.pin.to_dict(), "path": str(found.path), "line": found.line} for found in getattr(self, name)
            ]
            for name in ("imported", "there")
        }
        unread = [{"path": str(one.path), "line": one.line, "reason": one.reason} for one in self.unread]
        return {**pins, "unread": unread}


def import_pins(paths: Iterable[Path], receipts: Receipts, *, dry_run: bool = False) -> ImportReport:
    """Keep the pins that stand in Python sources, which are read and neither run nor imported.

    Args:
        paths: files, or folders of them.
        receipts: where to keep the pins.
        dry_run: write nothing.

    Raises:
        StorageError: a pin could not be written.
    """
    pins, unread = find_pins(paths)
    held = {pin for key in {found.pin.key for found in pins} for pin in receipts.imported(key)}
    new = [found for found in pins if found.pin not in held]
    if not dry_run:
        for found in new:
            receipts.keep(found.pin)
    return ImportReport(tuple(new), tuple(found for found in pins if found.pin in held), tuple(unread))


def find_pins(paths: Iterable[Path]) -> tuple[list[FoundPin], list[Unread]]:
    """Return every pin in Python sources, once, and what could not be read."""
    calls, unread = find_calls(paths, _FUNCTIONS)
    pins: dict[ImportedPin, FoundPin] = {}
    complaints: dict[Unread, None] = dict.fromkeys(unread)
    places: dict[tuple[Path, int, int], list[FoundCall]] = {}
    for call in calls:
        places.setdefault((call.path, call.line, call.column), []).append(call)
    for made in places.values():
        said: list[tuple[Unread, bool]] = []
        found = False
        for call in made:
            for result in _pins(call):
                if isinstance(result, ImportedPin):
                    found = True
                    pins.setdefault(result, FoundPin(result, call.path, call.line))
                else:
                    reason = f"{call.name}: {result.reason}"
                    said.append((Unread(call.path, call.line, reason), result.function is not None))
        # a function by itself lacks its arguments; that is no loss where a call gives them
        called = found or any(not alone for _, alone in said)
        complaints |= dict.fromkeys(one for one, alone in said if not (alone and called))
    return list(pins.values()), sorted(complaints, key=lambda one: (one.path, one.line))


_Result = ImportedPin | NotKnown


def _pins(call: FoundCall) -> Iterator[_Result]:
    """Yield the pins of one call, and what in it could not be read."""
    given = _Given(call, _POSITIONAL[call.name](call.arguments))
    # a partial that lacks something gets it where it is called
    open_ended = call.partial and (call.completed or not given.names & {"sha1", "csv_sha1", "zip_sha1"})
    if open_ended and not given.complete(_NEEDED[call.name]):
        return
    try:
        yield from _READ[call.name](given)
    except NotKnown as unknown:
        yield unknown


class _Given:
    """The arguments of one call by name."""

    def __init__(self, call: FoundCall, arguments: Mapping[str, Any]) -> None:
        self._values = {**arguments, **call.keywords}
        self._others = call.others

    @property
    def names(self) -> set[str]:
        """The names of the arguments given."""
        return set(self._values)

    def complete(self, needed: Iterable[str]) -> bool:
        """Whether all that is needed is given."""
        return self._others is not None or set(needed) <= self.names

    def text(self, name: str) -> str:
        """Return an argument that is text.

        Raises:
            NotKnown: it cannot be had.
        """
        value = self._value(name)
        if not isinstance(value, str) or not value:
            raise NotKnown(f"{name} is {'empty' if value in ('', None) else 'no text'}")
        return value

    def optional(self, name: str) -> str | NotKnown | None:
        """Return an argument that is text or None; the NotKnown if it cannot be had."""
        if name not in self._values and self._others is None:
            return None
        try:
            value = self._value(name)
        except NotKnown as unknown:
            return unknown
        return value or None if isinstance(value, str | None) else NotKnown(f"{name} is no text")

    def sha1(self, name: str) -> str:
        """Return an argument that is a sha1, in lower case."""
        value = self.text(name)
        if not _SHA1.fullmatch(value):
            raise NotKnown(f"{name} is no sha1: {value!r:.50}")
        return value.lower()

    def _value(self, name: str) -> Any:
        if name not in self._values:
            raise self._others or NotKnown(f"no {name} is given")
        value = self._values[name]
        if isinstance(value, NotKnown):
            raise NotKnown(f"{name} is known at run time only: {value.reason}", function=value.function)
        return value


def _in_order(*names: str) -> Callable[[list[Any]], dict[str, Any]]:
    return lambda arguments: dict(zip(names, arguments, strict=False))


def _of_load_from_s3(arguments: list[Any]) -> dict[str, Any]:
    """Both orders that there are: ``identifier, sha1, version_id`` if the second is forty hex digits."""
    hash_second = len(arguments) > 1 and isinstance(arguments[1], str) and _SHA1.fullmatch(arguments[1])
    middle = ("sha1", "version_id") if hash_second else ("version_id", "sha1")
    return _in_order("identifier", *middle, "assembly_prefix")(arguments)


def _assembly(given: _Given) -> Iterator[_Result]:
    key, identifier = _assembly_key(given, "assy_")
    yield from _pin(given, key, identifier, "", _address)


def _language_assembly(given: _Given) -> Iterator[_Result]:
    prefix = given.optional("assembly_prefix")
    if isinstance(prefix, NotKnown):
        raise prefix
    key, identifier = _assembly_key(given, "assy_" if prefix is None else prefix)
    yield from _pin(given, key, identifier, "", lambda _: None)  # the bucket is the function's own affair


def _stimulus_set(given: _Given) -> Iterator[_Result]:
    identifier, prefix = given.text("identifier"), given.optional("filename_prefix")
    if isinstance(prefix, NotKnown):
        raise prefix
    for kind in ("csv", "zip"):
        try:
            name = f"{'stimulus_' if prefix is None else prefix}{identifier.replace('.', '_')}.{kind}"
            key = _checked(lambda name=name: check_file_name(name))  # type: ignore[misc]
            yield from _pin(given, key, key, f"{kind}_", _address)
        except NotKnown as unknown:
            yield unknown


def _file(given: _Given) -> Iterator[_Result]:
    location = urlsplit(given.text("location"))
    host, path = location.hostname or "", unquote(location.path.lstrip("/"))
    bucket, dotted, _ = host.partition(".s3.")
    if not dotted:
        bucket, _, path = path.partition("/")
    folder, _, name = path.rpartition("/")
    key = _checked(lambda: check_file_name(name))
    place = f"{bucket}/{folder}" if folder else bucket
    yield from _pin(given, key, None if key.endswith(".nc") else key, "", lambda _: place)


def _pin(
    given: _Given,
    key: str,
    identifier: str | None,
    prefix: str,
    place: Callable[[_Given], str | NotKnown | None],
) -> Iterator[_Result]:
    """Yield a pin. What is not known of version and place is left out, and said."""
    sha1 = given.sha1(f"{prefix}sha1")
    version_id, bucket = given.optional(f"{prefix}version_id"), place(given)
    for unknown in (version_id, bucket):
        if isinstance(unknown, NotKnown):
            if unknown.function is not None:
                raise unknown
            yield NotKnown(f"{unknown.reason}; the pin of {key} was taken by its hash alone")
    yield ImportedPin(
        key=key,
        sha1=sha1,
        identifier=identifier,
        version_id=None if isinstance(version_id, NotKnown) else version_id,
        address=None if isinstance(bucket, NotKnown) or bucket is None else _s3(bucket),
    )


def _address(given: _Given) -> str | NotKnown | None:
    return given.optional("bucket")


def _s3(bucket: str) -> str:
    """Return the address of ``bucket`` or ``bucket/folder`` on Amazon's S3, as an S3 store has it."""
    name, _, folder = bucket.partition("/")
    return f"s3://{name}/{quote(folder)}" if folder else f"s3://{name}"


def _assembly_key(given: _Given, prefix: str) -> tuple[str, str]:
    identifier = given.text("identifier")
    return _checked(lambda: assembly_key(check_identifier(identifier), prefix)), identifier


def _checked(name: Callable[[], str]) -> str:
    try:
        return name()
    except InvalidIdentifier as error:
        raise NotKnown(error.message) from error


_POSITIONAL: dict[str, Callable[[list[Any]], dict[str, Any]]] = {
    "load_assembly_from_s3": _in_order("identifier", "version_id", "sha1", "bucket"),
    "load_stimulus_set_from_s3": _in_order(
        "identifier", "bucket", "csv_sha1", "zip_sha1", "csv_version_id", "zip_version_id", "filename_prefix"
    ),
    "load_from_s3": _of_load_from_s3,
    "fetch_file": _in_order("location_type", "location", "sha1", "version_id"),
}
_READ: dict[str, Callable[[_Given], Iterator[_Result]]] = {
    "load_assembly_from_s3": _assembly,
    "load_stimulus_set_from_s3": _stimulus_set,
    "load_from_s3": _language_assembly,
    "fetch_file": _file,
}
_NEEDED = {
    "load_assembly_from_s3": ("identifier", "sha1"),
    "load_stimulus_set_from_s3": ("identifier", "csv_sha1", "zip_sha1"),
    "load_from_s3": ("identifier", "sha1"),
    "fetch_file": ("location", "sha1"),
}
