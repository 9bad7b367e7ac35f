"""Uploads that count only when the server proves that it stored the bytes."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from storage_plugins import IntegrityError, Source, StorageError, StoreUnavailable, Version

from . import answers
from .bucket import Bucket, patiently
from .connection import Part, Reply
from .errors import not_s3

_LONGEST_ABORT = 10.0  # seconds
_SINGLE = 16 << 20  # bytes that are sent in one request
_PART = 8 << 20  # bytes that a part has at most, as long as there are few enough parts
_SMALLEST_PART = 5 << 20  # bytes; S3 takes no smaller ones, except the last
_MOST_PARTS = 9_000  # S3 takes 10,000
_PARTS_AT_ONCE = 10
_LONGEST_UPLOAD = timedelta(days=7)  # unfinished uploads that began earlier no longer run
_FIRST_UPLOAD = datetime(2026, 1, 1, tzinfo=UTC)  # no upload of this package is older; moto dates all of them 2010


def send(
    bucket: Bucket, what: str, key: str, source: Source, headers: Mapping[str, str], condition: Mapping[str, str]
) -> Version:
    """Upload ``source`` as the object ``key``, and return the version that the server's own answers prove.

    ``headers`` go with the object, ``condition`` with the request that makes it.

    Raises:
        StoreUnavailable: the server's answer was lost or proves nothing, and the object is not there.
        AlreadyExists: the condition does not hold.
    """
    upload = _in_one if source.size <= _SINGLE else _in_parts
    return upload(bucket, what, key, source, headers, condition)


def part_size(size: int) -> int:
    """Return how many bytes of a file are sent in one request, so that all connections end at about the same time."""
    if size <= _SINGLE:
        return size
    turns = -(-size // (_PARTS_AT_ONCE * _PART))
    return max(_SMALLEST_PART, -(-size // (_PARTS_AT_ONCE * turns)), -(-size // _MOST_PARTS))


def end_unfinished(bucket: Bucket, what: str, key: str) -> None:
    """End unfinished uploads of ``key`` that can no longer be running: their parts cost money and are not listed.

    Where the bucket does not allow it, nothing happens.
    """
    with contextlib.suppress(StorageError):
        for other, upload_id in no_longer_running(bucket, what, key):
            if other == key:
                _abort(bucket, what, key, upload_id)


def no_longer_running(bucket: Bucket, what: str, prefix: str) -> list[tuple[str, str]]:
    """Return key and id of unfinished uploads that can no longer be running, by the server's clock alone.

    Of keys that begin with ``prefix``, the first thousand.
    """
    reply = bucket.ask(what, "GET", query={"uploads": "", "prefix": prefix, "encoding-type": "url"})
    try:
        now = parsedate_to_datetime(reply.headers["date"])
        found = answers.unfinished_uploads(reply, bucket.address)
        return [(key, id_) for key, id_, begun in found if _FIRST_UPLOAD < begun < now - _LONGEST_UPLOAD]
    except (KeyError, TypeError, ValueError):
        return []  # without a date that can be trusted, all may be running


def lifecycle_command(bucket_name: str) -> str:
    """Return the command that lets a bucket end unfinished uploads by itself."""
    rule = {
        "ID": "unfinished",
        "Status": "Enabled",
        "Filter": {},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _LONGEST_UPLOAD.days},
    }
    return (
        "They cost money. The bucket ends them by itself with a lifecycle rule; this command replaces the rules that "
        f"it has: aws s3api put-bucket-lifecycle-configuration --bucket {bucket_name} "
        f"--lifecycle-configuration '{json.dumps({'Rules': [rule]})}'"
    )


def _in_one(
    bucket: Bucket, what: str, key: str, source: Source, headers: Mapping[str, str], condition: Mapping[str, str]
) -> Version:
    body = b"".join(dataclasses.replace(source, progress=None).blocks(_SINGLE))
    report = _Reporter(source)
    (md5,) = source.md5s(part_size(source.size) or _SINGLE)
    reply = patiently(
        lambda: bucket.ask(
            what,
            "PUT",
            key,
            headers={"Content-MD5": _base64(md5), **headers, **condition},
            body=body,
            sha256=source.sha256,
            before_piece=report,
        )
    )
    report(len(body))
    return _proven(bucket, what, key, source, reply, md5.hex())


def _in_parts(
    bucket: Bucket, what: str, key: str, source: Source, headers: Mapping[str, str], condition: Mapping[str, str]
) -> Version:
    """Upload several parts at a time, and complete only what is the file that was hashed."""
    end_unfinished(bucket, what, key)
    begun = patiently(lambda: bucket.ask(what, "POST", key, query={"uploads": ""}, headers=headers))
    root = answers.document(begun, "InitiateMultipartUploadResult", bucket.address)
    upload_id = next((each.text for each in root if each.tag.endswith("UploadId")), None)
    if not upload_id:
        raise not_s3(bucket.address, "an upload without an id")
    try:
        parts = _Sending(bucket, what, key, source, upload_id).all()
        if source.progress:
            source.progress(0)  # the caller may still end it
    except BaseException:
        _abort(bucket, what, key, upload_id)
        raise
    return _complete(bucket, what, key, source, upload_id, parts, condition)


class _Sending:
    """The parts of one upload, several sent at a time; the first that fails ends the others.

    No part is in memory as a whole.
    """

    def __init__(self, bucket: Bucket, what: str, key: str, source: Source, upload_id: str) -> None:
        self._bucket, self._what, self._key, self._source, self._id = bucket, what, key, source, upload_id
        self._size = part_size(source.size)
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._errors: list[BaseException] = []  # the first is the one to report

    def all(self) -> list[tuple[str, bytes]]:
        """Send all parts; return of each its ETag and its MD5."""
        md5s = self._source.md5s(self._size)
        with concurrent.futures.ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
            sent = [pool.submit(self._part, number, md5) for number, md5 in enumerate(md5s)]
            try:
                concurrent.futures.wait(sent, return_when=concurrent.futures.FIRST_EXCEPTION)
            except BaseException:
                self._stop.set()
                raise
            finally:
                if self._stop.is_set():
                    pool.shutdown(wait=False, cancel_futures=True)
        if self._errors:
            if isinstance(self._errors[0], IntegrityError):
                self._source.verify()  # which says so if the file was changed, and the network is not to blame
            raise self._errors[0]
        parts = list(zip((each.result() for each in sent), md5s, strict=True))
        if any(etag.strip('"') != md5.hex() for etag, md5 in parts):
            self._source.verify()  # the file was changed, or this server's ETags are no MD5s
        return parts

    def _part(self, number: int, md5: bytes) -> str:
        """Send one part, and return its ETag."""
        body = Part(self._source, number * self._size, min(self._size, self._source.size - number * self._size))
        report = _Reporter(self._source, self._lock)

        def going(sent: int) -> None:
            if self._stop.is_set():
                raise StoreUnavailable(f"The upload of {self._what} to {self._bucket.address} was cancelled")
            report(sent)

        try:
            going(0)
            etag = patiently(lambda: self._request(number, md5, body, going), again=lambda: not self._stop.is_set())
            going(len(body))
        except BaseException as error:
            self._errors.append(error)
            self._stop.set()
            raise
        return etag

    def _request(self, number: int, md5: bytes, body: Part, going: Callable[[int], None]) -> str:
        reply = self._bucket.ask(
            self._what,
            "PUT",
            self._key,
            query={"partNumber": str(number + 1), "uploadId": self._id},
            headers={"Content-MD5": _base64(md5)},
            body=body,
            before_piece=going,
        )
        etag = reply.headers.get("etag")
        if not etag:
            raise not_s3(self._bucket.address, "a part was answered without an ETag")
        return etag


def _complete(
    bucket: Bucket,
    what: str,
    key: str,
    source: Source,
    upload_id: str,
    parts: list[tuple[str, bytes]],
    condition: Mapping[str, str],
) -> Version:
    """Make the parts one object. The request is never repeated after a lost answer: what is there is looked at."""
    body = _parts_document([etag for etag, _ in parts])
    expected = f"{hashlib.md5(b''.join(md5 for _, md5 in parts), usedforsecurity=False).hexdigest()}-{len(parts)}"

    def complete() -> Reply:
        reply = bucket.ask(
            what,
            "POST",
            key,
            query={"uploadId": upload_id},
            headers={"Content-Type": "application/xml", **condition},
            body=body,
            sha256=hashlib.sha256(body).hexdigest(),
        )
        root = answers.document(reply, "CompleteMultipartUploadResult", bucket.address)
        etag = next((each.text for each in root if each.tag.endswith("ETag")), None)
        reply.headers["etag"] = etag or ""
        return reply

    try:
        return _proven(bucket, what, key, source, patiently(complete), expected)
    except StoreUnavailable:
        found = _stored(bucket, what, key, source, expected)
        if found is None:
            _abort(bucket, what, key, upload_id)
            found = _stored(bucket, what, key, source, expected)
        if found is None:
            raise
        return found
    except BaseException:
        _abort(bucket, what, key, upload_id)
        raise


def _proven(bucket: Bucket, what: str, key: str, source: Source, reply: Reply, expected: str) -> Version:
    """Return the version that the answer to a write proves; look at what is there if the answer alone does not."""
    etag, version_id = reply.headers.get("etag", ""), reply.headers.get("x-amz-version-id") or None
    if etag.strip('"') == expected and (version_id or not bucket.versioned):
        return Version(version_id=version_id, etag=etag, size=source.size)
    found = _stored(bucket, what, key, source, expected, version_id)  # Ceph names no ETag for an upload in parts
    if found is None:
        bucket.forget_versioning()  # perhaps it was suspended, and the version has no id
        raise not_s3(bucket.address, f"its answer does not prove that it stored {what}")
    return found


def _stored(
    bucket: Bucket, what: str, key: str, source: Source, expected: str, version_id: str | None = None
) -> Version | None:
    """Return the version that has the bytes of ``source``: the one named, else the newest.

    It is recognized by its ETag, or by the record stored with it: the ETag of an encrypted object is not a hash of its
    bytes. An older version may have the same bytes, so only the core, which knows what was there before, looks further.
    """
    with contextlib.suppress(StorageError):
        found = bucket.head(what, key, version_id)
        by_etag = (found.etag or "").strip('"') == expected
        by_record = (found.sha256, found.sha1) == (source.sha256, source.sha1)
        same = (by_etag or by_record) and found.size in (None, source.size)
        return found if same and (found.version_id or not bucket.versioned) else None
    return None


def _abort(bucket: Bucket, what: str, key: str, upload_id: str) -> None:
    """End an upload in parts, if the server answers in time; the first error is the one to report."""

    def ask() -> None:
        with contextlib.suppress(StorageError):
            patiently(lambda: bucket.ask(what, "DELETE", key, query={"uploadId": upload_id}, expected=(200, 204)))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_LONGEST_ABORT)


class _Reporter:
    """Reports the bytes sent so far of one body to the caller, who may raise; what is sent again is not reported."""

    def __init__(self, source: Source, lock: contextlib.AbstractContextManager[object] | None = None) -> None:
        self._progress, self._reported = source.progress, 0
        self._lock = lock or contextlib.nullcontext()

    def __call__(self, sent: int) -> None:
        if self._progress and sent > self._reported:
            with self._lock:
                self._progress(sent - self._reported)
            self._reported = sent


def _parts_document(etags: list[str]) -> bytes:
    root = ElementTree.Element("CompleteMultipartUpload", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for number, etag in enumerate(etags, 1):
        part = ElementTree.SubElement(root, "Part")
        ElementTree.SubElement(part, "PartNumber").text = str(number)
        ElementTree.SubElement(part, "ETag").text = etag
    return ElementTree.tostring(root)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
