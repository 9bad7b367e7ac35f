"""Reading from OSF: registrations, view-only links, reasons of refusals, statistics, listings that are none."""

import contextlib
import json

import pytest
import xarray as xr
from conftest import OSF_TOKEN, make_assembly
from osf_answers import HTML
from osf_host import CHECKED_OUT, Folder
from osf_server import Fault

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AssemblyNotFound,
    ConfigError,
    NotSupported,
    RateLimited,
    StorageError,
    StoreUnavailable,
)

KEY = "assy_X.nc"


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """How long the code would have waited; nobody waits."""
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


# registrations


@pytest.fixture
def receipts(open_osf):
    return [open_osf(folder="brain").upload(make_assembly(seed), "X") for seed in (1, 2)]


@pytest.fixture(params=["project", "registration"])
def open_registration(request, osf, project, open_osf, receipts):
    """Open the registration of the project, named as such or found out, as anyone."""
    registration = osf.host.register(project)

    def open_registration(**settings):
        names = {"project": None, "registration": None, request.param: registration.id}
        return open_osf(**{"folder": "brain", "token": None, **names, **settings})

    return open_registration


def test_a_registration_is_read_like_its_project(open_registration, receipts):
    store = open_registration()
    assert store.identifiers() == ["X"]
    assert [(v.version_id, v.sha1) for v in store.versions("X")] == [(r.version_id, r.sha1) for r in reversed(receipts)]
    for seed, receipt in enumerate(receipts, 1):
        for pin in ({"version_id": receipt.version_id}, {"sha1": receipt.sha1}):
            xr.testing.assert_identical(open_registration().load("X", **pin), make_assembly(seed))
    xr.testing.assert_identical(open_registration().load("X"), make_assembly(2))
    assert store.files.place_is_public() is True
    with pytest.raises(AssemblyNotFound):
        store.load("Y")
    assert open_registration(folder="").file_names() == []
    assert open_registration(folder="elsewhere").file_names() == []


