"""The local store's layout, its durability, and what people find in the folder."""

import contextlib
import errno
import json
import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest
import xarray as xr
from conftest import make_assembly, write_yaml
from users import as_colleague, killed_at

import storage_plugins
from storage_plugins import AssemblyNotFound, IntegrityError, Source, StorageError
from storage_plugins._copies.cache import Cache
from storage_plugins_local.files import LocalFiles


@pytest.fixture
def root(tmp_path):
    return tmp_path / "assemblies"


@pytest.fixture
def store(tmp_path, root):
    return storage_plugins.open_store(config=write_yaml(tmp_path, {"backend": "local", "root": str(root)}))


def test_the_layout_is_the_documented_one(store, root):
    receipts = [store.upload(make_assembly(seed), "a.b") for seed in (1, 2)]
    assert [receipt.version_id for receipt in receipts] == [f"{n}-{r.sha256[:12]}" for n, r in enumerate(receipts, 1)]
    folder = root / ".versions" / "assy_a_b.nc"
    assert sorted(path.name for path in folder.iterdir()) == ["000001", "000002"]
    assert sorted(path.name for path in (folder / "000002").iterdir()) == ["data.nc", "receipt.json"]
    record = json.loads((folder / "000002" / "receipt.json").read_text())
    assert (record["identifier"], record["assembly-prefix"]) == ("a.b", "assy_")
    assert (record["sha1"], record["sha256"]) == (receipts[1].sha1, receipts[1].sha256)


def test_the_file_people_see_is_the_newest_version(store, root):
    store.upload(make_assembly(1), "X")
    receipt = store.upload(make_assembly(2), "X")
    shown = root / "assy_X.nc"
    assert shown.read_bytes() == (root / ".versions" / "assy_X.nc" / "000002" / "data.nc").read_bytes()
    shown.unlink()
    shown.write_bytes(b"somebody's own idea")
    xr.testing.assert_identical(store.load("X", newest=True), make_assembly(2))
    xr.testing.assert_identical(store.load(receipt), make_assembly(2))
    store.upload(make_assembly(3), "X")
    assert shown.read_bytes() == (root / ".versions" / "assy_X.nc" / "000003" / "data.nc").read_bytes()


