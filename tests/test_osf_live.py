"""A handful of tests on OSF itself, for who asks for them by the variables below; see CONTRIBUTING.md.

They write to one private project, in a new folder of it, and delete that folder in the end and nothing else.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import xarray as xr
from conftest import OSF_TOKEN, make_assembly, write_yaml

import storage_plugins
from storage_plugins import AccessDenied, AssemblyNotFound, IntegrityError
from storage_plugins._copies.cache import Cache
from storage_plugins._store.file_store import FileStore

TOKEN, PROJECT = os.environ.get("OSF_TEST_TOKEN"), os.environ.get("OSF_TEST_PROJECT")
API = os.environ.get("OSF_TEST_API_URL", "https://api.osf.io/v2/")
live = pytest.mark.skipif(not (TOKEN and PROJECT), reason="OSF_TEST_TOKEN and OSF_TEST_PROJECT are not set")
FOLDER = f"storage-plugins-test-{uuid.uuid4().hex[:12]}"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def folder() -> Iterator[str]:
    """The name of a folder that is not there yet; what the tests made of it is deleted in the end."""
    yield FOLDER
    listing = requests.get(
        f"{API}nodes/{PROJECT}/files/osfstorage/", {"filter[name]": FOLDER}, headers=AUTHORIZED, timeout=60
    )
    for row in listing.json()["data"]:
        attributes = row["attributes"]
        if (attributes["kind"], attributes["name"]) == ("folder", FOLDER):
            requests.delete(row["links"]["delete"], headers=AUTHORIZED, timeout=60).raise_for_status()


@pytest.fixture
def open_live(tmp_path: Path, folder: str) -> Callable[..., FileStore]:
    """Open the store of that folder, with receipts or as on a new machine, for who has the token or for anybody."""

    def open_live(receipts: bool = True, token: str | None = TOKEN) -> FileStore:
        place = {"backend": "osf", "project": PROJECT, "folder": folder, "api_url": API}
        if token is not None:
            place["token"] = token
        store = storage_plugins.open_store(config=write_yaml(tmp_path, place, receipts=receipts))
        cache = tmp_path / f"cache-{uuid.uuid4().hex}"
        store.cache = Cache([cache])
        return store

    return open_live


@live
def test_versions_are_kept_and_load_by_every_pin(open_live):
    first, second = (open_live().upload(make_assembly(seed), "Live.rates") for seed in (1, 2))
    assert [first.version_id, second.version_id] == ["1", "2"]
    assert open_live().upload(make_assembly(2), "Live.rates") == second
    for receipts in (True, False):
        for seed, receipt in enumerate((first, second), 1):
            for pin in (
                {"sha1": receipt.sha1},
                {"sha256": receipt.sha256},
                {"version_id": receipt.version_id},
                {"version_id": "of-another-host", "sha1": receipt.sha1},
            ):
                xr.testing.assert_identical(open_live(receipts).load("Live.rates", **pin), make_assembly(seed))
        xr.testing.assert_identical(open_live(receipts).load("Live.rates"), make_assembly(2))
    versions = open_live().versions("Live.rates")
    assert [(v.version_id, v.sha1, v.sha256, v.size) for v in versions] == [
        (r.version_id, r.sha1, r.sha256, r.size) for r in (second, first)
    ]
    with pytest.raises(IntegrityError):
        open_live().load("Live.rates", sha1="0" * 40)


@live
def test_what_is_there_is_listed_and_the_rest_is_not_found(open_live, tmp_path):
    (tmp_path / "stimuli.csv").write_text("a,b\n")
    receipt = open_live().upload_file(tmp_path / "stimuli.csv")
    open_live().upload(make_assembly(3), "Live.listed-1.0")
    store = open_live(receipts=False)
    assert "Live.listed-1.0" in store.identifiers()
    assert store.file_names() == ["stimuli.csv"]
    assert store.fetch("stimuli.csv", sha1=receipt.sha1).read_text() == "a,b\n"
    for nothing in ({}, {"sha1": "0" * 40}, {"version_id": "7"}):
        with pytest.raises(AssemblyNotFound):
            store.load("Live.nothing", **nothing)


@live
def test_nobody_else_reads_what_is_private(open_live):
    receipt = open_live().upload(make_assembly(4), "Live.private")
    anybody = open_live(receipts=False, token=None)
    for pin in ({}, {"sha1": receipt.sha1}):
        with pytest.raises(AccessDenied):
            anybody.load("Live.private", **pin)
    with pytest.raises(AccessDenied):
        anybody.identifiers()


@pytest.mark.slow
@pytest.mark.skipif(bool(TOKEN and PROJECT), reason="the tests above ran on OSF itself")
def test_these_tests_pass_on_the_stand_in(osf, pytestconfig):
    node = osf.host.node(roles={OSF_TOKEN: "write"})
    osf.host.put(node, "somebody-elses", b"x")
    osf.host.put(node, "storage-plugins-test/somebody-elses", b"x")
    variables = {"OSF_TEST_TOKEN": OSF_TOKEN, "OSF_TEST_PROJECT": node.id, "OSF_TEST_API_URL": osf.api_url}
    warnings = "\n".join(pytestconfig.getini("filterwarnings"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "-p",
        "no:cacheprovider",
        "-o",
        f"filterwarnings={warnings}",
    ]
    done = subprocess.run(
        [*command, __file__],
        env={**os.environ, **variables},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert [child.name for child in node.root.children] == ["somebody-elses", "storage-plugins-test"]
