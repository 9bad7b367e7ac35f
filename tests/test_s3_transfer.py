"""Large files on their way to S3 and back: in parts and ranges, over links that break."""

import hashlib
import os
import re

import pytest
from proxy import Answer

from storage_plugins import IntegrityError, Source

pytestmark = pytest.mark.slow

LARGE = 17 << 20  # bytes, sent in parts


@pytest.fixture
def files(open_lab, link):
    return open_lab(endpoint_url=f"http://127.0.0.1:{link.port}").files


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(os.urandom(LARGE))
    return path


def put(files, path) -> str | None:
    source = Source.of(path, part_size=files.part_size(path.stat().st_size))
    metadata = {"identifier": "f", "sha1": source.sha1, "sha256": source.sha256, "size": str(source.size)}
    return files.put("f", source, metadata=metadata, if_absent=False)


def versions(client, bucket: str) -> list[str]:
    return [each["VersionId"] for each in client.list_object_versions(Bucket=bucket, Prefix="brain/f")["Versions"]]


@pytest.mark.parametrize("size", [0, 1000, 3 << 20, (3 << 20) + 1, 8 << 20])
def test_one_reading_gives_every_hash(path, size):
    os.truncate(path, size)
    data, part = path.read_bytes(), 1 << 20
    source = Source.of(path, part_size=part)
    assert source.sha1 == hashlib.sha1(data).hexdigest()
    assert source.sha256 == hashlib.sha256(data).hexdigest()
    expected = tuple(hashlib.md5(data[begin : begin + part]).digest() for begin in range(0, max(size, 1), part))
    assert source.md5s(part) == expected
    assert Source.of(path).md5s(part) == expected  # from another reading
    assert source.md5s(2 * part)[0] == hashlib.md5(data[: 2 * part]).digest()


@pytest.mark.parametrize("size", [15 << 20, LARGE])
def test_a_body_cut_on_its_way_is_sent_again_and_stored_once(files, link, path, s3_client, bucket, size):
    os.truncate(path, size)
    assert files.keeps_versions()
    link.cut_at = ("up", 100_000)
    made = put(files, path)
    assert link.cut == 1
    assert versions(s3_client, bucket) == [made]
    got = s3_client.get_object(Bucket=bucket, Key="brain/f")["Body"].read()
    assert got == path.read_bytes()
    assert s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_part_whose_answer_is_lost_is_sent_again_alone(open_lab, proxy, path, s3_client, bucket):
    lost = []

    def lose(method: str, asked: str, answer: Answer) -> None:
        if "partNumber=2" in asked and not lost:
            lost.append(asked)
            answer.status = 0

    proxy.spoil = lose
    made = put(open_lab(endpoint_url=proxy.url).files, path)
    assert versions(s3_client, bucket) == [made]
    sent = sorted(re.search(r"partNumber=(\d)", asked)[1] for asked in proxy.requests if "partNumber" in asked)
    assert sent == ["1", "2", "2", "3", "4"]


@pytest.mark.parametrize("known", [True, False], ids=["MD5s known", "MD5s unknown"])
def test_a_file_changed_after_it_was_hashed_is_not_stored(files, path, s3_client, bucket, known):
    source = Source.of(path, part_size=files.part_size(LARGE) if known else None)
    with path.open("r+b") as file:
        file.seek(LARGE // 2)
        file.write(b"changed")
    with pytest.raises(IntegrityError):
        files.put("f", source, metadata={"sha1": source.sha1, "sha256": source.sha256}, if_absent=False)
    assert "Versions" not in s3_client.list_object_versions(Bucket=bucket, Prefix="brain/f")
    assert s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_large_file_comes_in_ranges_over_a_slow_link_that_breaks(open_lab, link, tmp_path, s3_client, bucket):
    path = tmp_path / "f"
    path.write_bytes(os.urandom(40 << 20))
    receipt = open_lab().upload_file(path, "f")
    link.rate, link.cut_at = 40e6, ("down", 3 << 20)
    store = open_lab(endpoint_url=f"http://127.0.0.1:{link.port}")
    assert store.fetch("f", sha256=receipt.sha256).read_bytes() == path.read_bytes()
    assert link.cut == 1
    assert link.connections > 2
    assert link.passed["down"] < 1.1 * (40 << 20)
