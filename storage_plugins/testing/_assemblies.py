"""Assemblies to test with: a usual one, awkward ones by name, and any at all, drawn by Hypothesis.

With ``odd``, a strategy also draws what a store may refuse: names that are no text, lone surrogates, sets, tables, …
"""

import datetime
import functools
import math
import pathlib
import warnings
from collections.abc import Callable
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
OTHERS: list[Any] = [
    None,
    math.nan,
    "",
    pd.NA,
    pd.NaT,
    0,
    False,
    0.0,
    -0.0,
    "None",
    b"",
    (),
    "0",
    0j,
    np.int8(0),
    True,
    [],
    {},
]

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
    """Give something strange once in so many times."""
    return st.integers(1, one_in).flatmap(lambda number: st.sampled_from(strange) if number == one_in else usual)


@functools.cache
def texts(odd: bool = False) -> st.SearchStrategy[str]:
    """Give texts that are easily lost or changed on their way."""
    usual = st.sampled_from(TEXTS) | st.text("abc", max_size=3) | st.text(max_size=8)
    return rarely(["\ud800", "a\udfffb"], usual, 30) if odd else usual


@functools.cache
def names(odd: bool = False) -> st.SearchStrategy[Any]:
    """Give names that mean something in netCDF, and any others."""
    usual = st.sampled_from(NAMES) | st.text("abcd", min_size=1, max_size=3) | texts()
    return rarely([7, (1, "a"), "\ud800"], usual, 60) if odd else usual


@st.composite
def picked(draw: st.DrawFn, elements: st.SearchStrategy[Any], size: int) -> list[Any]:
    """Draw a list of few different values."""
    pool = draw(st.lists(elements, min_size=1, max_size=5))
    return [pool[number % len(pool)] for number in draw(st.binary(min_size=size, max_size=size))]


@st.composite
def number_arrays(draw: st.DrawFn, dtypes: list[str], shape: tuple[int, ...]) -> np.ndarray:
    """Draw numbers or moments of one of the dtypes."""
    dtype, size = np.dtype(draw(st.sampled_from(dtypes))), math.prod(shape)
    if dtype.kind in "iufcMm" and dtype.char != "g" and draw(booleans):  # any bits: NaN of all sorts, far dates
        count = size * dtype.itemsize
        return np.frombuffer(draw(st.binary(min_size=count, max_size=count)), dtype).reshape(shape).copy()
    limits: Any = np.iinfo(dtype) if dtype.kind in "iu" else None
    ints = [value for value in INTS if limits and limits.min <= value <= limits.max]
    moments = [np.datetime64("NaT").astype(int), 0, 1, -1, 86_400, 1_600_000_000]
    pairs = [complex(a, b) for a in FLOATS[:7] for b in FLOATS[:7]]
    special: dict[str, list[Any]] = {"f": FLOATS, "c": pairs, "b": [False, True]}
    values = special.get(dtype.kind, ints or moments)
    array = np.array(draw(picked(st.sampled_from(values), size)), None if dtype.kind not in "Mm" else "i8")
    with np.errstate(all="ignore"):
        return array.astype(dtype).reshape(shape)


@st.composite
def text_arrays(draw: st.DrawFn, shape: tuple[int, ...], odd: bool = False) -> np.ndarray:
    """Draw NumPy's texts, of either byte order, or its bytes."""
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
    """Draw Python's objects, of one type or of many, some missing."""
    of_one_type = [texts(), texts(), booleans, integers, floats, blobs, dates, datetimes, timestamps]
    elements = draw(st.sampled_from([*of_one_type, things(hashable), things(hashable)]))
    elements |= draw(st.sampled_from([st.nothing(), st.none(), missing]))
    array = np.empty(shape, object)
    for place, value in zip(np.ndindex(shape), draw(picked(elements, array.size)), strict=True):
        array[place] = value
    return array


@st.composite
def extension_arrays(draw: st.DrawFn, size: int) -> ExtensionArray:
    """Draw arrays of pandas' own types."""
    kind = draw(st.sampled_from(["category", "category", "Int64", "UInt8", "Float64", "Float32", "boolean", "string"]))
    if kind == "category":
        pool = draw(st.sampled_from([texts(), texts(), st.integers(-9, 9), dates, booleans]))
        categories = draw(st.lists(pool, unique=True, max_size=4))
        codes = draw(picked(st.integers(-1, len(categories) - 1), size))
        return pd.Categorical.from_codes(codes, categories=pd.Index(categories), ordered=draw(booleans))
    small, large = st.integers(0, 255), st.integers(-(2**63), 2**63 - 1)
    elements: st.SearchStrategy[Any]
    elements = {"I": large, "U": small, "F": st.floats(allow_nan=False, width=32), "b": booleans, "s": texts()}[kind[0]]
    values: Any = draw(picked(elements | st.just(pd.NA), size))
    return pd.array(values, dtype=kind)  # type: ignore[call-overload,no-any-return,unused-ignore]


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], odd: bool = False) -> Any:
    """Draw data for a variable."""
    choices: list[st.SearchStrategy[Any]] = [number_arrays(NUMBERS, shape)] * 2
    choices += [number_arrays(MOMENTS, shape), number_arrays(SWAPPED, shape)]
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
    """Return the assembly with a MultiIndex along ``dim``."""
    if EXPLICIT_INDEXES:
        return assembly.assign_coords(xr.Coordinates.from_pandas_multiindex(index, dim))
    return assembly.assign_coords({dim: index})


