"""What goes wrong with S3: refusals, dead and stuck servers, cut connections, damage, races."""

import re
import threading
import time

import pytest
import xarray as xr
from campaign_hosts import FaultyProxy, Wrong
from conftest import make_assembly
from osf_server import TRICKLES
from proxy import Answer

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    EncodingError,
    IntegrityError,
    RateLimited,
    StorageError,
    StoreUnavailable,
)

pytestmark = pytest.mark.slow

KEY = "brain/assy_X.nc"


def test_a_missing_bucket_is_told(open_lab):
    for call in (
        lambda store: store.load("X"),
        lambda store: store.upload(make_assembly(), "X"),
        lambda store: store.versions("X"),
        lambda store: store.identifiers(),
    ):
        with pytest.raises(ConfigError, match="no bucket"):
            call(open_lab(bucket="nobody-made-this"))


def test_no_credentials_for_a_private_object(open_lab, home):
    open_lab().upload(make_assembly(), "X")
    (home / ".aws" / "credentials").unlink()
    with pytest.raises(AccessDenied, match=r"private or missing(.|\n)*Ask data@lab.example for access"):
        open_lab(contact="data@lab.example").load("X")
    with pytest.raises(AccessDenied, match="needs credentials"):
        open_lab(anonymous="never").load("X")


def test_public_objects_load_without_credentials_and_with_wrong_ones(open_lab, home, s3_client, bucket, proxy):
    open_lab().upload(make_assembly(), "X")
    s3_client.put_object_acl(Bucket=bucket, Key=KEY, ACL="public-read")
    proxy.refuse = lambda method, path: None
    (home / ".aws" / "credentials").unlink()
    xr.testing.assert_identical(open_lab().load("X"), make_assembly())
    xr.testing.assert_identical(open_lab(anonymous="always").load("X"), make_assembly())


def test_wrong_credentials_do_not_stand_before_public_data(open_lab, s3_client, bucket, proxy):
    open_lab().upload(make_assembly(), "X")
    s3_client.put_object_acl(Bucket=bucket, Key=KEY, ACL="public-read")
    signed = []

    def refuse_signed(method, path):
        if "Authorization" in proxy.headers[-1]:
            signed.append(path)
            return 403, "InvalidAccessKeyId"
        return None

    proxy.refuse = refuse_signed
    xr.testing.assert_identical(open_lab(endpoint_url=proxy.url).load("X"), make_assembly())
    assert signed
    with pytest.raises(AccessDenied):
        open_lab(endpoint_url=proxy.url, anonymous="never").load("X")


def test_a_profile_that_does_not_exist_is_a_config_error(open_lab):
    with pytest.raises(ConfigError, match="nobody"):
        open_lab(profile="nobody").load("X")


def test_a_profile_is_used(open_lab, home, proxy):
    proxy.refuse = lambda method, path: (418, "Teapot")  # what was sent is enough: these keys are nobody's
    with (home / ".aws" / "credentials").open("a") as file:
        file.write("[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = other\n")
    (home / ".aws" / "config").write_text("[profile other]\nregion = eu-west-3\n")
    for region, settings in (("eu-west-3", {}), ("us-west-2", {"region": "us-west-2"})):
        with pytest.raises(StorageError):
            open_lab(endpoint_url=proxy.url, profile="other", **settings).identifiers()
        assert "Credential=AKIAOTHER/" in proxy.headers[-1]["Authorization"]
        assert f"/{region}/s3/" in proxy.headers[-1]["Authorization"]


def test_a_dead_endpoint_is_unavailable(open_lab, unused_port):
    store = open_lab(endpoint_url=f"http://127.0.0.1:{unused_port}")
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        store.load("X", newest=True)
    with pytest.raises(ConnectionError):
        store.upload(make_assembly(), "X")


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", AccessDenied),
        (400, "ExpiredToken", AccessDenied),
        (403, "SignatureDoesNotMatch", AccessDenied),
        (403, "RequestTimeTooSkewed", StoreUnavailable),
        (503, "SlowDown", RateLimited),
        (500, "InternalError", StoreUnavailable),
        (404, "NoSuchBucket", ConfigError),
        (404, "NoSuchKey", AssemblyNotFound),
        (418, "Teapot", StorageError),
    ],
)
def test_what_the_server_refuses_is_typed_with_its_cause(open_lab, proxy, monkeypatch, status, code, error):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    proxy.refuse = lambda method, path: (status, code)
    with pytest.raises(error) as caught:
        open_lab(endpoint_url=proxy.url).load("X")
    assert type(caught.value) is error
    assert caught.value.__cause__ is not None
    assert "s3://" in str(caught.value)


