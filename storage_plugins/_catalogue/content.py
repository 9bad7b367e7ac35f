"""What a page shows of a version's content: a summary, a picture, and what changed since the version before."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import xarray as xr

from .. import codec
from .._records import Pin
from .._store.file_store import FileStore
from .._store.picture import picture_of, picture_of_array
from ..errors import NotSupported, StorageError
from ..protocol import Receipt
from .listing import Held

_PICTURE = 1 << 20  # bytes of data that are read for a picture
_FOREIGN = 64 << 20  # bytes of the largest file of another program that is downloaded for its page
_MOST_CHANGES = 50
_NOT_COMPARED = "The two versions were not compared: this needs files that this package wrote."
_LONGEST = 80  # characters of a value


@dataclasses.dataclass(frozen=True)
class Content:
    """What was found in a version.

    Attributes:
        receipt: of it.
        summary: as `codec.summary` returns it; None if it could not be read.
        picture: a PNG file, if the data are numbers.
        caption: what it shows.
        parts: for `changes`; None for a file of another program.
        problem: why it could not be read.
    """

    receipt: Receipt
    summary: dict[str, Any] | None = None
    picture: bytes | None = None
    caption: str = ""
    parts: codec.Parts | None = None
    problem: str | None = None


def content_of(held: Held, key: str, identifier: str) -> Content:
    """Read a version's description, small coordinates and some tiles. A small file of another program is downloaded.

    Raises:
        StorageError: not even its hashes are known.
    """
    receipt, store = held.receipt, held.store
    if store is None:
        assert receipt is not None  # noqa: S101  for mypy
        return Content(receipt, problem=f"No store in the configuration has the address {held.address}.")
    try:
        if receipt is None:
            _refuse_large(held)
            _, _, cached = store.one_version(identifier, Pin(held.version.version_id))
            receipt = store._described(key, identifier, held.version, cached.digests)
        found = _opened(held, receipt, store)
        drawn = picture_of(found, _PICTURE) if isinstance(found, codec.Parts) else picture_of_array(found)
        summary = codec.summary(found)
    except StorageError as error:
        if receipt is None:
            raise
        return Content(receipt, problem=error.message)
    picture, caption = (drawn.png(), drawn.caption) if drawn else (None, "")
    return Content(receipt, summary, picture, caption, found if isinstance(found, codec.Parts) else None)


def _opened(held: Held, receipt: Receipt, store: FileStore) -> codec.Parts | xr.DataArray:
    """Return a version's parts, or its data if another program wrote it; only a small file is downloaded for that."""
    try:
        return store.opened_parts(receipt, Pin())
    except NotSupported:
        _refuse_large(held)
    path = store.load_file(receipt)
    try:
        return codec.Parts(codec.LocalSource(path))
    except NotSupported:
        return codec.decode(path)


def _refuse_large(held: Held) -> None:
    if (held.version.size or 0) > _FOREIGN:
        raise NotSupported("It can only be read as a whole, and is too large to be downloaded for this page")


def changes(newer: Content, older: Held) -> list[str]:
    """Return in sentences what changed since an older version, by the descriptions alone: no data are compared."""
    if older.receipt is None or older.store is None or newer.parts is None:
        return [_NOT_COMPARED]
    try:
        before = _opened(older, older.receipt, older.store)
    except StorageError as error:
        return [f"The two versions were not compared: {error.message}"]
    if not isinstance(before, codec.Parts):
        return [_NOT_COMPARED]
    if before.digest == newer.parts.digest:
        return ["The content is the same. Only the bytes of the files differ."]
    found = _differences(before.description, newer.parts.description)
    more = len(found) - _MOST_CHANGES
    return [*found[:_MOST_CHANGES], *([f"And {more} more changes."] if more > 0 else [])]


def _differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    found = []
    if a["name"] != b["name"]:
        found.append(f"The name was {_short(a['name'])} and is {_short(b['name'])}.")
    sizes = [" x ".join(f"{dim} {one['sizes'][dim]:,}" for dim in one["dims"]) or "a scalar" for one in (a, b)]
    if sizes[0] != sizes[1]:
        found.append(f"The shape was {sizes[0]} and is {sizes[1]}.")
    one, other = a["data"], b["data"]
    if one["type"] != other["type"]:
        found.append(f"The type of the data was {_short(one['type'])} and is {_short(other['type'])}.")
    tiles = [each.get("tiles") for each in (one, other)]
    if sizes[0] == sizes[1] and tiles[0] and tiles[1] and len(tiles[0]) == len(tiles[1]):
        differing = sum(mine != theirs for mine, theirs in zip(*tiles, strict=True))
        if differing:
            found.append(
                f"Data: {differing:,} of {len(tiles[0]):,} {'tile' if len(tiles[0]) == 1 else 'tiles'} differ."
            )
    elif sizes[0] == sizes[1] and _content(one) != _content(other):
        found.append("The data differ.")
    found += _attributes("Attribute", one["attrs"], other["attrs"])
    for name in dict.fromkeys([*a["coords"], *b["coords"]]):
        mine, theirs = a["coords"].get(name), b["coords"].get(name)
        if mine is None or theirs is None:
            found.append(f"Coordinate {name} was {'added' if mine is None else 'removed'}.")
            continue
        if _content(mine) != _content(theirs):
            found.append(f"Coordinate {name} has other values, dimensions or type.")
        found += _attributes(f"Coordinate {name}, attribute", mine["attrs"], theirs["attrs"])
    extras = [one.get("extras", {}) for one in (a, b)]
    for name in sorted({*extras[0], *extras[1]}):
        if extras[0].get(name) != extras[1].get(name):
            how = "was added" if name not in extras[0] else "was removed" if name not in extras[1] else "differs"
            found.append(f"Extra {name} {how}.")
    return found or ["The descriptions are the same."]


def _attributes(what: str, a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    found = []
    for name in sorted({*a, *b}):
        if name not in a or name not in b:
            found.append(f"{what} {name} was {'added' if name not in a else 'removed'}.")
        elif a[name] != b[name]:
            found.append(f"{what} {name} was {_short(a[name])} and is {_short(b[name])}.")
    return found


def _content(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "attrs"}


def _short(value: object) -> str:
    text = str(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def text_of(attrs: dict[str, Any], *names: str) -> str:
    """Return the first of these attributes that is text."""
    lower = {name.lower(): value for name, value in attrs.items()}
    return next((lower[name].strip() for name in names if isinstance(lower.get(name), str) and lower[name].strip()), "")


def texts_of(attrs: dict[str, Any], *names: str) -> list[str]:
    """Return the first of these attributes as a list of texts; a text is divided at its semicolons, else its commas."""
    lower = {name.lower(): value for name, value in attrs.items()}
    for name in names:
        value = lower.get(name)
        if isinstance(value, str):
            value = value.split(";" if ";" in value else ",")
        if isinstance(value, list):
            texts = [str(one).strip() for one in value if isinstance(one, str | int | float) and str(one).strip()]
            if texts:
                return texts[:_MOST_CHANGES]
    return []


def shape_in_words(summary: dict[str, Any]) -> str:
    """Return dimensions and sizes as people read them."""
    pairs = zip(summary["dims"], summary["shape"], strict=True)
    return " × ".join(f"{dim} {size:,}" for dim, size in pairs) or "a scalar"  # noqa: RUF001  the sign of a product


def number_of_values(summary: dict[str, Any]) -> int:
    """Return how many values the data have."""
    return math.prod(summary["shape"])
