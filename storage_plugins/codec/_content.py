"""What an assembly holds, as JSON and arrays, and an assembly again from those.

The JSON, complete with its hashes, is what the content digest is taken of; ``docs/format.md`` specifies both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..errors import EncodingError
from ._elements import Elements, analysed, as_level, dtype_from_json, dtype_to_json, of_level, restored
from ._layout import Layout, layout, to_stored
from ._texts import Texts
from ._tiles import digest, in_threads, offsets, region, regions
from ._values import Unkeepable, canonical, from_json, to_json

RULE = "sp1"  # names the rule by which a content digest is made
Json = dict[str, Any]
_HAS_COORDINATES = hasattr(xr, "Coordinates")  # from 2023.8


@dataclasses.dataclass
class Variable:
    """One array of an assembly: its data, a coordinate, or a level of an index.

    Attributes:
        name: of the coordinate; None: the data.
        dims: of the assembly.
        shape: int for each dimension.
        elements: its values.
        entry: its description, shared with `Content.description`; the hashes are added by whoever makes them.
        attrs: as the assembly has them.
        shown_as: JSON form of the dtype that xarray shows, where that may be another one.
    """

    name: str | None
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    elements: Elements
    entry: Json
    attrs: Mapping[str, Any]
    shown_as: Any = None


@dataclasses.dataclass
class Content:
    """An assembly taken apart: its description, still without hashes, and its arrays, the data first."""

    description: Json
    variables: list[Variable]

    @property
    def digest(self) -> str:
        """The content digest, once the description has its hashes."""
        return content_digest(self.description)


def content_digest(description: Json) -> str:
    """Return the content digest of a complete description."""
    return f"{RULE}:{hashlib.sha256(canonical(description)).hexdigest()}"


def seal(file: Json) -> str:
    """Return the hash of what a description says of its file, which is not part of the content."""
    return hashlib.sha256(canonical(file)).hexdigest()


def add_hashes(content: Content) -> None:
    """Complete a description as writing the file would, without a file."""
    for variable in content.variables:
        values = variable.elements.values
        if isinstance(values, Texts):
            variable.entry["text"] = values.hash()
            continue
        place = layout("", variable.dims, variable.shape, variable.entry, None)
        found = dict(in_threads(functools.partial(_hashed, place), tiles_of(values, place)))
        variable.entry["tiles"] = [found[offset] for offset in offsets(place.shape, place.tile)]


def _hashed(place: Layout, tile: tuple[tuple[int, ...], Any]) -> tuple[tuple[int, ...], str]:
    return tile[0], digest(to_stored(tile[1], place))


def tiles_of(values: Any, place: Layout) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Yield each tile of an array of numpy or dask, with where it begins, in any order."""
    if hasattr(values, "__dask_graph__"):
        return regions(values, place.tile)
    values = np.asarray(values).reshape(place.shape)
    return ((at, values[region(at, place.tile, place.shape)]) for at in offsets(place.shape, place.tile))


def taken_apart(assembly: xr.DataArray, label: str, drop_attrs: Sequence[str] = ()) -> Content:
    """Return what an assembly holds. A dask array of numbers is not computed.

    Raises:
        EncodingError: something has no exact form; names it.
    """
    for name in [*assembly.dims, *assembly.coords]:
        if not isinstance(name, str):
            raise EncodingError(f"{label}: the name {name!r} is not a str", hint="Rename it: assembly.rename(…).")
    dims = tuple(map(str, assembly.dims))
    taking = _Taking(assembly, label, _sizes(dims, assembly.shape, label))
    with _naming(f"{label}: its name"):
        description: Json = {"name": to_json(assembly.name), "dims": list(dims), "sizes": taking.sizes}
    with _naming(f"{label}: its data"):
        elements = analysed(_data(assembly.variable))
    attrs = {name: value for name, value in assembly.attrs.items() if name not in drop_attrs}
    description["data"] = taking.add(None, dims, elements, attrs)
    coords: dict[str, Json] = {}
    for name, coord in assembly.coords.items():
        name = str(name)
        index = _index_of(assembly, name, label)
        if not isinstance(index, pd.MultiIndex):
            coords[name] = taking.coordinate(name, coord, index)
        elif name not in index.names:  # a level is part of its index
            coords |= taking.multi_index(name, coord, index)
    description["coords"] = _in_order(coords, assembly)
    return Content(description, taking.variables)


