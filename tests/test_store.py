"""What every store does beyond the kit of backends (test_kit.py), on each backend: these tests know no backend."""

import concurrent.futures
import dataclasses
import hashlib
import pickle
from urllib.parse import parse_qs, urlsplit

import pytest
import xarray as xr
from conftest import KINDS, make_assembly, write_yaml, yaml_for

import storage_plugins
from storage_plugins import (
    EncodingError,
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


def test_a_wrong_hash_names_what_was_expected_and_got(store, assembly):
    receipt = store.upload(assembly, "X")
    with pytest.raises(IntegrityError) as caught:
        store.load("X", sha1=SHA1_OF_NOTHING)
    assert SHA1_OF_NOTHING in str(caught.value)
    assert receipt.sha1 in str(caught.value)
    assert store.address in str(caught.value)


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
    if "endpoint_url=" in store.address:  # a server that only a URI names gets no credentials; the user's own does
        monkeypatch.setenv("AWS_ENDPOINT_URL", parse_qs(urlsplit(store.address).query)["endpoint_url"][0])
    receipt = store.upload(assembly, "X")
    store.upload(make_assembly(5), "X")
    new_cache()
    if "endpoint_url=" in receipt.uri:  # private data, and a server that a URI alone names gets no credentials
        monkeypatch.setenv("AWS_ENDPOINT_URL", receipt.uri.partition("endpoint_url=")[2].partition("#")[0])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    xr.testing.assert_identical(
        storage_plugins.load(receipt.uri, config={"stores": {"z": {"backend": "local", "root": "."}}}), assembly
    )


@pytest.mark.parametrize("uri", ["s3://", "nonsense", "file:///#sha256=" + "0" * 64, "gopher://x/y", "s3://b/k#md5=1"])
def test_a_malformed_uri_is_a_typed_error(uri):
    with pytest.raises(StorageError):
        storage_plugins.load(uri)


def test_what_a_store_cannot_do_is_not_supported(tmp_path):
    store = storage_plugins.open_store(config=write_yaml(tmp_path, {"backend": "local", "root": "./assemblies"}))
    store.upload(make_assembly(), "X")
    for call, name in ((store.publish, "X"), (store.publish, "Y"), (store.unpublish, "Y"), (store.share, "X")):
        with pytest.raises(NotSupported):
            call(name)


def test_a_receipt_is_written_beside_the_yaml_and_loads_without_the_store(store, assembly, yaml_file):
    receipt = store.upload(assembly, "X")
    kept = sorted(path.name for path in (yaml_file.parent / "receipts" / receipt.key).iterdir())
    assert [name[:16] for name in kept] == [receipt.sha256[:16]] * 2
    assert "@" in kept[1]
    assert store.receipts.of(receipt.key) == [receipt]


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


@pytest.mark.slow
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


def test_half_a_character_in_a_uri_or_a_version_id_is_named(store):
    """As where a Python read bytes of a name or an address that are not UTF-8."""
    for uri in ("fsspec:memory://lab/\ud800/x.nc", "file:///\ud800/x.nc", "s3://b/x.nc?versionId=\ud800"):
        with pytest.raises(InvalidPin, match="not Unicode text"):
            storage_plugins.load(uri)
    with pytest.raises(InvalidPin, match="not Unicode text"):
        store.load("X", version_id="\ud800")


def test_an_address_cannot_control_the_terminal_in_a_warning(caplog):
    with pytest.raises(storage_plugins.StorageError):
        storage_plugins.load("http://127.0.0.1:1/\x9b31m\u202e.nc")
    assert "not verified" in caplog.text
    assert not [text for text in caplog.messages if set(text) & set("\x9b\u202e")]
