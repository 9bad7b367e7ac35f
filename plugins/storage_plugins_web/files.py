"""The bytes behind a link, through the standard library."""

from __future__ import annotations

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn
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
_PATIENCE = 60.0  # seconds without a byte


class LinkedFile(FileOperations):
    """One file. Its address is shown without the query, which is what opens it."""

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
        """Refuse: a link is one file, and says nothing of others."""
        raise NotSupported(f"{self.address} is a link to one file")

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Refuse."""
        raise NotSupported(f"{self.address} is a link to one file")

    def newest(self, key: str) -> NoReturn:
        """Refuse."""
        raise NotSupported(f"{self.address} is a link to one file")

    def uri(self, key: str, version_id: str | None) -> str:
        """Return the address, without what opens it."""
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
        """Ask for the bytes. A server that knows no ranges is read from the beginning."""
        headers = {"User-Agent": "storage-plugins", "Accept-Encoding": "identity"}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if if_match is not None:
            headers["If-Match"] = if_match
        request = urllib.request.Request(self._url.get_secret_value(), headers=headers)  # noqa: S310, settings take http(s) only
        with self._translated():
            answer = urllib.request.urlopen(request, timeout=_PATIENCE)  # noqa: S310
        partial = answer.status == http.client.PARTIAL_CONTENT
        etag = answer.headers.get("ETag")
        if if_match is not None and etag != if_match:
            answer.close()
            raise IntegrityError(f"{self.address} was replaced while it was read")
        whole = answer.headers.get("Content-Range", "").rpartition("/")[2] if partial else ""
        length = whole or answer.headers.get("Content-Length", "")
        version = Version(version_id=None, size=int(length) if length.isdecimal() else None, etag=etag)
        return Content(
            version, self._blocks(answer, 0 if partial else start, stop if not partial else None), private=True
        )

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
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailable(f"{self.address} cannot be reached: {error}", hint="Check the network.") from error

    def _answered(self, error: urllib.error.HTTPError) -> StorageError:
        error.close()
        said = f"{self.address} answers {error.code} {error.reason}"
        if error.code in (401, 403):
            return AccessDenied(f"{said}: the link has expired, or was not copied whole", hint="Ask for a new link.")
        if error.code in (404, 410):
            return AssemblyNotFound(said)
        if error.code == http.client.PRECONDITION_FAILED:
            return IntegrityError(f"{self.address} was replaced while it was read")
        wait = error.headers.get("Retry-After", "")
        if error.code == http.client.TOO_MANY_REQUESTS:
            return RateLimited(said, retry_after=float(wait) if wait.isdecimal() else None)
        return StoreUnavailable(said) if error.code >= 500 else StorageError(said)
