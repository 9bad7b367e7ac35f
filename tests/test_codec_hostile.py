"""Files that were made to do harm: to read other files, to fill the memory, to end the process."""

import itertools
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from watched import Worker

from storage_plugins import EncodingError, IntegrityError, NotSupported, codec
from storage_plugins.codec._guard import look_through

h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals and the fork server")
numbers = itertools.count()
SECRET = b"-----BEGIN SECRET KEY----- AAAAB3\n"


def refusals(path: Path) -> dict[str, str]:
    """Read a file in every way; return what each way answers, and by how many MiB the memory grew."""
    ways = {
        "decode": codec.decode,
        "lazily": lambda path: codec.decode(path, chunks={}).compute(),
        "extras": codec.decode_extras,
        "check": codec.check,
    }
    before, answers = peak(), {}
    for way, read in ways.items():
        try:
            read(path)
            answers[way] = "read"
        except EncodingError as error:
            answers[way] = f"refused: {error}"
        except Exception as error:
            answers[way] = f"{type(error).__name__}: {error}"
    return {**answers, "memory": str((peak() - before) // 1024)}


def peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    warm = tmp_path_factory.mktemp("warm") / "x.nc"
    plain().to_dataset(name="data").to_netcdf(warm, engine="netcdf4")
    worker = Worker(refusals, warm)
    yield worker
    worker.stop()


def plain() -> xr.DataArray:
    return xr.DataArray(np.arange(6.0).reshape(3, 2), dims=("t", "n"), coords={"w": ("t", ["a", "b", "c"])})


def foreign(path: Path) -> None:
    plain().to_dataset(name="data").to_netcdf(path, engine="netcdf4")


def ours(path: Path) -> None:
    codec.encode(plain(), path, identifier="X", extras={"more": plain()})


def add(change: Any, base: Any = ours) -> Any:
    """Make a file, and add something to it with h5py."""

    def make(path: Path) -> None:
        base(path)
        with h5py.File(path, "r+") as file:
            change(file, path.parent)

    return make


def external(name: str) -> Any:
    def change(file: Any, folder: Path) -> None:
        (folder / "key").write_bytes(SECRET)
        if name in file:
            del file[name]
        file.create_dataset(name, (len(SECRET),), "u1", external=[(str(folder / "key"), 0, len(SECRET))])

    return change


def virtual(file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", shape=(4,))
    file.create_virtual_dataset("hidden", layout)


def new_reference(file: Any, folder: Path) -> None:
    """Regions are references that newer HDF5 resolves in any file."""
    file["hidden"] = np.zeros(1, "f8")
    file.attrs.create("hidden", file["hidden"].regionref[...], dtype=h5py.regionref_dtype)


def plugin(file: Any, folder: Path) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((4,))
    created.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    h5py.h5d.create(file.id, b"packed", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((4,)), created)


def circle(file: Any, folder: Path) -> None:
    file.create_group("a/b")
    file["a/b/c"] = file["a"]


def circle_of_root(file: Any, folder: Path) -> None:
    file.create_group("a")
    file["a/root"] = file["/"]


def doubled_groups(file: Any, folder: Path) -> None:
    group = file.create_group("g")
    for _ in range(25):
        deeper = group.create_group("x")
        group["y"] = deeper
        group = deeper


def soft_to_root(file: Any, folder: Path) -> None:
    file.create_group("a")
    file["a/b"] = h5py.SoftLink("/")


def deep(file: Any, folder: Path) -> None:
    group = file
    for _ in range(3000):
        group = group.create_group("g")


def virtual_with_a_damaged_list(file: Any, folder: Path) -> None:
    """HDF5 reads the list of sources when it opens the dataset, and may never return from a damaged one."""
    virtual(file, folder)
    file.flush()
    name = Path(file.filename)
    at = name.read_bytes().rindex(b"GCOL")
    with name.open("r+b") as bytes_of:
        bytes_of.seek(at + 16 + 16)
        bytes_of.write(b"\0" + b"\xff" * 8)


def type_of(kind: Any, shape: Any = (3, 2)) -> Any:
    return lambda file, folder: file.create_dataset("odd", shape, kind)


def scale_of_one_value(file: Any, folder: Path) -> None:
    file["odd"] = 1.0
    file["odd"].make_scale("odd")


def scale_without_shape(file: Any, folder: Path) -> None:
    file.create_dataset("odd", None, "f8").attrs["CLASS"] = np.bytes_("DIMENSION_SCALE")


OUTSIDE = {
    "external storage, ours": (add(external("hidden")), "/hidden"),
    "external storage, foreign": (add(external("data"), foreign), "/data"),
    "external storage in a group": (add(external("more/hidden")), "/more/hidden"),
    "virtual dataset": (add(virtual), "/hidden"),
    "virtual dataset, foreign": (add(virtual, foreign), "/hidden"),
    "external link": (
        add(lambda file, folder: file.__setitem__("link", h5py.ExternalLink(str(folder / "o.h5"), "/"))),
        "/link",
    ),
    "soft link through an external one": (
        add(
            lambda file, folder: (
                file.__setitem__("link", h5py.SoftLink("/other/x")),
                file.__setitem__("other", h5py.ExternalLink(str(folder / "o.h5"), "/")),
            )
        ),
        "/other",
    ),
    "soft link to itself": (add(lambda file, folder: file.__setitem__("self", h5py.SoftLink("/self"))), "/self"),
    "soft link to nothing": (add(lambda file, folder: file.__setitem__("gone", h5py.SoftLink("/none"))), "/gone"),
    "soft link to the root": (add(soft_to_root), "/a/b"),
    "reference of another kind": (add(new_reference), "hidden"),
    "filter plugin": (add(plugin), "/packed"),
    "filter plugin, foreign": (add(plugin, foreign), "32015"),
    "groups in a circle": (add(circle), "/a/b/c"),
    "groups in a circle, foreign": (add(circle, foreign), "/a/b/c"),
    "root within itself": (add(circle_of_root, foreign), "/a/root"),
    "groups that double": (add(doubled_groups), "/g"),
    "groups without end": (add(deep, foreign), "deep"),
    "virtual dataset with a damaged list": (add(virtual_with_a_damaged_list, foreign), "/hidden"),
    "float16": (add(type_of("f2"), foreign), "/odd"),
    "long double": (add(type_of(np.longdouble), foreign), "/odd"),
    "a compound with float16": (add(type_of([("a", "i4"), ("b", "f2")]), foreign), "/odd"),
    "an attribute of float16": (
        add(lambda file, folder: file["data"].attrs.__setitem__("odd", np.float16([1, 2, 3])), foreign),
        "odd",
    ),
    "a type that is named alone": (
        add(lambda file, folder: file.__setitem__("odd", np.dtype("f2")), foreign),
        "/odd",
    ),
    "a scale without shape": (add(scale_without_shape, foreign), "/odd"),
    "a scale of one value": (add(scale_of_one_value, foreign), "/odd"),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_a_file_that_leads_out_of_itself_or_in_circles_is_refused_by_name(worker, tmp_path, kind):
    make, name = OUTSIDE[kind]
    make(tmp_path / "x.nc")
    answers = worker(refusals, tmp_path / "x.nc")
    answers.pop("memory", None)
    assert all(answer.startswith("refused: ") and name in answer for answer in answers.values()), answers
    assert not any("SECRET" in answer for answer in answers.values())


def many_unwritten(path: Path) -> None:
    """Each is small enough, all together are not."""
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 6_000_000)
        file.createVariable("data", "f8", ("x",), zlib=True, chunksizes=(1_000_000,))
        for number in range(60):
            file.createVariable(f"c{number}", "f8", ("x",), zlib=True, chunksizes=(1_000_000,))
        file["data"].coordinates = " ".join(f"c{number}" for number in range(60))


def one_name_each(path: Path) -> None:
    """Give one large variable, well compressed, two hundred names."""
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=np.zeros(10_000_000, "u1"), chunks=(10_000_000,), compression=9)
        for number in range(400):
            file[f"c{number}"] = file["data"]


def wide_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (1,), "f8", maxshape=(None,), chunks=(1 << 28,), compression=1)


def deflated_twice(path: Path) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((1 << 25,))
    created.set_deflate(9)
    created.set_deflate(9)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((1 << 25,))
        data = h5py.h5d.create(file.id, b"data", h5py.h5t.STD_I8LE, space, created)
        inner = zlib.compressobj(9)
        once = b"".join(inner.compress(bytes(1 << 20)) for _ in range(32)) + inner.flush()
        data.write_direct_chunk((0,), zlib.compress(once, 9))


def patched(path: Path, old: bytes, new: bytes, times: int | None = None) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new) if times is None else data.replace(old, new, times))


