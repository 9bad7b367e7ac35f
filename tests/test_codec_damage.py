"""What a killed writer leaves, and files that are damaged, hostile, or rewritten by other tools.

Whatever may crash, hang or fill the memory is done in a process of its own, which is watched. With
``STORAGE_PLUGINS_EXAMPLES`` over 200, and ``-o faulthandler_timeout=0``, thousands of cases are tried instead of some.
"""

import contextlib
import copy
import functools
import itertools
import json
import logging.handlers
import os
import random
import re
import shutil
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from watched import Worker, started

from storage_plugins import EncodingError, StorageError, codec
from storage_plugins.atomic import TEMPORARY
from storage_plugins.codec._content import content_digest, seal
from storage_plugins.testing._comparison import differences

MANY = int(os.environ.get("STORAGE_PLUGINS_EXAMPLES", "0")) > 200
KILLS, CUTS, HITS, DESCRIPTIONS = (200, 500, 5000, 2000) if MANY else (25, 10, 40, 50)  # CUTS, HITS: of each file
HEAPS = 20  # words of each file
OURS = ["deflated", "stored", "everything", "many chunks"]
REAL = Path(__file__).parents[2] / "shared" / "data"
PUBLISHED = ["alexnet-probabilities", "alexnet-rgb-None", "assy_test_TestMe", "assy_test_package_assembly_extras"]
# HDF5 before 2.0 crashes on some of them, in ways that looking first does not show; see SECURITY.md
SOUND = int(netCDF4.__hdf5libversion__.split(".")[0]) >= 2
watched = pytest.mark.skipif(os.name == "nt", reason="needs signals and the fork server")
numbers = itertools.count()


