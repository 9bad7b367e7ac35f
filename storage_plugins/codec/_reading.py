"""Reading a netCDF-4 file of this package. Every byte is verified by its hash.

The chunks are read by their offsets in the file, in threads; where h5py is missing, through netCDF4.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EncodingError
from ._bounds import deflated_at_most
from ._content import Json, content_digest, seal
from ._elements import Elements
from ._layout import (
    ATTRIBUTE,
    FORMAT,
    VARIABLE,
    Layout,
    attributes_for_others,
    first_chunk,
    from_stored,
    has_attributes,
    label,
    layout,
    logical_dtype,
)
from ._library import h5py, hdf5, library, netcdf, plain, pread
from ._texts import Texts, from_bytes, from_characters, row_hashes
from ._tiles import Array, digest, in_threads, inflated, offsets, region, tile_count

_WIDE = 64 << 20  # bytes that numpy text may take beyond what the file can hold


class Damaged(Exception):
    """The bytes are not those that were written."""


class Unfit(Exception):
    """The description does not match the file: another program has rewritten it."""


@dataclasses.dataclass
class Opened:
    """A file whose description matches it: where everything is.

    Attributes:
        description: of the content.
        layouts: of the data, under None, and of each coordinate.
        chunks: for each variable, where each chunk is in the file: offset and size in bytes, in the tiles' order;
            None: it is read through netCDF4.
        whole: what is not in chunks.
        notes: what the description says of each variable in the file.
        digest: the content digest.
        trusted: whether the tiles are known to be those described, so that they need not be hashed.
    """

    path: Path
    group: str | None
    description: Json
    layouts: dict[str | None, Layout]
    chunks: dict[str | None, list[tuple[int, int]] | None]
    whole: dict[str | None, Any]
    notes: dict[str | None, Json]
    digest: str
    trusted: bool = False


def description(attribute: Any, name: str) -> Json:
    """Return the parsed description in the attribute of a file called ``name``."""
    if not isinstance(attribute, str):
        raise Damaged("its description is not text")
    try:
        parsed = json.loads(attribute)
        if not isinstance(parsed, dict):
            raise Damaged("its description is not a JSON object")
        if parsed.get("format") != FORMAT and isinstance(parsed.get("format"), int):
            raise EncodingError(
                f"{name} has format {parsed['format']}; this version reads format {FORMAT}",
                hint="Update storage-plugins.",
            )
        if content_digest(parsed["content"]) != parsed["digest"] or seal(parsed["file"]) != parsed["seal"]:
            raise Damaged("its description is not the one that was written")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"its description cannot be read ({type(error).__name__})") from error
    return parsed


def opened(path: Path, group: str | None) -> Opened | None:
    """Look at a file of this package without reading its data; None: another program wrote it.

    Raises:
        Damaged, Unfit
        EncodingError: it is of a newer format.
    """
    with library(), netcdf(path) as dataset:
        target = dataset if group is None else dataset.groups[group]
        attribute = target.__dict__.get(ATTRIBUTE)
        if attribute is None:
            _refuse_hidden(path, group)
            return None
        parsed = description(attribute, path.name)
        try:
            found = _fitting(path, group, target, parsed)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Damaged(f"its description contradicts itself ({error})") from error
    if h5py is not None:
        size = path.stat().st_size
        with library(), hdf5(path) as file:
            for name, place in found.layouts.items():
                if place.chunk:
                    stored = place.name if group is None else f"{group}/{place.name}"
                    dataset = h5py.h5d.open(file.id, stored.encode())  # much faster than file[stored]
                    found.chunks[name] = places(dataset, place, size)
    return found


def refuse_in_place(path: Path, group: str | None, reason: Unfit) -> None:
    """Raise Damaged where a description does not match although the data are where they were written.

    Programs that rewrite a file write them elsewhere.
    """
    with library(), netcdf(path) as dataset:
        attribute = (dataset if group is None else dataset.groups[group]).getncattr(ATTRIBUTE)
    place = description(attribute, path.name)["file"].get("first chunk")
    if place is not None and place == first_chunk(path, group):
        raise Damaged(f"{reason} differs from what was written (to change a file on purpose, write a new one)")


def _refuse_hidden(path: Path, group: str | None) -> None:
    """Refuse a file whose description is damaged: netCDF leaves out attributes that it cannot read.

    Call it within `library`.
    """
    if h5py is None or not h5py.is_hdf5(path):
        return
    with hdf5(path) as file:
        if ATTRIBUTE in (file if group is None else file[group]).attrs:
            raise Damaged("its description cannot be read")


def laid_out(parsed: Json) -> tuple[dict[str | None, Json], dict[str | None, Json], dict[str | None, Layout]]:
    """Return the arrays that a description lists, what it says of each in the file, and how each is laid out.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, OverflowError: it contradicts itself.
    """
    content, file = parsed["content"], parsed["file"]
    sizes, renamed = content["sizes"], file.get("dims", {})
    notes: dict[str | None, Json] = {}
    layouts: dict[str | None, Layout] = {}
    entries: dict[str | None, Json] = {
        None: content["data"],
        **{name: entry for name, entry in content["coords"].items() if "levels" not in entry},
    }
    for name, entry in entries.items():
        note = notes[name] = file.get("variables", {}).get(label(name), {})
        stored = (
            VARIABLE if name is None else note.get("name", renamed.get(name, name) if entry["dims"] == [name] else name)
        )
        dims = tuple(renamed.get(dim, dim) for dim in entry["dims"])
        shape = tuple(sizes[dim] for dim in entry["dims"])
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError("sizes are whole numbers")
        place = layouts[name] = layout(stored, dims, shape, entry, note.get("width"))
        if place.dtype is not None and not isinstance(entry.get("tiles", []), list):
            raise TypeError("hashes are a list")
        if place.dtype is not None and "tiles" in entry and len(entry["tiles"]) != tile_count(shape, place.tile):
            raise ValueError("a tile without a hash")
    return entries, notes, layouts


def _fitting(path: Path, group: str | None, target: Any, parsed: Json) -> Opened:
    entries, notes, layouts = laid_out(parsed)
    whole: dict[str | None, Any] = {}
    for name, place in layouts.items():
        variable = target.variables.get(place.name)
        if variable is None or not _fits(variable, place, entries[name]):
            raise Unfit(f"variable {place.name!r}")
        if place.dtype is None or not place.chunk:
            whole[name] = plain(variable)[...]
    if sorted(place.name for place in layouts.values()) != sorted(target.variables):
        raise Unfit("its list of variables")
    bound(((entries[name], place.shape) for name, place in layouts.items()), path.stat().st_size)
    return Opened(path, group, parsed["content"], layouts, dict.fromkeys(layouts), whole, notes, parsed["digest"])


def _fits(variable: Any, place: Layout, entry: Json) -> bool:
    if variable.shape != place.stored_shape or variable.dimensions[: len(place.dims)] != place.dims:
        return False
    if place.dtype is None:
        if variable.dtype is not str:
            return False
    elif variable.dtype is str or variable.dtype != place.dtype or variable.endian() == "big":
        return False
    elif place.chunk:
        filters = variable.filters()
        if variable.chunking() == "contiguous" or tuple(variable.chunking()) != place.chunk:
            return False
        if not filters["zlib"] or bool(filters["shuffle"]) != place.shuffle or filters["fletcher32"]:
            return False
    wanted = attributes_for_others(entry["attrs"], place.technical)
    found = {name: variable.getncattr(name) for name in variable.ncattrs()}
    technical = {
        name: found[name]
        for name in ("_Encoding", "units", "calendar", "dtype")
        if name in place.technical and name in found
    }
    return technical == place.technical and has_attributes(found, wanted)


def bound(entries: Iterable[tuple[Json, tuple[int, ...]]], size: int) -> None:
    """Refuse text that a description makes wider than the file can hold: numpy pads each value to the width."""
    nbytes = 0
    for entry, shape in entries:
        dtype = np.dtype(entry["type"].get("dtype", "i1"))
        nbytes += math.prod(shape) * dtype.itemsize if dtype.kind == "U" else 0
    if nbytes > _WIDE + deflated_at_most(size):
        raise Damaged(f"its description declares text of {nbytes:,} bytes")


def places(dataset: Any, place: Layout, size: int) -> list[tuple[int, int]]:
    """Return where each chunk of a variable is, in the tiles' order; or the one piece in which it is stored."""
    found: dict[tuple[int, ...], tuple[int, int]] = {}
    if not place.chunk:
        return [(dataset.get_offset(), dataset.get_storage_size())]

    def keep(chunk: Any) -> None:
        if chunk.filter_mask == 0 and chunk.byte_offset > 0 and chunk.byte_offset + chunk.size <= size:
            found[chunk.chunk_offset] = (chunk.byte_offset, chunk.size)

    expected = tile_count(place.shape, place.tile)
    if dataset.get_num_chunks() != expected:
        raise Damaged("chunks are missing")
    dataset.chunk_iter(keep)
    inner = () if place.inner is None else (0,)
    try:
        return [found[*offset, *inner] for offset in offsets(place.shape, place.tile)]
    except KeyError:
        raise Damaged("chunks are missing") from None


