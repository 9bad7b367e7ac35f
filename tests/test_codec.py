"""Files beside the assemblies in them: arguments, extras, and what other programs wrote."""

import contextlib
import doctest
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import make_assembly

import storage_plugins
from storage_plugins import EncodingError, IntegrityError, InvalidIdentifier, codec
from storage_plugins.codec._tiles import deflated


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


def test_other_things_than_assemblies_are_refused(round_trip):
    for thing in (np.zeros(3), {"a": 1}, make_assembly().to_dataset(name="x"), None):
        with pytest.raises(EncodingError, match="not a DataArray"):
            round_trip(thing)
    with pytest.raises(TypeError):
        round_trip(5)


def test_a_dataset_is_refused_with_advice_that_works(round_trip):
    dataset = xr.Dataset({"rates": ("t", [1.0])})
    with pytest.raises(EncodingError, match=r"dataset\['rates'\]"):
        round_trip(dataset)
    round_trip(dataset["rates"])


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 1")
def test_arrays_of_numpys_text_type_are_refused_with_advice_that_works(round_trip):
    made = xr.DataArray(np.array(["a", "ß"], dtype=np.dtypes.StringDType()), dims="x")
    with pytest.raises(EncodingError, match=r"StringDType(.|\n)*\.astype\(object\)"):
        round_trip(made)
    assert list(round_trip(made.astype(object)).values) == ["a", "ß"]


def test_records_are_refused_with_advice_that_works(round_trip):
    assembly = xr.DataArray(np.ones(2, [("a", "f4"), ("b", "i4")]), dims="x")
    with pytest.raises(EncodingError, match=r"xarray.DataArray\(assembly.values\['a'\], dims=assembly.dims\)"):
        round_trip(assembly)
    assert round_trip(xr.DataArray(assembly.values["a"], dims=assembly.dims)).dtype == "f4"


SQUARES = {
    "numbers": lambda: xr.DataArray(np.arange(16.0).reshape(4, 4), dims=("p", "p"), name="rdm", attrs={"k": 1}),
    "with its coordinate": lambda: xr.DataArray(np.eye(4), dims=("p", "p"), coords={"p": list("abcd")}),
    "with square coordinates": lambda: xr.DataArray(
        np.eye(4), dims=("p", "p"), coords={"q": ("p", list("abcd")), "m": (("p", "p"), np.eye(4))}
    ),
    "with an index of two levels": lambda: xr.DataArray(
        np.eye(2), dims=("p", "p"), coords={"a": ("p", [1, 2]), "b": ("p", [1, 3])}
    ).set_index(p=["a", "b"]),
    "text": lambda: xr.DataArray(np.array([["a", None], ["", "d"]], dtype=object), dims=("p", "p")),
    "twice and another between": lambda: xr.DataArray(np.zeros((3, 2, 3), "c16"), dims=("p", "z", "p")),
}


@pytest.mark.parametrize("kind", SQUARES)
@pytest.mark.filterwarnings("ignore:Duplicate dimension names")
def test_a_dimension_may_come_twice(tmp_path, recwarn, kind):
    made = SQUARES[kind]()
    recwarn.clear()
    digest = codec.encode(made, tmp_path / "x.nc", identifier="X")
    came = codec.decode(tmp_path / "x.nc")
    assert not recwarn.list
    assert came.dims == made.dims
    assert came.identical(made)
    assert digest == codec.content_digest(made) == codec.content_digest(came)
    if made.dtype != object:
        pytest.importorskip("dask")
        np.testing.assert_array_equal(codec.decode(tmp_path / "x.nc", chunks={"p": 2}).values, made.values)


@pytest.mark.filterwarnings("ignore:Duplicate dimension names")
def test_a_dimension_that_comes_twice_with_two_lengths_is_refused_by_name(round_trip):
    made = xr.DataArray(np.zeros((3, 3)), dims=("p", "q"))
    with contextlib.suppress(ValueError):  # newer xarray refuses it first
        made = made.copy()
        made.variable.dims = ("p", "p")
        assert round_trip(made).dims == ("p", "p")
        uneven = xr.DataArray(np.zeros((3, 4)), dims=("p", "p"))
        with pytest.raises(EncodingError, match="'p' comes twice, with lengths 3 and 4"):
            round_trip(uneven)


def test_dask_arrays_of_unknown_length_are_refused_with_advice_that_works(round_trip):
    array = pytest.importorskip("dask.array").from_array(np.arange(10.0), chunks=3)
    assembly = xr.DataArray(array[array > 4], dims="trial")
    for work in (round_trip, codec.content_digest):
        with pytest.raises(EncodingError, match=r"'trial'(.|\n)*assembly\.data\.compute_chunk_sizes\(\)"):
            work(assembly)
    assembly.data.compute_chunk_sizes()
    assert list(round_trip(assembly).values) == [5, 6, 7, 8, 9]


