"""Verifying: what is missing, damaged, changed, out of reach or denied is found, and nothing else."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pytest
import yaml
from audited import EVENTS, Bucket, LocalFolder, Project
from conftest import OSF_TOKEN, make_assembly, write_yaml
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins import NotSupported, mirror, open_store
from storage_plugins._copies.receipts import ImportedPin


@pytest.fixture
def open_folder():
    """A folder that other users may look into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow), "osf"])
def audited(request, tmp_path):
    """A store with receipts, and the ways to tamper with it."""
    get = request.getfixturevalue
    if request.param == "local":
        store = open_store(config=write_yaml(get("open_folder"), {"backend": "local", "root": "./lab"}))
        return store, LocalFolder(store)
    if request.param == "s3":
        bucket, proxy = get("bucket"), get("proxy")
        config = write_yaml(tmp_path, {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": proxy.url})
        return open_store(config=config), Bucket(get("s3_client"), bucket, "brain/", proxy)
    osf, node = get("osf"), get("project")
    place = {"backend": "osf", "project": node.id, "folder": "brain", "token": OSF_TOKEN, "api_url": osf.api_url}
    return open_store(config=write_yaml(tmp_path, place)), Project(osf, node)


def verified(store, tampering, full):
    """Verify as in a new process."""
    with tampering.as_reader():
        return open_store(config=store._entry.path).verify(full=full)


def tampered(audited, count):
    """Upload assemblies, and let something happen to seven of them; return what happened to which."""
    store, tampering = audited
    template, receipts = make_assembly(), []
    for number in range(count):
        template.attrs["number"] = number
        receipts.append(store.upload(template, f"Lab2026.n{number}"))
    before = [verified(store, tampering, full) for full in (False, True)]
    assert all(report.ok and len(report.versions) == count for report in before), before
    step = count // len(EVENTS)
    happened = {receipts[place * step].identifier: event for place, event in enumerate(EVENTS)}
    by_name = {receipt.identifier: receipt for receipt in receipts}
    # a file that is denied is denied to this test, too
    for name, event in sorted(happened.items(), key=lambda item: item[1] == "denied"):
        getattr(tampering, event)(by_name[name])
    return happened


@pytest.mark.parametrize("count", [14, pytest.param(98, marks=pytest.mark.slow)])
def test_what_happened_to_single_files_is_found_and_nothing_else(audited, count):
    store, tampering = audited
    happened = tampered(audited, count)
    for full in (False, True):
        expected = {name: EVENTS[event] for name, event in happened.items()}
        if not full:
            unseen = {name: tampering.quick[event] for name, event in happened.items() if event in tampering.quick}
            expected = {name: state for name, state in (expected | unseen).items() if state != "whole"}
        report = verified(store, tampering, full)
        assert {one.identifier: one.state for one in report.not_whole} == expected, report.not_whole
        assert len([one for one in report.versions if one.state == "whole"]) >= count - len(happened)
        assert not report.ok
    renamed = next(one for one in report.versions if happened.get(one.identifier) == "renamed")
    assert "the same bytes are in old-assy_" in renamed.reason


# what should be there


@pytest.fixture
def lab(tmp_path):
    """A configuration with two local stores and a group of them, and five files in the first one."""
    stores = {name: {"backend": "local", "root": f"./{name}"} for name in ("lab", "ours")}
    stores["all"] = {"backend": "group", "read": ["lab", "ours"], "write": "ours"}
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores}))
    for number in range(5):
        upload(open_store(config=config), f"f{number}.bin", b"%d" % number * 100)
    return config


def upload(store, name, data):
    Path("file").write_bytes(data)
    return store.upload_file("file", name)


def states(report):
    return {one.key: one.state for one in report.versions}


