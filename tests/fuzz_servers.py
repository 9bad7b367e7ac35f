"""Servers on loopback whose answers are right, or damaged as one `Random` draws it; see fuzz.py."""

import contextlib
import copy
import email.utils
import hashlib
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, unquote, urlsplit

import osf_answers
from fuzz_mutation import NASTY, damaged, encoded, revalued, reworded
from osf_server import OSFServer

from storage_plugins import codec
from storage_plugins.testing._assemblies import make_assembly

Answer = tuple[int, dict[str, str], bytes]
STATUSES = [200, 200, 200, 204, 206, 301, 302, 307, 400, 401, 403, 404, 409, 410, 412, 416, 429, 500, 501, 503, 599]
DATE = email.utils.formatdate(1_790_000_000, usegmt=True)
SHA1 = "0" * 40  # of the object, once a server has one


def spoiled(chance: Random, often: float, answer: Answer) -> Answer:
    """Return an answer with another status, other headers or another body, as often as asked."""
    status, headers, body = answer
    if chance.random() >= often:
        return answer
    headers = dict(headers)
    if chance.random() < 0.2:
        status = chance.choice(STATUSES)
    if chance.random() < 0.5 and headers:
        for _ in range(chance.choice((1, 2))):
            name = chance.choice([*headers, "Location", "Retry-After", "x-amz-bucket-region", "Content-Range", "ETag"])
            kind = chance.random()
            if kind < 0.2:
                headers.pop(name, None)
            elif kind < 0.6:
                headers[name] = reworded(chance, headers.get(name, ""), ["bytes", "-", "/", "0", "W/"])
            else:
                headers[name] = chance.choice(NASTY)
    if chance.random() < 0.6 and body:
        body = _spoiled_body(chance, body)
    return status, headers, body


def _spoiled_body(chance: Random, body: bytes) -> bytes:
    kind = chance.random()
    if body[:1] in b"{[" and kind < 0.6:
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(revalued(chance, json.loads(body)))
            return text.encode("utf-8", "surrogatepass")
    if body[:1] in b"{[<" and kind < 0.9:
        words = re.findall(r"<[^>]*>", body.decode()) or ["<a>"]
        return encoded(chance, reworded(chance, body.decode(), words))
    if kind < 0.95:
        return damaged(chance, body, [body], lambda data: [])
    return chance.choice(
        (b"", b"<html>Sign in</html>", b"{" * 5000, b"[" * 100_000, b"<a>" * 50_000, b"null", b"\0" * 1000)
    )


class Server:
    """Answers over HTTP by what ``answers`` says of a method, path, query and headers.

    Attributes:
        url: where it listens.
        chance, often: what draws the damage, and which part of all answers has some.
    """

    def __init__(self, answers: Callable[..., Answer], base: Path) -> None:
        self.chance, self.often, self._lock = Random(0), 0.0, threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
                right = answers(self.command, unquote(parts.path), query, self.headers)
                with server._lock:
                    answer = spoiled(server.chance, server.often, right)
                send(self, answer, ends=answer is not right)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _any

            def log_message(self, *arguments: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *arguments: None
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()


def send(handler: BaseHTTPRequestHandler, answer: Answer, *, ends: bool) -> None:
    """Send an answer with its headers as they are; ``ends``: and end the connection, so that nobody waits for more."""
    status, headers, body = answer
    lines = [f"HTTP/1.1 {status} as told".encode()]
    given = {name.lower(): value for name, value in headers.items()}
    given.setdefault("content-length", str(len(body)))
    for name, value in given.items():
        text = value.replace("\n", " ") if len(value) > 5 else value
        lines.append(f"{name}: ".encode() + text.encode("utf-8", "surrogatepass"))
    lines.append(b"connection: close" if ends else b"x: y")
    with contextlib.suppress(OSError):
        handler.wfile.write(b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if handler.command == "HEAD" else body))
        handler.wfile.flush()
    handler.close_connection = ends


