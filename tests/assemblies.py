"""Assemblies of every sort for Hypothesis, and a comparison stricter than xarray's own.

With ``odd``, a strategy also draws what a codec may refuse: names that are no text, lone surrogates, sets, tables, …
"""

import datetime
import functools
import math
import operator
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import reject
from hypothesis import strategies as st
from pandas.api.extensions import ExtensionArray

EXPLICIT_INDEXES = hasattr(xr.DataArray, "drop_indexes")  # else each dimension coordinate is an index
NUMBERS = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c16", "c8"]
MOMENTS = [f"{kind}8[{unit}]" for kind in "Mm" for unit in ("s", "ms", "us", "ns")]
SWAPPED = [">i2", ">i8", ">u4", ">f2", ">f4", ">f8", ">c8", ">m8[ns]"]
IN_INDEXES = sorted({*NUMBERS, *MOMENTS} - {"f2"})  # those that pandas has
TEXTS = ["", " ", "a b", "a/b", "/", ".", "..", "a\0b", "end\0", "\0", "é", "e\u0301", "日本語", "🧠", "nan", "NaT"]
TEXTS += ["None", "true", "1", "\n", "\\", '"', "\u200b", "\x7f", "_", "_x", " x ", "x" * 300, "a,b", "a:b", "é" * 9]
NAMES = ["data", "units", "scale_factor", "add_offset", "_FillValue", "missing_value", "coordinates", "dtype", "bounds"]
NAMES += ["calendar", "_Encoding", "_Unsigned", "valid_range", "valid_min", "grid_mapping", "compress", "dims", "dim_0"]
NAMES += ["CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_NCProperties", "_nc3_strict", "index"]
NAMES += ["identifier", "storage_plugins", "__xarray_dataarray_variable__", "name", "x_level_0", "sha256", "data_0"]
FLOATS = [0.0, -0.0, 1.5, -1.5, math.nan, math.inf, -math.inf, 5e-324, 1e-7, 65504.0, 1e300, 0.1]
INTS = [0, 1, -1, 127, 128, 255, 256, 2**31 - 1, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 2**64, -(10**40)]
OTHERS = [None, math.nan, "", pd.NA, pd.NaT, 0, False, 0.0, -0.0, "None", b"", (), "0", 0j, np.int8(0), True, [], {}]

missing = st.sampled_from([None, math.nan, pd.NA, pd.NaT])
booleans = st.booleans()
integers = st.sampled_from(INTS) | st.integers(-9, 9)
floats = st.sampled_from(FLOATS) | st.floats()
complexes = st.builds(complex, floats, floats)
blobs = st.binary(max_size=4) | st.sampled_from([b"", b"a\0", b"\0", b"\xff"])
dates = st.dates() | st.just(datetime.date(5000, 1, 1))
datetimes = st.datetimes().map(lambda moment: moment.replace(fold=0)) | st.just(datetime.datetime(1, 1, 1, 0, 0, 0, 1))
durations = st.timedeltas() | st.times().map(lambda time: time.replace(fold=0))
timestamps = st.integers(-(2**62), 2**62).map(pd.Timestamp) | st.just(pd.Timestamp("2020-01-01"))
plain = [missing, booleans, integers, floats, complexes, blobs, dates, datetimes, durations, timestamps]


def rarely(strange: list[Any], usual: st.SearchStrategy[Any], one_in: int) -> st.SearchStrategy[Any]:
    return st.integers(1, one_in).flatmap(lambda number: st.sampled_from(strange) if number == one_in else usual)


@functools.cache
def texts(odd: bool = False) -> st.SearchStrategy[str]:
    usual = st.sampled_from(TEXTS) | st.text("abc", max_size=3) | st.text(max_size=8)
    return rarely(["\ud800", "a\udfffb"], usual, 30) if odd else usual


@functools.cache
def names(odd: bool = False) -> st.SearchStrategy[Any]:
    usual = st.sampled_from(NAMES) | st.text("abcd", min_size=1, max_size=3) | texts()
    return rarely([7, (1, "a"), "\ud800"], usual, 60) if odd else usual


@st.composite
def picked(draw: st.DrawFn, elements: st.SearchStrategy[Any], size: int) -> list[Any]:
    """Draw a list of few different values."""
    pool = draw(st.lists(elements, min_size=1, max_size=5))
    return [pool[number % len(pool)] for number in draw(st.binary(min_size=size, max_size=size))]