def test_a_target_that_is_empty_half_or_damaged_is_not_verified_against_its_source(lab, new_cache):
    new_cache()
    ours = open_store("ours", config=lab)
    empty = ours.verify(against="lab")
    assert set(states(empty).values()) == {"missing"}
    assert len(empty.versions) == 5
    assert mirror("lab", "ours", ["f0.bin", "f1.bin"], config=lab).complete
    half = ours.verify(against="lab")
    assert [one.key for one in half.not_whole] == ["f2.bin", "f3.bin", "f4.bin"]
    assert mirror("lab", "ours", config=lab).complete
    assert ours.verify(against=open_store("lab", config=lab), full=True).ok
    assert len(ours.verify(against="lab").versions) == 5  # each once, although there are receipts too
    data = lab.parent / "ours" / ".versions" / "f3.bin" / "000001" / "data.bin"
    data.chmod(0o600)
    data.write_bytes(b"4" * 100)
    damaged = ours.verify(against="lab", full=True)
    assert {one.key: one.state for one in damaged.not_whole} == {"f3.bin": "damaged"}


def test_a_store_without_receipts_is_compared_with_the_source_by_hash(lab, new_cache):
    lab.write_text(lab.read_text() + "receipts: false\n")
    assert mirror("lab", "ours", ["f0.bin"], config=lab).complete
    report = open_store("ours", config=lab).verify(against="lab", full=True)
    assert [one.key for one in report.versions if one.state == "whole"] == ["f0.bin"]
    assert len(report.not_whole) == 4


def test_of_a_group_each_version_must_be_in_one_member(lab):
    assert mirror("lab", "ours", ["f0.bin"], config=lab).complete
    (lab.parent / "other").mkdir()
    shutil.copytree(lab.parent / "lab", lab.parent / "moved")
    config = yaml.safe_load(lab.read_text())
    config["stores"]["moved"] = {"backend": "local", "root": str(lab.parent / "moved")}
    lab.write_text(yaml.safe_dump(config))
    group = open_store("all", config=lab)
    assert group.verify(against="moved").ok
    shutil.rmtree(lab.parent / "lab" / ".versions" / "f2.bin")
    (lab.parent / "lab" / "f2.bin").unlink()
    assert [one.key for one in group.verify(against="moved").not_whole] == ["f2.bin"]
    assert open_store("moved", config=lab).verify(["f2.bin", "f3.bin"]).ok


def test_every_receipt_is_verified_in_the_store_of_its_address(lab):
    assert mirror("lab", "ours", config=lab).complete
    report = storage_plugins.verify(config=lab)
    assert report.ok
    assert len(report.versions) == 10
    shutil.rmtree(lab.parent / "ours")
    report = storage_plugins.verify(["f1.bin"], config=lab)
    assert [(one.store, one.state) for one in report.versions] == [("lab", "whole"), ("ours", "missing")]


def test_a_version_that_only_a_removed_store_had_is_out_of_reach(lab):
    upload(open_store("ours", config=lab), "mine.bin", b"mine")
    lab.write_text(yaml.safe_dump({"stores": {"ours": {"backend": "local", "root": "./ours"}}}))
    report = storage_plugins.verify(config=lab)
    assert {one.key for one in report.versions if one.state == "unreachable"} == {f"f{n}.bin" for n in range(5)}
    assert states(report)["mine.bin"] == "whole"
    assert "no store in the configuration has this address" in report.not_whole[0].reason


def test_a_store_that_cannot_be_opened_does_not_stop_the_others(lab):
    config = yaml.safe_load(lab.read_text())
    config["stores"]["broken"] = {"backend": "local"}
    lab.write_text(yaml.safe_dump(config))
    report = storage_plugins.verify(config=lab)
    assert not report.ok
    assert "needs the setting 'root'" in report.problems["broken"]
    assert set(states(report).values()) == {"whole"}


def test_nothing_to_verify_is_not_ok(tmp_path, run):
    config = write_yaml(tmp_path, {"backend": "local", "root": "./lab"})
    assert not storage_plugins.verify(config=config).ok
    assert "Nothing to verify" in run("verify", "-c", config, code=3).stdout
    report = storage_plugins.verify(["Lab2026.x"], config=config)
    assert [(one.identifier, one.state) for one in report.versions] == [("Lab2026.x", "missing")]


