"""The one way to a backend: answers are checked, reads repeated, deadlines kept, lost writes found."""

import hashlib
import inspect
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from memory_files import MemoryFiles

from storage_plugins import (
    AlreadyExists,
    Content,
    FileOperations,
    IntegrityError,
    PluginError,
    Source,
    StoreUnavailable,
    Version,
)
from storage_plugins._backend.host import Host, Nowhere
from storage_plugins._records import Pin
from storage_plugins.protocol import record

RIGHT = Version(version_id="v1")


class Tunable(MemoryFiles):
    """Files in memory; ``answers`` says what an operation returns in place of its own answer."""

    def __init__(self, **answers: object) -> None:
        super().__init__()
        for name, answer in answers.items():
            if name == "address":
                self.name = answer
            else:
                setattr(self, name, lambda *_, answer=answer, **__: answer)


CALLS = {
    "put": lambda host, source: host.put("a.bin", source, metadata={}, if_absent=False),
    "replace": lambda host, source: host.replace("a.bin", source, metadata={}, seen=RIGHT),
    "read": lambda host, source: host.download("a.bin", None, Nowhere()),
    "versions": lambda host, source: host.versions("a.bin"),
    "newest": lambda host, source: host.newest("a.bin"),
    "keys": lambda host, source: host.keys("a"),
    "newest_of_all": lambda host, source: host.newest_of_all("a"),
    "differing_in_case": lambda host, source: host.differing_in_case("a.bin"),
    "local_file": lambda host, source: host.local_file("a.bin", None),
    "publish": lambda host, source: host.publish("a.bin", None),
    "unpublish": lambda host, source: host.unpublish("a.bin", None),
    "why_still_private": lambda host, source: host.why_still_private("a.bin"),
    "share": lambda host, source: host.share("a.bin", None, 60),
    "part_size": lambda host, source: host.part_size(10),
    "reads_at_once": lambda host, source: host.download("a.bin", None, Nowhere()),
    "discard": lambda host, source: host.discard("a.bin"),
    "remove": lambda host, source: host.remove("a.bin", "v1"),
    "uri": lambda host, source: host.uri("a.bin", None),
    "address": lambda host, source: host.address,
    **{
        name: lambda host, source, name=name: getattr(host, name)()
        for name in (
            *("keeps_versions", "creates_safely", "replaces", "removes", "anonymous", "place_is_public"),
            *("publish_place", "describe_place", "free_space", "unfinished", "doi", "longest_link"),
        )
    },
}
LISTS = [None, "a.bin", b"a.bin", [b"a.bin"], [None], 3]
WRONG = {
    "put": [b"v1", 1, True, RIGHT],
    "replace": [b"v1", 1, RIGHT],
    "read": [
        *(None, b"bytes", iter([b"bytes"]), Content(None, iter([b""])), Content("v1", iter([b""]))),
        *(Content(RIGHT, iter(["text"])), Content(RIGHT, iter([None])), Content(RIGHT, iter([3]))),
        Content(Version(version_id=1), iter([b""])),
        Content(Version(version_id="v1", size="4"), iter([b""])),
    ],
    "versions": [*LISTS, [Version(version_id=1)], [Version(version_id="v1", created=datetime(2026, 1, 1))]],
    "newest": ["v1", [], {}, Version(version_id="v1", size=-1), Version(version_id="v1", size=True)],
    "keys": [*LISTS, ["b.bin"], ["A.BIN"]],
    "newest_of_all": [
        *(3, "a.bin", [RIGHT], ["a.bin"], [("a.bin", "v1")], [(1, RIGHT)], [("a.bin",)], [("b.bin", RIGHT)]),
    ],
    "differing_in_case": LISTS,
    "local_file": [Path("a.bin"), ("a.bin", RIGHT), (Path("a.bin"), None), (Path("a.bin"),), [Path("a.bin"), RIGHT]],
    "keeps_versions": ["Enabled", "no", None, 1, 0],
    "creates_safely": ["no", None, 1],
    "replaces": ["no", None, 0],
    "removes": ["no", None, 0],
    "anonymous": ["files", True, object()],
    "publish": [1, b"v1", True],
    "unpublish": [True, "done"],
    "why_still_private": [None, 1],
    "place_is_public": ["private", 0, 1],
    "publish_place": [True, "done"],
    "describe_place": [None, 7],
    "share": [None, b"https:", 1],
    "part_size": ["8 MiB", 8.0, True],
    "reads_at_once": [None, "many", True],
    "discard": [True, 1],
    "remove": [True, 1],
    "unfinished": [None, [], (), ("a.bin", ""), ([b"a.bin"], ""), (["a.bin"], None), ([], "", "")],
    "free_space": ["1 GB", 1.5, True],
    "longest_link": ["7d", 1.5, True],
    "doi": [b"10.1234/x", 10.1234, "https://doi.org/10.1234/x", "10.1234/x\n", ""],
    "uri": [None, b"memory:", 1],
    "address": [None, b"memory:lab"],
}


