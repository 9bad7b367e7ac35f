"""Any assembly comes back as it was or is refused by name; its digest says what it holds and nothing else.

``STORAGE_PLUGINS_EXAMPLES=20000`` tries as many instead of a few; give pytest ``-o faulthandler_timeout=0`` then.
"""

import datetime
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from assemblies import changes
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from storage_plugins import EncodingError, NotSupported, codec
from storage_plugins.testing._assemblies import EXPLICIT_INDEXES, assemblies, multi_indexes, texts, with_index
from storage_plugins.testing._comparison import differences

# xarray makes garbage of a missing value in a level of ints, at printing too
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
EXAMPLES = int(os.environ.get("STORAGE_PLUGINS_EXAMPLES", "20"))
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
# the same few each time, so that the gate, which tries 200, says the same twice; more are new ones each time
FEW = EXAMPLES <= 200
often = settings(max_examples=EXAMPLES, deadline=None, derandomize=FEW, suppress_health_check=SLOW)
sometimes = settings(often, max_examples=max(EXAMPLES // 4, 1))
Write = Callable[..., str | None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder / "x.nc"


@pytest.fixture
def write(path: Path) -> Write:
    """Write an assembly and return its digest; None: it was refused, and nothing was left behind."""

    def write(assembly: xr.DataArray, **options: Any) -> str | None:
        path.unlink(missing_ok=True)
        try:
            return codec.encode(assembly, path, **{"identifier": "X", "extras": {}, "drop_attrs": (), **options})
        except EncodingError:
            assert not list(path.parent.iterdir())
            return None

    return write


compressions = st.sampled_from(["deflate", "none"])


@often
@given(assembly=assemblies(odd=True), compression=compressions)
def test_an_assembly_comes_back_as_it_was_or_is_refused(path, write, assembly, compression):
    if write(assembly, compression=compression):
        assert differences(codec.decode(path), assembly) == []


@often
@given(assembly=assemblies(), compression=compressions)
def test_what_can_be_kept_is_never_refused_and_keeps_its_digest(path, write, assembly, compression):
    digest = write(assembly, compression=compression)
    came = codec.decode(path)
    assert differences(came, assembly) == []
    assert digest == codec.content_digest(assembly) == codec.content_digest(came)


@sometimes
@given(assembly=assemblies(odd=True), place=st.integers(0, 999))
def test_any_one_change_changes_the_digest(assembly, place):
    digest = digest_of(assembly)
    assume(digest)
    for what, other in changes(assembly, place):
        if differences(assembly, other):
            assert digest_of(other) != digest, what


@sometimes
@given(assembly=assemblies(), data=st.data())
def test_the_digest_knows_no_order_of_names_and_no_hints(assembly, data):
    other = assembly.copy(deep=True)
    for each in (other, *other.coords.values()):
        each.encoding.update(dtype="i2", scale_factor=2.0, _FillValue=0, zlib=True, chunksizes=(1,), source="x.nc")
        turned = dict(reversed(each.attrs.items()))
        each.attrs.clear()
        each.attrs.update(turned)
    for name in data.draw(
        st.permutations([name for name in other.coords if name not in {*other.dims, *other.xindexes}])
    ):
        moved = other.coords[name].variable
        other = other.drop_vars(name).assign_coords({name: moved})
    assert codec.content_digest(other) == codec.content_digest(assembly)


@sometimes
@given(data=st.data(), size=st.integers(0, 5))
def test_the_digest_does_not_know_how_an_index_keeps_its_levels(data, size):
    index = data.draw(multi_indexes(size, data.draw(st.lists(texts(), min_size=1, max_size=3, unique=True))))
    used = [np.unique(codes[codes >= 0]) for codes in index.codes]
    other = pd.MultiIndex(
        levels=[level.take(numbers[::-1]) for level, numbers in zip(index.levels, used, strict=True)],
        codes=[np.where(c < 0, -1, len(u) - 1 - np.searchsorted(u, c)) for c, u in zip(index.codes, used, strict=True)],
        names=index.names,
    )
    made = [with_index(xr.DataArray(np.zeros(size), dims="the dim"), "the dim", way) for way in (index, other)]
    assert differences(*made) == []
    assert len(set(map(codec.content_digest, made))) == 1


@often
@given(assembly=assemblies(), compression=compressions, data=st.data())
def test_an_assembly_that_is_read_in_parts_is_the_same_assembly(path, write, assembly, compression, data):
    digest = write(assembly, compression=compression)
    try:
        parts = codec.Parts(codec.LocalSource(path), digest)
    except NotSupported:  # text of any length
        return
    assert differences(parts.assembly().load(), assembly) == []
    if assembly.dtype.kind not in "O" and isinstance(assembly.data, np.ndarray):
        lazy, whole = parts.assembly().variable, codec.decode(path).variable
        places = st.one_of(
            *(st.integers(0, 0) for size in [max(assembly.shape, default=0)] if size),
            st.slices(max(assembly.shape, default=0)),
            st.lists(st.integers(0, 0), max_size=3),
        )
        part = {dim: data.draw(places) for dim, size in assembly.sizes.items() if size}
        # of the data alone: xarray cannot take a single element of a categorical coordinate
        np.testing.assert_array_equal(lazy.isel(part).values, whole.isel(part).values)


@sometimes
@given(assembly=assemblies(), data=st.data())
def test_an_assembly_in_pieces_is_the_same_assembly(path, write, assembly, data):
    dask_array = pytest.importorskip("dask.array")
    assume(isinstance(assembly.data, np.ndarray))
    pieces = tuple(data.draw(st.integers(1, max(size, 1))) for size in assembly.shape)
    lazy = assembly.copy(data=dask_array.from_array(assembly.data, chunks=pieces, name=False))
    assert codec.content_digest(lazy) == write(lazy) == codec.content_digest(assembly)
    assert differences(codec.decode(path), assembly) == []
    in_pieces = codec.decode(
        path, chunks=data.draw(st.sampled_from([{}, dict(zip(assembly.dims, pieces, strict=True))]))
    )
    assert in_pieces.chunks is not None or assembly.size < 2 or assembly.dtype.kind not in "iuf"
    assert differences(in_pieces, assembly) == []


@sometimes
@given(assembly=assemblies(), extra=assemblies(), more=assemblies())
def test_extras_come_back_too(path, write, assembly, extra, more):
    extras = {"raw": extra, "more": more}
    write(assembly, extras=extras)
    came = codec.decode_extras(path)
    assert sorted(came) == ["more", "raw"]
    assert {name: differences(came[name], extras[name]) for name in came} == {"raw": [], "more": []}
    assert differences(codec.decode(path), assembly) == []


@sometimes
@given(assembly=assemblies(odd=True), data=st.data())
def test_encoding_leaves_the_assembly_alone_and_leaves_out_what_it_is_told(path, write, assembly, data):
    left_out = data.draw(st.lists(st.sampled_from(list(assembly.attrs)), unique=True)) if assembly.attrs else []
    before = assembly.copy(deep=True)
    rest = assembly.copy()
    rest.attrs = {name: value for name, value in assembly.attrs.items() if name not in left_out}
    digest = write(assembly, drop_attrs=left_out)
    assert differences(assembly, before) == []
    assert digest == digest_of(rest)


def digest_of(assembly: xr.DataArray) -> str | None:
    try:
        return codec.content_digest(assembly)
    except EncodingError:
        return None


# by name


def with_coord(values: Any, name: str = "c", dims: Any = "x", **more: Any) -> xr.DataArray:
    return xr.DataArray(np.arange(2.0), dims="x", coords={name: (dims, values)}, **more)


def with_objects(*values: Any) -> xr.DataArray:
    """Give a coordinate these values, which xarray may not convert."""
    made = with_coord(np.empty(2, object))
    made.coords["c"].values[:] = [None, None]
    for place, value in enumerate(values):
        made.coords["c"].values[place] = value
    return made


def with_attr(value: Any, name: str = "k") -> xr.DataArray:
    return xr.DataArray([1.0, 2.0], dims="x", coords={"c": ("x", [1, 2], {name: value})}, attrs={name: value})


def with_levels(*levels: Any) -> xr.DataArray:
    index = pd.MultiIndex.from_arrays(levels, names=["p", "q", "r"][: len(levels)])
    return with_index(xr.DataArray(np.arange(float(len(index))), dims="x"), "x", index)


def of(values: Any, dtype: Any = None) -> xr.DataArray:
    values = np.array(values, dtype)
    return xr.DataArray(values, dims=("x", "y", "z")[: values.ndim])


AWKWARD: dict[str, Callable[[], xr.DataArray]] = {
    "None among text": lambda: with_objects("a", None),
    "NaN among text": lambda: with_objects("a", math.nan),
    "NA among text": lambda: with_objects("a", pd.NA),
    "NaT among text": lambda: with_objects("a", pd.NaT),
    "bool and None": lambda: with_objects(True, None),
    "int and None": lambda: with_objects(1, None),
    "int and NaN": lambda: with_objects(1, math.nan),
    "float and text": lambda: with_objects(1.0, "1.0"),
    "huge int": lambda: with_objects(10**40, -1),
    "bytes": lambda: with_objects(b"a\0", b"\xff"),
    "dates": lambda: with_objects(datetime.date(2020, 1, 1), None),
    "datetimes": lambda: with_objects(datetime.datetime(1, 1, 1), datetime.datetime(2020, 1, 1, 1, 1, 1, 1)),
    "timestamps": lambda: with_objects(pd.Timestamp("2020-01-01 00:00:00.000000001"), None),
    "lists": lambda: with_objects([1, 2], ["a", None]),
    "tuples": lambda: with_objects((1, 2), ((), "a")),
    "numpy scalars": lambda: with_objects(np.float32(1.5), np.int64(1)),
    "NUL in text": lambda: with_coord(["a\0b", "c"]),
    "NUL at the end": lambda: with_objects("a\0", "\0"),
    "NUL or nothing": lambda: with_objects("a", "a\0"),
    "half a surrogate pair": lambda: with_objects("a\udfff", "a\udfffb"),
    "nothing but empty text": lambda: with_coord(["", ""]),
    "accents in two forms": lambda: with_coord(["é", "e\u0301"]),
    "wide text": lambda: with_coord(np.array(["🧠", "a"], "U99")),
    "bytes of one width": lambda: with_coord(np.array([b"a", b"\xff\0b"])),
    "categories": lambda: with_coord(pd.Categorical(["a", None], categories=["b", "a"], ordered=True)),
    "categories of numbers": lambda: with_coord(pd.Categorical([3, 1])),
    "nullable ints": lambda: with_coord(pd.array([2**62 + 1, None], dtype="Int64")),
    "nullable bools": lambda: with_coord(pd.array([True, None], dtype="boolean")),
    "nullable text": lambda: with_coord(pd.array(["a", None], dtype="string")),
    "float16 coord": lambda: with_coord(np.array([1.5, math.nan], "f2")),
    "complex coord": lambda: with_coord(np.array([1j, -0.0], "c8")),
    "bool coord": lambda: with_coord([True, False]),
    "seconds": lambda: with_coord(np.array(["5000-01-01", "NaT"], "M8[s]")) if EXPLICIT_INDEXES else of([1]),
    "spans": lambda: with_coord(np.array([1, "NaT"], "m8[ns]")),
    "big-endian coord": lambda: with_coord(np.array([1, 2], ">i4")),
    "coord called data": lambda: with_coord([1, 2], "data"),
    "coord with a slash": lambda: with_coord([1, 2], "a/b"),
    "coord with a space": lambda: with_coord([1, 2], "a b"),
    "coord without a name": lambda: with_coord([1, 2], ""),
    "coord with an underscore": lambda: with_coord([1, 2], "_x"),
    "names in two forms": lambda: with_coord([1, 2], "é").assign_coords({"e\u0301": ("x", [3, 4])}),
    "2-D coord": lambda: xr.DataArray(np.zeros((2, 1)), dims=("x", "y"), coords={"c": (("y", "x"), [["a", "b"]])}),
    "0-D coord": lambda: with_coord("a", dims=()),
    "dims called data and a/b": lambda: xr.DataArray(np.zeros((1, 2)), dims=("data", "a/b"), coords={"data": [1]}),
    "no dims": lambda: of(1.5),
    "no rows": lambda: of(np.zeros((0, 3))).assign_coords(c=("x", np.array([], "U3"))),
    "float16": lambda: of([1.5, -0.0, math.inf], "f2"),
    "complex": lambda: of([complex(math.nan, -0.0)]),
    "bools": lambda: of([[True, False]]),
    "text": lambda: of(["a", "bc"]),
    "objects": lambda: of(["a", None, 1, 1.5], object),
    "moments": lambda: of(["2020-01-01", "NaT"], "M8[ns]"),
    "largest uint64": lambda: of([2**64 - 1], "u8"),
    "odd name": lambda: of([1]).rename("a/b \0"),
    "empty name": lambda: of([1]).rename(""),
    "index of objects": lambda: with_coord(np.array([1, "a"], object), "x"),
    "index with duplicates": lambda: with_coord(["a", "a"], "x"),
    "levels with missing values": lambda: with_levels(["a", None, "a"], [1.0, math.nan, 1.0]),
    "levels of all types": lambda: with_levels(
        [True, False], np.array(["2020", "NaT"], "M8[s]"), pd.Categorical([1, 2])
    ),
    "unused levels": lambda: with_levels(["b", "a", "c"], [3, 2, 1])[:2],
    "one level": lambda: with_levels(["b", "a", "b"]),
    "no rows in levels": lambda: with_levels(["b", "a"], [1, 2])[:0],
    "dim without its index": lambda: with_coord([1, 2], "x").drop_indexes("x") if EXPLICIT_INDEXES else of([1]),
    "index of another name": lambda: with_coord(["a", "b"]).set_xindex("c") if EXPLICIT_INDEXES else of([1]),
}
ATTRIBUTES: list[Any] = [None, True, np.True_, 1, np.int64(1), 2**70, 1.5, math.nan, -0.0, 1j, "", "a\0", b"a\0"]
ATTRIBUTES += [[], [1, "a", None], (), (1, (2,)), {}, {"a": {"b": [None, True]}}, np.float16(1), np.datetime64("2020")]
ATTRIBUTES += [np.zeros(()), np.zeros((0, 2)), np.array(["a", "b"]), np.array([True]), np.array([None, 1]), pd.NA]
ATTRIBUTES += [
    np.array(["2020"], "M8[D]"),
    np.array([1], ">i4"),
    datetime.date(2020, 1, 1),
    pd.Timestamp("2020"),
    pd.NaT,
]
AWKWARD |= {f"attr {value!r}": lambda value=value: with_attr(value) for value in ATTRIBUTES}
RESERVED = ["scale_factor", "add_offset", "_FillValue", "missing_value", "units", "calendar", "coordinates", "dtype"]
RESERVED += ["_Encoding", "_NCProperties", "CLASS", "a/b", "a b", ""]
AWKWARD |= {f"attr called {name!r}": lambda name=name: with_attr(2, name) for name in RESERVED}


@pytest.mark.parametrize("compression", ["deflate", "none"])
@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_assembly_comes_back(path, write, name, compression):
    assembly = AWKWARD[name]()
    digest = write(assembly, compression=compression)
    assert digest is not None
    assert differences(codec.decode(path), assembly) == []
    assert codec.content_digest(assembly) == digest


REFUSED: dict[str, tuple[Callable[[], xr.DataArray], str]] = {
    "table in attrs": (lambda: with_attr(pd.DataFrame({"a": [1]})), "'k'"),
    "assembly in attrs": (lambda: with_attr(of([1])), "'k'"),
    "function in attrs": (lambda: with_attr(len), "'k'"),
    "object deep in attrs": (lambda: with_attr([{"a": (object(),)}]), "'k'"),
    "object in a coord": (lambda: with_objects("a", object()), "'c'"),
    "table in a coord": (lambda: with_objects("a", pd.DataFrame({"a": [1]})), "'c'"),
    "object in the data": (lambda: of([object()], object), "data"),
    "periods": (lambda: with_coord(pd.period_range("2020", periods=2, freq="D")), "'c'"),
    "intervals": (lambda: with_coord(pd.interval_range(0, 2)), "'c'"),
    "intervals in levels": (lambda: with_levels(pd.interval_range(0, 2), [1, 2]), "'p'"),
    "time zones": (lambda: with_coord(pd.date_range("2020", periods=2, tz="UTC"), "x"), "'x'"),
    "time zones among objects": (lambda: with_objects(pd.Timestamp("2020", tz="Europe/Berlin"), None), "'c'"),
    "long doubles": (lambda: of([1], "g"), "data"),
    "long doubles in a coord": (lambda: with_coord(np.zeros(2, "g")), "'c'"),
    "long double in attrs": (lambda: with_attr(np.longdouble(1)), "'k'"),
    "records": (lambda: with_coord(np.zeros(2, "i4,f4")), "'c'"),
    "calendars": (lambda: with_objects(cftime.DatetimeNoLeap(2020, 1, 1), None), "'c'"),
    "name that is no text": (lambda: with_coord([1, 2], 7), "7"),
    "attr name that is no text": (lambda: with_attr(1, 7), "7"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_and_leaves_no_file(path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, at making it
        assembly = REFUSED[name][0]()
    with pytest.raises(EncodingError) as caught:
        codec.encode(assembly, path, identifier="X", extras={}, drop_attrs=())
    assert REFUSED[name][1] in str(caught.value)
    assert not list(path.parent.iterdir())


def test_no_two_that_are_alike_have_one_digest():
    values = [None, math.nan, pd.NA, pd.NaT, "", "None", "nan", 0, 0.0, -0.0, False, "0", b"", b"0", (), [], np.int8(0)]
    dtypes = ["f8", "f4", "i8", "i4", "u4", "?", "c16", "U1", "U2", "S1", "O", "M8[s]", "M8[ns]"]
    letters = [["a", "b"], ["b", "a"], np.array(["a", "b"], object), np.array(["a", "b"], "U2")]
    levels = [([1, 2], [1, 2]), ([1, 2],), ([1.0, 2.0], [1, 2]), ([1, 2], [2, 1])]
    made = {f"with {value!r}": with_objects(value, 1) for value in values}
    made |= {
        f"attr {value!r}": of([0.0]).assign_attrs(k=value) for value in [*values, {}, [[]], np.zeros(0), np.zeros(())]
    }
    made |= {dtype: of([0, 1], dtype) for dtype in dtypes}
    made |= {f"{shape}": of(np.zeros(shape)) for shape in [(2,), (2, 1), (1, 2), (0, 2), (2, 0), (0,), ()]}
    made |= {f"coord {number}": with_coord(each) for number, each in enumerate(letters)}
    made |= {f"levels {each}": with_levels(*each) for each in levels}
    by_digest: dict[str, list[str]] = {}
    for name, assembly in made.items():
        by_digest.setdefault(codec.content_digest(assembly), []).append(name)
    assert [names for names in by_digest.values() if len(names) > 1] == []


@pytest.mark.parametrize("values", [["a", "b", "a"], ["a", None, ""]])
def test_python_strings_and_pandas_strings_are_one_type(values):
    made = [with_levels(pd.Index(values, dtype=dtype), [1, 2, 3]) for dtype in (object, "str")]
    assert differences(*made) == []
    assert codec.content_digest(made[0]) == codec.content_digest(made[1])
