"""xarray's own functions open stored assemblies, exactly, by the engine of this package."""

import doctest
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import make_assembly, write_yaml

import storage_plugins
from storage_plugins import AssemblyNotFound, IntegrityError, InvalidPin, StorageError, codec, xarray_engine
from storage_plugins.testing._comparison import differences
from storage_plugins.xarray_engine import StorageEngine

PROJECT = Path(__file__).parent.parent


@pytest.fixture
def lab():
    write_yaml(Path(), {"backend": "local", "root": "./assemblies"})
    return storage_plugins.open_store()


def odd() -> xr.DataArray:
    rates = make_assembly().assign_coords(
        seen=("presentation", np.array([True, None, False, "é", 1, 2.5], dtype=object)), temperature=36.5
    )
    rates.attrs = {"units": "days", "scale_factor": 2.0, "nothing": None, "nested": {"a": [1, (2.5,)]}}
    return rates


@pytest.mark.parametrize("name", ["rates", None, "presentation", "a name/with odd ø characters"])
@pytest.mark.parametrize("made", [make_assembly, odd])
def test_an_assembly_is_opened_exactly(lab, made, name):
    assembly = made().rename(name)
    receipt = lab.upload(assembly, "X.y")
    for what in ("lab:X.y", receipt.uri, lab.load_file("X.y"), str(lab.load_file("X.y"))):
        opened = xr.open_dataarray(what, engine=StorageEngine)
        assert opened.identical(assembly)
        assert differences(opened.load(), assembly) == []


def test_a_dataset_has_the_assembly_as_its_variable(lab):
    lab.upload(make_assembly(), "X.y")
    dataset = xr.open_dataset("lab:X.y", engine=StorageEngine)
    assert list(dataset.data_vars) == [make_assembly().name]
    assert dataset[make_assembly().name].identical(make_assembly())
    assert dataset.indexes["presentation"].names == make_assembly().indexes["presentation"].names


def test_scalars_and_files_of_others_are_opened_too(lab, several):
    lab = storage_plugins.open_store()
    lab.upload(xr.DataArray(1.5), "scalar")
    lab.upload("a.nc", "foreign")
    assert xr.open_dataarray("lab:scalar", engine=StorageEngine).item() == 1.5
    for what in ("lab:foreign", "a.nc", Path("a.nc")):
        assert xr.open_dataarray(what, engine=StorageEngine).identical(codec.decode(Path("a.nc")))


def test_chunks_and_options_of_xarray_work(lab):
    pytest.importorskip("dask")
    assembly = xr.DataArray(np.random.default_rng(0).normal(size=(300, 1000)), dims=("t", "n"), coords={"x": 1})
    receipt = lab.upload(assembly, "X")
    # with chunks= older xarray takes what has no :// for a file's path
    opened = xr.open_dataarray("lab:X" if hasattr(xr, "Coordinates") else receipt.uri, engine=StorageEngine, chunks={})
    assert opened.chunks is not None
    assert opened.identical(assembly)
    assert "x" not in xr.open_dataset("lab:X", engine=StorageEngine, drop_variables="x").variables
    with xr.open_dataarray("lab:X", engine=StorageEngine, cache=False) as uncached:
        assert uncached[2, 3].item() == assembly[2, 3].item()
    lab.upload(assembly + 1, "X")
    old = xr.open_dataarray("lab:X", engine=StorageEngine, backend_kwargs={"sha1": receipt.sha1})
    assert old.identical(assembly)


def test_what_is_wrong_is_said(lab):
    lab.upload(make_assembly(), "X")
    for what, error in (
        ("lab:Y", AssemblyNotFound),
        ("absent.nc", AssemblyNotFound),
        ("elsewhere:X", AssemblyNotFound),
        ("nothing", AssemblyNotFound),
    ):
        with pytest.raises(error):
            xr.open_dataarray(what, engine=StorageEngine)
    with pytest.raises(InvalidPin):
        xr.open_dataarray(lab.load_file("X"), engine=StorageEngine, version_id="1")
    damaged = bytearray(lab.load_file("X").read_bytes())
    damaged[damaged.index(b'{"format"') + 200] ^= 1
    Path("damaged.nc").write_bytes(damaged)
    with pytest.raises(IntegrityError, match=r"damaged\.nc is damaged"):
        xr.open_dataarray("damaged.nc", engine=StorageEngine)
    assert issubclass(AssemblyNotFound, StorageError)


BY_NAME = """
import xarray as xr
one, other = [xr.open_dataarray(what, engine="storage_plugins") for what in ("lab:X", "x.nc")]
print(one.identical(other))
"""


@pytest.mark.slow
@pytest.mark.skipif(not (PROJECT / "pyproject.toml").exists(), reason="no checkout around the tests")
def test_installed_it_is_found_by_its_name(lab, tmp_path):
    lab.upload(make_assembly(), "X")
    codec.encode(make_assembly(), Path("x.nc"), identifier="X")
    points = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"][
        "xarray.backends"
    ]
    folder = tmp_path / "installed" / "engine-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: engine\nVersion: 1.0\n")
    lines = [f"{name} = {where}" for name, where in points.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[xarray.backends]", *lines]) + "\n")
    environment = {**os.environ, "PYTHONPATH": str(folder.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BY_NAME], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "True\n", done.stderr


def test_it_costs_nobody_else_much(tmp_path):
    code = "import json, sys, storage_plugins.xarray_engine; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "pluggy", "h5py"} & set(json.loads(done.stdout))


def test_its_example_runs():
    runner, finder = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), doctest.DocTestFinder()
    examples = [test for test in finder.find(xarray_engine) if test.examples]
    assert examples
    for test in examples:
        runner.run(test)
    assert runner.failures == 0
