"""Where a host opens whole places only: nothing is put into a more visible one than asked, nothing opened unseen."""

import pytest
import requests
import xarray as xr
import yaml
from command_line import run_command
from conftest import OSF_TOKEN, make_assembly
from osf_server import Fault

import storage_plugins
from storage_plugins import AccessDenied, ConfigError, NotSupported, QuotaExceeded, StorageError

ADMIN = "PAT-of-an-administrator"


@pytest.fixture(autouse=True)
def administrator(osf, project):
    osf.host.tokens[ADMIN] = "an administrator"
    project.roles["an administrator"] = "admin"


def held(project):
    return [child.name for child in project.root.children]


def uploads(osf):
    return [request for request in osf.requests if request.method in ("PUT", "POST", "PATCH")]


def test_an_upload_refuses_a_public_project_unless_it_is_asked_for(open_osf, osf, project):
    project.public = True
    with pytest.raises(ConfigError, match=r"is public(.|\n)*visibility: public"):
        open_osf().upload(make_assembly(), "X")
    assert uploads(osf) == []
    receipt = open_osf(visibility="public").upload(make_assembly(), "X")
    xr.testing.assert_identical(storage_plugins.load(receipt.uri), make_assembly())


def test_what_is_public_already_is_not_uploaded_again_and_asks_nothing(open_osf, osf, project):
    receipt = open_osf().upload(make_assembly(), "X")
    project.public = True
    assert open_osf().upload(make_assembly(), "X").sha1 == receipt.sha1


def test_an_upload_that_is_to_be_public_says_that_its_project_is_private(open_osf, osf, caplog):
    open_osf(visibility="public").upload(make_assembly(), "X")
    assert "is private until publish_store" in caplog.text


def test_a_mirror_refuses_a_public_project_unless_it_is_asked_for(open_osf, osf, project, open_lab):
    source = open_lab()
    source.upload(make_assembly(), "X")
    project.public = True
    with pytest.raises(ConfigError, match="is public"):
        storage_plugins.mirror(source, open_osf())
    assert held(project) == []
    assert storage_plugins.mirror(source, open_osf(visibility="public")).complete
    assert "assy_X.nc" in held(project)


def test_a_token_for_files_alone_learns_as_everybody_does_whether_a_project_is_public(open_osf, osf, project):
    def files_only(request):
        asks = request.origin == "api" and request.path == f"/v2/nodes/{project.id}/"
        return Fault(answer=(403, {}, b'{"errors": [{"detail": "no"}]}')) if asks and request.token else None

    osf.fault = files_only
    open_osf().upload(make_assembly(), "X")
    project.public = True
    with pytest.raises(ConfigError, match="is public"):
        open_osf().upload(make_assembly(1), "X")
    open_osf(visibility="public").upload(make_assembly(1), "X")


def test_whether_a_project_is_public_is_asked_once_a_minute(open_osf, osf, project):
    store = open_osf()
    for seed in range(3):
        store.upload(make_assembly(seed), "X")
    assert sum(request.path == f"/v2/nodes/{project.id}/" for request in osf.requests) == 1


def test_one_assembly_is_not_published_with_all_that_is_beside_it(open_osf, osf, project):
    osf.host.put(project, "salaries.xlsx", b"secret")
    osf.host.put(project, "raw/patient.dat", b"secret")
    store = open_osf(token=ADMIN)
    store.upload(make_assembly(), "X")
    osf.requests.clear()
    with pytest.raises(NotSupported) as told:
        store.publish("X")
    for word in ("X alone cannot be published", "'A project'", "the 2 files", "raw/", "publish_store"):
        assert word in str(told.value)
    assert not project.public
    assert uploads(osf) == []


@pytest.mark.parametrize("folder", ["", "brain"])
@pytest.mark.parametrize("confirm", ["", "yes", "osf:other", "SAME"])
def test_the_project_is_opened_only_by_its_address(open_osf, osf, project, confirm, folder):
    osf.host.put(project, "salaries.xlsx", b"secret")
    store = open_osf(token=ADMIN, folder=folder)
    receipt = store.upload(make_assembly(), "X")
    if confirm != "SAME":
        with pytest.raises(StorageError, match=r"Nothing was changed(.|\n)*confirm") as told:
            store.publish_store(confirm=confirm)
        assert store.address in str(told.value)
        assert folder == "" or "salaries.xlsx" in str(told.value)
        assert not project.public
        return
    store.publish_store(confirm=store.address)
    assert project.public
    assert requests.get(f"{osf.api_url}nodes/{project.id}/", timeout=10).ok
    xr.testing.assert_identical(open_osf(token=None, folder=folder).load("X", sha1=receipt.sha1), make_assembly())
    store.publish_store(confirm=store.address)  # and again, nothing more to do
    published = store.publish("X")
    xr.testing.assert_identical(storage_plugins.load(published.uri), make_assembly())
    assert "anyone can read" in store.promises()
    with pytest.raises(NotSupported, match="alone cannot be made private"):
        store.unpublish("X")


def test_only_administrators_open_a_project(open_osf, project):
    store = open_osf()
    store.upload(make_assembly(), "X")
    with pytest.raises(AccessDenied, match="administrator"):
        store.publish_store(confirm=store.address)
    assert not project.public


def test_a_project_that_osf_refuses_to_open_says_why(open_osf, osf, project):
    store = open_osf(token=ADMIN)
    answer = (400, {}, b'{"errors": [{"detail": "This project exceeds private project storage limits."}]}')
    osf.fault = lambda request: Fault(answer=answer) if request.method == "PATCH" else None
    with pytest.raises(StorageError, match="exceeds private project storage"):
        store.publish_store(confirm=store.address)


