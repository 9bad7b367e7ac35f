"""The OSF store against a stand-in for OSF."""

import dataclasses
import hashlib
import json
import threading

import pytest
import requests
import xarray as xr
from conftest import OSF_TOKEN, make_assembly

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    IdentifierCollision,
    IntegrityError,
    NotSupported,
    QuotaExceeded,
    Source,
)

KEY = "assy_X.nc"


def asked(osf, origin=("api", "files", "storage")):
    return [str(request) for request in osf.requests if request.origin in origin]


def test_the_file_is_where_people_look_and_its_version_id_is_osfs_number(open_osf, osf, project):
    store = open_osf(folder="brain/lab")
    receipts = [store.upload(make_assembly(seed), "X") for seed in (1, 2)]
    assert [receipt.version_id for receipt in receipts] == ["1", "2"]
    (file,) = osf.host.get(project, f"brain/lab/{KEY}")
    assert [version.hashes["sha256"] for version in file.versions] == [receipt.sha256 for receipt in receipts]
    assert receipts[0].address.startswith(f"osf:{project.id}/brain/lab?api_url=")
    assert OSF_TOKEN not in receipts[0].uri


def test_the_address_of_osf_itself_is_short():
    settings = {"backend": "osf", "project": "abc12", "folder": "/brain/"}
    store = storage_plugins.open_store(config={"stores": {"lab": settings}})
    assert store.address == "osf:abc12/brain"
    assert store.files.uri("assy_X.nc", "2") == "osf:abc12/brain/assy_X.nc?versionId=2"
    from storage_plugins_osf import locate

    assert locate("osf:abc12/brain/assy_X.nc?versionId=2") == (
        {"project": "abc12", "folder": "brain"},
        "assy_X.nc",
        "2",
    )
    assert locate("osf:abc12/f")[:2] == ({"project": "abc12", "folder": ""}, "f")
    with pytest.raises(ValueError, match="needs a project and a file"):
        locate("osf:abc12")


@pytest.mark.parametrize(
    "wrong",
    [
        {"project": "https://osf.io/abc12"},
        {"folder": "a/../b"},
        {"folder": ".hidden"},
        {"api_url": "http://api.osf.io/v2/"},
        {"api_url": "https://me:pw@api.osf.io/"},
        {"token": "two words"},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))) as caught:
        storage_plugins.open_store(config={"stores": {"lab": {"backend": "osf", "project": "abc12", **wrong}}})
    assert "two words" not in str(caught.value)


def test_the_record_of_a_version_lies_beside_it_as_a_file_that_people_can_read(open_osf, osf, project):
    receipt = open_osf(folder="brain").upload(make_assembly(), "a.b")
    name = f"{receipt.sha256}-{receipt.sha1}-{receipt.size}-{receipt.content_digest.replace(':', '-')}.json"
    (record,) = osf.host.get(project, f"brain/.storage-plugins/assy_@a.b/{name}")
    assert json.loads(record.newest.data) == {
        "key": "assy_a_b.nc",
        "identifier": "a.b",
        "assembly-prefix": "assy_",
        "sha1": receipt.sha1,
        "sha256": receipt.sha256,
        "size": str(receipt.size),
        "content-digest": receipt.content_digest,
    }
    version = open_osf(folder="brain").files.newest("assy_a_b.nc")
    assert (version.identifier, version.assembly_prefix) == ("a.b", "assy_")
    assert version.content_digest == receipt.content_digest


def test_sha1s_alone_find_their_versions_with_the_yaml_line_only(open_osf):
    store = open_osf()
    receipts = [store.upload(make_assembly(seed), "X") for seed in (1, 2, 1, 3)]
    for seed, receipt in zip((1, 2, 1, 3), receipts, strict=True):
        xr.testing.assert_identical(open_osf().load("X", sha1=receipt.sha1), make_assembly(seed))
    versions = open_osf().versions("X")
    assert [(v.version_id, v.sha1, v.sha256, v.size, v.identifier) for v in versions] == [
        (r.version_id, r.sha1, r.sha256, r.size, "X") for r in reversed(receipts)
    ]


def test_a_sha1_alone_finds_a_version_that_nobody_described(open_osf, osf, project, tmp_path):
    path = tmp_path / "f"
    for number in range(3):
        osf.host.put(project, "f", f"by hand {number}".encode())
    fetched = open_osf().fetch("f", sha1=hashlib.sha1(b"by hand 1").hexdigest())
    assert fetched.read_bytes() == b"by hand 1"
    path.write_bytes(b"by hand 1")
    assert open_osf().upload_file(path).version_id == "4"


