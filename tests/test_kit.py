"""Our backends pass the test-kit, with nothing that others do not have.

In the quick run the kit runs on memory and a folder; on S3, OSF and SFTP, which are servers, it is slow.
"""

import dataclasses
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import OSF_TOKEN
from memory_backend import PLACES, MemorySettings, files
from memory_files import MemoryFiles
from moto.backends import get_backend
from osf_host import File, FileVersion
from pickle_host import PickleHost

from storage_plugins.testing import BackendTests, Host, StoreTests, UnversionedTests


class MemoryHost(Host):
    across_processes = False

    def __init__(self):
        self.settings = {"backend": "memory", "place": uuid.uuid4().hex}
        self.files = files(MemorySettings(place=self.settings["place"]))

    def get(self, key):
        return [data for _, data in self.files.held.get(key, [])]

    def put(self, key, data):
        self.files.add(key, data)

    def damage(self, key, number, data):
        version, _ = self.files.held[key][number]
        self.files.held[key][number] = dataclasses.replace(version, size=len(data)), data

    def names(self):
        return list(self.files.held)

    def unreachable(self):
        PLACES["away"] = MemoryFiles("memory:away", away=True)
        return {"backend": "memory", "place": "away"}


class TestMemory(BackendTests):
    @pytest.fixture
    def host(self):
        return MemoryHost()


class LocalHost(Host):
    def __init__(self, root: Path):
        self.root = root
        self.settings = {"backend": "local", "root": str(root)}

    def get(self, key):
        return [path.read_bytes() for path in sorted((self.root / ".versions" / key).glob("*/data*"))]

    def put(self, key, data):
        self.root.mkdir(exist_ok=True)
        (self.root / key).write_bytes(data)

    def damage(self, key, number, data):
        path = sorted((self.root / ".versions" / key).glob("*/data*"))[number]
        path.chmod(0o644)
        path.write_bytes(data)

    def names(self):
        return [str(path) for path in self.root.rglob("*") if path.is_file()]


class TestLocal(BackendTests):
    @pytest.fixture
    def host(self, tmp_path):
        return LocalHost(tmp_path / "root")


class FsspecHost(Host):
    across_processes = False

    def __init__(self):
        from fsspec.implementations.memory import MemoryFileSystem

        self.fs, self.root = MemoryFileSystem(), f"/{uuid.uuid4().hex}/brain"
        self.settings = {"backend": "fsspec", "url": f"memory:/{self.root}"}

    def paths(self, key):
        return [path for path in sorted(self.fs.find(f"{self.root}/.versions/{key}")) if "/data" in path]

    def get(self, key):
        return [self.fs.cat_file(path) for path in self.paths(key)]

    def put(self, key, data):
        self.fs.pipe_file(f"{self.root}/{key}", data)

    def damage(self, key, number, data):
        self.fs.pipe_file(self.paths(key)[number], data)

    def names(self):
        return self.fs.find(self.root)


@pytest.mark.slow
class TestFsspec(BackendTests):
    @pytest.fixture
    def host(self):
        pytest.importorskip("fsspec")
        return FsspecHost()


class SftpHost(LocalHost):
    secrets = ("sftp-pa55-w0rd",)

    def __init__(self, sftp, root):
        super().__init__(root)
        self.sftp, self.server = sftp, ("127.0.0.1", sftp.port)
        self.settings = {"backend": "fsspec", "url": sftp.url(root), "secrets": {"password": self.secrets[0]}}

    def put(self, key, data):
        self.root.mkdir(exist_ok=True, parents=True)
        (self.root / key).write_bytes(data)

    def unreachable(self):
        return self.through(1)

    def silent(self, port):
        return self.through(port)

    def through(self, port):
        return {**self.settings, "url": f"sftp://127.0.0.1:{port}{self.root}", "host_keys": "any"}

    def denied(self):
        options = {"key_filename": str(self.sftp.stranger), "look_for_keys": False, "allow_agent": False}
        return {**self.settings, "options": options}


@pytest.mark.slow
class TestSftp(BackendTests):
    @pytest.fixture
    def host(self, sftp, tmp_path):
        return SftpHost(sftp, tmp_path / "root")


