"""Withdrawing: the bytes are gone, nothing else is, and every load says why."""

import dataclasses
import json
from pathlib import Path

import pytest
import xarray as xr
import yaml
from conftest import make_assembly, write_yaml
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins import (
    AssemblyNotFound,
    AssemblyWithdrawn,
    Content,
    NotSupported,
    PluginError,
    StorageError,
    StoreUnavailable,
    mirror,
    open_store,
)
from storage_plugins._backend.operations import Source
from storage_plugins._copies import cache_tools
from storage_plugins._copies.cache import Cache

REASON = "a participant withdrew consent"
TOMBSTONE = ".gone-assy_Lab2026_x.nc.json"


def withdraw(store, receipt, **more):
    name = receipt.identifier
    return store.withdraw(name, version_id=receipt.version_id, reason=REASON, confirm=name, **more)


def pins_of(receipt):
    yield {"sha1": receipt.sha1}
    yield {"sha256": receipt.sha256}
    yield {"version_id": receipt.version_id}
    yield {"version_id": receipt.version_id, "sha1": receipt.sha1}


def assert_by_hash(store, receipt):
    for pin in ({"sha1": receipt.sha1}, {"sha256": receipt.sha256}):
        with pytest.raises(AssemblyWithdrawn, match=REASON):
            store.load(receipt.identifier, **pin)


def assert_withdrawn(store, receipt, name="Lab2026.x"):
    for pin in pins_of(receipt):
        with pytest.raises(AssemblyWithdrawn, match=REASON):
            store.load(name, **pin)
    with pytest.raises(AssemblyWithdrawn, match=REASON):
        store.load(receipt)


@pytest.fixture(params=["local", "s3", "memory"])
def config(request, tmp_path):
    from conftest import yaml_for

    if request.param == "memory":
        pytest.importorskip("fsspec")
    return yaml_for(request.param, tmp_path, request)


def without_receipts(config):
    """The same store as somebody else has it, without receipts."""
    other = config.parent / "elsewhere.yaml"
    other.write_text(config.read_text() + "receipts: false\n")
    return other


def test_a_withdrawn_version_loads_by_no_pin_and_the_others_load_as_before(config, new_cache):
    store = open_store(config=config)
    receipts = [store.upload(make_assembly(seed), "Lab2026.x") for seed in range(3)]
    for receipt in receipts:
        store.load(receipt)  # they are in the cache
    (done,) = withdraw(store, receipts[1]).withdrawn
    assert (done.reason, done.version_id, done.newest) == (REASON, receipts[1].version_id, False)
    assert [version.version_id for version in store.versions("Lab2026.x")] == [
        receipts[2].version_id,
        receipts[0].version_id,
    ]
    elsewhere = open_store(config=without_receipts(config))
    for machine in (store, open_store(config=config), elsewhere):
        assert_withdrawn(machine, receipts[1])
        new_cache()
        for seed in (0, 2):
            xr.testing.assert_identical(machine.load("Lab2026.x", sha1=receipts[seed].sha1), make_assembly(seed))
        xr.testing.assert_identical(machine.load("Lab2026.x"), make_assembly(2))
    new_cache()
    assert_withdrawn(open_store(config=without_receipts(config)), receipts[1])
    assert elsewhere.identifiers() == ["Lab2026.x"]
    assert elsewhere.file_names() == []
    report = open_store(config=config).verify(full=True)
    assert report.ok
    assert len(report.versions) == 2


def test_without_a_pin_the_newest_that_was_withdrawn_is_an_error_until_the_next_upload(config, new_cache):
    store = open_store(config=config)
    receipts = [store.upload(make_assembly(seed), "Lab2026.x") for seed in range(2)]
    withdraw(store, receipts[1])
    for machine in (open_store(config=config), open_store(config=without_receipts(config))):
        for newest in (False, True):
            with pytest.raises(AssemblyWithdrawn, match=rf"(?s){REASON}.*{receipts[0].version_id}"):
                machine.load("Lab2026.x", newest=newest)
    store.upload(make_assembly(2), "Lab2026.x")
    for machine in (open_store(config=config), open_store(config=without_receipts(config))):
        xr.testing.assert_identical(machine.load("Lab2026.x"), make_assembly(2))


