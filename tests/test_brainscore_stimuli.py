"""Stimulus sets: a table and an archive, verified, unpacked safely and once."""

import io
import os
import stat
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from children import child, context

from storage_plugins import EncodingError, IntegrityError, brainscore
from storage_plugins._copies.cache import Cache
from storage_plugins.brainscore._archives import unpacked
from storage_plugins.brainscore._stimulus_sets import unzip

PLACE = "their-bucket/data"
FILES = {"n1.png": b"one", "n2.png": b"two", "sub/n3.png": b"three"}


@pytest.fixture
def routed(yaml_file, monkeypatch):
    """A storage.yaml in which a store of each backend in turn stands for a bucket."""
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(yaml_file))  # its servers are not the backends' own
    values = {**yaml.safe_load(yaml_file.read_text()), "brainscore": {"buckets": {PLACE: "lab"}}}
    yaml_file.write_text(yaml.safe_dump(values))


@pytest.fixture
def local(tmp_path):
    """A storage.yaml with a local store."""
    (tmp_path / "storage.yaml").write_text(yaml.safe_dump({"stores": {"a": {"backend": "local", "root": "./a"}}}))


def table(files=FILES, id_column="stimulus_id"):
    rows = pd.DataFrame({id_column: [f"n{n}" for n in range(len(files))], "filename": list(files), "size": 8})
    return rows.to_csv(index=False).encode()


def archive(files=FILES):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def upload(folder, csv, packed, bucket=PLACE, identifier="Lab.set"):
    """Upload a pair, and return what loads it."""
    pins = {"identifier": identifier, "bucket": bucket}
    for kind, content in (("csv", csv), ("zip", packed)):
        path = folder / f"up.{kind}"
        path.write_bytes(content)
        place, name = bucket or "anywhere", f"stimulus_{identifier.replace('.', '_')}.{kind}"
        if bucket is None:
            import storage_plugins

            receipt = storage_plugins.open_store().upload_file(path, name)
            pins |= {f"{kind}_sha1": receipt.sha1, f"{kind}_version_id": receipt.version_id}
        else:
            told = brainscore.upload_to_s3(path, place, name)
            pins |= {f"{kind}_sha1": told["sha1"], f"{kind}_version_id": told["VersionId"]}
    return pins


def test_a_stimulus_set_comes_back_with_its_files(routed, tmp_path):
    pins = upload(tmp_path, table(), archive())
    for changed in ({}, {"csv_version_id": "null", "zip_version_id": None}, {"filename_prefix": "stimulus_"}):
        loaded = brainscore.load_stimulus_set_from_s3(**{**pins, **changed})
        assert loaded.identifier == "Lab.set"
        assert list(loaded["stimulus_id"]) == ["n0", "n1", "n2"]
        assert {key: path.read_bytes() for key, path in loaded.stimulus_paths.items()} == {
            "n0": b"one",
            "n1": b"two",
            "n2": b"three",
        }
        assert loaded.get_stimulus("n1").read_bytes() == b"two"
        part = loaded[loaded["stimulus_id"] == "n2"]
        assert part.get_stimulus("n2").name == "n3.png"


def test_another_prefix_is_another_pair(local, tmp_path):
    import storage_plugins

    store = storage_plugins.open_store()
    for kind, content in (("csv", table()), ("zip", archive())):
        (tmp_path / kind).write_bytes(content)
        store.upload_file(tmp_path / kind, f"image_Lab_set.{kind}")
    loaded = brainscore.load_stimulus_set_from_s3("Lab.set", None, filename_prefix="image_")
    assert loaded.get_stimulus("n0").read_bytes() == b"one"


def test_image_id_serves_as_stimulus_id(local, tmp_path):
    loaded = brainscore.load_stimulus_set_from_s3(**upload(tmp_path, table(id_column="image_id"), archive(), None))
    assert list(loaded["stimulus_id"]) == list(loaded["image_id"]) == ["n0", "n1", "n2"]