@dataclasses.dataclass
class _Taking:
    """An assembly while it is taken apart, and its arrays so far."""

    assembly: xr.DataArray
    label: str
    sizes: dict[str, int]
    variables: list[Variable] = dataclasses.field(default_factory=list)

    def add(self, name: str | None, dims: tuple[str, ...], elements: Elements, attrs: Mapping[Any, Any]) -> Json:
        """Add an array, and return its description."""
        what = self.label if name is None else f"{self.label}: coordinate {name!r}"
        shape = tuple(self.sizes[dim] for dim in dims)
        entry: Json = {"dims": list(dims), "type": elements.type, "attrs": _attrs(attrs, what, name is None)}
        if elements.marks is not None:
            entry |= {"special": elements.special, "marks": digest(elements.marks)}
        self.variables.append(Variable(name, dims, shape, elements, entry, attrs))
        return entry

    def coordinate(self, name: str, coord: xr.DataArray, index: pd.Index[Any] | None) -> Json:
        """Add a coordinate, with its index or without one."""
        dims = tuple(map(str, coord.dims))
        with _naming(f"{self.label}: coordinate {name!r}"):
            take_index = index is not None and _is_pandas(index.dtype) and coord.dtype.kind == "O"
            elements = analysed(
                index.array if take_index and index is not None else _data(coord.variable, compute=True)
            )
        entry = self.add(name, dims, elements, coord.attrs)
        if index is not None and _is_pandas(coord.dtype) and not _is_pandas(index.dtype):
            self.variables[-1].shown_as = dtype_to_json(coord.dtype)
        if (index is None) == (dims == (name,)):
            entry["index"] = index is not None  # not as xarray does it by itself
        return entry

    def multi_index(self, name: str, coord: xr.DataArray, index: pd.MultiIndex) -> dict[str, Json]:
        """Add the levels of an index; return its description and theirs."""
        dims = tuple(map(str, coord.dims))
        names = list(map(str, index.names))
        coords = {name: {"levels": names, "attrs": _attrs(coord.attrs, f"{self.label}: coordinate {name!r}")}}
        levels = zip(names, index.levels, index.codes, strict=True)
        for level, elements in zip(names, in_threads(functools.partial(_level, self.label), levels), strict=True):
            listed = level in self.assembly.coords  # older xarray has the index alone
            coords[level] = self.add(level, dims, elements, self.assembly.coords[level].attrs if listed else {})
            if listed:
                self.variables[-1].shown_as = dtype_to_json(self.assembly.coords[level].dtype)
        return coords


def _sizes(dims: tuple[str, ...], shape: tuple[int, ...], label: str) -> dict[str, int]:
    """Return the length of each dimension. One may come twice, as in a matrix of all stimuli by all stimuli."""
    sizes: dict[str, int] = {}
    for dim, size in zip(dims, shape, strict=True):
        if math.isnan(size):
            raise EncodingError(
                f"{label}: dimension {dim!r} has an unknown length (a dask array with chunks of unknown size)",
                hint="Compute the lengths first: assembly.data.compute_chunk_sizes().",
            )
        if sizes.setdefault(dim, size) != size:
            raise EncodingError(
                f"{label}: dimension {dim!r} comes twice, with lengths {sizes[dim]} and {size}",
                hint="Give the two dimensions different names.",
            )
    return sizes


def _level(label: str, level: tuple[str, pd.Index[Any], Any]) -> Elements:
    name, values, codes = level
    with _naming(f"{label}: coordinate {name!r}"):
        return of_level(values, np.asarray(codes))


def _in_order(coords: dict[str, Json], assembly: xr.DataArray) -> dict[str, Json]:
    """Return the coordinates in the assembly's order; older xarray does not list levels of an index."""
    listed = [str(name) for name in assembly.coords]
    if set(listed) != set(coords):
        return coords
    return {name: coords[name] for name in listed}


def _data(variable: xr.Variable, *, compute: bool = False) -> Any:
    """Return a variable's array: of numpy, of pandas, or of dask if it is one of numbers."""
    data = variable.data
    if isinstance(data, np.ndarray | pd.api.extensions.ExtensionArray):
        return data
    if hasattr(data, "__dask_graph__"):
        if compute or data.dtype.kind in "OU":
            return data.compute()
        if isinstance(getattr(data, "_meta", None), np.ndarray):
            return data
        data = data._meta
    raise Unkeepable(f"is held as {type(data).__module__}.{type(data).__qualname__}", "Convert it to a numpy array.")