@functools.cache
def made(name: str) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """Return an assembly and its extras; the same in each process."""
    rows, columns = {"large": (400, 500), "many chunks": (16_400, 240)}.get(name, (60, 40))
    values = np.random.default_rng(0).normal(size=(rows, columns))
    rates = xr.DataArray(
        values if name != "many chunks" else np.full((rows, columns), 1.5, "f4"),
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", [f"stimulus {number % 7}" for number in range(rows)]),
            "score": ("presentation", np.cos(np.arange(rows) % 60)),
            "neuroid_id": ("neuroid", [f"n{number}" for number in range(columns)]),
            "region": ("neuroid", ["IT", "V4"] * (columns // 2)),
        },
        name="rates",
        attrs={"note": "made up"},
    )
    extras = {"raw": rates[:9]} if name in ("large", "everything") else {}
    if name == "everything":
        odd = {"stimulus_id": ["é", None, "a\0b"] * 20, "seen": [True, None, False] * 20, "session": [1, None, 2] * 20}
        rates = rates.assign_coords({each: ("presentation", np.array(odd[each], dtype=object)) for each in odd})
        began = np.array(["2020-01-01", "NaT"] * 30, dtype="M8[ns]")
        rates = rates.assign_coords(began=("presentation", began), animal="Ω", temperature=36.5)
        rates = rates.assign_coords(comment=("neuroid", ["x" * 9999, *["short"] * 39]))
        rates.attrs = {"of": "µV", "units": "days", "scale_factor": 2.0, "nothing": None, "nested": {"a": [1, (2.5,)]}}
        extras["indexed"] = extras["raw"].set_index(neuroid=["neuroid_id", "region"])
    return rates.set_index(presentation=["stimulus_id", "score"], neuroid=["neuroid_id", "region"]), extras


def encode(name: str, path: Path) -> None:
    assembly, extras = made(name)
    codec.encode(assembly, path, identifier="X", extras=extras, compression="none" if name == "stored" else "deflate")


def opened_by_xarray(path: Path, group: str | None = None) -> xr.DataArray:
    with xr.open_dataset(path, group=group, engine="netcdf4") as dataset:
        return dataset["data"].load()


def read_in_every_way(path: Path, name: str | None) -> dict[str, str]:
    """Tell for each way to read a file how that went.

    "refused"; "identical" to the assembly ``name``; "foreign": as xarray opens it, with a warning; "another"
    assembly; or the error that should not have come out.
    """
    log, notices = logging.getLogger("storage_plugins"), logging.handlers.BufferingHandler(1000)
    whole, extras = made(name) if name else (None, {})

    def in_parts() -> xr.DataArray:
        lazy = codec.decode(path, chunks={})
        return lazy.compute() if lazy.nbytes < 1 << 30 else lazy

    def opened_in_parts() -> xr.DataArray:
        lazy = codec.Parts(codec.LocalSource(path)).assembly()
        return lazy.compute() if lazy.nbytes < 1 << 30 else lazy

    def outcome(read: Any, right: dict[str | None, Any]) -> str:
        notices.buffer.clear()
        try:
            came = read()
        except StorageError as error:
            return "refused" if not isinstance(error.__cause__, MemoryError) else "wants too much memory"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        if came.keys() == right.keys() and not any(differences(came[key], right[key]) for key in came if name):
            return "identical"
        if name and notices.buffer and all(came[key].identical(opened_by_xarray(path, key)) for key in came):
            return "foreign"
        return "another"

    log.addHandler(notices)
    outcomes = {
        "decode": outcome(lambda: {None: codec.decode(path)}, {None: whole}),
        "chunks": outcome(lambda: {None: in_parts()}, {None: whole}),
        "parts": outcome(lambda: {None: opened_in_parts()}, {None: whole}),
        "extras": outcome(lambda: codec.decode_extras(path), extras),
        "check": outcome(lambda: codec.check(path) or {}, {}),
    }
    log.removeHandler(notices)
    return outcomes


@functools.cache
def structures(data: bytes) -> list[list[int]]:
    """Return where HDF5's own structures begin, for each kind that is there."""
    kinds = b"\x89HDF OHDR OCHK TREE SNOD HEAP GCOL FRHP FHDB FHIB BTHD BTLF BTIN FAHD FADB EAHD FSHD FSSE".split()
    return [[found.start() for found in re.finditer(kind, data)] for kind in kinds if kind in data]


def damaged(data: bytes, how: str, number: int) -> bytes:
    """Return what is left of a file.

    Its first ``number`` bytes ("cut"), all but what hit ``number`` changed, or all but a word of the first global heap:
    HDF5 keeps strings of any length and references there without a checksum, and its library trusts it.
    """
    if how == "cut":
        return data[:number]
    if how == "heap":
        at = data.index(b"GCOL") + 16 + number // 2 * 8
        new = bytes(8) if number % 2 else bytes([data[at] ^ 0x40])
        return data[:at] + new + data[at + len(new) :]
    rng = random.Random(number)
    at = rng.randrange(len(data))
    if rng.random() < 0.3:  # damage there does more than among the numbers
        at = min(len(data) - 1, rng.choice(rng.choice(structures(data))) + rng.randrange(256))
    page = rng.choice([512, 4096])
    hits = [
        (at, bytes([data[at] ^ 1 << rng.randrange(8)])),
        (at, bytes([data[at] ^ rng.randrange(1, 256)])),
        (at, rng.randbytes(rng.randrange(2, 64))),
        (at & ~7, rng.choice([b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 8, b"\0\0\0\0\1\0\0\0"])),
        (at // page * page, bytes(page)),
    ]
    at, new = rng.choices(hits, [50, 20, 10, 10, 10])[0]
    return data[:at] + new[: len(data) - at] + data[at + len(new) :]


def read_damaged(source: Path, name: str | None, how: str, number: int) -> dict[str, str]:
    path = source.with_name(f"damaged-{os.getpid()}-{next(numbers)}.nc")
    path.write_bytes(damaged(source.read_bytes(), how, number))
    outcomes = read_in_every_way(path, name)
    path.unlink()
    return outcomes


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> dict[str, Path]:
    paths = {name: tmp_path_factory.mktemp("ours") / "x.nc" for name in OURS}
    for name, path in paths.items():
        encode(name, path)
    return paths


@pytest.fixture(scope="module")
def worker(ours) -> Iterator[Worker]:
    worker = Worker(read_in_every_way, ours["everything"], "everything")
    yield worker
    worker.stop()


def encode_once(pipe: Any, path: Path) -> None:
    encode("deflated", path.with_name("first.nc"))  # so that nothing is left to import
    made("large")
    pipe.send("begins")
    encode("large", path)
    pipe.send("done")


@watched
@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_the_whole_file_or_none(tmp_path):
    whole, extras = made("large")
    longest, finished = 0.0, 0
    for number in range(-5, KILLS):  # the first five are not killed, but timed
        folder = tmp_path / f"{number}"
        folder.mkdir()
        with started(encode_once, folder / "x.nc") as (_, pipe):
            assert pipe.recv() == "begins"
            begun = time.perf_counter()
            pipe.poll(1.2 * longest * (number + random.random()) / KILLS if number >= 0 else None)
            longest = max(longest, time.perf_counter() - begun) if number < 0 else longest
        left = {path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY)} - {"first.nc"}
        assert left <= {"x.nc"}
        if left:
            finished += 1
            assert not differences(codec.decode(folder / "x.nc"), whole)
            assert not differences(codec.decode_extras(folder / "x.nc")["raw"], extras["raw"])
        shutil.rmtree(folder)
    assert finished < 5 + KILLS


def quick(one: str, names: list[str]) -> list[Any]:
    """Mark all but one of them as slow."""
    return [name if name == one else pytest.param(name, marks=pytest.mark.slow) for name in names]


def wrong_outcomes(worker: Worker, source: Path, name: str | None, right: set[str]) -> str:
    size = source.stat().st_size
    cases = [("cut", size * place // CUTS) for place in range(CUTS)] + [("cut", size - 1)]
    if SOUND:
        cases += [*(("heap", number) for number in range(HEAPS)), *(("hit", number) for number in range(HITS))]
    wrong = []
    for how, number in cases:
        outcomes = worker(read_damaged, source, name, how, number)
        wrong += [f"{how} {number}: {way}: {told}" for way, told in outcomes.items() if told not in right]
    return "\n".join(wrong)


@pytest.mark.slow
@watched
@pytest.mark.parametrize("name", quick("deflated", OURS))
def test_a_damaged_file_is_refused_or_gives_what_was_stored(worker, ours, name):
    assert not wrong_outcomes(worker, ours[name], name, {"refused", "identical"})


@pytest.mark.slow
@watched
@pytest.mark.parametrize("name", quick("xarray", ["xarray", *PUBLISHED]))
def test_a_damaged_file_of_others_is_refused_or_read(worker, tmp_path, name):
    source = tmp_path / f"{name}.nc"
    if name == "xarray":
        rates = made("everything")[1]["raw"].assign_attrs(of="µV", colours=["red", "blue"])  # strings of any length
        rates.to_dataset(name="data").to_netcdf(source, engine="netcdf4")
    elif (REAL / source.name).exists():
        shutil.copyfile(REAL / source.name, source)
    else:
        pytest.skip(f"no {REAL}")
    assert not wrong_outcomes(worker, source, None, {"refused", "identical", "another"})


def described(source: Path, path: Path, description: Any) -> Path:
    """Copy a file, and give it another description."""
    shutil.copyfile(source, path)
    with netCDF4.Dataset(path, "a") as file:
        put = file.setncattr_string if isinstance(description, str) else file.setncattr
        put("storage_plugins", description)
    return path


def description_of(path: Path) -> Any:
    with netCDF4.Dataset(path) as file:
        return json.loads(file.getncattr("storage_plugins"))


FORMATS = ["0", "1", "2", "99", "-1", "1e999", '"1"', "null", "[1]", "true"]
NO_DESCRIPTIONS = ["", "not JSON", "[]", "{}", "7", "null", "NaN", '"x"', '{"format": 1', "[" * 50_000, '{"a":' * 9_999]
NO_DESCRIPTIONS += [
    *(f'{{"format": {number}}}' for number in FORMATS),
    7,
    1.5,
    np.arange(3),
    np.array([], "i4"),
    ["a", "b"],
]


@pytest.mark.slow
@watched
def test_an_attribute_that_is_no_description_is_not_applied(worker, ours, tmp_path):
    text = json.dumps(description_of(ours["everything"]))
    twice = [[text, text], text.replace("{", '{"format": 99, ', 1), text[:-1] + ', "content": {}}', text + text]
    for number, wrong in enumerate([*NO_DESCRIPTIONS, *twice]):
        path = described(ours["everything"], tmp_path / f"{number}.nc", wrong)
        outcomes = worker(read_in_every_way, path, "everything")
        assert set(outcomes.values()) <= {"refused", "identical", "foreign"}, (wrong, outcomes)


NESTED = functools.reduce(lambda inner, _: [inner], range(400), 0)
WRONG = [None, True, -1, 0, 1, 10**9, 2**63, 10**40, 1e308, "", "x", "data", "presentation", "<f8", "|O", "0" * 64]
WRONG += [[], {}, [[]], [10**9, 10**9], {"a": {}}, {"": None}, NESTED, "/", "..", "é", "\0", "<f8" * 10_000]


def places(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each node of a JSON document but its root."""
    for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*place, key)
        yield from places(inner, (*place, key))


def changed_at_random(draw: Any, description: Any) -> Any:
    """Return a description with one node deleted, replaced, or exchanged with another one."""
    changed, ways = copy.deepcopy(description), st.sampled_from(list(places(description)))
    *above, key = draw(ways)
    parent = functools.reduce(lambda node, step: node[step], above, changed)
    how = draw(st.sampled_from(["delete", "replace", "exchange", "number"]))
    if how == "delete":
        del parent[key]
    elif how == "exchange":
        parent[key] = functools.reduce(lambda node, step: node[step], draw(ways), description)
    elif how == "number" and type(parent[key]) is int:
        parent[key] += draw(st.integers(-9, 9) | st.sampled_from([10**6, 10**9, 10**12, 2**64]))
    else:
        parent[key] = draw(st.sampled_from(WRONG))
    return changed


@watched
@pytest.mark.slow
@settings(max_examples=DESCRIPTIONS, deadline=None, derandomize=not MANY, suppress_health_check=list(HealthCheck))
@given(data=st.data(), signed=st.booleans())
def test_a_wrong_description_is_not_applied(worker, ours, tmp_path, data, signed):
    wrong, right = changed_at_random(data.draw, description_of(ours["everything"])), {"refused", "identical", "foreign"}
    if signed and "content" in wrong:  # as by a faulty writer: then it may well be of another assembly
        wrong |= {"digest": content_digest(wrong["content"]), "seal": seal(wrong.get("file", {}))}
        right.add("another")
    path = described(ours["everything"], tmp_path / f"{next(numbers)}.nc", json.dumps(wrong))
    outcomes = worker(read_in_every_way, path, "everything")
    assert set(outcomes.values()) <= right, outcomes


@pytest.mark.parametrize("name", ["the same level twice", "a level along another dimension"])
def test_levels_that_no_index_can_have_are_refused(ours, tmp_path, name):
    wrong = description_of(ours["everything"])
    coords = wrong["content"]["coords"]
    index = next(coord for coord in coords.values() if "levels" in coord)
    if name == "the same level twice":
        index["levels"][0] = index["levels"][-1]
    else:
        coords[index["levels"][0]]["dims"] = ["neuroid"]
    wrong |= {"digest": content_digest(wrong["content"]), "seal": seal(wrong["file"])}
    path = described(ours["everything"], tmp_path / "x.nc", json.dumps(wrong))
    with pytest.raises(EncodingError):
        codec.decode(path)


def rewritten(path: Path, target: Path, change: Any) -> Path:
    with xr.open_dataset(path, engine="netcdf4") as dataset, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what xarray has to say of writing
        assert "storage_plugins" in dataset.attrs
        change(dataset.load()).to_netcdf(target, engine="netcdf4")
    return target


TOOLS = {
    "slice": lambda dataset: dataset.isel(presentation=slice(0, 5)),
    "reverse": lambda dataset: dataset.isel(presentation=slice(None, None, -1)),
    "sort": lambda dataset: dataset.sortby("score"),
    "transpose": lambda dataset: dataset.transpose(),
    "add": lambda dataset: dataset.assign(data=dataset["data"] + 1),
    "set one value": lambda dataset: dataset.assign(data=dataset["data"].where(dataset["data"] < 2, 0.0)),
    "set a number": lambda dataset: dataset.assign_coords(score=dataset["score"][::-1].variable),
    "set a text": lambda dataset: dataset.assign_coords(region=dataset["region"][::-1].variable),
    "rename": lambda dataset: dataset.rename(region="area"),
    "rename a dimension": lambda dataset: dataset.rename(presentation="trial"),
    "drop": lambda dataset: dataset.drop_vars("region"),
    "add a coordinate": lambda dataset: dataset.assign_coords(more=("neuroid", np.arange(40))),
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", ["deflated", "everything"])
def test_what_another_tool_changed_is_read_as_xarray_opens_it_with_a_warning(ours, tmp_path, caplog, name, tool):
    path = rewritten(ours[name], tmp_path / "x.nc", TOOLS[tool])
    came = codec.decode(path)
    xr.testing.assert_identical(came, opened_by_xarray(path))
    assert [note.levelname for note in caplog.records if note.name.startswith("storage_plugins")] == ["WARNING"]
    with contextlib.suppress(StorageError):
        xr.testing.assert_identical(codec.decode(path, chunks={}).compute(), came)


@pytest.mark.parametrize("name", OURS)
def test_what_was_changed_in_place_is_refused(ours, tmp_path, name):
    path = tmp_path / "x.nc"
    shutil.copyfile(ours[name], path)
    with netCDF4.Dataset(path, "a") as file:
        file.renameDimension("neuroid", "neuron")
    for read in (codec.decode, codec.check, lambda path: codec.decode(path, chunks={})):
        with pytest.raises(EncodingError, match="damaged: variable 'data' differs from what was written"):
            read(path)


@pytest.mark.parametrize("name", OURS)
def test_an_unchanged_copy_by_another_tool_keeps_its_values(ours, tmp_path, name):
    path = rewritten(ours[name], tmp_path / "x.nc", lambda dataset: dataset)
    came = codec.decode(path)
    assert came.identical(opened_by_xarray(path)) or not differences(came, made(name)[0])
    np.testing.assert_array_equal(came.values, made(name)[0].values)


@watched
@pytest.mark.parametrize("description", ["none", "of another file", "of this size"])
@pytest.mark.parametrize("kind", ["numbers", "texts", "strings"])
def test_a_small_file_that_declares_a_huge_array_is_refused_at_once(worker, tmp_path, kind, description):
    small, path = tmp_path / "small.nc", tmp_path / "huge.nc"
    codec.encode(xr.DataArray(np.zeros((2, 2), "i1"), dims=("row", "column")), small, identifier="X")
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("row", 10**6)
        file.createDimension("column", 10**6)
        huge = {"dimensions": ("row", "column"), "chunksizes": (10**4, 10**4)}
        if kind == "texts":
            file.createVariable("data", "i1", ("row",), zlib=True, chunksizes=(10**6,)).coordinates = "text"
            file.createVariable("text", "S1", **huge)._Encoding = "utf-8"
        else:
            file.createVariable("data", "i1" if kind == "numbers" else str, **huge)
        if description == "of another file":
            file.setncattr_string("storage_plugins", json.dumps(description_of(small)))
        elif description == "of this size":
            text = json.dumps(description_of(small))
            grown = json.loads(text, parse_int=lambda number: 10**6 if number == "2" else int(number))
            file.setncattr_string("storage_plugins", json.dumps(grown | {"digest": content_digest(grown["content"])}))
    assert path.stat().st_size < 100_000
    outcomes = worker(read_in_every_way, path, None)
    assert outcomes.get("decode") == "refused", outcomes
    assert set(outcomes.values()) <= {"refused", "identical", "another"}, outcomes


HDF5 = ["HDF5 of nothing", "HDF5 of groups", "HDF5 of records"]


@pytest.mark.parametrize("kind", ["empty", "text", "folder", "missing", *HDF5])
def test_what_is_no_netcdf_file_of_an_assembly_is_refused(tmp_path, kind):
    path = tmp_path / "x.nc"
    if kind in HDF5:
        with pytest.importorskip("h5py").File(path, "w") as file:
            if kind != "HDF5 of nothing":
                file.create_group("a/b")
            if kind == "HDF5 of records":
                file["a/b/c"] = np.zeros(3, [("x", "f8"), ("y", "S3")])
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("" if kind == "empty" else "CDF? No: words.\n" * 100)
    reads = [codec.decode, codec.check, lambda path: codec.decode(path, chunks={})]
    for read in reads if kind in HDF5 else [*reads, codec.decode_extras]:
        with pytest.raises(StorageError):
            read(path)


@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4_CLASSIC"])
def test_the_older_forms_of_netcdf_are_read(tmp_path, form):
    rates, path = made("everything")[1]["raw"], tmp_path / "x.nc"
    rates.to_dataset(name="data").to_netcdf(path, engine="netcdf4", format=form)
    codec.check(path)
    xr.testing.assert_identical(codec.decode(path), opened_by_xarray(path))
    np.testing.assert_array_equal(codec.decode(path).values, rates.values)