def test_an_archive_is_unpacked_once_and_again_only_if_files_are_gone(local, tmp_path):
    pins = upload(tmp_path, table(), archive(), None)
    first = brainscore.load_stimulus_set_from_s3(**pins).get_stimulus("n0")
    made = first.stat().st_ino, first.stat().st_mtime_ns
    second = brainscore.load_stimulus_set_from_s3(**pins).get_stimulus("n0")
    assert (second.stat().st_ino, second.stat().st_mtime_ns) == made
    second.unlink()
    assert brainscore.load_stimulus_set_from_s3(**pins).get_stimulus("n0").read_bytes() == b"one"
    if os.name != "nt":
        assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


def test_a_truncated_file_is_put_right(local, tmp_path):
    pins = upload(tmp_path, table(), archive(), None)
    path = brainscore.load_stimulus_set_from_s3(**pins).get_stimulus("n2")
    path.write_bytes(b"")
    assert brainscore.load_stimulus_set_from_s3(**pins).get_stimulus("n2").read_bytes() == b"three"


def test_nothing_unfinished_is_left(local, tmp_path, new_cache):
    cache = new_cache()
    brainscore.load_stimulus_set_from_s3(**upload(tmp_path, table(), archive(), None))
    assert not list(cache.glob(".tmp-*"))


def load_all(pins, results):
    loaded = brainscore.load_stimulus_set_from_s3("Lab.set", None, pins["csv_sha1"], pins["zip_sha1"])
    assert all(path.stat().st_size == 20_000 for path in loaded.stimulus_paths.values())
    results.put(str(loaded.get_stimulus("n0")))


@pytest.mark.slow
def test_several_processes_may_unpack_at_once(local, tmp_path):
    files = {f"n{number}.png": b"x" * 20_000 for number in range(200)}
    pins = upload(tmp_path, table(files), archive(files), None)
    results = context().Queue()
    processes = [child(load_all, pins, results) for _ in range(4)]
    for process in processes:
        process.start()
    loaded = {results.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("csv", "files", "what"),
    [
        (FILES, {"n1.png": b"one"}, "does not have the file"),
        ({"n1.png": b"one"}, FILES, "has files that are not in the table"),
        ({"n1.png": b"", "../../secret": b""}, {"n1.png": b"one"}, "does not have the file '../../secret'"),
        ({"/etc/passwd": b""}, {"n1.png": b"one"}, "does not have the file '/etc/passwd'"),
    ],
)
def test_a_table_and_an_archive_that_do_not_match_are_refused(local, tmp_path, csv, files, what):
    with pytest.raises(IntegrityError, match=what):
        brainscore.load_stimulus_set_from_s3(**upload(tmp_path, table(csv), archive(files), None))


@pytest.mark.parametrize("csv", [b"", b"a,b\n1,2\n", b"stimulus_id\n1\n", b'"', b"\xff\xfe\x00"])
def test_a_table_that_is_none_is_refused(local, tmp_path, csv):
    with pytest.raises(EncodingError, match=r"Lab\.set"):
        brainscore.load_stimulus_set_from_s3(**upload(tmp_path, csv, archive(), None))


def test_a_folder_is_made_once_even_if_another_process_is_first(tmp_path):
    cache, made = Cache([tmp_path / "cache"]), []
    (tmp_path / "a").write_bytes(b"x")

    def make(folder):
        made.append(folder)
        if len(made) == 1:  # while this one is at it, another one finishes
            other.append(cache.made_once(cache.verify(tmp_path / "a"), "kind", is_whole, make))
        (folder / "file").write_text(str(len(made)))

    def is_whole(folder):
        return (folder / "file").exists()

    other = []
    for _ in range(2):
        folder = cache.made_once(cache.verify(tmp_path / "a"), "kind", is_whole, make)
        assert folder == other[0]
        assert [path.name for path in folder.iterdir()] == ["file"]
    assert len(made) == 2


# archives that mean harm


def packed(tmp_path, *entries, name="bad.zip"):
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for info, content in entries:
            out.writestr(info, content)
    return path