def _index_of(assembly: xr.DataArray, name: str, label: str) -> pd.Index[Any] | None:
    index = assembly.xindexes.get(name)
    if index is None:
        return None
    if type(index).__name__ not in ("PandasIndex", "PandasMultiIndex"):
        raise EncodingError(
            f"{label}: coordinate {name!r} has an index of type {type(index).__name__}",
            hint=f"Take the index off: assembly.drop_indexes({name!r}).",
        )
    pandas: pd.Index[Any] = index.to_pandas_index()
    for given in pandas.names:
        if given is not None and not isinstance(given, str):
            raise EncodingError(
                f"{label}: the index {name!r} has the name {given!r}, which is not a str", hint="Rename it."
            )
    return pandas


def _is_pandas(dtype: Any) -> bool:
    return isinstance(dtype, pd.api.extensions.ExtensionDtype)


def _attrs(attrs: Mapping[Any, Any], what: str, droppable: bool = False) -> Json:
    forms: Json = {}
    for name, value in attrs.items():
        if not isinstance(name, str):
            raise EncodingError(f"{what}: the attribute name {name!r} is not a str", hint="Rename it.")
        try:
            forms[name] = to_json(value)
        except Unkeepable as error:
            hint = error.hint or "Convert it to text, or to lists and numbers."
            if droppable:
                hint += f" Or leave it out: drop_attrs=[{name!r}]."
            raise EncodingError(f"{what}: attribute {name!r} {error}, which a file cannot store", hint=hint) from error
    return forms


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except Unkeepable as error:
        hint = error.hint or "Convert it to numbers or text."
        raise EncodingError(f"{what} {error}, which a file cannot store", hint=hint) from error


# back


def put_together(description: Json, values: Mapping[str | None, Any], shown_as: Mapping[str, Any]) -> xr.DataArray:
    """Return the assembly.

    Args:
        description: of its content.
        values: `Elements` of each coordinate and level by name; the data's array under None.
        shown_as: what the dtypes were that xarray showed, where those may be others.

    Raises:
        EncodingError: this version of xarray or pandas cannot hold something.
        ValueError: the description contradicts itself.
    """
    entries = [description["data"], *description["coords"].values()]
    if all(len(set(entry.get("dims", ()))) == len(entry.get("dims", ())) for entry in entries):
        return _put_together(description, values, shown_as)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate dimension names")  # whoever made the assembly saw the warning
        return _put_together(description, values, shown_as)


def _put_together(description: Json, values: Mapping[str | None, Any], shown_as: Mapping[str, Any]) -> xr.DataArray:
    sizes, entries = description["sizes"], description["coords"]
    coords: dict[str, xr.Variable] = {}
    indexes: dict[str, Any] = {}
    for name, entry in entries.items():
        if "levels" in entry and name not in coords:
            made, index = _multi_index(name, entry, description, values, shown_as)
            if not coords.keys().isdisjoint(made):
                raise ValueError(f"the levels of {name!r}")
            coords |= made
            indexes |= dict.fromkeys(made, index)
    levels = {level for entry in entries.values() for level in entry.get("levels", ())}
    for name, entry in entries.items():
        if name in coords or name in levels:
            continue
        array = restored(values[name], tuple(sizes[dim] for dim in entry["dims"]))
        make = _coordinate if _HAS_COORDINATES else _old_coordinate
        variable, index, dtype = make(name, entry, array, shown_as)
        variable.attrs = _attrs_back(entry["attrs"])
        _check_held(f"coordinate {name!r}", variable, array, dtype)
        coords[name] = variable
        if index is not None:
            indexes[name] = index
    coords = {name: coords[name] for name in [*entries, *coords] if name in coords}
    data = _variable(tuple(description["dims"]), values[None])
    _check_held("the data", data, values[None], values[None].dtype)
    attrs = _attrs_back(description["data"]["attrs"])
    name = from_json(description["name"])
    if _HAS_COORDINATES:
        return _with_coords(data, xr.Coordinates(coords, indexes=indexes), name, attrs)
    assembly = xr.DataArray(data, coords=coords, name=name)
    assembly.attrs = attrs
    return assembly


