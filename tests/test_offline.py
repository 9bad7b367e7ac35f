"""Working without a network on purpose, and bringing what is needed beforehand."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
import yaml
from conftest import make_assembly, write_yaml

import storage_plugins
from storage_plugins import AssemblyNotFound, StoreUnavailable, open_store
from storage_plugins._copies.receipts import ImportedPin, Receipts


@pytest.fixture
def away(tmp_path, bucket, proxy, new_cache):
    """A store on a server, with two versions of an assembly and another file, and an empty cache."""
    config = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": proxy.url})
    store = open_store(config=config)
    for seed in (1, 2):
        store.upload(make_assembly(seed), "Lab2026.x")
    Path("a.bin").write_bytes(b"a")
    store.upload_file("a.bin")
    new_cache()
    return config


def test_offline_nothing_is_asked_of_a_server_and_errors_name_the_variable(away, proxy, monkeypatch, run):
    proxy.requests.clear()
    monkeypatch.setenv("STORAGE_PLUGINS_OFFLINE", "1")
    store = open_store(config=away)
    version = Receipts(away.parent / "receipts").of("assy_Lab2026_x.nc")[0]
    for attempt in (
        lambda: store.load("Lab2026.x"),
        lambda: store.load("Lab2026.x", newest=True),
        lambda: store.load("Lab2026.x", sha1=version.sha1),
        lambda: store.load("Lab2026.x", version_id="other"),
        lambda: storage_plugins.load(version.uri, config=away),
        lambda: store.upload(make_assembly(3), "Lab2026.y"),
        lambda: store.fetch("a.bin"),
        store.identifiers,
        lambda: store.versions("Lab2026.x"),
        lambda: store.publish("Lab2026.x"),
    ):
        with pytest.raises(StoreUnavailable, match="STORAGE_PLUGINS_OFFLINE is set"):
            attempt()
    assert "STORAGE_PLUGINS_OFFLINE" in store.promises()
    assert {one.state for one in store.verify().versions} == {"unreachable"}
    assert "STORAGE_PLUGINS_OFFLINE is set" in run("load", "Lab2026.x", "-c", away, code=7).stderr
    assert proxy.requests == []


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_offline_can_be_switched_off(away, value, monkeypatch):
    monkeypatch.setenv("STORAGE_PLUGINS_OFFLINE", value)
    assert open_store(config=away).identifiers() == ["Lab2026.x"]


def test_offline_what_was_brought_before_loads_without_a_request(away, proxy, monkeypatch, run):
    shown = run("prefetch", "-f", away.parent / "receipts", "-c", away).stdout
    assert shown.startswith("3 files on this computer, ")
    proxy.requests.clear()
    monkeypatch.setenv("STORAGE_PLUGINS_OFFLINE", "1")
    store = open_store(config=away)
    xr.testing.assert_identical(store.load("Lab2026.x"), make_assembly(2))
    for seed, receipt in ((2, 0), (1, 1)):
        pin = Receipts(away.parent / "receipts").of("assy_Lab2026_x.nc")[receipt]
        for given in ({"sha1": pin.sha1}, {"sha256": pin.sha256}, {"version_id": pin.version_id}):
            xr.testing.assert_identical(store.load("Lab2026.x", **given), make_assembly(seed))
        xr.testing.assert_identical(store.load(pin), make_assembly(seed))
        xr.testing.assert_identical(storage_plugins.load(pin.uri, config=away), make_assembly(seed))
    assert store.fetch("a.bin").read_bytes() == b"a"
    assert run("prefetch", "Lab2026.x", "a.bin", "-c", away).stdout.startswith("2 files on this computer")
    assert proxy.requests == []


def test_offline_a_folder_of_this_computer_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("STORAGE_PLUGINS_OFFLINE", "1")
    store = open_store(config=write_yaml(tmp_path, {"backend": "local", "root": "./lab"}))
    store.upload(make_assembly(1), "Lab2026.x")
    xr.testing.assert_identical(store.load("Lab2026.x"), make_assembly(1))


def test_a_file_that_cannot_be_brought_does_not_stop_the_others(away, run):
    done = run("prefetch", "nope", "Lab2026.x", "a.bin", "-c", away, "--json", code=3)
    report = json.loads(done.stdout)
    assert [one["name"] for one in report["fetched"]] == ["Lab2026.x", "a.bin"]
    assert [(one["name"], one["error"]) for one in report["failed"]] == [("nope", "AssemblyNotFound")]
    report = open_store(config=away).prefetch(["nope"])
    assert not report.complete
    assert isinstance(report.failed[0].error, AssemblyNotFound)


def test_prefetch_takes_receipts_and_imported_pins(away, tmp_path):
    receipts = Receipts(away.parent / "receipts")
    pin = receipts.of("assy_Lab2026_x.nc")[1]
    store = open_store(config=away)
    (brought,) = store.prefetch([pin, pin]).fetched
    assert (brought.name, brought.sha256, brought.size) == ("Lab2026.x", pin.sha256, pin.size)
    shutil.rmtree(receipts.folder)
    receipts.keep(ImportedPin(key="assy_Lab2026_x.nc", sha1=pin.sha1, identifier="Lab2026.x"))
    from storage_plugins.cli._main import run

    assert run(["prefetch", "-f", str(receipts.folder), "-c", str(away)]) == 0
    assert run(["prefetch", "-f", str(tmp_path / "none"), "-c", str(away)]) == 3
    assert run(["prefetch", "-c", str(away)]) == 2


def test_each_version_is_brought_from_a_store_that_has_it(tmp_path, run):
    stores = {name: {"backend": "local", "root": f"./{name}"} for name in ("lab", "ours")}
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores}))
    for name in stores:
        open_store(name, config=config).upload(make_assembly(len(name)), f"Lab2026.{name}")
    assert run("prefetch", "-f", tmp_path / "receipts", "-c", config).stdout.startswith("2 files")
    assert run("prefetch", "-f", tmp_path / "receipts", "-c", config, "-s", "lab", code=3)


def test_what_was_withdrawn_is_not_brought(tmp_path, run):
    config = write_yaml(tmp_path, {"backend": "local", "root": "./lab"})
    store = open_store(config=config)
    old, new = [store.upload(make_assembly(seed), "Lab2026.x") for seed in range(2)]
    for left, receipt in ((1, new), (0, old)):
        store.withdraw("Lab2026.x", sha1=receipt.sha1, reason="consent withdrawn", confirm="Lab2026.x")
        done = run("prefetch", "-f", tmp_path / "receipts", "-c", config)
        assert done.stdout.startswith(f"{left} file")


INTERRUPTED = """
import sys
import storage_plugins
print("go", flush=True)
storage_plugins.open_store(config=sys.argv[1]).prefetch(["Lab2026.x", "a.bin"])
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_ends_a_prefetch_and_leaves_no_unfinished_file(away, proxy, tmp_path):
    proxy.stuck = lambda method, path: method == "GET"
    child = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(away)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "go\n"
    while not any(request.startswith("GET") for request in proxy.requests[-3:]):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    proxy.go_on.set()
    assert child.wait(60) != 0
    child.stdout.close()
    cache = Path(os.environ["STORAGE_PLUGINS_CACHE"])
    assert [path for path in cache.rglob("*") if path.name.startswith(".tmp-")] == []