def test_records_from_outside_that_are_none_are_passed_over(open_osf, osf, project):
    receipt = open_osf().upload(make_assembly(), "X")
    folder = ".storage-plugins/assy_@X"
    for name in ("x.json", f"{'0' * 64}.json", f"{receipt.sha256}-{'1' * 39}-5.json", "../../evil"):
        osf.host.put(project, f"{folder}/{name}", b"x" * 100) if "/" not in name else None
    osf.host.put(project, f".storage-plugins/evil@../../X/{receipt.sha256}-{'1' * 40}-5.json", b"")
    assert [version.sha1 for version in open_osf().versions("X")] == [receipt.sha1]
    xr.testing.assert_identical(open_osf().load("X", sha1=receipt.sha1), make_assembly())


@pytest.mark.parametrize(
    ("folder", "empty", "unseen", "warm", "receipt", "hash_only", "unpinned"),
    [("", 8, 5, 5, 3, 7, 5), ("brain", 11, 6, 5, 4, 8, 6)],
)
def test_requests_are_few(open_osf, osf, folder, empty, unseen, warm, receipt, hash_only, unpinned):
    """As documented: with one to the storage host for each download, to which OSF redirects."""

    def count(call):
        osf.requests.clear()
        call()
        return len(osf.requests)

    store = open_osf(folder=folder)
    assert count(lambda: store.upload(make_assembly(1), "V")) <= empty + 1  # whether the project is public
    assert count(lambda: store.upload(make_assembly(1), "W")) <= 5
    assert count(lambda: open_osf(folder=folder).upload(make_assembly(1), "U")) <= unseen + 1
    first = store.upload(make_assembly(1), "X")
    assert count(lambda: store.upload(make_assembly(2), "X")) <= warm
    assert count(lambda: store.upload(make_assembly(2), "X")) == 1
    assert count(lambda: store.upload(make_assembly(1), "X")) == 6  # its record is there: a note is made, and deleted
    other = open_osf(folder=folder)
    assert count(lambda: other.load(first)) <= receipt
    assert count(lambda: other.load("X", sha1=first.sha1)) == 0
    assert count(lambda: open_osf(folder=folder).load("X", sha1=first.sha1)) <= hash_only
    assert count(lambda: open_osf(folder=folder).load("X", version_id="1")) <= hash_only
    other = open_osf(folder=folder)
    assert count(lambda: other.load("X")) <= unpinned
    assert count(lambda: other.load("X", newest=True)) == 1
    assert count(lambda: open_osf(folder=folder).file_names()) <= 2


def test_a_name_too_close_to_one_that_came_meanwhile_from_another_machine_is_refused(open_osf):
    store = open_osf()
    store.upload(make_assembly(), "X")
    open_osf().upload(make_assembly(), "Y")
    with pytest.raises(IdentifierCollision):
        store.upload(make_assembly(), "y")
    assert store.identifiers() == ["X", "Y"]


def test_a_folder_of_records_that_is_there_already_is_used_again(open_osf, osf, project):
    first = open_osf().upload(make_assembly(1), "X")
    (file,) = osf.host.get(project, KEY)
    osf.host.delete(file)
    second = open_osf().upload(make_assembly(2), "X")
    records = project.root.folder(".storage-plugins")
    (folder,) = records.children
    assert {entry.name[:64] for entry in folder.children} == {first.sha256, second.sha256}


def test_listings_of_more_than_a_page_are_complete_though_pages_lose_rows(open_osf, osf, project):
    for number in range(250):
        osf.host.put(project, f"f-{number:03d}", b"x")
    assert open_osf().file_names() == [f"f-{number:03d}" for number in range(250)]
    for number in (0, 99, 100, 249):
        assert open_osf().fetch(f"f-{number:03d}").read_bytes() == b"x"
    url, auth = f"{osf.api_url}nodes/{project.id}/files/osfstorage/", {"Authorization": f"Bearer {OSF_TOKEN}"}
    names = []
    while url:
        answer = requests.get(url, headers=auth, timeout=10).json()
        names += [row["attributes"]["name"] for row in answer["data"]]
        url = answer["links"]["next"]
    assert len(set(names)) < 250 == len(names)  # what would have been lost


