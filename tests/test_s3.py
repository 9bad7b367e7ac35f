"""The S3 store: objects, versions, requests."""

import base64
import hashlib
from pathlib import Path

import pytest
import xarray as xr
from conftest import make_assembly

from storage_plugins import (
    AssemblyNotFound,
    IntegrityError,
)

KEY = "brain/assy_X.nc"


def stored_file(tmp_path: Path, seed: int = 0) -> bytes:
    from storage_plugins import codec

    path = tmp_path / f"made-{seed}.nc"
    if not path.exists():
        codec.encode(make_assembly(seed), path, identifier="X", extras={}, drop_attrs=())
    return path.read_bytes()


def test_the_object_is_where_brainio_looks_and_describes_itself(open_lab, s3_client, bucket):
    receipt = open_lab().upload(make_assembly(), "X")
    head = s3_client.head_object(Bucket=bucket, Key=KEY)
    assert head["VersionId"] == receipt.version_id
    assert head["Metadata"] == {
        "identifier": "X",
        "assembly-prefix": "assy_",
        "sha1": receipt.sha1,
        "sha256": receipt.sha256,
        "size": str(receipt.size),
        "content-digest": receipt.content_digest,
    }


def test_a_folder_may_be_given_with_the_bucket_or_as_prefix(open_lab, bucket):
    receipt = open_lab().upload(make_assembly(), "X")
    other = open_lab(bucket=bucket, prefix="brain")
    assert other.address == receipt.address
    xr.testing.assert_identical(other.load("X"), make_assembly())


def test_a_large_file_goes_up_in_parts_under_one_version_id(open_lab, s3_client, bucket, tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(range(256)) * (40 << 12))  # 40 MiB: eight parts
    store = open_lab()
    seen = []
    store.progress = lambda name, done, size: seen.append((done, size))
    receipt = store.upload_file(path)
    head = s3_client.head_object(Bucket=bucket, Key="brain/large.bin")
    assert head["VersionId"] == receipt.version_id
    assert head["ETag"].endswith('-8"')
    assert head["Metadata"]["sha256"] == receipt.sha256
    assert seen[-1] == (40 << 20, 40 << 20)
    assert open_lab().fetch("large.bin", sha256=receipt.sha256).read_bytes() == path.read_bytes()


def test_a_large_file_that_changes_leaves_no_object_and_no_parts(open_lab, s3_client, bucket, tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(b"a" * (40 << 20))
    store = open_lab()

    def change(name, done, size):
        with path.open("r+b") as file:
            file.seek(39 << 20)
            file.write(b"b")

    store.progress = change
    with pytest.raises(IntegrityError, match="changed"):
        store.upload_file(path)
    assert store.file_names() == []
    assert s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_bodies_carry_an_md5_for_the_server_to_check(open_lab, proxy, tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * (17 << 20))
    store = open_lab(endpoint_url=proxy.url)
    store.upload_file(path)
    sent = [headers for request, headers in zip(proxy.requests, proxy.headers, strict=True) if "partNumber" in request]
    expected = [base64.b64encode(hashlib.md5(b"x" * size).digest()).decode() for size in (*[5 << 20] * 3, 2 << 20)]
    assert sorted(headers["Content-MD5"] for headers in sent) == sorted(expected)


def test_the_null_version_of_an_object_older_than_versioning(open_lab, s3_client, new_bucket, tmp_path):
    bucket = new_bucket(versioned=False)
    s3_client.put_object(Bucket=bucket, Key=KEY, Body=stored_file(tmp_path, 1))
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = open_lab(bucket=f"{bucket}/brain")
    xr.testing.assert_identical(store.load("X"), make_assembly(1))
    receipt = store.upload(make_assembly(2), "X")
    for pin in ({"version_id": "null"}, {"sha1": hashlib.sha1(stored_file(tmp_path, 1)).hexdigest()}):
        xr.testing.assert_identical(open_lab(bucket=f"{bucket}/brain").load("X", **pin), make_assembly(1))
    assert [version.version_id for version in store.versions("X")] == [receipt.version_id, "null"]
    assert store.versions("X")[1].sha1 is None


def test_null_where_every_object_is_younger_pins_nothing(open_lab):
    open_lab().upload(make_assembly(1), "X")
    xr.testing.assert_identical(open_lab().load("X", version_id="null"), make_assembly(1))


def test_a_sha1_alone_finds_an_old_version_that_nobody_described(open_lab, s3_client, bucket, tmp_path):
    for seed in (1, 2, 3):
        s3_client.put_object(Bucket=bucket, Key=KEY, Body=stored_file(tmp_path, seed))
    sha1 = hashlib.sha1(stored_file(tmp_path, 1)).hexdigest()
    xr.testing.assert_identical(open_lab().load("X", sha1=sha1), make_assembly(1))


def test_a_deleted_object_is_not_found_but_its_versions_load(open_lab, s3_client, bucket):
    receipt = open_lab().upload(make_assembly(), "X")
    s3_client.delete_object(Bucket=bucket, Key=KEY)
    with pytest.raises(AssemblyNotFound):
        open_lab().load("X")
    xr.testing.assert_identical(open_lab().load("X", version_id=receipt.version_id), make_assembly())
    assert [version.version_id for version in open_lab().versions("X")] == [receipt.version_id]


def test_names_that_begin_alike_are_kept_apart(open_lab, tmp_path):
    store = open_lab()
    (tmp_path / "f").write_bytes(b"backup")
    store.upload(make_assembly(), "X")
    store.upload_file(tmp_path / "f", "assy_X.nc.bak")
    assert len(store.versions("X")) == 1


def test_what_lies_in_a_deeper_folder_is_not_listed(open_lab, s3_client, bucket):
    for key in ("brain/file.csv", "brain/deeper/file.csv"):
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"")
    assert open_lab().file_names() == ["file.csv"]


def test_requests_are_few(open_lab, proxy):
    store = open_lab(endpoint_url=proxy.url)
    first = store.upload(make_assembly(1), "X")
    proxy.requests.clear()
    receipt = store.upload(make_assembly(2), "X")
    assert [request.split()[0] for request in proxy.requests] == ["HEAD", "PUT", "PUT"]  # the last is the record
    proxy.requests.clear()
    store.upload(make_assembly(2), "X")
    assert [request.split()[0] for request in proxy.requests] == ["HEAD"]
    for pin in ({"version_id": receipt.version_id}, {"version_id": first.version_id, "sha1": first.sha1}, {}):
        proxy.requests.clear()
        other = open_lab(endpoint_url=proxy.url)
        other.load("X", **pin)
        looks = [] if pin else ["GET"]  # whether a newer version was withdrawn
        assert [request.split()[0] for request in proxy.requests] == ["GET", *looks]
        proxy.requests.clear()
        other.load("X", sha1=first.sha1 if "sha1" in pin else receipt.sha1)
        assert proxy.requests == []
