"""The bytes behind a link, through the standard library."""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, NoReturn
from urllib.parse import urlsplit

from pydantic import SecretStr

from storage_plugins import (
    AccessDenied,
    AssemblyNotFound,
    Content,
    FileOperations,
    IntegrityError,
    NotSupported,
    RateLimited,
    Source,
    StorageError,
    StoreUnavailable,
    Version,
)

_BLOCK = 1 << 20
_TIMEOUT = 40.0  # seconds without a byte


class LinkedFile(FileOperations):
    """One file. Its address is shown without the query, which may hold a secret."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    def __getstate__(self) -> NoReturn:
        raise TypeError("a link is a secret, and is not pickled")

    @property
    def address(self) -> str:
        """The address without its query."""
        parts = urlsplit(self._url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> NoReturn:
        """Refuse."""
        raise NotSupported(f"{self.address} is a link: it can be read, not written")

    def versions(self, key: str) -> Iterable[Version]:
        """Refuse: a link is one file and shows no others."""
        raise NotSupported(f"{self.address} is a link to one file")

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Refuse."""
        raise NotSupported(f"{self.address} is a link to one file")

    def newest(self, key: str) -> NoReturn:
        """Refuse."""
        raise NotSupported(f"{self.address} is a link to one file")

    def uri(self, key: str, version_id: str | None) -> str:
        """Return the address without its query."""
        return self.address

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Ask for the bytes. Where the server does not support ranges, the file is read from the beginning."""
        headers = {"User-Agent": "storage-plugins", "Accept-Encoding": "identity"}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if if_match is not None:
            headers["If-Match"] = if_match
        request = urllib.request.Request(self._url.get_secret_value(), headers=headers)  # noqa: S310, settings take http(s) only
        with self._translated():
            answer = urllib.request.build_opener(_SafeRedirects).open(request, timeout=_TIMEOUT)
        try:
            partial, whole = self._checked(answer, start)
            etag = answer.headers.get("ETag")
            if if_match is not None and etag != if_match:
                raise IntegrityError(f"{self.address} was replaced while it was read")
        except BaseException:
            answer.close()
            raise
        known = _recorded(answer.headers) if partial else _hashes(answer.headers)
        version = Version.described(known, version_id=None, size=whole, etag=etag, md5=known.get("md5"))
        blocks = self._blocks(answer, 0 if partial else start, stop if not partial else None)
        return Content(version, blocks, private=True, whole=not partial and "Range" in headers)

    def _checked(self, answer: Any, start: int) -> tuple[bool, int | None]:
        """Return whether the answer is the range asked for, and the size of the whole file if it says so."""
        if answer.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
            raise StoreUnavailable(f"{self.address} answered {answer.status}, which is no file")
        partial = answer.status == http.client.PARTIAL_CONTENT
        given, _, whole = answer.headers.get("Content-Range", "").partition("/")
        if partial and not given.startswith(f"bytes {start}-"):
            raise StoreUnavailable(f"{self.address}: asked for bytes from {start}, got {given[:60] or 'no range'}")
        length = whole if partial else answer.headers.get("Content-Length", "")
        return partial, int(length) if length.isdecimal() and len(length) <= 18 else None

    def _blocks(self, answer: Any, skip: int, stop: int | None) -> Iterator[bytes]:
        done = 0
        with contextlib.closing(answer):
            while True:
                with self._translated():
                    block = answer.read(_BLOCK)
                if not block:
                    return
                wanted = block[max(0, skip - done) : None if stop is None else max(0, stop - done)]
                done += len(block)
                if wanted:
                    yield wanted

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except urllib.error.HTTPError as error:
            raise self._answered(error) from error
        except _Insecure as error:
            raise StorageError(
                f"{self.address} redirects to {error.address}, which is not encrypted",
                hint="Ask for a link that stays with https:.",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailable(f"{self.address} cannot be reached: {error}", hint="Check the network.") from error

    def _answered(self, error: urllib.error.HTTPError) -> StorageError:
        error.close()
        reason = f"{self.address} answered {error.code} {error.reason}"
        if error.code in (401, 403):
            return AccessDenied(f"{reason}: the link has expired or is incomplete", hint="Ask for a new link.")
        if error.code in (404, 410):
            return AssemblyNotFound(reason)
        if error.code == http.client.PRECONDITION_FAILED:
            return IntegrityError(f"{self.address} was replaced while it was read")
        wait = error.headers.get("Retry-After", "")
        if error.code == http.client.TOO_MANY_REQUESTS:
            return RateLimited(reason, retry_after=float(wait) if wait.isdecimal() else None)
        return StoreUnavailable(reason) if error.code >= 500 else StorageError(reason)


class _Insecure(Exception):
    """A redirect from https to something else. ``address`` is where it leads, without the query."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.address = f"{parts.scheme}://{parts.hostname or ''}"
        super().__init__(self.address)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http, and only to web addresses."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme.lower()
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            fp.close()
            raise _Insecure(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _hashes(headers: http.client.HTTPMessage) -> dict[str, str]:
    """Return the hashes of the file that an answer names, in the fields of `Version`.

    Content-MD5 is RFC 1864, Repr-Digest RFC 9530, Digest the older RFC 3230; S3 gives the record of an upload, and
    an ETag that is the MD5 of what was uploaded in one request and is not encrypted with other keys.
    """
    found = {"md5": _hex(headers.get("Content-MD5", ""), 16)}
    digests = ",".join(headers.get(name, "") for name in ("Repr-Digest", "Digest"))
    for name, value in re.findall(r"(?i)\b(md5|sha-256)=:?([A-Za-z0-9+/=]+)", digests):
        found[name.lower().replace("-", "")] = _hex(value, 16 if name.lower() == "md5" else 32)
    etag = re.fullmatch(r'"([0-9a-f]{32})"', headers.get("ETag", ""))
    encryption = {name.lower(): value for name, value in headers.items() if "server-side-encryption" in name.lower()}
    own_keys = any(value != "AES256" or "customer" in name for name, value in encryption.items())
    if etag and not own_keys and any(name.lower().startswith("x-amz-") for name in headers):
        found["md5"] = etag[1]
    return {name: value for name, value in (found | _recorded(headers)).items() if value}


def _recorded(headers: http.client.HTTPMessage) -> dict[str, str]:
    """Return what S3's answer says of the whole file, whatever range was asked for: the record of an upload."""
    names = ("sha1", "sha256", "content-digest")
    return {name: headers[f"x-amz-meta-{name}"] for name in names if f"x-amz-meta-{name}" in headers}


def _hex(text: str, size: int) -> str:
    """Return a digest in base64 as hex, an empty string if it is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return data.hex() if len(data) == size else ""