class S3Host(Host):
    part_size = 8 << 20

    def __init__(self, server, client, bucket):
        self.kind, self.bucket, self.client = server.kind, bucket, client
        self.settings = {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": server.url, "publish_by": "acl"}
        self.secrets = server.owner[1:]
        address = urlsplit(server.url)
        self.server = address.hostname, address.port

    def get(self, key):
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=f"brain/{key}")
        ids = [version["VersionId"] for page in pages for version in page.get("Versions", [])]
        objects = (self.client.get_object(Bucket=self.bucket, Key=f"brain/{key}", VersionId=id_) for id_ in ids[::-1])
        return [object_["Body"].read() for object_ in objects]

    def put(self, key, data):
        self.client.put_object(Bucket=self.bucket, Key=f"brain/{key}", Body=data)

    def damage(self, key, number, data):
        if self.kind != "moto":
            super().damage(key, number, data)
        held = get_backend("s3")["123456789012"]["aws"].buckets[self.bucket].keys.getlist(f"brain/{key}")[number]
        held.value = data

    def names(self):
        listed = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [each["Key"] for each in [*listed, *uploads]]

    def unreachable(self):
        return self.silent(1)

    def silent(self, port):
        return self.through(port)

    def through(self, port):
        return {**self.settings, "endpoint_url": f"http://127.0.0.1:{port}"}

    def denied(self):
        return {**self.settings, "anonymous": "always"}


@pytest.mark.slow
class TestS3(BackendTests):
    examples, steps = 3, 8
    huge, memory = 192 << 20, 128 << 20  # parts of 8 MiB, several at a time

    @pytest.fixture
    def host(self, s3_server, s3_client, bucket):
        return S3Host(s3_server, s3_client, bucket)

    @pytest.mark.parametrize("test", ["listings", "histories"])
    def test_full_pages_are_complete(self, test, lab, host, s3_server, monkeypatch):
        if s3_server.kind != "moto":
            pytest.skip("pages of a thousand entries are tested by the long listing")
        host.page_size = 5
        monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")
        getattr(super(), f"test_{test}_of_full_pages_are_complete")(lab, host)

    def test_simultaneous_uploads_from_threads_get_the_ids_of_their_own_bytes(self, lab, s3_server):
        if s3_server.kind == "moto":
            pytest.skip("moto loses versions that are put at the same moment; see STORAGE_PLUGINS_TEST_S3")
        super().test_simultaneous_uploads_from_threads_get_the_ids_of_their_own_bytes(lab)

    def test_listings_without_read_access_are_refused(self, lab, host, s3_server):
        if s3_server.kind == "moto":
            pytest.skip("moto lets anyone list; see STORAGE_PLUGINS_TEST_S3")
        super().test_listings_without_read_access_are_refused(lab, host)

    def test_publishing_one_of_several_versions_opens_only_that_one(self, lab, s3_server):
        if s3_server.kind == "moto":
            pytest.skip("moto has one ACL for all versions of a key; see STORAGE_PLUGINS_TEST_S3")
        super().test_publishing_one_of_several_versions_opens_only_that_one(lab)


class TestS3WithoutVersions(UnversionedTests):
    @pytest.fixture
    def host(self, s3_server, s3_client, new_bucket):
        return S3Host(s3_server, s3_client, new_bucket(versioned=False))


class OSFHost(Host):
    secrets = (OSF_TOKEN,)
    page_size = 100

    def __init__(self, osf, project):
        self.host, self.project = osf.host, project
        self.settings = {"backend": "osf", "project": project.id, "folder": "brain", "token": OSF_TOKEN}
        self.settings["api_url"] = osf.api_url

    def get(self, key):
        return [version.data for file in self.host.get(self.project, f"brain/{key}") for version in file.versions]

    def put(self, key, data):
        self.host.put(self.project, f"brain/{key}", data)

    def damage(self, key, number, data):
        (file,) = self.host.get(self.project, f"brain/{key}")
        file.versions[number] = Damaged(file.versions[number], data)

    def names(self):
        folder = self.project.root.folder("brain")
        return [child.name for child in folder.children if isinstance(child, File)]

    def unreachable(self):
        return self.silent(1)

    def silent(self, port):
        return {**self.settings, "api_url": f"http://127.0.0.1:{port}/v2/"}

    def denied(self):
        self.host.tokens["a-strangers-token"] = "a stranger"
        return {**self.settings, "token": "a-strangers-token"}


class Damaged(FileVersion):
    """OSF goes on telling the hashes of what was uploaded."""

    def __init__(self, version, data):
        super().__init__(version.number, data, version.created)
        object.__setattr__(self, "of_upload", version.hashes)

    @property
    def hashes(self):
        return self.of_upload


@pytest.mark.slow
class TestOSF(BackendTests):
    @pytest.fixture
    def host(self, osf, project):
        return OSFHost(osf, project)

    def test_version_ids_are_not_used_again_after_discard(self, lab):
        pytest.skip("OSF numbers the versions of each new file from 1; only check discards, and only its own files")


class TestStoreThatHasNoFiles(StoreTests):
    @pytest.fixture
    def host(self, tmp_path):
        return PickleHost(tmp_path / "root")
