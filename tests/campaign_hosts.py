"""Hosts that misbehave as a campaign says, each with a way round the store; see campaign.py.

S3: moto behind a proxy, which makes up answers, loses, cuts and changes them. ``fsspec``: a filesystem in memory whose
calls fail before or after they did their work, and whose reads return too little or other bytes. ``local``: the system
calls of this process fail, by Python's audit events, and files, HDF5's too, cannot grow beyond a limit of this process.
"""

import contextlib
import errno
import functools
import hashlib
import itertools
import json
import os
import random
import re
import resource
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, cast
from unittest import mock

import fsspec
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from osf_answers import HTML, Request
from osf_host import Folder
from osf_server import TRICKLES, Fault, OSFServer, trickle
from proxy import Answer, Proxy
from s3_servers import S3Server, served_moto

from storage_plugins.atomic import TEMPORARY

TOKEN = "campaign-token"
TIMEOUT = 5  # seconds that stores wait for a host
Held = dict[str, list[tuple[str | None, bytes]]]  # of each key its versions, oldest first: id and bytes
Chance = random.Random


class Kind(NamedTuple):
    """A kind of fault: how one is drawn, with which requests it can happen, and how often beside others."""

    draw: Callable[[Chance], Any]
    fits: Callable[[Any], bool] = lambda request: True
    weight: float = 1.0


class OnlyVersions:
    """What holds for hosts without uploads in parts and without places that keep no versions."""

    stages: ClassVar[Mapping[str, Callable[[Any], bool]]] = {}
    aims: tuple[str, ...] = ()
    large = 1000
    unversioned = False
    reach = 20

    def unfinished(self, settings: Mapping[str, Any]) -> list[str]:
        """Return nothing: what is left there cannot be told apart, or is not removed."""
        return []

    def age(self, settings: Mapping[str, Any]) -> None:
        """Do nothing, as nothing is unfinished."""


def some_byte(chance: Chance) -> int:
    return chance.choice((0, 1, chance.randrange(200), chance.randrange(5000), chance.randrange(600_000)))


# OSF


def answering(status: int, body: bytes = b"", **headers: str) -> Kind:
    return Kind(lambda chance: Fault(answer=(status, dict(headers), body)))


def slow_down(body: bytes) -> Kind:
    def draw(chance: Chance) -> Fault:
        return Fault(answer=(429, {"Retry-After": chance.choice(("0", "1", "7", "59", "3000"))}, body))

    return Kind(draw)


def has_body(request: Any) -> bool:
    return int(request.headers.get("content-length") or 0) > 0


def is_answered_in_full(request: Request) -> bool:
    return not (request.origin == "files" and "version" in request.query)  # else with a redirect, which has no body


def is_download(request: Request) -> bool:
    listed = request.path.endswith("/") or not {"meta", "revisions"}.isdisjoint(request.query)
    return request.method == "GET" and request.origin != "api" and not listed


def flipped(data: bytes, place: int) -> bytes:
    """Return bytes with one bit of one of them flipped; nothing, if there is none."""
    return data[:place] + bytes(byte ^ 1 for byte in data[place : place + 1]) + data[place + 1 :]


def flip_of_osf(chance: Chance) -> Fault:
    at = chance.random()

    def spoil(answer: Any) -> None:
        answer.body = flipped(answer.body, int(at * len(answer.body)))

    return Fault(spoil=spoil)


def repeat_of_osf(chance: Chance) -> Fault:
    """Let a page's next one be itself."""

    def spoil(answer: Any) -> None:
        with contextlib.suppress(ValueError):
            page = json.loads(answer.body)
            if isinstance(page.get("data"), list) and isinstance(page.get("links"), dict):
                page["links"]["next"] = page["links"].get("self") or page["links"].get("first")
                answer.body = json.dumps(page).encode()

    return Fault(spoil=spoil)


