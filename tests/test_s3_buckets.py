"""Buckets as they are in the world: unversioned, suspended, versioned late, with questions forbidden."""

import hashlib

import pytest
import xarray as xr
from conftest import make_assembly
from test_s3 import KEY, stored_file

from storage_plugins import AccessDenied, AlreadyExists, StorageError

pytestmark = pytest.mark.slow


@pytest.fixture
def unversioned(new_bucket) -> str:
    return new_bucket(versioned=False)


def everything(client, bucket: str) -> set[str]:
    """Return the sha256 of all files that are anywhere in a bucket."""
    listed = client.list_object_versions(Bucket=bucket).get("Versions", [])
    files = [each for each in listed if "/.storage-plugins/" not in each["Key"]]
    bodies = (client.get_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"]) for each in files)
    return {hashlib.sha256(body["Body"].read()).hexdigest() for body in bodies}


def test_a_bucket_that_keeps_no_versions_refuses_changed_bytes(open_lab, unversioned):
    store = open_lab(bucket=f"{unversioned}/brain")
    receipt = store.upload(make_assembly(1), "X")
    assert receipt.version_id is None
    assert store.upload(make_assembly(1), "X").sha1 == receipt.sha1
    with pytest.raises(AlreadyExists, match=r"keeps no versions(.|\n)*replace=True"):
        store.upload(make_assembly(2), "X")
    xr.testing.assert_identical(open_lab(bucket=f"{unversioned}/brain").load("X"), make_assembly(1))


def test_what_is_replaced_stays_loadable_by_either_hash_with_and_without_receipts(open_lab, unversioned, s3_client):
    place = f"{unversioned}/brain"
    store = open_lab(bucket=place)
    receipts = [store.upload(make_assembly(seed), "X", replace=seed > 0) for seed in range(3)]
    assert f"brain/.versions/assy_X.nc/{receipts[0].sha256}.nc" in {
        each["Key"] for each in s3_client.list_objects_v2(Bucket=unversioned)["Contents"]
    }
    for number, receipt in enumerate(receipts):
        for pin in ({"sha1": receipt.sha1}, {"sha256": receipt.sha256}):
            xr.testing.assert_identical(open_lab(bucket=place).load("X", **pin), make_assembly(number))
        store.cache = open_lab(bucket=place).cache
        xr.testing.assert_identical(store.load(receipt), make_assembly(number))
    xr.testing.assert_identical(open_lab(bucket=place).load("X"), make_assembly(2))
    listed = open_lab(bucket=place).versions("X")
    assert listed[0].sha1 == receipts[2].sha1
    # S3's dates are whole seconds, and these two were replaced within one
    assert {version.sha1 for version in listed[1:]} == {receipt.sha1 for receipt in receipts[:2]}
    assert {version.identifier for version in listed} == {"X"}
    assert open_lab(bucket=place).identifiers() == ["X"]
    assert open_lab(bucket=place).file_names() == []


def test_what_goes_back_to_earlier_bytes_keeps_all_of_them(open_lab, unversioned, s3_client):
    store = open_lab(bucket=f"{unversioned}/brain", replace=True)
    first, second, third = (store.upload(make_assembly(seed), "X") for seed in (1, 2, 1))
    assert first.sha256 == third.sha256
    assert everything(s3_client, unversioned) == {first.sha256, second.sha256}
    assert [version.sha256 for version in store.versions("X")] == [third.sha256, second.sha256]


def test_other_files_are_kept_too(open_lab, unversioned, tmp_path):
    store = open_lab(bucket=f"{unversioned}/brain")
    paths = [tmp_path / "old.csv", tmp_path / "new.csv"]
    paths[0].write_text("old")
    paths[1].write_text("new")
    old = store.upload_file(paths[0], "table.csv")
    store.upload_file(paths[1], "table.csv", replace=True)
    assert open_lab(bucket=f"{unversioned}/brain").fetch("table.csv", sha1=old.sha1).read_text() == "old"
    assert open_lab(bucket=f"{unversioned}/brain").fetch("table.csv").read_text() == "new"


def test_large_files_are_replaced_in_parts(open_lab, unversioned, tmp_path):
    store, path = open_lab(bucket=f"{unversioned}/brain"), tmp_path / "large.bin"
    path.write_bytes(b"a" * (17 << 20))
    old = store.upload_file(path)
    path.write_bytes(b"b" * (18 << 20))
    store.upload_file(path, replace=True)
    assert open_lab(bucket=f"{unversioned}/brain").fetch("large.bin", sha256=old.sha256).stat().st_size == 17 << 20


def test_racing_first_uploads_to_a_bucket_without_versions_leave_one(open_lab, unversioned):
    place = f"{unversioned}/brain"
    stores = [open_lab(bucket=place) for _ in range(2)]
    looked = stores[0].files.newest

    def let_the_other_be_first(key):
        answer = looked(key)
        stores[1].upload(make_assembly(2), "X")
        return answer

    stores[0].files.newest = let_the_other_be_first
    with pytest.raises(AlreadyExists):
        stores[0].upload(make_assembly(1), "X")
    xr.testing.assert_identical(open_lab(bucket=place).load("X"), make_assembly(2))


def test_of_two_that_replace_the_same_bytes_one_is_refused(open_lab, unversioned, s3_client):
    place = f"{unversioned}/brain"
    stores = [open_lab(bucket=place, replace=True) for _ in range(2)]
    first = stores[0].upload(make_assembly(1), "X")
    put, other = stores[0].files.put, []

    def let_the_other_replace_first(key, source, **options):
        if not other:  # the copy of the old bytes is about to be made
            other.append(stores[1].upload(make_assembly(2), "X"))
        return put(key, source, **options)

    stores[0].files.put = let_the_other_replace_first
    with pytest.raises(AlreadyExists):
        stores[0].upload(make_assembly(3), "X")
    assert everything(s3_client, unversioned) == {first.sha256, other[0].sha256}
    xr.testing.assert_identical(open_lab(bucket=place).load("X"), make_assembly(2))


def test_an_upload_that_fails_after_the_copy_leaves_the_old_bytes_newest(open_lab, unversioned, proxy):
    open_lab(bucket=f"{unversioned}/brain").upload(make_assembly(1), "X")
    proxy.refuse = lambda method, path: (418, "Teapot") if method == "PUT" and ".versions" not in path else None
    with pytest.raises(StorageError):
        open_lab(bucket=f"{unversioned}/brain", endpoint_url=proxy.url).upload(make_assembly(2), "X", replace=True)
    store = open_lab(bucket=f"{unversioned}/brain")
    xr.testing.assert_identical(store.load("X"), make_assembly(1))
    assert len(store.versions("X")) == 1


def test_brainios_object_without_a_record_is_kept_when_replaced(open_lab, unversioned, s3_client, tmp_path):
    s3_client.put_object(Bucket=unversioned, Key=KEY, Body=stored_file(tmp_path, 1))
    open_lab(bucket=f"{unversioned}/brain").upload(make_assembly(2), "X", replace=True)
    sha1 = hashlib.sha1(stored_file(tmp_path, 1)).hexdigest()
    store = open_lab(bucket=f"{unversioned}/brain")
    xr.testing.assert_identical(store.load("X", sha1=sha1, version_id="null"), make_assembly(1))


@pytest.mark.slow
def test_a_suspended_bucket_loses_neither_its_versions_nor_its_null_version(
    open_lab, new_bucket, s3_client, s3_server, tmp_path
):
    bucket = new_bucket(versioned=False)
    s3_client.put_object(Bucket=bucket, Key=KEY, Body=stored_file(tmp_path, 1))  # becomes the null version
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    second = open_lab(bucket=f"{bucket}/brain").upload(make_assembly(2), "X")
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    with pytest.raises(AlreadyExists):
        open_lab(bucket=f"{bucket}/brain").upload(make_assembly(3), "X")
    if s3_server.kind == "ceph":  # compares the ETag with that of its null version, and so refuses
        with pytest.raises(AlreadyExists):
            open_lab(bucket=f"{bucket}/brain").upload(make_assembly(3), "X", replace=True)
        assert len(s3_client.list_object_versions(Bucket=bucket, Prefix=KEY)["Versions"]) == 2
        return
    third = open_lab(bucket=f"{bucket}/brain").upload(make_assembly(3), "X", replace=True)
    first = hashlib.sha256(stored_file(tmp_path, 1)).hexdigest()
    assert everything(s3_client, bucket) == {first, second.sha256, third.sha256}
    for seed, sha256 in ((1, first), (2, second.sha256), (3, third.sha256)):
        xr.testing.assert_identical(open_lab(bucket=f"{bucket}/brain").load("X", sha256=sha256), make_assembly(seed))


def test_a_bucket_suspended_meanwhile_is_noticed_at_the_first_upload(open_lab, new_bucket, s3_client, s3_server):
    if s3_server.kind == "moto":
        pytest.skip("moto forgets all versions at an upload to a suspended bucket")
    bucket = new_bucket()
    store = open_lab(bucket=f"{bucket}/brain")
    store.upload(make_assembly(1), "X")
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    store.upload(make_assembly(2), "X")  # within a minute of the last look: becomes the null version
    with pytest.raises(AlreadyExists):
        store.upload(make_assembly(3), "X")
    for seed in (1, 2):
        assert any(
            store.load("X", sha256=version.sha256).identical(make_assembly(seed)) for version in store.versions("X")
        )


def test_objects_deleted_before_versioning_was_suspended_are_not_overwritten(open_lab, new_bucket, s3_client, tmp_path):
    bucket = new_bucket(versioned=False)
    s3_client.put_object(Bucket=bucket, Key=KEY, Body=stored_file(tmp_path, 1))
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3_client.delete_object(Bucket=bucket, Key=KEY)
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    with pytest.raises(AlreadyExists):
        open_lab(bucket=f"{bucket}/brain").upload(make_assembly(2), "X")
    assert hashlib.sha256(stored_file(tmp_path, 1)).hexdigest() in everything(s3_client, bucket)


def test_where_nothing_can_be_seen_and_no_versions_are_kept_nothing_is_sent(open_lab, unversioned, proxy, s3_client):
    def refuse(method, path):
        return (403, "AccessDenied") if method in ("GET", "HEAD") else None

    open_lab(bucket=f"{unversioned}/brain").upload(make_assembly(1), "X")
    proxy.refuse = refuse
    with pytest.raises(AccessDenied):
        open_lab(bucket=f"{unversioned}/brain", endpoint_url=proxy.url).upload(make_assembly(2), "X")
    assert not [request for request in proxy.requests if request.startswith("PUT")]


def test_who_may_only_write_to_a_versioned_bucket_can_upload(open_lab, bucket, proxy):
    proxy.refuse = lambda method, path: (
        (403, "AccessDenied") if method == "HEAD" or (method == "GET" and "versioning" not in path) else None
    )
    receipt = open_lab(endpoint_url=proxy.url).upload(make_assembly(1), "X")
    xr.testing.assert_identical(open_lab().load("X", version_id=receipt.version_id), make_assembly(1))


def test_uploads_are_tagged_with_who_made_them_where_that_is_allowed(open_lab, bucket, s3_client, proxy, monkeypatch):
    monkeypatch.setenv("LOGNAME", "Ada Löve")
    open_lab().upload(make_assembly(1), "X")
    tags = s3_client.get_object_tagging(Bucket=bucket, Key=KEY)["TagSet"]
    assert tags == [{"Key": "uploadedBy", "Value": "Ada_L_ve"}]
    proxy.refuse = lambda method, path: (
        (403, "AccessDenied") if "x-amz-tagging" in {name.lower() for name in proxy.headers[-1]} else None
    )
    open_lab(endpoint_url=proxy.url).upload(make_assembly(2), "X")
    assert s3_client.get_object_tagging(Bucket=bucket, Key=KEY)["TagSet"] == []


def test_requester_pays_is_said_with_each_request(open_lab, proxy):
    store = open_lab(endpoint_url=proxy.url, requester_pays=True)
    receipt = store.upload(make_assembly(1), "X")
    store.load("X", newest=True)
    assert {headers.get("x-amz-request-payer") for headers in proxy.headers if "versioning" not in headers} >= {
        "requester"
    }
    asked = [
        request
        for request, headers in zip(proxy.requests, proxy.headers, strict=True)
        if receipt.key in request and headers.get("x-amz-request-payer") != "requester"
    ]
    assert asked == []


def test_who_may_list_versions_but_not_files_finds_a_version_by_its_hash(open_lab, bucket, s3_client, proxy, tmp_path):
    for seed in (1, 2):
        s3_client.put_object(Bucket=bucket, Key=KEY, Body=stored_file(tmp_path, seed))  # as BrainIO: without a record
    proxy.refuse = lambda method, path: (403, "AccessDenied") if "list-type" in path else None
    store = open_lab(endpoint_url=proxy.url)
    sha1 = hashlib.sha1(stored_file(tmp_path, 1)).hexdigest()
    xr.testing.assert_identical(store.load("X", sha1=sha1), make_assembly(1))
    assert len(store.versions("X")) == 2
