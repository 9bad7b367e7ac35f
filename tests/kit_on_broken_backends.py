"""The kit's classes for a small right backend and for each broken one, run by test_kit_catches.py."""

import broken_store
import pytest
from broken_backend import MUTATIONS, PAGE, PART
from folder_backend import TOKEN, serve_files
from pickle_host import PickleHost

from storage_plugins.testing import BackendTests, Host, StoreTests, UnversionedTests


class FolderHost(Host):
    secrets = (TOKEN, "a-strangers-token")
    part_size, page_size = PART, PAGE

    def __init__(self, root, **settings):
        self.files = root / "files"
        self.settings = {"backend": "broken", "root": str(root), "token": TOKEN, **settings}

    def get(self, key):
        return [path.read_bytes() for path in sorted((self.files / key).glob("*/data"))]

    def put(self, key, data):
        (self.files / key / "000001").mkdir(parents=True)
        (self.files / key / "000001" / "data").write_bytes(data)

    def damage(self, key, number, data):
        sorted((self.files / key).glob("*/data"))[number].write_bytes(data)

    def names(self):
        return [str(path) for path in self.files.parent.rglob("*") if path.is_file()]

    def unreachable(self):
        return {**self.settings, "host": "closed"}

    def silent(self, port):
        return {**self.settings, "port": port}

    @property
    def server(self):
        return "127.0.0.1", serve_files()

    def through(self, port):
        return {**self.settings, "served_at": port}

    def denied(self):
        return {**self.settings, "token": "a-strangers-token"}


class TestHealthy(BackendTests):
    @pytest.fixture
    def host(self, tmp_path):
        return FolderHost(tmp_path / "root")


class TestHealthyWithoutVersions(UnversionedTests):
    @pytest.fixture
    def host(self, tmp_path):
        return FolderHost(tmp_path / "root", versions=False)


class Broken(BackendTests):
    mutation: str
    shortest = False

    @pytest.fixture
    def host(self, tmp_path):
        versions = MUTATIONS[self.mutation].versions
        return FolderHost(tmp_path / "root", mutation=self.mutation, versions=versions)


class TestHealthyStore(StoreTests):
    @pytest.fixture
    def host(self, tmp_path):
        return PickleHost(tmp_path / "root", "broken-store")


class BrokenStore(StoreTests):
    mutation: str

    @pytest.fixture
    def host(self, tmp_path):
        return PickleHost(tmp_path / "root", "broken-store", mutation=self.mutation)


for name in broken_store.MUTATIONS:
    globals()[f"Test{name}"] = type(f"Test{name}", (BrokenStore,), {"mutation": name})
for name in MUTATIONS:
    globals()[f"Test{name}"] = type(f"Test{name}", (Broken,), {"mutation": name})
