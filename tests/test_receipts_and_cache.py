"""Receipts are written once and found again; the cache holds verified bytes only."""

import concurrent.futures
import dataclasses
import errno
import json
import logging
import multiprocessing
import os
import stat
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import xarray as xr
from conftest import make_assembly
from memory_files import MemoryFiles

from storage_plugins import Receipt, StoreUnavailable
from storage_plugins._copies.cache import Cache
from storage_plugins._copies.receipts import Receipts
from storage_plugins._copies.turns import turn


def receipt(number: int = 0, **changes: object) -> Receipt:
    values = {
        "identifier": "X",
        "store": "lab",
        "address": "s3://bucket",
        "key": "assy_X.nc",
        "version_id": f"v{number}",
        "sha1": f"{number:040x}",
        "sha256": f"{number:064x}"[::-1],
        "size": 7,
        "content_digest": None,
        "created": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        "uri": "s3://bucket/assy_X.nc",
    }
    return Receipt(**{**values, **changes})


def write_many(folder: Path, process: int) -> None:
    for number in range(5):
        Receipts(folder).write(receipt(process * 5 + number))
        Receipts(folder).write(receipt(1000))


@pytest.mark.slow
def test_forty_processes_write_receipts_and_all_are_there(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_many, args=(tmp_path, number)) for number in range(40)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 40
    found = Receipts(tmp_path).of("assy_X.nc")
    assert found == [receipt(number) for number in (1000, *range(199, -1, -1))]
    assert [path for path in (tmp_path / "assy_X.nc").iterdir() if path.suffix != ".yaml"] == []


def test_copies_of_one_version_at_several_places_are_all_kept(tmp_path):
    receipts = Receipts(tmp_path)
    copies = [
        receipt(1, created=datetime(2026, 1, day, tzinfo=UTC), address=address, version_id=version_id)
        for day, (address, version_id) in enumerate(
            [("s3://bucket", "null"), ("s3://bucket", "v2"), ("osf:abc12", "1"), ("file:///x", None)], start=1
        )
    ]
    for copy in copies:
        receipts.write(copy)
        receipts.write(dataclasses.replace(copy, created=datetime(2027, 1, 1, tzinfo=UTC)))  # no edit later
    assert receipts.of("assy_X.nc") == copies[::-1]


def test_what_is_not_a_receipt_is_passed_over_with_a_warning_that_names_it(tmp_path, caplog):
    receipts = Receipts(tmp_path)
    receipts.write(receipt(1))
    folder = tmp_path / "assy_X.nc"
    (folder / "merge-conflict.yaml").write_text("<<<<<<< HEAD\nsha256: 1\n=======")
    (folder / "other.yaml").write_text("- a\n")
    (folder / "tag.yaml").write_text("!!python/object/apply:os.system ['true']")
    assert receipts.of("assy_X.nc") == [receipt(1)]
    for name in ("merge-conflict.yaml", "other.yaml", "tag.yaml"):
        assert name in caplog.text


def test_a_receipt_that_cannot_be_written_is_a_warning_and_the_upload_succeeds(memory_store, tmp_path, caplog):
    store = memory_store(MemoryFiles())
    (tmp_path / "receipts").write_text("a file where the folder should be")
    made = store.upload(make_assembly(), "X")
    assert caplog.records[-1].levelno == logging.WARNING
    assert made.uri in caplog.text
    xr.testing.assert_identical(store.load("X", sha1=made.sha1), make_assembly())


@pytest.fixture
def uploaded(memory_store):
    files = MemoryFiles()
    store = memory_store(files)
    return store, files, store.upload(make_assembly(), "X")


def cached_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("assy_*") if path.is_file()]


def test_a_cached_file_changed_on_disk_is_not_used_and_is_replaced(uploaded, tmp_path, caplog):
    store, files, made = uploaded
    store.load(made)
    (path,) = cached_files(tmp_path / "cache")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    xr.testing.assert_identical(store.load(made), make_assembly())
    assert str(path) in caplog.text
    assert len(files.reads) == 2


