"""The switch: a bucket mirrored to OSF, one line of YAML changed, and the same script loads all by its old pins."""

import dataclasses
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import xarray as xr
import yaml
from audited import Project
from children import run_python
from conftest import OSF_TOKEN, make_assembly
from test_examples_and_docs import DATA, GUIDE, PROJECT, needs_checkout, needs_data

import storage_plugins
from storage_plugins import AccessDenied, mirror, open_store
from storage_plugins._copies.cache import Cache

SCRIPT = """
import hashlib, json, sys
import storage_plugins

wanted, pinned_by = json.load(open(sys.argv[1])), sys.argv[2:]
store = storage_plugins.open_store()
for name, prefix, pins in wanted:
    pin = {field: pins[field] for field in pinned_by}
    if prefix is None:
        sha1 = hashlib.sha1(store.fetch(name, **pin).read_bytes()).hexdigest()
    else:
        sha1 = hashlib.sha1(store.load_file(name, assembly_prefix=prefix, **pin).read_bytes()).hexdigest()
        assert store.load(name, assembly_prefix=prefix, sha1=sha1).size
    print(prefix, name, sha1)
"""
PINS = {"sha1": ["sha1"], "version id and sha1": ["version_id", "sha1"], "nothing": []}
# requests of a load in the root of a project, as docs/stores.md has them; by pin, and whether there are receipts
BUDGET = {
    ("sha1", True): 3,
    ("sha1", False): 7,  # one to be sure of the numbers of versions that were uploaded shortly after each other
    ("version id and sha1", True): 3,
    ("version id and sha1", False): 7,
    ("nothing", True): 5,  # two of them to see whether there is a newer version than the receipt's
    ("nothing", False): 5,
}


def run_script(folder: Path, pinned_by: list[str], cache: Path) -> list[str]:
    """Run the same script on the pins beside it, on a machine that has nothing yet; return what it printed."""
    (folder / "analysis.py").write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STORAGE_PLUGINS_CACHE", str(cache))
        done = run_python(folder / "analysis.py", "pins.json", *pinned_by)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def real_uploads(store: storage_plugins.Store, folder: Path) -> list[tuple[str, str | None, storage_plugins.Receipt]]:
    """Upload real assemblies, ceilings of three levels and a stimulus set; return name, prefix and receipt of each."""
    sys.path.insert(0, str(PROJECT / "examples"))
    try:
        from natural_stories import reading_times
    finally:
        sys.path.pop(0)
    times, name = reading_times(DATA / "naturalstories_wordinfo.tsv"), "Futrell2018.natural-stories"
    made: list[tuple[str, str | None, storage_plugins.Receipt]] = []
    for version in (times[:1000], times):  # the first one was replaced, and is pinned somewhere all the same
        made.append((name, "assy_", store.upload(version, name)))
    for path in sorted(DATA.glob("*.nc")):
        made.append((path.stem, "assy_", store.upload(path, path.stem)))
    for seed, prefix in enumerate(("ceiling_", "ceiling_raw_", "ceiling_raw_raw_")):
        made.append((name, prefix, store.upload(make_assembly(seed), name, assembly_prefix=prefix)))
    table, images = folder / "stimulus_Futrell2018.csv", folder / "stimulus_Futrell2018.zip"
    table.write_text("stimulus_id,sentence\n1,If you were to journey\n")
    with zipfile.ZipFile(images, "w") as file:
        file.writestr(zipfile.ZipInfo("1.txt"), "If you were to journey")
    for path in (table, images):
        made.append((path.name, None, store.upload_file(path)))
    return made