class S3Answers:
    """A bucket with one assembly, of two versions, and room for more that nobody finds again."""

    def __init__(self) -> None:
        global SHA1
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "x.nc")
            codec.encode(make_assembly(1), path, identifier="X")
            self.data = path.read_bytes()
        SHA1, self.sha256 = hashlib.sha1(self.data).hexdigest(), hashlib.sha256(self.data).hexdigest()
        self.sha1, self.etag = SHA1, f'"{hashlib.md5(self.data).hexdigest()}"'

    def __call__(self, method: str, path: str, query: dict[str, str], headers: object) -> Answer:
        key = path.removeprefix("/lab").lstrip("/")
        xml = {"Content-Type": "application/xml", "x-amz-request-id": "1"}

        def told(root: str, inside: str) -> Answer:
            text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inside}</{root}>'
            return 200, xml, text.encode()

        if "versioning" in query:
            return told("VersioningConfiguration", "<Status>Enabled</Status>")
        if "policyStatus" in query:
            return told("PolicyStatus", "<IsPublic>false</IsPublic>")
        if "publicAccessBlock" in query:
            return told("PublicAccessBlockConfiguration", "<BlockPublicAcls>false</BlockPublicAcls>")
        if "tagging" in query:
            return told("Tagging", "<TagSet><Tag><Key>uploadedBy</Key><Value>me</Value></Tag></TagSet>")
        if "acl" in query or "policy" in query:
            return 200, {"Content-Type": "application/json"}, b'{"Version": "2012-10-17", "Statement": []}'
        if "list-type" in query or "versions" in query:
            return self._listing(told, query)
        if method == "PUT":
            etag = f'"{"e" * 32}"'
            return 200, {**xml, "ETag": etag, "x-amz-version-id": "v9"}, b""
        if method == "DELETE":
            return 204, xml, b""
        if key == "brain/assy_X.nc" and method in ("GET", "HEAD"):
            return self._object(method, query, headers)
        return 404, xml, b"<Error><Code>NoSuchKey</Code><Message>The key does not exist.</Message></Error>"

    def _listing(self, told: Callable[[str, str], Answer], query: dict[str, str]) -> Answer:
        prefix = query.get("prefix", "")
        inside = (
            f"<Name>lab</Name><Prefix>{prefix}</Prefix><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"
        )
        entry = (
            f"<Key>brain/assy_X.nc</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>{self.etag}</ETag>"
        )
        entry += f"<Size>{len(self.data)}</Size>"
        if "versions" in query:
            parts = [
                f"<Version>{entry}<VersionId>v{number}</VersionId><IsLatest>{number == 2}</IsLatest></Version>"
                for number in (2, 1)
            ]
            parts = [part.replace("True", "true").replace("False", "false") for part in parts]
            return told("ListVersionsResult", inside + "".join(parts) * "brain/assy_X.nc".startswith(prefix))
        if not "brain/assy_X.nc".startswith(prefix):
            return told("ListBucketResult", f"{inside}<KeyCount>0</KeyCount>")
        return told("ListBucketResult", f"{inside}<KeyCount>1</KeyCount><Contents>{entry}</Contents>")

    def _object(self, method: str, query: dict[str, str], headers: object) -> Answer:
        given = {
            "ETag": self.etag,
            "Last-Modified": DATE,
            "Content-Type": "binary/octet-stream",
            "x-amz-version-id": query.get("versionId", "v2"),
            "x-amz-meta-identifier": "X",
            "x-amz-meta-assembly-prefix": "assy_",
            "x-amz-meta-sha1": self.sha1,
            "x-amz-meta-sha256": self.sha256,
            "x-amz-meta-size": str(len(self.data)),
            "Accept-Ranges": "bytes",
        }
        return ranged(method, given, self.data, headers)


def ranged(method: str, given: dict[str, str], data: bytes, headers: object) -> Answer:
    """Answer with the bytes, or with the range that was asked for."""
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range") or "")
    if wanted is None:
        return 200, {**given, "Content-Length": str(len(data))}, b"" if method == "HEAD" else data
    start, stop = int(wanted[1]), min(int(wanted[2] or len(data) - 1) + 1, len(data))
    return 206, {**given, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}, data[start:stop]


class WebAnswers(S3Answers):
    """A web server with one file."""

    def __call__(self, method: str, path: str, query: dict[str, str], headers: object) -> Answer:
        given = {
            "ETag": self.etag,
            "Last-Modified": DATE,
            "Content-Type": "application/octet-stream",
            "Digest": "sha-256=x",
        }
        return ranged(method, given, self.data, headers)


class OsfAnswers:
    """The stand-in for OSF, with one project; its answers are damaged on their way."""

    def __init__(self) -> None:
        self.chance, self.often = Random(0), 0.0
        self._server = OSFServer()
        self._server.host.tokens["tok"] = "somebody"
        self.node = self._server.host.node(roles={"tok": "write"})
        self.api_url = self._server.api_url
        self._right = osf_answers.answer
        osf_answers.answer = self._answer

    def remember(self) -> None:
        """Take what is stored now as the beginning of every case."""
        self._root = copy.deepcopy(self.node.root)

    def reset(self) -> None:
        """Forget the requests, and all changes since `remember`."""
        self._server.requests.clear()
        self.node.root = copy.deepcopy(self._root)

    def _answer(self, server: OSFServer, request: osf_answers.Request, body: object) -> osf_answers.Answer:
        told = self._right(server, request, body)
        status, headers, data = spoiled(self.chance, self.often, (told.status, told.headers, told.body))
        return osf_answers.Answer(status, {name: _one_line(value) for name, value in headers.items()}, data)


def _one_line(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1").replace("\r", " ").replace("\n", " ")