def test_two_hashes_that_contradict_each_other_cost_the_cache_nothing(uploaded, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    store, files, made = uploaded
    store.load(made)
    files.away = True
    with pytest.raises(StoreUnavailable):
        store.load("X", sha256=made.sha256, sha1="0" * 40)
    xr.testing.assert_identical(store.load("X", sha256=made.sha256), make_assembly())


def test_a_warm_load_does_not_hash_again(uploaded, tmp_path):
    store, _, made = uploaded
    path = store.fetch(made)
    (note,) = (tmp_path / "cache" / "verified").iterdir()
    note.write_text(note.read_text().replace(made.sha1, "0" * 40))
    assert store.cache.verify(path).digests.sha1 == "0" * 40  # as the note says


boots_have_names = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file is synchronised with the disk")


def after_a_restart(note: Path, path: Path) -> None:
    """Let a note be of an earlier boot, and of the file as it is now."""
    status = path.stat()
    state = [status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, status.st_ctime_ns]
    note.write_text(json.dumps(json.loads(note.read_text()) | {"boot": "an earlier one", "state": state}))


@boots_have_names
def test_a_download_whose_bytes_a_power_failure_took_is_not_believed_although_its_note_is_left(uploaded, tmp_path):
    store, files, made = uploaded
    path = store.fetch(made)
    (note,) = (tmp_path / "cache" / "verified").iterdir()
    size = path.stat().st_size
    path.chmod(0o600)
    path.write_bytes(bytes(size))
    after_a_restart(note, path)
    xr.testing.assert_identical(store.load(made), make_assembly())
    assert len(files.reads) == 2


@boots_have_names
def test_the_next_use_of_a_download_waits_for_the_disk_and_later_ones_do_not(uploaded, tmp_path, monkeypatch):
    store, files, made = uploaded
    waits, wait = [], os.fsync
    monkeypatch.setattr("os.fsync", lambda descriptor: waits.append(descriptor) or wait(descriptor))
    path = store.fetch(made)
    assert waits == []
    for _ in range(3):
        assert store.fetch(made) == path
        assert len(waits) == 1
    (note,) = (tmp_path / "cache" / "verified").iterdir()
    assert "boot" not in json.loads(note.read_text())
    assert len(files.reads) == 1


@boots_have_names
def test_a_download_that_the_disk_did_not_take_is_downloaded_again(uploaded, monkeypatch):
    store, files, made = uploaded
    store.fetch(made)

    def failed(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", failed)
    assert store.fetch(made).stat().st_size == made.size
    assert len(files.reads) == 2


@boots_have_names
def test_a_download_is_hashed_once_more_after_a_restart_and_then_never_again(uploaded, memory_store, tmp_path):
    _, files, made = uploaded
    store = memory_store(files, receipts=False)
    store.load("X", sha1=made.sha1)  # notes the digest of the content
    path = store.fetch(made)
    (note,) = (tmp_path / "cache" / "verified").iterdir()
    after_a_restart(note, path)
    assert store.cache.verify(path).content_digest == made.content_digest
    assert "boot" not in json.loads(note.read_text())
    note.write_text(note.read_text().replace(made.sha1, "0" * 40))
    assert store.cache.verify(path).digests.sha1 == "0" * 40  # as the note says
    assert len(files.reads) == 1


def test_a_file_replaced_with_the_same_size_and_time_is_seen_by_its_inode(uploaded, tmp_path):
    store, files, made = uploaded
    store.load(made)
    (path,) = cached_files(tmp_path / "cache")
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"\0" * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    xr.testing.assert_identical(store.load(made), make_assembly())
    assert len(files.reads) == 2


def test_another_file_put_under_a_hash_is_never_believed(uploaded, tmp_path):
    store, _, made = uploaded
    place = tmp_path / "cache" / made.sha256[:2] / made.sha256
    place.mkdir(parents=True)
    (place / made.key).write_bytes(b"planted")
    xr.testing.assert_identical(store.load(made), make_assembly())


def test_read_only_layers_are_verified_on_first_use_and_never_written(memory_store, tmp_path, monkeypatch):
    files = MemoryFiles()
    made = memory_store(files, cache="layer").upload(make_assembly(), "X")
    memory_store(files, cache="layer").load(made)
    layer = tmp_path / "layer"
    before = sorted(layer.rglob("*"))
    store = memory_store(files, cache="mine")
    store.cache = Cache([tmp_path / "mine", layer])
    files.away = True
    xr.testing.assert_identical(store.load(made), make_assembly())
    (path,) = cached_files(layer)
    path.chmod(0o600)
    path.write_bytes(b"spoilt")
    files.away = False
    xr.testing.assert_identical(store.load(made), make_assembly())
    assert path.read_bytes() == b"spoilt"
    assert sorted(layer.rglob("*")) == before


@pytest.mark.parametrize("kind", ["sha1", "verified"])
@pytest.mark.parametrize("rest", [b"", bytes(9), b'{"path"', b"[]", b"\xff"])
def test_a_note_of_the_cache_that_a_power_failure_spoilt_is_not_believed_and_written_anew(
    uploaded, tmp_path, kind, rest
):
    store, _, made = uploaded
    store.load("X", sha1=made.sha1)
    (note,) = (path for path in (tmp_path / "cache" / kind).rglob("*") if path.is_file())
    before = note.read_bytes()
    note.write_bytes(rest)
    xr.testing.assert_identical(store.load("X", sha1=made.sha1), make_assembly())
    assert made.sha256.encode() in note.read_bytes()
    assert len(note.read_bytes()) == len(before)


def test_a_file_that_was_loaded_before_is_not_looked_through_again(uploaded, memory_store, monkeypatch):
    _, files, made = uploaded
    store = memory_store(files, receipts=False)  # so that the content is known from the cache alone
    for _ in range(2):
        xr.testing.assert_identical(store.load("X", sha1=made.sha1), make_assembly())
        monkeypatch.setattr("netCDF4.Dataset", None)
    path = store.fetch(made)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[::-1])
    files.away = True
    with pytest.raises(StoreUnavailable):
        store.load("X", sha1=made.sha1)


def test_brainios_folder_is_a_layer(uploaded, tmp_path):
    store, files, made = uploaded
    data = files.held[made.key][0][1]
    brainio = tmp_path / "brainio" / made.sha1
    brainio.mkdir(parents=True)
    (brainio / made.key).write_bytes(data)
    store.cache = Cache([tmp_path / "mine"], brainio=tmp_path / "brainio")
    files.away = True
    xr.testing.assert_identical(store.load("X", sha1=made.sha1), make_assembly())


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_copies_of_private_data_are_the_users_alone(memory_store, tmp_path):
    files = MemoryFiles()
    store = memory_store(files)
    made = store.upload(make_assembly(), "X")
    path = store.fetch(made)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shared = memory_store(files, cache="shared")
    shared.settings = shared.settings.model_copy(update={"cache": "shared"})
    previous = os.umask(0o022)
    try:
        assert stat.S_IMODE(shared.fetch(made).stat().st_mode) == 0o644
    finally:
        os.umask(previous)


def test_the_environment_places_the_cache_and_its_layers(tmp_path, monkeypatch, home):
    assert Cache.from_environment().folders[0].is_relative_to(home)
    monkeypatch.setenv("STORAGE_PLUGINS_CACHE", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    monkeypatch.setenv("BRAINIO_HOME", str(tmp_path / "c"))
    cache = Cache.from_environment()
    assert cache.folders == (tmp_path / "a", tmp_path / "b")
    assert cache.brainio == tmp_path / "c"


def test_what_crashes_left_behind_is_swept_after_a_day(uploaded, tmp_path):
    store, _, made = uploaded
    folder = tmp_path / "other cache"
    folder.mkdir()
    old, new = folder / ".tmp-1-old", folder / ".tmp-2-new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    store.elsewhere(Cache([folder])).load(made)
    assert not old.exists()
    assert new.exists()


def test_hostile_receipts_are_passed_over(tmp_path, caplog):
    receipts = Receipts(tmp_path)
    receipts.write(receipt(1))
    folder = tmp_path / "assy_X.nc"
    (folder / "deep.yaml").write_text("[" * 100_000)
    (folder / "list.yaml").write_text("sha256: [a, b]\nsha1: [c]\n")
    whole = next(
        path for path in folder.iterdir() if "@" not in path.name and path.name.startswith(receipt(1).sha256[:16])
    )
    (folder / "elsewhere.yaml").write_text(whole.read_text().replace("assy_X.nc", "../secret.txt"))
    assert receipts.of("assy_X.nc") == [receipt(1)]


def test_a_receipt_damaged_by_a_crash_is_written_again(tmp_path):
    receipts = Receipts(tmp_path)
    receipts.write(receipt(1))
    for path in (tmp_path / "assy_X.nc").iterdir():
        path.write_bytes(b"")
    assert receipts.of("assy_X.nc") == []
    receipts.write(receipt(1))
    assert receipts.of("assy_X.nc") == [receipt(1)]


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_adopting_a_file_leaves_the_umask_alone(memory_store, tmp_path):
    store = memory_store(MemoryFiles())
    store.settings = store.settings.model_copy(update={"cache": "shared"})
    receipts = [store.upload(make_assembly(seed), "X") for seed in range(12)]
    previous = os.umask(0o027)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            paths = list(pool.map(store.fetch, receipts))
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o640}
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(previous)


@pytest.mark.skipif(os.name == "nt", reason="links, pipes and devices")
@pytest.mark.parametrize("name", ["0123456789abcdef.yaml", "0123456789abcdef@0.yaml", "0123456789abcdef@0.pin.yaml"])
@pytest.mark.parametrize("kind", ["device", "link", "pipe", "large", "folder"])
def test_receipts_are_small_files_and_never_links(tmp_path, caplog, kind, name):
    receipts = Receipts(tmp_path)
    receipts.write(receipt(1))
    path = tmp_path / "assy_X.nc" / name
    (whole,) = (file for file in (tmp_path / "assy_X.nc").iterdir() if "@" not in file.name)
    make = {
        "device": lambda: path.symlink_to("/dev/zero"),
        "link": lambda: path.symlink_to(whole),
        "pipe": lambda: os.mkfifo(path),
        "large": lambda: path.write_bytes(b"# a comment\n" * 10_000 + whole.read_bytes()),
        "folder": path.mkdir,
    }
    make[kind]()
    assert receipts.known("assy_X.nc") == [receipt(1)]
    assert path.name in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_a_link_is_not_a_folder_of_receipts(tmp_path, caplog):
    Receipts(tmp_path / "elsewhere").write(receipt(1))
    (tmp_path / "receipts").mkdir()
    (tmp_path / "receipts" / "assy_X.nc").symlink_to(tmp_path / "elsewhere" / "assy_X.nc")
    receipts = Receipts(tmp_path / "receipts")
    assert receipts.of("assy_X.nc") == []
    receipts.write(receipt(2))
    assert Receipts(tmp_path / "elsewhere").of("assy_X.nc") == [receipt(1)]
    assert "link" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"version_id": "a b"},
        {"version_id": "it's"},
        {"version_id": "'"},
        {"version_id": "# no comment"},
        {"version_id": "a #b"},
        {"version_id": "x: y"},
        {"version_id": "ends:"},
        {"version_id": "~"},
        {"version_id": "null"},
        {"version_id": "1e3"},
        {"version_id": "é\u2028"},
        {"version_id": "back\\slash"},
        {"version_id": "- [a]"},
        {"version_id": "%&*!|>@`"},
        {"store": "long " * 40},
        {"address": "file:///d%C3%A9j%C3%A0"},
        {"uri": "s3://b/k?versionId=a%20b&x=1#sha256=0"},
        {"uri": ""},
        {"content_digest": "v1:" + "0" * 64},
    ],
)
def test_a_receipt_is_read_as_it_was_written(tmp_path, changes):
    Receipts(tmp_path).write(receipt(1, **changes))
    assert Receipts(tmp_path).of("assy_X.nc") == [receipt(1, **changes)]


