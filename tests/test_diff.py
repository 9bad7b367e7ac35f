"""``diff``: what differs between two assemblies, by reading only what may."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from assemblies import changes
from conftest import make_assembly, write_yaml
from test_cli_output import ESCAPES, harmless
from test_in_parts import large, traffic  # noqa: F401  a fixture

import storage_plugins
from storage_plugins import AssemblyNotFound, codec, diff


@pytest.fixture
def lab():
    write_yaml(Path(), {"backend": "local", "root": "./assemblies"})
    return storage_plugins.open_store()


def differing(comparison) -> set[str]:
    return {one["what"] for one in comparison.differences}


def changed(assembly: xr.DataArray, *places: tuple[int, ...], by: float = 1.0) -> xr.DataArray:
    made = assembly.copy(deep=True)
    for place in places:
        made[place] += by
    return made


def test_the_same_content_is_the_same_however_it_is_stored(lab):
    receipt = lab.upload(make_assembly(), "X")
    codec.encode(make_assembly(), Path("x.nc"), identifier="Y", compression="none")
    for other in ("x.nc", Path("x.nc"), receipt.uri, receipt, "lab:X", make_assembly()):
        found = diff("lab:X", other)
        assert found.same, str(found)
        assert str(found).startswith("Same content")
    assert str(diff("lab:X", "x.nc")) == f"Same content: {receipt.content_digest}"


def test_what_other_programs_write_is_the_same_content(lab):
    lab.upload(make_assembly(), "X")
    plain = make_assembly().reset_index(["presentation", "neuroid"])
    plain.to_netcdf("xarray.nc", engine="netcdf4")
    plain.to_dataset(name="data").to_netcdf("named.nc", engine="netcdf4")  # as BrainIO has it
    for file in ("xarray.nc", "named.nc"):
        found = diff("lab:X", file)
        assert found.same, str(found)
        assert any("MultiIndex" in note for note in found.notes)
    assert diff("xarray.nc", "named.nc").same
    plain[2, 1] = 99.0
    plain.to_netcdf("changed.nc", engine="netcdf4")
    assert differing(diff("lab:X", "changed.nc")) == {"data"}
    assert differing(diff("xarray.nc", "changed.nc")) == {"data"}


def test_it_says_how_many_values_differ_where_and_by_how_much(lab):
    lab.upload(large(), "X")
    other = changed(large(), (3, 5), (299, 3999), (7, 2000), by=2.5)
    lab.upload(other, "Y")
    for pair in (("lab:X", "lab:Y"), (large(), "lab:Y"), (large(), other), ("lab:X", other.chunk({}))):
        (found,) = diff(*pair).differences
        assert (found["what"], found["values"], found["of"]) == ("data", 3, large().size)
        assert found["largest"] == pytest.approx(2.5)
        assert [one["place"] for one in found["first"]] == [[3, 5], [7, 2000], [299, 3999]]
        assert found["first"][0]["a"] == large()[3, 5].item()
        assert found["first"][0]["b"] == other[3, 5].item()


def test_only_the_tiles_that_differ_are_read(open_lab, proxy, traffic):  # noqa: F811
    store = open_lab(endpoint_url=proxy.url)
    first = store.upload(large(), "X.y")
    second = store.upload(changed(large(), (3, 5)), "X.y")
    store = open_lab(endpoint_url=proxy.url)
    config = {"default": "lab", "stores": {"lab": {"backend": "s3", **store._entry.raw}}}
    traffic.clear()
    found = diff(first, second, config=config)
    assert found.differences[0]["values"] == 1
    assert traffic.received < 4_000_000 < first.size
    assert traffic.requests <= 14
    traffic.clear()
    assert diff(first, first, config=config).same
    assert traffic.received < 1_000_000


def test_every_change_is_found_and_named():
    first = make_assembly()
    for place in range(3):
        for what, other in changes(first, place):
            if codec.content_digest(other) == codec.content_digest(first):
                continue
            found = codec.compare(first, other)
            if found.same:  # which levels an index has, and in what order, is a note
                assert found.notes, what
            else:
                assert found.differences, what


ONE = {
    "attribute 'note'": lambda a: a.assign_attrs(note="another"),
    "attribute 'new'": lambda a: a.assign_attrs(new=1),
    "name": lambda a: a.rename("another"),
    "dims": lambda a: a.transpose(*a.dims[::-1]),
    "shape": lambda a: a[:-1],
    "coordinate 'x'": lambda a: a.assign_coords(x=1),
    "data, type": lambda a: a.astype("f4"),
}


@pytest.mark.parametrize("what", ONE)
def test_each_kind_of_difference_has_its_name(lab, what):
    lab.upload(make_assembly(), "X")
    lab.upload(ONE[what](make_assembly()), "Y")
    assert what in differing(diff("lab:X", "lab:Y"))
    assert what in differing(diff("lab:X", ONE[what](make_assembly())))
    text = str(diff("lab:X", "lab:Y"))
    assert text.startswith("Different content")
    assert what in text


def test_odd_values_are_compared_as_they_are(lab):
    values = np.array([np.nan, -0.0, np.inf, 1.0])
    coords = {"o": ("t", np.array([None, np.nan, "a", 1], object)), "d": ("t", np.array(["2020", "NaT"] * 2, "M8[ns]"))}
    first = xr.DataArray(values, dims="t", coords=coords)
    lab.upload(first, "X")
    assert diff("lab:X", first).same
    for place, value, largest in ((0, 1.0, None), (1, 0.0, 0.0), (2, -np.inf, None), (3, np.nan, None)):
        other = first.copy(deep=True)
        other[place] = value
        (found,) = diff("lab:X", other).differences
        assert (found["values"], found["largest"]) == (1, largest)
        assert json.loads(json.dumps(found))
    other = first.assign_coords(o=("t", np.array([np.nan, np.nan, "a", 1], object)))
    assert differing(diff("lab:X", other)) == {"coordinate 'o'"}
    for made in (xr.DataArray(1.5), xr.DataArray(["a", "b"], dims="t"), xr.DataArray(np.zeros((0, 3))), large() > 0):
        lab.upload(made, "Z")
        assert diff("lab:Z", made).same
        lab.upload(made.copy(data=np.zeros(made.shape, made.dtype)), "Z")


def test_extras_count(lab):
    lab.upload(make_assembly(), "X", extras={"e": make_assembly()})
    lab.upload(make_assembly(), "Y", extras={"e": make_assembly() + 1})
    lab.upload(make_assembly(), "Z")
    assert differing(diff("lab:X", "lab:Y")) == differing(diff("lab:X", "lab:Z")) == {"extra 'e'"}


def test_versions_files_and_stores_on_the_command_line(lab, run):
    first = lab.upload(make_assembly(), "X.y")
    second = lab.upload(changed(make_assembly(), (1, 1)), "X.y")
    codec.encode(make_assembly(), Path("x.nc"), identifier="X.y")
    words = ("diff", "X.y", "--from", first.version_id)
    for more in ((), ("--to", second.version_id), ("--to", second.sha1), ("--to", second.sha256), ("-s", "lab")):
        assert "1 of 18 values differ, by up to 1" in run(*words, *more, code=1).stdout
    assert "Same content: sp1:" in run(*words, "--to", first.version_id).stdout
    assert run("diff", "x.nc", "lab:X.y", code=1).stdout == run("diff", "x.nc", second.uri, code=1).stdout
    found = json.loads(run("diff", "x.nc", "lab:X.y", "--json", code=1).stdout)
    assert (found["a"], found["b"], found["same"]) == ("x.nc", "lab:X.y", False)
    assert found["differences"][0]["first"][0]["place"] == [1, 1]
    for wrong in (("x.nc",), ("X.y", "--to", "1"), ("x.nc", "x.nc", "--from", "1"), ("a", "b", "c")):
        run("diff", *wrong, code=2)
    run("diff", "x.nc", "absent.nc", code=3)
    run("diff", "x.nc", "lab:absent", code=3)
    with pytest.raises(AssemblyNotFound, match="The stores are 'lab'"):
        diff("x.nc", "labb:X.y")


def test_what_is_printed_is_harmless(lab, run):
    odd = ESCAPES[:-1]
    for number in (1, 2):
        made = xr.DataArray(
            [float(number)], dims=f"t{odd}", name=f"{odd}{number}", attrs={f"k{odd}": f"{odd}{number}"}
        ).assign_coords({f"c{odd}": f"{odd}{number}"})
        lab.upload(made, f"X{number}")
    for more in ((), ("--json",)):
        assert harmless(run("diff", "lab:X1", "lab:X2", *more, code=1).stdout)
    assert harmless(str(diff("lab:X1", "lab:X2")))


FLAT = """
import resource, sys
import dask.array, xarray
from pathlib import Path
from storage_plugins import codec, diff
lazy = dask.array.ones((16_000, 4_000), chunks=(16_000, 50))
codec.encode(xarray.DataArray(lazy[:, :100], dims=("x", "y"), name="n"), Path("warm.nc"), identifier="X")
codec.encode(xarray.DataArray(lazy, dims=("x", "y"), name="n"), Path("a.nc"), identifier="X")
codec.encode(xarray.DataArray(lazy + 1, dims=("x", "y"), name="n"), Path("b.nc"), identifier="X")
diff("warm.nc", "a.nc")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert diff("a.nc", "b.nc").differences[0]["values"] == 64_000_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss in KiB")
def test_memory_stays_flat():
    done = subprocess.run([sys.executable, "-c", FLAT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 150
