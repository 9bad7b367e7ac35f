"""How an assembly is laid out in a netCDF-4 file: names, types, chunks, and attributes for other programs.

Writer and reader both use this, so that the reader recognizes a file that another program has rewritten.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._library import h5py, hdf5, library
from ._tiles import Array, tile_shape
from ._values import dtype_of, from_json

ATTRIBUTE = "storage_plugins"  # the global attribute that describes the assembly
VARIABLE = "data"
FORMAT = 1
_RESERVED = frozenset(
    [
        "_FillValue",
        "missing_value",
        "scale_factor",
        "add_offset",
        "calendar",
        "coordinates",
        "dtype",
        "bounds",
        "grid_mapping",
        "climatology",
        "cell_measures",
        "formula_terms",
        "ancillary_variables",
        "compress",
        "units_metadata",
        "geometry",
        "node_coordinates",
        "interior_ring",
        "valid_min",
        "valid_max",
        "valid_range",
        "CLASS",
        "NAME",
        "REFERENCE_LIST",
        "DIMENSION_LIST",
        "DIMENSION_LABELS",
    ]
)
_TIME = re.compile(
    r"(nano|micro|milli)?seconds?|[mun]?s|minutes?|hours?|days?|weeks?|months?|years?|.*\bsince\b.*", re.I
)
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_TECHNICAL = frozenset(["coordinates", "_FillValue", "units", "calendar", "dtype", "_Encoding"])


@dataclasses.dataclass(frozen=True)
class Layout:
    """One variable of the file.

    Attributes:
        name: in the file.
        dims: names in the file, without the innermost one that some types need.
        shape: of the assembly's array.
        inner: length of the innermost dimension (characters, real and imaginary part); None: there is none.
        dtype: in the file; None: strings of any length.
        tile: shape of a tile of the array; a chunk is ``tile`` and ``inner``.
        shuffle: whether HDF5's shuffle filter comes before deflate.
        technical: attributes by which netCDF readers know the type.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    inner: int | None
    dtype: np.dtype[Any] | None
    tile: tuple[int, ...]
    shuffle: bool
    technical: dict[str, str]

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the variable in the file."""
        return self.shape if self.inner is None else (*self.shape, self.inner)

    @property
    def chunk(self) -> tuple[int, ...]:
        """Shape of its chunks; empty: it is stored in one piece, unfiltered, as strings of any length are."""
        if self.dtype is None:
            return ()
        return self.tile if self.inner is None else (*self.tile, self.inner)


def label(name: str | None) -> str:
    """Return what a description calls a variable: ``/`` and the coordinate's name; the data's is empty."""
    return "" if name is None else f"/{name}"


def layout(name: str, dims: tuple[str, ...], shape: tuple[int, ...], entry: Mapping[str, Any], width: Any) -> Layout:
    """Return how a variable is laid out. ``width``: characters of text; "any" for strings; None: it is not text."""
    dtype = logical_dtype(entry["type"])
    if dtype is None:
        if width == "any":
            return Layout(name, dims, shape, None, None, shape, False, {})
        if type(width) is not int or not 0 < width < 1 << 31:
            raise ValueError("text without a width")
        return Layout(name, dims, shape, width, np.dtype("S1"), tile_shape(shape, width), False, {"_Encoding": "utf-8"})
    stored, inner, technical = _stored(dtype)
    tile = tile_shape(shape, stored.itemsize * (inner or 1))
    return Layout(name, dims, shape, inner, stored, tile, stored.itemsize > 1, technical)


def logical_dtype(kind: Mapping[str, Any]) -> np.dtype[Any] | None:
    """Return the dtype of the numbers of a type; None: it is text. ValueError: the format has no such type."""
    if "category" in kind:
        return logical_dtype(kind["category"])
    if "pandas" in kind:
        return None if kind["pandas"] == "string" else dtype_of(_OF_PANDAS[kind["pandas"]])
    if "object" in kind:
        return {"text": None, "json": None, "bool": np.dtype("?"), "int": np.dtype("<i8"), "float": np.dtype("<f8")}[
            kind["object"]
        ]
    dtype = dtype_of(kind["dtype"])
    return None if dtype.kind == "U" else dtype


_OF_PANDAS = {
    **{f"Int{bits}": f"{'|' if bits == 8 else '<'}i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": f"{'|' if bits == 8 else '<'}u{bits // 8}" for bits in (8, 16, 32, 64)},
    "Float32": "<f4",
    "Float64": "<f8",
    "boolean": "|b1",
}


def _stored(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], int | None, dict[str, str]]:
    if dtype.kind == "b":
        return np.dtype("i1"), None, {"dtype": "bool"}
    if dtype.kind == "c":
        return np.dtype(f"<f{dtype.itemsize // 2}"), 2, {}
    if dtype.kind == "S":
        return np.dtype("S1"), max(1, dtype.itemsize), {}
    if dtype.kind in "mM":
        unit = _UNITS.get(np.datetime_data(dtype)[0], "")
        if not unit or np.datetime_data(dtype)[1] != 1:
            return np.dtype("<i8"), None, {}
        if dtype.kind == "m":
            return np.dtype("<i8"), None, {"units": unit, "dtype": dtype.str.replace("<m8", "timedelta64")}
        return np.dtype("<i8"), None, {"units": f"{unit} since 1970-01-01", "calendar": "proleptic_gregorian"}
    if dtype.kind == "f" and dtype.itemsize == 2:
        return np.dtype("<f4"), None, {}
    return dtype.newbyteorder("<"), None, {}


def to_stored(values: Array, place: Layout) -> Array:
    """Return numbers of an array, or of a part of it, as they are stored in the file."""
    values = np.asarray(values, order="C")
    if values.dtype.kind == "c":
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        return values.reshape(-1).view(f"<f{values.itemsize // 2}").reshape(*values.shape, 2)
    if values.dtype.kind == "S":
        width = place.inner or 1
        return values.astype(f"S{width}", copy=False).reshape(-1).view("S1").reshape(*values.shape, width)
    if values.dtype.kind in "mM":
        return values.astype(values.dtype.newbyteorder("<"), copy=False).view("<i8")
    if values.dtype.kind == "b":
        return values.view("i1")
    return values.astype(place.dtype, copy=False)


def from_stored(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return the original numbers from those stored in the file."""
    if dtype.kind == "c":
        return values.view(f"<c{2 * values.itemsize}")[..., 0].astype(dtype, copy=False)
    if dtype.kind == "S":
        return np.ascontiguousarray(values).view(f"S{values.shape[-1]}")[..., 0].astype(dtype, copy=False)
    if dtype.kind in "mM":
        return values.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
    if dtype.kind == "b":
        return values.view("?")
    return values.astype(dtype, copy=False)