def test_a_damaged_upload_is_refused_by_the_server_and_keeps_nothing(open_lab, s3_client, bucket, proxy):
    proxy.refuse = lambda method, path: (400, "BadDigest") if method == "PUT" else None
    with pytest.raises(IntegrityError, match="nothing was stored"):
        open_lab(endpoint_url=proxy.url).upload(make_assembly(), "X")
    assert s3_client.list_objects_v2(Bucket=bucket).get("Contents", []) == []


def test_a_truncated_object_and_nonsense_are_told(open_lab, s3_client, bucket, tmp_path):
    store = open_lab()
    receipt = store.upload(make_assembly(), "X")
    head = s3_client.head_object(Bucket=bucket, Key=KEY)
    body = s3_client.get_object(Bucket=bucket, Key=KEY)["Body"].read()
    s3_client.put_object(Bucket=bucket, Key=KEY, Body=body[:-10], Metadata=head["Metadata"])
    with pytest.raises(IntegrityError) as caught:
        open_lab().load("X")
    assert receipt.sha256 in str(caught.value)
    s3_client.put_object(Bucket=bucket, Key=KEY, Body=b"<html>sign in</html>")
    with pytest.raises(EncodingError, match="not a netCDF"):
        open_lab().load("X")
    xr.testing.assert_identical(open_lab().load("X", sha1=receipt.sha1), make_assembly())


def test_a_connection_cut_again_and_again_still_gives_the_bytes(open_lab, proxy, monkeypatch, tmp_path):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(range(256)) * (5 << 12))
    receipt = open_lab().upload_file(path)
    proxy.change = lambda method, path, body: body[: 3 << 20] if "large" in path else body
    fetched = open_lab(endpoint_url=proxy.url).fetch("large.bin", sha1=receipt.sha1, version_id=receipt.version_id)
    assert fetched.read_bytes() == path.read_bytes()
    gets = [headers for headers, request in zip(proxy.headers, proxy.requests, strict=True) if "GET" in request]
    assert "Range" not in gets[0]
    (resumed,) = re.fullmatch(r"bytes=(\d+)-", gets[1]["Range"]).groups()
    assert 1 << 20 <= int(resumed) <= 3 << 20
    assert gets[1]["If-Match"]
    assert receipt.version_id in proxy.requests[-1]


def test_a_flipped_bit_on_the_way_is_seen(open_lab, proxy):
    receipt = open_lab().upload(make_assembly(), "X")

    def flip(method, path, body):
        return body[:500] + bytes([body[500] ^ 1]) + body[501:] if len(body) > 1000 else body

    proxy.change = flip
    for pin in ({"sha1": receipt.sha1}, {}):
        with pytest.raises(IntegrityError):
            open_lab(endpoint_url=proxy.url).load("X", **pin)


def test_a_forbidden_listing_stops_neither_load_nor_upload(open_lab, proxy):
    def refuse(method, path):
        return (403, "AccessDenied") if "list-type" in path or "?versions" in path else None

    proxy.refuse = refuse
    store = open_lab(endpoint_url=proxy.url)
    receipt = store.upload(make_assembly(), "X")
    other = open_lab(endpoint_url=proxy.url)
    xr.testing.assert_identical(other.load("X", sha1=receipt.sha1), make_assembly())
    with pytest.raises(AccessDenied):
        other.versions("X")


