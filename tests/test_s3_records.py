"""Record names: few requests however many names and versions there are, and hints that never decide what is loaded."""

import dataclasses
import hashlib
import json

import pytest
import xarray as xr
from conftest import make_assembly

import storage_plugins
from storage_plugins import IdentifierCollision
from storage_plugins_s3 import records

pytestmark = pytest.mark.slow

FOLDER = "brain/.storage-plugins/"
METADATA = {
    "identifier": "Lab.x",
    "assembly-prefix": "assy_",
    "sha1": "1" * 40,
    "sha256": "2" * 64,
    "size": "7",
    "content-digest": "sp1:" + "3" * 64,
}


def names(client, bucket: str, prefix: str = FOLDER) -> list[str]:
    listed = client.list_object_versions(Bucket=bucket, Prefix=prefix)
    return [each["Key"] for each in listed.get("Versions", [])]


def forget(client, bucket: str) -> None:
    """Delete all records, as if another tool had uploaded."""
    for each in client.list_object_versions(Bucket=bucket, Prefix=FOLDER).get("Versions", []):
        client.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])


def test_a_record_survives_its_name():
    name = records.name("assy_Lab_x.nc", "v1", '"' + "e" * 32 + '"', 7, METADATA)
    assert name.startswith(records.folder_of("assy_LAB_x.nc"))
    found = records.parse(name)
    assert found.metadata == {key: value for key, value in METADATA.items() if key != "size"}
    assert (found.key, found.version_id, found.etag, found.size) == ("assy_Lab_x.nc", "v1", "e" * 32, 7)
    plain = {"identifier": "table.csv", "sha1": "1" * 40, "sha256": "2" * 64}
    assert records.parse(records.name("table.csv", None, "e" * 32, 7, plain)).metadata == plain


@pytest.mark.parametrize(
    "change",
    [
        {"key": ".versions/x/y.nc"},
        {"version_id": "a/b"},
        {"version_id": "v" * 201},
        {"etag": "e!e"},
        {"metadata": {}},
        {"metadata": {**METADATA, "sha1": "xyz"}},
        {"metadata": {**METADATA, "content-digest": "a!b:" + "3" * 64}},
        {"key": "k" * 240, "metadata": {**METADATA, "identifier": "i" * 240}, "version_id": "v" * 200},
    ],
)
def test_what_a_name_cannot_hold_has_no_record(change):
    known = {"key": "assy_Lab_x.nc", "version_id": "v1", "etag": "e" * 32, "size": 7, "metadata": METADATA} | change
    assert records.name(**known) is None


@pytest.mark.parametrize(
    "name", ["", "x", "a!b!c!d/e", "assy_x.nc!assy_X.nc!_!X/v!e!1!s!t!", "!!!/!!!!!", "\x1b!\x1b!!x/"]
)
def test_other_names_are_no_records(name):
    assert records.parse(records.FOLDER + name) is None


def test_versions_and_names_take_a_few_listings(open_lab, proxy):
    store = open_lab()
    for seed in range(5):
        store.upload(make_assembly(seed), "Lab.x")
    for number in range(5):
        store.upload(make_assembly(), f"Lab.{number}_rates")
    other = open_lab(endpoint_url=proxy.url)
    assert [version.sha256 for version in other.versions("Lab.x")] == [
        version.sha256 for version in store.versions("Lab.x")
    ]
    assert len(proxy.requests) == 3  # the third is for bytes that were replaced in a bucket without versions
    proxy.requests.clear()
    assert other.identifiers() == sorted(["Lab.x", *(f"Lab.{number}_rates" for number in range(5))])
    assert len(proxy.requests) == 2


@pytest.mark.slow
def test_a_hash_without_receipts_is_found_in_three_requests(open_lab, proxy):
    receipts = [open_lab().upload(make_assembly(seed), "X") for seed in range(12)]
    xr.testing.assert_identical(open_lab(endpoint_url=proxy.url).load("X", sha1=receipts[0].sha1), make_assembly(0))
    assert len(proxy.requests) == 3


def test_a_first_upload_takes_six_requests_and_later_ones_four(open_lab, proxy):
    store = open_lab(endpoint_url=proxy.url)
    for number, expected in enumerate((6, 4, 4)):
        proxy.requests.clear()
        store.upload(make_assembly(number), f"X{number}")
        assert len(proxy.requests) == expected, proxy.requests