def long_attribute(path: Path) -> None:
    """A string attribute that claims three gigabytes."""
    foreign(path)
    with h5py.File(path, "r+") as file:
        file["data"].attrs["note"] = "n" * 1234
    patched(path, reference_anywhere(path, 1234), struct.pack("<I", 3_000_000_000))


def reference_anywhere(path: Path, length: int) -> bytes:
    """Return the first bytes of a reference to a string of that length, checked to be the only one."""
    data, found = path.read_bytes(), []
    heaps = [at for at in range(len(data)) if data.startswith(b"GCOL", at)]
    for heap in heaps:
        needle = struct.pack("<IQ", length, heap)
        if needle in data:
            found.append(needle)
    assert len(found) == 1
    return found[0][:4]


def long_attribute_among_many(path: Path) -> None:
    """The same among so many attributes that HDF5 stores them in a list of their own."""
    with h5py.File(path, "w", libver="latest") as file:
        file["data"] = np.zeros(3)
        for number in range(40):
            file["data"].attrs[f"a{number}"] = number
        file["data"].attrs["note"] = "n" * 1234
    assert b"FRHP" in path.read_bytes()
    patched(path, reference_anywhere(path, 1234), struct.pack("<I", 3_000_000_000))


def one_string_for_all(path: Path) -> None:
    """100,000 references to one string of 100 kB, deflated."""
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=["x" * 100_000] * 2, dtype=h5py.string_dtype())
        offset = file["data"].id.get_offset()
        file.flush()
        raw = path.read_bytes()[offset : offset + 16]
        del file["data"]
        many = file.create_dataset(
            "data", (100_000,), h5py.string_dtype(), chunks=(100_000,), compression=1, fillvalue=None
        )
        many.id.write_direct_chunk((0,), zlib.compress(raw * 100_000))


