"""Answers that an S3 server should not give: nothing false is believed, nothing stored twice, nothing listed short."""

import datetime
import email.utils
import hashlib
import json
import os
import re
import time

import pytest
import xarray as xr
from conftest import make_assembly
from proxy import Answer, Proxy

from storage_plugins import AccessDenied, AlreadyExists, Source, StorageError, StoreUnavailable
from storage_plugins._check.check import Check

KEY = "brain/assy_X.nc"
PAGE = b"<html><body>Please sign in</body></html>"


@pytest.fixture
def files(open_lab, proxy: Proxy, monkeypatch):
    """The file operations, through the proxy, with the bucket's versioning known."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    files = open_lab(endpoint_url=proxy.url).files
    assert files.keeps_versions()
    proxy.requests.clear()
    return files


@pytest.fixture
def host(open_lab, proxy: Proxy):
    """The same as the core uses them: it looks for an upload that no answer proves among what is new."""
    host = open_lab(endpoint_url=proxy.url).host
    assert host.keeps_versions()
    return host


@pytest.fixture
def source(tmp_path):
    def make(size: int = 1000) -> Source:
        path = tmp_path / f"file-{size}"
        path.write_bytes(os.urandom(size))
        return Source.of(path)

    return make


def put(files, source: Source, **options) -> str | None:
    metadata = {"identifier": "f", "sha1": source.sha1, "sha256": source.sha256, "size": str(source.size)}
    return files.put("f", source, metadata=metadata, if_absent=options.get("if_absent", False))


def stored(client, bucket: str) -> list[str]:
    listed = client.list_object_versions(Bucket=bucket, Prefix="brain/f").get("Versions", [])
    return [each["VersionId"] for each in listed]


def on(method: str, part: str, change) -> object:
    """Return a rule for the proxy: change the answers to such requests."""

    def spoil(asked: str, path: str, answer: Answer) -> None:
        if asked == method and part in path and ".storage-plugins" not in path:
            change(answer)

    return spoil


def nothing_but_a_page(answer: Answer) -> None:
    answer.status, answer.headers, answer.body = 200, {"content-type": "text/html"}, PAGE


def lose(answer: Answer) -> None:
    answer.status = 0


# uploads


@pytest.mark.parametrize("size", [1000, 17 << 20])
def test_an_upload_that_a_page_answers_is_no_upload(files, proxy, source, size):
    proxy.spoil = lambda method, path, answer: nothing_but_a_page(answer)
    with pytest.raises(StoreUnavailable, match="does not answer as an S3 server"):
        put(files, source(size))


def test_an_answer_without_proof_counts_if_the_version_is_there(files, proxy, source, s3_client, bucket):
    for header in ("etag", "x-amz-version-id"):
        proxy.spoil = on("PUT", "/f", lambda answer, header=header: answer.headers.pop(header, None))
        given = put(files, source())
        assert given == stored(s3_client, bucket)[0]


def test_a_version_id_that_no_answer_names_is_found_in_the_listing(host, proxy, source, s3_client, bucket):
    proxy.spoil = lambda method, path, answer: answer.headers.pop("x-amz-version-id", None)
    assert put(host, source()) == stored(s3_client, bucket)[0]


def test_an_upload_whose_answer_proves_nothing_is_found_among_later_ones(host, files, proxy, source, open_lab):
    first, other = source(17 << 20), open_lab().files

    def overtaken(method: str, path: str, answer: Answer) -> None:
        if method == "POST" and "uploadId" in path:
            answer.headers.pop("x-amz-version-id")
            put(other, source())

    proxy.spoil = overtaken
    given = put(host, first)
    with files.read("f", given) as content:
        assert content.version.sha256 == first.sha256


def test_a_version_id_without_an_etag_is_looked_at(files, proxy, source, open_lab):
    first, other = source(17 << 20), open_lab().files

    def overtaken(method: str, path: str, answer: Answer) -> None:
        if method == "POST" and "uploadId" in path:  # as Ceph answers
            answer.body = re.sub(rb"<ETag>.*</ETag>", b"<ETag></ETag>", answer.body)
            put(other, source())

    proxy.spoil = overtaken
    given = put(files, first)
    with files.read("f", given) as content:
        assert content.version.sha256 == first.sha256


def test_an_answer_about_other_bytes_is_no_proof(files, proxy, source, s3_client, bucket):
    put(files, source())
    proxy.refuse = lambda method, path: None
    other = source(2000)

    def pretend(answer: Answer) -> None:  # as if it were stored; what is there is the first file
        answer.headers["etag"] = '"' + "0" * 32 + '"'

    proxy.answer = lambda method, path: "<Nothing/>" if method == "PUT" else None
    proxy.spoil = on("PUT", "/f", pretend)
    with pytest.raises(StoreUnavailable, match="does not prove"):
        put(files, other)
    assert len(stored(s3_client, bucket)) == 1


def test_an_upload_whose_answer_is_lost_is_not_sent_again(files, proxy, source, s3_client, bucket):
    proxy.spoil = on("PUT", "/f", lose)
    with pytest.raises(StoreUnavailable):
        put(files, source())
    assert len(stored(s3_client, bucket)) == 1
    assert sum(request.startswith("PUT") for request in proxy.requests) == 1


@pytest.mark.parametrize("answer", [(503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable")])
def test_an_upload_that_was_clearly_refused_is_sent_again(files, proxy, source, s3_client, bucket, answer):
    left = [answer]
    proxy.refuse = lambda method, path: left.pop() if method == "PUT" and left else None
    assert stored(s3_client, bucket) == []
    assert put(files, source()) == stored(s3_client, bucket)[0]
    assert len(stored(s3_client, bucket)) == 1


@pytest.mark.parametrize("lost", ["lost", "an error in a 200", "without an ETag"])
def test_an_upload_in_parts_whose_last_answer_is_lost_is_found(files, proxy, source, s3_client, bucket, lost):
    def change(answer: Answer) -> None:
        if lost == "lost":
            answer.status = 0
        elif lost == "without an ETag":
            answer.body = re.sub(rb"<ETag>.*</ETag>", b"", answer.body)
            answer.headers.pop("x-amz-version-id")
        else:
            answer.body = b"<Error><Code>InternalError</Code><Message>We had a problem</Message></Error>"

    def spoil(method: str, path: str, answer: Answer) -> None:
        if method == "POST" and "uploadId" in path:
            change(answer)

    proxy.spoil = spoil
    given = put(files, source(17 << 20))
    assert [given] == stored(s3_client, bucket)
    assert s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_an_upload_in_parts_that_was_never_completed_leaves_nothing(files, proxy, source, s3_client, bucket):
    proxy.answer = lambda method, path: "<html/>" if method == "POST" and "uploadId" in path else None
    with pytest.raises(StoreUnavailable):
        put(files, source(17 << 20))
    assert stored(s3_client, bucket) == []
    assert s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_the_etag_of_an_encrypted_object_is_no_hash_but_its_record_is_proof(files, proxy, source, s3_client, bucket):
    def encrypted(method: str, path: str, answer: Answer) -> None:
        if "/f" in path and "etag" in answer.headers:
            answer.headers["etag"] = '"' + "a" * 32 + '"'
            answer.headers["x-amz-server-side-encryption"] = "aws:kms"

    proxy.spoil = encrypted
    assert put(files, source()) == stored(s3_client, bucket)[0]
    with files.read("f") as content:
        assert content.version.md5 is None


def test_a_condition_that_fails_is_told_at_once(files, source, s3_server):
    if s3_server.kind == "ceph":
        pytest.skip("this server ignores conditions where it keeps versions")
    put(files, source())
    with pytest.raises(AlreadyExists):
        put(files, source(2000), if_absent=True)


@pytest.mark.parametrize("size", [200_000, 17 << 20])
def test_a_callback_that_raises_ends_an_upload_and_its_error_comes_through(
    files, source, s3_client, bucket, tmp_path, size
):
    class Enough(Exception):
        pass

    def progress(count: int) -> None:
        raise Enough

    path = tmp_path / "f"
    path.write_bytes(b"x" * size)
    with pytest.raises(Enough):
        put(files, Source.of(path, progress))
    assert stored(s3_client, bucket) == []
    assert s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_progress_is_what_was_sent_once_where_it_is_sent_twice(files, proxy, tmp_path):
    path, told, left = tmp_path / "f", [], [(503, "SlowDown")]
    path.write_bytes(b"x" * 200_000)
    proxy.refuse = lambda method, path: left.pop() if method == "PUT" and left else None
    put(files, Source.of(path, told.append))
    assert sum(told) == 200_000
    assert len(told) > 2
    assert all(told)


# unfinished uploads


def test_old_unfinished_uploads_of_a_key_are_ended_by_its_next_upload(files, proxy, source, s3_client, bucket):
    old, running = (
        s3_client.create_multipart_upload(Bucket=bucket, Key="brain/f")["UploadId"],
        s3_client.create_multipart_upload(Bucket=bucket, Key="brain/f")["UploadId"],
    )
    other = s3_client.create_multipart_upload(Bucket=bucket, Key="brain/f2")["UploadId"]
    now = datetime.datetime.now(datetime.UTC)
    begun = dict.fromkeys((old, other), now - datetime.timedelta(days=7, hours=1))
    begun[running] = now - datetime.timedelta(days=6, hours=23)

    def age(method: str, path: str, answer: Answer) -> None:
        if "?uploads" in path and method == "GET":
            for upload, time in begun.items():  # moto knows no times
                block = re.search(
                    rb"<Upload>(?:(?!</Upload>).)*" + upload.encode() + rb".*?</Upload>", answer.body, re.S
                )
                stamp = rb"\g<1>" + time.isoformat().encode() + rb"\2"
                aged = re.sub(rb"(<Initiated>).*?(<)", stamp, block[0], flags=re.S)
                answer.body = answer.body.replace(block[0], aged)

    proxy.spoil = age
    put(files, source(17 << 20))
    left = {each["UploadId"] for each in s3_client.list_multipart_uploads(Bucket=bucket)["Uploads"]}
    assert left == {running, other}


@pytest.mark.slow
def test_a_check_lists_old_unfinished_uploads_and_prints_the_rule_that_ends_them(open_lab, proxy, s3_client, bucket):
    def found():
        with Check(open_lab(endpoint_url=proxy.url), read_only=True) as check:
            return {finding.check: finding for finding in check}["unfinished uploads"]

    assert (found().ok, found().text) == (True, "none that is old")
    for key in ("brain/old.bin", "elsewhere/old.bin"):
        s3_client.create_multipart_upload(Bucket=bucket, Key=key)
    assert found().ok  # moto dates all uploads 2010, when there was no such upload
    begun = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=7, hours=1)

    def age(method: str, path: str, answer: Answer) -> None:
        if "?uploads" in path:
            answer.body = re.sub(rb"(<Initiated>)[^<]*", rb"\g<1>" + begun.isoformat().encode(), answer.body)

    proxy.spoil = age
    assert (found().ok, found().text, found().figures) == (None, "1 of old.bin", {"uploads": 1})
    rules = json.loads(found().hint.partition("--lifecycle-configuration '")[2].rstrip("'"))
    s3_client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules)
    assert f"--bucket {bucket} " in found().hint
    proxy.refuse = lambda method, path: (403, "AccessDenied") if "?uploads" in path else None
    assert found().ok is None  # who may not list them does not know


# listings

LISTINGS = {
    "a page": lambda body: PAGE,
    "empty": lambda body: b"",
    "cut": lambda body: body[: len(body) // 2],
    "another document": lambda body: b"<ListAllMyBucketsResult/>",
    "no word whether it is complete": lambda body: re.sub(rb"<IsTruncated>.*</IsTruncated>", b"", body),
    "cut, no word how to go on": lambda body: body.replace(b">false</IsTruncated>", b">true</IsTruncated>"),
    "another folder's": lambda body: re.sub(rb"<Prefix>.*?</Prefix>", b"<Prefix>other/</Prefix>", body),
    "declares entities": lambda body: b'<!DOCTYPE a [<!ENTITY x "y">]>' + body,
}


@pytest.mark.parametrize("listing", LISTINGS)
def test_a_listing_that_is_none_is_never_an_empty_store(open_lab, files, proxy, listing):
    open_lab().upload(make_assembly(), "X")

    def spoil(method: str, path: str, answer: Answer) -> None:
        if "?list-type" in path or "?versions" in path:
            answer.body = LISTINGS[listing](answer.body)

    proxy.spoil = spoil
    calls = {"keys": lambda: list(files.keys()), "versions": lambda: files.versions("assy_X.nc")}
    for call in [*calls.values(), lambda: files.newest_of_all("assy_")]:
        with pytest.raises(StoreUnavailable, match="does not answer as an S3 server"):
            call()


@pytest.mark.parametrize("encoded", [True, False])
def test_a_listing_may_repeat_its_prefix_encoded_or_as_it_is(open_lab, files, proxy, encoded):
    open_lab().upload(make_assembly(), "d+e")
    told = b"<Prefix>brain/assy_d%2Be</Prefix>" if encoded else b"<Prefix>brain/assy_d+e</Prefix>"

    def spoil(method: str, path: str, answer: Answer) -> None:
        if "?list-type" in path:
            answer.body = re.sub(rb"<Prefix>.*?</Prefix>", told, answer.body)

    proxy.spoil = spoil
    assert [*files.keys("assy_d+e")] == ["assy_d+e.nc"]


def test_entries_that_are_missing_from_a_page_are_noticed(open_lab, files, proxy):
    open_lab().upload(make_assembly(), "X")
    lack = re.compile(rb"<Contents>.*</Contents>", re.S)
    proxy.spoil = on("GET", "?list-type", lambda answer: setattr(answer, "body", lack.sub(b"", answer.body)))
    with pytest.raises(StoreUnavailable, match="1 of 2 entries"):
        files.keys()


@pytest.mark.parametrize("tokens", [lambda: "same", lambda: str(time.perf_counter_ns())])
def test_a_listing_that_never_ends_is_an_error(files, proxy, tokens):
    def endless(method: str, path: str) -> str | None:
        if "?list-type" in path:
            more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{tokens()}</NextContinuationToken>"
            return f"<ListBucketResult><Name>b</Name>{more}</ListBucketResult>"
        if "?versions" in path:
            more = f"<NextKeyMarker>{tokens()}</NextKeyMarker><NextVersionIdMarker>b</NextVersionIdMarker>"
            return f"<ListVersionsResult><IsTruncated>true</IsTruncated>{more}</ListVersionsResult>"
        return None

    proxy.answer = endless
    for call in (lambda: files.keys(), lambda: files.versions("f")):
        proxy.requests.clear()
        with pytest.raises(StoreUnavailable):
            call()
        assert len(proxy.requests) < 10


def test_one_404_for_a_listed_object_renames_nothing(open_lab, proxy, s3_client, bucket, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    receipt = open_lab().upload(make_assembly(), "Lab.a")
    for each in s3_client.list_object_versions(Bucket=bucket, Prefix="brain/.storage-plugins/")["Versions"]:
        s3_client.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
    left = [1]

    def spoil(method: str, path: str, answer: Answer) -> None:
        if method == "HEAD" and receipt.key in path and left:
            left.pop()
            answer.status = 404

    proxy.spoil = spoil
    assert open_lab(endpoint_url=proxy.url).identifiers() == ["Lab.a"]
    assert not left
    proxy.spoil = lambda method, path, answer: setattr(answer, "status", 404) if method == "HEAD" else None
    with pytest.raises(StoreUnavailable, match="lists"):
        open_lab(endpoint_url=proxy.url).identifiers()


# reading


def test_a_range_that_the_server_ignores_is_passed_over(open_lab, files, proxy, tmp_path):
    data = os.urandom(3 << 20)
    (tmp_path / "g").write_bytes(data)
    open_lab().upload_file(tmp_path / "g", "f")

    passed_on = Proxy._pass

    def without_range(self, handler):
        del handler.headers["Range"]
        passed_on(self, handler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Proxy, "_pass", without_range)
        for start, stop in ((1 << 20, None), (5, 10), (0, 7), (2_500_000, 3_000_000)):
            with files.read("f", start=start, stop=stop) as content:
                assert content.version.size == len(data)
                assert b"".join(content.blocks) == data[start:stop]


def test_another_range_than_asked_for_is_refused(files, source, proxy):
    put(files, source())
    proxy.spoil = on("GET", "/f", lambda answer: answer.headers.update({"content-range": "bytes 0-9/1000"}))
    with pytest.raises(StoreUnavailable, match="asked for bytes from 10"):
        files.read("f", start=10)


def test_the_etag_of_an_upload_in_one_request_is_given_as_md5(open_lab, s3_client, bucket, tmp_path):
    files = open_lab().files
    s3_client.put_object(Bucket=bucket, Key="brain/plain", Body=b"data")
    with files.read("plain") as content:
        assert content.version.md5 == hashlib.md5(b"data").hexdigest()
    (tmp_path / "large").write_bytes(b"x" * (17 << 20))
    open_lab().upload_file(tmp_path / "large")
    with files.read("large") as content:
        assert content.version.md5 is None


def test_a_redirect_to_another_host_is_not_followed(files, proxy):
    def away(method: str, path: str, answer: Answer) -> None:
        answer.status, answer.body = 302, b""
        answer.headers = {"location": "http://127.0.0.1:9/elsewhere"}

    proxy.spoil = away
    with pytest.raises(StoreUnavailable, match="redirects"):
        files.read("f")


# refusals of HEAD, which have no body


def test_a_clock_that_is_off_is_named_by_an_upload_too(open_lab, proxy):
    def skewed(method: str, path: str, answer: Answer) -> None:
        answer.status, answer.body = 403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
        answer.headers["date"] = email.utils.formatdate(time.time() - 5 * 3600, usegmt=True)

    proxy.spoil = skewed
    with pytest.raises(StoreUnavailable, match="clock is off by 300 minutes"):
        open_lab(endpoint_url=proxy.url).upload(make_assembly(), "X")


def test_a_listing_that_a_wrong_clock_refuses_is_not_tried_without_credentials_which_may_see_less(open_lab, proxy):
    open_lab().upload(make_assembly(), "X")

    def signed() -> bool:
        return "authorization" in {name.lower() for name in proxy.headers[-1]}

    proxy.refuse = lambda method, path: (403, "RequestTimeTooSkewed" if signed() else "AccessDenied")
    store = open_lab(endpoint_url=proxy.url)
    for look in (lambda: store.versions("X"), store.identifiers):
        proxy.headers.clear()
        with pytest.raises(StoreUnavailable, match="clock"):
            look()
        assert {"Authorization", "authorization"}.intersection(*proxy.headers)


def test_public_bytes_are_loaded_although_the_clock_is_wrong(open_lab, proxy, s3_client, bucket):
    receipt = open_lab().upload(make_assembly(), "X")
    s3_client.put_object_acl(Bucket=bucket, Key=f"brain/{receipt.key}", VersionId=receipt.version_id, ACL="public-read")

    def signed() -> bool:
        return "authorization" in {name.lower() for name in proxy.headers[-1]}

    proxy.refuse = lambda method, path: (403, "RequestTimeTooSkewed") if signed() else None
    xr.testing.assert_identical(
        open_lab(endpoint_url=proxy.url).load("X", version_id=receipt.version_id), make_assembly()
    )


def test_a_wrong_secret_is_named_by_an_upload_too(open_lab, proxy):
    proxy.refuse = lambda method, path: (403, "SignatureDoesNotMatch")
    with pytest.raises(AccessDenied, match="secret key does not match"):
        open_lab(endpoint_url=proxy.url).upload(make_assembly(), "X")


def test_a_refused_look_is_explained_once_a_minute(open_lab, proxy):
    files = open_lab(endpoint_url=proxy.url).files
    proxy.refuse = lambda method, path: (403, "AccessDenied")
    for _ in range(3):
        with pytest.raises(AccessDenied):
            files.newest("f")
    signed = [
        request.split()[0]
        for request, headers in zip(proxy.requests, proxy.headers, strict=True)
        if "Authorization" in headers
    ]
    assert signed == ["HEAD", "GET", "HEAD", "HEAD"]


@pytest.mark.parametrize("then", [[], [(500, "InternalError")], [(503, "SlowDown")]], ids=str)
def test_one_refused_look_stores_nothing_again(open_lab, proxy, monkeypatch, then):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    receipt = open_lab().upload(make_assembly(), "X")
    answers = [(403, "RequestTimeTooSkewed"), *then]  # to the HEAD, and to the GET that asks for the reason
    proxy.refuse = lambda method, path: answers.pop(0) if answers else None
    assert open_lab(endpoint_url=proxy.url).upload(make_assembly(), "X").version_id == receipt.version_id
    assert not answers
    assert [request.split()[0] for request in proxy.requests][: 1 + len(then)] == ["HEAD", "GET"][: 1 + len(then)]
    assert len(open_lab().versions("X")) == 1


def test_whatever_is_answered_with_a_page_is_an_error(open_lab, proxy, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    proxy.spoil = lambda method, path, answer: nothing_but_a_page(answer)
    store = open_lab(endpoint_url=proxy.url)
    for call in (store.identifiers, store.file_names, lambda: store.versions("X"), lambda: store.load("X")):
        with pytest.raises(StorageError, match="does not answer as an S3 server"):
            call()


def test_links_are_valid_for_seven_days_at_most_and_more_is_refused_before_any_request(open_lab, proxy):
    store = open_lab(endpoint_url=proxy.url)
    store.upload(make_assembly(), "X")
    assert "X-Amz-Expires=604800" in store.share("X", expires="7d")
    store = open_lab(endpoint_url=proxy.url)
    seen = []
    proxy.refuse = lambda method, path: seen.append(path)
    for expires in ("8d", "169h", 604801):
        with pytest.raises(StorageError, match="at most 7 days") as caught:
            store.share("X", expires=expires)
    assert caught.value.hint == "Ask for 7d or less."
    assert "604801 seconds were asked for" in str(caught.value)
    assert seen == []


def test_an_archived_version_does_not_hide_the_same_bytes_elsewhere(open_lab, s3_client, s3_server, bucket):
    if s3_server.kind != "moto":
        pytest.skip("this server archives nothing")
    receipt = open_lab().upload(make_assembly(), "X")
    held = s3_client.get_object(Bucket=bucket, Key=KEY)
    copy = {"Bucket": bucket, "Key": KEY, "Body": held["Body"].read(), "Metadata": held["Metadata"]}
    archived = s3_client.put_object(**copy, StorageClass="GLACIER")["VersionId"]
    xr.testing.assert_identical(open_lab().load("X", sha1=receipt.sha1), make_assembly())
    xr.testing.assert_identical(open_lab().load("X", version_id=archived, sha1=receipt.sha1), make_assembly())
    with pytest.raises(AccessDenied, match="archived"):
        open_lab().load("X", version_id=archived)


def says_of_its_policy(text: object) -> object:
    def change(answer: Answer) -> None:
        answer.status, answer.headers = 200, {"content-type": "application/json"}
        answer.body = (text if isinstance(text, str) else json.dumps(text)).encode()

    return on("GET", "policy", change)


@pytest.mark.parametrize("odd", ["", "null", "7", "[]", "{}", "[" * 9999, {"Statement": 7}, {"Statement": [7]}])
def test_a_policy_that_is_none_is_not_replaced(files, proxy, odd):
    proxy.spoil = says_of_its_policy(odd)
    assert "add this statement" in files.why_still_private(KEY)


def test_a_policy_of_one_statement_is_completed(files, proxy):
    proxy.spoil = says_of_its_policy({"Statement": {"Sid": "TheirOwn", "Effect": "Deny"}})
    command = files.why_still_private(KEY)
    assert "TheirOwn" in command
    assert "add this statement" not in command


def test_a_bucket_keeps_versions_although_the_first_question_came_from_a_skewed_clock(open_lab, proxy):
    store = open_lab(endpoint_url=proxy.url)
    first = open_lab().upload(make_assembly(1), "X")
    refusals = [(403, "RequestTimeTooSkewed")]
    proxy.refuse = lambda method, path: refusals.pop() if refusals and "versioning" in path else None
    store.host.keeps_versions()
    assert refusals == []
    second = store.upload(make_assembly(2), "X")
    assert {first.version_id, second.version_id} == {version.version_id for version in store.versions("X")}
