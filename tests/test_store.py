"""What every store does, on each backend: these tests know no backend."""

import concurrent.futures
import dataclasses
import hashlib
import pickle

import pytest
import xarray as xr
from conftest import KINDS, make_assembly, write_yaml, yaml_for

import storage_plugins
from storage_plugins import (
    AssemblyNotFound,
    EncodingError,
    IdentifierCollision,
    IntegrityError,
    InvalidIdentifier,
    InvalidPin,
    NotSupported,
    StorageError,
)


@pytest.fixture(params=[*KINDS, "memory"])  # whose files no other process sees
def yaml_file(request, tmp_path):
    return yaml_for(request.param, tmp_path, request)


SHA1_OF_NOTHING = hashlib.sha1(b"").hexdigest()


def test_an_uploaded_assembly_comes_back_identical(store, assembly, new_cache, yaml_file):
    receipt = store.upload(assembly, "Pereira2018.language")
    new_cache()
    loaded = storage_plugins.open_store(config=yaml_file).load(receipt)
    xr.testing.assert_identical(loaded, assembly)
    assert loaded.indexes["presentation"].names == ["stimulus_id", "repetition"]


def test_the_receipt_tells_where_and_what(store, assembly):
    receipt = store.upload(assembly, "Pereira2018.language")
    path = store.fetch("assy_Pereira2018_language.nc")
    data = path.read_bytes()
    assert receipt.key == "assy_Pereira2018_language.nc"
    assert receipt.sha1 == hashlib.sha1(data).hexdigest()
    assert receipt.sha256 == hashlib.sha256(data).hexdigest()
    assert receipt.size == len(data)
    assert receipt.store == "lab"
    assert receipt.address == store.address
    assert receipt.pin().splitlines()[2].strip() == f'sha1="{receipt.sha1}")'


def test_every_kind_of_pin_gives_its_own_version(store, new_cache, yaml_file):
    first, second = make_assembly(1), make_assembly(2)
    receipts = [store.upload(first, "X"), store.upload(second, "X")]
    for made, receipt in zip((first, second), receipts, strict=True):
        for pin in (
            {"version_id": receipt.version_id},
            {"sha1": receipt.sha1},
            {"sha256": receipt.sha256.upper()},
            {"version_id": receipt.version_id, "sha1": receipt.sha1},
        ):
            new_cache()
            xr.testing.assert_identical(storage_plugins.open_store(config=yaml_file).load("X", **pin), made)


def test_versions_are_listed_newest_first_with_their_hashes(store):
    receipts = [store.upload(make_assembly(seed), "X") for seed in range(4)]
    versions = store.versions("X")
    assert [(v.version_id, v.sha1, v.sha256, v.size) for v in versions] == [
        (r.version_id, r.sha1, r.sha256, r.size) for r in reversed(receipts)
    ]
    assert all(version.created.tzinfo for version in versions)
    assert store.versions("Y") == []


def test_uploading_the_same_again_is_no_new_version(store, assembly):
    first = store.upload(assembly, "X")
    assert store.upload(assembly, "X") == first
    assert len(store.versions("X")) == 1


def test_going_back_to_earlier_content_is_a_new_version_and_the_newest(store):
    store.upload(make_assembly(1), "X")
    store.upload(make_assembly(2), "X")
    third = store.upload(make_assembly(1), "X")
    assert store.versions("X")[0].version_id == third.version_id
    assert len({version.version_id for version in store.versions("X")}) == 3
    xr.testing.assert_identical(store.load("X"), make_assembly(1))


def test_identifiers_are_listed_as_they_were_given(store, assembly):
    for identifier in ("b.two_parts", "a", "C-3.x"):
        store.upload(assembly, identifier)
    store.upload(assembly, "a", assembly_prefix="ceiling_")
    assert store.identifiers() == ["C-3.x", "a", "b.two_parts"]
    assert store.identifiers(assembly_prefix="ceiling_") == ["a"]


