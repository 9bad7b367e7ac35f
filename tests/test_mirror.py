"""A mirror: all files and versions in order, nothing twice, nothing lost, and every load as before."""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import xarray as xr
import yaml
from command_line import run_command
from conftest import make_assembly
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins import (
    AssemblyNotFound,
    Digests,
    InvalidIdentifier,
    NotSupported,
    QuotaExceeded,
    StoreUnavailable,
    mirror,
    open_store,
)
from storage_plugins._copies.receipts import Receipts
from storage_plugins.protocol import record


@dataclasses.dataclass
class Host(MemoryFiles):
    """Files in memory that count what is sent and can break at any moment."""

    puts: list[tuple[str, bytes]] = dataclasses.field(default_factory=list)
    versioned: bool = True
    before_put: object = None
    after_put: object = None

    def keeps_versions(self) -> bool:
        return self.versioned

    def put(self, key, source, *, metadata, if_absent):
        if self.before_put:
            self.before_put(key, source)
        if if_absent and self.held.get(key):
            raise storage_plugins.AlreadyExists(f"{key} is there")
        version_id = super().put(key, source, metadata=metadata, if_absent=if_absent)
        self.puts.append((key, self.held[key][-1][1]))
        if self.after_put:
            self.after_put(key, source)
        return version_id

    def give(self, key: str, *history: bytes, described: bool = True) -> None:
        for data in history:
            self.add(key, data, described_as(data, key) if described else None)


def described_as(data: bytes, identifier: str, prefix: str | None = None) -> dict[str, str]:
    digests = Digests(hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest(), len(data))
    return record(identifier, prefix, digests, None)


LOCAL = {"backend": "local", "root": "./lab"}


@pytest.fixture
def pair(memory_store):
    """Two stores in memory, with one folder of receipts."""
    return memory_store(Host("memory:lab")), memory_store(Host("memory:ours"), name="ours")