def test_the_only_version_is_withdrawn(config, new_cache):
    store = open_store(config=config)
    receipt = store.upload(make_assembly(), "Lab2026.x")
    withdraw(store, receipt)
    assert store.identifiers() == []
    new_cache()
    for machine in (open_store(config=config), open_store(config=without_receipts(config))):
        assert_withdrawn(machine, receipt)
        with pytest.raises(AssemblyWithdrawn, match=REASON):
            machine.load("Lab2026.x")
        with pytest.raises(AssemblyWithdrawn, match=REASON):
            machine.load("Lab2026.x", newest=True)
    withdraw(store, receipt)  # does nothing more


def test_the_bytes_are_nowhere_on_the_server(tmp_path, new_bucket, endpoint, s3_client):
    bucket = new_bucket(versioned=False)
    store = open_store(config=write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint}))
    old = store.upload(make_assembly(1), "Lab2026.x")
    new = store.upload(make_assembly(2), "Lab2026.x", replace=True)
    report = store.withdraw("Lab2026.x", sha1=new.sha1, reason=REASON, confirm="Lab2026.x")
    assert report.withdrawn[0].sha256 == new.sha256
    left = {entry["Key"] for entry in s3_client.list_objects_v2(Bucket=bucket)["Contents"]}
    assert not [key for key in left if key.startswith("assy_")]
    assert [key for key in left if key.startswith(".versions/")]
    xr.testing.assert_identical(store.load("Lab2026.x", sha1=old.sha1), make_assembly(1))
    assert_by_hash(store, new)
    store.withdraw("Lab2026.x", sha256=old.sha256, reason=REASON, confirm="Lab2026.x")
    left = {entry["Key"] for entry in s3_client.list_objects_v2(Bucket=bucket)["Contents"]}
    assert left == {".gone-assy_Lab2026_x.nc.json"}
    assert_by_hash(store, old)


def test_equal_bytes_under_the_same_name_are_removed_as_well(config):
    store = open_store(config=config)
    first = store.upload(make_assembly(1), "Lab2026.x")
    store.upload(make_assembly(2), "Lab2026.x")
    store.upload(make_assembly(1), "Lab2026.x")
    withdraw(store, first)
    assert len(store.versions("Lab2026.x")) == 1
    assert_withdrawn(store, first)


def test_what_was_withdrawn_is_not_uploaded_again_by_mistake(config):
    store = open_store(config=config)
    receipt = store.upload(make_assembly(), "Lab2026.x")
    withdraw(store, receipt)
    with pytest.raises(AssemblyWithdrawn, match=REASON):
        store.upload(make_assembly(), "Lab2026.x")
    assert store.versions("Lab2026.x") == []
    store.upload(make_assembly(), "Lab2026.y")


def test_nothing_is_removed_without_the_name_as_confirmation(config):
    store = open_store(config=config)
    receipt = store.upload(make_assembly(), "Lab2026.x")
    for change in ({"confirm": "Lab2026.y"}, {"reason": "  "}, {"version_id": "nonsense"}, {"version_id": ""}):
        asked = {"version_id": receipt.version_id, "reason": REASON, "confirm": "Lab2026.x", **change}
        with pytest.raises(StorageError, match="Nothing was removed"):
            store.withdraw("Lab2026.x", **asked)
    xr.testing.assert_identical(store.load(receipt), make_assembly())


def test_a_file_of_another_kind_is_withdrawn_by_its_name(config, new_cache):
    store = open_store(config=config)
    Path("stimuli.zip").write_bytes(b"PK")
    receipt = store.upload_file("stimuli.zip")
    withdraw(store, receipt)
    new_cache()
    for pin in ({}, {"sha1": receipt.sha1}):
        with pytest.raises(AssemblyWithdrawn, match=REASON):
            open_store(config=config).fetch("stimuli.zip", **pin)


def test_osf_removes_a_file_of_one_version_and_says_what_to_do_about_several(open_osf, osf, project):
    store = open_osf()
    only = store.upload(make_assembly(1), "Lab2026.x")
    withdraw(store, only)
    assert osf.host.get(project, only.key) == []
    assert_withdrawn(open_osf(), only)
    several = [store.upload(make_assembly(seed), "Lab2026.y") for seed in range(2)]
    with pytest.raises(NotSupported, match=r"(?s)cannot delete version 1 .*delete the file at osf\.io"):
        withdraw(store, several[0])
    xr.testing.assert_identical(open_osf().load("Lab2026.y", sha1=several[0].sha1), make_assembly(0))


