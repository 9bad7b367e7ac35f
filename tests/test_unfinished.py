"""A download that was interrupted goes on where it stopped, and what is made of both is verified as a whole."""

import contextlib
import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_files import MemoryFiles

from storage_plugins import Content, StoreUnavailable
from storage_plugins._copies import cache_tools, unfinished
from storage_plugins._copies.cache import Cache
from storage_plugins._progress import Bars
from storage_plugins._store.file_store import FileStore

pytestmark = pytest.mark.skipif(os.name == "nt", reason="files cannot be locked")
DATA = random.Random(2).randbytes(18 << 20)
ARRIVED = 17 << 20
PIN = {"version_id": "v1", "sha256": hashlib.sha256(DATA).hexdigest()}
AGAIN = 1  # byte at the end that is downloaded again


@pytest.fixture(autouse=True)
def no_pauses(request, monkeypatch):
    if "link" not in request.fixturenames:
        monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles(block=1 << 20)


@pytest.fixture
def store(memory_store, files) -> FileStore:
    files.add("a.bin", DATA)
    return memory_store(files)


def interrupt(store: FileStore, files: MemoryFiles, arrived: int = ARRIVED, pin: dict[str, str] = PIN) -> None:
    """Let a download break for good after so many bytes."""
    files.cut_after = [arrived, *[0] * 20]
    with pytest.raises(StoreUnavailable):
        store.fetch("a.bin", **pin)
    files.cut_after = []
    files.reads.clear()


def left(store: FileStore) -> list[Path]:
    """Return the unfinished files in the cache."""
    return sorted(store.cache.folders[0].glob(".tmp-*"))


def test_only_what_is_missing_is_downloaded(store, files):
    interrupt(store, files)
    seen = []
    store.progress = lambda name, done, size: seen.append(done)
    assert store.fetch("a.bin", **PIN).read_bytes() == DATA
    assert files.reads == [("a.bin", "v1", ARRIVED - AGAIN)]
    assert seen == sorted(seen)
    assert left(store) == []


def test_attempts_that_fail_meanwhile_cost_nothing(store, files):
    interrupt(store, files)
    files.away = True
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            store.fetch("a.bin", **PIN)
    files.away = False
    assert store.fetch("a.bin", **PIN).read_bytes() == DATA
    ((_, _, start),) = files.reads
    assert ARRIVED - start < 100


def test_it_goes_on_whichever_hash_of_the_version_is_pinned(store, files):
    interrupt(store, files)
    pin = {"version_id": "v1", "sha1": hashlib.sha1(DATA).hexdigest()}
    assert store.fetch("a.bin", **pin).read_bytes() == DATA
    assert files.reads == [("a.bin", "v1", ARRIVED - AGAIN)]
    assert left(store) == []


class WithoutRanges(MemoryFiles):
    """It passes over the beginning, which takes a while."""

    def read(self, key, version_id=None, *, start=0, stop=None, if_match=None) -> Content:
        content = super().read(key, version_id, if_match=if_match)
        if start:
            self.reads[-1] = (key, version_id, start)
            content.whole, content.blocks = True, self.passed_over()
        return content

    def passed_over(self) -> Iterator[bytes]:
        raise StoreUnavailable("the beginning takes too long")
        yield b""


def test_a_host_that_ignores_ranges_is_asked_for_everything(memory_store):
    files = WithoutRanges(block=1 << 20)
    files.add("a.bin", DATA)
    store = memory_store(files)
    interrupt(store, files)
    assert store.fetch("a.bin", **PIN).read_bytes() == DATA
    assert [start for _, _, start in files.reads] == [ARRIVED - AGAIN, 0]


def test_a_child_forked_meanwhile_does_not_hinder_the_next_download(store, files):
    children = []

    def fork(name: str, done: int, size: int | None) -> None:
        if not children:
            child = os.fork()
            if not child:
                signal.pause()
            children.append(child)

    store.progress = fork
    try:
        interrupt(store, files)
        assert store.fetch("a.bin", **PIN).read_bytes() == DATA
        assert files.reads == [("a.bin", "v1", ARRIVED - AGAIN)]
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


