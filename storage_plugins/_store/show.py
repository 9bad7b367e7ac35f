"""What is in a stored assembly, and where it is: found out by a few requests, without its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._backend.host import Host
from .._records import Cached
from ..errors import AccessDenied, AssemblyNotFound, NotSupported, StorageError
from ..protocol import Receipt, Version
from .in_parts import InParts, parts_of

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from .. import codec
    from .picture import Picture

_PICTURE = 1 << 20  # bytes of data for a picture in the terminal
_PNG = 16 << 20  # and for one in a file
_LONGEST = 60  # characters of an example or an attribute in text


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `Store.show` found; ``print`` shows it.

    Attributes:
        facts: all of it, as `as_dict` returns it.
    """

    facts: dict[str, Any]
    _parts: codec.Parts | None = dataclasses.field(repr=False)
    _assembly: xr.DataArray | None = dataclasses.field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values that have a JSON form; see docs/command-line.md."""
        return dict(self.facts)

    def picture(self, *, large: bool = False) -> Picture | None:
        """Return a picture of the first two dimensions of the data; None where they are not numbers.

        Args:
            large: of at most 16 MB of the data, for a file; otherwise of 1 MB.
        """
        from .picture import picture_of, picture_of_array

        if self._parts is not None:
            return picture_of(self._parts, _PNG if large else _PICTURE)
        assert self._assembly is not None  # noqa: S101  for mypy
        return picture_of_array(self._assembly)

    def __repr__(self) -> str:
        sizes = " x ".join(
            f"{_shown(dim)} {size}" for dim, size in zip(self.facts["dims"], self.facts["shape"], strict=True)
        )
        return (
            f"<storage_plugins summary of {self.facts['identifier']!r}: {sizes or 'a scalar'}, {self.facts['dtype']}>"
        )

    def __str__(self) -> str:
        facts = self.facts
        found = "not found in" if facts["versions"] == 0 else "in"
        lines = [f"{facts['identifier']} {found} store {facts['store']!r} ({facts['address']})"]

        def say(label: str, value: object) -> None:
            if value is not None:
                lines.append(f"  {label:<15} {value}")

        say("file", f"{facts['key']}, {facts['size']:,} bytes")
        versions = "" if facts["versions"] is None else f" ({facts['versions']} in all)"
        if facts["versions"] == 0:
            say("shown from", "the cache on this computer, by the newest receipt or the pin")
        else:
            say("version", f"{facts['version_id'] or 'without an ID'}{versions}")
        for field in ("created", "sha1", "sha256", "content_digest", "visibility"):
            say(field, facts[field])
        sizes = " x ".join(f"{_shown(dim)} {size:,}" for dim, size in zip(facts["dims"], facts["shape"], strict=True))
        name = "" if facts["name"] is None else f"{_shown(facts['name'])}: "
        say("data", f"{name}{sizes or 'a scalar'}, {facts['dtype']}, {facts['nbytes']:,} bytes in memory")
        for coord in facts["coords"]:
            say("coord", _line_of(coord))
        for name, value in facts["attrs"].items():
            say("attr", f"{_shown(name)}: {_short(repr(value))}")
        for name in facts["extras"]:
            say("extra", name)
        for copy in facts["copies"]:
            say("copy", f"{copy['store']}: {copy['address']}, version {copy['version_id'] or '-'}")
        return "\n".join(lines)


def _line_of(coord: dict[str, Any]) -> str:
    """Return a coordinate's dimensions, type, number of distinct values, and examples."""
    dims = ", ".join(map(_shown, coord["dims"]))
    level = f", level of {_shown(coord['index'])}" if coord["index"] else ""
    line = f"{_shown(coord['name'])} ({dims}){level}, {coord['dtype']}"
    if coord["distinct"] is not None:
        line += f", {coord['distinct']:,} distinct"
    if coord["examples"]:
        examples = [_short(repr(value)) for value in coord["examples"]]
        more = ["…"] if coord["distinct"] is None or coord["distinct"] > len(examples) else []
        line += f": {', '.join([*examples, *more])}"
    return line


def _shown(text: str) -> str:
    """Return a name as it is, or, if it has characters that are not printable, with escapes."""
    return text if text.isprintable() else repr(text)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a version was found.

    Attributes:
        identifier, key, store, address: its names.
        found: its version: in parts, or a verified file.
        versions: of that identifier, newest first; None: they cannot be listed.
        receipts: of its key.
        refetch: returns its verified file.
        is_public: says whether anyone can read a version; None: unknown, or not of this kind of store.
    """

    identifier: str
    key: str
    store: str
    address: str
    found: Cached
    versions: list[Version] | None
    receipts: list[Receipt]
    refetch: Callable[[], Path]
    is_public: Callable[[str | None, bool], bool | None]


def summary_of(place: Place) -> Summary:
    """Return what is in a version; see `Store.show`."""
    from .. import codec

    found, parts, assembly = place.found, None, None
    try:
        parts = parts_of(found, place.refetch)
        content = codec.summary(parts)
    except NotSupported:  # a file of another program, which is here by now
        assembly = codec.decode(place.refetch())
        content = codec.summary(assembly)
    digests, receipts = found.digests, [each for each in place.receipts if each.sha256 == found.digests.sha256]
    here = next((each for each in receipts if each.address == place.address), None)
    listed = next((each for each in place.versions or [] if each.sha256 == digests.sha256), None)
    version = found.version if isinstance(found, InParts) else listed
    version_id = version.version_id if version is not None else here.version_id if here is not None else None
    created = (version.created if version is not None else None) or (here.created if here is not None else None)
    newest = bool(place.versions) and (place.versions or [])[0].version_id == version_id
    public = place.is_public(version_id, newest) if version is not None or here is not None else None
    facts = {
        "identifier": place.identifier,
        "store": place.store,
        "address": place.address,
        "key": place.key,
        "version_id": version_id,
        "versions": None if place.versions is None else len(place.versions),
        "created": None if created is None else created.isoformat(),
        "size": digests.size,
        "sha1": digests.sha1,
        "sha256": digests.sha256,
        "visibility": None if public is None else "public" if public else "private",
        **content,
        "copies": [
            {"store": each.store, "address": each.address, "version_id": each.version_id, "uri": each.uri}
            for each in receipts
        ],
    }
    return Summary(facts, parts, assembly)


def anyone_can_read(host: Host, key: str, version_id: str | None, newest: bool) -> bool | None:
    """Ask for one byte of a version as anonymous readers do; None: there is no such access, or no answer."""
    try:
        readers = host.anonymous()
        if readers is None:
            return None
        try:
            got = readers.read(key, None if newest else version_id, 0, 1)
        except (AccessDenied, AssemblyNotFound):
            return False
    except StorageError:
        return None
    return bool(got.version.version_id in (None, version_id))
