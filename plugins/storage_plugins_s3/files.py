"""Objects of one bucket folder as versioned files, through s3fs's connection.

Every version id comes from the answer to its own write. Hashes travel as object metadata. The transfers
are our own: s3fs's read without conditions, hold files in memory, and do not tell version ids.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import getpass
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from storage_plugins import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    Content,
    FileOperations,
    IntegrityError,
    NotSupported,
    Source,
    Version,
)

from . import publishing
from . import settings as addresses
from .connection import Connection
from .errors import translated
from .loop import Body, cancelled, run
from .settings import S3Settings

_SINGLE = 16 << 20  # bytes that go up in one request
_PART = 8 << 20  # bytes of a part, of which some six are in memory
_MOST_PARTS = 9_000  # S3 takes 10,000
_PARTS_AT_ONCE = 4
_LOOKS_AT_ONCE = 16
_PATIENCE = 60.0  # seconds for an answer to an upload's request, beside those for its body:
_SLOWEST = 25_000  # bytes a second below which a body counts as stuck; nothing else times its sending
_BELIEVED = 60.0  # seconds
T = TypeVar("T")


class S3Files(FileOperations):
    """The files below one folder of a bucket."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._connection = Connection(settings)
        self._versioned = 0.0  # until when, by the monotonic clock, the bucket is believed to be versioned
        self._tags = True  # whether uploads may carry tags

    @property
    def address(self) -> str:
        """The bucket and folder as an ``s3:`` address."""
        return self._settings.address

    def uri(self, key: str, version_id: str | None) -> str:
        """Return the ``s3:`` address of one version."""
        return addresses.uri(self._settings, key, version_id)

    def keeps_versions(self) -> bool:
        """Whether the bucket says that versioning is enabled; suspended, denied and unknown are no.

        A yes is believed for a minute: versioning can be suspended, but the look is a request of its own.
        """
        if time.monotonic() < self._versioned:
            return True
        try:
            answer = self._call("get_bucket_versioning", "the bucket's versioning")
        except (AccessDenied, AssemblyNotFound, NotSupported):  # may not ask, or a server that has no answer
            return False
        enabled = answer.get("Status") == "Enabled"
        self._versioned = time.monotonic() + _BELIEVED if enabled else 0.0
        return enabled

    def creates_safely(self) -> bool:
        """Amazon keeps to conditions; of other servers some ignore them for uploads in parts."""
        return self._settings.endpoint is None

    def replaces(self) -> bool:
        """S3 has folders and conditions."""
        return True

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
        """Upload in one request, or in parts; the server checks an MD5 of each body."""
        return self._put(key, source, metadata, {"IfNoneMatch": "*"} if if_absent else {})

    def replace(self, key: str, source: Source, *, metadata: Mapping[str, str], seen: Version) -> str | None:
        """Upload on condition that the object still has the ETag seen."""
        return self._put(key, source, metadata, {"IfMatch": (seen.etag or "").strip('"')})  # Ceph takes it bare only

    def _put(self, key: str, source: Source, metadata: Mapping[str, str], condition: dict[str, str]) -> str | None:
        send = self._single if source.size <= _SINGLE else self._parts
        filesystem = self._connection.filesystem()
        while True:
            tags = {"Tagging": f"uploadedBy={_user()}"} if self._tags else {}
            options = {"Metadata": dict(metadata), **tags}
            try:
                with translated(key, self.address):
                    answer = run(filesystem, send(filesystem, key, source, options, condition))
                break
            except (AccessDenied, NotSupported):
                if not self._tags:
                    raise
                self._tags = False  # tags need a permission of their own; the upload itself may be allowed
        version_id = answer.get("VersionId")
        if not version_id or version_id == "null":
            self._versioned = 0.0  # it is suspended by now
        return str(version_id) if version_id else None

    def anonymous(self) -> FileOperations:
        """Return the same bucket without credentials; with ``publish_by: prefix``, the folder of the copies."""
        changes: dict[str, Any] = {"anonymous": "always", "profile": None, "requester_pays": False}
        if self._settings.publish_by == "prefix":
            prefix = self._settings.public_folder.rstrip("/")
            changes |= {"bucket": self._settings.bucket_name, "prefix": prefix}
        return S3Files(self._settings.model_copy(update=changes))

    def publish(self, key: str, version_id: str | None) -> str | None:
        """Open one version, in the way that ``publish_by`` says."""
        return publishing.open_to_all(self._call, self._settings, key, version_id)

    def unpublish(self, key: str, version_id: str | None) -> None:
        """Close it again."""
        publishing.close_to_all(self._call, self._settings, key, version_id)

    def discard(self, key: str) -> None:
        """Delete every version and delete marker of the object by its id."""

        async def delete() -> None:
            listed = await self._listed_versions(filesystem, key)
            for entry in listed:
                await filesystem._call_s3(
                    "delete_object",
                    Bucket=self._settings.bucket_name,
                    Key=self._key(key),
                    VersionId=entry["VersionId"],
                )

        with translated(key, self.address):
            filesystem = self._connection.filesystem()
            run(filesystem, delete())

    def why_still_private(self, key: str) -> str:
        """Look at what the bucket says, and return the commands for its owner."""
        return publishing.what_is_missing(self._call, self._settings)

    def share(self, key: str, version_id: str | None, seconds: int) -> str:
        """Sign a GET of one version (AWS Signature Version 4, by query). Nothing is requested."""
        parameters = {"Bucket": self._settings.bucket_name, "Key": self._key(key)}
        if version_id is not None:
            parameters["VersionId"] = version_id
        filesystem = self._connection.filesystem()
        if self._connection.is_anonymous(filesystem):
            raise AccessDenied(f"To sign a link to {key} in {self.address} needs credentials, and there are none")

        async def sign() -> str:
            client = await filesystem.get_s3(self._settings.bucket_name)
            link = await client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)
            return str(link)

        with translated(key, self.address):
            return run(filesystem, sign())

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Ask for the bytes; the first answer tells size, version and record, so there is no HEAD before."""
        options: dict[str, Any] = {"Key": self._key(key)}
        if version_id is not None:
            options["VersionId"] = version_id
        if start or stop is not None:
            options["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if if_match is not None:
            options["IfMatch"] = if_match

        def ask(anonymous: bool) -> Content:
            filesystem = self._connection.filesystem(anonymous)
            what = key if version_id is None else f"{key}, version {version_id},"
            try:
                with translated(what, self.address):
                    answer = filesystem.call_s3("get_object", Bucket=self._settings.bucket_name, **options)
            except AlreadyExists as error:  # the condition of if_match
                raise IntegrityError(f"{what} was replaced in {self.address} while it was read") from error
            whole = answer.get("ContentRange", "").rpartition("/")[2]
            version = _version(answer, size=int(whole) if whole.isdecimal() else answer["ContentLength"])
            blocks = Body(filesystem, answer["Body"], key, self.address)
            return Content(version, blocks, private=not self._connection.is_anonymous(filesystem))

        return self._reading(ask)

    def versions(self, key: str) -> Iterable[Version]:
        """Return the versions in S3's own order, each with its record; delete markers are none."""

        def ask(anonymous: bool) -> list[Version]:
            filesystem = self._connection.filesystem(anonymous)
            with translated(key, self.address):
                return run(filesystem, self._described_versions(filesystem, key))

        return self._reading(ask)

    def newest(self, key: str) -> Version | None:
        """Ask for the newest version's description alone."""

        def ask(anonymous: bool) -> Version:
            filesystem = self._connection.filesystem(anonymous)
            with translated(key, self.address):
                answer = filesystem.call_s3("head_object", Bucket=self._settings.bucket_name, Key=self._key(key))
            return _version(answer, size=answer["ContentLength"])

        try:
            return self._reading(ask)
        except AssemblyNotFound:
            return None

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return the files directly in the folder, all pages of the listing."""

        def ask(anonymous: bool) -> list[str]:
            filesystem = self._connection.filesystem(anonymous)
            with translated("the list of files", self.address):
                return run(filesystem, self._listed(filesystem, prefix))

        return self._reading(ask)

    def _key(self, key: str) -> str:
        return self._settings.folder + key

    def _call(self, method: str, what: str, **options: Any) -> dict[str, Any]:
        with translated(what, self.address):
            filesystem = self._connection.filesystem()
            answer: dict[str, Any] = filesystem.call_s3(method, Bucket=self._settings.bucket_name, **options)
            return answer

    def _reading(self, ask: Callable[[bool], T]) -> T:
        """Ask with the credentials there are, then without: public data need none, and wrong ones hurt."""
        try:
            return ask(False)
        except AccessDenied:
            if not self._connection.may_try_anonymously():
                raise
            with contextlib.suppress(AccessDenied, AssemblyNotFound):  # the first answer says more
                return ask(True)
            raise

    async def _single(
        self, filesystem: Any, key: str, source: Source, options: dict[str, Any], condition: dict[str, str]
    ) -> dict[str, Any]:
        """Upload in one request."""
        body = b"".join(source.blocks(_SINGLE))
        async with asyncio.timeout(_longest(body)):
            answer: dict[str, Any] = await filesystem._call_s3(
                "put_object",
                Bucket=self._settings.bucket_name,
                Key=self._key(key),
                Body=body,
                ContentMD5=_md5(body),
                **options,
                **condition,
            )
        return answer

    async def _parts(
        self, filesystem: Any, key: str, source: Source, options: dict[str, Any], condition: dict[str, str]
    ) -> dict[str, Any]:
        """Upload in parts, several at a time, and complete only what is the file that was hashed."""
        place = {"Bucket": self._settings.bucket_name, "Key": self._key(key)}
        beginning = asyncio.create_task(filesystem._call_s3("create_multipart_upload", **place, **options))
        free = asyncio.Semaphore(_PARTS_AT_ONCE)

        async def send(number: int, body: bytes) -> dict[str, Any]:
            try:
                async with asyncio.timeout(_longest(body)):
                    answer = await filesystem._call_s3(
                        "upload_part", **place, PartNumber=number, Body=body, ContentMD5=_md5(body)
                    )
            finally:
                free.release()
            return {"ETag": answer["ETag"], "PartNumber": number}

        tasks: list[asyncio.Task[dict[str, Any]]] = []
        blocks = source.blocks(max(_PART, -(-source.size // _MOST_PARTS)))
        try:
            place["UploadId"] = (await asyncio.shield(beginning))["UploadId"]
            while True:
                await free.acquire()  # before the next part is read, so that few are in memory
                if any(task.done() and task.exception() for task in tasks):
                    break
                body = await asyncio.to_thread(next, blocks, b"")
                if not body:
                    break
                tasks.append(asyncio.create_task(send(len(tasks) + 1, body)))
            parts = await asyncio.gather(*tasks)
            answer: dict[str, Any] = await filesystem._call_s3(
                "complete_multipart_upload", **place, MultipartUpload={"Parts": parts}, **condition
            )
            return answer
        except BaseException:
            await cancelled(tasks)
            with contextlib.suppress(Exception):  # clean up as far as the server allows; the first error is told
                place["UploadId"] = (await beginning)["UploadId"]
                await filesystem._call_s3("abort_multipart_upload", **place)
            raise

    async def _listed_versions(self, filesystem: Any, key: str) -> list[dict[str, Any]]:
        """Return the entries of an object's versions and of its delete markers, newest first among each."""
        found: list[dict[str, Any]] = []
        marker: dict[str, str] = {}
        while True:
            page = await filesystem._call_s3(
                "list_object_versions", Bucket=self._settings.bucket_name, Prefix=self._key(key), **marker
            )
            entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            found += [entry for entry in entries if entry["Key"] == self._key(key)]
            beyond = any(entry["Key"] != self._key(key) for entry in entries)
            if beyond or not page.get("IsTruncated"):
                return found  # the key itself sorts before all longer ones
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    async def _described_versions(self, filesystem: Any, key: str) -> list[Version]:
        found = [entry for entry in await self._listed_versions(filesystem, key) if "Size" in entry]
        free = asyncio.Semaphore(_LOOKS_AT_ONCE)

        async def describe(entry: dict[str, Any]) -> Version:
            listed = {**entry, "ContentLength": entry["Size"]}
            # not every server knows "null" by name where a bucket was never versioned
            named = {} if entry["VersionId"] == "null" and entry.get("IsLatest") else {"VersionId": entry["VersionId"]}
            async with free:
                try:
                    with translated(key, self.address):
                        head = await filesystem._call_s3(
                            "head_object",
                            Bucket=self._settings.bucket_name,
                            Key=self._key(key),
                            **named,
                        )
                except (AccessDenied, AssemblyNotFound):
                    head = {}  # its record stays unknown
            return _version({**listed, "Metadata": head.get("Metadata", {})}, size=entry["Size"])

        tasks = [asyncio.create_task(describe(entry)) for entry in found]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            await cancelled(tasks)  # after one failed

    async def _listed(self, filesystem: Any, prefix: str) -> list[str]:
        keys: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = await filesystem._call_s3(
                "list_objects_v2",
                Bucket=self._settings.bucket_name,
                Prefix=self._key(prefix),
                Delimiter="/",
                **token,
            )
            keys += [entry["Key"][len(self._settings.folder) :] for entry in page.get("Contents", [])]
            if not page.get("IsTruncated"):
                return [key for key in keys if key]
            token = {"ContinuationToken": page["NextContinuationToken"]}


def _version(answer: Mapping[str, Any], *, size: int) -> Version:
    return Version.described(
        answer.get("Metadata", {}),
        version_id=answer.get("VersionId"),
        size=size,
        created=answer.get("LastModified"),
        etag=answer.get("ETag"),
    )


def _user() -> str:
    """Return who uploads, as BrainIO tags it: the name on this computer, in the characters a tag may have."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without names
        name = "unknown"
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100]


def _longest(body: bytes) -> float:
    """Return the seconds that sending ``body`` may take."""
    return _PATIENCE + len(body) / _SLOWEST


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