def long_fill_value(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (1_000_000,), h5py.string_dtype(), chunks=(1000,), fillvalue="f" * 20_000)


def false_fill_value(path: Path) -> None:
    """A fill value of three gigabytes, as its reference says."""
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (3,), h5py.string_dtype(), fillvalue="f" * 1234)
    patched(path, reference_anywhere(path, 1234), struct.pack("<I", 3_000_000_000))


def large_netcdf3(path: Path) -> None:
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_OFFSET") as file:
        file.createDimension("x", 8)
        file.createVariable("data", "f8", ("x",))[:] = 1
    patched(path, struct.pack(">I", 1) + b"x\0\0\0" + struct.pack(">I", 8), b"\0\0\0\1x\0\0\0\x30\0\0\0")


def many_records_netcdf3(path: Path) -> None:
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("x", None)
        file.createVariable("data", "f8", ("x",))[:] = np.ones(8)
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\x10\0\0\0" + data[8:])


def shared_bytes_netcdf3(path: Path) -> None:
    """Variables that all begin at one place of the file."""
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("x", 5_000)
        for name in ["data", *(f"c{number}" for number in range(60))]:
            file.createVariable(name, "f8", ("x",))
        file["data"].coordinates = " ".join(f"c{number}" for number in range(60))
    data = path.read_bytes()
    starts = [struct.pack(">I", len(data) - 40_000 * number) for number in range(61, 0, -1)]
    for start in starts[1:]:
        data = data.replace(start, starts[0], 1)
    path.write_bytes(data[: len(data) - 60 * 40_000])