def test_a_registration_takes_no_uploads(open_registration, osf, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    store = open_registration(visibility="public", token=OSF_TOKEN)
    for call in (
        lambda: store.upload(make_assembly(3), "X"),
        lambda: store.upload_file(tmp_path / "f"),
        lambda: store.files.discard(KEY),
        lambda: store.files.publish_place(),
    ):
        with pytest.raises(NotSupported):
            call()
    assert {request.method for request in osf.requests if request.origin == "files"} == {"GET", "PUT"}
    assert not [r for r in osf.requests if r.method != "GET" and store.settings.guid in r.path]


def test_a_registration_mirrors_into_another_store(open_registration, tmp_path):
    target = storage_plugins.open_store(config={"stores": {"t": {"backend": "local", "root": str(tmp_path / "t")}}})
    assert storage_plugins.mirror(open_registration(), target).complete
    assert len(target.versions("X")) == 2


def test_a_withdrawn_registration_is_reported_as_gone(open_registration, osf):
    store = open_registration()
    store.identifiers()
    osf.host.nodes[store.settings.guid].deleted = True
    for opened in (store, open_registration()):
        with pytest.raises(ConfigError):
            opened.load("X", newest=True)


@pytest.mark.parametrize("names", [{}, {"project": "abc12", "registration": "xyz34"}])
def test_exactly_one_of_project_and_registration_is_needed(names):
    with pytest.raises(ConfigError, match="one of project and registration"):
        storage_plugins.open_store(config={"stores": {"lab": {"backend": "osf", **names}}})


def test_a_project_that_is_not_there_is_not_taken_for_a_registration(open_osf):
    with pytest.raises(ConfigError, match="no project at"):
        open_osf(project="zzzzz").identifiers()


# view-only links


@pytest.mark.parametrize("anonymous", [False, True])
def test_a_view_only_link_reads_everything_and_writes_nothing(open_osf, osf, project, anonymous, receipts):
    (project.anonymous if anonymous else project.view_only).add("l1nk-k3y")

    def open_link():
        return open_osf(folder="brain", token=None, view_only="l1nk-k3y")

    assert open_link().identifiers() == ["X"]
    assert [version.sha1 for version in open_link().versions("X")] == [receipt.sha1 for receipt in receipts[::-1]]
    xr.testing.assert_identical(open_link().load("X", sha1=receipts[0].sha1), make_assembly(1))
    before = len([request for request in osf.requests if request.method == "PUT"])
    with pytest.raises(NotSupported, match="view-only link"):
        open_link().upload(make_assembly(3), "Y")
    with pytest.raises(NotSupported, match="view-only link"):
        open_link().files.discard(KEY)
    assert len([request for request in osf.requests if request.method == "PUT"]) == before


# refusals


def test_a_file_that_somebody_has_checked_out_is_refused_with_that_reason(open_osf, osf, project):
    store = open_osf()
    store.upload(make_assembly(1), "X")
    (file,) = osf.host.get(project, KEY)
    file.checkout = "a co-worker"
    with pytest.raises(AccessDenied, match="checked out by someone else") as caught:
        store.upload(make_assembly(2), "X")
    assert CHECKED_OUT in str(caught.value)
    assert "private or missing" not in str(caught.value)
    assert "check the file in" in caught.value.hint
    with pytest.raises(AccessDenied):
        store.files.discard(KEY)
    xr.testing.assert_identical(open_osf().load("X"), make_assembly(1))
    file.checkout = None
    assert store.upload(make_assembly(2), "X").version_id == "2"


def test_a_reason_is_shown_without_its_tags(open_osf, osf, project):
    osf.host.tokens["reader"] = "a reader"
    project.roles["a reader"] = "read"
    open_osf().upload(make_assembly(1), "X")
    with pytest.raises(AccessDenied) as caught:
        open_osf(token="reader").upload(make_assembly(2), "X")
    assert "You do not have permission. Please report it to support@osf.io." in str(caught.value)


PAGE = "<!DOCTYPE html>\n<html><head><title>Server Error (500)</title></head><body>Oops</body></html>"


@pytest.mark.parametrize("field", ["response", "message", "message_long", "message_short"])
@pytest.mark.parametrize("text", [PAGE, f"trouble {PAGE}", "<HTML>Oops</HTML>", "<body class='x'>Oops"])
@pytest.mark.parametrize("status", [403, 500])
def test_a_web_page_within_json_is_not_shown(open_osf, osf, field, text, status):
    body = json.dumps({"code": status, field: text}).encode()
    osf.fault = lambda request: Fault(answer=(status, {"Content-Type": "application/json"}, body))
    with pytest.raises(StorageError) as caught:
        open_osf().files.newest("f")
    assert "Oops" not in str(caught.value)
    assert "<" not in str(caught.value)


def test_a_private_project_near_the_public_quota_is_full(open_osf, osf, project, tmp_path):
    (tmp_path / "f").write_bytes(bytes(5 << 20))
    answer = {"data": {"attributes": {"storage_usage": "47000000000", "storage_limit_status": "APPROACHING_PUBLIC"}}}
    osf.fault = lambda request: (
        Fault(answer=(200, {}, json.dumps(answer).encode())) if request.path.endswith("/storage/") else None
    )
    with pytest.raises(storage_plugins.QuotaExceeded, match="47000000000"):
        open_osf().upload_file(tmp_path / "f")


# sizes and statistics


def test_a_newer_longer_version_is_loaded_by_who_knew_the_first(open_osf, osf, project, tmp_path):
    store = open_osf()
    for number, data in enumerate((b"short", b"much longer than that", b"tiny"), 1):
        osf.host.put(project, "f", data)
        assert store.fetch("f", newest=True).read_bytes() == data
        assert store.fetch("f", version_id=f"{number}").read_bytes() == data
        assert store.files.newest("f").size in (None, len(data))


def test_listing_adds_no_download_to_the_owners_statistics(open_osf, osf, project, tmp_path):
    receipts = [open_osf().upload(make_assembly(seed), "X") for seed in (1, 2)]
    project.public = True
    (file,) = osf.host.get(project, KEY)
    anyone = open_osf(token=None, visibility="public")
    assert anyone.identifiers() == ["X"]
    assert len(anyone.versions("X")) == 2
    assert file.downloads == 0
    anyone.load("X", sha1=receipts[0].sha1)
    assert file.downloads == 1
    records = project.root.folder(".storage-plugins").folder("assy_@X").children
    assert [record.downloads for record in records] == [0, 0]


def test_a_mirror_adds_one_download_for_each_version_and_none_for_listing(open_osf, osf, project, tmp_path):
    for name in ("X", "Y"):
        for seed in (1, 2):
            open_osf().upload(make_assembly(seed), name)
    project.public = True
    anyone = open_osf(token=None, visibility="public")
    target = storage_plugins.open_store(config={"stores": {"t": {"backend": "local", "root": str(tmp_path / "t")}}})

    def downloads(folder):
        return {
            child.name: downloads(child) if isinstance(child, Folder) else child.downloads for child in folder.children
        }

    listed = downloads(project.root)
    for _ in range(2):
        assert storage_plugins.mirror(anyone, target).complete
        found = downloads(project.root)
        assert (found.pop("assy_X.nc"), found.pop("assy_Y.nc")) == (2, 2)
        assert found == {".storage-plugins": listed[".storage-plugins"]}
    osf.requests.clear()
    assert storage_plugins.mirror(anyone, target).complete
    assert [request for request in osf.requests if request.origin == "storage" or "versions" in request.query] == []


def test_a_whole_project_is_mirrored_without_a_token_in_few_requests_to_the_api(open_osf, osf, project, tmp_path):
    for number in range(12):
        for data in (b"one", b"two"):
            osf.host.put(project, f"f{number}", data)  # versions so close that their numbers are looked up
    project.public = True
    osf.behaviour.anonymous_requests = 5  # of the 100 in an hour, what others have left
    target = storage_plugins.open_store(config={"stores": {"t": {"backend": "local", "root": str(tmp_path / "t")}}})
    assert storage_plugins.mirror(open_osf(token=None, visibility="public"), target).complete
    assert all(len(target.versions(f"f{number}")) == 2 for number in range(12))
    with pytest.raises(RateLimited) as caught:
        open_osf(token=None, visibility="public").file_names()
    assert caught.value.retry_after == 3600


def test_newest_of_all_needs_two_listings(open_osf, osf, project):
    store = open_osf()
    receipts = [store.upload(make_assembly(seed), name) for seed, name in ((1, "a.b"), (2, "a.b"), (3, "c"))]
    osf.host.put(project, "by-hand.csv", b"x")
    osf.requests.clear()
    newest = dict(open_osf().files.newest_of_all())
    assert len(osf.requests) == 2
    assert {key: (v.version_id, v.identifier, v.sha256) for key, v in newest.items()} == {
        "assy_a_b.nc": ("2", "a.b", receipts[1].sha256),
        "assy_c.nc": ("1", "c", receipts[2].sha256),
        "by-hand.csv": ("1", None, newest["by-hand.csv"].sha256),
    }
    assert dict(open_osf().files.newest_of_all("by")).keys() == {"by-hand.csv"}
    assert list(open_osf(folder="nowhere").files.newest_of_all()) == []


def test_a_project_without_records_costs_few_requests(open_osf, osf, project):
    for number in range(5):
        osf.host.put(project, f"assy_n_{number}.nc", b"by hand")
    store = open_osf()
    store.identifiers()
    osf.requests.clear()
    store.identifiers()
    assert len(osf.requests) == 1  # a listing
    osf.host.put(project, ".storage-plugins/assy_@other/x", b"")
    for opened in (store, open_osf()):
        osf.requests.clear()
        assert len(opened.files.versions("assy_n_1.nc")) == 1
        assert len(osf.requests) <= 3  # the file's versions, the folder, and the folder of records that is new in it


# listings that are none


@pytest.mark.parametrize(
    "answer",
    [
        HTML,
        (200, {"Content-Type": "application/json"}, b""),
        (200, {}, b"{}"),
        (200, {}, b"null"),
        (200, {}, b'{"data": null}'),
        (200, {}, b'{"data": {}}'),
        (200, {}, b'{"data": [{}]}'),
        (200, {}, b'{"data": [null]}'),
        (200, {}, b'{"data": [{"attributes": {"name": "f", "kind": "file"}}]}'),
        (200, {}, b'{"data": ['),
        (204, {}, b""),
    ],
)
@pytest.mark.parametrize("origin", ["api", "files"])
def test_a_listing_that_is_none_is_never_taken_for_an_empty_one(open_osf, osf, project, answer, origin):
    store = open_osf()
    osf.host.put(project, "f", b"x")
    if origin == "files":
        store.file_names()
    osf.fault = lambda request: Fault(answer=answer) if request.origin == origin else None
    for call in (store.file_names, lambda: store.files.newest_of_all(), lambda: store.files.newest("g")):
        with pytest.raises(StorageError) as caught:
            call()
        assert not isinstance(caught.value, AssemblyNotFound)


def test_a_list_of_versions_that_does_not_end_is_an_error(open_osf, osf, project):
    file = osf.host.put(project, "f", b"one")
    osf.host.add_version(file, b"two")
    osf.host.add_version(file, b"three", number=2)
    page = {
        "data": [{"id": "1", "attributes": {"size": 3, "date_created": "2026-01-01T00:00:00Z"}}],
        "links": {"next": f"{osf.api_url}files/{file.id}/versions/?page=2"},
        "meta": {},
    }
    osf.fault = lambda request: (
        Fault(answer=(200, {}, json.dumps(page).encode())) if request.path.endswith("/versions/") else None
    )
    with pytest.raises(StoreUnavailable, match="does not end"):
        list(open_osf().files.versions("f"))
    assert len(osf.requests) < 20


@pytest.mark.parametrize("body", [b'{"data": []}', b"{}", b'{"data": null, "links": {"next": null}}'])
def test_a_list_of_versions_that_is_none_is_not_taken_for_an_empty_one(open_osf, osf, project, body):
    file = osf.host.put(project, "f", b"one")
    osf.host.add_version(file, b"two")
    osf.host.add_version(file, b"three", number=2)  # so that the API's list is needed
    osf.fault = lambda request: Fault(answer=(200, {}, body)) if request.path.endswith("/versions/") else None
    with pytest.raises(StoreUnavailable, match="not a page"):
        list(open_osf().files.versions("f"))


# secrets


@pytest.mark.parametrize(
    "url", ["http://files.example", "http://10.0.0.1:8080", "ftp://127.0.0.1", "https://[x", "https://[]"]
)
def test_a_files_host_without_https_gets_nothing(open_osf, osf, project, url):
    row = {
        "attributes": {"provider": "osfstorage", "name": "f", "kind": "file", "path": f"/{'a' * 24}"},
        "links": {"upload": f"{url}/v1/resources/{project.id}/providers/osfstorage/{'a' * 24}"},
    }
    content = {"data": [row], "links": {"next": None}, "meta": {"total": 1}}
    osf.fault = lambda request: Fault(answer=(200, {}, json.dumps(content).encode()))
    with pytest.raises(StoreUnavailable, match="without https"):
        open_osf().file_names()


@pytest.mark.parametrize("of", ["the API", "the files host"])
def test_a_version_whose_number_has_thousands_of_digits_is_a_typed_error(open_osf, osf, project, of):
    store = open_osf()
    for seed in (1, 2):
        store.upload(make_assembly(seed), "X")

    def fault(request):
        rows = {"data": [{"id": "9" * 5000, "attributes": {}}], "links": {"next": None}}
        listing = request.path.endswith("/versions/") if of == "the API" else "revisions" in request.query
        return Fault(answer=(200, {"Content-Type": "application/json"}, json.dumps(rows).encode())) if listing else None

    osf.fault = fault
    asked = len(osf.requests)
    with contextlib.suppress(StorageError):  # where it is one of several sources, it is not missed
        open_osf().versions("X")
    assert any(fault(request) for request in osf.requests[asked:])
