"""Requests to one folder of a WebDAV server. Failures are raised as errors of storage-plugins."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

import httpx

from storage_plugins import (
    AccessDenied,
    AssemblyNotFound,
    ConfigError,
    QuotaExceeded,
    RateLimited,
    StorageError,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from .settings import WebDAVSettings

_PATIENCE = 60.0  # seconds without a byte
_FILES = "resourcetype", "getcontentlength", "getetag", "getlastmodified"
_QUOTA = "quota-available-bytes"  # RFC 4331
_MEANING: dict[int, type[StorageError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: AssemblyNotFound,
    409: ConfigError,  # the parent folder does not exist
    410: AssemblyNotFound,
    413: QuotaExceeded,
    423: StoreUnavailable,  # another client has locked it
    507: QuotaExceeded,
}


class Entry(NamedTuple):
    """One entry of a listing. ``tag`` changes with the file's bytes; ``free`` is in bytes, if it was requested."""

    is_folder: bool
    size: int | None
    tag: str
    free: int | None


class Server:
    """The folder in the settings. All paths are below it, and the path of a folder ends with an empty part."""

    def __init__(self, settings: WebDAVSettings) -> None:
        self._settings = settings
        self._clients: dict[int, httpx.Client] = {}  # one for each process, created at first use

    def url(self, *path: str) -> str:
        """Return the URL of a path."""
        return "/".join([self._settings.url, *(quote(part, safe="") for part in path)])

    def send(self, method: str, *path: str, stream: bool = False, **request: Any) -> httpx.Response:
        """Send a request and return the response. With ``stream``, its body is not read yet. Raise if it failed."""
        client = self._client()
        with self.talking():
            answer = client.send(client.build_request(method, self.url(*path), **request), stream=stream)
        status = answer.status_code
        is_multiple = status == httpx.codes.MULTI_STATUS  # outside a listing, it lists failures
        if (answer.is_success and is_multiple == (method == "PROPFIND")) or status == 416:  # no bytes in that range
            return answer
        answer.close()
        failure = f"{self._settings.address} returned {status} {answer.reason_phrase} for {method} {'/'.join(path)}"
        wait = answer.headers.get("Retry-After", "")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise RateLimited(failure, retry_after=float(wait) if wait.isdecimal() else None)
        raise _MEANING.get(status, StoreUnavailable if status >= 500 else StorageError)(failure)

    def listing(self, *path: str, depth: int = 1, properties: Iterable[str] = _FILES) -> dict[str, Entry]:
        """Return the entries of a folder and the folder itself, by name; an empty dict if it does not exist."""
        requested = "".join(f"<{name}/>" for name in properties)
        body = f'<propfind xmlns="DAV:"><prop>{requested}</prop></propfind>'.encode()
        try:
            answer = self.send("PROPFIND", *path, headers={"Depth": str(depth)}, content=body)
            listing = ElementTree.fromstring(answer.content)  # noqa: S314  expat limits entity expansion
        except AssemblyNotFound:
            return {}
        except ElementTree.ParseError as error:
            raise StorageError(
                f"{self._settings.url} is not a WebDAV folder", hint="Check url: in storage.yaml."
            ) from error
        return dict(map(_entry, listing.iter("{DAV:}response")))

    def free_space(self) -> int | None:
        """Return the free space within the quota, in bytes; None without a quota or if the folder does not exist."""
        return next((entry.free for entry in self.listing("", depth=0, properties=[_QUOTA]).values()), None)

    @contextlib.contextmanager
    def talking(self) -> Iterator[None]:
        """Raise StoreUnavailable if a connection fails in this block."""
        try:
            yield
        except httpx.HTTPError as error:
            failure = f"{self._settings.address} does not respond: {error or type(error).__name__}"
            raise StoreUnavailable(failure, hint="Check the network, and url: in storage.yaml.") from error

    def _client(self) -> httpx.Client:
        client = self._clients.get(os.getpid())
        if client is None:
            name, password = self._settings.username, self._settings.password
            client = httpx.Client(
                auth=(name, password.get_secret_value()) if name and password else None,
                headers={"User-Agent": "storage-plugins", "Accept-Encoding": "identity"},
                timeout=_PATIENCE,
            )
            weakref.finalize(self, client.close)
            client = self._clients.setdefault(os.getpid(), client)
        return client


def _entry(response: ElementTree.Element) -> tuple[str, Entry]:
    tag = response.findtext(".//{DAV:}getetag") or response.findtext(".//{DAV:}getlastmodified") or ""
    path = urlsplit(response.findtext("{DAV:}href") or "").path
    is_folder = response.find(".//{DAV:}collection") is not None
    entry = Entry(is_folder, _number(response, "getcontentlength"), tag, _number(response, _QUOTA))
    return unquote(path.rstrip("/").rpartition("/")[2]), entry


def _number(response: ElementTree.Element, name: str) -> int | None:
    text = response.findtext(f".//{{DAV:}}{name}") or ""
    return int(text) if text.isdecimal() else None  # Nextcloud sends -3 if there is no limit
