"""The connection to the server: credentials, server address and HTTP connections, made lazily, once a process.

botocore finds credentials, the server's address and the style of addressing, exactly as the AWS tools do. The
requests for data are our own (`Access.send`), since what counts as an answer has to be checked before it is parsed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import botocore
import botocore.config
import botocore.exceptions
import botocore.session
import botocore.utils
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest

from storage_plugins import AccessDenied, IntegrityError, Source
from storage_plugins.atomic import disk_errors

from . import http
from .errors import Interrupted, NotSent, translated
from .log_secrets import keep_secrets_out_of_logs
from .settings import S3Settings

_NOTHING = hashlib.sha256(b"").hexdigest()
_PIECE = 64 << 10  # bytes sent at a time: the time-out below is for one of them
_CONNECT = 10.0  # seconds, for a connection and for each piece of a body that is sent
_READ = 40.0  # seconds without a byte of an answer
_CONNECTIONS = 64  # kept open for further requests


@dataclasses.dataclass
class Reply:
    """An answer: its status, its headers (names in lower case), and its body, unless that is still to be read."""

    status: int
    headers: dict[str, str]
    raw: Any
    body: bytes = b""


@dataclasses.dataclass(frozen=True)
class Access:
    """How one bucket is reached: where, and with which credentials. None: without any."""

    scheme: str
    host: str
    root: str  # path of the bucket: empty where the host name contains the bucket
    region: str
    credentials: Any
    client: Any  # botocore's, for requests that are rare
    http: Any

    def send(
        self,
        method: str,
        key: str | None,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Body = b"",
        sha256: str | None = None,
        before_piece: Callable[[int], None] | None = None,
        stream: bool = False,
    ) -> Reply:
        """Send one request, once.

        ``sha256`` is the hash of the body; without one, a ``Content-MD5`` among the headers is signed in its place.
        ``before_piece`` is called before each piece of the body with the number of bytes sent so far, and may raise.
        """
        path = f"{self.root}/{quote(key, safe='/~')}" if key is not None else self.root or "/"
        pairs = ((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
        string = "&".join(f"{name}={value}" if value else name for name, value in pairs)
        url = f"{self.scheme}://{self.host}{path}{'?' if string else ''}{string}"
        sent = {"Host": self.host, "User-Agent": "storage-plugins", **headers}
        if method in ("PUT", "POST"):
            sent["Content-Length"] = str(len(body))
        if self.credentials is not None:
            # no more is signed than must be: proxies change the rest
            signed = ("host", "x-amz-", "content-md5") if body and not sha256 else ("host", "x-amz-")
            needed = {name: value for name, value in sent.items() if name.lower().startswith(signed)}
            request = AWSRequest(method, url, needed)
            payload = sha256 or ("UNSIGNED-PAYLOAD" if body else _NOTHING)
            _Signature(self.credentials.get_frozen_credentials(), self.region, payload).add_auth(request)
            sent |= dict(request.headers.items())
        sent["Accept-Encoding"] = "identity"
        pieces = _Pieces(body, before_piece)
        try:
            answer = self.http.send(AWSPreparedRequest(method, url, sent, pieces if body else None, True))
        except botocore.exceptions.HTTPClientError as error:
            if pieces.raised is not None:
                raise Interrupted(pieces.raised) from None  # botocore wraps it
            if body and pieces.begun and not pieces.ended:
                raise NotSent(str(error)) from error
            raise
        raw = answer.raw
        reply = Reply(answer.status_code, {name.lower(): value for name, value in raw.headers.items()}, raw)
        if not stream or reply.status >= 300:
            reply.body = http.body(raw, "content-length" in reply.headers)
            raw.read(1)  # at the end of the body the connection is free again
            raw.release_conn()
        return reply


class _Signature(S3SigV4Auth):  # type: ignore[misc]
    """Signs a request whose body was hashed before, or needs no hash; botocore alone would hash it again."""

    def __init__(self, credentials: Any, region: str, sha256: str) -> None:
        super().__init__(credentials, "s3", region)
        self._sha256 = sha256

    def payload(self, request: AWSRequest) -> str:
        """Return the hash of the body."""
        return self._sha256


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a file as a body, read while it is sent."""

    source: Source
    start: int
    size: int

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        with disk_errors(f"read {self.source.path.name}"), self.source.open() as file:
            file.seek(self.start)
            left = self.size
            while left:
                piece = file.read(min(_PIECE, left))
                if not piece:
                    raise IntegrityError(f"{self.source.path.name} became shorter while it was being uploaded")
                left -= len(piece)
                yield piece


Body = bytes | Part


class _Pieces:
    """A body in pieces.

    Attributes:
        begun, ended: whether the first piece was asked for, and what comes after the last.
        raised: what reading it, or ``before``, raised.
    """

    def __init__(self, body: Body, before: Callable[[int], None] | None) -> None:
        self._body, self._before = body, before
        self.raised: Exception | None = None
        self.begun = self.ended = False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.begun, sent = True, 0
        try:
            for piece in _cut(self._body) if isinstance(self._body, bytes) else self._body:
                if self._before is not None:
                    self._before(sent)
                yield piece
                sent += len(piece)
            self.ended = True
        except Exception as error:
            self.raised = error
            raise