@pytest.mark.parametrize("redirect", [True, False])
@pytest.mark.parametrize("honours", [True, False])
def test_any_part_of_a_version_can_be_read(open_osf, osf, project, redirect, honours):
    osf.behaviour.redirect, osf.behaviour.honours_ranges = redirect, honours
    data = bytes(range(256)) * 20
    osf.host.put(project, "f", data)
    osf.host.put(project, "f", data[::-1])
    for version_id, whole in ((None, data[::-1]), ("2", data[::-1]), ("1", data)):
        for start, stop in ((0, None), (0, 5120), (100, None), (100, 200), (5000, 9999), (5120, None), (0, 0)):
            for files in (open_osf().files, open_osf().files):
                if version_id == "1":
                    with files.read("f", "1") as content:  # its size is known from here
                        assert content.version.size == 5120
                with files.read("f", version_id, start=start, stop=stop) as content:
                    assert b"".join(content.blocks) == whole[start:stop], (version_id, start, stop)
                    assert content.version.size == 5120
    ranges = [request.headers["range"] for request in osf.requests if "range" in request.headers]
    assert ranges
    assert all(part.rpartition("-")[2] for part in ranges)  # closed
    assert "bytes=5000-5119" in ranges  # and clamped


@pytest.mark.parametrize("status", [400, 404])
def test_a_version_that_is_not_there_is_not_found(open_osf, osf, project, status):
    osf.behaviour.unknown_version = status
    osf.host.put(project, "f", b"x")
    for version_id in ("2", "0", "1@" + "0" * 24, "x", "null"):
        with pytest.raises(AssemblyNotFound):
            open_osf().files.read("f", version_id)
    with pytest.raises(AssemblyNotFound):
        open_osf(folder="nowhere").load("X")
    assert open_osf(folder="nowhere").file_names() == []


def test_an_older_version_is_not_taken_for_what_osf_says_of_the_newest(open_osf, osf, project):
    for data in (b"short", b"much longer"):
        osf.host.put(project, "f", data)
    files = open_osf().files
    files.newest("f")
    with files.read("f", "1") as content:
        assert b"".join(content.blocks) == b"short"
        assert content.version.size == 5
        assert content.version.sha256 in (None, hashlib.sha256(b"short").hexdigest())


@pytest.mark.parametrize("newest_first", [False, True])
def test_twins_are_read_as_one_and_the_one_that_gives_way_keeps_its_versions(
    open_osf, osf, project, newest_first, monkeypatch
):
    monkeypatch.setattr("storage_plugins_osf.twins.pause", lambda attempt: None)
    for number in range(2):
        osf.host.put(project, "f", f"first file {number}".encode())
    first = osf.host.get(project, "f")[0]
    twin = osf.host.twin(project, "f", b"its twin")
    if newest_first:
        project.root.children.reverse()
    store = open_osf()
    assert open_osf().files.newest("f").version_id == f"1@{twin.id}"
    assert [version.version_id for version in store.files.versions("f")] == [f"1@{twin.id}", "2", "1"]
    assert store.file_names() == ["f"]
    assert store.fetch("f", newest=True).read_bytes() == b"its twin"
    assert open_osf().fetch("f", version_id=f"1@{twin.id}").read_bytes() == b"its twin"
    assert open_osf().fetch("f", version_id="1").read_bytes() == b"first file 0"
    assert open_osf().fetch("f", sha1=hashlib.sha1(b"its twin").hexdigest()).read_bytes() == b"its twin"
    path = store.cache.folders[0] / "f"
    path.write_bytes(b"written")
    assert store.upload_file(path).version_id == "3"
    assert (len(first.versions), len(twin.versions)) == (3, 1)
    assert (first.name, twin.name) == ("f", f"f.twin-{twin.id}")  # OSF refuses uploads to a name that is there twice
    assert open_osf().file_names() == ["f"]
    assert [version.version_id for version in open_osf().files.versions("f")] == ["3", f"1@{twin.id}", "2", "1"]
    assert open_osf().fetch("f", version_id=f"1@{twin.id}").read_bytes() == b"its twin"
    assert open_osf().fetch("f", newest=True).read_bytes() == b"written"
    path.write_bytes(b"written again")
    assert open_osf().upload_file(path).version_id == "4"


@pytest.mark.parametrize("newest_first", [False, True])
def test_of_two_folders_of_one_name_every_machine_uses_the_lowest_id(open_osf, osf, project, newest_first):
    osf.host.put(project, "brain/f", b"x")
    first = project.root.folder("brain")
    first.name = "for a moment"
    osf.host.put(project, "brain/g", b"y")
    first.name = "brain"
    if newest_first:
        project.root.children.reverse()
    store = open_osf(folder="brain")
    assert [store.file_names(), store.file_names()] == [["f", "g"], ["f", "g"]]  # looked for, then known
    assert store.fetch("g").read_bytes() == b"y"
    store.upload(make_assembly(), "X")
    assert sorted(child.name for child in first.children) == [".storage-plugins", KEY, "f", "g"]
    assert project.root.children == [first]  # what was in the other one was moved, and it was deleted
    assert [open_osf(folder="brain").file_names(), store.file_names()] == [["f", "g"], ["f", "g"]]