def test_prefixes_keep_assemblies_of_one_identifier_apart(store):
    for seed, prefix in enumerate(("assy_", "ceiling_", "ceiling_raw_")):
        store.upload(make_assembly(seed), "X", assembly_prefix=prefix)
    for seed, prefix in enumerate(("assy_", "ceiling_", "ceiling_raw_")):
        xr.testing.assert_identical(store.load("X", assembly_prefix=prefix), make_assembly(seed))


@pytest.mark.parametrize("identifier", ["../x", "", "x" * 300, "a/b", "a b", "é", ".a", "a\n", "a\x00", 7, None])
def test_an_impossible_identifier_is_refused_and_leaves_nothing(store, assembly, identifier):
    with pytest.raises(InvalidIdentifier):
        store.upload(assembly, identifier)
    with pytest.raises(ValueError, match=r"identifier"):
        store.load(identifier)
    assert store.identifiers() == []


@pytest.mark.parametrize("name", ["../x", "", "x" * 300, "a/b", "a\\b", ".versions", "a.", "é"])
def test_an_impossible_file_name_is_refused_and_leaves_nothing(store, tmp_path, name):
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(InvalidIdentifier):
        store.upload_file(tmp_path / "f", name)
    with pytest.raises(InvalidIdentifier):
        store.fetch(name)
    assert store.file_names() == []


@pytest.mark.parametrize(("first", "second"), [("a_b", "a.b"), ("a.b", "A.b"), ("x.Y", "x.y")])
def test_a_name_too_close_to_another_is_refused(store, first, second):
    store.upload(make_assembly(1), first)
    with pytest.raises(IdentifierCollision):
        store.upload(make_assembly(2), second)
    assert store.identifiers() == [first]
    assert len(store.versions(first)) == 1


def test_prefix_and_identifier_cannot_be_joined_to_one_name_in_two_ways(store):
    store.upload(make_assembly(1), "raw_X", assembly_prefix="ceiling_")
    with pytest.raises(IdentifierCollision):
        store.upload(make_assembly(2), "X", assembly_prefix="ceiling_raw_")


def test_what_is_not_there_is_not_found(store, assembly):
    with pytest.raises(AssemblyNotFound):
        store.load("X")
    receipt = store.upload(assembly, "X")
    for pin in ({"version_id": "nonsense"}, {"version_id": receipt.version_id + "0"}):
        with pytest.raises(FileNotFoundError):
            store.load("X", **pin)
    with pytest.raises(AssemblyNotFound):
        store.fetch("other.zip")


def test_a_wrong_hash_names_what_was_expected_and_got(store, assembly):
    receipt = store.upload(assembly, "X")
    with pytest.raises(IntegrityError) as caught:
        store.load("X", sha1=SHA1_OF_NOTHING)
    assert SHA1_OF_NOTHING in str(caught.value)
    assert receipt.sha1 in str(caught.value)
    assert store.address in str(caught.value)


@pytest.mark.parametrize("pin", [{"sha1": "xyz"}, {"sha256": "ab" * 20}, {"sha1": 5}, {"version_id": 3}])
def test_a_pin_that_is_none_is_refused(store, pin):
    with pytest.raises(InvalidPin) as caught:
        store.load("X", **pin)
    assert isinstance(caught.value, StorageError)
    assert isinstance(caught.value, ValueError)


def test_none_and_empty_strings_pin_nothing(store, assembly):
    store.upload(assembly, "X")
    xr.testing.assert_identical(store.load("X", version_id="", sha1=None, sha256=""), assembly)


def test_any_file_is_kept_byte_for_byte(store, tmp_path, new_cache, yaml_file):
    source = tmp_path / "stimulus_hvm.zip"
    source.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 100)
    receipt = store.upload_file(source)
    new_cache()
    fetched = storage_plugins.open_store(config=yaml_file).fetch("stimulus_hvm.zip", sha1=receipt.sha1)
    assert fetched.read_bytes() == source.read_bytes()
    assert fetched.suffix == ".zip"
    assert store.file_names() == ["stimulus_hvm.zip"]
    assert store.identifiers() == []