def test_records_are_no_files_of_the_user(open_lab, s3_client, bucket):
    store = open_lab()
    store.upload(make_assembly(), "X")
    assert names(s3_client, bucket)
    assert store.file_names() == []
    assert store.identifiers() == ["X"]
    assert all(not key.startswith(".") for key in list(store.files.keys()))
    store.files.discard("assy_X.nc")
    assert names(s3_client, bucket, "brain/assy") == names(s3_client, bucket) == []


def test_files_without_records_are_looked_at(open_lab, proxy, s3_client, bucket):
    store = open_lab()
    receipts = [store.upload(make_assembly(seed), "Lab.x") for seed in range(3)]
    forget(s3_client, bucket)
    other = open_lab(endpoint_url=proxy.url)
    assert [version.sha256 for version in other.versions("Lab.x")] == [each.sha256 for each in reversed(receipts)]
    assert other.identifiers() == ["Lab.x"]


def test_of_many_files_without_records_only_some_are_looked_at(open_lab, proxy, s3_client, bucket):
    for number in range(60):
        s3_client.put_object(Bucket=bucket, Key=f"brain/assy_Lab_{number}.nc", Body=b"x")
    assert len(open_lab(endpoint_url=proxy.url).identifiers()) == 60
    assert len(proxy.requests) <= 30


def test_an_upload_counts_where_records_may_not_be_written(open_lab, proxy, s3_client, bucket):
    proxy.refuse = lambda method, path: (403, "AccessDenied") if "storage-plugins/" in path else None
    store = open_lab(endpoint_url=proxy.url)
    receipts = [store.upload(make_assembly(seed), "X") for seed in range(3)]
    assert sum("PUT" in each and "storage-plugins/" in each for each in proxy.requests) == 1
    assert [version.version_id for version in store.versions("X")] == [each.version_id for each in reversed(receipts)]
    assert {version.sha256 for version in store.versions("X")} == {each.sha256 for each in receipts}


def test_a_record_that_lies_hides_no_bytes_and_gives_no_wrong_ones(open_lab, s3_client, bucket):
    receipts = [open_lab().upload(make_assembly(seed), "X") for seed in range(2)]
    found = {key: records.parse(key.removeprefix("brain/")) for key in names(s3_client, bucket)}
    forget(s3_client, bucket)
    swapped = [dataclasses.replace(record) for record in found.values()]
    for record, other in zip(swapped, reversed(swapped), strict=True):  # each version is said to be the other one
        name = records.name(record.key, record.version_id, record.etag, record.size, other.metadata)
        s3_client.put_object(Bucket=bucket, Key=f"brain/{name}", Body=b"")
    for seed, receipt in enumerate(receipts):
        xr.testing.assert_identical(open_lab().load("X", sha256=receipt.sha256), make_assembly(seed))
    xr.testing.assert_identical(open_lab().load("X"), make_assembly(1))


def test_records_that_contradict_each_other_are_not_believed(open_lab, s3_client, bucket):
    receipt = open_lab().upload(make_assembly(), "X")
    (key,) = names(s3_client, bucket)
    record = records.parse(key.removeprefix("brain/"))
    lie = {**record.metadata, "sha1": "0" * 40}
    name = records.name(record.key, record.version_id, record.etag, record.size, lie)
    s3_client.put_object(Bucket=bucket, Key=f"brain/{name}", Body=b"")
    (version,) = open_lab().versions("X")
    assert version.sha1 == receipt.sha1


def test_the_record_of_replaced_bytes_is_not_taken_for_those_that_are_there(open_lab, new_bucket, s3_client, tmp_path):
    bucket = new_bucket(versioned=False)
    store = open_lab(bucket=f"{bucket}/brain")
    (tmp_path / "f").write_bytes(b"ours")
    store.upload_file(tmp_path / "f")
    s3_client.put_object(Bucket=bucket, Key="brain/f", Body=b"them")
    (version,) = open_lab(bucket=f"{bucket}/brain").files.versions("f")
    assert version.sha256 is None
    assert version.etag.strip('"') == hashlib.md5(b"them").hexdigest()


