"""Which store has what: asked by `where`, and said by errors."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import make_assembly

import storage_plugins
from storage_plugins import AssemblyNotFound, open_store


@pytest.fixture
def stores(tmp_path):
    """Two local stores, a server that is out of reach, and one assembly in the second store."""
    stores = {
        "lab": {"backend": "local", "root": "./lab"},
        "scratch": {"backend": "local", "root": "./scratch"},
        "away": {
            "backend": "s3",
            "bucket": "their-bucket",
            "endpoint_url": "http://127.0.0.1:9",
            "anonymous": "always",
        },
        "all": {"backend": "group", "read": ["lab", "scratch"]},
    }
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores}, sort_keys=False))
    open_store("scratch", config=config).upload(make_assembly(), "Lab2026.x")
    return config


def test_every_store_answers_which_versions_it_has(stores):
    lab, scratch, away = storage_plugins.where("Lab2026.x", config=stores)
    assert (lab.store, lab.state, lab.versions) == ("lab", "missing", ())
    assert (scratch.store, scratch.state, len(scratch.versions)) == ("scratch", "there", 1)
    assert scratch.versions == tuple(open_store("scratch", config=stores).versions("Lab2026.x"))
    assert (away.store, away.state) == ("away", "unreachable")
    assert away.problem
    assert open_store(config=stores).where("Lab2026.x")[:2] == (lab, scratch)


def test_a_store_that_refuses_is_said_to(stores, proxy):
    config = yaml.safe_load(stores.read_text())
    config["stores"]["away"]["endpoint_url"] = proxy.url
    proxy.refuse = lambda method, path: (403, "AccessDenied")
    stores.write_text(yaml.safe_dump(config, sort_keys=False))
    assert storage_plugins.where("Lab2026.x", config=stores)[2].state == "denied"


@pytest.mark.slow
def test_the_command_where(stores, run):
    shown = run("where", "Lab2026.x", "-c", stores).stdout.splitlines()
    assert shown[0].split() == ["store", "version_id", "created", "bytes", "sha1"]
    assert shown[1].startswith("scratch  1-")
    assert shown[2] == "lab: does not have it"
    assert shown[3].startswith("away: out of reach: ")
    assert [one["state"] for one in json.loads(run("where", "Lab2026.x", "-c", stores, "--json").stdout)] == [
        "missing",
        "there",
        "unreachable",
    ]
    run("where", "Lab2026.y", "-c", stores, code=7)
    stores.write_text(yaml.safe_dump({"stores": {"lab": {"backend": "local", "root": "./lab"}}}))
    run("where", "Lab2026.y", "-c", stores, code=3)


SAID = "'lab' does not have it; a copy is in 'scratch': storage-plugins mirror scratch lab "


@pytest.mark.parametrize("pinned", [True, False])
def test_not_found_names_the_store_that_has_it_by_the_receipts(stores, pinned, new_cache):
    receipt = open_store("scratch", config=stores).versions("Lab2026.x")[0]
    new_cache()
    with pytest.raises(AssemblyNotFound) as caught:
        open_store(config=stores).load("Lab2026.x", **({"sha1": receipt.sha1} if pinned else {}))
    assert f"{SAID}Lab2026.x" in str(caught.value)
    with pytest.raises(AssemblyNotFound) as caught:
        open_store(config=stores).load("Lab2026.x", sha1="0" * 40)
    assert "a copy is in" not in str(caught.value)


def test_a_file_with_another_prefix_is_named_so_that_the_command_finds_it(stores, new_cache, run):
    scratch = open_store("scratch", config=stores)
    scratch.upload(make_assembly(), "Lab2026.x", assembly_prefix="ceiling_")
    Path("a.bin").write_bytes(b"a")
    scratch.upload_file("a.bin")
    new_cache()
    lab = open_store(config=stores)
    for call in (lambda: lab.load("Lab2026.x", assembly_prefix="ceiling_"), lambda: lab.fetch("a.bin")):
        with pytest.raises(AssemblyNotFound) as caught:
            call()
        command = str(caught.value).split(SAID[: -len("mirror scratch lab ")])[1].splitlines()[0]
        run(*command.split(), "-c", stores)
        call()


def test_without_receipts_the_command_line_asks_the_other_stores(stores, run):
    stores.write_text(stores.read_text() + "receipts: false\n")
    assert f"{SAID}Lab2026.x" in run("load", "Lab2026.x", "-c", stores, code=3).stderr
    assert "a copy is in" not in run("load", "Lab2026.y", "-c", stores, code=3).stderr


def test_a_copy_elsewhere_is_no_advice_where_one_version_alone_is_missing_or_withdrawing(run, tmp_path):
    stores = {name: {"backend": "local", "root": f"./{name}"} for name in ("lab", "ours", "empty")}
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores, "receipts": False}))
    for name in ("lab", "ours"):
        storage_plugins.open_store(name, config=config).upload(make_assembly(), "Lab2026.x")
    words = ("Lab2026.x", "--version-id", "other", "-c", config)
    assert "mirror" not in run("show", *words, code=3).stderr
    assert "mirror lab empty" in run("show", *words, "-s", "empty", code=3).stderr
    assert "mirror" not in run("withdraw", *words, "-s", "empty", "--reason", "r", "--yes", code=3).stderr