def special(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    "name",
    [
        "../up.png",
        "a/../../up.png",
        "/tmp/up.png",
        "//up.png",
        "a//b.png",
        "./a.png",
        "..",
        ".",
        "a\\..\\b.png",
        "C:\\a",
    ],
)
def test_a_name_that_leaves_the_folder_stops_all(local, tmp_path, new_cache, name):
    cache = new_cache()
    with pytest.raises(EncodingError, match="was not unpacked"):
        unzip(packed(tmp_path, ("good.png", b"x"), (name, b"x")))
    assert not list(cache.rglob("*.png"))
    assert not list(tmp_path.rglob("up.png"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_refused(local, tmp_path, kind):
    with pytest.raises(EncodingError, match="link or a device"):
        unzip(packed(tmp_path, (special("a", kind | 0o777), b"/etc/passwd")))


def test_files_and_folders_may_have_any_mode(local, tmp_path):
    folder = unzip(
        packed(tmp_path, (special("sub/", stat.S_IFDIR | 0o755), b""), (special("sub/a", stat.S_IFREG | 0o4777), b"x"))
    )
    status = (Path(folder) / "sub" / "a").stat()
    assert not status.st_mode & 0o6111  # nothing of an archive is to be run


def test_a_bomb_is_refused_before_anything_is_written(local, tmp_path, new_cache):
    cache = new_cache()
    big = packed(tmp_path, ("a", b"\0" * (1 << 20)))
    data = bytearray(big.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = (3 << 30).to_bytes(4, "little")  # the size it says it has
    big.write_bytes(data)
    with pytest.raises(EncodingError, match=f"would become {3 << 30}"):
        unzip(big)
    assert not list(cache.rglob("a"))


def test_an_archive_that_lies_about_its_sizes_is_refused(local, tmp_path, new_cache):
    cache = new_cache()
    path = packed(tmp_path, ("a", b"\0" * (1 << 20)))
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(EncodingError):
        unzip(path)
    assert not list(cache.rglob("a"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_an_encrypted_file_and_no_archive_are_refused(local, tmp_path):
    with pytest.raises(EncodingError, match="is in it more than once"):
        unzip(packed(tmp_path, ("a", b"1"), ("a", b"2")))
    path = packed(tmp_path, ("a", b"1"), name="locked.zip")
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.rindex(mark) + at] |= 1
    path.write_bytes(data)
    with pytest.raises(EncodingError, match="encrypted"):
        unzip(path)
    for content in (b"", b"PK", b"no archive", archive()[:-30]):
        (tmp_path / "no.zip").write_bytes(content)
        with pytest.raises(EncodingError, match=r"no\.zip"):
            unzip(tmp_path / "no.zip")


def test_damage_within_an_archive_is_refused_and_leaves_nothing(local, tmp_path, new_cache):
    cache = new_cache()
    path = packed(tmp_path, ("good", b"x"), ("a", os.urandom(1000)))
    data = bytearray(path.read_bytes())
    data[data.index(b"a", data.rindex(b"PK\x03\x04")) + 500] ^= 1
    path.write_bytes(data)
    with pytest.raises(EncodingError):
        unzip(path)
    assert not list((cache / "unpacked").glob("*"))
    assert not list(cache.glob(".tmp-*"))


def test_a_file_that_is_a_folder_too_is_refused(local, tmp_path):
    from storage_plugins import StorageError

    with pytest.raises(StorageError):
        unzip(packed(tmp_path, ("a", b"1"), ("a/b", b"2")))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_with_damaged_data_is_named(local, tmp_path, method):
    """Each method's decompressor has errors of its own."""
    path = tmp_path / "stimulus_x.zip"
    with zipfile.ZipFile(path, "w", method) as opened:
        opened.writestr("a.png", os.urandom(1000))
    data = bytearray(path.read_bytes())
    data[45:600] = bytes(555)
    path.write_bytes(data)
    with pytest.raises(EncodingError, match=r"stimulus_x\.zip"):
        unpacked(path)