def test_an_empty_file_is_kept_too(store, tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    receipt = store.upload_file(tmp_path / "empty.csv")
    assert receipt.sha1 == SHA1_OF_NOTHING
    assert store.fetch("empty.csv", sha1=receipt.sha1).read_bytes() == b""


def test_a_netcdf_file_keeps_its_bytes(store, assembly, tmp_path, new_cache, yaml_file):
    path = tmp_path / "mine.nc"
    assembly.reset_index(["presentation", "neuroid"]).to_netcdf(path, engine="netcdf4")
    receipt = store.upload(path, "X")
    assert receipt.sha1 == hashlib.sha1(path.read_bytes()).hexdigest()
    new_cache()
    loaded = storage_plugins.open_store(config=yaml_file).load("X", sha1=receipt.sha1)
    xr.testing.assert_identical(loaded, xr.open_dataarray(path, engine="netcdf4").load())


def test_a_file_that_is_no_assembly_is_refused_as_one(store, tmp_path):
    (tmp_path / "x.nc").write_bytes(b"<html>not found</html>")
    with pytest.raises(EncodingError):
        store.upload(tmp_path / "x.nc", "X")
    with pytest.raises(FileNotFoundError):
        store.upload(tmp_path / "absent.nc", "X")
    with pytest.raises(StorageError, match="not a file"):
        store.upload_file(tmp_path)
    assert store.identifiers() == []


def test_nonsense_under_an_assemblys_name_is_told_as_such(store, tmp_path):
    (tmp_path / "x").write_bytes(b"\x89HDF\r\n\x1a\n nonsense")
    store.upload_file(tmp_path / "x", "assy_X.nc")
    with pytest.raises(StorageError):
        store.load("X", sha1=hashlib.sha1((tmp_path / "x").read_bytes()).hexdigest())


def test_extras_travel_in_the_same_file(store, assembly, new_cache, yaml_file):
    meta = xr.DataArray([1.0, 2.0], dims="trial", coords={"animal": ("trial", ["x", "y"])}, name="meta")
    receipt = store.upload(assembly, "X", extras={"meta": meta})
    new_cache()
    store = storage_plugins.open_store(config=yaml_file)
    xr.testing.assert_identical(store.load_extras(receipt)["meta"], meta)
    xr.testing.assert_identical(store.load(receipt), assembly)


def test_a_class_and_chunks_are_honoured(store, assembly):
    class Special(xr.DataArray):
        __slots__ = ()

    receipt = store.upload(assembly, "X")
    assert type(store.load(receipt, cls=Special)) is Special
    lazy = store.load(receipt, chunks={})
    assert lazy.chunks
    xr.testing.assert_identical(lazy.compute(), assembly)
    lazy.close()


def test_attributes_that_cannot_be_kept_are_refused_by_name_or_dropped(store, assembly):
    assembly.attrs["raw"] = assembly.copy()
    with pytest.raises(EncodingError, match=r"'raw'(.|\n)*drop_attrs"):
        store.upload(assembly, "X")
    assert store.identifiers() == []
    store.upload(assembly, "X", drop_attrs=["raw"])
    assert "raw" not in store.load("X").attrs
    assert "raw" in assembly.attrs


def test_a_receipts_uri_loads_without_any_configuration(store, assembly, new_cache, tmp_path, monkeypatch):
    receipt = store.upload(assembly, "X")
    store.upload(make_assembly(5), "X")
    new_cache()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    xr.testing.assert_identical(
        storage_plugins.load(receipt.uri, config={"stores": {"z": {"backend": "local", "root": "."}}}), assembly
    )


@pytest.mark.parametrize("uri", ["s3://", "nonsense", "file:///#sha256=" + "0" * 64, "gopher://x/y", "s3://b/k#md5=1"])
def test_a_malformed_uri_is_a_typed_error(uri):
    with pytest.raises(StorageError):
        storage_plugins.load(uri)


def test_a_store_survives_a_pickle(store, assembly):
    receipt = store.upload(assembly, "X")
    again = pickle.loads(pickle.dumps(store))
    assert again.address == store.address
    xr.testing.assert_identical(again.load(receipt), assembly)
    assert again.upload(make_assembly(3), "X").store == "lab"


def test_what_a_store_cannot_do_is_not_supported(tmp_path):
    store = storage_plugins.open_store(config=write_yaml(tmp_path, {"backend": "local", "root": "./assemblies"}))
    store.upload(make_assembly(), "X")
    for call, name in ((store.publish, "X"), (store.publish, "Y"), (store.unpublish, "Y"), (store.share, "X")):
        with pytest.raises(NotSupported):
            call(name)


def test_a_file_changed_while_it_is_uploaded_is_refused(store, tmp_path):
    source = tmp_path / "growing.bin"
    source.write_bytes(b"a" * 100_000)
    looked = store.files.newest

    def change_then_look(key):  # the moment between hashing and sending
        source.write_bytes(b"b" * 100_000)
        return looked(key)

    store.files.newest = change_then_look
    with pytest.raises(IntegrityError, match="changed"):
        store.upload_file(source)
    del store.files.newest
    assert store.file_names() == []


def test_a_receipt_is_written_beside_the_yaml_and_loads_without_the_store(store, assembly, yaml_file):
    receipt = store.upload(assembly, "X")
    kept = sorted(path.name for path in (yaml_file.parent / "receipts" / receipt.key).iterdir())
    assert [name[:16] for name in kept] == [receipt.sha256[:16]] * 2
    assert "@" in kept[1]
    assert store.receipts.of(receipt.key) == [receipt]


def test_every_store_is_an_assembly_store(store):
    assert isinstance(store, storage_plugins.AssemblyStore)


def test_a_files_key_uploaded_as_such_answers_to_its_identifier(store, assembly, tmp_path):
    path = tmp_path / "x.nc"
    assembly.reset_index(["presentation", "neuroid"]).to_netcdf(path, engine="netcdf4")
    store.upload_file(path, "assy_a_b.nc")
    assert store.load("a.b").shape == (6, 3)
    assert len(store.versions("a.b")) == 1
    store.upload(assembly, "a.b")
    xr.testing.assert_identical(store.load("a.b"), assembly)


def test_a_receipt_from_outside_never_becomes_a_path(store, assembly, tmp_path):
    receipt = store.upload(assembly, "X")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    for key in ("../secret.txt", "../../evil.nc", "/etc/passwd", ".versions/x"):
        forged = dataclasses.replace(receipt, key=key, version_id=None, sha256="0" * 64, sha1="0" * 40)
        for call in (store.fetch, store.load):
            with pytest.raises(InvalidIdentifier):
                call(forged)


def test_lazy_and_eager_loads_and_uploads_in_threads_do_not_disturb_each_other(store, assembly, tmp_path):
    receipt = store.upload(assembly, "X")
    path = tmp_path / "x.nc"
    path.write_bytes(store.load_file(receipt).read_bytes())

    def work(number):
        if number % 3 == 0:
            return (store.load(receipt, chunks={}).values == assembly.values).all()
        if number % 3 == 1:
            return store.load(receipt).identical(assembly)
        return store.upload(path, "X") == receipt

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(60)))


def test_a_lazy_assembly_that_loads_from_a_store_can_itself_be_uploaded(store, assembly):
    dask_array = pytest.importorskip("dask.array")
    dask = pytest.importorskip("dask")
    receipt = store.upload(assembly, "X")
    values = dask.delayed(lambda: store.load(receipt).values)()
    lazy = xr.DataArray(dask_array.from_delayed(values, (6, 3), float), dims=("a", "b"))
    xr.testing.assert_identical(store.load(store.upload(lazy, "Y")), lazy.compute())


def test_a_lazy_assembly_survives_a_pickle_and_honours_chunks(store, assembly):
    receipt = store.upload(assembly, "X")
    lazy = pickle.loads(pickle.dumps(store.load(receipt, chunks={"presentation": 2})))
    assert lazy.chunks == ((2, 2, 2), (3,))
    xr.testing.assert_identical(lazy.compute(), assembly)