@st.composite
def number_arrays(draw: st.DrawFn, dtypes: list[str], shape: tuple[int, ...]) -> np.ndarray:
    dtype, size = np.dtype(draw(st.sampled_from(dtypes))), math.prod(shape)
    if dtype.kind in "iufcMm" and dtype.char != "g" and draw(booleans):  # any bits: NaN of all sorts, far dates
        count = size * dtype.itemsize
        return np.frombuffer(draw(st.binary(min_size=count, max_size=count)), dtype).reshape(shape).copy()
    ints = [value for value in INTS if dtype.kind in "iu" and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max]
    moments = [np.datetime64("NaT").astype(int), 0, 1, -1, 86_400, 1_600_000_000]
    pairs = [complex(a, b) for a in FLOATS[:7] for b in FLOATS[:7]]
    values = {"f": FLOATS, "c": pairs, "b": [False, True]}.get(dtype.kind, ints or moments)
    array = np.array(draw(picked(st.sampled_from(values), size)), None if dtype.kind not in "Mm" else "i8")
    with np.errstate(all="ignore"):
        return array.astype(dtype).reshape(shape)


@st.composite
def text_arrays(draw: st.DrawFn, shape: tuple[int, ...], odd: bool = False) -> np.ndarray:
    kind = draw(st.sampled_from(["<U", "<U", "<U", ">U", "S"]))
    values = draw(picked(blobs if kind == "S" else texts(odd), math.prod(shape)))
    width = max([1, *map(len, values)]) + draw(st.sampled_from([0, 0, 1, 5]))
    return np.array(values, f"{kind}{width}").reshape(shape)


@functools.cache
def scalars() -> st.SearchStrategy[Any]:
    """Give NumPy's scalars."""
    numbers = number_arrays([*NUMBERS, *MOMENTS, "M8[D]", "M8[Y]", "m8[h]"], (1,)).map(lambda array: array[0])
    # NumPy itself forgets a NUL at the end
    return (
        numbers
        | numbers
        | texts().map(lambda x: np.str_(x.rstrip("\0")))
        | blobs.map(lambda x: np.bytes_(x.rstrip(b"\0")))
    )


@functools.cache
def things(hashable: bool) -> st.SearchStrategy[Any]:
    """Give what stands in object arrays."""
    inner = st.one_of([*plain, texts(), scalars()])
    nested = [st.lists(inner, max_size=2).map(tuple)] + [st.lists(inner, max_size=2)] * (not hashable)
    return st.one_of([inner, inner, *nested])


@st.composite
def object_arrays(draw: st.DrawFn, shape: tuple[int, ...], hashable: bool = False) -> np.ndarray:
    of_one_type = [texts(), texts(), booleans, integers, floats, blobs, dates, datetimes, timestamps]
    elements = draw(st.sampled_from([*of_one_type, things(hashable), things(hashable)]))
    elements |= draw(st.sampled_from([st.nothing(), st.none(), missing]))
    array = np.empty(shape, object)
    for place, value in zip(np.ndindex(shape), draw(picked(elements, array.size)), strict=True):
        array[place] = value
    return array


@st.composite
def extension_arrays(draw: st.DrawFn, size: int) -> ExtensionArray:
    kind = draw(st.sampled_from(["category", "category", "Int64", "UInt8", "Float64", "Float32", "boolean", "string"]))
    if kind == "category":
        pool = draw(st.sampled_from([texts(), texts(), st.integers(-9, 9), dates, booleans]))
        categories = draw(st.lists(pool, unique=True, max_size=4))
        codes = draw(picked(st.integers(-1, len(categories) - 1), size))
        return pd.Categorical.from_codes(codes, categories=pd.Index(categories), ordered=draw(booleans))
    small, large = st.integers(0, 255), st.integers(-(2**63), 2**63 - 1)
    elements = {"I": large, "U": small, "F": st.floats(allow_nan=False, width=32), "b": booleans, "s": texts()}[kind[0]]
    return pd.array(draw(picked(elements | st.just(pd.NA), size)), dtype=kind)


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], odd: bool = False) -> Any:
    """Draw data for a variable."""
    choices = [number_arrays(NUMBERS, shape)] * 2 + [number_arrays(MOMENTS, shape), number_arrays(SWAPPED, shape)]
    choices += [text_arrays(shape, odd), object_arrays(shape)] * 2
    choices += [extension_arrays(size) for size in shape if len(shape) == 1]
    strange = [np.zeros(shape, dtype) for dtype in ("g", "G", "V3", "i4,f4")]
    return draw(rarely(strange, st.one_of(choices), 60) if odd else st.one_of(choices))