def test_a_store_that_cannot_remove_says_so_and_keeps_everything(memory_store):
    store = memory_store(MemoryFiles())
    receipt = store.upload(make_assembly(), "Lab2026.x")
    with pytest.raises(NotSupported, match="Ask the owner"):
        withdraw(store, receipt)
    xr.testing.assert_identical(store.load(receipt), make_assembly())
    assert store.verify().ok
    with pytest.raises(NotSupported, match="is read-only"):
        storage_plugins.Store.withdraw(
            open_group(store), "Lab2026.x", version_id="1", reason=REASON, confirm="Lab2026.x"
        )


def open_group(store):
    stores = {"a": {"backend": "local", "root": "a"}, "g": {"backend": "group", "read": ["a"]}}
    return open_store("g", config={"stores": stores})


class Removing(MemoryFiles):
    """Removes what it is told to, in one of several ways."""

    way = "right"

    def removes(self):
        return True

    def remove(self, key, version_id):
        if self.way == "nothing":
            return
        self.held[key] = [
            (version, data)
            for version, data in self.held[key]
            if version.version_id != version_id and self.way != "all of them"
        ]


@pytest.mark.parametrize(
    ("way", "error"), [("nothing", StoreUnavailable), ("all of them", PluginError), ("right", None)]
)
def test_what_a_backend_removed_is_looked_at(memory_store, way, error):
    files = Removing()
    files.way = way
    store = memory_store(files)
    receipts = [store.upload(make_assembly(seed), "Lab2026.x") for seed in range(2)]
    if error is None:
        withdraw(store, receipts[0])
        return
    with pytest.raises(error, match=r"still has|also removed"):
        withdraw(store, receipts[0])


class Contested(Removing):
    """Others withdraw another version at the same time, from a tombstone that they read before."""

    others: bytes = b""

    def remove(self, key, version_id):
        super().remove(key, version_id)
        if self.others:
            self.add(f".gone-{key}.json", self.others)


def test_simultaneous_withdrawals_are_all_in_the_tombstone(memory_store):
    files = Contested()
    store = memory_store(files, receipts=False)
    receipts = [store.upload(make_assembly(seed), "Lab2026.x") for seed in range(3)]
    withdraw(store, receipts[0])
    files.others = files.held[TOMBSTONE][-1][1]
    withdraw(store, receipts[1])
    for receipt in receipts[:2]:
        with pytest.raises(AssemblyWithdrawn, match=REASON):
            memory_store(files, receipts=False, cache="other").load("Lab2026.x", sha1=receipt.sha1)


# groups, mirrors, copies


@pytest.fixture
def two(tmp_path):
    stores = {name: {"backend": "local", "root": f"./{name}"} for name in ("lab", "ours")}
    stores["all"] = {"backend": "group", "read": ["lab", "ours"], "write": "lab"}
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores, "receipts": False}))
    return config


def test_a_mirror_carries_the_tombstone_and_no_copy(two, new_cache):
    lab, ours = (open_store(name, config=two) for name in ("lab", "ours"))
    receipts = [lab.upload(make_assembly(seed), "Lab2026.x") for seed in range(2)]
    alone = lab.upload(make_assembly(5), "Lab2026.alone")
    withdraw(lab, receipts[1])
    withdraw(lab, alone)
    assert mirror("lab", "ours", config=two).complete
    new_cache()
    assert_withdrawn(open_store("ours", config=two), receipts[1])
    assert_withdrawn(open_store("ours", config=two), alone, "Lab2026.alone")
    with pytest.raises(AssemblyWithdrawn, match=REASON):
        ours.load("Lab2026.x")
    assert ours.identifiers() == ["Lab2026.x"]
    assert mirror("lab", "ours", config=two).complete


def test_a_mirror_leaves_a_copy_made_before_and_says_so(two):
    lab = open_store("lab", config=two)
    receipts = [lab.upload(make_assembly(seed), "Lab2026.x") for seed in range(3)]
    mirror("lab", "ours", config=two)
    withdraw(lab, receipts[1])
    (file,) = mirror("lab", "ours", config=two).files
    assert "withdraw it here, too" in file.reason
    assert len(open_store("ours", config=two).versions("Lab2026.x")) == 3


def test_a_mirror_says_that_a_copy_is_left_of_the_only_version(two):
    lab = open_store("lab", config=two)
    receipt = lab.upload(make_assembly(), "Lab2026.x")
    mirror("lab", "ours", config=two)
    withdraw(lab, receipt)
    (file,) = mirror("lab", "ours", config=two).files
    assert "withdraw it here, too" in file.reason


