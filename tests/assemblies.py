"""Copies of an assembly in each of which one thing is another."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from storage_plugins.testing._assemblies import OTHERS, with_index
from storage_plugins.testing._comparison import index_differences


def changes(assembly: xr.DataArray, place: int) -> Iterator[tuple[str, xr.DataArray]]:
    """Give copies in each of which one thing is another, or was meant to be: compare."""
    wider = {"U": "U400", "S": "S400", "c": "c8", "f": "c16"}.get(assembly.dtype.kind, "f8")
    ways: dict[str, Callable[[xr.DataArray], Any]] = {
        "name": lambda a: a.rename("another" if a.name is None else None),
        "data value": lambda a: _change(a.variable, place),
        "data dtype": lambda a: a.astype(wider),
        "dims order": lambda a: a.transpose(*a.dims[::-1]),
        "coord added": lambda a: a.assign_coords(another=1),
        "attr dropped": lambda a: a.attrs.popitem(),
        "attr added": lambda a: a.attrs.update(another=OTHERS[place % len(OTHERS)]),
        "attr changed": lambda a: a.attrs.update({k: _another(v, place) for k, v in [*a.attrs.items()][:1]}),
    }
    for dim in assembly.dims:
        ways[f"dim {dim!r} renamed"] = lambda a, dim=dim: a.rename({dim: "another"})
        ways[f"dim {dim!r} reversed"] = lambda a, dim=dim: a.isel({dim: slice(None, None, -1)})
    for name in assembly.coords:
        ways[f"coord {name!r} renamed"] = lambda a, name=name: a.rename({name: "another"})
        ways[f"coord {name!r} attr"] = lambda a, name=name: a.coords[name].attrs.update(another="")
        if name not in assembly.xindexes:
            ways[f"coord {name!r} dropped"] = lambda a, name=name: a.drop_vars(name)
            ways[f"coord {name!r} value"] = lambda a, name=name: _change(a.coords[name].variable, place)
        elif not isinstance(assembly.indexes[name], pd.MultiIndex):
            ways[f"coord {name!r} without index"] = lambda a, name=name: a.drop_indexes(name)
        elif name in assembly.dims:
            index = assembly.indexes[name]
            others = {"swapped": index.reorder_levels(index.names[::-1])}
            others["renamed"] = index.set_names("another", level=0)
            if len(index):
                gone = np.where(np.arange(len(index)) == place % len(index), -1, index.codes[0])
                others["missing"] = index.set_codes([gone, *index.codes[1:]])
            for what in [what for what, other in others.items() if list(index_differences(index, other))]:
                ways[f"levels of {name!r} {what}"] = lambda a, n=name, i=others[what]: with_index(a.drop_vars(n), n, i)
    for what, way in ways.items():
        made = assembly.copy(deep=True)
        try:
            with warnings.catch_warnings(action="ignore"):
                result = way(made)
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError):
            continue  # not with this assembly, or not in this version of xarray
        yield what, result if isinstance(result, xr.DataArray) else made


def _change(variable: xr.Variable, place: int) -> None:
    where = np.unravel_index(place % variable.size, variable.shape)
    variable.data[where] = _another(variable.data[where], place)


def _another(value: Any, place: int) -> Any:
    if isinstance(value, bool | np.bool_ | list):
        return tuple(value) if isinstance(value, list) else not value
    if isinstance(value, np.str_ | np.bytes_):
        return value[:-1] if value else type(value)(b"x" if isinstance(value, bytes) else "x")
    if isinstance(value, np.generic):
        bits = np.array(value).reshape(1).view("u1")
        bits[0] ^= 1
        return bits.view(value.dtype)[0] if value == value else value.dtype.type(0)
    return OTHERS[place % len(OTHERS)]