@functools.cache
def attributes(odd: bool = False) -> st.SearchStrategy[dict[Any, Any]]:
    """Give attributes, nested and of many types."""
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
    """Draw an assembly of up to four dimensions, with indexes of all kinds."""
    ndim = draw(st.sampled_from([2, 1, 2, 0, 1, 3, 2, 4]))
    shape = tuple(draw(st.sampled_from([3, 2, 1, 3, 2, 0, *[6] * (ndim < 3)])) for _ in range(ndim))
    kinds = ["none", "simple", "simple", "set", "direct", "direct"] + ["dropped", "other"] * EXPLICIT_INDEXES
    kinds = [draw(st.sampled_from(kinds)) for _ in shape]
    counts = [draw(st.integers(1, 3)) if kind in ("set", "direct") else 1 for kind in kinds]
    total = ndim + sum(counts) + draw(st.sampled_from([0, 1, 2, 3]))
    pool = draw(st.lists(names(odd), min_size=total, max_size=total, unique=True))
    dims, pool = pool[:ndim], pool[ndim:]
    attrs: st.SearchStrategy[dict[Any, Any]] = st.just({}) | attributes(odd)
    coords: dict[Any, Any] = {}
    levels, direct = dict[Any, list[Any]](), dict[Any, pd.MultiIndex]()
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
                    made = made.set_index({dim: levels[dim]})  # type: ignore[dict-item,unused-ignore]
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


def make_assembly(seed: int = 0) -> xr.DataArray:
    """Return presentations by neuroids, each with a MultiIndex, as Brain-Score's are; other values for each seed."""
    return xr.DataArray(
        np.random.default_rng(seed).normal(size=(6, 3)),
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", list("aabbcc")),
            "repetition": ("presentation", [0, 1, 0, 1, 0, 1]),
            "neuroid_id": ("neuroid", ["n1", "n2", "n3"]),
            "region": ("neuroid", ["IT", "IT", "V4"]),
        },
        name="rates",
        attrs={"note": "made up"},
    ).set_index(presentation=["stimulus_id", "repetition"], neuroid=["neuroid_id", "region"])


def _with_coord(values: Any, **attrs: Any) -> xr.DataArray:
    return xr.DataArray(np.arange(3.0), dims="x", coords={"y": ("x", values)}, name="a", attrs=attrs)


def _objects(*values: Any) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


AWKWARD: dict[str, Callable[[], xr.DataArray]] = {
    "two MultiIndexes": make_assembly,
    "a single number": lambda: xr.DataArray(1.5),
    "no presentations": lambda: make_assembly()[:0].reset_index("presentation", drop=True),
    "no name": lambda: xr.DataArray([[1, 2], [3, 4]], dims=("a", "b")),
    "missing words": lambda: _with_coord(_objects("a", None, "")),
    "odd words": lambda: _with_coord(np.array(["end\0", "日本語 🧠", " a/b\n"])),
    "true, false and missing": lambda: _with_coord(_objects(True, None, False)),
    "half precision": lambda: xr.DataArray(np.array([1.5, -0.0, np.nan], "f2"), dims="x"),
    "complex numbers": lambda: xr.DataArray(np.array([1 + 2j, complex(np.nan, -0.0)]), dims="x"),
    "big-endian integers": lambda: xr.DataArray(np.array([1, -(2**40)], ">i8"), dims="x"),
    "missing moments": lambda: _with_coord(np.array(["2020-01-01T00:00:00.000000001", "NaT", "1700-01-01"], "M8[ns]")),
    "categories": lambda: _with_coord(pd.Categorical(["a", None, "b"], categories=["b", "a", "never"], ordered=True)),
    "a coordinate called data": lambda: make_assembly().assign_coords(data=1).rename("data"),
    "a table for coordinate": lambda: make_assembly().assign_coords(
        where=(("presentation", "neuroid"), np.arange(18).reshape(6, 3))
    ),
    "attributes with a meaning in netCDF": lambda: _with_coord(
        [1, 2, 3], scale_factor=2.0, _FillValue=1, units="days since 1970-01-01", coordinates="y"
    ),
    "nested attributes": lambda: _with_coord([1, 2, 3], a=None, b=[True, {"c": (1, 2.5)}], d={}, e=np.arange(3)),
}