class Osf(OnlyVersions):
    """The stand-in for OSF. Each place is a project of its own."""

    kinds: Mapping[str, Kind] = {
        "reset": Kind(lambda chance: Fault(reset=True)),
        "cut request": Kind(lambda chance: Fault(cut_request=some_byte(chance)), has_body),
        "cut answer": Kind(lambda chance: Fault(cut_answer=some_byte(chance)), is_answered_in_full),
        "lost answer": Kind(lambda chance: Fault(lose_answer=True)),
        "too long": Kind(lambda chance: Fault(length=chance.choice((1, 50, 5000))), is_answered_in_full),
        "too short": Kind(lambda chance: Fault(length=-chance.choice((1, 50, 5000))), is_answered_in_full),
        "slow": Kind(lambda chance: Fault(delay=0.02)),
        "html": answering(*HTML[::2], **HTML[1]),
        "expired link": Kind(
            lambda chance: Fault(answer=(400, {}, b"<Error><Code>ExpiredToken</Code></Error>")),
            lambda request: request.origin == "storage",
        ),
        "429 of the api": slow_down(
            b'{"errors": [{"detail": "Request was throttled. Expected available in 5 seconds."}]}'
        ),
        "429 of the files": slow_down(b'{"error": "API rate-limiting active due to too many requests", "headers": {}}'),
        "200 and nothing": answering(200),
        "200 and a list without an end": Kind(  # the files host has no other
            lambda chance: Fault(answer=(200, {"Content-Type": "application/json"}, b'{"data": []}')),
            lambda request: request.origin == "api",
        ),
        "201 and nothing": answering(201),
        "204": answering(204),
        "302": answering(302, Location="http://127.0.0.1:9/login"),
        "flipped bit": Kind(flip_of_osf, is_download),
        "repeated page": Kind(repeat_of_osf, lambda request: request.method == "GET" and request.origin == "api"),
        "trickle": Kind(lambda chance: Fault(trickle=True), weight=0.1),
        "500": answering(500),
        "502": answering(502, b"<html>Bad gateway</html>", **{"Content-Type": "text/html"}),
        "503": answering(503, b"{}"),
        "504": answering(504),
    }

    def __init__(self, folder: Path) -> None:
        pass

    def __enter__(self) -> Self:
        self._server = OSFServer().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(*error)

    def settings(self, *, versioned: bool = True) -> dict[str, Any]:
        node = self._server.host.node(roles={TOKEN: "write"})
        return {
            "backend": "osf",
            "project": node.id,
            "token": TOKEN,
            "api_url": self._server.api_url,
            "timeout": TIMEOUT,
        }

    def held(self, settings: Mapping[str, Any]) -> Held:
        found: Held = {}

        def walk(folder: Folder, path: str) -> None:
            for item in folder.children:
                place = f"{path}{item.name}"
                if isinstance(item, Folder):
                    walk(item, f"{place}/")
                    continue
                assert place not in found, f"there are twins of {place}"
                found[place] = [(f"{version.number}", version.data) for version in item.versions]

        walk(self._server.host.nodes[settings["project"]].root, "")
        return found

    def put(self, settings: Mapping[str, Any], key: str, data: bytes) -> None:
        self._server.host.put(self._server.host.nodes[settings["project"]], key, data)

    def go_wrong(self, ask: Callable[[Request], Fault | None]) -> None:
        self._server.forget()
        self._server.fault = ask


class SlowOsf(Osf):
    """OSF with transactions that take 0, 10 and 50 ms to commit, in turn."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._windows = itertools.cycle((0.0, 0.01, 0.05))

    def go_wrong(self, ask: Callable[[Request], Fault | None]) -> None:
        super().go_wrong(ask)
        self._server.host.window = next(self._windows)


# S3


class Exchange(NamedTuple):
    """A request to the proxy."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def key(self) -> str:
        """Of the object; empty for requests to the bucket."""
        return self.path.partition("?")[0].strip("/").partition("/")[2]

    @property
    def is_list_of_uploads(self) -> bool:
        return self.method == "GET" and not self.key and "?uploads" in self.path


class Wrong(NamedTuple):
    """What the proxy does instead of passing on a request and its answer.

    Attributes:
        instead: an answer made up, without asking the server; of status 0: none, the connection is closed.
        cut_request: of the body, so many bytes are read, and the connection is closed.
        spoil: changes the answer.
        cut_answer: of the answer's body, so many bytes are sent.
        length: what the answer claims beyond its real length; negative for less.
        carry_on: "100 Continue" is sent so often before anything else.
        trickle: the answer begins so, goes on a byte at a time, and has no end.
    """

    instead: Answer | None = None
    cut_request: int | None = None
    spoil: Callable[[Answer], None] = lambda answer: None
    cut_answer: int | None = None
    length: int = 0
    carry_on: int = 0
    trickle: bytes = b""