@pytest.fixture
def source(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"some bytes")
    return Source.of(tmp_path / "a.bin")


def test_every_operation_is_tried_with_wrong_answers():
    operations = {name for name, value in inspect.getmembers(FileOperations) if not name.startswith("_")}
    assert set(WRONG) == set(CALLS) == operations
    assert len(operations) == 31


@pytest.mark.parametrize(
    ("operation", "answer"),
    [(name, answer) for name, answers in WRONG.items() for answer in answers],
    ids=lambda value: str(value).partition(" at 0x")[0],  # no addresses: each process must name a test alike
)
def test_a_wrong_answer_is_reported_with_the_operation_and_its_class(operation, answer, source):
    if operation == "read" and isinstance(answer, Content):  # an iterator is read once
        answer = Content(answer.version, iter([None] if answer.version is RIGHT else [b""]))
    with pytest.raises(PluginError, match=rf"Tunable: {operation}.* returned .*, expected ") as caught:
        CALLS[operation](Host(Tunable(**{operation: answer}), 5), source)
    assert "Write a backend" in caught.value.hint


def test_what_changes_nothing_is_repeated_and_writes_are_not(source):
    calls = []

    class Shaky(MemoryFiles):
        def _answer(self):
            calls.append(inspect.stack()[1].function)
            if calls.count(calls[-1]) == 1:
                raise StoreUnavailable("503")

    host = Host(Shaky(), 5)
    assert host.versions("a.bin") == []
    assert host.newest("a.bin") is None
    assert host.keys() == []
    with pytest.raises(StoreUnavailable):
        host.put("a.bin", source, metadata={}, if_absent=False)
    assert calls.count("put") == 1


class Silent(MemoryFiles):
    """Waits in one operation until the test is over, or sends a byte now and then."""

    def __init__(self, operation: str, drip: bool = False) -> None:
        super().__init__()
        self.operation, self.drip, self.over = operation, drip, threading.Event()
        self.add("a.bin", b"some bytes")

    def _answer(self):
        if inspect.stack()[1].function == self.operation:
            self.over.wait(20)

    def _blocks(self, data):
        if self.operation == "blocks":
            while not self.over.wait(0.02 if self.drip else 20):
                yield b"x"
        yield data


@pytest.mark.parametrize("operation", ["versions", "newest", "keys", "read", "put", "blocks"])
@pytest.mark.parametrize("drip", [False, True])
def test_a_host_that_is_silent_or_drips_is_reported_by_the_deadline(operation, drip, source):
    files = Silent(operation, drip)
    call = CALLS["read" if operation == "blocks" else operation]
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"0\.3 s"):
        call(Host(files, 0.3), source)
    files.over.set()
    assert time.monotonic() - began < 10


def test_a_list_that_never_ends_is_given_up():
    class Endless(MemoryFiles):
        def keys(self, prefix=""):
            while True:
                time.sleep(0.01)
                yield "a.bin"

    with pytest.raises(StoreUnavailable):
        Host(Endless(), 0.2).keys()


def test_a_deadline_moves_with_bytes_that_arrive(source):
    class Slow(MemoryFiles):
        def _blocks(self, data):
            for _ in range(20):
                time.sleep(0.02)
                yield bytes(4096)

    files = Slow()
    files.add("a.bin", bytes(20 * 4096))
    got = Host(files, 0.2).download("a.bin", None, Nowhere())
    assert got.digests.size == 20 * 4096