@pytest.fixture(params=["local to local", "s3 to local", "local to s3"])
def config(request, tmp_path) -> Path:
    """A storage.yaml with the stores lab and ours, on each kind of host in turn."""
    stores = {}
    for name, backend in zip(("lab", "ours"), request.param.split(" to "), strict=True):
        stores[name] = {"backend": "local", "root": f"./{name}"}
        if backend == "s3":
            bucket, endpoint = request.getfixturevalue("bucket"), request.getfixturevalue("endpoint")
            stores[name] = {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": endpoint}
    path = tmp_path / "storage.yaml"
    path.write_text(yaml.safe_dump({"default": "lab", "stores": stores}))
    return path


def flip(config: Path) -> None:
    text = config.read_text()
    assert "default: lab" in text
    config.write_text(text.replace("default: lab", "default: ours"))


def history(store, key: str) -> list[bytes]:
    """The bytes of all versions, oldest first, read past cache and receipts."""
    found = []
    for version in reversed(list(store.files.versions(key))):
        with store.files.read(key, version.version_id) as content:
            found.append(b"".join(content.blocks))
    return found


def keep(store, folder: Path, name: str, *contents: bytes) -> list[storage_plugins.Receipt]:
    receipts = []
    for content in contents:
        (folder / "file").write_bytes(content)
        receipts.append(store.upload_file(folder / "file", name))
    return receipts


def outcomes(report) -> dict[str, tuple[str, int, int]]:
    return {file.key: (file.outcome, file.versions_copied, file.versions_there) for file in report.files}


# what is copied


def test_every_file_comes_over_byte_for_byte_with_all_versions_in_order(config, tmp_path):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    for seed, prefix in enumerate(("assy_", "ceiling_", "ceiling_raw_", "ceiling_raw_raw_")):
        for change in range(2):
            lab.upload(make_assembly(10 * seed + change), "Lab.rates", assembly_prefix=prefix)
    keep(lab, tmp_path, "stimulus_hvm.csv", b"a", b"b", b"a")
    keep(lab, tmp_path, "stimulus_hvm.zip", b"")
    report = mirror(lab, ours)
    assert outcomes(report) == {
        "assy_Lab_rates.nc": ("copied", 2, 0),
        "ceiling_Lab_rates.nc": ("copied", 2, 0),
        "ceiling_raw_Lab_rates.nc": ("copied", 2, 0),
        "ceiling_raw_raw_Lab_rates.nc": ("copied", 2, 0),
        "stimulus_hvm.csv": ("copied", 3, 0),
        "stimulus_hvm.zip": ("copied", 1, 0),
    }
    assert report.complete
    for file in report.files:
        assert history(ours, file.key) == history(lab, file.key)
    assert report.bytes_sent == sum(len(data) for file in report.files for data in history(ours, file.key))
    assert ours.identifiers() == ["Lab.rates"]
    for before, after in zip(lab.versions("Lab.rates"), ours.versions("Lab.rates"), strict=True):
        for field in ("identifier", "assembly_prefix", "sha1", "sha256", "size", "content_digest"):
            assert getattr(before, field) == getattr(after, field)


def test_a_second_run_sends_nothing(config, tmp_path):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    keep(lab, tmp_path, "f.csv", b"a", b"b", b"a")
    mirror(lab, ours)
    report = mirror("lab", "ours", config=config)
    assert outcomes(report) == {"f.csv": ("there", 0, 3)}
    assert report.bytes_sent == 0
    assert history(ours, "f.csv") == [b"a", b"b", b"a"]


def test_what_came_later_is_put_after_what_is_there(config, tmp_path):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    keep(lab, tmp_path, "f.csv", b"a", b"b")
    mirror(lab, ours)
    keep(lab, tmp_path, "f.csv", b"a", b"c")
    assert outcomes(mirror(lab, ours)) == {"f.csv": ("copied", 2, 2)}
    assert history(ours, "f.csv") == [b"a", b"b", b"a", b"c"]


def test_equal_neighbours_are_one_version(pair):
    lab, ours = pair
    lab.files.give("f", b"a", b"a", b"b", b"b", b"a")
    assert outcomes(mirror(lab, ours)) == {"f": ("copied", 3, 0)}
    assert history(ours, "f") == [b"a", b"b", b"a"]
    ours.files.give("g", b"a", b"a", b"b")
    lab.files.give("g", b"a", b"b", b"c")
    assert outcomes(mirror(lab, ours, ["g"])) == {"g": ("copied", 1, 2)}
    assert history(ours, "g") == [b"a", b"a", b"b", b"c"]


def test_what_a_report_says_of_failures_can_be_sent_elsewhere(pair, memory_store):
    def full(key, source):
        raise QuotaExceeded("full")

    lab, ours = pair
    more = memory_store(Host("memory:more"), name="more")
    for key in ("assy_a_b.nc", "f.csv", "not a name"):
        lab.files.give(key, b"a")
    ours.files.before_put = full
    failed = [file.key for file in mirror(lab, ours).failed]
    assert failed == ["assy_a_b.nc", "f.csv", "not a name"]
    assert outcomes(mirror(lab, more, failed)) == {
        "assy_a_b.nc": ("copied", 1, 0),
        "f.csv": ("copied", 1, 0),
        "not a name": ("failed", 0, 0),
    }
    with pytest.raises(InvalidIdentifier):
        mirror(lab, more, ["no such name"])


def test_only_the_identifiers_and_file_names_asked_for_are_copied(config, tmp_path):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    for identifier in ("a.b", "c"):
        lab.upload(make_assembly(), identifier)
    keep(lab, tmp_path, "f.csv", b"a")
    assert outcomes(mirror(lab, ours, "a.b")) == {"assy_a_b.nc": ("copied", 1, 0)}
    report = mirror(lab, ours, ["f.csv", "absent"])
    assert outcomes(report) == {"f.csv": ("copied", 1, 0), "absent": ("failed", 0, 0)}
    assert "There is no absent" in report.failed[0].reason
    assert sorted(ours.files.keys()) == ["assy_a_b.nc", "f.csv"]


def test_versions_that_nobody_described_are_hashed_and_described_at_last(pair):
    lab, ours = pair
    lab.files.give("assy_a_b.nc", b"a" * 5000, b"b", b"a" * 5000, described=False)
    lab.files.give("assy_plain.nc", b"p", described=False)
    lab.files.give("stimulus.csv", b"s", described=False)
    ours.files.give("assy_a_b.nc", b"a" * 5000, described=False)
    assert mirror(lab, ours).complete
    assert history(ours, "assy_a_b.nc") == [b"a" * 5000, b"b", b"a" * 5000]
    newest = {key: held[-1][0] for key, held in ours.files.held.items()}
    assert newest["assy_a_b.nc"].sha1 == hashlib.sha1(b"a" * 5000).hexdigest()
    assert newest["assy_a_b.nc"].identifier is None  # a.b or a_b: nobody knows
    assert (newest["assy_plain.nc"].identifier, newest["assy_plain.nc"].assembly_prefix) == ("plain", "assy_")
    assert newest["stimulus.csv"].identifier == "stimulus.csv"
    lab.files.reads.clear()
    assert not mirror(lab, ours).copied
    assert lab.files.reads == []  # their receipts know them by now


def test_files_put_into_a_folder_by_hand_are_mirrored_too(tmp_path):
    config = tmp_path / "storage.yaml"
    stores = {"lab": LOCAL, "ours": {"backend": "local", "root": "./ours"}}
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores}))
    for folder, name in (("lab", "by_hand.csv"), ("lab", "there.csv"), ("ours", "there.csv")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(b"a,b")
    assert outcomes(mirror("lab", "ours", config=config)) == {
        "by_hand.csv": ("copied", 1, 0),
        "there.csv": ("there", 0, 1),
    }
    ours = open_store("ours", config=config)
    keep(open_store("lab", config=config), tmp_path, "there.csv", b"c")
    assert outcomes(mirror("lab", "ours", config=config))["there.csv"] == ("copied", 1, 1)
    assert history(ours, "there.csv") == [b"a,b", b"c"]
    assert ours.fetch("by_hand.csv").read_bytes() == b"a,b"


# what is left alone


def test_a_target_with_a_version_of_its_own_is_reported_and_left_alone(config, tmp_path):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    histories = {"other": (b"x",), "longer": (b"a", b"b", b"x"), "later": (b"b",), "fits": (b"a",)}
    for name, own in histories.items():
        keep(lab, tmp_path, name, b"a", b"b")
        keep(ours, tmp_path, name, *own)
    report = mirror(lab, ours)
    assert not report.complete
    assert [file.key for file in report.left_alone] == ["later", "longer", "other"]
    assert all("another history" in file.reason for file in report.left_alone)
    assert outcomes(report)["fits"] == ("copied", 1, 1)
    for name in ("other", "longer", "later"):
        assert history(ours, name) == list(histories[name])


@pytest.mark.parametrize(
    ("own", "after"),
    [("x", "xaba"), ("ax", "axba"), ("abx", "abxa"), ("abax", "abax"), ("b", "baba"), ("xaba", "xaba"), ("ab", "aba")],
)
def test_append_puts_what_is_lacking_after_it_in_order(pair, own, after):
    lab, ours = pair
    lab.files.give("f", b"a", b"b", b"a")
    ours.files.give("f", *(letter.encode() for letter in own))
    report = mirror(lab, ours, append=True)
    assert report.complete
    assert b"".join(history(ours, "f")) == after.encode()
    assert mirror(lab, ours, append=True).bytes_sent == 0  # all of it is there, wherever it was put
    assert (report.files[0].reason is not None) == (own == "abax")


def test_append_makes_an_unpinned_load_give_the_sources_newest(config, tmp_path):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    keep(lab, tmp_path, "f", b"a", b"b")
    keep(ours, tmp_path, "f", b"x")
    mirror(lab, ours, append=True)
    assert ours.fetch("f").read_bytes() == b"b"


def test_another_name_for_the_same_file_is_refused(pair):
    lab, ours = pair
    lab.files.add("assy_a_b.nc", b"1", described_as(b"1", "a.b", "assy_"))
    ours.files.add("assy_a_b.nc", b"2", described_as(b"2", "a_b", "assy_"))
    lab.files.give("Case.csv", b"1")
    ours.files.give("case.csv", b"1")
    report = mirror(lab, ours, append=True)
    assert outcomes(report) == {"Case.csv": ("failed", 0, 0), "assy_a_b.nc": ("failed", 0, 0)}
    assert "in case only" in report.files[0].reason
    assert "'a_b'" in report.files[1].reason
    assert ours.files.puts == []


def test_a_host_without_versions_takes_only_what_it_can_keep_whole(pair):
    lab, ours = pair
    ours.files.versioned = False
    lab.files.give("one", b"a")
    lab.files.give("same", b"a", b"a")
    lab.files.give("several", b"a", b"b", described=False)
    lab.files.give("there", b"a", b"a")
    ours.files.give("there", b"a")
    lab.files.give("own", b"a")
    ours.files.give("own", b"x")
    report = mirror(lab, ours)
    assert {key: outcome[0] for key, outcome in outcomes(report).items()} == {
        "one": "copied",
        "same": "copied",
        "several": "failed",
        "there": "there",
        "own": "left alone",
    }
    assert "keeps no versions" in report.failed[0].reason
    assert sorted(key for key, _ in ours.files.puts) == ["one", "same"]
    assert [file.key for file in mirror(lab, ours, append=True).failed] == ["own", "several"]
    assert history(ours, "own") == [b"x"]


# what is refused


def test_a_store_into_itself_is_refused(config):
    with pytest.raises(NotSupported, match="one place"):
        mirror("lab", "lab", config=config)


def test_stores_that_are_not_made_of_files_are_refused(pair):
    lab, _ = pair
    plain = storage_plugins._store.store.PlainStore(lab._entry, lab.settings, object())
    for stores in ((lab, plain), (plain, lab)):
        with pytest.raises(NotSupported, match="does not consist of files"):
            mirror(*stores)


def test_a_store_that_cannot_be_listed_is_mirrored_by_identifiers_only_where_its_versions_are_known(pair):
    lab, ours = pair
    lab.files.give("assy_a.nc", b"a")
    lab.files.listing_denied = True
    with pytest.raises(storage_plugins.AccessDenied):
        mirror(lab, ours)
    assert [file.outcome for file in mirror(lab, ours, ["a"]).files] == ["failed"]


# trouble


def test_one_failing_file_does_not_stop_the_others(pair):
    lab, ours = pair
    for number in range(20):
        lab.files.give(f"f{number:02}", b"a%d" % number, b"b%d" % number)
    lab.files.give("not a name", b"a")

    def refuse(key, source):
        if key == "f07" and source.path.read_bytes() == b"b7":
            raise QuotaExceeded("no room for f07")
        if key == "f08":
            raise ZeroDivisionError("a backend's own mistake")

    ours.files.before_put = refuse
    report = mirror(lab, ours)
    assert len(report.copied) == 18
    told = {file.key: (file.versions_copied, file.reason) for file in report.failed}
    assert told["f07"] == (1, "no room for f07")
    assert told["f08"] == (0, "ZeroDivisionError: a backend's own mistake")
    assert "cannot be a file name" in told["not a name"][1]
    ours.files.before_put = None
    assert [file.key for file in mirror(lab, ours).copied] == ["f07", "f08"]
    assert history(ours, "f07") == [b"a7", b"b7"]
    assert len(ours.files.puts) == 40


def test_damage_in_the_source_is_reported_and_not_copied(config, tmp_path):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    keep(lab, tmp_path, "good", b"a")
    metadata = described_as(b"intact", "f")
    (tmp_path / "file").write_bytes(b"dam\0ed")
    keep(lab, tmp_path, "f", b"first")
    damaged = storage_plugins.Source.of(tmp_path / "file")
    lab.files.put("f", damaged, metadata=metadata, if_absent=False)
    keep(lab, tmp_path, "f", b"last")
    report = mirror(lab, ours)
    assert outcomes(report) == {"f": ("failed", 1, 0), "good": ("copied", 1, 0)}
    assert metadata["sha256"] in report.failed[0].reason
    assert "damaged" in report.failed[0].reason
    assert history(ours, "f") == [b"first"]


def test_a_connection_that_breaks_is_taken_up_again(pair):
    lab, ours = pair
    lab.files.give("f", bytes(5000))
    lab.files.cut_after = [1500, 2000]
    assert mirror(lab, ours).complete
    assert history(ours, "f") == [bytes(5000)]
    assert [start for _, _, start in lab.files.reads] == [0, 1500, 3500, 0][:3]


def test_an_answer_that_is_lost_does_not_send_the_file_again(pair):
    lab, ours = pair
    lab.files.give("f", b"a", b"b", b"a")
    lost = iter([StoreUnavailable("the answer was lost")])

    def lose(key, source):
        for error in lost:
            raise error

    ours.files.after_put = lose
    assert mirror(lab, ours).complete  # what is there proves that it was stored
    assert [data for _, data in ours.files.puts] == [b"a", b"b", b"a"]
    assert ours.fetch("f").read_bytes() == b"a"


def test_nothing_is_left_in_the_cache(pair, tmp_path):
    lab, ours = pair
    lab.files.give("f", b"a" * 4000, b"b" * 4000)
    mirror(lab, ours)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


# interruptions


@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a thread")
@pytest.mark.parametrize("moment", [0, 1, 5, 17, 29])
def test_interrupted_and_run_again_it_goes_on(pair, moment, monkeypatch):
    lab, ours = pair
    for number in range(10):
        lab.files.give(f"f{number}", *(b"%d of %d" % (version, number) for version in (1, 2, 1)))
    count, lock = iter(range(1000)), threading.Lock()

    def interrupt(key, source):
        with lock:
            if next(count) == moment:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # as ctrl-C
                raise StoreUnavailable("broken off")

    ours.files.before_put = interrupt
    with pytest.raises(KeyboardInterrupt):
        mirror(lab, ours)
    sent = len(ours.files.puts)
    assert sent < 30
    ours.files.before_put = None
    report = mirror(lab, ours)
    assert report.complete
    assert sum(file.versions_there for file in report.files) == sent
    assert len(ours.files.puts) == 30
    for number in range(10):
        assert history(ours, f"f{number}") == [b"%d of %d" % (version, number) for version in (1, 2, 1)]
        assert len([r for r in ours.receipts.of(f"f{number}") if r.address == ours.address]) == 3


def test_ctrl_c_ends_it_at_the_next_block(pair, monkeypatch):
    lab, ours = pair
    lab.files.give("f", *(b"%d" % number for number in range(50)))
    ending = threading.Event()
    shutdown = concurrent.futures.ThreadPoolExecutor.shutdown

    def noted(pool, *arguments, **options):
        ending.set()
        shutdown(pool, *arguments, **options)

    monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "shutdown", noted)

    def interrupt(key, source):
        if source.path.read_bytes() == b"7":
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            assert ending.wait(60)

    ours.files.before_put = interrupt
    with pytest.raises(KeyboardInterrupt):
        mirror(lab, ours)
    assert len(ours.files.puts) == 7