def unwritten_chunks(path: Path) -> None:
    """A million chunks of one number each, none of them there: HDF5 looks for each, and takes memory for each."""
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (1_000_000,), "f8", chunks=(1,))


def text_for_numbers(form: str, attribute: str) -> Any:
    """A small file with many numbers of which xarray would make text of 32 characters and more."""

    def make(path: Path) -> None:
        with netCDF4.Dataset(path, "w", format=form) as file:
            file.createDimension("x", 1 << 20)
            file.createVariable("data", "f8", ("x",)).setncattr(attribute, "days")
        with path.open("r+b") as data:
            data.truncate(2000 if form != "NETCDF4" else path.stat().st_size)

    return make


def many_fill_values(path: Path) -> None:
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 1 << 20)
        file.createVariable("data", "f8", ("x",)).setncattr("missing_value", np.arange(1000.0))


def dates(form: str) -> Any:
    """A small file with many numbers of which xarray makes objects, each a date of an unusual calendar."""

    def make(path: Path) -> None:
        with netCDF4.Dataset(path, "w", format=form) as file:
            file.createDimension("x", 1 << 20)
            data = file.createVariable("data", "i1", ("x",))
            data.units, data.calendar = "days since 0001-01-01", "noleap"
        with path.open("r+b") as data:
            data.truncate(2000 if form != "NETCDF4" else path.stat().st_size)

    return make


def sequences(path: Path) -> None:
    """Arrays without elements that were never written; each takes an array of its own in memory."""
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (1 << 21,), h5py.vlen_dtype("i4"))