def tile_of(data: bytes, place: Layout, offset: tuple[int, ...], proof: str | None) -> Array:
    """Return the tile of a chunk, verified by its hash; without the padding at the far edges.

    Raises:
        Damaged: its bytes are not what was written.
        Unfit: they are sound, but not those described.
    """
    try:
        whole = inflated(data, place.chunk, np.dtype(place.dtype), shuffle=place.shuffle)
    except ValueError as error:
        raise Damaged(str(error)) from error
    kept = tuple(slice(0, part.stop - part.start) for part in region(offset, place.tile, place.shape))
    tile = whole[kept]
    if proof is not None and digest(tile) != proof:
        raise Unfit(f"values of {place.name!r}")
    return tile


def elements_of(found: Opened, skip_data: bool = False) -> dict[str | None, Elements]:
    """Read everything from the file, in threads, and verify it by its hashes.

    Raises:
        Damaged, Unfit
    """
    file = os.open(found.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return read_elements(found, lambda chunk: pread(file, chunk[1], chunk[0]), skip_data)
    finally:
        os.close(file)


def read_elements(
    found: Opened, read: Callable[[tuple[int, int]], bytes], skip_data: bool = False
) -> dict[str | None, Elements]:
    """Do what `elements_of` does; ``read`` returns the bytes of a chunk."""
    made: dict[str | None, Elements] = {}
    if not skip_data:  # first its tiles in threads, then the coordinates in threads: memory stays low
        made[None] = element(found, None, read, in_threads)
    coords = [name for name in found.layouts if name is not None]
    made.update(zip(coords, in_threads(lambda name: element(found, name, read), coords), strict=True))
    return made


def element(found: Opened, name: str | None, read: Callable[[tuple[int, int]], bytes], each: Any = map) -> Elements:
    """Return one array, verified. ``each``: `map`, or `in_threads`."""
    return _elements(found, name, *_array(found, name, read, each))


def _array(
    found: Opened, name: str | None, fetch: Callable[[tuple[int, int]], bytes], each: Any
) -> tuple[Array | None, Array | None]:
    """Return a variable as it is stored, and for text a number for each element, from `row_hashes`."""
    place, chunks = found.layouts[name], found.chunks[name]
    if place.dtype is None or not place.chunk:
        return None, None
    array = np.empty(place.stored_shape, place.dtype)
    hashes = np.empty(place.shape, np.uint64) if _is_text(found, name) else None

    def read(tile: tuple[int, tuple[int, ...]]) -> None:
        number, offset = tile
        proof = None if hashes is not None or found.trusted else _entry(found, name)["tiles"][number]
        part = region(offset, place.tile, place.shape)
        if chunks is None:
            values = through_library(found.path, found.group, place, part, proof)
        else:
            values = tile_of(fetch(chunks[number]), place, offset, proof)
        array[part] = values
        if hashes is not None:
            rows = np.ascontiguousarray(values).view(np.uint8).reshape(-1, place.inner or 1)
            hashes[part] = row_hashes(rows).reshape(values.shape[:-1])

    for _ in each(read, enumerate(offsets(place.shape, place.tile))):
        pass
    return array, hashes


def through_library(path: Path, group: str | None, place: Layout, part: tuple[slice, ...], proof: str | None) -> Array:
    """Read one tile through netCDF4, as `tile_of` does without it."""
    with library(), netcdf(path) as dataset:
        target = dataset if group is None else dataset.groups[group]
        variable = plain(target.variables[place.name])
        try:
            tile: Array = np.asarray(variable[part])
        except RuntimeError as error:
            raise Damaged(str(error)) from error
    if proof is not None and digest(tile) != proof:
        raise Unfit(f"values of {place.name!r}")
    return tile


def _entry(found: Opened, name: str | None) -> Json:
    entry: Json = found.description["data"] if name is None else found.description["coords"][name]
    return entry


def _is_text(found: Opened, name: str | None) -> bool:
    return logical_dtype(_entry(found, name)["type"]) is None


def _elements(found: Opened, name: str | None, array: Array | None, hashes: Array | None) -> Elements:
    entry, note, place = _entry(found, name), found.notes[name], found.layouts[name]
    marks = None
    if "marks" in entry:
        marks = _marks(note.get("marks"), math.prod(place.shape), entry["marks"])
    special = entry.get("special", [])
    if _is_text(found, name):
        text = _text(found, name, array, hashes)
        return Elements(entry["type"], text, marks, special)
    if array is None:
        array = np.asarray(found.whole[name])
        if [digest(array)] != entry["tiles"]:
            raise Damaged(f"the value of {place.name!r} is not the one that was written")
    values = from_stored(array, np.dtype(logical_dtype(entry["type"])))
    return Elements(entry["type"], values if name is None else values.reshape(-1), marks, special)


def _marks(text: Any, places: int, proof: str) -> Array:
    try:
        inflater = zlib.decompressobj()
        marks = np.frombuffer(inflater.decompress(base64.b64decode(text, validate=True), places + 1), np.uint8)
    except (TypeError, ValueError, zlib.error) as error:
        raise Damaged("the marks of missing values cannot be read") from error
    if len(marks) != places or digest(marks) != proof:
        raise Damaged("the marks of missing values are not those that were written")
    return marks


def _text(found: Opened, name: str | None, array: Array | None, hashes: Array | None) -> Texts:
    """Return a variable's text, verified by its hash."""
    note, proof = found.notes[name], _entry(found, name)["text"]

    def ready(text: Texts) -> Texts:
        return text.unescaped() if note.get("escaped") is True else text

    try:
        if array is None:
            whole = np.asarray(found.whole[name], dtype=object).reshape(-1)
            text = ready(Texts.of(whole))
            if text.hash() != proof:
                raise Damaged(f"text of {found.layouts[name].name!r} is not what was written")
            return text
        rows = array.view(np.uint8).reshape(-1, array.shape[-1])
        if hashes is not None:
            text = ready(from_characters(rows, hashes.reshape(-1)))
            if text.hash() == proof:
                return text
        text = ready(from_bytes([row.rstrip(b"\0") for row in map(bytes, rows)]))
    except ValueError as error:
        raise Unfit(f"text of {found.layouts[name].name!r}") from error
    if text.hash() != proof:
        raise Unfit(f"text of {found.layouts[name].name!r}")
    return text