def _cut(body: bytes) -> Iterator[memoryview]:
    view = memoryview(body)
    return (view[start : start + _PIECE] for start in range(0, len(view), _PIECE))


class Connection:
    """Signed and anonymous access to one bucket."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._made: dict[tuple[int, bool], Access] = {}
        self._locks: dict[int, threading.Lock] = {}
        self._region: str | None = None  # where the bucket is, if the server named another region than ours

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["settings"])  # type: ignore[misc]

    def access(self, anonymous: bool = False) -> Access:
        """Return this process's access; without credentials if asked, or if there are none."""
        anonymous = anonymous or self._settings.anonymous == "always"
        process = os.getpid()  # a connection does not survive a fork
        made = self._made.get((process, anonymous))
        if made is None:
            # a lock for each process: a child that is forked now must not inherit a locked one
            with self._locks.setdefault(process, threading.Lock()):
                made = self._made.get((process, anonymous))
                if made is None:
                    with translated("the bucket", self._settings.address):
                        made = self._made[process, anonymous] = self._make(anonymous)
        return made

    def move(self, region: str) -> bool:
        """Turn to another region of Amazon's from now on; whether that is any news."""
        if self._settings.endpoint or region == self._region:
            return False
        self._region = region
        self._made.clear()
        return True

    def may_try_anonymously(self) -> bool:
        """Whether a refusal of signed requests is worth a second try without signature."""
        made = self._made.get((os.getpid(), False))  # None: the credentials could not be read
        return self._settings.anonymous == "auto" and (made is None or made.credentials is not None)

    def _credentials(self, session: Any) -> Any:
        """Look through the standard AWS chain."""
        try:
            credentials = session.get_credentials()
            if credentials is not None:
                credentials.get_frozen_credentials()
        except botocore.exceptions.ProfileNotFound:
            raise
        except Exception as error:  # a process, a file or a sign-in that does not work
            raise AccessDenied(
                f"The credentials for {self._settings.address} could not be read: {error}",
                hint="Fix them with `aws configure` or `aws sso login`, or name another profile: in storage.yaml.",
            ) from error
        return credentials

    def _make(self, anonymous: bool) -> Access:
        settings = self._settings
        session = botocore.session.Session(profile=settings.profile)
        if not _may_have_an_instance_role():
            session.get_component("credential_provider").remove("iam-role")
        credentials = None
        if not anonymous:
            keep_secrets_out_of_logs()
            credentials = self._credentials(session)
            if credentials is None and settings.anonymous == "never":
                raise botocore.exceptions.NoCredentialsError
        region = self._region or settings.region or session.get_config_variable("region") or "us-east-1"
        client = session.create_client(
            "s3",
            region_name=region,
            endpoint_url=settings.endpoint,
            config=botocore.config.Config(
                signature_version="s3v4" if credentials else botocore.UNSIGNED,
                connect_timeout=_CONNECT,
                read_timeout=_READ,
                retries={"mode": "standard", "total_max_attempts": 2},
                # Content-MD5 is understood by every server, newer checksums are not
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3=_addressing(session, settings),
            ),
        )
        link = urlsplit(client.generate_presigned_url("get_object", {"Bucket": settings.bucket_name, "Key": "k"}))
        scope = parse_qs(link.query).get("X-Amz-Credential", [""])[0].split("/")
        base = f"{link.scheme}://{link.netloc}"
        return Access(
            scheme=link.scheme,
            host=link.netloc,
            root=link.path.removesuffix("/k"),
            region=scope[-3] if len(scope) > 3 else region,
            credentials=credentials,
            client=client,
            http=http.Session(
                verify=session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE", True),
                proxies=botocore.utils.get_environ_proxies(base),
                timeout=(_CONNECT, _READ),
                max_pool_connections=_CONNECTIONS,
                socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            ),
        )


def _addressing(session: Any, settings: S3Settings) -> dict[str, str]:
    """Return the style of addressing: that of the AWS config; else by path on servers that are not Amazon's."""
    told = session.get_scoped_config().get("s3")
    if isinstance(told, dict) and told.get("addressing_style"):
        return {"addressing_style": str(told["addressing_style"])}
    return {"addressing_style": "path" if settings.endpoint else "auto"}


def _may_have_an_instance_role() -> bool:
    """Whether the lookup of an instance's role can succeed: elsewhere it waits for seconds, and for nothing.

    Amazon's machines name Amazon as their vendor ("Identify EC2 Linux instances" in the EC2 user guide).
    """
    if os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return True
    for told in ("/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/bios_version", "/sys/hypervisor/uuid"):
        with contextlib.suppress(OSError):
            text = Path(told).read_text("ascii", errors="replace").lower()
            if "amazon" in text or text.startswith("ec2"):
                return True
    return os.name == "nt"  # no such files there