def test_a_folder_may_have_the_name_of_a_file(open_osf, osf, project):
    osf.host.put(project, "f/inside", b"x")
    store = open_osf()
    path = store.cache.folders[0]
    path.mkdir(parents=True, exist_ok=True)
    (path / "f").write_bytes(b"the file")
    store.upload_file(path / "f")
    assert open_osf().fetch("f").read_bytes() == b"the file"
    assert open_osf().file_names() == ["f"]


def test_a_file_deleted_and_made_again_is_seen_by_who_knew_its_id(open_osf, osf, project):
    store = open_osf(folder="brain")
    first = store.upload(make_assembly(1), "X")
    osf.host.delete(osf.host.get(project, f"brain/{KEY}")[0])
    assert store.versions("X") == []
    with pytest.raises(AssemblyNotFound):
        store.fetch(KEY, newest=True)
    again = store.upload(make_assembly(2), "X")
    assert again.version_id == "1"
    osf.host.delete(project.root.folder("brain"))
    third = store.upload(make_assembly(3), "X")
    assert store.load("X", sha1=third.sha1).identical(make_assembly(3))
    with pytest.raises(IntegrityError, match=first.sha1):
        open_osf(folder="brain").load("X", sha1=first.sha1)


def test_a_file_that_was_moved_away_is_not_written_to(open_osf, osf, project):
    store = open_osf(folder="brain")
    store.upload(make_assembly(1), "X")
    (file,) = osf.host.get(project, f"brain/{KEY}")
    osf.host.put(project, "old/other", b"x")
    old = project.root.folder("old")
    file.parent.children.remove(file)
    file.parent = old
    old.children.append(file)
    assert store.files.newest(KEY) is None
    assert store.upload(make_assembly(2), "X").version_id == "1"
    assert len(file.versions) == 1


def test_a_transfer_is_not_taken_up_at_another_file_of_that_name(open_osf, osf, project):
    osf.host.put(project, "f", b"first")
    files = open_osf().files
    with files.read("f", "1") as content:
        etag = content.version.etag
    osf.host.delete(osf.host.get(project, "f")[0])
    osf.host.put(project, "f", b"other")
    with pytest.raises(IntegrityError, match="replaced"):
        files.read("f", "1", start=2, if_match=etag)


def test_a_public_project_is_read_without_a_token_and_with_a_bad_one(open_osf, osf, project, caplog):
    receipt = open_osf().upload(make_assembly(), "X")
    with pytest.raises(AccessDenied, match=r"private or missing(.|\n)*Ask data@lab.example"):
        open_osf(token=None, contact="data@lab.example").load("X")
    project.public = True
    for token in (None, "not-a-token"):
        store = open_osf(token=token)
        xr.testing.assert_identical(store.load("X", sha1=receipt.sha1), make_assembly())
        assert store.files._connection.private is False
        with pytest.raises(AccessDenied):
            open_osf(token=token, visibility="public").upload(make_assembly(1), "X")
    assert "did not accept the token" in caplog.text
    assert open_osf().files.read(KEY).private is True


def test_a_token_refused_for_a_private_project_is_tried_again_once_it_is_let_in(open_osf, osf, project):
    receipt = open_osf().upload(make_assembly(), "X")
    osf.host.tokens["late"] = "somebody late"
    store = open_osf(token="late")
    with pytest.raises(AccessDenied, match="You do not have permission"):  # what was said of the token, not of none
        store.load(receipt)
    project.roles["somebody late"] = "read"
    xr.testing.assert_identical(store.load(receipt), make_assembly())
    assert store.files.read(KEY).private is True


@pytest.mark.parametrize("role", ["read", "none"])
def test_who_may_not_write_is_told(open_osf, osf, project, role):
    osf.host.tokens["reader"] = "a reader"
    project.roles["a reader"] = role
    open_osf().upload(make_assembly(), "X")
    store = open_osf(token="reader")
    if role == "read":
        xr.testing.assert_identical(store.load("X"), make_assembly())
    with pytest.raises(AccessDenied):
        store.upload(make_assembly(1), "X")


def test_a_token_without_scope_still_reads_what_is_public(open_osf, osf, project):
    open_osf().upload(make_assembly(), "X")
    project.public = True
    osf.host.unscoped.add("no-scope")
    osf.host.tokens["no-scope"] = "somebody"
    try:
        xr.testing.assert_identical(open_osf(token="no-scope").load("X"), make_assembly())
    finally:
        osf.host.unscoped.clear()


