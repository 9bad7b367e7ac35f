"""The netCDF-4 file of an assembly: written, and read back proved.

netCDF4 defines the variables, so that every netCDF reader knows them; the chunks are compressed in threads and
handed to HDF5 as they are, and read by their places in the file, where h5py is there for it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import logging
import math
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EncodingError
from .content import Content, Json, Variable, content_digest, tiles_of
from .elements import Elements
from .layout import (
    ATTRIBUTE,
    FORMAT,
    VARIABLE,
    Layout,
    attributes_for_others,
    from_stored,
    has_attributes,
    layout,
    logical_dtype,
    names_in_file,
    to_stored,
    unused,
)
from .texts import Texts, from_bytes, from_characters, row_hashes
from .tiles import Array, deflated, digest, in_threads, inflated, offsets, region, tile_count

try:
    import h5py
except ImportError:  # no wheel for this machine: chunks go through netCDF4, one after the other
    h5py = None

_log = logging.getLogger(__name__)
_ours = threading.RLock()  # netCDF4 and HDF5 crash when several threads are inside them


@contextlib.contextmanager
def library() -> Iterator[None]:
    """Be alone in netCDF4 and HDF5: among this package's threads, and with what xarray does in others."""
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    with _ours, NETCDF4_PYTHON_LOCK:
        yield


def alone() -> threading.RLock:
    """Return the lock to hold around what xarray does with a file: it takes its own for each of its calls."""
    return _ours


# writing


@dataclasses.dataclass
class _Placed:
    """A variable, where it goes, and its characters if it is text."""

    variable: Variable
    layout: Layout
    path: str
    table: Array | None = None


def write(path: Path, groups: Mapping[str | None, Content], identifier: str, *, compress: bool) -> str:
    """Write assemblies to a new file, the main one under None; return the content digest of the whole.

    What is at ``path`` after an error is to be removed.
    """
    import netCDF4

    placed: list[_Placed] = []
    files: dict[str | None, Json] = {}
    with library(), netCDF4.Dataset(path, "w", format="NETCDF4") as dataset:
        dataset.setncattr("identifier", identifier)
        for group, content in groups.items():
            target = dataset if group is None else dataset.createGroup(group)
            files[group] = _define(target, content, group, placed)
    for variable, found in _written(path, placed, compress):
        variable.entry.update(found)
    extras = {group: content.digest for group, content in groups.items() if group is not None}
    if extras:
        groups[None].description["extras"] = extras
    with library(), netCDF4.Dataset(path, "a") as dataset:
        for group, content in groups.items():
            target = dataset if group is None else dataset.groups[group]
            description = {
                "format": FORMAT,
                "digest": content.digest,
                "content": content.description,
                "file": files[group],
            }
            target.setncattr_string(ATTRIBUTE, json.dumps(description, separators=(",", ":")))
    return groups[None].digest


def _define(target: Any, content: Content, group: str | None, placed: list[_Placed]) -> Json:
    """Define one assembly's dimensions and variables; return what the description says of the file."""
    sizes = content.description["sizes"]
    dims = names_in_file(sizes, [VARIABLE])
    coords = [variable.name for variable in content.variables if variable.name is not None]
    own = [name for name in coords if name in sizes and content.description["coords"][name]["dims"] == [name]]
    others = names_in_file([name for name in coords if name not in own], [VARIABLE, *dims.values()])
    names = {**others, **{name: dims[name] for name in own}}
    for name, size in sizes.items():
        target.createDimension(dims[name], size)
    file: Json = {}
    if renamed := {name: stored for name, stored in dims.items() if name != stored}:
        file["dims"] = renamed
    variables: dict[str, Json] = {}
    inner: dict[tuple[str, int], str] = {}
    for variable in content.variables:
        stored = VARIABLE if variable.name is None else names[variable.name]
        note: Json = {}
        if variable.name is not None and stored != variable.name:
            note["name"] = stored
        if variable.shown_as is not None:
            note["dtype"] = variable.shown_as
        if variable.elements.marks is not None:
            note["marks"] = base64.b64encode(zlib.compress(variable.elements.marks.tobytes(), 6)).decode("ascii")
        table: Array | None = None
        width: Any = None
        text = variable.elements.values
        if isinstance(text, Texts):
            if text.needs_escape():
                note["escaped"] = True
                text = text.escaped()
            if text.is_wide():
                width = "any"
            else:
                table = text.characters()
                width = table.shape[1]
            note["width"] = width
        place = layout(stored, tuple(dims[dim] for dim in variable.dims), variable.shape, variable.entry, width)
        made = _create(target, place, inner, dims)
        for name, value in attributes_for_others(variable.entry["attrs"], place.technical).items():
            made.setncattr(name, value)
        made.setncatts(place.technical)
        if variable.name is None:
            listed = [names[name] for name in coords if name not in own]
            if listed:
                made.setncattr("coordinates", " ".join(listed))
        if place.dtype is None:
            made[...] = np.array(text.values(), dtype=object).reshape(place.shape) if place.shape else text.table[0]
        elif not place.stored_shape:
            made[...] = to_stored(np.asarray(variable.elements.values).reshape(()), place)
        placed.append(_Placed(variable, place, stored if group is None else f"{group}/{stored}", table))
        if note:
            variables["" if variable.name is None else f"/{variable.name}"] = note
    if variables:
        file["variables"] = variables
    return file