def test_ctrl_c_while_the_notes_are_written_ends_the_program_and_not_the_file(store, files, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("json.dumps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.fetch("a.bin", **PIN)
    files.reads.clear()
    assert store.fetch("a.bin", **PIN).read_bytes() == DATA
    assert files.reads == []


def test_a_file_with_another_name_is_not_written_to(store, files, tmp_path):
    interrupt(store, files)
    (path,) = left(store)
    other = tmp_path / "other"
    os.link(path, other)
    before = other.read_bytes()
    assert store.fetch("a.bin", **PIN).read_bytes() == DATA
    assert other.read_bytes() == before


@pytest.mark.parametrize("damage", ["other bytes", "longer than the file", "complete"])
def test_what_had_arrived_is_verified_with_the_rest(store, files, damage, caplog):
    interrupt(store, files)
    (path,) = left(store)
    match damage:
        case "other bytes":
            path.write_bytes(bytes(ARRIVED))
        case "longer than the file":
            path.write_bytes(DATA + bytes(9 << 20))
        case "complete":
            path.write_bytes(DATA)
    assert store.fetch("a.bin", **PIN).read_bytes() == DATA
    starts = [start for _, _, start in files.reads]
    assert starts[-1] == (len(DATA) - AGAIN if damage == "complete" else 0)
    assert ("damaged" in caplog.text) == (damage == "other bytes")
    assert left(store) == []


@pytest.mark.parametrize("arrived", [0, 1000, (16 << 20) - 1])
def test_little_is_downloaded_again_and_nothing_stays(store, files, arrived):
    interrupt(store, files, arrived)
    assert left(store) == []
    assert store.fetch("a.bin", **PIN).read_bytes() == DATA


def test_without_a_hash_nothing_stays_as_nothing_could_verify_it(store, files):
    interrupt(store, files, pin={"version_id": "v1"})
    assert left(store) == []


def test_an_error_that_is_no_interruption_leaves_nothing(store, files):
    files.held["a.bin"] = [(files.held["a.bin"][0][0], DATA + b"more than there should be")]
    with pytest.raises(Exception, match="bytes"):
        store.fetch("a.bin", **PIN)
    assert left(store) == []


def test_two_at_once_where_no_one_waits_for_the_other_have_a_file_each(store, files):
    interrupt(store, files)
    (path,) = left(store)
    other = unfinished.taken(path.parent, "something else")
    assert other is not None
    with open_locked(path):
        assert store.fetch("a.bin", **PIN).read_bytes() == DATA
        assert [start for _, _, start in files.reads] == [0]
        assert path.stat().st_size == ARRIVED
    os.close(other[0])


def test_a_file_that_was_adopted_meanwhile_is_not_taken(tmp_path):
    cache = Cache([tmp_path])
    folder = cache.private_folder("x").parent
    first = unfinished.taken(folder, "bytes")
    assert first is not None
    assert unfinished.taken(folder, "bytes") is None
    first[1].rename(tmp_path / "adopted")
    second = unfinished.taken(folder, "bytes")
    assert second is not None
    assert not os.path.samestat(os.fstat(first[0]), os.fstat(second[0]))
    for descriptor, _ in (first, second):
        os.close(descriptor)


def test_where_files_cannot_be_locked_nothing_is_left(store, files, monkeypatch):
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    interrupt(store, files)
    assert left(store) == []
    assert store.fetch("a.bin", **PIN).read_bytes() == DATA
    assert left(store) == []


def test_a_file_that_is_adopted_between_opening_and_locking_it_is_not_taken(tmp_path, monkeypatch):
    import fcntl

    folder, lock = Cache([tmp_path]).private_folder("x").parent, fcntl.flock

    def adopted_first(descriptor: int, how: int) -> None:
        for path in folder.glob(".tmp-unfinished-*"):
            path.rename(tmp_path / "adopted")
        lock(descriptor, how)

    monkeypatch.setattr("fcntl.flock", adopted_first)
    assert unfinished.taken(folder, "bytes") is None


def test_clearing_the_cache_removes_what_nobody_is_downloading(store, files):
    interrupt(store, files)
    (path,) = left(store)
    with open_locked(path):
        cache_tools.clear(store.cache)
        assert left(store) == [path]
    cache_tools.clear(store.cache)
    assert left(store) == []


@contextlib.contextmanager
def open_locked(path: Path) -> Iterator[None]:
    """Hold an unfinished file as another download does."""
    import fcntl

    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_was_ended_is_continued_by_the_next(link, open_lab, bucket, tmp_path, signal_):
    size = 96 << 20
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(size))
    receipt = open_lab().upload_file(path)
    program = textwrap.dedent(f"""
        import storage_plugins
        settings = {{"backend": "s3", "bucket": "{bucket}/brain", "endpoint_url": "http://127.0.0.1:{link.port}"}}
        store = storage_plugins.open_store(config={{"stores": {{"a": settings}}}})
        store.fetch("a.bin", version_id="{receipt.version_id}", sha256="{receipt.sha256}")
    """)
    command = [sys.executable, "-c", program]
    environment = os.environ | {"STORAGE_PLUGINS_CACHE": str(tmp_path / "cache")}
    link.rate = 4e6  # a connection; up to 52 MiB are in memory, before their turn
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while link.passed["down"] < 84 << 20:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal_)
    link.rate, before = None, link.passed["down"]
    subprocess.run(command, env=environment, check=True)
    assert (tmp_path / "cache" / receipt.sha256[:2] / receipt.sha256 / "a.bin").read_bytes() == path.read_bytes()
    assert link.passed["down"] - before < size - (16 << 20)
    assert sorted((tmp_path / "cache").glob(".tmp-unfinished*")) == []


def test_a_bar_has_its_length_as_soon_as_it_is_known(store, files, capsys):
    interrupt(store, files)
    with Bars(leave=True) as bars:
        store.progress = bars
        store.fetch("a.bin", **PIN)
    assert "100%" in capsys.readouterr().err
