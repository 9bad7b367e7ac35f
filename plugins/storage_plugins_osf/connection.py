"""The connection to OSF: one session a thread, made lazily, never pickled. Only OSF's own hosts get the token."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import requests

from storage_plugins import AccessDenied, ConfigError, StoreUnavailable

from .errors import refusal, translated
from .settings import LOOPBACK, OsfSettings
from .turns import progress

_log = logging.getLogger(__name__)
# seconds to connect, and to send each block of a body; seconds without any part of an answer
_TIMEOUTS = (20.0, 90.0)
_MOST_HOPS = 3
# seconds that a private project is not asked for again without a token: OSF allows 100 such requests an hour
_REMEMBERED = 60.0
_LARGEST_ANSWER = 64 << 20  # bytes of JSON: a folder of some 60,000 files


class _Process:
    """What belongs to one process: a connection does not survive a fork."""

    def __init__(self) -> None:
        self.sessions = threading.local()
        self.without_token = False
        self.registration = False
        self.refused: tuple[float, str] | None = None  # until when it is remembered, and the message
        self.files_host: str | None = None


class Connection:
    """Requests to one OSF service."""

    def __init__(self, settings: OsfSettings) -> None:
        self.settings = settings
        self._processes: dict[int, _Process] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["settings"])  # type: ignore[misc]

    @property
    def address(self) -> str:
        """The location, for messages."""
        return self.settings.address

    @property
    def private(self) -> bool:
        """Whether requests carry credentials."""
        return self.settings.view_only is not None or self._token() is not None

    @property
    def registration(self) -> bool:
        """Whether this is a registration, as far as is known."""
        return self.settings.is_registration or self._process().registration

    def trust_files_host(self, url: str) -> None:
        """Send the token to the files host that the API names, too: over https, or on this computer."""
        if not self._is_safe(url):
            raise StoreUnavailable(f"{self.address}: OSF names a files host without https")
        self._process().files_host = _origin(url)

    def project(self, path: str, **query: str) -> Any:
        """Return what the API answers about the project, or about the registration if it is one."""
        if not self.registration:
            try:
                return self._api(f"nodes/{self.settings.guid}/{path}", "the project", query)
            except ConfigError as error:  # a registration is not found there
                missing = error
            try:
                content = self._api(f"registrations/{self.settings.guid}/{path}", "the project", query)
            except (ConfigError, AccessDenied):
                raise missing from missing.__cause__
            self._process().registration = True
            return content
        return self._api(f"registrations/{self.settings.guid}/{path}", "the registration", query)

    def file_versions(self, file_id: str, key: str, page: int) -> Any:
        """Return one page of what the API lists of a file's versions, newest first; None if the file is gone."""
        query = {"sort": "-date_created", "page[size]": "100", "page": f"{page}"}
        try:
            return self._api(f"files/{file_id}/versions/", key, query)
        except ConfigError:  # how the API calls a file that was deleted
            return None

    def _api(self, path: str, what: str, query: Mapping[str, str]) -> Any:
        """Ask the API. Public data need no token, and an invalid one does not block them."""
        url = f"{self.settings.api_url}{path}"
        process = self._process()
        closed = process.refused if process.refused and time.monotonic() < process.refused[0] else None
        if closed and self._token() is None:
            raise AccessDenied(closed[1])
        try:
            return self._answer(url, what, query)
        except AccessDenied as first:
            if closed:
                raise
            if self._token() is not None:
                process.without_token = True
                try:
                    content = self._answer(url, what, query)
                except (AccessDenied, ConfigError):
                    process.without_token = False
                else:
                    _log.warning("OSF did not accept the token for %s, which is public", self.address)
                    return content
            process.refused = (time.monotonic() + _REMEMBERED, first.message)
            raise

    def _answer(self, url: str, what: str, query: Mapping[str, str]) -> Any:
        response = self.request("GET", url, what, query)
        if response.status_code != 200:
            raise refusal(response, what, self.address, of_project=True)
        return self.json(response, what)

    def json(self, response: requests.Response, what: str) -> Any:
        """Return an answer's JSON object; StoreUnavailable if it has none, such as a sign-in page."""
        try:
            content = response.json()
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("Content-Type", "nothing")
            raise self.odd(what, f"{kind} instead of JSON") from error
        if not isinstance(content, dict):
            raise self.odd(what, "JSON without an object")
        return content

    def odd(self, what: str, problem: str) -> StoreUnavailable:
        """Return the error for an answer that is not one of OSF's."""
        return StoreUnavailable(f"{what} in {self.address}: unexpected answer from OSF ({problem})")

    def request(
        self,
        method: str,
        url: str,
        what: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        kind: str | None = None,
    ) -> requests.Response:
        """Send a request to OSF and return the whole answer, whatever its status. ``kind``: the body's media type."""
        headers = {"Accept": "application/vnd.api+json;version=2.20", **({"Content-Type": kind} if kind else {})}
        with translated(what, self.address, secret=self._view_only()):
            response = self._send(method, self._address(url, query), headers, body)
            with response:
                data = response.raw.read(_LARGEST_ANSWER + 1, decode_content=True) or b""
                while len(data) <= _LARGEST_ANSWER and (more := response.raw.read(1 << 20, decode_content=True)):
                    data += more
                if len(data) > _LARGEST_ANSWER:
                    raise self.odd(what, "the answer is too long")
                response._content = data
        return response

    def download(self, url: str, what: str, query: Mapping[str, str], headers: Mapping[str, str]) -> requests.Response:
        """Ask for a file's bytes, following redirects; the body is not read yet.

        A host that OSF redirects to gets neither token nor view-only key. If it refuses, the link has expired:
        OSF gives a new one when asked again.
        """
        address = self._address(url, query)
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", **headers}
        with translated(what, self.address, secret=self._view_only()):
            for hop in range(_MOST_HOPS + 1):
                response = self._send("GET", address, headers)
                if response.status_code in (301, 302, 303, 307, 308) and response.headers.get("Location"):
                    address = urljoin(address, response.headers["Location"])
                    response.close()
                    if not self._is_safe(address):
                        raise self.odd(what, "a redirect to an address without https")
                    continue
                if hop and response.status_code not in (200, 206, 416, 429):
                    response.close()
                    raise self.odd(what, f"the storage host answered {response.status_code}")
                return response
        raise self.odd(what, "too many redirects")

    def _is_safe(self, url: str) -> bool:
        """Whether requests to a URL cannot be read on the way: https, or all of this service is on this computer."""
        try:
            parts, ours = urlsplit(url), urlsplit(self.settings.api_url)
        except ValueError:  # no URL at all
            return False
        local = parts.hostname in LOOPBACK and ours.hostname in LOOPBACK
        return parts.scheme == "https" or (local and parts.scheme == ours.scheme == "http")

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Any = None) -> requests.Response:
        progress()
        return self._session().request(
            method, url, headers=headers, data=body, timeout=_TIMEOUTS, allow_redirects=False, stream=True
        )

    def _address(self, url: str, query: Mapping[str, str] | None) -> str:
        """Return ``url`` with a query merged into its own, and the view-only key."""
        parts = urlsplit(url)
        merged = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **(query or {})}
        key = self._view_only()
        if key:
            merged["view_only"] = key
        return urlunsplit(parts._replace(query=urlencode(merged)))

    def _session(self) -> requests.Session:
        sessions = self._process().sessions
        if not hasattr(sessions, "made"):
            from osfclient.models.session import OSFSession

            session: requests.Session = OSFSession()
            session.headers.pop("Content-Type", None)  # the storage host refuses one
            session.proxies.clear()  # requests finds the environment's, with their exceptions
            session.auth = self._sign  # this also keeps ~/.netrc out
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            _keep_secrets_out_of_logs()
            sessions.made = session
        made: requests.Session = sessions.made
        return made

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token, for OSF's own hosts alone."""
        token = self._token()
        own = (_origin(self.settings.api_url), self._process().files_host)
        if token is not None and _origin(request.url or "") in own:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    def _token(self) -> str | None:
        token = self.settings.token
        return None if token is None or self._process().without_token else token.get_secret_value()

    def _view_only(self) -> str | None:
        return None if self.settings.view_only is None else self.settings.view_only.get_secret_value()

    def _process(self) -> _Process:
        made = self._processes.get(os.getpid())
        # without a lock: a child forked at this moment would inherit it locked
        return made or self._processes.setdefault(os.getpid(), _Process())


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


class _Redacting(logging.Filter):
    """Replaces keys and signatures in the URLs that urllib3 logs at DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        shown = re.sub(r"((?:view_only|Signature|X-Goog-Signature)=)[^&\s\"']+", r"\1…", text)
        if shown != text:
            record.msg, record.args = shown, None
        return True


_redacting = _Redacting()


def _keep_secrets_out_of_logs() -> None:
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logger = logging.getLogger(name)
        if _redacting not in logger.filters:
            logger.addFilter(_redacting)