def _create(target: Any, place: Layout, inner: dict[tuple[str, int], str], dims: Mapping[str, str]) -> Any:
    names = place.dims
    if place.inner is not None:
        kind = "string" if place.dtype == np.dtype("S1") else "complex"
        if (kind, place.inner) not in inner:
            inner[kind, place.inner] = unused(
                f"{kind}{place.inner}", [*dims.values(), *inner.values(), *target.variables]
            )
            target.createDimension(inner[kind, place.inner], place.inner)
        names = (*names, inner[kind, place.inner])
    if place.dtype is None:
        return target.createVariable(place.name, str, names)
    options: Json = {} if place.dtype == np.dtype("S1") else {"endian": "little"}
    if place.chunk:
        options |= {"zlib": True, "complevel": 1, "shuffle": place.shuffle, "chunksizes": place.chunk}
    return _plain(target.createVariable(place.name, place.dtype, names, **options))


def _plain(variable: Any) -> Any:
    """Let netCDF4 give and take a variable's elements as they are."""
    variable.set_auto_maskandscale(False)
    variable.set_auto_chartostring(False)
    return variable


def _written(path: Path, placed: list[_Placed], compress: bool) -> Iterator[tuple[Variable, Json]]:
    """Write all chunks; yield each variable's hashes once they are known."""
    import netCDF4

    direct = h5py is not None

    def work(task: tuple[_Placed, tuple[int, ...], Any]) -> tuple[_Placed, tuple[int, ...], str, Any]:
        target, offset, values = task
        place = target.layout
        if isinstance(values, Texts):
            return target, offset, values.hash(), None
        if target.table is not None:
            part = target.table.take(values, axis=0).view("S1")
            proof = ""
        else:
            part = to_stored(values, place)
            proof = digest(part)
        if direct and place.chunk:
            return target, offset, proof, deflated(part, place.chunk, shuffle=place.shuffle, compress=compress)
        return target, offset, proof, part

    tiles: dict[int, dict[tuple[int, ...], str]] = {id(item): {} for item in placed}
    texts: dict[int, str] = {}
    variables: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        with library():
            file = h5py.File(path, "r+") if direct else netCDF4.Dataset(path, "a")
        stack.callback(_close, file)
        for target, offset, proof, data in in_threads(work, _tasks(placed)):
            if data is None:
                texts[id(target)] = proof
                continue
            if target.table is None:
                tiles[id(target)][offset] = proof
            if not target.layout.chunk:
                continue  # it was written when it was defined
            start = offset if target.layout.inner is None else (*offset, 0)
            with library():
                if target.path not in variables:
                    variables[target.path] = file[target.path].id if direct else _plain(file[target.path])
                if direct:
                    variables[target.path].write_direct_chunk(start, data)
                else:
                    variables[target.path][region(start, data.shape, target.layout.stored_shape)] = data
    for target in placed:
        if id(target) in texts:
            yield target.variable, {"text": texts[id(target)]}
        else:
            proofs, place = tiles[id(target)], target.layout
            yield target.variable, {"tiles": [proofs[offset] for offset in offsets(place.shape, place.tile)]}


def _close(file: Any) -> None:
    with library():
        file.close()


def _tasks(placed: list[_Placed]) -> Iterator[tuple[_Placed, tuple[int, ...], Any]]:
    """Yield what is to be hashed and written: each tile, and each text as a whole for its hash."""
    for target in placed:
        place, values = target.layout, target.variable.elements.values
        if isinstance(values, Texts):
            yield target, (), values
            if place.dtype is None:
                continue
            values = values.codes
        yield from ((target, offset, part) for offset, part in tiles_of(values, place))


# reading


class Damaged(Exception):
    """The bytes are not those that were written."""


