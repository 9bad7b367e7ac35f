"""Many at once: side by side, none stops the others, and what is interrupted goes on when it is run again."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import xarray as xr
import yaml
from conftest import write_yaml
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins import AlreadyExists, AssemblyNotFound, IdentifierCollision, InvalidIdentifier, StoreUnavailable
from storage_plugins._store.store import PlainStore


def numbered(count: int) -> dict[str, xr.DataArray]:
    return {f"Lab2026.m{number}": xr.DataArray([number, 2.5], dims="neuroid") for number in range(count)}


class Counting(MemoryFiles):
    """Files in memory that call back before each upload and each read, and count those side by side."""

    before_put = staticmethod(lambda key: None)
    before_read = staticmethod(lambda key: None)
    now = most = puts = 0
    lock = threading.Lock()

    def put(self, key, source, *, metadata, if_absent):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self.before_put(key)
            version_id = super().put(key, source, metadata=metadata, if_absent=if_absent)
            self.puts += 1
        finally:
            with self.lock:
                self.now -= 1
        return version_id

    def read(self, key, version_id=None, **options):
        self.before_read(key)
        return super().read(key, version_id, **options)


def test_many_go_to_any_store_and_come_back(store, new_cache):
    assemblies = numbered(6)
    report = store.upload_many(assemblies)
    assert report.complete
    assert [*report.done] == [*assemblies]
    assert store.identifiers() == sorted(assemblies)
    new_cache()
    again = storage_plugins.open_store(config=store._entry.path)
    loaded = again.load_many([*report.done.values(), "Lab2026.m0"])
    loaded.check()
    for identifier, receipt in report.done.items():
        xr.testing.assert_equal(loaded.done[receipt], assemblies[identifier])
    assert loaded.done["Lab2026.m0"].values.tolist() == [0.0, 2.5]


def test_one_that_fails_does_not_stop_the_others(memory_store):
    store = memory_store(MemoryFiles())
    assemblies = {**numbered(5), "Lab2026.m2": xr.DataArray([1.0], attrs={"a": object()}, dims="x")}
    Path("notes.nc").write_text("notes")
    report = store.upload_many({**assemblies, "Lab2026.notes": "notes.nc", "Lab2026.absent": Path("absent.nc")})
    assert [*report.done] == ["Lab2026.m0", "Lab2026.m1", "Lab2026.m3", "Lab2026.m4"]
    assert {name: type(error).__name__ for name, error in report.failed.items()} == {
        "Lab2026.m2": "EncodingError",
        "Lab2026.notes": "EncodingError",
        "Lab2026.absent": "AssemblyNotFound",
    }
    assert not report.complete
    assert repr(report) == "<storage_plugins report: 4 done, 3 failed>"
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["done"][0] == {"name": "Lab2026.m0", "result": report.done["Lab2026.m0"].to_dict()}
    assert plain["failed"][-1]["error"] == "AssemblyNotFound"
    assert (plain["complete"], plain["not_tried"]) == (False, [])
    with pytest.raises(storage_plugins.EncodingError):
        report.check()
    loaded = store.load_many(["Lab2026.m1", "Lab2026.absent", "no such/name"])
    assert [*loaded.done] == ["Lab2026.m1"]
    assert [type(error) for error in loaded.failed.values()] == [AssemblyNotFound, InvalidIdentifier]


def test_four_uploads_share_the_connections(memory_store):
    store = memory_store(Counting())
    together = threading.Barrier(4, timeout=60)  # breaks if fewer than four are ever side by side
    store.files.before_put = lambda key: together.wait()
    assert store.upload_many(numbered(12)).complete
    assert store.files.most == 4


def test_what_is_there_is_not_sent_again(memory_store):
    store = memory_store(Counting())
    first = store.upload_many(numbered(4))
    second = store.upload_many(numbered(7))
    assert store.files.puts == 7
    assert {name: second.done[name] for name in first.done} == first.done


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["X.y", "X_y"], IdentifierCollision),
        (["X", "x"], IdentifierCollision),
        (["X", "a b"], InvalidIdentifier),
        (["X", ""], InvalidIdentifier),
    ],
)
def test_names_that_cannot_be_are_refused_before_anything_is_sent(memory_store, names, error):
    store = memory_store(Counting())
    with pytest.raises(error):
        store.upload_many(dict.fromkeys(names, xr.DataArray([1.0])))
    assert store.files.puts == 0


def test_one_name_alone_is_not_taken_for_many_letters(memory_store):
    store = memory_store(MemoryFiles())
    with pytest.raises(TypeError, match="a list of names"):
        store.load_many("abc")
    with pytest.raises(TypeError, match="a list of names"):
        store.fetch_many("abc")
    with pytest.raises(TypeError, match="a mapping of identifiers"):
        store.upload_many(["a.nc"])
    assert store.load_many([]).complete


def test_a_store_out_of_reach_is_not_asked_for_each_of_many(memory_store):
    store = memory_store(Counting())
    store.files.away = True
    report = store.upload_many(numbered(30))
    assert 4 <= len(report.failed) <= 8
    assert len(report.failed) + len(report.not_tried) == 30
    assert {type(error) for error in report.failed.values()} == {StoreUnavailable}
    assert not report.complete


def test_a_hiccup_does_not_stop_many(memory_store):
    store = memory_store(Counting())

    def hiccup(key):
        if key in ("assy_Lab2026_m3.nc", "assy_Lab2026_m9.nc"):
            raise StoreUnavailable("a hiccup")

    store.files.before_put = hiccup
    report = store.upload_many(numbered(20))
    assert [*report.failed] == ["Lab2026.m3", "Lab2026.m9"]
    assert len(report.done) == 18


def test_loads_without_a_network_take_what_the_cache_has(memory_store):
    store = memory_store(MemoryFiles())
    receipts = [*store.upload_many(numbered(12)).done.values()]
    assert store.load_many(receipts[5:]).complete
    store.files.away = True
    report = store.load_many(receipts)
    assert len(report.done) == 7
    assert {type(error) for error in report.failed.values()} == {StoreUnavailable}
    assert report.not_tried == ()


@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a thread")
@pytest.mark.parametrize("moment", [0, 3, 9, 19])
def test_ctrl_c_ends_what_is_on_its_way_and_a_second_run_goes_on(memory_store, moment):
    store = memory_store(Counting())
    begun = []

    def interrupt(key):
        begun.append(key)
        if len(begun) == moment + 1:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    store.files.before_put = interrupt
    with pytest.raises(KeyboardInterrupt):
        store.upload_many(numbered(20))
    assert store.files.now == 0
    stored = sorted(store.files.held)
    store.files.before_put = lambda key: None
    puts = store.files.puts
    assert len(stored) == puts
    assert store.upload_many(numbered(20)).complete
    assert store.files.puts == 20
    assert all(len(versions) == 1 for versions in store.files.held.values())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a thread")
def test_ctrl_c_stops_downloads_at_their_next_block(memory_store, tmp_path):
    store = memory_store(Counting())
    (tmp_path / "large.bin").write_bytes(bytes(5_000_000))  # five thousand blocks
    receipt = store.upload_file(tmp_path / "large.bin")
    names = [store.upload_file(tmp_path / "large.bin", f"copy{number}.bin") for number in range(8)]
    store = memory_store(store.files, cache="empty", receipts=False)
    reported = []

    def progress(name, done, size):
        reported.append(done)
        if len(reported) == 10:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    store.progress = progress
    with pytest.raises(KeyboardInterrupt):
        store.fetch_many([receipt, *names])
    assert max(reported) < 5_000_000
    assert not [path for path in (tmp_path / "empty").rglob("*") if path.is_file() and path.name.endswith(".bin")]
    store.progress = None
    assert store.fetch_many([receipt, *names]).complete


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a thread")
def test_one_waiting_for_a_silent_server_does_not_keep_a_program_from_ending():
    code = (
        "import signal, threading\n"
        "from storage_plugins._store import many\n"
        "silence = threading.Event()\n"
        "def work(item):\n"
        "    if item == 3: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)\n"
        "    silence.wait()\n"
        "try: many.run(range(9), work, at_once=4)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "interrupted\n", done.stderr


def test_a_backend_with_calls_of_its_own_is_used_by_one_thread(memory_store):
    threads = set()

    class Inner:
        def upload(self, assembly, identifier, **options):
            threads.add(threading.get_ident())
            raise AlreadyExists(identifier)

        def load(self, identifier, **options):
            threads.add(threading.get_ident())
            return xr.DataArray([1.0])

    files = memory_store(MemoryFiles())
    store = PlainStore(files._entry, files.settings, Inner())
    assert len(store.upload_many(numbered(5)).failed) == 5
    assert len(store.load_many(["a", "b"]).done) == 2
    assert threads == {threading.get_ident()}


def test_a_group_uploads_and_loads_many(tmp_path):
    stores = {name: {"backend": "local", "root": str(tmp_path / name)} for name in ("a", "b")}
    stores["both"] = {"backend": "group", "read": ["a", "b"], "write": "b"}
    config = {"default": "both", "stores": stores}
    storage_plugins.open_store("a", config=config).upload_many(numbered(3)).check()
    group = storage_plugins.open_store(config=config)
    group.upload_many({"Lab2026.m3": xr.DataArray([3.0])}).check()
    assert len(group.load_many([f"Lab2026.m{number}" for number in range(4)]).done) == 4


# into a folder


def test_files_are_fetched_into_a_folder_once(memory_store, tmp_path):
    store = memory_store(MemoryFiles())
    for name in ("one.csv", "two.csv"):
        Path(name).write_text(name)
        store.upload_file(name)
    assembly = store.upload(xr.DataArray([1.0]), "X.y")
    report = store.fetch_many(["one.csv", "two.csv", assembly, "three.csv"], tmp_path / "a" / "b")
    assert [path.name for path in report.done.values()] == ["one.csv", "two.csv", "assy_X_y.nc"]
    assert [*report.failed] == ["three.csv"]
    assert (tmp_path / "a/b/two.csv").read_text() == "two.csv"
    before = (tmp_path / "a/b/one.csv").stat()
    (tmp_path / "a/b/two.csv").write_text("mine")
    report = store.fetch_many(["one.csv", "two.csv"], tmp_path / "a/b")
    assert isinstance(report.failed["two.csv"], AlreadyExists)
    assert (tmp_path / "a/b/two.csv").read_text() == "mine"
    after = (tmp_path / "a/b/one.csv").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert store.fetch_many(["two.csv"], tmp_path / "a/b", replace=True).complete
    assert (tmp_path / "a/b/two.csv").read_text() == "two.csv"
    with pytest.raises(IdentifierCollision):
        store.fetch_many(["a.csv", "A.csv"], tmp_path)


# the command line


@pytest.fixture
def fifty(tmp_path):
    """Fifty files and a manifest of them, and a local store."""
    write_yaml(Path(), {"backend": "local", "root": "./lab"})
    with Path("manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "identifier"])
        for number in range(50):
            xr.DataArray([number, 2.5], dims="neuroid", name="rates").to_netcdf(f"{number}.nc", engine="netcdf4")
            writer.writerow([f"{number}.nc", f"Lab2026.m{number}"])


@pytest.mark.slow
def test_fifty_files_by_one_command_interrupted_and_run_again(run, fifty):
    names = [f"{number}.nc" for number in range(50)]
    process = subprocess.Popen(
        [sys.executable, "-m", "storage_plugins", "upload", "--manifest", "manifest.csv"],
        stdout=subprocess.PIPE,
        text=True,
    )
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert first.startswith(tuple(f"{name}: " for name in names))
    assert process.returncode == 130
    stored = storage_plugins.open_store().identifiers()
    assert len(stored) >= 1
    done = run("upload", "--manifest", "manifest.csv")
    assert done.stdout.splitlines()[-1].startswith("50 of 50 files are in store 'lab'")
    store = storage_plugins.open_store()
    assert {name: len(store.versions(name)) for name in store.identifiers()} == {
        f"Lab2026.m{number}": 1 for number in range(50)
    }
    for number in range(50):
        assert store.load_file(f"Lab2026.m{number}").read_bytes() == Path(f"{number}.nc").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGINT")
def test_ctrl_c_rolls_back_large_uploads_that_are_on_their_way(tmp_path, proxy, bucket, s3_client):
    config = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": proxy.url})
    names = [f"large{number}.bin" for number in range(3)]
    for name in names:
        with Path(name).open("wb") as file:
            file.truncate(150 << 20)
    sending, interrupted, waiting = threading.Event(), threading.Event(), set()

    def hold(method, path):
        if "partNumber=3" in path:  # no file is done before the signal has arrived
            waiting.add(path.split("?")[0])
            if len(waiting) == 2:
                sending.set()
            interrupted.wait(60)

    proxy.refuse = hold
    process = subprocess.Popen(
        [sys.executable, "-m", "storage_plugins", "upload", *names, "--config", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert sending.wait(120)
    process.send_signal(signal.SIGINT)
    time.sleep(1)  # until it has arrived: the process does nothing but wait
    interrupted.set()
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed.strip().splitlines()[-1] == "Interrupted. Unfinished uploads were rolled back."
    assert s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert storage_plugins.open_store(config=config).file_names() == []


def test_many_assemblies_are_loaded_into_a_folder(run, several):
    run("upload", *several, "--as", "Lab2026.{stem}")
    names = [f"Lab2026.{name}" for name in "abc"]
    done = run("load", *names, "-o", "data/")
    assert done.stdout.splitlines()[-1] == "3 files, all verified"
    for name in "abc":
        assert Path(f"data/Lab2026.{name}.nc").read_bytes() == Path(f"{name}.nc").read_bytes()
    report = json.loads(run("load", *names, "Lab2026.d", "-o", "data", "--json", code=3).stdout)
    assert [one["path"] for one in report["loaded"]] == [f"data/{name}.nc" for name in names]
    assert [one["name"] for one in report["failed"]] == ["Lab2026.d"]
    Path("data/Lab2026.a.nc").write_text("mine")
    assert "exists already" in run("load", *names, "-o", "data/", code=6).stderr
    run("load", *names, "-o", "data/", "--force")
    assert Path("data/Lab2026.a.nc").read_bytes() == Path("a.nc").read_bytes()


def test_one_assembly_is_loaded_into_a_folder_too(run, several):
    run("upload", "a.nc", "X")
    assert run("load", "X", "-o", "new/").stdout.strip() == "new/X.nc"
    Path("there").mkdir()
    assert run("load", "X", "-o", "there").stdout.strip() == "there/X.nc"
    assert run("load", "X", "-o", "there/file.nc").stdout.strip() == "there/file.nc"
    assert Path("there/X.nc").read_bytes() == Path("there/file.nc").read_bytes()


def test_many_files_are_fetched(run, several):
    for name in ("one.csv", "two.csv"):
        Path(name).write_text(name)
    run("upload", "one.csv", "two.csv")
    assert len(run("fetch", "one.csv", "two.csv").stdout.splitlines()) == 3
    run("fetch", "one.csv", "two.csv", "-o", "copies/")
    assert Path("copies/two.csv").read_text() == "two.csv"
    report = json.loads(run("fetch", "one.csv", "three.csv", "--json", code=3).stdout)
    assert (report["loaded"][0]["size"], report["failed"][0]["error"]) == (7, "AssemblyNotFound")


@pytest.mark.parametrize(
    "words",
    [
        ["load", "X", "Y"],
        ["load", "X", "Y", "-o", "file.nc"],
        ["load", "X", "Y", "-o", "d/", "--sha1", "0" * 40],
        ["fetch", "x", "y", "-o", "d/", "--version-id", "1"],
        ["load"],
    ],
    ids=" ".join,
)
def test_what_is_ambiguous_is_refused(run, several, words):
    run(*words, code=2)


def test_yaml_manifests_name_files_as_csv_does(run, several):
    rows = [{"path": f"{name}.nc", "identifier": f"X.{name}"} for name in "abc"]
    Path("manifest.yaml").write_text(yaml.safe_dump(rows))
    assert "3 of 3 files" in run("upload", "--manifest", "manifest.yaml").stdout