@pytest.mark.parametrize("receipts", [True, False])
def test_a_mirror_brings_nothing_back_that_was_withdrawn(two, receipts):
    if receipts:
        two.write_text(two.read_text().replace("receipts: false\n", ""))
    lab = open_store("lab", config=two)
    old, new = [lab.upload(make_assembly(seed), "Lab2026.x") for seed in range(2)]
    mirror("lab", "ours", config=two)
    withdraw(lab, old)
    report = mirror("ours", "lab", config=two)
    assert report.complete
    assert "withdrawn, and not copied" in report.files[0].reason
    assert [version.sha256 for version in lab.versions("Lab2026.x")] == [new.sha256]
    withdraw(lab, new)
    mirror("ours", "lab", config=two)
    assert lab.versions("Lab2026.x") == []


def test_a_group_says_that_a_member_withdrew_it(two, new_cache):
    lab = open_store("lab", config=two)
    receipt = lab.upload(make_assembly(), "Lab2026.x")
    mirror("lab", "ours", config=two)
    withdraw(lab, receipt)
    new_cache()
    assert_withdrawn(open_store("all", config=two), receipt)


def test_all_copies_that_receipts_know_are_removed_on_request(two):
    two.write_text(two.read_text().replace("receipts: false\n", ""))
    lab, ours = (open_store(name, config=two) for name in ("lab", "ours"))
    receipt = lab.upload(make_assembly(), "Lab2026.x")
    mirror("lab", "ours", config=two)
    report = withdraw(lab, receipt, all_copies=True)
    assert [one.address for one in report.withdrawn] == [lab.address, ours.address]
    assert report.complete
    assert lab.versions("Lab2026.x") == ours.versions("Lab2026.x") == []
    assert_withdrawn(ours, receipt)
    assert storage_plugins.verify(config=two).versions == ()
    kept = {path.name.partition(".")[2] for path in (two.parent / "receipts" / receipt.key).iterdir()}
    assert "withdrawn.yaml" in kept
    assert "yaml" in kept


# the command line