def deflated_sequences(path: Path) -> None:
    """The same, written: a chunk of references that lead nowhere."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (1 << 21,), h5py.vlen_dtype("i4"), chunks=(1 << 21,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(16 << 21)))


LARGE = {
    "many unwritten sequences": sequences,
    "many sequences without elements": deflated_sequences,
    "netCDF-3 with many dates": dates("NETCDF3_CLASSIC"),
    "many dates": dates("NETCDF4"),
    "netCDF-3 with text to scale numbers by": text_for_numbers("NETCDF3_CLASSIC", "scale_factor"),
    "text to scale numbers by": text_for_numbers("NETCDF4", "add_offset"),
    "text as fill value of numbers": text_for_numbers("NETCDF4", "missing_value"),
    "many fill values": many_fill_values,
    "many unwritten variables": many_unwritten,
    "one variable by many names": one_name_each,
    "a chunk wider than its variable": wide_chunk,
    "many chunks that were never written": unwritten_chunks,
    "deflated twice": deflated_twice,
    "a long attribute": long_attribute,
    "a long attribute among many": long_attribute_among_many,
    "many references to one string": one_string_for_all,
    "a long fill value": long_fill_value,
    "a fill value that claims more": false_fill_value,
    "netCDF-3 with a long dimension": large_netcdf3,
    "netCDF-3 with many records": many_records_netcdf3,
    "netCDF-3 whose variables share bytes": shared_bytes_netcdf3,
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_file_that_declares_more_than_it_can_hold_is_refused_in_little_memory(worker, tmp_path, kind):
    path = tmp_path / "x.nc"
    LARGE[kind](path)
    answers = worker(refusals, path)
    memory = int(answers.pop("memory", "-1"))
    assert all(answer.startswith("refused: ") for answer in answers.values()), answers
    assert 0 <= memory < 200 + path.stat().st_size // 2**20


def test_netcdf3_disguised_as_hdf5_and_the_reverse_are_judged_by_how_they_begin(tmp_path):
    add(external("data"), foreign)(tmp_path / "hdf5.nc")
    hdf5, older = (tmp_path / "hdf5.nc").read_bytes(), tmp_path / "older.nc"
    plain().to_dataset(name="data").to_netcdf(older, engine="netcdf4", format="NETCDF3_CLASSIC")
    (tmp_path / "block.nc").write_bytes(bytes(512) + hdf5)
    with pytest.raises(EncodingError, match="begins as neither"):
        codec.decode(tmp_path / "block.nc")
    (tmp_path / "both.nc").write_bytes(older.read_bytes().ljust(512, b"\0")[:512] + hdf5)
    answered = codec.decode(tmp_path / "both.nc") if len(older.read_bytes()) <= 512 else None
    assert answered is None or answered.shape == (3, 2)


def test_what_is_not_a_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.nc")
    for path in (tmp_path / "pipe.nc", Path("/dev/zero")):
        with pytest.raises(EncodingError, match="not a regular file"):
            codec.check(path)


def test_a_link_within_the_file_to_a_variable_is_harmless(tmp_path):
    add(lambda file, folder: file.__setitem__("alias", h5py.SoftLink("/w")), foreign)(tmp_path / "x.nc")
    np.testing.assert_array_equal(codec.decode(tmp_path / "x.nc").values, plain().values)


def test_a_lazy_assembly_whose_file_is_replaced_by_a_harmful_one_is_refused(tmp_path):
    foreign(tmp_path / "x.nc")
    lazy = codec.decode(tmp_path / "x.nc", chunks={})
    add(external("data"), foreign)(tmp_path / "other.nc")
    (tmp_path / "other.nc").replace(tmp_path / "x.nc")
    with pytest.raises(EncodingError, match="external storage"):
        lazy.compute()


def test_types_that_netcdf_knows_are_accepted(tmp_path):
    def known(file, folder):
        for number, kind in enumerate(
            ("i1", ">u8", "f4", ">f8", "S5", "c16", "V8", bool, h5py.string_dtype(), "(3,)f4")
        ):
            file.create_dataset(f"x{number}", (2,), kind)
            file["data"].attrs.create(f"a{number}", np.zeros(2, kind) if number != 8 else ["a", "b"], dtype=kind)
        file["data"].attrs["empty"] = h5py.Empty("S1")

    add(known, foreign)(tmp_path / "x.nc")
    look_through(tmp_path / "x.nc")


def test_a_sequence_where_one_value_should_be_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.nc", "w") as file:
        file.create_dataset("data", (), h5py.vlen_dtype("i4"))
    for read in (codec.decode, lambda path: codec.decode(path, chunks={}).compute()):
        with pytest.raises(EncodingError):
            read(tmp_path / "x.nc")


@pytest.mark.parametrize("size", range(8, 17))
def test_a_file_that_ends_within_its_first_bytes_is_refused(tmp_path, size):
    ours(tmp_path / "x.nc")
    (tmp_path / "x.nc").write_bytes((tmp_path / "x.nc").read_bytes()[:size])
    with pytest.raises(EncodingError):
        codec.check(tmp_path / "x.nc")
    with pytest.raises((NotSupported, IntegrityError)):
        codec.Parts(codec.LocalSource(tmp_path / "x.nc"))


def test_sparse_and_well_compressed_files_are_read(tmp_path):
    path = tmp_path / "x.nc"
    zeros = xr.DataArray(np.zeros((3000, 2000)), dims=("a", "b"))
    zeros.to_dataset(name="data").to_netcdf(path, engine="netcdf4", encoding={"data": {"zlib": True, "complevel": 9}})
    assert path.stat().st_size < 200_000
    assert codec.decode(path).identical(zeros.rename("data"))
    with netCDF4.Dataset(path, "w") as file:  # a few values written, the rest is fill
        file.createDimension("x", 1_000_000)
        file.createVariable("data", "f8", ("x",), chunksizes=(1000,), fill_value=7.0)[5:9] = 1
    assert np.isnan(codec.decode(path).values[9:]).all()
