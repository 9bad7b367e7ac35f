"""Assemblies to a netCDF-4 file.

netCDF4 defines the variables, so that every netCDF reader understands them; the chunks are compressed in threads and,
where h5py is installed, passed to HDF5 as they are.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._content import Content, Json, Variable, seal, tiles_of
from ._disk import NewFile
from ._layout import (
    ATTRIBUTE,
    FORMAT,
    VARIABLE,
    Layout,
    attributes_for_others,
    first_chunk,
    label,
    layout,
    names_in_file,
    to_stored,
    unused,
)
from ._library import h5py, hdf5, library, netcdf, plain
from ._reading import places
from ._texts import Texts
from ._tiles import Array, deflated, digest, in_threads, offsets, region


@dataclasses.dataclass
class _Placed:
    """A variable, its layout and path in the file, and its characters if it is text."""

    variable: Variable
    layout: Layout
    group: str | None
    path: str
    table: Array | None = None


def write(path: Path, groups: Mapping[str | None, Content], identifier: str, *, compress: bool) -> str:
    """Write assemblies to a new file, the main one under None; return the content digest of the whole.

    The file is flushed to the disk. After an error the caller removes what is at ``path``.
    """
    with contextlib.closing(NewFile(path)) as file:
        digest = _write(file, groups, identifier, compress)
        file.sync()
    return digest


def _write(file: NewFile, groups: Mapping[str | None, Content], identifier: str, compress: bool) -> str:
    placed: list[_Placed] = []
    files: dict[str | None, Json] = {}
    with file.opened(lambda path: netcdf(path, "w")) as dataset, library():
        dataset.setncattr("identifier", identifier)
        for group, content in groups.items():
            target = dataset if group is None else dataset.createGroup(group)
            files[group] = _define(target, content, group, placed)
    for variable, found in _written(file, placed, compress):
        variable.entry.update(found)
    for group, notes in files.items():
        if (place := first_chunk(file.path, group)) is not None:
            notes["first chunk"] = place
        if h5py is not None:
            notes["chunks"] = _places(file.path, [item for item in placed if item.group == group])
    extras = {group: content.digest for group, content in groups.items() if group is not None}
    if extras:
        groups[None].description["extras"] = extras
    with file.opened(lambda path: netcdf(path, "a")) as dataset, library():
        for group, content in groups.items():
            target = dataset if group is None else dataset.groups[group]
            description = {
                "format": FORMAT,
                "digest": content.digest,
                "content": content.description,
                "file": files[group],
                "seal": seal(files[group]),
            }
            _set(target, ATTRIBUTE, json.dumps(description, separators=(",", ":")))
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
        note, text, table = _form(variable, stored)
        place = layout(
            stored, tuple(dims[dim] for dim in variable.dims), variable.shape, variable.entry, note.get("width")
        )
        made = _create(target, place, inner, dims)
        for name, value in attributes_for_others(variable.entry["attrs"], place.technical).items():
            _set(made, name, value)
        made.setncatts(place.technical)
        if variable.name is None:
            listed = [names[name] for name in coords if name not in own]
            if listed:
                made.setncattr("coordinates", " ".join(listed))
        if place.dtype is None:
            made[...] = np.array(text.values(), dtype=object).reshape(place.shape) if place.shape else text.table[0]
        elif not place.stored_shape:
            made[...] = to_stored(np.asarray(variable.elements.values).reshape(()), place)
        placed.append(_Placed(variable, place, group, stored if group is None else f"{group}/{stored}", table))
        if note:
            variables[label(variable.name)] = note
    if variables:
        file["variables"] = variables
    return file


def _form(variable: Variable, stored: str) -> tuple[Json, Any, Array | None]:
    """Return what the description says of a variable's form in the file, its texts, and those as characters."""
    note: Json = {}
    if variable.name is not None and stored != variable.name:
        note["name"] = stored
    if variable.shown_as is not None:
        note["dtype"] = variable.shown_as
    if variable.elements.marks is not None:
        note["marks"] = base64.b64encode(zlib.compress(variable.elements.marks.tobytes(), 6)).decode("ascii")
    text = variable.elements.values
    if not isinstance(text, Texts):
        return note, text, None
    if text.needs_escape():
        note["escaped"] = True
        text = text.escaped()
    table = None if text.is_wide() else text.characters()
    note["width"] = "any" if table is None else table.shape[1]
    return note, text, table


def _places(path: Path, placed: list[_Placed]) -> dict[str, list[tuple[int, int]]]:
    """Return where the chunks of each variable are, for readers who do not have the whole file."""
    with library(), hdf5(path) as file:
        found = {}
        for item in placed:
            if item.layout.dtype is not None:
                dataset = h5py.h5d.open(file.id, item.path.encode())
                found[label(item.variable.name)] = places(dataset, item.layout, path.stat().st_size)
        return found


def _set(target: Any, name: str, value: Any) -> None:
    """Set an attribute; text as characters, since netCDF crashes on damaged strings of any length."""
    target.setncattr(name, value.encode() if isinstance(value, str) else value)


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
    return plain(target.createVariable(place.name, place.dtype, names, **options))


def _written(file: NewFile, placed: list[_Placed], compress: bool) -> Iterator[tuple[Variable, Json]]:
    """Write all chunks; yield each variable's hashes once they are known."""
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
    with file.opened(lambda path: hdf5(path, "r+") if direct else netcdf(path, "a")) as opened:
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
                    variables[target.path] = opened[target.path].id if direct else plain(opened[target.path])
                variable = variables[target.path]
                if direct:
                    variable.write_direct_chunk(start, data)
                    file.moved(variable.get_chunk_info_by_coord(start).byte_offset, data)
                else:
                    variable[region(start, data.shape, target.layout.stored_shape)] = data
    for target in placed:
        if id(target) in texts:
            yield target.variable, {"text": texts[id(target)]}
        else:
            proofs, place = tiles[id(target)], target.layout
            yield target.variable, {"tiles": [proofs[offset] for offset in offsets(place.shape, place.tile)]}


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