def test_the_command_needs_a_confirmation(config, run, monkeypatch, capsys):
    receipt = open_store(config=config).upload(make_assembly(), "Lab2026.x")
    command = ("withdraw", "Lab2026.x", "--version-id", receipt.version_id, "--reason", REASON, "-c", config)
    assert "--yes" in run(*command, code=2).stderr
    run("withdraw", "Lab2026.x", "--version-id", "other", "--reason", REASON, "-c", config, "--yes", code=3)
    answers = iter(["something", "Lab2026.x"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.prompt", lambda *args, **options: next(answers))
    assert "Nothing was removed" in run(*command, code=2).stderr
    assert "was removed from" in run(*command).stdout
    done = run("load", "Lab2026.x", "--sha1", receipt.sha1, "-c", config, code=3)
    assert REASON in done.stderr
    assert json.loads(run(*command, "--yes", "--json").stdout)["withdrawn"][0]["reason"] == REASON


def test_withdrawn_is_a_kind_of_not_found():
    assert issubclass(AssemblyWithdrawn, AssemblyNotFound)
    assert issubclass(AssemblyWithdrawn, FileNotFoundError)


# what a stranger writes


def planted(about, **more):
    """A stranger's tombstone of Lab2026.x: of a version that never was, with the hashes of another file."""
    one = {"identifier": "Lab2026.x", "address": "memory:lab", "key": "assy_Lab2026_x.nc", "version_id": "v9"}
    one |= {"sha1": about.sha1, "sha256": about.sha256, "size": 1, "when": "2026-01-01T00:00:00", "by": "me"}
    one |= {"reason": "r", "newest": True, "older": None, **more}
    return json.dumps({"withdrawn": [one]}).encode()


def test_a_tombstone_makes_the_cache_forget_nothing_of_another_name(memory_store):
    files = Removing()
    store = memory_store(files)
    store.upload(make_assembly(1), "Lab2026.x")
    other = store.upload(make_assembly(2), "Lab2026.y")
    store.load(other)
    files.add(TOMBSTONE, planted(other))
    with pytest.raises(AssemblyWithdrawn):
        store.load("Lab2026.x", version_id="v9")
    files.away = True
    xr.testing.assert_identical(store.load(other), make_assembly(2))


def test_bytes_that_two_names_share_are_forgotten_under_the_withdrawn_one_alone(tmp_path):
    cache, found = Cache([tmp_path / "cache"]), []
    for name in ("x.nc", "y.nc"):
        with cache.incoming() as (file, path):
            file.write(b"same")
            digests = Source.of(path).digests
            found.append(cache.adopt(file, path, digests, name, private=True))
    cache_tools.drop(cache, digests.sha256, "x.nc")
    assert [each.path.exists() for each in found] == [False, True]
    cache_tools.drop(cache, digests.sha256, "y.nc")
    assert cache_tools.entries(cache) == []


@pytest.mark.parametrize(
    "size", ["Infinity", "NaN", "1e999", "[1]", "true", '"many"', "-1", "9" * 5000], ids=lambda size: size[:8]
)
def test_a_malformed_tombstone_is_none(memory_store, size):
    files = Removing()
    store = memory_store(files)
    receipt = store.upload(make_assembly(1), "Lab2026.x")
    text = planted(receipt).replace(b'"size": 1,', b'"size": ' + size.encode() + b",")
    files.add(TOMBSTONE, text)
    xr.testing.assert_identical(store.load("Lab2026.x", newest=True), make_assembly(1))
    with pytest.raises(AssemblyNotFound) as caught:
        store.load("Lab2026.x", version_id="v9")
    assert not isinstance(caught.value, AssemblyWithdrawn)


class Unmeasured(Removing):
    """Does not say how long its files are."""

    def read(self, key, version_id=None, **more):
        content = super().read(key, version_id, **more)
        if not key.startswith(".gone-"):
            return content
        version = dataclasses.replace(content.version, size=None)
        return Content(version, self._endless(), private=True)

    def _endless(self):
        for number in range(10_000):
            self.blocks_sent = number
            yield b" " * (1 << 16)


def test_of_a_tombstone_without_a_size_only_so_much_is_read(memory_store):
    files = Unmeasured()
    store = memory_store(files)
    store.upload(make_assembly(1), "Lab2026.x")
    files.add(TOMBSTONE, b" ")
    with pytest.raises(AssemblyNotFound):
        store.load("Lab2026.x", version_id="v9")
    assert files.blocks_sent < 500  # some are read ahead


def test_the_texts_of_a_tombstone_control_no_terminal_and_are_short(memory_store):
    files = Removing()
    store = memory_store(files)
    receipt = store.upload(make_assembly(1), "Lab2026.x")
    evil = "\x1b[2J\nError: " + "x" * 100_000
    names = ("address", "when", "by", "reason", "identifier", "version_id")
    files.add(TOMBSTONE, planted(receipt, **dict.fromkeys(names, evil)))
    with pytest.raises(AssemblyWithdrawn) as caught:
        store.load("Lab2026.x", version_id=evil)
    assert caught.value.message.isprintable()
    assert len(str(caught.value)) < 7000


@pytest.mark.parametrize("write", ["ours", None])
def test_somebody_elses_tombstone_does_not_stop_a_group_that_has_a_copy(two, write, new_cache):
    values = yaml.safe_load(two.read_text())
    names = ["lab", "ours"] if write else ["ours", "lab"]
    values["stores"]["all"] = {"backend": "group", "read": names, **({"write": write} if write else {})}
    two.write_text(yaml.safe_dump(values))
    lab, ours, group = (open_store(name, config=two) for name in ("lab", "ours", "all"))
    receipts = [store.upload(make_assembly(), "Lab2026.x") for store in (lab, ours)]
    gone = lab.upload(make_assembly(2), "Lab2026.gone")
    withdraw(lab, receipts[0])
    withdraw(lab, gone)
    new_cache()
    xr.testing.assert_identical(group.load("Lab2026.x", sha256=receipts[0].sha256), make_assembly())
    assert_by_hash(group, gone)


def test_a_group_withdraws_from_the_store_that_uploads_go_to(two, new_cache):
    group = open_store("all", config=two)
    receipt = group.upload(make_assembly(), "Lab2026.x")
    mirror("lab", "ours", config=two)
    (one,) = withdraw(group, receipt).withdrawn
    assert one.address == open_store("lab", config=two).address
    new_cache()
    assert_by_hash(open_store("all", config=two), receipt)


def test_what_was_withdrawn_is_not_cited(config):
    store = open_store(config=config)
    receipts = [store.upload(make_assembly(seed), "Lab2026.x") for seed in range(2)]
    withdraw(store, receipts[1])
    for pin in ({}, {"version_id": receipts[1].version_id}, {"sha1": receipts[1].sha1}):
        with pytest.raises(AssemblyWithdrawn, match=REASON):
            store.cite("Lab2026.x", **pin)
    assert store.cite("Lab2026.x", sha1=receipts[0].sha1).receipt == receipts[0]


def test_the_command_needs_a_version(run):
    assert "Give --version-id" in run("withdraw", "Lab2026.x", "--reason", REASON, "--yes", code=2).stderr