@st.composite
def index_arrays(draw: st.DrawFn, size: int) -> Any:
    """Draw values that pandas can index."""
    choices = [number_arrays(IN_INDEXES, (size,)), number_arrays(MOMENTS, (size,)), text_arrays((size,))]
    return draw(st.one_of([*choices, object_arrays((size,), hashable=True), extension_arrays(size)]))


@st.composite
def multi_indexes(draw: st.DrawFn, size: int, level_names: list[Any]) -> pd.MultiIndex:
    """Draw a MultiIndex with missing values, duplicates, and levels in no order, of which some are never used."""
    levels = [pd.Index(draw(index_arrays(draw(st.integers(0, 4))))).unique() for _ in level_names]
    codes = [draw(picked(st.integers(-1, len(level) - 1), size)) for level in levels]
    return pd.MultiIndex(levels=levels, codes=codes, names=level_names)


def with_index(assembly: xr.DataArray, dim: Any, index: pd.MultiIndex) -> xr.DataArray:
    if EXPLICIT_INDEXES:
        return assembly.assign_coords(xr.Coordinates.from_pandas_multiindex(index, dim))
    return assembly.assign_coords({dim: index})


@functools.cache
def attributes(odd: bool = False) -> st.SearchStrategy[dict[Any, Any]]:
    shapes = st.sampled_from([(), (0,), (1,), (3,), (2, 2), (0, 2)])
    dtypes = [*NUMBERS, *MOMENTS, *SWAPPED, "M8[D]", "M8[Y]", "m8[h]"]
    of_numpy = shapes.flatmap(lambda s: st.one_of(number_arrays(dtypes, s), text_arrays(s), object_arrays(s)))
    leaves = st.one_of([*plain, texts(odd), scalars(), of_numpy, of_numpy])
    keys = names(odd)
    lists = functools.partial(st.lists, max_size=3)
    values = st.recursive(
        leaves, lambda v: lists(v) | lists(v).map(tuple) | st.dictionaries(keys, v, max_size=3), max_leaves=5
    )
    strange = [{1, 2}, pathlib.PurePosixPath("a"), pd.DataFrame({"a": [1]}), xr.DataArray([1]), np.longdouble(1)]
    strange += [{1: 2}, np.datetime64("NaT"), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), len]
    return st.dictionaries(names(odd), rarely(strange, values, 40) if odd else values, max_size=3)


@st.composite
def assemblies(draw: st.DrawFn, odd: bool = False) -> xr.DataArray:
    ndim = draw(st.sampled_from([2, 1, 2, 0, 1, 3, 2, 4]))
    shape = tuple(draw(st.sampled_from([3, 2, 1, 3, 2, 0, *[6] * (ndim < 3)])) for _ in range(ndim))
    kinds = ["none", "simple", "simple", "set", "direct", "direct"] + ["dropped", "other"] * EXPLICIT_INDEXES
    kinds = [draw(st.sampled_from(kinds)) for _ in shape]
    counts = [draw(st.integers(1, 3)) if kind in ("set", "direct") else 1 for kind in kinds]
    total = ndim + sum(counts) + draw(st.sampled_from([0, 1, 2, 3]))
    pool = draw(st.lists(names(odd), min_size=total, max_size=total, unique=True))
    dims, pool = pool[:ndim], pool[ndim:]
    attrs = st.just({}) | attributes(odd)
    coords, levels, direct = {}, {}, {}
    for dim, size, kind, count in zip(dims, shape, kinds, counts, strict=True):
        levels[dim], pool = pool[:count], pool[count:]
        if kind == "direct":
            direct[dim] = draw(multi_indexes(size, levels[dim]))
        elif kind != "none":
            of_this = levels[dim] if kind in ("set", "other") else [dim]
            coords |= {name: ([dim], draw(index_arrays(size)), draw(attrs)) for name in of_this}
    for name in pool:
        where = draw(st.lists(st.integers(0, ndim - 1), unique=True, max_size=2)) if ndim else []
        coords[name] = [dims[i] for i in where], draw(arrays(tuple(shape[i] for i in where), odd)), draw(attrs)
    coords = {name: coords[name] for name in draw(st.permutations(list(coords)))}
    data, name, own_attrs = draw(arrays(shape, odd)), draw(st.none() | names(odd)), draw(attrs)
    try:
        with warnings.catch_warnings(action="ignore"):
            made = xr.DataArray(data, dims=dims, coords=coords, name=name, attrs=own_attrs)
            for dim, kind in zip(dims, kinds, strict=True):
                if kind == "set":
                    made = made.set_index({dim: levels[dim]})
                elif kind == "direct":
                    made = with_index(made, dim, direct[dim])
                elif kind == "dropped":
                    made = made.drop_indexes(dim)
                elif kind == "other":
                    made = made.set_xindex(levels[dim][0])
            given = {n: c[1] for n, c in coords.items() if n in made.coords and n not in made.xindexes}
            assert all(made.coords[name].size == made.coords[name].values.size for name in made.xindexes)
    except (TypeError, ValueError, NotImplementedError, OverflowError):
        reject()  # this version of xarray or pandas cannot make it, or cannot show it once made
    pairs = [(made.variable, data), *((made.coords[n].variable, array) for n, array in given.items())]
    for variable, array in pairs if draw(booleans) else []:
        if (
            isinstance(array, np.ndarray)
            and array.dtype == variable.dtype == object
            and variable.values.flags.writeable
        ):
            variable.values[...] = array  # at making, xarray turned None among strings into NaN; not so now
    return made


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
            for what in [what for what, other in others.items() if list(_of_indexes(index, other))]:
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