def _coordinate(name: str, entry: Json, array: Any, shown_as: Mapping[str, Any]) -> tuple[xr.Variable, Any, Any]:
    """Return a coordinate, its index or None, and the dtype that it must have."""
    dims = tuple(entry["dims"])
    variable = _variable(dims, array)
    if not entry.get("index", dims == (name,)):
        return variable, None, array.dtype
    dtype = dtype_from_json(shown_as[name]) if name in shown_as else array.dtype
    if name in shown_as or _is_pandas(array.dtype):  # from_variables would change the types
        pandas = pd.Index(array, name=name, dtype=array.dtype)
        index = xr.indexes.PandasIndex(pandas, dims[0], coord_dtype=dtype)
    else:
        index = xr.indexes.PandasIndex.from_variables({name: variable}, options={})
    return index.create_variables({name: variable})[name], index, dtype


def _old_coordinate(name: str, entry: Json, array: Any, shown_as: Mapping[str, Any]) -> tuple[xr.Variable, Any, Any]:
    """Do the same where xarray makes the indexes itself."""
    dims = tuple(entry["dims"])
    if "index" in entry:
        raise _too_old(f"coordinate {name!r}, whose index is not xarray's own choice")
    if dims != (name,):
        return _variable(dims, array), None, array.dtype
    index_variable: Any = xr.IndexVariable  # untyped
    if _is_pandas(array.dtype):
        variable = index_variable(dims, pd.Index(array, name=name))
        return variable, None, variable.dtype
    return index_variable(dims, array), None, array.dtype


def _with_coords(data: xr.Variable, coords: Any, name: Any, attrs: Json) -> xr.DataArray:
    """Return data with its coordinates. DataArray would copy each index deeply; a dataset takes it as it is."""
    if len(set(data.dims)) < len(data.dims):  # a dataset cannot have a dimension twice
        return xr.DataArray(data, coords=coords, name=name, attrs=attrs)
    held = "data"
    while held in coords or held in data.dims:
        held += "_"
    data.attrs = attrs
    assembly = xr.Dataset({held: data}, coords=coords)[held]
    assembly.name = name
    return assembly


def _multi_index(
    dim: str,
    entry: Json,
    description: Json,
    values: Mapping[str | None, Any],
    shown_as: Mapping[str, Any],
) -> tuple[dict[str, xr.Variable], Any]:
    names = entry["levels"]
    if len(set(names)) < len(names) or any(description["coords"][name]["dims"] != [dim] for name in names):
        raise ValueError(f"the levels of {dim!r}")
    levels = list(in_threads(as_level, (values[level] for level in names)))
    multi_index: Any = pd.MultiIndex  # its stubs know no arrays
    index_variable: Any = xr.IndexVariable  # untyped
    index = multi_index(
        levels=[level for _, level in levels],
        codes=[codes for codes, _ in levels],
        names=names,
        verify_integrity=False,
    )
    if not _HAS_COORDINATES:
        return {dim: index_variable(dim, index, _attrs_back(entry["attrs"]))}, None
    dtypes = {
        name: dtype_from_json(shown_as[name]) if name in shown_as else np.asarray(level[:0]).dtype
        for name, (_, level) in zip(names, levels, strict=True)
    }
    held = xr.indexes.PandasMultiIndex(index, dim, level_coords_dtype=dtypes)
    made: dict[str, xr.Variable] = dict(held.create_variables())
    for name, variable in made.items():
        variable.attrs = _attrs_back(description["coords"][name]["attrs"])
    return made, held


def _variable(dims: tuple[str, ...], array: Any) -> xr.Variable:
    if array.dtype != object or hasattr(array, "__dask_graph__"):
        return xr.Variable(dims, array)
    variable = xr.Variable(dims, np.empty(array.shape, dtype=object))
    variable.data[...] = array  # given to xarray at once, dates and pd.NA would be made into something else
    return variable


def _attrs_back(forms: Json) -> Json:
    return {name: from_json(form) for name, form in forms.items()}


def _check_held(what: str, variable: xr.Variable, array: Any, dtype: Any) -> None:
    """Refuse what this version of xarray would hold as something else, such as a date beyond its years."""
    dates = isinstance(array, np.ndarray) and array.dtype.kind in "mM"
    if variable.dtype != dtype or (
        dates and not np.array_equal(np.asarray(variable.data).view("i8"), array.view("i8"))
    ):
        raise _too_old(f"{what}, of type {dtype}")


def _too_old(what: str) -> EncodingError:
    return EncodingError(
        f"The installed xarray {xr.__version__} cannot hold {what}", hint="Load it with a newer xarray and pandas."
    )