class Loses(MemoryFiles):
    """Stores what it gets, and does not say so."""

    error: type[Exception] = StoreUnavailable

    def put(self, key, source, *, metadata, if_absent):
        super().put(key, source, metadata=metadata, if_absent=if_absent)
        raise self.error("the answer was lost")


@pytest.mark.parametrize("error", [StoreUnavailable, AlreadyExists])
def test_a_write_whose_answer_is_lost_is_found(error, source):
    files = Loses()
    files.error = error
    metadata = record("a.bin", None, source.digests, None)
    assert Host(files, 5).put("a.bin", source, metadata=metadata, if_absent=True) == "v1"
    assert len(files.held["a.bin"]) == 1


def test_only_a_newer_version_with_these_bytes_is_taken_for_the_lost_write(source):
    files = Loses()
    metadata = record("a.bin", None, source.digests, None)
    files.add("a.bin", b"some bytes", metadata)
    seen = files.newest("a.bin")
    files.put = lambda *_, **__: (_ for _ in ()).throw(StoreUnavailable("nothing was sent"))
    with pytest.raises(StoreUnavailable, match="nothing was sent"):
        Host(files, 5).put("a.bin", source, metadata=metadata, if_absent=False, seen=seen)


class Flips(MemoryFiles):
    """Changes a byte in the first ``spoilt`` downloads: always the same one, or each time another."""

    spoilt, same = 1, True

    def _blocks(self, data):
        if len(self.reads) <= self.spoilt:
            at = 0 if self.same else len(self.reads)
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        yield data


def described(files, data, **more):
    version = Version(version_id="v1", size=len(data), **more)
    files.held["a.bin"] = [(version, data)]
    return files


def test_bytes_that_contradict_their_record_are_downloaded_again(source, tmp_path):
    files = described(Flips(), b"some bytes", sha256=source.sha256)
    with (tmp_path / "copy").open("wb", buffering=0) as file:
        got = Host(files, 5).download("a.bin", None, file)
    assert got.digests == source.digests
    assert got.contradiction is None
    assert (tmp_path / "copy").read_bytes() == b"some bytes"


def test_an_md5_of_the_host_is_used_where_there_is_no_record(source):
    files = described(Flips(), b"some bytes", md5=hashlib.md5(b"some bytes").hexdigest())
    got = Host(files, 5).download("a.bin", None, Nowhere())
    assert (got.digests, got.contradiction) == (source.digests, None)
    files.spoilt = 99
    assert "md5" in Host(files, 5).download("a.bin", None, Nowhere()).contradiction


def test_damage_that_the_host_has_itself_is_said_and_damage_on_the_way_each_time_is_an_error(source):
    at_rest = described(Flips(), b"some bytes", sha256=source.sha256)
    at_rest.spoilt = 99
    assert "sha256" in Host(at_rest, 5).download("a.bin", None, Nowhere()).contradiction
    each_time = described(Flips(), b"some bytes", sha256=source.sha256)
    each_time.spoilt, each_time.same = 99, False
    with pytest.raises(IntegrityError, match="each time differently"):
        Host(each_time, 5).download("a.bin", None, Nowhere())


def test_bytes_that_fit_the_pin_are_right_whatever_the_record_says(source):
    files = described(MemoryFiles(), b"some bytes", sha256="0" * 64)
    got = Host(files, 5).download("a.bin", None, Nowhere(), pin=Pin(sha1=source.sha1))
    assert got.contradiction is None
    assert len(files.reads) == 1


@pytest.mark.parametrize("uri", ["file://elsewhere/folder/a.bin", "file:", "nowhere:a.bin", "a.bin"])
def test_a_uri_that_no_backend_can_take_apart_is_not_given_out(uri):
    assert Host(Tunable(uri=uri), 1).uri("a.bin", None) == ""
    assert Host(Tunable(uri="file:///folder/a.bin"), 1).uri("a.bin", None) == "file:///folder/a.bin"