class Breaking(Receipts):
    """Receipts that end, as a crash would, after so many were written."""

    left = 0

    def write(self, receipt):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().write(receipt)


@pytest.mark.parametrize("written", range(6))
def test_ended_among_the_receipts_no_load_without_a_pin_changes(pair, written):
    lab, ours = pair
    lab.files.give("f", b"a", b"b", b"c")
    folder = ours.receipts.folder
    ours.receipts = Breaking(folder)
    ours.receipts.left = written
    with pytest.raises(KeyboardInterrupt):
        mirror(lab, ours)
    for _ in range(2):
        assert [store.fetch("f").read_bytes() for store in (lab, ours)] == [b"c", b"c"]
        ours.receipts = Receipts(folder)
        mirror(lab, ours)
    assert [receipt.version_id for receipt in lab.receipts.of("f")].count("v1") == 2
    assert len(lab.receipts.of("f")) == 6
    assert len(ours.files.puts) == 3


def test_receipts_by_a_clock_that_lags_stay_the_newest(pair):
    lab, ours = pair
    lab.files.give("f", b"a", b"b")
    receipt = lab.upload_file(written(Path("c"), b"c"), "f")
    for path in lab.receipts.folder.rglob("*@*.yaml"):
        path.write_text(path.read_text().replace(receipt.created.isoformat(), "2001-01-01T00:00:00+00:00"))
    assert lab.receipts.of("f")[0].created.year == 2001
    mirror(lab, ours)
    assert [store.fetch("f").read_bytes() for store in (lab, ours)] == [b"c", b"c"]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


