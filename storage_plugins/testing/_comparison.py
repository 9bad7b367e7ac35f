"""A comparison of assemblies that is stricter than xarray's own."""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pandas.api.extensions import ExtensionArray


def differences(one: xr.DataArray, other: xr.DataArray) -> list[str]:
    """List the differences, except those of the representation in memory or in a file.

    Strings of pandas count as objects, and all NaN are equal. The order of coordinates and attributes matters.
    """
    looks: dict[str, Callable[[xr.DataArray], object]] = {
        what: operator.attrgetter(what) for what in ("dims", "shape", "name")
    }
    looks["coords"] = lambda a: list(a.coords)
    looks["indexes"] = lambda a: sorted((repr(name), type(index)) for name, index in a.xindexes.items())
    found = [f"{what}: {of(one)} and {of(other)}" for what, of in looks.items() if not same(of(one), of(other))]
    found += _of_variables("data", one.variable, other.variable)
    for name in [name for name in one.coords if name in other.coords]:
        what, variables = f"coord {name!r}", [each.coords[name].variable for each in (one, other)]
        multi = all(isinstance(each.indexes.get(name), pd.MultiIndex) for each in (one, other))
        # levels are compared with their index: xarray converts a missing value among integers wrongly
        found += _of_variables(what, *variables, values=not multi)
    for name in [name for name in one.indexes if name in other.indexes]:
        found += [f"index {name!r}: {what}" for what in index_differences(one.indexes[name], other.indexes[name])]
    return found


def _of_variables(what: str, one: xr.Variable, other: xr.Variable, *, values: bool = True) -> Iterator[str]:
    if not same(one.dims, other.dims):
        yield f"{what}: dims {one.dims} and {other.dims}"
    if not same(list(one.attrs.items()), list(other.attrs.items())):
        yield f"{what}: attrs {one.attrs} and {other.attrs}"
    if not same_dtype(one.dtype, other.dtype):
        yield f"{what}: dtype {one.dtype} and {other.dtype}"
    elif values and not same(here := one.compute().data, there := other.compute().data):
        yield f"{what}: values {here!r} and {there!r}"


def index_differences(one: pd.Index, other: pd.Index) -> Iterator[str]:
    """Yield the differences; only the used values of a MultiIndex's levels are compared."""
    if isinstance(one, pd.MultiIndex) != isinstance(other, pd.MultiIndex):
        yield f"{type(one).__name__} and {type(other).__name__}"
    elif not same(list(one.names), list(other.names)):
        yield f"names {one.names} and {other.names}"
    elif isinstance(one, pd.MultiIndex) and isinstance(other, pd.MultiIndex):
        for number, name in enumerate(one.names):
            levels = one.levels[number], other.levels[number]
            codes = one.codes[number], other.codes[number]
            used = [level.take(code[code >= 0]) for level, code in zip(levels, codes, strict=True)]
            if not same(codes[0] < 0, codes[1] < 0):
                yield f"level {name!r}: missing {codes[0] < 0} and {codes[1] < 0}"
            yield from (
                f"level {name!r}: {what}" for what in index_differences(used[0].rename(None), used[1].rename(None))
            )
    elif not same_dtype(one.dtype, other.dtype):
        yield f"dtype {one.dtype} and {other.dtype}"
    elif not same(_values(one, other), _values(other, one)):
        yield f"values {one} and {other}"


def _values(index: pd.Index, beside: pd.Index) -> Any:
    if "str" in (str(index.dtype), str(beside.dtype)):  # of pandas 3
        return [None if isinstance(value, float) and math.isnan(value) else str(value) for value in index]
    return index.array if isinstance(index.dtype, pd.api.extensions.ExtensionDtype) else np.asarray(index)


def same_dtype(one: Any, other: Any) -> bool:
    """Return whether two dtypes are the same; that of pandas' strings counts as that of objects."""
    if isinstance(one, pd.CategoricalDtype) and isinstance(other, pd.CategoricalDtype):
        return one.ordered == other.ordered and not list(index_differences(one.categories, other.categories))
    one, other = (np.dtype(object) if str(dtype) == "str" else dtype for dtype in (one, other))
    return bool(type(one) is type(other) and one == other)


def same(one: Any, other: Any) -> bool:
    """Return whether two values have one type and are equal, including the sign of zero and the unit of time."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return same_dtype(one.dtype, other.dtype) and one.shape == other.shape and _same_items(one, other)
    if isinstance(one, ExtensionArray) and not same_dtype(one.dtype, other.dtype):
        return False
    if isinstance(one, list | tuple | ExtensionArray):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, str | bytes | int):
        return bool(one == other)
    if isinstance(one, np.generic):
        return same(np.asarray(one), np.asarray(other))
    if isinstance(one, float):
        return (one != one and other != other) or (one == other and math.copysign(1, one) == math.copysign(1, other))
    if isinstance(one, complex):
        return same([one.real, one.imag], [other.real, other.imag])
    return repr(one) == repr(other) and getattr(one, "unit", None) == getattr(other, "unit", None)


def _same_items(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype.kind in "OT":
        return all(map(same, one.ravel().tolist(), other.ravel().tolist()))
    if one.dtype.kind == "c":
        return _same_items(one.real, other.real) and _same_items(one.imag, other.imag)
    if one.dtype.kind == "f":
        both_nan = np.isnan(one) & np.isnan(other)
        return bool(np.all(both_nan | (one == other) & (np.signbit(one) == np.signbit(other))))
    return one.tobytes() == other.tobytes()