def trickling(chance: Chance, **more: int) -> Wrong:
    return Wrong(trickle=chance.choice([*TRICKLES.values()]), **more)


def made_up(status: int, body: bytes = b"", type_: str = "application/xml") -> Kind:
    return Kind(lambda chance: Wrong(instead=Answer(status, {"content-type": type_}, body)))


def refused(status: int, code: str, fits: Callable[[Exchange], bool] = lambda request: True) -> Kind:
    body = f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
    return Kind(lambda chance: Wrong(instead=Answer(status, {"content-type": "application/xml"}, body)), fits)


def without(*names: str) -> Kind:
    def spoil(answer: Answer) -> None:
        for name in names:
            answer.headers.pop(name, None)

    return Kind(lambda chance: Wrong(spoil=spoil), lambda request: request.method in ("PUT", "POST"))


def reads_object(request: Exchange) -> bool:
    return request.method == "GET" and bool(request.key) and "tagging" not in request.path


def lists(request: Exchange) -> bool:
    return request.method == "GET" and not request.key and bool(re.search("versions|list-type", request.path))


def flip(chance: Chance) -> Wrong:
    at = chance.random()

    def spoil(answer: Answer) -> None:
        answer.body = flipped(answer.body, int(at * len(answer.body)))

    return Wrong(spoil=spoil)


def truncate(chance: Chance) -> Wrong:
    """End a listing early, under the length of what is left."""
    part = chance.random()

    def spoil(answer: Answer) -> None:
        answer.body = answer.body[: int(part * len(answer.body))]

    return Wrong(spoil=spoil)


def never_ends(chance: Chance) -> Wrong:
    """Say that there is more, without saying where it goes on."""

    def spoil(answer: Answer) -> None:
        answer.body = answer.body.replace(b"<IsTruncated>false", b"<IsTruncated>true")

    return Wrong(spoil=spoil)


def lose(answer: Answer) -> None:
    answer.status = 0


def repeat(chance: Chance) -> Wrong:
    """Say that there is more, from where this page began."""

    def spoil(answer: Answer) -> None:
        after = b"</ListBucketResult>" if b"<ListBucketResult" in answer.body else b"</ListVersionsResult>"
        token = b"<NextContinuationToken>1</NextContinuationToken><NextKeyMarker>.</NextKeyMarker>"
        token += b"<NextVersionIdMarker>1</NextVersionIdMarker>"
        answer.body = answer.body.replace(b"<IsTruncated>false", b"<IsTruncated>true").replace(after, token + after)

    return Wrong(spoil=spoil)


def forged_etag(chance: Chance) -> Wrong:
    etag = f'"{chance.randbytes(16).hex()}"'

    def spoil(answer: Answer) -> None:
        if "etag" in answer.headers:
            answer.headers["etag"] = etag

    return Wrong(spoil=spoil)


def forged_record(chance: Chance) -> Wrong:
    sha256 = chance.randbytes(32).hex()

    def spoil(answer: Answer) -> None:
        if "x-amz-meta-sha256" in answer.headers:
            answer.headers["x-amz-meta-sha256"] = sha256

    return Wrong(spoil=spoil)


PAGE = b"<html><body>Welcome to the hotel's network. Please log in.</body></html>"


class FaultyProxy(Proxy):
    """Asks for each request what goes wrong with it."""

    ask: Callable[[Exchange], Wrong | None] = staticmethod(lambda request: None)

    def _pass(self, handler: BaseHTTPRequestHandler) -> None:
        wrong = self.ask(Exchange(handler.command, handler.path, handler.headers))
        if wrong is None:
            super()._pass(handler)
        elif wrong.cut_request is not None:
            handler.rfile.read(min(wrong.cut_request, int(handler.headers.get("Content-Length") or 0)))
            handler.close_connection = True
        else:
            body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            answer = wrong.instead or self.forward(handler, body)
            wrong.spoil(answer)
            handler.close_connection = not answer.status or wrong.cut_answer is not None or wrong.length > 0
            for _ in range(wrong.carry_on):
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if wrong.trickle:
                trickle(handler, wrong.trickle)
            elif answer.status:
                sent = answer.body[: wrong.cut_answer]
                answer.body += b"?" * wrong.length  # its length is what is claimed
                answer.body = answer.body[: len(answer.body) + min(0, wrong.length)]
                if "content-length" in answer.headers:
                    answer.headers["content-length"] = f"{max(0, int(answer.headers['content-length']) + wrong.length)}"
                self.send(handler, answer, sent[: len(answer.body)])


