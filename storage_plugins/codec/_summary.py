"""What an assembly contains, in words and a few values: dimensions, types, coordinates, attributes."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ._layout import logical_dtype
from ._parts import Parts
from ._values import from_json

_COORDS = 512 << 10  # bytes of coordinates that are read to count their values
_EXAMPLES = 3
_SMALL = 100  # values of an array that are listed


def summary(what: Parts | xr.DataArray) -> dict[str, Any]:
    """Return what an assembly contains, as plain values that have a JSON form; documented in docs/command-line.md.

    Of an assembly that is read in parts, the data are not read, and at most half a megabyte of coordinates, the
    smallest first. Of the others ``distinct`` is None.

    Example:
        >>> import xarray
        >>> from storage_plugins import codec
        >>> codec.summary(xarray.DataArray([1.0, 2.0], dims="neuroid", name="rates"))["shape"]
        [2]
    """
    return _of_parts(what) if isinstance(what, Parts) else _of_assembly(what)


def _of_parts(parts: Parts) -> dict[str, Any]:
    description = parts.description
    values = parts.coordinates(_COORDS)
    data, shape = description["data"], parts.layouts[None].shape
    dtype = logical_dtype(data["type"])
    coords = []
    for name, entry in description["coords"].items():
        if "levels" in entry:
            continue
        index = next((dim for dim, other in description["coords"].items() if name in other.get("levels", ())), None)
        stored = parts.stored_size(name)
        coords.append(_coord(name, entry["dims"], index, values.get(name), _type(entry["type"]), stored))
    return {
        "content_digest": parts.digest,
        "name": plain(from_json(description["name"])),
        "dims": list(description["dims"]),
        "shape": list(shape),
        "dtype": _type(data["type"]),
        "nbytes": math.prod(shape) * (dtype.itemsize if dtype is not None else 8),
        "stored_bytes": parts.stored_size(None),
        "coords": coords,
        "attrs": {name: plain(from_json(form)) for name, form in data["attrs"].items()},
        "extras": list(description.get("extras", {})),
    }


def _type(kind: dict[str, Any]) -> str:
    """Return the name of a type in a description."""
    if "dtype" in kind:
        return str(np.dtype(kind["dtype"]))
    if "object" in kind:
        return f"object ({kind['object']})"
    return str(kind["pandas"]) if "pandas" in kind else f"category ({_type(kind['category'])})"


def _of_assembly(assembly: xr.DataArray) -> dict[str, Any]:
    coords = []
    for name, coord in assembly.coords.items():
        index = assembly.indexes.get(name)
        if isinstance(index, pd.MultiIndex) and name not in index.names:
            levels = [str(level) for level in index.names if level not in assembly.coords]  # in older xarray
            for level in levels:
                values = index.get_level_values(level)
                coords.append(_coord(level, list(coord.dims), str(name), values.values, str(values.dtype), None))
            continue
        of = str(coord.dims[0]) if isinstance(index, pd.MultiIndex) else None
        coords.append(_coord(str(name), list(map(str, coord.dims)), of, coord.values, str(coord.dtype), None))
    return {
        "content_digest": None,
        "name": plain(assembly.name),
        "dims": list(map(str, assembly.dims)),
        "shape": list(assembly.shape),
        "dtype": str(assembly.dtype),
        "nbytes": assembly.nbytes,
        "stored_bytes": None,
        "coords": coords,
        "attrs": {str(name): plain(value) for name, value in assembly.attrs.items()},
        "extras": [],
    }


def _coord(name: str, dims: Any, index: str | None, values: Any, dtype: str, stored: int | None) -> dict[str, Any]:
    distinct, examples = None, []
    if values is not None:
        flat = values.reshape(-1) if hasattr(values, "reshape") else values
        different = _different(flat)
        distinct = None if different is None else len(different)
        examples = [plain(value) for value in (flat if different is None else different)[:_EXAMPLES]]
    return {
        "name": name,
        "dims": list(dims),
        "index": index,
        "dtype": dtype,
        "distinct": distinct,
        "examples": examples,
        "stored_bytes": stored,
    }


def _different(values: Any) -> Any:
    """Return the different values in the order in which they appear; None: some cannot be compared, such as lists."""
    try:
        return pd.unique(values)
    except (TypeError, ValueError):
        return None


def plain(value: Any) -> Any:
    """Return a value that has a JSON form: itself, or text for what JSON has not."""
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist() if value.size <= _SMALL else f"array of {value.dtype}, shape {value.shape}"
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