def differences(one: xr.DataArray, other: xr.DataArray) -> list[str]:
    """List what is not the same; nothing of how it is held in memory or was held in a file.

    pandas' strings count as objects, and NaN of any bits is one NaN. Order counts, of coordinates and attributes too.
    """
    looks = {what: operator.attrgetter(what) for what in ("dims", "shape", "name")}
    looks["coords"] = lambda a: list(a.coords)
    looks["indexes"] = lambda a: sorted((repr(name), type(index)) for name, index in a.xindexes.items())
    found = [f"{what}: {of(one)} and {of(other)}" for what, of in looks.items() if not same(of(one), of(other))]
    found += _of_variables("data", one.variable, other.variable)
    for name in [name for name in one.coords if name in other.coords]:
        what, variables = f"coord {name!r}", [each.coords[name].variable for each in (one, other)]
        multi = all(isinstance(each.indexes.get(name), pd.MultiIndex) for each in (one, other))
        # a level's values are compared with its index: xarray makes garbage of a missing value among integers
        found += _of_variables(what, *variables, values=not multi)
    for name in [name for name in one.indexes if name in other.indexes]:
        found += [f"index {name!r}: {what}" for what in _of_indexes(one.indexes[name], other.indexes[name])]
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


def _of_indexes(one: pd.Index, other: pd.Index) -> Iterator[str]:
    if isinstance(one, pd.MultiIndex) != isinstance(other, pd.MultiIndex):
        yield f"{type(one).__name__} and {type(other).__name__}"
    elif not same(list(one.names), list(other.names)):
        yield f"names {one.names} and {other.names}"
    elif isinstance(one, pd.MultiIndex):
        for number, name in enumerate(one.names):
            levels = one.levels[number], other.levels[number]
            codes = one.codes[number], other.codes[number]
            used = [level.take(code[code >= 0]) for level, code in zip(levels, codes, strict=True)]
            if not same(codes[0] < 0, codes[1] < 0):
                yield f"level {name!r}: missing {codes[0] < 0} and {codes[1] < 0}"
            yield from (f"level {name!r}: {what}" for what in _of_indexes(used[0].rename(None), used[1].rename(None)))
    elif not same_dtype(one.dtype, other.dtype):
        yield f"dtype {one.dtype} and {other.dtype}"
    elif not same(_values(one, other), _values(other, one)):
        yield f"values {one} and {other}"


def _values(index: pd.Index, beside: pd.Index) -> Any:
    if "str" in (str(index.dtype), str(beside.dtype)):  # of pandas 3
        return [None if isinstance(value, float) and math.isnan(value) else str(value) for value in index]
    return index.array if isinstance(index.dtype, pd.api.extensions.ExtensionDtype) else np.asarray(index)


def same_dtype(one: Any, other: Any) -> bool:
    if isinstance(one, pd.CategoricalDtype) and isinstance(other, pd.CategoricalDtype):
        return one.ordered == other.ordered and not list(_of_indexes(one.categories, other.categories))
    one, other = (np.dtype(object) if str(dtype) == "str" else dtype for dtype in (one, other))
    return bool(type(one) is type(other) and one == other)


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are of one type and equal, down to a zero's sign and a moment's unit."""
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