class Unfit(Exception):
    """The description is not of what the file holds: another program has rewritten it."""


@dataclasses.dataclass
class Opened:
    """A file whose description fits: where everything lies.

    Attributes:
        description: of the content.
        layouts: of the data, under None, and of each coordinate.
        chunks: for each variable, where each chunk lies in the file: offset and size in bytes, in the tiles' order;
            None: it is read through netCDF4.
        whole: what is not in chunks.
        notes: what the description says of each variable in the file.
    """

    path: Path
    group: str | None
    description: Json
    layouts: dict[str | None, Layout]
    chunks: dict[str | None, list[tuple[int, int]] | None]
    whole: dict[str | None, Any]
    notes: dict[str | None, Json]


def description_of(attribute: Any) -> Json | None:
    """Return the parsed description of a file's attribute, None if there is none.

    Raises:
        EncodingError: it is damaged, or of a newer format.
    """
    if attribute is None:
        return None
    if not isinstance(attribute, str):
        raise Damaged("its description is no text")
    try:
        parsed = json.loads(attribute)
        if not isinstance(parsed, dict):
            raise Damaged("its description is no JSON object")
        if parsed.get("format") != FORMAT and isinstance(parsed.get("format"), int):
            raise EncodingError(
                f"it is of format {parsed['format']}; this version reads format {FORMAT}",
                hint="Update storage-plugins.",
            )
        if content_digest(parsed["content"]) != parsed["digest"]:
            raise Damaged("its description is not the one that was written")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"its description cannot be read ({type(error).__name__})") from error
    return parsed


def opened(path: Path, group: str | None) -> Opened | None:
    """Look at a file of this package without reading its data; None: it is somebody else's.

    Raises:
        Damaged, Unfit
    """
    import netCDF4

    with library(), netCDF4.Dataset(path) as dataset:
        target = dataset if group is None else dataset.groups[group]
        parsed = description_of(target.__dict__.get(ATTRIBUTE))
        if parsed is None:
            return None
        try:
            found = _fitting(path, group, target, parsed)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Damaged(f"its description contradicts itself ({error})") from error
    if h5py is not None:
        with library(), h5py.File(path, "r") as file:
            for name, place in found.layouts.items():
                if place.chunk:
                    found.chunks[name] = _places(file if group is None else file[group], place, path.stat().st_size)
    return found


def _fitting(path: Path, group: str | None, target: Any, parsed: Json) -> Opened:
    content, file = parsed["content"], parsed["file"]
    sizes, renamed = content["sizes"], file.get("dims", {})
    notes: dict[str | None, Json] = {}
    layouts: dict[str | None, Layout] = {}
    whole: dict[str | None, Any] = {}
    entries = {
        None: content["data"],
        **{name: entry for name, entry in content["coords"].items() if "levels" not in entry},
    }
    size = path.stat().st_size
    for name, entry in entries.items():
        note = notes[name] = file.get("variables", {}).get("" if name is None else f"/{name}", {})
        stored = (
            VARIABLE if name is None else note.get("name", renamed.get(name, name) if entry["dims"] == [name] else name)
        )
        dims = tuple(renamed.get(dim, dim) for dim in entry["dims"])
        shape = tuple(sizes[dim] for dim in entry["dims"])
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError("sizes are whole numbers")
        place = layouts[name] = layout(stored, dims, shape, entry, note.get("width"))
        if place.dtype is not None and "tiles" in entry and len(entry["tiles"]) != tile_count(shape, place.tile):
            raise ValueError("a tile without a hash")
        variable = target.variables.get(stored)
        if variable is None or not _fits(variable, place, entry):
            raise Unfit(f"variable {stored!r}")
        refuse_implausible(path.name, place.stored_shape, place.dtype, size)
        if place.dtype is None or not place.chunk:
            whole[name] = _plain(variable)[...]
    if {place.name for place in layouts.values()} != set(target.variables):
        raise Unfit("there are other variables")
    return Opened(path, group, content, layouts, dict.fromkeys(layouts), whole, notes)


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


def refuse_implausible(name: str, shape: tuple[int, ...], dtype: Any, size: int) -> None:
    """Refuse what would fill the memory and cannot be in a file of that many bytes.

    Deflate makes nothing smaller than a thousandth (1032 : 1).
    """
    nbytes = math.prod(shape) * (16 if dtype is None or dtype is str else np.dtype(dtype).itemsize)
    if nbytes > (64 << 20) + 1100 * size:
        raise EncodingError(
            f"{name} declares an array of {nbytes:,} bytes, which a file of {size:,} bytes cannot hold",
            hint="Look at where the file comes from; it may be damaged.",
        )