@pytest.mark.slow
def test_two_thousand_receipts_of_a_key_take_little_time(tmp_path):
    receipts = Receipts(tmp_path)
    folder = tmp_path / "assy_X.nc"
    receipts.write(receipt(1))
    version, copy = sorted(folder.iterdir(), key=lambda path: "@" in path.name)
    texts = version.read_text(), copy.read_text()
    sha256 = receipt(1).sha256
    for number in range(2000):
        other = f"{number:064x}"[::-1]
        (folder / f"{other[:16]}.yaml").write_text(texts[0].replace(sha256, other))
        (folder / f"{other[:16]}@0.yaml").write_text(texts[1].replace(sha256, other))
    start = time.process_time()
    assert len(receipts.of("assy_X.nc")) >= 2000
    assert time.process_time() - start < 1  # 0.25 s here; 1.4 s with a YAML parser for each


def test_what_a_receipt_contains_cannot_control_the_terminal_in_a_warning(tmp_path, caplog):
    folder = tmp_path / "assy_X.nc"
    folder.mkdir()
    (folder / f"{'0' * 16}.yaml").write_text("a: 'b\ufeff\u202e: [\n", encoding="utf-8")
    (folder / "\x1b[2J.yaml").write_text("a")
    assert Receipts(tmp_path).of("assy_X.nc") == []
    assert len(caplog.messages) == 2
    assert not [text for text in caplog.messages if set(text) & set("\ufeff\u202e\x1b")]


def test_one_at_a_time_has_its_turn_and_nothing_is_left_of_it(tmp_path):
    at_once, most = [], []

    def work(_):
        with turn(tmp_path / "turn") as progress:
            at_once.append(1)
            most.append(len(at_once))
            progress()
            at_once.pop()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert max(most) == 1
    assert not (tmp_path / "turn").exists()


def test_where_files_cannot_be_locked_nobody_waits(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)  # as on NFS without a lock daemon
    with turn(tmp_path / "turn"), turn(tmp_path / "turn"):
        pass
    assert not (tmp_path / "turn").exists()


def test_who_waits_in_vain_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("storage_plugins._copies.turns._PATIENCE", 0.1)
    with turn(tmp_path / "turn"), turn(tmp_path / "turn") as progress:
        progress()