KILLED = """
import sys, storage_plugins
from storage_plugins_local.files import LocalFiles
put = LocalFiles.put
def noted(self, key, source, **options):
    with open(sys.argv[2], "a") as log:
        log.write(f"{key} {source.sha256}\\n")
    return put(self, key, source, **options)
LocalFiles.put = noted
print("ready", flush=True)
assert storage_plugins.mirror("lab", "ours", config=sys.argv[1]).complete
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killed_at_any_moment_it_goes_on(tmp_path):
    config = tmp_path / "storage.yaml"
    stores = {name: {"backend": "local", "root": f"./{name}"} for name in ("lab", "ours")}
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores}))
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    generator = random.Random(5)
    for number in range(20):
        keep(lab, tmp_path, f"f{number}", *(generator.randbytes(300_000) for _ in range(3)))
    kills, log = 0, tmp_path / "log"
    while True:
        process = subprocess.Popen([sys.executable, "-c", KILLED, config, log], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        try:
            process.wait(timeout=10 if kills == 8 else generator.uniform(0.01, 0.2))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.wait()
        process.stdout.close()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
    assert kills >= 3
    assert len(log.read_text().splitlines()) <= 60 + 4 * kills  # four are in flight at a time
    for number in range(20):
        key = f"f{number}"
        assert history(ours, key) == history(lab, key)
        here = [receipt for receipt in ours.receipts.of(key) if receipt.address == ours.address]
        assert [(r.version_id, r.sha256) for r in here] == [(v.version_id, v.sha256) for v in ours.files.versions(key)]
        assert ours.fetch(key).read_bytes() == history(lab, key)[-1]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("moment", [1, *(pytest.param(moment, marks=pytest.mark.slow) for moment in (3, 6))])
def test_killed_before_the_hosts_answer_it_does_not_send_that_file_again(tmp_path, proxy, bucket, moment):
    config = tmp_path / "storage.yaml"
    ours = {"backend": "s3", "bucket": bucket, "endpoint_url": proxy.url}
    config.write_text(yaml.safe_dump({"default": "lab", "stores": {"lab": LOCAL, "ours": ours}}))
    lab = open_store("lab", config=config)
    contents = {f"f{number}": [b"%d of %d" % (version, number) for version in (1, 2, 1)] for number in range(3)}
    for name, versions in contents.items():
        keep(lab, tmp_path, name, *versions)
    command = [sys.executable, "-m", "storage_plugins", "mirror", "lab", "ours", "--config", config]
    arrived, lock = [], threading.Lock()

    def kill(method, path, body):
        with lock:
            if ".storage-plugins/" not in path:  # records do not count
                arrived.append(method)
                if arrived.count("PUT") == moment and method == "PUT":
                    process.kill()
        return body

    proxy.change = kill
    process = subprocess.Popen(command)
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    moment = -1  # from now on only counted
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    store = open_store("ours", config=config)
    for name, versions in contents.items():
        assert history(store, name) == versions
    assert arrived.count("PUT") == 9


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGINT")
def test_ctrl_c_is_told_in_a_line_and_takes_back_what_is_on_its_way(tmp_path, proxy, bucket, s3_client):
    config = tmp_path / "storage.yaml"
    ours = {"backend": "s3", "bucket": bucket, "endpoint_url": proxy.url}
    config.write_text(yaml.safe_dump({"default": "lab", "stores": {"lab": LOCAL, "ours": ours}}))
    keep(open_store("lab", config=config), tmp_path, "large.bin", bytes(150 << 20))
    sending = threading.Event()

    def notice(method, path):
        if "partNumber=3" in path:
            sending.set()

    proxy.refuse = notice
    process = subprocess.Popen(
        [sys.executable, "-m", "storage_plugins", "mirror", "lab", "ours", "--config", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert sending.wait(60)
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert told.decode().strip().splitlines()[-1] == "Interrupted. Unfinished uploads were rolled back."
    assert open_store("ours", config=config).file_names() == []
    assert s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


# after it


@pytest.mark.slow
def test_after_it_changing_the_default_is_the_whole_switch(config, tmp_path, new_cache):
    lab = open_store(config=config)
    made = {seed: make_assembly(seed) for seed in (1, 2)}
    receipts = [lab.upload(made[seed], "X") for seed in (1, 2, 1, 2)]
    (of_file,) = keep(lab, tmp_path, "stimulus.zip", b"PK")
    mirror("lab", "ours", config=config)
    flip(config)
    pins = [
        pin
        for receipt in receipts
        for pin in (
            {"version_id": receipt.version_id, "sha1": receipt.sha1},
            {"version_id": receipt.version_id},
            {"sha1": receipt.sha1},
            {"sha256": receipt.sha256},
        )
    ]
    assert open_store(config=config).name == "ours"
    for pin, receipt in zip(pins, [receipt for receipt in receipts for _ in range(4)], strict=True):
        new_cache()
        store = open_store(config=config)
        path = store.load_file("X", **pin)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == receipt.sha256
    new_cache()
    store = open_store(config=config)
    xr.testing.assert_identical(store.load("X"), made[2])
    xr.testing.assert_identical(store.load("X", newest=True), made[2])
    xr.testing.assert_identical(store.load(receipts[0]), made[1])
    assert store.fetch("stimulus.zip", sha1=of_file.sha1).read_bytes() == b"PK"


def test_the_receipts_of_the_copies_tell_where_they_are_and_what(config, tmp_path, new_cache):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    uploaded = [lab.upload(make_assembly(seed), "a.b") for seed in (1, 2, 1)]
    mirror(lab, ours)
    key = uploaded[0].key
    copies = [receipt for receipt in reversed(ours.receipts.of(key)) if receipt.address == ours.address]
    versions = list(reversed(ours.versions("a.b")))
    for before, after, version in zip(uploaded, copies, versions, strict=True):
        for field in ("identifier", "key", "sha1", "sha256", "size", "content_digest"):
            assert getattr(before, field) == getattr(after, field)
        assert (after.store, after.version_id) == ("ours", version.version_id)
        assert after.uri == f"{ours.files.uri(key, after.version_id)}#sha256={after.sha256}"
        new_cache()
        assert storage_plugins.load(after.uri, config=config).identical(lab.load(before))


def test_without_receipts_of_the_uploads_every_load_is_the_same_after_it(config, tmp_path, new_cache):
    lab = open_store("lab", config=config)
    receipts = [lab.upload(make_assembly(seed), "a.b") for seed in (1, 2, 1)]
    for path in (tmp_path / "receipts").rglob("*.yaml"):
        path.unlink()
    mirror("lab", "ours", config=config)
    for name in ("lab", "ours"):
        new_cache()
        store = open_store(name, config=config)
        assert store.load("a.b").identical(make_assembly(1))
        for receipt in receipts:
            assert store.load_file("a.b", version_id=receipt.version_id).exists()
    assert [r.version_id for r in lab.receipts.of(receipts[0].key) if r.address == lab.address] == [
        receipt.version_id for receipt in reversed(receipts)
    ]


def test_a_load_without_a_pin_gives_the_same_where_the_newest_upload_was_somebody_elses(config, tmp_path, new_cache):
    lab = open_store("lab", config=config)
    lab.upload(make_assembly(1), "X")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text = config.read_text().replace("./", f"{tmp_path}/")
    (elsewhere / "storage.yaml").write_text(text)
    open_store("lab", config=elsewhere / "storage.yaml").upload(make_assembly(2), "X")
    mirror("lab", "ours", config=config)
    for name in ("lab", "ours"):
        new_cache()
        store = open_store(name, config=config)
        assert store.load("X").identical(make_assembly(1))
        assert store.load("X", newest=True).identical(make_assembly(2))


def test_an_unfinished_mirror_does_not_change_what_the_source_gives(pair):
    lab, ours = pair
    lab.files.give("f", b"a", b"b", b"c")

    def refuse(key, source):
        if source.path.read_bytes() == b"c":
            raise StoreUnavailable("gone")

    ours.files.before_put = refuse
    assert mirror(lab, ours).failed
    assert lab.fetch("f").read_bytes() == b"c"


def test_the_report_travels(pair):
    lab, ours = pair
    lab.files.give("f", b"a")
    report = mirror(lab, ours)
    assert pickle.loads(pickle.dumps(report)) == report
    assert callable(storage_plugins.mirror)


# by command line


@pytest.fixture
def run(config):
    def run(*command, code=0):
        done = run_command("mirror", *command, "--config", config)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_a_mirror_by_command_line(run, config, tmp_path):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    keep(lab, tmp_path, "f.csv", b"a", b"b")
    keep(lab, tmp_path, "g.csv", b"g")
    report = json.loads(run("lab", "ours", "g.csv", "--json").stdout)
    assert (report["complete"], report["bytes_sent"], len(report["files"])) == (True, 1, 1)
    done = run("lab", "ours")
    assert "copied         1 file, 2 bytes sent" in done.stdout
    assert "there already  1 file" in done.stdout
    assert done.stderr == ""
    keep(ours, tmp_path, "f.csv", b"x")
    told = run("lab", "ours", code=6).stdout
    assert "f.csv: left alone" in told
    assert "--append" in told
    keep(lab, tmp_path, "f.csv", b"c")
    run("lab", "ours", "--append")
    assert history(ours, "f.csv") == [b"a", b"b", b"x", b"c"]
    report = json.loads(run("lab", "ours", "absent", "--json", code=1).stdout)
    assert report["complete"] is False
    assert report["files"][0]["outcome"] == "failed"
    run("lab", "lab", code=11)
    run("lab", "theirs", code=9)


def test_progress_is_told_for_both_ways(pair):
    lab, ours = pair
    lab.files.give("f", bytes(4000))
    told = []
    lab.progress = lambda name, done, size: told.append(("from", name, done, size))
    ours.progress = lambda name, done, size: told.append(("to", name, done, size))
    mirror(lab, ours)
    assert ("from", "f", 4000, 4000) in told
    assert told[-1] == ("to", "f", 4000, 4000)


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal(config, tmp_path):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    keep(open_store("lab", config=config), tmp_path, "large.bin", os.urandom(8 << 20))
    near, far = pty.openpty()
    termios.tcsetwinsize(far, (24, 80))
    command = [sys.executable, "-m", "storage_plugins", "mirror", "lab", "ours", "--config", config]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=far, timeout=60).returncode == 0
    shown = os.read(near, 100_000)
    assert b"large.bin to ours:" in shown
    assert b"8.39M" in shown
    os.close(far)
    os.close(near)


def test_nothing_there_is_nothing_to_do(config):
    lab, ours = open_store("lab", config=config), open_store("ours", config=config)
    report = mirror(lab, ours)
    assert report.complete
    assert report.files == ()
    with pytest.raises(AssemblyNotFound):
        ours.fetch("f")


def test_an_upload_of_what_a_mirror_copied_without_a_name_returns_the_name_it_was_given(tmp_path):
    config = tmp_path / "storage.yaml"
    stores = {name: {"backend": "local", "root": f"./{name}"} for name in ("lab", "ours")}
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores}))
    lab, ours = (open_store(name, config=config) for name in stores)
    uploaded = lab.upload(make_assembly(), "Lab.a")
    (tmp_path / "lab" / ".versions" / uploaded.key / "000001" / "receipt.json").unlink()
    shutil.rmtree(tmp_path / "receipts")
    assert mirror(lab, ours).complete  # nothing says what "_" in the file's name stands for
    path = ours.load_file("Lab.a", sha256=uploaded.sha256)
    for _ in range(2):
        assert ours.upload(path, "Lab.a").identifier == "Lab.a"