def test_a_store_out_of_reach_is_asked_once_for_all(memory_store):
    files = MemoryFiles()
    store = memory_store(files)
    for name in ("a.bin", "b.bin"):
        upload(store, name, name.encode())
    files.away = True
    asked = []
    files.versions = lambda key: asked.append(key)
    report = store.verify()
    assert states(report) == {"a.bin": "unreachable", "b.bin": "unreachable"}
    assert "the network is down" in report.not_whole[0].reason
    assert asked == []


def test_without_a_listing_what_has_receipts_is_asked_for_by_its_id(memory_store, caplog):
    files = MemoryFiles()
    store = memory_store(files)
    upload(store, "a.bin", b"a")
    files.add("b.bin", b"b")
    files.listing_denied = True
    assert states(store.verify()) == {"a.bin": "whole"}
    assert "cannot be listed" in caplog.text
    files.held["a.bin"].clear()
    assert states(store.verify(full=True)) == {"a.bin": "missing"}
    assert "listing is forbidden" in memory_store(files, receipts=False).verify("b.bin").not_whole[0].reason


def test_imported_pins_are_verified_like_receipts(memory_store):
    files = MemoryFiles()
    store = memory_store(files)
    right, wrong = "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8", "0" * 40
    files.add("a.bin", b"a")
    files.add("b.bin", b"b")
    for key, sha1 in (("a.bin", right), ("b.bin", wrong), ("c.bin", wrong)):
        store.receipts.keep(ImportedPin(key=key, sha1=sha1, version_id="v1", address=store.address))
    assert states(store.verify(full=True)) == {"a.bin": "whole", "b.bin": "damaged", "c.bin": "missing"}
    quick = {one.key: one for one in store.verify().versions}
    assert quick["a.bin"].reason == "the store has no record of it: only its name was compared"


def test_versions_without_records_or_receipts_are_no_fault(memory_store):
    files = MemoryFiles()
    for data in (b"old", b"new"):
        files.add("assy_X.nc", data)
    report = memory_store(files).verify(full=True)
    assert report.ok
    assert len(report.versions) == 2
    assert report.bytes_read == 6


def test_a_file_put_over_recorded_versions_by_other_means_is_found(memory_store, assembly):
    files = MemoryFiles()
    store = memory_store(files)
    store.upload(assembly, "Lab2026.x")
    files.add("assy_Lab2026_x.nc", b"cut")
    found = {one.version_id: (one.identifier, one.state) for one in store.verify().versions}
    assert found == {"v1": ("Lab2026.x", "whole"), "v2": ("Lab2026.x", "changed")}


def test_a_deleted_name_is_missing_although_its_versions_are_kept(open_lab, s3_client, bucket, tmp_path):
    store = open_lab()
    upload(store, "a.bin", b"a")
    s3_client.delete_object(Bucket=bucket, Key="brain/a.bin")
    report = store.verify()
    assert [(one.state, one.reason) for one in report.versions] == [
        ("missing", "it was deleted, so that it is not listed; its versions are still there")
    ]
    assert states(store.verify("a.bin")) == {"a.bin": "missing"}


def test_replaced_bytes_are_verified_where_they_were_saved(new_bucket, endpoint, tmp_path, s3_client):
    bucket = new_bucket(versioned=False)
    store = open_store(config=write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint}))
    upload(store, "a.bin", b"old")
    Path("file").write_bytes(b"new")
    store.upload_file("file", "a.bin", replace=True)
    for full in (False, True):
        report = store.verify(full=full)
        assert [one.state for one in report.versions] == ["whole", "whole"], report
    saved = s3_client.list_objects_v2(Bucket=bucket, Prefix=".versions/")["Contents"][0]["Key"]
    s3_client.delete_object(Bucket=bucket, Key=saved)
    assert sorted(one.state for one in store.verify().versions) == ["missing", "whole"]


def test_names_mean_what_they_mean_in_loads(lab, run):
    assert storage_plugins.verify("f1.bin", config=lab).ok
    report = json.loads(run("verify", "f1.bin", "nope", "-c", lab, "--json", code=1).stdout)
    assert {one["identifier"]: one["state"] for one in report["versions"]} == {"f1.bin": "whole", "nope": "missing"}
    assert report["counts"]["missing"] == 1