def test_names_that_differ_in_case_only_are_refused(open_lab):
    store = open_lab()
    store.upload(make_assembly(), "Lab.rates")
    with pytest.raises(IdentifierCollision, match="in case only"):
        store.upload(make_assembly(), "LAB.rates")
    with pytest.raises(IdentifierCollision):
        store.upload(make_assembly(), "Lab.rates", assembly_prefix="ASSY_")


def test_who_may_not_list_loads_all_the_same(open_lab, proxy):
    receipt = open_lab().upload(make_assembly(), "X")
    proxy.refuse = lambda method, path: (403, "AccessDenied") if "list-type" in path or "?versions" in path else None
    for pin in ({}, {"sha1": receipt.sha1}, {"version_id": receipt.version_id}):
        xr.testing.assert_identical(open_lab(endpoint_url=proxy.url).load("X", **pin), make_assembly())


@pytest.mark.slow
def test_more_names_and_versions_than_a_page_lists(open_lab, proxy, s3_client, bucket, s3_server):
    def put(key: str, body: bytes, identifier: str) -> None:
        hashes = {"sha1": hashlib.sha1(body).hexdigest(), "sha256": hashlib.sha256(body).hexdigest()}
        metadata = {"identifier": identifier, "assembly-prefix": "assy_", **hashes}
        made = s3_client.put_object(Bucket=bucket, Key=f"brain/{key}", Body=body, Metadata=metadata)
        name = records.name(key, made["VersionId"], made["ETag"], len(body), metadata)
        s3_client.put_object(Bucket=bucket, Key=f"brain/{name}", Body=b"")

    for number in range(1100):
        put("assy_Lab_many.nc", b"%d" % number, "Lab.many")
    for number in range(1100):
        put(f"assy_Lab_{number}.nc", b"x", f"Lab.{number}")
    store = open_lab(endpoint_url=proxy.url)
    assert len(store.identifiers()) == 1101
    assert len(proxy.requests) == 4
    proxy.requests.clear()
    assert len({version.sha1 for version in store.versions("Lab.many")}) == 1100
    exact = s3_server.kind == "moto"  # the lengths of Ceph's pages vary
    assert len(proxy.requests) == 5 if exact else len(proxy.requests) <= 10
    proxy.requests.clear()
    key, sha1 = "assy_Lab_many.nc", hashlib.sha1(b"700").hexdigest()
    assert store.fetch(key, sha1=sha1).read_bytes() == b"700"
    assert len(proxy.requests) <= (6 if exact else 10)


# whether anyone can read what is put there


def policy_status(public: bool) -> str:
    return f"<PolicyStatus><IsPublic>{str(public).lower()}</IsPublic></PolicyStatus>"


def test_a_private_upload_into_a_bucket_that_anyone_can_read_is_refused_before_it_is_sent(
    open_lab, proxy, s3_client, s3_server, bucket
):
    if s3_server.kind == "moto":  # which knows no policies: every anonymous look finds the test file
        proxy.answer = lambda method, path: policy_status(True) if "policyStatus" in path else None

        def open_to_anyone(method, path, answer):
            if "public-check" in path and "authorization" not in {name.lower() for name in proxy.headers[-1]}:
                answer.status, answer.headers = 200, {"etag": '"x"', "x-amz-request-id": "1"}

        proxy.spoil = open_to_anyone
    else:
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{bucket}/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        s3_client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    store = open_lab(endpoint_url=proxy.url)
    for _ in range(2):
        with pytest.raises(storage_plugins.ConfigError, match="is public"):
            store.upload(make_assembly(), "X")
    assert names(s3_client, bucket, "brain/assy") == []
    assert sum("public-check" in each for each in proxy.requests) <= 4  # the answer is believed for a minute


@pytest.mark.parametrize("known", [policy_status(True), "<Unknown/>"])
def test_a_policy_that_opens_tagged_files_only_does_not_stop_private_uploads(open_lab, proxy, known):
    proxy.answer = lambda method, path: known if "policyStatus" in path else None
    open_lab(endpoint_url=proxy.url).upload(make_assembly(), "X")
    first = sum("public-check" in each for each in proxy.requests)
    proxy.requests.clear()
    open_lab(endpoint_url=proxy.url).upload(make_assembly(), "Y")
    assert (first, sum("public-check" in each for each in proxy.requests)) == (4, 2)
