"""The files below one folder of a bucket, as the core wants them."""

from __future__ import annotations

import contextlib
import getpass
import logging
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
    StorageError,
    Version,
)

from . import exposure, listing, publishing, records, uploads
from . import settings as addresses
from .bucket import Bucket
from .download import content
from .errors import is_clock
from .settings import S3Settings

_LONGEST_LINK = 7 * 24 * 3600  # seconds, the limit of Signature Version 4
_BELIEVED = 60.0  # seconds
_log = logging.getLogger(__name__)
T = TypeVar("T")


class S3Files(FileOperations):
    """The files below one folder of a bucket."""

    def __init__(self, settings: S3Settings) -> None:
        self._address = settings.address  # found out now, so that copies of the settings mean the same server
        self._settings = settings
        self._bucket = Bucket(settings)
        self._tags = True  # whether uploads may have tags
        self._records = True  # whether record names may be written
        self._public: tuple[float, bool | None] = (0.0, None)  # until when the answer is believed, and the answer

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["settings"])  # type: ignore[misc]

    @property
    def address(self) -> str:
        """The bucket and folder as an ``s3:`` address."""
        return self._address

    def uri(self, key: str, version_id: str | None) -> str:
        """Return the ``s3:`` address of one version."""
        return addresses.uri(self._settings, key, version_id)

    def keeps_versions(self) -> bool:
        """Whether the bucket says that versioning is enabled; suspended, denied and unknown are no."""
        return self._bucket.keeps_versions()

    def creates_safely(self) -> bool:
        """Amazon enforces conditions; some other servers ignore them for uploads in parts."""
        return self._settings.endpoint is None

    def replaces(self) -> bool:
        """S3 has folders and conditions."""
        return True

    def part_size(self, size: int) -> int | None:
        """S3 checks an MD5 of each body."""
        return uploads.part_size(size) or None

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
        """Upload in one request, or in parts; the server checks an MD5 of each body."""
        return self._put(key, source, metadata, {"If-None-Match": "*"} if if_absent else {})

    def replace(self, key: str, source: Source, *, metadata: Mapping[str, str], seen: Version) -> str | None:
        """Upload on condition that the object still has the ETag seen."""
        return self._put(key, source, metadata, {"If-Match": (seen.etag or "").strip('"')})  # Ceph takes it bare only

    def _put(self, key: str, source: Source, metadata: Mapping[str, str], condition: dict[str, str]) -> str | None:
        described = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        tags = {"x-amz-tagging": f"uploadedBy={_user()}"} if self._tags else {}
        while True:
            try:
                made = uploads.send(self._bucket, key, self._key(key), source, {**described, **tags}, condition)
                self._tags = bool(tags)
                break
            except (AccessDenied, NotSupported):
                if not tags:
                    raise
                tags = {}  # tags need a permission of their own; the upload itself may be allowed
        if made.version_id in (None, "null"):
            self._bucket.forget_versioning()
        self._record(key, made, source, metadata)
        return made.version_id

    def _record(self, key: str, made: Version, source: Source, metadata: Mapping[str, str]) -> None:
        """Write the record name of an upload. The upload counts without it."""
        name = records.name(key, made.version_id, made.etag or "", source.size, metadata)
        if name is None or not self._records:
            return
        try:
            self._bucket.ask("its record", "PUT", self._settings.folder + name)
        except (AccessDenied, NotSupported) as error:
            self._records = False
            _log.info("Record names cannot be written to %s (%s)", self.address, error)
        except StorageError as error:
            _log.info("The record name of %s was not written (%s)", key, error)

    def anonymous(self) -> FileOperations:
        """Return the same bucket without credentials; with ``publish_by: prefix``, the folder of the copies."""
        changes: dict[str, Any] = {"anonymous": "always", "profile": None, "requester_pays": False}
        if self._settings.publish_by == "prefix":
            prefix = self._settings.public_folder.rstrip("/")
            changes |= {"bucket": self._settings.bucket_name, "prefix": prefix}
        return S3Files(self._settings.model_copy(update=changes))

    def place_is_public(self) -> bool | None:
        """Whether anyone can read all files here; None where each is published alone. Believed for a minute."""
        until, answer = self._public
        if time.monotonic() >= until:
            answer = exposure.is_public(self._bucket, self._settings.folder)
            self._public = (time.monotonic() + _BELIEVED, answer)
        return answer

    def publish(self, key: str, version_id: str | None) -> str | None:
        """Open one version, in the way that ``publish_by`` says."""
        return publishing.open_to_all(self._bucket, self._settings, key, version_id)

    def unpublish(self, key: str, version_id: str | None) -> None:
        """Close it again."""
        publishing.close_to_all(self._bucket, self._settings, key, version_id)

    def why_still_private(self, key: str) -> str:
        """Look at the bucket's settings, and return the commands for its owner."""
        return publishing.what_is_missing(self._bucket, self._settings)

    def share(self, key: str, version_id: str | None, seconds: int) -> str:
        """Sign a link to one version. Nothing is requested."""
        parameters = {"Key": self._key(key), **({"VersionId": version_id} if version_id is not None else {})}
        return self._bucket.link(key, parameters, seconds)

    def longest_link(self) -> int:
        """Return the limit of signatures of version 4: seven days."""
        return _LONGEST_LINK

    def unfinished(self) -> tuple[list[str], str]:
        """List uploads in parts that began more than seven days ago, and return the command for a lifecycle rule."""
        folder = self._settings.folder
        found = uploads.no_longer_running(self._bucket, "the list of unfinished uploads", folder)
        names = sorted({key.removeprefix(folder) for key, _ in found if key.startswith(folder)})
        return names, uploads.lifecycle_command(self._settings.bucket_name)

    def discard(self, key: str) -> None:
        """Delete every version and delete marker of the object by its id, and its records."""
        for entry in self._bucket.versions(self._key(key)):
            query = {"versionId": entry.version_id} if entry.version_id else {}
            self._bucket.ask(key, "DELETE", self._key(key), query=query, expected=(200, 204))
        for record in listing.record_objects(self._bucket, self._settings.folder, key):
            for entry in self._bucket.versions(record):
                query = {"versionId": entry.version_id} if entry.version_id else {}
                self._bucket.ask(key, "DELETE", record, query=query, expected=(200, 204))

    def removes(self) -> bool:
        """S3 deletes versions by their id."""
        return True

    def remove(self, key: str, version_id: str | None) -> None:
        """Delete one version of the object by its id, and its record."""
        query = {"versionId": version_id} if version_id else {}
        self._bucket.ask(key, "DELETE", self._key(key), query=query, expected=(200, 204))
        for name in listing.record_objects(self._bucket, self._settings.folder, key):
            record = records.parse(name.removeprefix(self._settings.folder))
            if record is not None and record.version_id == (version_id or "null"):
                for entry in self._bucket.versions(name):
                    query = {"versionId": entry.version_id} if entry.version_id else {}
                    self._bucket.ask(key, "DELETE", name, query=query, expected=(200, 204))

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Ask for the bytes; the first answer gives size, version and record, so there is no HEAD before."""
        what = key if version_id is None else f"{key}, version {version_id},"

        def ask(anonymous: bool) -> Content:
            try:
                return content(
                    self._bucket, what, self._key(key), version_id, (start, stop), if_match, anonymous=anonymous
                )
            except AlreadyExists as error:  # the condition of if_match
                raise IntegrityError(f"{what} was replaced in {self.address} while it was read") from error

        return self._reading(ask, although_clock=True)

    def reads_at_once(self) -> int:
        """S3 limits each connection, not each client."""
        return 12

    def versions(self, key: str) -> Iterable[Version]:
        """Return the versions in S3's own order, each with its record; delete markers are left out."""
        return self._reading(lambda anonymous: listing.versions(self._bucket, self._settings.folder, key, anonymous))

    def newest(self, key: str) -> Version | None:
        """Ask for the newest version's description alone."""
        try:
            return self._reading(lambda anonymous: self._bucket.head(key, self._key(key), anonymous=anonymous))
        except AssemblyNotFound:
            return None

    def newest_of_all(self, prefix: str = "") -> Iterable[tuple[str, Version]]:
        """Return every key with what listings show of its newest version: no version id and no hashes."""
        folder = self._settings.folder
        return self._reading(lambda anonymous: listing.newest_of_all(self._bucket, folder, prefix, anonymous))

    def differing_in_case(self, key: str) -> Iterable[str]:
        """Return the keys of records that differ from ``key`` in case only: one request whatever is there."""
        folder = self._settings.folder
        return self._reading(lambda anonymous: listing.differing_in_case(self._bucket, folder, key, anonymous))

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return the files directly in the folder, all pages of the listing."""
        return self._reading(
            lambda anonymous: [
                entry.key.removeprefix(self._settings.folder)
                for entry in listing.objects(self._bucket, self._key(prefix), anonymous)
                if entry.key != self._settings.folder
            ]
        )

    def _key(self, key: str) -> str:
        return self._settings.folder + key

    def _reading(self, ask: Callable[[bool], T], *, although_clock: bool = False) -> T:
        """Ask with the credentials there are, then without: public data need none, and wrong ones do not block them.

        Where a wrong clock is the reason, only bytes are asked for without: a listing would show less than there is.
        """
        try:
            return ask(False)
        except StorageError as error:
            refused = isinstance(error, AccessDenied)
            if refused and self._settings.anonymous == "always":
                error.message += "; it was asked for without credentials (anonymous: always)"
            may = refused or (although_clock and is_clock(error))
            if not may or not self._bucket.may_try_anonymously():
                raise
            with contextlib.suppress(AccessDenied, AssemblyNotFound):  # the first answer says more
                return ask(True)
            raise


def _user() -> str:
    """Return who uploads, as BrainIO tags it: the name on this computer, in the characters a tag may have."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without names
        name = "unknown"
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100]
