"""Requests to one bucket, each with its answer checked and its errors translated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from storage_plugins import AccessDenied, AssemblyNotFound, NotSupported, StorageError, StoreUnavailable, Version

from . import answers
from .answers import Entry, Page
from .connection import Connection, Reply
from .errors import Refusal, clock_error, had_no_effect, not_s3, translated
from .settings import S3Settings

_ATTEMPTS = 3  # of a write that had no effect
_MORE_ATTEMPTS = 5  # of one that may have its effect twice, such as a part of an upload
_LONGEST_WAIT = 20.0  # seconds between them
_BELIEVED = 60.0  # seconds
T = TypeVar("T")


class Bucket:
    """One bucket, with and without credentials. Keys are whole object keys, the store's folder included."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._connection = Connection(settings)
        self._versioned: tuple[float, bool] = (0.0, False)  # until when the answer is believed, and the answer
        self._not_allowed = 0.0  # until when, by the monotonic clock, a refused HEAD needs no explanation

    @property
    def address(self) -> str:
        """The store's address, for messages."""
        return self._settings.address

    def ask(
        self,
        what: str,
        method: str,
        key: str | None = None,
        *,
        anonymous: bool = False,
        expected: tuple[int, ...] = (200,),
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Reply:
        """Send a request and return the answer, which has one of the ``expected`` statuses.

        ``what`` names the file or setting in messages. ``options`` are those of `Access.send`.
        """
        payer = {"x-amz-request-payer": "requester"} if self._settings.requester_pays else {}
        with translated(what, self.address):
            while True:
                access = self._connection.access(anonymous)
                reply = access.send(method, key, query=query or {}, headers={**payer, **(headers or {})}, **options)
                if reply.status in expected:
                    return reply
                region = reply.headers.get("x-amz-bucket-region")
                moved = reply.status in (301, 307, 400) and region and region != access.region
                if not moved or not self._connection.move(str(region)):
                    break
            if reply.status < 300:
                reply.raw.close()
                raise not_s3(self.address, f"status {reply.status} to {method}")
            refusal = answers.refusal(reply)
            if method == "HEAD":
                refusal = self._explained(refusal, key, anonymous)
            elif reply.status == 404 and not refusal.explained:
                raise not_s3(self.address, "status 404 without S3's error code")
            elif reply.status in (302, 303, 308):
                raise not_s3(self.address, f"it redirects to {reply.headers.get('location', 'somewhere else')[:200]}")
            raise refusal

    def _explained(self, refusal: Refusal, key: str | None, anonymous: bool) -> Refusal:
        """Ask by GET for the reason why a HEAD was refused: the answer to a HEAD has no body to say it."""
        signed = self._connection.access(anonymous).credentials is not None
        if refusal.status not in (400, 403) or not signed or clock_error(refusal.headers):
            return refusal
        if time.monotonic() < self._not_allowed:
            return refusal
        reply = self._connection.access().send("GET", key, query={}, headers={"Range": "bytes=0-0"})
        reason = answers.refusal(reply)
        if reason.code == "AccessDenied":
            self._not_allowed = time.monotonic() + _BELIEVED
        if refusal.status == 403 and reply.status < 500 and reply.status not in (400, 403):
            raise StoreUnavailable(f"{self.address} refused to describe {key} ({refusal.status}), and then sent it")
        # a server error: the operation is repeated, and the reason may be known then
        return reason if reply.status in (400, 403) or reply.status >= 500 else refusal

    @property
    def versioned(self) -> bool:
        """Whether the bucket was found to keep versions, a minute ago at most; asks nothing."""
        until, answer = self._versioned
        return answer and time.monotonic() < until

    def keeps_versions(self) -> bool:
        """Whether the bucket says that versioning is enabled. The answer is believed for a minute."""
        until, answer = self._versioned
        if time.monotonic() >= until:
            try:
                reply = self.ask("the bucket's versioning", "GET", query={"versioning": ""})
                root = answers.document(
                    reply, "VersioningConfiguration", self.address, other="GetBucketVersioningResponse"
                )
                answer = any(each.tag.endswith("Status") and each.text == "Enabled" for each in root)
            except (AccessDenied, AssemblyNotFound, NotSupported):
                answer = False  # not allowed to ask, or a server without versions
            self._versioned = (time.monotonic() + _BELIEVED, answer)
        return answer

    def forget_versioning(self) -> None:
        """Ask again at the next need: an answer showed that versioning is off by now."""
        self._versioned = (0.0, False)

    def call(self, method: str, what: str, **options: Any) -> dict[str, Any]:
        """Send one of the rarer requests by botocore's name for it; return botocore's answer."""
        with translated(what, self.address):
            client = self._connection.access().client
            if self._settings.requester_pays and _takes_payer(client, method):
                options["RequestPayer"] = "requester"
            answer: dict[str, Any] = getattr(client, method)(Bucket=self._settings.bucket_name, **options)
            return answer

    def signs(self, anonymous: bool = False) -> bool:
        """Whether requests carry credentials."""
        return self._connection.access(anonymous).credentials is not None

    def may_try_anonymously(self) -> bool:
        """Whether a refusal of signed requests is worth a second try without signature."""
        return self._connection.may_try_anonymously()

    def link(self, what: str, parameters: Mapping[str, str], seconds: int) -> str:
        """Sign a GET in the query of its address (Signature Version 4). Nothing is requested."""
        with translated(what, self.address):
            access = self._connection.access()
            if access.credentials is None:
                raise AccessDenied(f"A link to {what} in {self.address} needs credentials, and there are none")
            named = {"Bucket": self._settings.bucket_name, **parameters}
            return str(access.client.generate_presigned_url("get_object", named, ExpiresIn=seconds))

    def head(self, what: str, key: str, version_id: str | None = None, *, anonymous: bool = False) -> Version:
        """Return what the server knows about one version. Raises AssemblyNotFound."""
        query = {"versionId": version_id} if version_id else {}
        reply = self.ask(what, "HEAD", key, anonymous=anonymous, query=query)
        return answers.described(reply, self.address, size=answers.length(reply))

    def objects(self, prefix: str, *, anonymous: bool = False, delimiter: str = "/") -> Iterator[Page]:
        """List the objects whose keys begin with ``prefix``, page by page."""
        fixed = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        if delimiter:
            fixed["delimiter"] = delimiter

        def ask(query: Mapping[str, str]) -> Page:
            reply = self.ask("the list of files", "GET", anonymous=anonymous, query={**fixed, **query})
            return answers.objects_page(reply, prefix, self.address)

        return answers.pages(ask, self.address)

    def versions(self, key: str, *, anonymous: bool = False) -> list[Entry]:
        """Return all versions of one object, newest first, and its delete markers."""

        def ask(query: Mapping[str, str]) -> Page:
            fixed = {"versions": "", "prefix": key, "encoding-type": "url"}
            reply = self.ask(key, "GET", anonymous=anonymous, query={**fixed, **query})
            return answers.versions_page(reply, key, self.address)

        found: list[Entry] = []
        for page in answers.pages(ask, self.address):
            found += [entry for entry in page.entries if entry.key == key]
            if any(entry.key != key for entry in page.entries):
                break  # the key itself sorts before all longer ones
        return found


def _takes_payer(client: Any, method: str) -> bool:
    operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
    return "RequestPayer" in operation.input_shape.members


def patiently(write: Callable[[], T], *, again: Callable[[], bool] | None = None) -> T:
    """Return what ``write`` returns; send it again, after a pause, where it certainly had no effect.

    A write whose answer was lost is never sent again: it would be stored twice, or meet itself. Only one that may
    have its effect twice is: ``again`` then says whether it is still wanted.
    """
    attempts = _ATTEMPTS if again is None else _MORE_ATTEMPTS
    for attempt in range(1, attempts):
        try:
            return write()
        except StorageError as error:
            pause = getattr(error, "retry_after", None) or 0.2 * 2**attempt
            repeatable = had_no_effect(error) or (again is not None and again() and isinstance(error, StoreUnavailable))
            if not repeatable or pause > _LONGEST_WAIT:
                raise
            time.sleep(pause)
    return write()