@needs_data
@needs_checkout
@pytest.mark.parametrize(
    "receipts",
    [
        pytest.param(True, id="with receipts", marks=pytest.mark.slow),
        pytest.param(False, id="without receipts", marks=pytest.mark.slow),
    ],
)
def test_a_lab_moves_to_osf_and_every_old_pin_still_loads(
    tmp_path, bucket, endpoint, osf, project, receipts, monkeypatch
):
    monkeypatch.setenv("OSF_TOKEN", OSF_TOKEN)
    stores = {
        "lab": {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": endpoint},
        "ours": {"backend": "osf", "project": project.id, "token": "${OSF_TOKEN}", "api_url": osf.api_url},
        "here": {"backend": "local", "root": "./here"},
    }
    config = tmp_path / "storage.yaml"
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(config))  # the user's word that it may send credentials
    config.write_text(yaml.safe_dump({"default": "lab", "receipts": receipts, "stores": stores}))
    made = real_uploads(open_store("lab", config=config), tmp_path)
    assert [receipt.sha1 for *_, receipt in real_uploads(open_store("here", config=config), tmp_path)] == [
        receipt.sha1 for *_, receipt in made
    ]
    pins = [(name, prefix, {"version_id": it.version_id, "sha1": it.sha1}) for name, prefix, it in made]
    (tmp_path / "pins.json").write_text(json.dumps(pins))
    expected = [f"{prefix} {name} {receipt.sha1}" for name, prefix, receipt in made]
    of_newest = {line.rpartition(" ")[0]: line for line in expected}
    without_pin = [of_newest[line.rpartition(" ")[0]] for line in expected]

    report = mirror("lab", "ours", config=config)
    assert report.complete
    assert len(report.copied) == len(of_newest)
    assert report.bytes_sent == sum(receipt.size for *_, receipt in made)
    print(f"\nmirror: {len(report.copied)} files, {report.bytes_sent} bytes, {len(osf.requests)} requests to OSF")

    for default in ("lab", "ours"):
        config.write_text(config.read_text().replace("default: lab", f"default: {default}"))
        for pinned_by, fields in PINS.items():
            osf.requests.clear()
            loaded = run_script(tmp_path, fields, tmp_path / f"{default} {pinned_by}")
            assert loaded == (expected if fields else without_pin)
            loads = requests_of_each_download(osf)
            print(f"{default}, by {pinned_by}: {sum(loads)} requests to OSF, of each download: {loads}")
            assert len(loads) == (0 if default == "lab" else len(set(loaded)))
            assert all(count <= BUDGET[pinned_by, receipts] for count in loads)


def requests_of_each_download(osf) -> list[int]:
    """Return the numbers of requests of one download after the other; each ends at the host of the bytes.

    After a load without a pin, two more look whether there is a newer version than the receipt's.
    """
    ends = [number for number, request in enumerate(osf.requests, 1) if request.origin == "storage"]
    assert not ends or len(osf.requests) - ends[-1] <= 2
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.slow
@needs_checkout
def test_the_check_of_the_guide_fails_for_an_empty_a_half_and_a_damaged_project(
    tmp_path, bucket, endpoint, osf, project, run, monkeypatch
):
    """The command as the guide has it, run before the mirror, after half of it, and after bytes were damaged."""
    (command,) = re.findall(r"^storage-plugins (verify .*)$", GUIDE.read_text("utf-8"), re.M)
    monkeypatch.setenv("OSF_TOKEN", OSF_TOKEN)
    monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(tmp_path / "empty"))
    stores = {
        "lab": {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": endpoint},
        "ours": {"backend": "osf", "project": project.id, "token": "${OSF_TOKEN}", "api_url": osf.api_url},
    }
    config = tmp_path / "storage.yaml"
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(config))
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores}))
    lab = open_store("lab")
    receipts = [lab.upload(make_assembly(seed), name) for seed, name in enumerate(("Lab.a", "Lab.a", "Lab.b"))]
    lab.load("Lab.a")  # it is in the cache of this computer

    assert "3 versions: 3 missing." in run(*command.split(), code=1).stdout
    mirror("lab", "ours", ["Lab.a"])
    assert "3 versions: 2 whole, 1 missing." in run(*command.split(), code=1).stdout
    mirror("lab", "ours")
    assert "3 versions: 3 whole." in run(*command.split()).stdout
    damaged = Project(osf, project, folder="")
    damaged.damaged(receipts[2])
    assert "3 versions: 2 whole, 1 damaged." in run(*command.split(), code=1).stdout


# a bucket with public and private parts, moved into several projects

PUBLIC, PRIVATE = ("Lab2026.open-1", "Lab2026.open-2"), ("Lab2026.closed-1", "Lab2026.closed-2", "Lab2026.closed-3")
TOKENS = {name: f"PAT-0f-{name}" for name in ("friend", "guest", "stranger")}
WHO = {
    # a token, and which of the three projects it opens
    "the owner": (OSF_TOKEN, 3),
    "a co-worker": (TOKENS["friend"], 3),
    "a co-worker of the first project only": (TOKENS["guest"], 2),
    "a stranger with a token": (TOKENS["stranger"], 1),
    "somebody whose token was revoked": ("PAT-rev0ked", 1),
    "a reader without a token": (None, 1),
}


@dataclasses.dataclass
class Moved:
    """What was moved, where it lies now, and where its storage.yaml is.

    Attributes:
        before: the receipts from the bucket, by identifier.
        project_of: 1, 2 or 3 for each identifier: the public one, the private one, the component.
    """

    config: Path
    before: dict[str, storage_plugins.Receipt]
    project_of: dict[str, int]


