"""Requests to one folder of a WebDAV server, and what it answers, as this project's errors."""

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
    409: ConfigError,  # the folder that it would be in is not there
    410: AssemblyNotFound,
    413: QuotaExceeded,
    423: StoreUnavailable,  # somebody holds a lock
    507: QuotaExceeded,
}


class Entry(NamedTuple):
    """What a listing says: ``tag`` is another one once a file's bytes are; ``free``: bytes, where it was asked for."""

    is_folder: bool
    size: int | None
    tag: str
    free: int | None


class Server:
    """The folder that the settings name; all paths are below it, and a folder's ends in an empty part."""

    def __init__(self, settings: WebDAVSettings) -> None:
        self._settings = settings
        self._clients: dict[int, httpx.Client] = {}  # one for each process, made when needed

    def url(self, *path: str) -> str:
        """Return a path's address."""
        return "/".join([self._settings.url, *(quote(part, safe="") for part in path)])

    def send(self, method: str, *path: str, stream: bool = False, **request: Any) -> httpx.Response:
        """Return the answer to a request, its bytes still to come if it is to ``stream``; raise if it is refused."""
        client = self._client()
        with self.talking():
            answer = client.send(client.build_request(method, self.url(*path), **request), stream=stream)
        status = answer.status_code
        told_of_many = status == httpx.codes.MULTI_STATUS  # elsewhere than in a listing, of what went wrong
        if (answer.is_success and told_of_many == (method == "PROPFIND")) or status == 416:  # nothing in that range
            return answer
        answer.close()
        said = f"{self._settings.address} answers {status} {answer.reason_phrase} to {method} {'/'.join(path)}"
        wait = answer.headers.get("Retry-After", "")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise RateLimited(said, retry_after=float(wait) if wait.isdecimal() else None)
        raise _MEANING.get(status, StoreUnavailable if status >= 500 else StorageError)(said)

    def listing(self, *path: str, depth: int = 1, properties: Iterable[str] = _FILES) -> dict[str, Entry]:
        """Return by name what lies in a folder, with the folder itself; nothing where there is none."""
        asked = "".join(f"<{name}/>" for name in properties)
        body = f'<propfind xmlns="DAV:"><prop>{asked}</prop></propfind>'.encode()
        try:
            answer = self.send("PROPFIND", *path, headers={"Depth": str(depth)}, content=body)
            told = ElementTree.fromstring(answer.content)  # noqa: S314  expat itself stops what swells
        except AssemblyNotFound:
            return {}
        except ElementTree.ParseError as error:
            raise StorageError(
                f"{self._settings.url} is no WebDAV folder", hint="Check url: in storage.yaml."
            ) from error
        return dict(map(_entry, told.iter("{DAV:}response")))

    def free_space(self) -> int | None:
        """Return the room that the folder's quota leaves, in bytes; None where there is no quota, or no folder yet."""
        return next((entry.free for entry in self.listing("", depth=0, properties=[_QUOTA]).values()), None)

    @contextlib.contextmanager
    def talking(self) -> Iterator[None]:
        """Tell of connections that are not made, or break, in this block."""
        try:
            yield
        except httpx.HTTPError as error:
            told = f"{self._settings.address} does not answer: {error or type(error).__name__}"
            raise StoreUnavailable(told, hint="Check the network, and url: in storage.yaml.") from error

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


def _entry(told: ElementTree.Element) -> tuple[str, Entry]:
    tag = told.findtext(".//{DAV:}getetag") or told.findtext(".//{DAV:}getlastmodified") or ""
    path = urlsplit(told.findtext("{DAV:}href") or "").path
    is_folder = told.find(".//{DAV:}collection") is not None
    entry = Entry(is_folder, _number(told, "getcontentlength"), tag, _number(told, _QUOTA))
    return unquote(path.rstrip("/").rpartition("/")[2]), entry


def _number(told: ElementTree.Element, name: str) -> int | None:
    text = told.findtext(f".//{{DAV:}}{name}") or ""
    return int(text) if text.isdecimal() else None  # Nextcloud writes -3 where there is no limit