def test_a_file_put_there_by_hand_is_one_version_and_stays_one(store, root, tmp_path):
    root.mkdir()
    plain = make_assembly(7).reset_index(["presentation", "neuroid"])
    plain.to_netcdf(root / "assy_X.nc", engine="netcdf4")
    data = (root / "assy_X.nc").read_bytes()
    (version,) = store.versions("X")
    assert store.identifiers() == ["X"]
    xr.testing.assert_identical(store.load("X"), xr.open_dataarray(root / "assy_X.nc", engine="netcdf4").load())
    store.upload(make_assembly(8), "X")
    assert store.fetch("assy_X.nc", version_id=version.version_id).read_bytes() == data
    assert store.fetch("assy_X.nc", sha1=version.sha1).read_bytes() == data
    assert [one.version_id[:2] for one in store.versions("X")] == ["2-", "1-"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_modes_follow_the_umask_and_files_are_read_only(store, root):
    for umask, data, folder in ((0o022, 0o444, 0o755), (0o027, 0o440, 0o750), (0o077, 0o400, 0o700)):
        previous = os.umask(umask)
        try:
            store.upload(make_assembly(umask), f"X{umask}")
        finally:
            os.umask(previous)
        place = root / ".versions" / f"assy_X{umask}.nc" / "000001"
        assert stat.S_IMODE((place / "data.nc").stat().st_mode) == data
        assert stat.S_IMODE(place.stat().st_mode) == folder


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_the_group_of_a_shared_folder_is_inherited(store, root):
    root.mkdir()
    root.chmod(0o2775)
    store.upload(make_assembly(), "X")
    assert (root / ".versions" / "assy_X.nc" / "000001").stat().st_mode & stat.S_ISGID


def test_data_are_read_where_they_are(store, root, tmp_path):
    receipt = store.upload(make_assembly(), "X")
    assert store.fetch(receipt) == root / ".versions" / "assy_X.nc" / "000001" / "data.nc"


def test_damage_on_disk_is_reported_with_what_was_expected(store, root):
    receipt = store.upload(make_assembly(), "X")
    path = root / ".versions" / "assy_X.nc" / "000001" / "data.nc"
    data = path.read_bytes()
    path.chmod(0o600)
    for damaged in (data[:-1], data[:100] + bytes([data[100] ^ 1]) + data[101:], b""):
        path.write_bytes(damaged)
        for pin in ({"sha1": receipt.sha1}, {"version_id": receipt.version_id}, {"newest": True}, {}):
            with pytest.raises(IntegrityError) as caught:
                store.load("X", **pin)
            assert (receipt.sha256 if "sha1" not in pin else receipt.sha1) in str(caught.value)


def test_a_lost_record_hides_nothing(store, root):
    receipt = store.upload(make_assembly(), "X")
    (root / ".versions" / "assy_X.nc" / "000001" / "receipt.json").unlink()
    for pin in ({"sha1": receipt.sha1}, {"version_id": receipt.version_id}, {"newest": True}):
        xr.testing.assert_identical(store.load("X", **pin), make_assembly())


def test_a_version_without_a_record_is_listed_with_its_hashes(store, root):
    receipt = store.upload(make_assembly(), "X")
    (root / ".versions" / "assy_X.nc" / "000001" / "receipt.json").unlink()
    (version,) = store.versions("X")
    assert (version.sha1, version.sha256, version.identifier) == (receipt.sha1, receipt.sha256, None)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_record_that_cannot_be_read_now_is_not_taken_for_a_missing_one(store, monkeypatch, number):
    store.upload(make_assembly(), "a.b")
    right = os.open

    def failing(path, *arguments, **named):
        if str(path).endswith("receipt.json"):
            raise OSError(number, os.strerror(number), str(path))
        return right(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        with pytest.raises(StorageError, match=os.strerror(number)):
            store.versions("a.b")
    assert [version.identifier for version in store.versions("a.b")] == ["a.b"]


def test_unfinished_versions_are_not_seen(store, root):
    store.upload(make_assembly(), "X")
    unfinished = root / ".versions" / "assy_X.nc" / ".tmp-1-abc"
    unfinished.mkdir()
    (unfinished / "data.nc").write_bytes(b"half")
    (root / ".versions" / "assy_Y.nc" / ".tmp-1-abc").mkdir(parents=True)
    assert len(store.versions("X")) == 1
    assert store.identifiers() == ["X"]
    with pytest.raises(AssemblyNotFound):
        store.load("Y")


def test_a_folder_that_does_not_exist_is_reported(store, root):
    with pytest.raises(AssemblyNotFound, match="does not exist"):
        store.load("X")
    assert store.identifiers() == []
    assert not Path(root).exists()


def test_a_folder_with_spaces_and_accents_has_an_address_that_loads(tmp_path):
    root = tmp_path / "Données du labo #1?"
    store = storage_plugins.open_store(config={"stores": {"a": {"backend": "local", "root": str(root)}}})
    receipt = store.upload(make_assembly(), "X")
    xr.testing.assert_identical(storage_plugins.load(receipt.uri), make_assembly())


def test_one_damaged_version_hides_no_other(store, root):
    receipts = [store.upload(make_assembly(seed), "X") for seed in (1, 2)]
    folder = root / ".versions" / "assy_X.nc"
    (folder / "000002" / "data.nc").unlink()
    (folder / "000009").mkdir()
    (folder / "3").mkdir()
    xr.testing.assert_identical(store.load("X", sha1=receipts[0].sha1), make_assembly(1))
    assert [version.version_id for version in store.versions("X")] == [receipts[0].version_id]
    assert store.identifiers() == ["X"]
    assert store.upload(make_assembly(3), "X").version_id.startswith("10-")
    assert store.upload(make_assembly(4), "X").version_id.startswith("11-")


def test_uploading_again_replaces_what_was_damaged(store, root):
    store.upload(make_assembly(), "X")
    path = root / ".versions" / "assy_X.nc" / "000001" / "data.nc"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    again = store.upload(make_assembly(), "X")
    assert again.version_id.startswith("2-")
    xr.testing.assert_identical(store.load("X", newest=True), make_assembly())


def test_a_file_put_there_by_hand_is_copied_before_it_is_returned(store, root):
    root.mkdir()
    make_assembly(7).reset_index(["presentation", "neuroid"]).to_netcdf(root / "assy_X.nc", engine="netcdf4")
    path, lazy = store.fetch("assy_X.nc"), store.load("X", chunks={})
    data = path.read_bytes()
    store.upload(make_assembly(8), "X")
    assert path.read_bytes() == data
    assert (lazy.values == make_assembly(7).values).all()


def test_an_address_is_the_same_however_the_folder_is_written(tmp_path):
    for root in ("./a/../data", str(tmp_path / "data")):
        config = write_yaml(tmp_path, {"backend": "local", "root": root})
        assert storage_plugins.open_store(config=config).address == (tmp_path / "data").as_uri()


def test_names_with_a_plus_have_an_address_that_loads(store):
    receipt = store.upload(make_assembly(), "a+b")
    xr.testing.assert_identical(storage_plugins.load(receipt), make_assembly())


def test_writing_over_the_file_people_see_changes_no_version(store, root, tmp_path):
    """As root nothing is read-only, so it must not be the version's own file."""
    receipt = store.upload(make_assembly(1), "X")
    shown = root / "assy_X.nc"
    with contextlib.suppress(PermissionError), shown.open("r+b") as file:
        file.truncate()
        file.write(b"something else")
    store.cache = Cache([tmp_path / "another computer"])
    xr.testing.assert_identical(store.load(receipt), make_assembly(1))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, to be another user")
def test_the_file_people_see_takes_no_space_where_it_cannot_be_written():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)

        def upload() -> None:
            config = {"stores": {"a": {"backend": "local", "root": f"{folder}/root"}}}
            store = storage_plugins.open_store(config=config)
            store.cache = Cache([Path(folder, "cache")])
            store.upload(make_assembly(), "X")

        as_colleague(upload)
        shown, data = (
            Path(folder, "root", "assy_X.nc"),
            Path(folder, "root", ".versions", "assy_X.nc", "000001", "data.nc"),
        )
        assert shown.samefile(data) or shown.read_bytes() == data.read_bytes()  # a hard link, or a clone
        assert not data.stat().st_mode & 0o222


def test_a_file_system_without_modes_serves_as_a_store(store, root, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for name in ("chmod", "fchmod"):  # as on SMB and many FUSE mounts
        monkeypatch.setattr(os, name, refuse)
    receipt = store.upload(make_assembly(), "X")
    xr.testing.assert_identical(store.load(receipt), make_assembly())
    assert (root / "assy_X.nc").is_file()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of any bytes")
def test_a_folder_whose_name_is_not_utf8_serves_as_a_store(tmp_path):
    root = os.fsdecode(os.fsencode(tmp_path) + b"/\xff raw")
    store = storage_plugins.open_store(config={"stores": {"a": {"backend": "local", "root": root}}})
    receipt = store.upload(make_assembly(), "X")
    xr.testing.assert_identical(store.load(receipt), make_assembly())
    xr.testing.assert_identical(storage_plugins.load(receipt.uri), make_assembly())
    assert Path(root, "assy_X.nc").is_file()


@pytest.mark.skipif(os.name == "nt", reason="links, pipes and devices")
@pytest.mark.parametrize("kind", ["device", "pipe", "large"])
def test_a_record_that_is_not_a_small_file_is_left_out(store, root, kind):
    receipt = store.upload(make_assembly(), "X")
    record = root / ".versions" / "assy_X.nc" / "000001" / "receipt.json"
    text = record.read_bytes()
    record.unlink()
    make = {
        "device": lambda: record.symlink_to("/dev/zero"),
        "pipe": lambda: os.mkfifo(record),
        "large": lambda: record.write_bytes(text + b" " * 100_000),
    }
    make[kind]()
    xr.testing.assert_identical(store.load("X", sha1=receipt.sha1), make_assembly())
    assert [version.identifier for version in store.versions("X")] == [None]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_an_upload_killed_at_any_step_leaves_nothing_for_long(tmp_path):
    (tmp_path / "file").write_bytes(b"the file")
    source, step, killed = Source.of(tmp_path / "file"), 0, True
    while killed:
        step += 1
        files = LocalFiles(tmp_path / str(step))
        killed = killed_at(step, lambda files=files: files.put("x.bin", source, metadata={}, if_absent=False))
        found = list(files.versions("x.bin"))
        assert [version.version_id for version in found] == [f"1-{source.sha256[:12]}"][: len(found)]
        assert found or not killed or list(files.keys()) == []
        for path in files.root.rglob(".tmp-*"):
            os.utime(path, (1, 1))
        files.put("another.bin", source, metadata={}, if_absent=False)  # any upload to the store sweeps
        assert list(files.root.rglob(".tmp-*")) == []
    assert step > 10
