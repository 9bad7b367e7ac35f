"""The first file format: what comes back, what is refused, and what other files give."""

import contextlib
import datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import make_assembly
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_plugins import EncodingError, InvalidIdentifier, codec


@pytest.fixture
def round_trip(tmp_path):
    def round_trip(assembly, **options):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.nc"
        codec.encode(assembly, path, identifier="X", **{"extras": {}, "drop_attrs": (), **options})
        return codec.decode(path)

    return round_trip


def test_an_assembly_comes_back_with_its_name_order_indexes_and_types(round_trip):
    made = make_assembly()
    made.attrs["threshold"] = np.array([1.5, 2.5])
    came = round_trip(made)
    xr.testing.assert_identical(came, made)
    assert list(came.coords) == list(made.coords)
    assert came.dtype == made.dtype
    for dim in made.dims:
        assert came.indexes[dim].names == made.indexes[dim].names
        assert list(came.indexes[dim].dtypes) == list(made.indexes[dim].dtypes)


names = st.text("abcdefgh_", min_size=1, max_size=8).filter(lambda name: name != "data")
values = st.one_of(
    st.lists(st.text(max_size=12), min_size=3, max_size=3),
    st.lists(st.integers(-(2**62), 2**62), min_size=3, max_size=3),
    st.lists(st.floats(), min_size=3, max_size=3),
    st.lists(st.one_of(st.none(), st.booleans(), st.text(max_size=3)), min_size=3, max_size=3),
    st.just([datetime.datetime(2020, 1, 1)] * 3),
)
attributes = st.dictionaries(
    st.one_of(names, st.sampled_from(["units", "scale_factor", "_FillValue", "coordinates"])),
    st.one_of(st.text(max_size=9), st.integers(-(2**31), 2**31), st.floats(), st.none(), st.booleans()),
    max_size=3,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(["f8", "f4", "f2", "i8", "i2", "u1", "?", "c16", "U5", "M8[ns]"]),
    coords=st.dictionaries(names, values, max_size=4),
    indexed=st.integers(0, 4),
    attrs=attributes,
    name=st.one_of(st.none(), names),
)
def test_whatever_is_uploaded_comes_back_identical_or_is_refused(tmp_path, dtype, coords, indexed, attrs, name):
    assembly = xr.DataArray(
        np.arange(6).reshape(3, 2).astype(dtype),
        dims=("row", "column"),
        coords={coord: ("row", value) for coord, value in coords.items() if coord not in ("row", "column")},
        attrs=attrs,
        name=name,
    )
    levels = list(assembly.coords)[:indexed]
    if levels:
        assembly = assembly.set_index(row=levels)
    path = tmp_path / "x.nc"
    path.unlink(missing_ok=True)
    try:
        codec.encode(assembly, path, identifier="X", extras={}, drop_attrs=())
    except EncodingError:
        return
    came = codec.decode(path)
    xr.testing.assert_identical(came, assembly)
    assert came.dtype == assembly.dtype
    assert list(came.coords) == list(assembly.coords)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a.assign_attrs(raw=a.copy()), "'raw'"),
        (lambda a: a.assign_attrs(table=pd.DataFrame({"a": [1]})), "'table'"),
        (lambda a: a.assign_attrs(nothing=None), "'nothing'"),
        (lambda a: a.assign_attrs(scale_factor=2.0), "'scale_factor'"),
        (lambda a: a.assign_attrs(flag=True), "'flag'"),
        (lambda a: a.assign_attrs(settings={"a": 1}), "'settings'"),
        (lambda a: a.assign_coords(mixed=("neuroid", [None, "a", "b"])), "'mixed'"),
        (lambda a: a.assign_coords(seen=("neuroid", [True, False, True])), "'seen'"),
        (lambda a: a.assign_coords(data=("neuroid", [1, 2, 3])), "'data'"),
        (lambda a: a.rename("a/b").rename(neuroid="n/1"), "'n/1'"),
        (lambda a: a.astype(complex), "complex128"),
        (lambda a: a.astype(np.float16), "float16"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(round_trip, change, told):
    with pytest.raises(EncodingError) as caught:
        round_trip(change(make_assembly()))
    assert told in str(caught.value)


def test_other_things_than_assemblies_are_refused(round_trip):
    for thing in (np.zeros(3), {"a": 1}, make_assembly().to_dataset(name="x"), None):
        with pytest.raises(EncodingError, match="not a DataArray"):
            round_trip(thing)
    with pytest.raises(TypeError):
        round_trip(5)


def test_drop_attrs_must_name_attributes_that_are_there(round_trip):
    with pytest.raises(EncodingError, match="'row'"):
        round_trip(make_assembly(), drop_attrs=["row"])


def test_an_extra_needs_a_plain_name(round_trip):
    with pytest.raises(InvalidIdentifier):
        round_trip(make_assembly(), extras={"../x": make_assembly()})


def test_encoding_does_not_touch_the_assembly(round_trip):
    made = make_assembly()
    made.attrs["extra"] = "x"
    made.encoding["scale_factor"] = 3.0
    before = made.copy(deep=True)
    came = round_trip(made, drop_attrs=["extra"])
    xr.testing.assert_identical(made, before)
    assert (came.values == made.values).all()


def test_one_environment_writes_the_same_bytes_twice(tmp_path):
    for name in ("a", "b"):
        codec.encode(make_assembly(), tmp_path / name, identifier="X", extras={}, drop_attrs=())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("variable", ["data", "__xarray_dataarray_variable__", "anything"])
def test_files_of_others_load_as_xarray_opens_them(tmp_path, variable):
    made = make_assembly().reset_index(["presentation", "neuroid"])
    made.to_dataset(name=variable).to_netcdf(tmp_path / "x.nc", engine="netcdf4")
    xr.testing.assert_identical(
        codec.decode(tmp_path / "x.nc"), xr.open_dataset(tmp_path / "x.nc", engine="netcdf4")[variable].load()
    )


def test_a_dataset_of_several_variables_is_no_assembly(tmp_path):
    xr.Dataset({"a": ("x", [1]), "b": ("x", [2])}).to_netcdf(tmp_path / "x.nc", engine="netcdf4")
    with pytest.raises(EncodingError, match="2 variables"):
        codec.decode(tmp_path / "x.nc")


@pytest.mark.parametrize("attribute", ["not JSON", "[]", "{}", '{"format": 99}', '{"format": 0}', "7"])
def test_a_description_that_is_not_understood_makes_no_crash(tmp_path, attribute):
    dataset = make_assembly().reset_index(["presentation", "neuroid"]).to_dataset(name="data")
    dataset.attrs["storage_plugins"] = attribute
    dataset.to_netcdf(tmp_path / "x.nc", engine="netcdf4")
    with contextlib.suppress(EncodingError):
        assert codec.decode(tmp_path / "x.nc").shape == (6, 3)