def test_threads_share_a_store(open_lab):
    store = open_lab()
    receipts, errors = {}, []

    def work(number):
        try:
            receipts[number] = store.upload(make_assembly(number), f"X{number % 4}")
            assert store.load(receipts[number]).identical(make_assembly(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({receipt.version_id for receipt in receipts.values()}) == 16


def test_answers_that_are_not_wanted_free_their_connection(open_lab, tmp_path):
    (tmp_path / "large.bin").write_bytes(b"x" * (4 << 20))
    store = open_lab()
    store.upload_file(tmp_path / "large.bin")
    paths = {store.fetch("large.bin", newest=True) for _ in range(40)}  # more than the pool has connections
    assert len(paths) == 1


def test_an_object_replaced_while_it_is_read_is_an_integrity_error(open_lab, s3_client, aws_credentials, tmp_path):
    bucket = f"unversioned-{tmp_path.name[-20:].strip('_').replace('_', '-')}"
    s3_client.create_bucket(Bucket=bucket)
    (tmp_path / "f").write_bytes(b"first")
    files = open_lab(bucket=f"{bucket}/brain").files
    s3_client.put_object(Bucket=bucket, Key="brain/f", Body=b"first")
    with files.read("f") as content:
        etag = content.version.etag
    s3_client.put_object(Bucket=bucket, Key="brain/f", Body=b"other")
    with pytest.raises(IntegrityError, match="replaced"):
        files.read("f", start=2, if_match=etag)


@pytest.mark.parametrize("process", ["false", "echo nonsense", "no-such-command-anywhere"])
def test_credentials_that_cannot_be_had_do_not_stand_before_public_data(open_lab, s3_client, bucket, home, process):
    open_lab().upload(make_assembly(), "X")
    open_lab().upload(make_assembly(1), "Private")
    s3_client.put_object_acl(Bucket=bucket, Key=KEY, ACL="public-read")
    (home / ".aws" / "credentials").write_text(f"[default]\ncredential_process = {process}\n")
    xr.testing.assert_identical(open_lab().load("X"), make_assembly())
    with pytest.raises(AccessDenied, match="could not be read"):
        open_lab().load("Private")


@pytest.mark.parametrize(
    "answer", [(403, "AccessDenied"), (404, "404"), (405, "MethodNotAllowed"), (501, "NotImplemented")]
)
def test_a_server_that_does_not_tell_its_versioning_counts_as_unversioned(open_lab, proxy, answer):
    proxy.refuse = lambda method, path: answer if path.endswith("?versioning") else None
    store = open_lab(endpoint_url=proxy.url)
    store.upload(make_assembly(1), "X")
    with pytest.raises(AlreadyExists):
        store.upload(make_assembly(2), "X")


def test_a_file_that_vanishes_before_it_is_sent_is_told(open_lab, tmp_path):
    for size in (10, 17 << 20):
        path = tmp_path / "f"
        path.write_bytes(b"x" * size)
        store = open_lab()
        looked = store.files.newest

        def remove_then_look(key, looked=looked, path=path):
            path.unlink()
            return looked(key)

        store.files.newest = remove_then_look
        with pytest.raises(StorageError, match="Cannot read f"):
            store.upload_file(path)


@pytest.mark.slow
def test_one_failed_look_ends_the_others(open_lab, proxy, s3_client, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for _ in range(180):
        s3_client.put_object(Bucket=bucket, Key=KEY, Body=b"x")
    proxy.refuse = lambda method, path: (418, "Teapot") if method == "HEAD" else None
    with pytest.raises(StorageError):
        open_lab(endpoint_url=proxy.url).versions("X")
    open_lab(endpoint_url=proxy.url).file_names()  # the client works on; time for further looks, were there any
    assert sum(request.startswith("HEAD") for request in proxy.requests) < 3 * 40  # the core asks three times


@pytest.mark.slow
@pytest.mark.parametrize("size", [12 << 20, 30 << 20])
def test_a_server_that_stops_reading_does_not_hold_an_upload_for_ever(open_lab, proxy, tmp_path, monkeypatch, size):
    import storage_plugins_s3.connection

    monkeypatch.setattr(storage_plugins_s3.connection, "_CONNECT", 1.0)
    monkeypatch.setattr(storage_plugins_s3.connection, "_READ", 1.0)
    (tmp_path / "large.bin").write_bytes(b"x" * size)
    store = open_lab(endpoint_url=proxy.url)
    proxy.stuck = lambda method, path: method == "PUT"
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        store.upload_file(tmp_path / "large.bin")
    proxy.go_on.set()


@pytest.mark.parametrize("begin", TRICKLES)
@pytest.mark.parametrize(
    ("size", "method", "path"),
    [
        (5_000, "PUT", "f.bin"),
        ((16 << 20) + 1, "PUT", "f.bin"),
        ((16 << 20) + 1, "PUT", ".storage-plugins/"),
        ((16 << 20) + 1, "POST", "uploadId"),
    ],
)
def test_the_answer_to_an_upload_that_comes_byte_by_byte_is_not_waited_for_as_long_as_the_upload_may_take(
    open_lab, endpoint, tmp_path, size, method, path, begin
):
    (tmp_path / "f.bin").write_bytes(bytes(size))
    proxy = FaultyProxy(endpoint)
    left = [Wrong(trickle=TRICKLES[begin])]
    proxy.ask = lambda request: left.pop() if left and request.method == method and path in request.path else None
    began = time.monotonic()
    try:
        receipt = open_lab(endpoint_url=proxy.url).upload_file(tmp_path / "f.bin")
    finally:
        proxy.close()
    assert time.monotonic() - began < 30
    assert left == []
    assert open_lab().fetch("f.bin", version_id=receipt.version_id).read_bytes() == bytes(size)


@pytest.mark.parametrize(("size", "method", "path"), [(5_000, "PUT", "f.bin"), ((16 << 20) + 1, "POST", "uploadId")])
@pytest.mark.parametrize("forged", [{}, {"etag": f'"{"0" * 32}"'}, {"x-amz-version-id": ""}])
def test_an_older_version_with_the_same_bytes_is_no_proof_that_an_upload_arrived(
    open_lab, endpoint, tmp_path, size, method, path, forged
):
    def send(store, byte):
        (tmp_path / "f.bin").write_bytes(byte * size)
        return store.upload_file(tmp_path / "f.bin")

    old = [send(open_lab(), byte) for byte in (b"a", b"b")]
    proxy = FaultyProxy(endpoint)

    def wrong(request):
        if request.method == "HEAD" and request.path.endswith("f.bin"):
            return Wrong(spoil=lambda answer: answer.headers.update(forged))
        return Wrong(instead=Answer(200, {}, b"")) if request.method == method and path in request.path else None

    proxy.ask = wrong
    try:
        with pytest.raises(StoreUnavailable):
            send(open_lab(endpoint_url=proxy.url), b"a")
    finally:
        proxy.close()
    new = send(open_lab(), b"a")
    assert [version.version_id for version in open_lab().versions("f.bin")] == [
        new.version_id,
        old[1].version_id,
        old[0].version_id,
    ]


def test_a_mirror_does_not_take_a_version_that_it_sent_before_for_one_that_was_lost(
    open_lab, endpoint, bucket, tmp_path
):
    lab, proxy = open_lab(), FaultyProxy(endpoint)
    for byte in (b"a", b"b", b"a"):
        (tmp_path / "f.bin").write_bytes(byte * 1000)
        lab.upload_file(tmp_path / "f.bin")
    sent = []

    def wrong(request):
        if request.method == "PUT" and request.path.endswith("/f.bin"):
            sent.append(request.path)
            if len(sent) == 3:
                return Wrong(instead=Answer(200, {}, b""))
        return None

    proxy.ask = wrong
    try:
        report = storage_plugins.mirror(lab, open_lab(endpoint_url=proxy.url, bucket=f"{bucket}/ours"))
    finally:
        proxy.close()
    assert not report.complete
    again = storage_plugins.mirror(lab, open_lab(bucket=f"{bucket}/ours"))
    assert again.complete
    assert [(file.versions_copied, file.versions_there) for file in again.files] == [(1, 2)]


def test_a_connection_on_which_the_answer_to_a_head_goes_on_is_not_used_again(open_lab, endpoint, tmp_path):
    (tmp_path / "f.bin").write_bytes(bytes((16 << 20) + 1))
    proxy, asked = FaultyProxy(endpoint), []

    def wrong(request):
        asked.append(request.method)
        if request.method == "POST" and "uploadId" in request.path:
            return Wrong(instead=Answer(504, {}, b""))
        return Wrong(trickle=TRICKLES["body"]) if request.method == "HEAD" and "f.bin" in request.path else None

    proxy.ask = wrong
    began = time.monotonic()
    try:
        with pytest.raises(StoreUnavailable):
            open_lab(endpoint_url=proxy.url).upload_file(tmp_path / "f.bin")
    finally:
        proxy.close()
    assert time.monotonic() - began < 30
    assert "HEAD" in asked


def test_an_upload_in_parts_that_fails_does_not_wait_for_ever_until_its_end_is_confirmed(open_lab, endpoint, tmp_path):
    (tmp_path / "f.bin").write_bytes(bytes((16 << 20) + 1))
    proxy = FaultyProxy(endpoint)
    asked = []

    def wrong(request):
        asked.append(request.method)
        if request.method == "DELETE":
            return Wrong(carry_on=1, trickle=TRICKLES["body"])
        return (
            Wrong(instead=Answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>"))
            if "partN" in request.path
            else None
        )

    proxy.ask = wrong
    began = time.monotonic()
    try:
        with pytest.raises(AccessDenied):
            open_lab(endpoint_url=proxy.url).upload_file(tmp_path / "f.bin")
    finally:
        proxy.close()
    assert "DELETE" in asked
    assert time.monotonic() - began < 60