_FOR_EVER = contextlib.ExitStack()


@functools.cache
def moto() -> S3Server:
    """Start a server that lives as long as this process."""
    return _FOR_EVER.enter_context(served_moto())


def _buckets() -> Mapping[str, Any]:
    from moto.s3.models import s3_backends

    return cast(Mapping[str, Any], s3_backends["123456789012"]["aws"].buckets)


class S3(OnlyVersions):
    """Moto, behind a proxy. Each place is a bucket of its own."""

    large = (16 << 20) + 1  # the plugin's own limit
    aims = ("Initiate", "Part", "Complete", "Complete", "Complete")
    unversioned = True
    reach = 3
    stages: ClassVar[Mapping[str, Callable[[Exchange], bool]]] = {
        "Initiate": lambda request: request.method == "POST" and "uploads" in request.path,
        "Part": lambda request: request.method == "PUT" and "partNumber=" in request.path,
        "Complete": lambda request: request.method == "POST" and "uploadId=" in request.path,
        "Abort": lambda request: request.method == "DELETE" and "uploadId=" in request.path,
    }

    kinds: Mapping[str, Kind] = {
        "reset": Kind(lambda chance: Wrong(instead=Answer(0, {}, b""))),
        "cut request": Kind(lambda chance: Wrong(cut_request=some_byte(chance)), has_body),
        "cut answer": Kind(lambda chance: Wrong(cut_answer=some_byte(chance)), lambda request: request.method == "GET"),
        "lost answer": Kind(lambda chance: Wrong(spoil=lose)),
        "200 and nothing": made_up(200),
        "200 and a page": made_up(200, PAGE, "text/html"),
        "202 and a page": made_up(202, PAGE, "text/html"),
        "204": made_up(204),
        "302": Kind(lambda chance: Wrong(instead=Answer(302, {"location": "http://127.0.0.1:9/login"}, b""))),
        "307": Kind(lambda chance: Wrong(instead=Answer(307, {"location": "http://127.0.0.1:9/login"}, b""))),
        "too long": Kind(lambda chance: Wrong(length=chance.choice((1, 50, 5000))), lambda r: r.method == "GET"),
        "too short": Kind(lambda chance: Wrong(length=-chance.choice((1, 50, 5000))), lambda r: r.method == "GET"),
        "100 and nothing": Kind(lambda chance: Wrong(carry_on=chance.choice((1, 3)), spoil=lose)),
        "trickle": Kind(trickling, weight=0.1),
        "100 and a trickle": Kind(functools.partial(trickling, carry_on=1), weight=0.1),
        "flipped bit": Kind(flip, reads_object),
        "forged ETag": Kind(forged_etag),
        "forged record": Kind(forged_record, reads_object),
        "repeated page": Kind(repeat, lists),
        "truncated listing": Kind(truncate, lists),
        "listing without an end": Kind(never_ends, lists),
        "no ETag": without("etag"),
        "no version id": without("x-amz-version-id"),
        "not there for a moment": refused(404, "NoSuchKey", reads_object),
        "500": refused(500, "InternalError"),
        "502": made_up(502, b"<html>Bad gateway</html>", "text/html"),
        "503": refused(503, "SlowDown"),
        "504": made_up(504),
        "skewed clock": refused(403, "RequestTimeTooSkewed"),
        "conflict": refused(409, "OperationAborted", lambda request: request.method == "PUT"),
    }

    def __init__(self, folder: Path) -> None:
        self._client = moto().client()
        key, secret = moto().owner
        self._credentials = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        self._read: dict[int, tuple[Any, bytes]] = {}  # moto's version, by its id, and its bytes
        self._buckets: list[str] = []

    def __enter__(self) -> Self:
        self._proxy = FaultyProxy(moto().url)
        self._environment = mock.patch.dict(os.environ, self._credentials)
        self._environment.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._environment.stop()
        self._proxy.close()
        for bucket in self._buckets:  # moto holds everything in memory
            found = self._client.list_object_versions(Bucket=bucket)
            for each in [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]:
                self._client.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])

    def settings(self, *, versioned: bool = True) -> dict[str, Any]:
        bucket = f"campaign-{next(_NUMBERS)}"
        self._buckets.append(bucket)
        self._client.create_bucket(Bucket=bucket)
        if versioned:
            self._client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return {
            "backend": "s3",
            "bucket": bucket,
            "endpoint_url": self._proxy.url,
            "region": "us-east-1",
            "timeout": TIMEOUT,
        }

    def held(self, settings: Mapping[str, Any]) -> Held:
        """Look into moto itself, which runs in this process; asking it takes a hundred times longer."""
        found: Held = {}
        for key, versions in _buckets()[settings["bucket"]].keys.lists():
            for version in versions:
                if not hasattr(version, "value"):
                    continue  # a delete marker
                if id(version) not in self._read:
                    self._read[id(version)] = version, version.value
                id_ = None if version.version_id in (None, "null") else version.version_id
                found.setdefault(key, []).append((id_, self._read[id(version)][1]))
        return found

    def unfinished(self, settings: Mapping[str, Any]) -> list[str]:
        return [upload.key_name for upload in _buckets()[settings["bucket"]].multiparts.values()]

    def age(self, settings: Mapping[str, Any]) -> None:
        """Let the proxy date what is unfinished eight days back; moto dates all uploads 2010."""
        long_ago = (datetime.now(UTC) - timedelta(days=8)).strftime("%Y-%m-%dT%H:%M:%S.000Z").encode()

        def date(answer: Answer) -> None:
            answer.body = re.sub(rb"(<Initiated>)[^<]*", rb"\g<1>" + long_ago, answer.body)

        self._proxy.ask = lambda request: Wrong(spoil=date) if request.is_list_of_uploads else None

    def put(self, settings: Mapping[str, Any], key: str, data: bytes) -> None:
        self._client.put_object(Bucket=settings["bucket"], Key=key, Body=data)

    def go_wrong(self, ask: Callable[[Exchange], Wrong | None]) -> None:
        self._proxy.ask = ask