def test_what_is_no_store_of_files_cannot_be_verified():
    sqlite = pytest.importorskip("test_sqlite_example", reason="needs the example")
    assert sqlite
    from storage_plugins._backend.settings import StoreSettings
    from storage_plugins._config.config import StoreEntry
    from storage_plugins._store.store import PlainStore

    plain = PlainStore(StoreEntry("plain", "sqlite", {}, None, Path(), None), StoreSettings(), None)
    with pytest.raises(NotSupported, match="does not support verify"):
        plain.verify()


# requests, memory, interruption


def test_the_number_of_requests_for_each_name_is_constant(open_lab, bucket, endpoint, proxy):
    store = open_lab(endpoint_url=proxy.url)
    requests = []
    for count in (4, 8):
        for number in range(count):
            upload(store, f"f{number}.bin", b"%d" % number)
        proxy.requests.clear()
        assert store.verify().ok
        requests.append(len(proxy.requests))
    assert requests == [4 * 2 + 1, 8 * 2 + 1]


def test_the_number_of_requests_to_osf_for_each_name_is_constant(open_osf, osf):
    store = open_osf()
    requests = []
    for count in (4, 8):
        for number in range(count):
            upload(store, f"f{number}.bin", b"%d" % number)
        osf.requests.clear()
        assert open_osf().verify().ok
        requests.append(len(osf.requests))
    assert all(number <= 2 * count + 10 for number, count in zip(requests, (4, 8), strict=True))


def test_a_large_file_is_verified_in_little_memory(lab):
    upload(open_store(config=lab), "large.bin", bytes(50_000_000))
    tracemalloc.start()
    try:
        report = open_store(config=lab).verify("large.bin", full=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.bytes_read == 50_000_000
    assert peak < 16_000_000


KILLED = """
import sys, os, signal
import storage_plugins

store = storage_plugins.open_store(config=sys.argv[1])
read = []
def progress(name, done, size):
    read.append(name)
    if len(read) > 3:
        os.kill(os.getpid(), int(sys.argv[2]))
store.progress = progress
store.verify(full=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_full_verification_continues_after_an_interruption(lab, number):
    done = subprocess.run([sys.executable, "-c", KILLED, lab, str(int(number))], capture_output=True, text=True)
    assert done.returncode == -number, done.stderr
    report = open_store(config=lab).verify(full=True)
    assert report.ok
    assert report.resumed > 0
    assert report.bytes_read == 100 * (5 - report.resumed)
    again = open_store(config=lab).verify(full=True)  # a complete run is not continued
    assert (again.resumed, again.bytes_read) == (0, 500)


def test_nothing_is_taken_from_the_cache(lab):
    store = open_store(config=lab)
    for number in range(5):
        store.fetch(f"f{number}.bin")
    shutil.rmtree(lab.parent / "lab")
    assert {one.state for one in open_store(config=lab).verify(full=True).versions} == {"missing"}


# on the command line


def test_the_command_reports_what_is_not_whole(lab, run):
    assert run("verify", "-c", lab).stdout == "5 versions: 5 whole.\nTo read every byte: --full\n"
    shown = run("verify", "-c", lab, "-s", "ours", "--against", "lab", code=1).stdout.splitlines()
    assert shown[0] == "missing        f0.bin in ours: there is no f0.bin"
    assert shown[-1] == "5 versions: 5 missing."
    assert "5 whole.\n500 bytes were read and hashed." in run("verify", "-c", lab, "--full").stdout
    shutil.rmtree(lab.parent / "lab" / ".versions" / "f1.bin")
    (lab.parent / "lab" / "f1.bin").unlink()
    first, last = run("verify", "-c", lab, code=1).stdout.splitlines()
    assert first.startswith("missing        f1.bin 1-")
    assert first.endswith("in lab: there is no f1.bin")
    assert last == "5 versions: 4 whole, 1 missing."