@pytest.fixture
def moved(tmp_path, bucket, endpoint, osf, home, monkeypatch) -> Moved:
    """Move a bucket to a public project, a private one, and a component for what does not fit into that."""
    monkeypatch.setenv("OSF_TOKEN", OSF_TOKEN)
    roles = {OSF_TOKEN: "write", TOKENS["friend"]: "read"}
    osf.host.node(roles={TOKENS["stranger"]: "write"})  # of another lab
    nodes = {
        "open": osf.host.node(roles={OSF_TOKEN: "write"}),
        "closed": osf.host.node(roles={**roles, TOKENS["guest"]: "read"}),
        "closed-2": osf.host.node(roles=roles),
    }
    place = {"backend": "osf", "token": "${OSF_TOKEN}", "api_url": osf.api_url, "contact": "data@lab.example"}
    stores = {
        "lab": {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint, "publish_by": "acl"},
        **{name: {**place, "project": node.id} for name, node in nodes.items()},
        "ours": {"backend": "group", "read": list(nodes), "write": "closed-2"},
    }
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"default": "lab", "stores": stores}))
    lab = open_store(config=config)
    lab.cache = Cache([tmp_path / "cache of the lab"])
    before = {name: lab.upload(make_assembly(seed), name) for seed, name in enumerate(PUBLIC + PRIVATE)}
    for name in PUBLIC:
        lab.publish(name)

    assert mirror("lab", "open", PUBLIC, config=config).complete
    nodes["open"].public = True
    nodes["closed"].quota = before[PRIVATE[0]].size  # after one of them there is no room
    full = mirror("lab", "closed", PRIVATE, config=config)
    assert full.copied
    assert full.failed
    assert all("does not fit" in file.reason for file in full.failed)
    assert mirror("lab", "closed-2", [file.key for file in full.failed], config=config).complete
    config.write_text(config.read_text().replace("default: lab", "default: ours"))
    there = {file.key for file in full.copied}
    project_of = {name: 2 if before[name].key in there else 3 for name in PRIVATE} | dict.fromkeys(PUBLIC, 1)
    return Moved(config, before, project_of)


@pytest.mark.slow
@pytest.mark.parametrize("receipts", [True, False], ids=["with receipts", "without receipts"])
def test_everybody_shares_one_yaml_and_loads_what_their_token_opens(moved, receipts, new_cache, monkeypatch, osf):
    if not receipts:
        moved.config.write_text(moved.config.read_text() + "receipts: false\n")
    for who, (token, opens) in WHO.items():
        monkeypatch.delenv("OSF_TOKEN") if token is None else monkeypatch.setenv("OSF_TOKEN", token)
        readable = [name for name in moved.before if opens >= moved.project_of[name]]
        for fields in PINS.values():
            new_cache()
            osf.requests.clear()
            store = open_store(config=moved.config)
            for seed, (name, receipt) in enumerate(moved.before.items()):
                pin = {field: getattr(receipt, field) for field in fields}
                if name in readable:
                    xr.testing.assert_identical(store.load(name, **pin), make_assembly(seed))
                else:
                    with pytest.raises(AccessDenied, match=r"(?s)private or missing.*data@lab\.example"):
                        store.load(name, **pin)
            # OSF counts the requests without a token: one to each project that is closed or whose host is not known
            asked = [r.path.split("/")[3] for r in osf.requests if r.origin == "api" and r.token is None]
            assert max((asked.count(project) for project in asked), default=0) <= 2, who
        assert open_store(config=moved.config).identifiers() == sorted(readable), who


def test_a_reader_gets_one_clear_refusal_on_the_command_line(moved, new_cache, monkeypatch):
    monkeypatch.delenv("OSF_TOKEN")
    new_cache()
    pin = ["--sha1", moved.before[PRIVATE[0]].sha1]
    command = [sys.executable, "-m", "storage_plugins", "load", PRIVATE[0], *pin, "-c", str(moved.config)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 4
    refusal, hint = done.stderr.splitlines()
    assert "is private or missing" in refusal
    assert "OSF_TOKEN" in hint
    assert "is not set. Ask data@lab.example for access." in hint


def test_a_new_version_of_what_is_public_is_private_and_hides_no_other(moved, new_cache, monkeypatch):
    store = open_store(config=moved.config)
    new = store.upload(make_assembly(7), PUBLIC[0])
    assert new.store == "closed-2"
    for token in (TOKENS["friend"], None):
        monkeypatch.delenv("OSF_TOKEN") if token is None else monkeypatch.setenv("OSF_TOKEN", token)
        new_cache()
        store = open_store(config=moved.config)
        xr.testing.assert_identical(store.load(PUBLIC[0], sha1=moved.before[PUBLIC[0]].sha1), make_assembly(0))
        for pin in ({"sha1": new.sha1}, {}):
            if token is not None:
                xr.testing.assert_identical(store.load(PUBLIC[0], **pin), make_assembly(7))
            else:
                with pytest.raises(AccessDenied):
                    store.load(PUBLIC[0], **pin)