_NUMBERS = itertools.count(1)


# fsspec


class Call(NamedTuple):
    """A call of a filesystem."""

    name: str
    path: str


Failing = Callable[[Callable[[], Any]], Any]  # is given the call, which it may make, and returns the answer


def before(error: Callable[[], Exception], fits: Callable[[Any], bool] = lambda call: True) -> Kind:
    def fail(call: Callable[[], Any]) -> Any:
        raise error()

    return Kind(lambda chance: fail, fits)


def after(error: Callable[[], Exception]) -> Kind:
    def fail(call: Callable[[], Any]) -> Any:
        call()
        raise error()

    return Kind(lambda chance: fail, lambda call: call.name not in ("_open", "read"))


def reading(change: Callable[[Chance, bytes], bytes]) -> Kind:
    def draw(chance: Chance) -> Failing:
        return lambda call: change(chance, call())

    return Kind(draw, lambda call: call.name in ("read", "cat_file") and not call.path.endswith(".json"))


def half_a_write(call: Callable[[], Any]) -> Any:
    """Stand for a write of which half is lost without an error."""


_WRITES = ("makedirs", "mkdir", "rm", "write")


class FaultyFile(MemoryFile):
    """A file whose reads and writes may fail."""

    def read(self, *arguments: Any) -> bytes:
        return FaultyFiles.asked("read", self.path, lambda: super(FaultyFile, self).read(*arguments))

    def write(self, data: Any) -> int:
        wrong = FaultyFiles.ask(Call("write", self.path))
        if wrong is half_a_write:
            super().write(data[: len(data) // 2])
            return len(data)
        return wrong(lambda: super(FaultyFile, self).write(data)) if wrong else super().write(data)


class FaultyFiles(MemoryFileSystem):
    """A filesystem in memory whose calls may fail."""

    protocol = "campaign"
    root_marker = "/"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    ask: Callable[[Call], Failing | None] = staticmethod(lambda call: None)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("campaign:/"))

    @classmethod
    def asked(cls, name: str, path: str, call: Callable[[], Any]) -> Any:
        wrong = cls.ask(Call(name, path))
        return call() if wrong is None else wrong(call)


def _faulty(name: str) -> Callable[..., Any]:
    def method(self: FaultyFiles, path: str, *arguments: Any, **named: Any) -> Any:
        original = getattr(MemoryFileSystem, name)
        return self.asked(name, path, lambda: original(self, path, *arguments, **named))

    return method


def _open(self: FaultyFiles, path: str, *arguments: Any, **named: Any) -> Any:
    file = self.asked("_open", path, lambda: MemoryFileSystem._open(self, path, *arguments, **named))
    file.__class__ = FaultyFile  # the filesystem makes files of its own class
    return file


for _name in ("ls", "info", "makedirs", "mkdir", "rm", "cat_file"):
    setattr(FaultyFiles, _name, _faulty(_name))
FaultyFiles._open = _open  # type: ignore[method-assign]
fsspec.register_implementation("campaign", FaultyFiles, clobber=True)


class Fsspec(OnlyVersions):
    """A filesystem in memory. Each place is a folder of its own."""

    kinds: Mapping[str, Kind] = {
        "reset": before(lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")),
        "timeout": before(lambda: TimeoutError("timed out")),
        "input/output error": before(lambda: OSError(errno.EIO, "Input/output error")),
        "too many open files": before(lambda: OSError(errno.EMFILE, "Too many open files")),
        "no space": before(lambda: OSError(errno.ENOSPC, "No space left on device")),
        "quota": before(lambda: OSError(errno.EDQUOT, "Disk quota exceeded")),
        "read-only": before(lambda: OSError(errno.EROFS, "Read-only file system"), lambda call: call.name in _WRITES),
        # whoever may not look may upload all the same, and so uploads again what is there
        "not allowed": before(
            lambda: PermissionError(errno.EACCES, "Permission denied"), lambda call: call.name in _WRITES
        ),
        "an SDK's own error": before(lambda: RuntimeError("the SDK does not know what to do")),
        "lost answer": after(lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")),
        "late timeout": after(lambda: TimeoutError("timed out")),
        "half a write": Kind(lambda chance: half_a_write, lambda call: call.name == "write" and "/data." in call.path),
        "flipped bit": reading(lambda chance, data: flipped(data, chance.randrange(len(data) or 1))),
        "short read": reading(lambda chance, data: data[: chance.randrange(len(data) or 1)]),
    }

    def __init__(self, folder: Path) -> None:
        self._fs = MemoryFileSystem()

    def __enter__(self) -> Self:
        FaultyFiles.store.clear()
        FaultyFiles().makedirs("/lab", exist_ok=True)
        return self

    def __exit__(self, *error: Any) -> None:
        FaultyFiles.store.clear()

    def settings(self, *, versioned: bool = True) -> dict[str, Any]:
        return {"backend": "fsspec", "url": f"campaign://lab/place-{next(_NUMBERS)}"}

    def held(self, settings: Mapping[str, Any]) -> Held:
        root = settings["url"].removeprefix("campaign:/")
        found: Held = {}
        for path in sorted(FaultyFiles.store):
            match = re.fullmatch(rf"{root}/\.versions/([^/]+)/([0-9]+)-([0-9a-f-]+)/data\.\w+", path)
            record = f"{path.rpartition('/')[0]}/receipt.json"
            if match and record in FaultyFiles.store and FaultyFiles.store[record].getvalue():
                version = f"{int(match[2])}-{match[3]}", FaultyFiles.store[path].getvalue()
                found.setdefault(match[1], []).append(version)
        return found

    def put(self, settings: Mapping[str, Any], key: str, data: bytes) -> None:
        """Do nothing: others have no way to upload but this one."""

    def go_wrong(self, ask: Callable[[Call], Failing | None]) -> None:
        FaultyFiles.ask = staticmethod(ask)


# this computer


class LocalFolder(OnlyVersions):
    """A folder of this computer, on which nothing goes wrong: the other end of a mirror."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[tuple[Any, ...], tuple[str, bytes]] = {}

    def settings(self, *, versioned: bool = True) -> dict[str, Any]:
        self._folder.mkdir()
        return {"backend": "local", "root": str(self._folder)}

    def held(self, settings: Mapping[str, Any]) -> Held:
        found: Held = {}
        for path in sorted(Path(settings["root"]).glob(".versions/*/*/data.*")):
            key, number, status = path.parent.parent.name, int(path.parent.name), path.stat()
            state = path, status.st_ino, status.st_mtime_ns, status.st_size
            if state not in self._read:
                data = path.read_bytes()
                self._read[state] = _sha256(data), data
            sha256, data = self._read[state]
            found.setdefault(key, []).append((f"{number}-{sha256[:12]}", data))
        return found

    def unfinished(self, settings: Mapping[str, Any]) -> list[str]:
        return [path.name for path in Path(settings["root"]).rglob(f"{TEMPORARY}*")]

    def age(self, settings: Mapping[str, Any]) -> None:
        for path in Path(settings["root"]).rglob(f"{TEMPORARY}*"):
            os.utime(path, (1, 1), follow_symlinks=False)

    def put(self, settings: Mapping[str, Any], key: str, data: bytes) -> None:
        """Do nothing: see `Fsspec.put`."""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Event(NamedTuple):
    """Something that this process asks of its system, as Python's audit events name it."""

    name: str
    arguments: tuple[Any, ...]

    @property
    def writes(self) -> bool:
        """Whether something is changed."""
        if self.name in ("os.listdir", "os.scandir"):
            return False
        return self.name != "open" or bool(int(self.arguments[2] or 0) & 0o1103)  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC


_EVENTS = {"open", "os.rename", "os.link", "os.mkdir", "os.listdir", "os.scandir", "os.chmod", "os.truncate"}


def failing(number: int, fits: Callable[[Event], bool] = lambda event: True) -> Kind:
    return Kind(lambda chance: number, fits)


def full_from_here(chance: Chance) -> int:
    return -chance.choice((4096, 9000, 20_000, 500_000))  # receipts are smaller


class Local(LocalFolder):
    """Folders of this computer. Files that hold receipts are spared: without one, an upload stands with a warning."""

    kinds: Mapping[str, Kind] = {
        "no space": failing(errno.ENOSPC, lambda event: event.writes),
        "quota": failing(errno.EDQUOT, lambda event: event.writes),
        "read-only": failing(errno.EROFS, lambda event: event.writes),
        "input/output error": failing(errno.EIO),
        "too many open files": failing(errno.EMFILE, lambda event: event.name in ("open", "os.listdir", "os.scandir")),
        "not allowed": failing(errno.EACCES, lambda event: event.writes),
        "stale handle": failing(errno.ESTALE),
        "files cannot grow": Kind(full_from_here),
    }
    _current: "Local | None" = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._ask: Callable[[Event], int | None] | None = None
        self._mine = threading.local()

    def __enter__(self) -> Self:
        Local._current = self
        _listen()
        return self

    def __exit__(self, *error: Any) -> None:
        self.go_wrong(None)
        Local._current = None

    def settings(self, *, versioned: bool = True) -> dict[str, Any]:
        place = self._folder / f"place-{next(_NUMBERS)}"
        place.mkdir(parents=True)
        return {"backend": "local", "root": str(place)}

    def go_wrong(self, ask: Callable[[Event], int | None] | None) -> None:
        self._ask = ask
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Let an event fail."""
        paths = [str(path) for path in arguments[:2] if isinstance(path, str | Path)]
        ours = any(path.startswith(str(self._folder.parent)) and "/receipts" not in path for path in paths)
        if self._ask is None or not ours or getattr(self._mine, "asks", False):
            return
        self._mine.asks = True
        try:
            number = self._ask(Event(event, arguments))
        finally:
            self._mine.asks = False
        if number is not None and number < 0:
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (-number, most))
        elif number is not None:
            raise OSError(number, errno.errorcode[number], paths[0])


@functools.cache
def _listen() -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS and Local._current is not None:
            Local._current.heard(event, arguments)

    sys.addaudithook(hook)


BACKENDS: dict[str, Callable[[Path], Any]] = {
    "local": Local,
    "s3": S3,
    "osf": Osf,
    "osf-slow": SlowOsf,
    "fsspec": Fsspec,
}