def test_an_opened_project_that_readers_still_cannot_read_is_told(open_osf, osf, project):
    store = open_osf(token=ADMIN)
    store.upload(make_assembly(), "X")
    osf.fault = lambda request: Fault(answer=(200, {}, b"{}")) if request.method == "PATCH" else None
    with pytest.raises(AccessDenied, match="still cannot read"):
        store.publish_store(confirm=store.address)


def test_stores_of_single_files_are_not_opened_as_a_whole(open_lab, bucket, endpoint):
    with pytest.raises(NotSupported):
        open_lab().publish_store(confirm="x")
    s3 = {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint}
    store = storage_plugins.open_store(config={"stores": {"a": s3}})
    with pytest.raises(NotSupported, match="file by file"):
        store.publish_store(confirm=store.address)


def test_a_project_is_opened_by_command_line(tmp_path, osf, project, monkeypatch):
    monkeypatch.setenv("OSF_TOKEN", ADMIN)
    entry = {"backend": "osf", "project": project.id, "token": "${OSF_TOKEN}", "api_url": osf.api_url}
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"stores": {"ours": entry}}))
    address = storage_plugins.open_store(config=config).address

    def run(*options):
        return run_command("publish-store", "-s", "ours", "-c", config, *options)

    refused = run()
    assert refused.returncode not in (0, 2)
    assert f"--confirm {address}" in refused.stderr
    assert not project.public
    done = run("--confirm", address)
    assert done.returncode == 0, done.stderr
    assert address in done.stdout
    assert project.public


def test_a_full_project_refuses_a_large_file_before_it_is_sent(open_osf, osf, project, tmp_path):
    project.quota, project.counted = 1000, 2000
    (tmp_path / "small.bin").write_bytes(b"x")
    (tmp_path / "large.bin").write_bytes(bytes(5 << 20))
    with pytest.raises(QuotaExceeded, match=r"over its quota \(2000 bytes\)"):
        open_osf().upload_file(tmp_path / "large.bin")
    assert uploads(osf) == []
    with pytest.raises(QuotaExceeded):
        open_osf().upload_file(tmp_path / "small.bin")  # OSF says so itself
    project.quota = 10**9
    open_osf().upload_file(tmp_path / "large.bin")


def test_a_quota_that_may_not_be_seen_stops_nothing(open_osf, osf, tmp_path):
    (tmp_path / "large.bin").write_bytes(bytes(5 << 20))
    asks = "/storage/"
    osf.fault = lambda request: Fault(answer=(403, {}, b"{}")) if request.path.endswith(asks) else None
    open_osf().upload_file(tmp_path / "large.bin")


@pytest.fixture
def stores(osf, project):
    """A group of a public project and a private one, to which uploads go."""
    public = osf.host.node(roles={OSF_TOKEN: "write"}, public=True)
    common = {"backend": "osf", "token": OSF_TOKEN, "api_url": osf.api_url}
    return {
        "public": {**common, "project": public.id, "visibility": "public"},
        "private": {**common, "project": project.id},
        "all": {"backend": "group", "read": ["public", "private"], "write": "private"},
    }


@pytest.fixture
def group(stores, osf):
    return storage_plugins.open_store("all", config={"stores": stores}), osf.host.nodes[stores["public"]["project"]]


def test_publishing_through_a_group_copies_into_its_public_member(group, osf, project):
    store, public = group
    store.upload(make_assembly(1), "X")
    receipt = store.upload(make_assembly(2), "X")
    store.upload(make_assembly(3), "secret")
    published = store.publish("X")
    assert published.sha1 == receipt.sha1
    xr.testing.assert_identical(storage_plugins.load(published.uri), make_assembly(2))
    assert not project.public
    assert [name for name in held(public) if name.endswith(".nc")] == ["assy_X.nc"]
    assert [version.data for version in osf.host.get(public, "assy_X.nc")[0].versions] == [
        osf.host.get(project, "assy_X.nc")[0].versions[1].data
    ]
    assert store.publish("X").version_id == published.version_id


def test_an_older_version_is_published_through_a_group_by_its_id(group):
    store, _ = group
    first = store.upload(make_assembly(1), "X")
    store.upload(make_assembly(2), "X")
    newer = store.publish("X")  # version 1 there, of other bytes
    assert (newer.version_id, first.version_id) == ("1", "1")
    assert store.publish("X", version_id="1").sha1 == first.sha1


def test_what_is_published_through_a_group_is_the_newest_whatever_receipts_say(tmp_path, stores, group):
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"stores": stores}))
    storage_plugins.open_store("all", config=config).upload(make_assembly(1), "X")
    newest = group[0].upload(make_assembly(2), "X")  # on another machine
    assert storage_plugins.open_store("all", config=config).publish("X").sha1 == newest.sha1


def test_a_group_without_a_public_member_publishes_where_it_uploads(tmp_path, osf, project):
    entry = {"backend": "osf", "token": OSF_TOKEN, "api_url": osf.api_url, "project": project.id}
    stores = {"private": entry, "all": {"backend": "group", "read": ["private"], "write": "private"}}
    store = storage_plugins.open_store("all", config={"stores": stores})
    store.upload(make_assembly(), "X")
    with pytest.raises(NotSupported, match="alone cannot be published"):
        store.publish("X")
