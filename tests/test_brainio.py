"""BrainIO's own code opens what we write, and we open what it writes. Runs where brainscore_core is installed."""

import numpy as np
import pytest
import xarray as xr
from conftest import make_assembly

pytest.importorskip("brainscore_core")

from brainscore_core.supported_data_standards.brainio import assemblies, fetch, packaging

from storage_plugins import codec


@pytest.fixture
def plain():
    """An assembly as BrainIO's own tests have them: its dimensions all indexed."""
    return make_assembly()


def test_brainios_loader_opens_our_file(tmp_path, plain):
    path = tmp_path / "assy_X.nc"
    codec.encode(plain, path, identifier="X", extras={"ceiling": plain * 2}, drop_attrs=())
    loaded = assemblies.NeuroidAssembly.from_files(path)
    assert isinstance(loaded, assemblies.NeuroidAssembly)
    np.testing.assert_array_equal(loaded.values, plain.values)
    for coord in ("stimulus_id", "repetition", "neuroid_id", "region"):
        np.testing.assert_array_equal(loaded[coord].values, plain[coord].values)


def test_brainios_loader_gives_the_same_from_our_file_as_from_its_own(tmp_path, plain):
    packaging.write_netcdf(assemblies.NeuroidAssembly(plain), tmp_path / "theirs.nc")
    codec.encode(plain, tmp_path / "ours.nc", identifier="X", extras={}, drop_attrs=())
    ours, theirs = (assemblies.NeuroidAssembly.from_files(tmp_path / f"{name}.nc") for name in ("ours", "theirs"))
    xr.testing.assert_identical(ours, theirs)
    for dim in ours.dims:
        assert ours.indexes[dim].names == theirs.indexes[dim].names
        assert list(ours.indexes[dim].dtypes) == list(theirs.indexes[dim].dtypes)


def test_the_digest_is_the_same_after_brainio_has_written_and_read_what_it_can(tmp_path, plain):
    kept = assemblies.NeuroidAssembly(plain.rename("data"))
    packaging.write_netcdf(kept, tmp_path / "theirs.nc")
    came = assemblies.NeuroidAssembly.from_files(tmp_path / "theirs.nc")
    for added_by_the_loader in ("stimulus_set", "stimulus_set_identifier"):
        del came.attrs[added_by_the_loader]
    assert codec.content_digest(came) == codec.content_digest(kept)


def test_a_brainio_class_that_adds_the_extras_finds_them(tmp_path, plain, caplog):
    events = xr.DataArray(
        [0.1, 0.2], dims="event", coords={"neuroid_id": ("event", ["a", "b"]), "n": ("event", [1, 2])}
    )
    path = tmp_path / "assy_X.nc"
    codec.encode(assemblies.SpikeTimesAssembly(events), path, identifier="X", extras={"meta": events * 2})
    loaded = assemblies.SpikeTimesAssembly.from_files(path)
    np.testing.assert_array_equal(loaded.attrs["meta"].values, events.values * 2)
    assert not caplog.records


def test_brainios_file_loads_through_a_class_as_brainio_loads_it(tmp_path, plain, store):
    path = tmp_path / "assy_X.nc"
    packaging.write_netcdf(assemblies.NeuroidAssembly(plain), path)
    receipt = store.upload(path, "X")
    assert receipt.sha1 == packaging.sha1_hash(path)
    theirs = assemblies.AssemblyLoader(assemblies.NeuroidAssembly, path).load()
    xr.testing.assert_identical(store.load("X", cls=assemblies.NeuroidAssembly), theirs.compute())


def test_a_brainscore_assembly_comes_back_as_one(plain, store):
    made = assemblies.NeuroidAssembly(plain)
    store.upload(made, "X")
    xr.testing.assert_identical(store.load("X", cls=assemblies.NeuroidAssembly), made)


def test_the_file_name_is_the_one_brainio_asks_for(plain, store):
    assert store.upload(plain, "Lab.Name2026").key == "assy_Lab_Name2026.nc"
    assert fetch.resolve_assembly_class("NeuroidAssembly") is assemblies.NeuroidAssembly
