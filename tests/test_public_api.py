"""Public names and their signatures change only together with the list of them, and backends state their API."""

import difflib
import re
from pathlib import Path

import public_api
import pytest

import storage_plugins
from storage_plugins import Backend, StoreSettings
from storage_plugins._backend import discovery

SNAPSHOT = Path(__file__).with_name("public_api.txt")
DOCUMENT = SNAPSHOT.parent.parent / "docs" / "compatibility.md"


def test_no_public_signature_changes_without_an_entry():
    now, listed = public_api.lines(), SNAPSHOT.read_text("utf-8").splitlines()
    changes = "\n".join(difflib.unified_diff(listed, now, "tests/public_api.txt", "the code", lineterm="", n=0))
    assert now == listed, (
        f"Public names have changed:\n{changes}\nRun `python tests/public_api.py > tests/public_api.txt`, and describe "
        "the change in CHANGELOG.md, and in docs/compatibility.md if a backend must follow it."
    )


def test_the_list_has_what_users_and_authors_use():
    listed = SNAPSHOT.read_text("utf-8")
    for name in storage_plugins.__all__:
        assert re.search(rf"^storage_plugins\.{name}\b", listed, re.M), name
    for part in (
        "FileOperations.put(self, key",
        "errors.StorageError",
        "testing.Host.damage(self",
        "atomic.atomic_file(",
    ):
        assert f"storage_plugins.{part}" in listed


@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
def test_the_newest_api_is_documented():
    versions = re.findall(r"^\| (\d+) \|", DOCUMENT.read_text("utf-8"), re.M)
    assert versions == [str(number) for number in range(1, discovery.API + 1)]


class Point:
    """An entry point whose plugin describes a backend with ``api``."""

    group, name, value, module = discovery.GROUP, "future", "future_backend", "future_backend"
    dist = None

    def __init__(self, **api):
        self.api = api

    def load(self):
        api = self.api

        class Plugin:
            @staticmethod
            @storage_plugins.hookimpl
            def storage_plugins_backend():
                return Backend(name="future", settings=StoreSettings, files=str, **api)

        return Plugin


@pytest.mark.parametrize("api", [{}, {"api": 1}, {"api": discovery.API}])
def test_a_backend_for_a_known_api_is_used(api):
    (plugin,) = discovery.discover([Point(**api)])
    assert plugin.problem is None


def test_a_backend_for_a_later_api_is_a_clear_problem():
    (plugin,) = discovery.discover([Point(api=discovery.API + 1)])
    assert plugin.name == "future"
    assert plugin.problem == (
        f"was written for version {discovery.API + 1} of the API of backends, and this storage-plugins has version "
        f"{discovery.API}"
    )
    assert plugin.remedy == "Update storage-plugins: pip install -U storage-plugins."


@pytest.mark.parametrize("api", [0, -1, "1", 1.0, True, None])
def test_an_impossible_api_is_refused(api):
    (plugin,) = discovery.discover([Point(api=api)])
    assert plugin.problem == f"a Backend's api= must be a whole number from 1, got {api!r}"