def test_the_examples_of_public_functions_run_and_all_else_is_private():
    for name in codec.__all__:
        function = getattr(codec, name)
        assert "Example:" in function.__doc__
        names = {"__name__": name}
        (example,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=names)
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0
    modules = {path.stem for path in Path(codec.__file__).parent.glob("*.py")}
    assert all(name.startswith("_") for name in modules)


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


def test_numbers_that_were_verified_as_a_whole_are_not_hashed_again(tmp_path):
    """A sound chunk of other numbers shows it: without the digest of the content it is refused."""
    path, assembly = tmp_path / "x.nc", xr.DataArray(np.arange(60_000.0).reshape(300, 200), dims=("t", "n"))
    digest = codec.encode(assembly, path, identifier="X", compression="none")
    parts = codec.Parts(codec.LocalSource(path))
    ((offset, size),) = parts._opened.chunks[None]
    chunk = deflated(assembly.values + 1, parts.layouts[None].tile, shuffle=True, compress=False)
    assert len(chunk) == size
    data = path.read_bytes()
    path.write_bytes(data[:offset] + chunk + data[offset + size :])
    for known in (None, f"sp1:{'0' * 64}"):
        with pytest.raises(EncodingError):
            codec.decode(path, content_digest=known)
    assert codec.decode(path, content_digest=digest).identical(assembly + 1)
    for place in (offset + 3000, offset + size - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(EncodingError, match="damaged"):  # zlib's checksum
            codec.decode(path, content_digest=digest)


def test_long_text_beside_short_comes_back(tmp_path):
    long = xr.DataArray(np.zeros(4000), dims="t", coords={"note": ("t", ["x" * 9999, *["short"] * 3999])})
    codec.encode(long, tmp_path / "x.nc", identifier="X")
    assert (tmp_path / "x.nc").stat().st_size < 1_000_000
    assert codec.decode(tmp_path / "x.nc").identical(long)
    assert codec.decode(tmp_path / "x.nc", chunks={}).identical(long)


@pytest.mark.parametrize("variable", ["data", "__xarray_dataarray_variable__", "anything"])
def test_files_of_others_load_as_xarray_opens_them(tmp_path, variable):
    made = make_assembly().reset_index(["presentation", "neuroid"])
    made.to_dataset(name=variable).to_netcdf(tmp_path / "x.nc", engine="netcdf4")
    with xr.open_dataarray(tmp_path / "x.nc", engine="netcdf4") as theirs:
        xr.testing.assert_identical(codec.decode(tmp_path / "x.nc"), theirs.load())


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


def test_a_lone_image_id_is_the_stimulus_id_to_a_class_as_it_is_to_brainio(tmp_path):
    theirs = xr.DataArray([1.0, 2.0], dims="presentation", coords={"image_id": ("presentation", ["a", "b"])})
    theirs.to_dataset(name="data").to_netcdf(tmp_path / "x.nc", engine="netcdf4")
    assert list(codec.decode(tmp_path / "x.nc", cls=xr.DataArray)["stimulus_id"].values) == ["a", "b"]
    codec.encode(theirs, tmp_path / "x.nc", identifier="X")
    assert "stimulus_id" not in codec.decode(tmp_path / "x.nc", cls=xr.DataArray).coords


# These stand in receipts and records: a change of them is a new rule, with a new prefix.
DIGESTS = {
    "Brain-Score's": "sp1:314f74acefa5dea2a8525decc23c50cbbc3f36381426bd8a450ff6180d9a3278",
    "scalar": "sp1:85a144f083bb8b1a78951a749eda034e9a8be106e4e76df001a527756345beec",
    "text": "sp1:bda6a1db7ac50a3d0fb78b2c66ee49f4ebc32b1237150161247052c7930b44cd",
    "large": "sp1:88cfb6f39ea4d1099a97f933bcf119103e1119d14f7652276fc392aaa0e38f90",
}


def made_by_name() -> dict[str, xr.DataArray]:
    coord = xr.DataArray(np.zeros((2, 2)), dims=("x", "y"), coords={"c": ("x", np.array(["é", ""], object))})
    large = np.arange(3_000_000, dtype="f4").reshape(3_000, 1_000)
    return {
        "Brain-Score's": make_assembly(),
        "scalar": xr.DataArray(1.5),
        "text": coord.assign_attrs(unit="ms", nested={"a": [None, 1.5, (True,)]}),
        "large": xr.DataArray(large, dims=("presentation", "neuroid"), coords={"neuroid": np.arange(1_000)}),
    }


def test_the_digest_is_the_same_in_every_environment():
    assert {name: codec.content_digest(assembly) for name, assembly in made_by_name().items()} == DIGESTS


WITHOUT_FAST_PARTS = """
import sys
sys.modules["h5py"] = sys.modules["isal"] = None
from pathlib import Path
from test_codec import codec, made_by_name
for name, assembly in made_by_name().items():
    assert codec.decode(Path(sys.argv[1], f"{name} fast.nc")).identical(assembly)
    lazy = codec.decode(Path(sys.argv[1], f"{name} fast.nc"), chunks={})
    assert lazy.identical(assembly)
    print(codec.encode(assembly, Path(sys.argv[1], f"{name} slow.nc"), identifier="X"))
"""


@pytest.mark.slow
def test_without_the_fast_parts_the_files_are_the_same_to_a_reader(tmp_path):
    digests = [
        codec.encode(assembly, tmp_path / f"{name} fast.nc", identifier="X")
        for name, assembly in made_by_name().items()
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", WITHOUT_FAST_PARTS, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == digests
    for name, assembly in made_by_name().items():
        assert codec.decode(tmp_path / f"{name} slow.nc").identical(assembly)


FLAT = """
import resource, sys
from pathlib import Path
import xarray, dask.array
from storage_plugins import codec
lazy = dask.array.ones((64_000, 2_000), chunks=(1_000, 2_000))
small = xarray.DataArray(lazy[:1_000], dims=("x", "y"))
codec.encode(small, Path(sys.argv[1]), identifier="X")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
codec.encode(xarray.DataArray(lazy, dims=("x", "y")), Path(sys.argv[1]), identifier="X")
total = codec.decode(Path(sys.argv[1]), chunks={}).sum().compute().item()
assert total == lazy.size, total
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss in KiB")
@pytest.mark.slow
def test_a_gibibyte_in_dask_is_written_and_read_in_flat_memory(tmp_path):
    pytest.importorskip("dask")
    command = [sys.executable, "-c", FLAT, str(tmp_path / "x.nc")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 350  # MiB; the data have 977


@pytest.mark.slow
def test_a_lazy_assembly_is_computed_in_other_processes(tmp_path):
    distributed = pytest.importorskip("distributed")
    made = xr.DataArray(np.arange(60_000.0).reshape(300, 200), dims=("x", "y"))
    codec.encode(made, tmp_path / "x.nc", identifier="X")
    lazy = codec.decode(tmp_path / "x.nc", chunks={"x": 100})
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address=None, local_directory=str(tmp_path)
        ) as cluster,
        distributed.Client(cluster),
    ):
        assert float(lazy.sum()) == made.values.sum()
        assert (lazy.T @ lazy).compute().equals(made.T @ made)


def test_a_lazy_assembly_fetches_its_file_on_another_machine(store, new_cache, yaml_file):
    pytest.importorskip("dask")
    new_cache()
    receipt = store.upload(make_assembly(), "X")
    here = new_cache()
    store = storage_plugins.open_store(config=yaml_file)
    lazy = pickle.dumps(store.load(receipt, chunks={}))
    for path in here.rglob("*.nc"):
        path.chmod(0o600)
        path.unlink()
    assert pickle.loads(lazy).compute().identical(make_assembly())


def test_a_lazy_assembly_notices_that_its_file_was_changed(tmp_path):
    pytest.importorskip("dask")
    codec.encode(make_assembly(), tmp_path / "x.nc", identifier="X")
    lazy = codec.decode(tmp_path / "x.nc", chunks={})
    codec.encode(make_assembly(1), tmp_path / "x.nc", identifier="X")
    with pytest.raises(IntegrityError, match=r"x\.nc"):
        lazy.compute()


def test_an_unchanged_assembly_is_not_uploaded_again(store):
    first = store.upload(make_assembly(), "X")
    assert first.content_digest == codec.content_digest(make_assembly())
    again = make_assembly()
    again.encoding["zlib"] = False
    again.attrs = dict(again.attrs)
    assert store.upload(again, "X") == first
    assert len(store.versions("X")) == 1
    assert store.upload(make_assembly(), "X", extras={"more": make_assembly()}) != first
    assert store.upload(make_assembly().rename("other"), "X").content_digest != first.content_digest
    assert len(store.versions("X")) == 3


def test_compression_is_a_setting_of_the_store(tmp_path):
    made = xr.DataArray(np.zeros((400, 400)), dims=("x", "y"))
    sizes = {}
    for compression in ("deflate", "none"):
        settings = {"backend": "local", "root": str(tmp_path / compression), "compression": compression}
        store = storage_plugins.open_store(config={"stores": {"a": settings}})
        sizes[compression] = store.upload(made, "X").size
        assert store.load("X").identical(made)
    assert sizes["none"] > made.nbytes > 10 * sizes["deflate"]