def test_a_view_only_link_opens_a_private_project_for_reading(open_osf, osf, project):
    receipt = open_osf().upload(make_assembly(), "X")
    project.view_only.add("l1nk-k3y")
    store = open_osf(token=None, view_only="l1nk-k3y")
    osf.requests.clear()
    xr.testing.assert_identical(store.load("X", version_id=receipt.version_id), make_assembly())
    assert [request.query.get("view_only") for request in osf.requests] == ["l1nk-k3y", "l1nk-k3y", None]
    assert store.files._connection.private
    with pytest.raises(NotSupported, match="view-only link is for reading"):
        store.upload(make_assembly(1), "X")


def test_a_project_that_is_not_there_or_no_longer_is_a_config_error(open_osf, osf, project):
    store = open_osf()
    store.upload(make_assembly(), "X")
    project.deleted = True
    for call in (
        lambda store: store.load("X", newest=True),
        lambda store: store.upload(make_assembly(1), "X"),
        lambda store: store.versions("X"),
        lambda store: store.file_names(),
    ):
        for missing in (store, open_osf(), open_osf(project="zzzzz")):
            with pytest.raises(ConfigError, match="no project at"):
                call(missing)


def test_a_name_that_is_to_be_new_is_not_taken_over(open_osf, osf, project, tmp_path):
    (tmp_path / "f").write_bytes(b"mine")
    source = Source.of(tmp_path / "f")
    osf.host.put(project, "f", b"theirs")
    with pytest.raises(AlreadyExists):
        open_osf().files.put("f", source, metadata={}, if_absent=True)
    files = open_osf().files
    files._rows.newest = lambda look, key: osf.host.put(project, "g", b"theirs") and None
    with pytest.raises(AlreadyExists):
        files.put("g", source, metadata={}, if_absent=True)
    del files._rows.newest
    assert files.put("h", source, metadata={}, if_absent=True) == "1"


def test_a_file_too_large_for_osf_is_refused_before_anything_is_sent(open_osf, osf, tmp_path):
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(10)
    source = Source.of(tmp_path / "large.bin")
    source = dataclasses.replace(source, digests=dataclasses.replace(source.digests, size=5_000_000_001))
    with pytest.raises(QuotaExceeded, match="at most 5000000000"):
        open_osf().files.put("large.bin", source, metadata={}, if_absent=False)
    assert osf.requests == []


def test_bodies_have_a_length_and_are_read_in_blocks(open_osf, osf, tmp_path):
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * (20 << 10))
    store = open_osf()
    seen = []
    store.progress = lambda name, done, size: seen.append((done, size))
    receipt = store.upload_file(tmp_path / "large.bin")
    (sent,) = [request for request in osf.requests if request.query == {"kind": "file", "name": "large.bin"}]
    assert sent.headers["content-length"] == str(5 << 20)
    assert "transfer-encoding" not in sent.headers
    assert len(seen) == 20
    assert seen[-1] == (5 << 20, 5 << 20)
    fetched = open_osf().fetch("large.bin", sha256=receipt.sha256)
    assert fetched.read_bytes() == (tmp_path / "large.bin").read_bytes()


def test_an_empty_file_is_a_version_too(open_osf, osf, project, tmp_path):
    (tmp_path / "empty.bin").touch()
    receipt = open_osf().upload_file(tmp_path / "empty.bin")
    assert [version.data for version in osf.host.get(project, "empty.bin")[0].versions] == [b""]
    assert open_osf().fetch("empty.bin", sha256=receipt.sha256).read_bytes() == b""


def test_a_large_file_that_changes_is_not_kept(open_osf, osf, project, tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(b"a" * (4 << 20))
    store = open_osf()

    def change(name, done, size):
        with path.open("r+b") as file:
            file.seek(3 << 20)
            file.write(b"b")

    store.progress = change
    with pytest.raises(IntegrityError, match="changed"):
        store.upload_file(path)
    assert osf.host.get(project, "large.bin") == []


def test_eight_threads_upload_to_one_name(open_osf, osf, project):
    store = open_osf()
    receipts, errors = {}, []

    def work(number):
        try:
            receipts[number] = (store if number % 2 else open_osf()).upload(make_assembly(number), "X")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (file,) = osf.host.get(project, KEY)
    assert {(r.version_id, r.sha256) for r in receipts.values()} == {
        (str(v.number), v.hashes["sha256"]) for v in file.versions
    }
    assert sorted(receipt.version_id for receipt in receipts.values()) == list("12345678")