def names_in_file(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return a name that netCDF can hold for each: its own where possible.

    netCDF changes names to Unicode form NFC and refuses others; a space would split the list of coordinates.
    """
    used, chosen = set(taken), {}
    names = list(names)
    good = [name for name in names if _holds(name) and name not in used]
    used |= set(good)
    for name in names:
        if name in good:
            chosen[name] = name
            continue
        stem = re.sub(r"[^A-Za-z0-9_]", "_", name)[:100]
        stem = stem if stem[:1].isalnum() else f"v{stem}"
        chosen[name] = unused(stem, used)
        used.add(chosen[name])
    return chosen


def unused(stem: str, used: Iterable[str]) -> str:
    """Return ``stem``, with a number where that is taken."""
    number, name = 1, stem
    while name in used:
        number += 1
        name = f"{stem}_{number}"
    return name


def _holds(name: str) -> bool:
    first = name[:1].isalnum() or (name[:1] == "_" and name[1:2] not in ("_", ""))
    plain = name.isprintable() and not any(character.isspace() or character in "/\\" for character in name)
    fits = len(name.encode("utf-8", "surrogatepass")) <= 120 and not name.startswith(("_nc4_", "_Netcdf", "_nc3"))
    return first and plain and fits and unicodedata.normalize("NFC", name) == name


def attributes_for_others(forms: Mapping[str, Any], technical: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes that netCDF holds unchanged and that no reader takes for instructions."""
    return {
        name: value
        for name, value in ((name, from_json(form)) for name, form in forms.items())
        if name not in technical and _is_harmless(name, value) and _is_plain(value)
    }


def _is_harmless(name: str, value: Any) -> bool:
    if name in _RESERVED or name.startswith("_") or not _holds(name):
        return False
    return name != "units" or not (isinstance(value, str) and _TIME.fullmatch(value.strip()))


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 63
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.size > 1 and value.dtype.kind in "iuf" and value.dtype.str in _PLAIN
    return type(value) is float or (isinstance(value, np.generic) and value.dtype.str in _PLAIN)


_PLAIN = frozenset(np.dtype(code).str for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"))


def has_attributes(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a variable's attributes are those that were written for other programs."""
    found = {name: value for name, value in found.items() if name not in _TECHNICAL}
    wanted = {name: value for name, value in wanted.items() if name not in _TECHNICAL}
    if found.keys() != wanted.keys():
        return False
    return all(
        np.array_equal(found[name], value, equal_nan=not isinstance(value, str)) for name, value in wanted.items()
    )


def first_chunk(path: Path, group: str | None) -> list[int] | None:
    """Return where the first chunk of an assembly's data is: offset and size in bytes; None: unknown."""
    if h5py is None:
        return None
    with library(), hdf5(path) as file:
        data = h5py.h5d.open((file if group is None else file[group]).id, VARIABLE.encode())
        if data.get_create_plist().get_layout() != h5py.h5d.CHUNKED or not data.get_num_chunks():
            return None
        chunk = data.get_chunk_info(0)
        return [chunk.byte_offset, chunk.size]