def _places(root: Any, place: Layout, size: int) -> list[tuple[int, int]]:
    """Return where each chunk of a variable lies, in the tiles' order."""
    found: dict[tuple[int, ...], tuple[int, int]] = {}
    dataset = root[place.name]

    def keep(chunk: Any) -> None:
        if chunk.filter_mask == 0 and chunk.byte_offset > 0 and chunk.byte_offset + chunk.size <= size:
            found[chunk.chunk_offset] = (chunk.byte_offset, chunk.size)

    expected = tile_count(place.shape, place.tile)
    if dataset.id.get_num_chunks() != expected:
        raise Damaged("chunks are missing")
    dataset.id.chunk_iter(keep)
    inner = () if place.inner is None else (0,)
    try:
        return [found[*offset, *inner] for offset in offsets(place.shape, place.tile)]
    except KeyError:
        raise Damaged("chunks are missing") from None


def read_tile(file: int, place: Layout, chunk: tuple[int, int], offset: tuple[int, ...], proof: str | None) -> Array:
    """Return one tile from the file, proved by its hash; without the padding at the far edges.

    Raises:
        Damaged: its bytes are not what was written.
        Unfit: they are sound, yet not those described.
    """
    data = pread(file, chunk[1], chunk[0])
    try:
        whole = inflated(data, place.chunk, np.dtype(place.dtype), shuffle=place.shuffle)
    except ValueError as error:
        raise Damaged(str(error)) from error
    kept = tuple(slice(0, part.stop - part.start) for part in region(offset, place.tile, place.shape))
    tile = whole[kept]
    if proof is not None and digest(tile) != proof:
        raise Unfit(f"values of {place.name!r}")
    return tile


def pread(file: int, size: int, offset: int) -> bytes:
    """Read bytes at a place of an open file, without a position that threads would share."""
    if hasattr(os, "pread"):
        return os.pread(file, size, offset)
    with os.fdopen(os.dup(file), "rb") as copy, _ours:  # Windows
        copy.seek(offset)
        return copy.read(size)


def elements_of(found: Opened, skip_data: bool = False) -> dict[str | None, Elements]:
    """Read everything, in threads, and prove it by its hashes.

    Raises:
        Damaged, Unfit
    """
    arrays: dict[str | None, Array] = {}
    hashes: dict[str | None, Array] = {}
    tasks: list[tuple[str | None, int, tuple[int, ...]]] = []
    for name, place in found.layouts.items():
        if name is None and skip_data:
            continue
        if place.dtype is None or not place.chunk:
            continue
        arrays[name] = np.empty(place.stored_shape, place.dtype)
        if _is_text(found, name):
            hashes[name] = np.empty(place.shape, np.uint64)
        tasks += [(name, number, offset) for number, offset in enumerate(offsets(place.shape, place.tile))]
    with contextlib.ExitStack() as stack:
        file = os.open(found.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        stack.callback(os.close, file)

        def work(task: tuple[str | None, int, tuple[int, ...]]) -> None:
            name, number, offset = task
            place = found.layouts[name]
            chunks = found.chunks[name]
            proof = None if name in hashes else _entry(found, name)["tiles"][number]
            part = region(offset, place.tile, place.shape)
            if chunks is None:
                tile = through_library(found.path, found.group, place, part, proof)
            else:
                tile = read_tile(file, place, chunks[number], offset, proof)
            arrays[name][part] = tile
            if name in hashes:
                rows = np.ascontiguousarray(tile).view(np.uint8).reshape(-1, place.inner or 1)
                hashes[name][part] = row_hashes(rows).reshape(tile.shape[:-1])

        for _ in in_threads(work, tasks):
            pass
    names = [name for name in found.layouts if not (name is None and skip_data)]
    made = in_threads(lambda name: _elements(found, name, arrays.get(name), hashes.get(name)), names)
    return dict(zip(names, made, strict=True))


def through_library(path: Path, group: str | None, place: Layout, part: tuple[slice, ...], proof: str | None) -> Array:
    """Read one tile through netCDF4, as `read_tile` does without it."""
    import netCDF4

    with library(), netCDF4.Dataset(path) as dataset:
        target = dataset if group is None else dataset.groups[group]
        variable = _plain(target.variables[place.name])
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
    """Return a variable's text, proved by its hash."""
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


__all__ = ["Damaged", "Opened", "Unfit", "alone", "elements_of", "library", "opened", "write"]
