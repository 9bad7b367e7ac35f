"""A stand-in for OSF over real HTTP: the API, the files host (WaterButler), and the host of redirected downloads.

Its behaviour follows OSF's request by request. What OSF does at some times only can be switched on; every request
is recorded; and a callable may make any request go wrong in a given way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

import osf_answers
from osf_answers import Answer, Request
from osf_host import MAX_BODY, Host

# what comes at once of an answer whose rest comes byte by byte
TRICKLES = {
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "headers": b"HTTP/1.1 200 OK\r\nX-Padding: ",
    "status": b"HTTP/1.1 200",
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. Of what is given, the first of the request comes first.

    Attributes:
        delay: seconds before anything else.
        reset: reset the connection before the request's body is read.
        cut_request: read so many bytes of the body, then reset; nothing is kept.
        answer: (status, headers, body) to give instead; nothing is done.
        lose_answer: do everything, then reset instead of answering.
        cut_answer: close after so many bytes of the answer's body, before its last at the latest.
        length: what the answer claims beyond its real length; negative for less.
        spoil: changes the answer.
        trickle: the answer comes a byte at a time, and has no end.
    """

    delay: float = 0.0
    reset: bool = False
    cut_request: int | None = None
    answer: tuple[int, dict[str, str], bytes] | None = None
    lose_answer: bool = False
    cut_answer: int | None = None
    length: int = 0
    spoil: Callable[[Answer], None] | None = None
    trickle: bool = False


@dataclasses.dataclass
class Behaviour:
    """What OSF does at some times or in some deployments.

    Attributes:
        redirect: downloads are answered with 302 to the storage host; else streamed by the files host.
        link_lifetime: seconds that such a link is good for.
        unknown_version: status for a version that does not exist: 400, in older ones 404.
        honours_ranges: else 200 with all bytes where 206 was asked for.
        page_size: of the API's listings.
        sound_pages: else rows of a listing without ``sort=`` repeat and vanish across pages.
        early_refusals: 403 and 409 come before the body is read, and the connection is closed.
        reset_refusals: a client that still sends its body sees a reset in their place.
        max_body: over it, a bare 400.
        anonymous_requests: how many requests without a token the API answers; then it asks to wait for an hour.
        round_trip: seconds that every request takes longer, and every new connection before its first one.
    """

    redirect: bool = True
    link_lifetime: float = 60.0
    unknown_version: int = 400
    honours_ranges: bool = True
    page_size: int = 10
    sound_pages: bool = False
    early_refusals: bool = False
    reset_refusals: bool = False
    max_body: int = MAX_BODY
    anonymous_requests: int | None = None
    round_trip: float = 0.0


class OSFServer:
    """The three origins, over one `Host`. A context manager; leaving it closes all.

    Attributes:
        host: what is kept there.
        behaviour: what may be switched.
        fault: asked for each request what is to go wrong with it, None for nothing.
        requests: every request, in order.
        api_url, files_url, storage_url: the origins; ``api_url`` is what a client is given.
    """

    def __init__(self) -> None:
        self.host = Host()
        self.behaviour = Behaviour()
        self.fault: Callable[[Request], Fault | None] = lambda request: None
        self.requests: list[Request] = []
        self._servers = {origin: self._serve(origin) for origin in ("api", "files", "storage")}
        urls = {o: f"http://127.0.0.1:{server.server_address[1]}" for o, server in self._servers.items()}
        self.api_url = f"{urls['api']}/v2/"
        self.files_url, self.storage_url = urls["files"], urls["storage"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def forget(self) -> None:
        """Forget faults, requests and switches; what is kept stays."""
        self.fault = lambda request: None
        self.behaviour = Behaviour()
        self.host.stop_colliding()
        self.host.window = 0.0
        self.host.twins.clear()
        self.host.collisions.clear()
        self.requests.clear()

    def _serve(self, origin: str) -> ThreadingHTTPServer:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                time.sleep(server.behaviour.round_trip)

            def _handle(self) -> None:
                try:
                    server._handle(self, origin)
                except (BrokenPipeError, ConnectionResetError, TimeoutError):
                    self.close_connection = True  # the client went away

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _handle

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that reset its connection

        listening = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        return listening

    def _handle(self, handler: BaseHTTPRequestHandler, origin: str) -> None:
        parts = urlsplit(handler.path)
        path = "/" + "/".join(filter(None, unquote(parts.path).split("/")))  # clients that send // are understood
        path += "/" if parts.path.endswith("/") and path != "/" else ""
        request = Request(
            origin,
            handler.command,
            path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in handler.headers.items()},
        )
        self.requests.append(request)
        fault = self.fault(request) or Fault()
        time.sleep(self.behaviour.round_trip + fault.delay)
        length = int(request.headers.get("content-length") or 0)
        if "transfer-encoding" in request.headers:
            handler.close_connection = True  # chunks are refused, unread
        if fault.reset or (fault.cut_request is not None and length):
            _read(handler, min(fault.cut_request or 0, length))
            _reset(handler)
            return
        body = Body(handler, length)
        if fault.answer is not None:
            status, headers, data = fault.answer
            answer = Answer(status, dict(headers), data)
        else:
            answer = osf_answers.answer(self, request, body)
        if self.behaviour.reset_refusals and not body.was_read:
            _reset(handler)
            return
        if fault.lose_answer:
            body.drain()
            _reset(handler)
            return
        if not body.was_read and self.behaviour.early_refusals:
            handler.close_connection = True
        else:
            body.drain()
        if fault.spoil is not None:
            fault.spoil(answer)
        if fault.trickle:
            trickle(handler)
            return
        _send(handler, answer, fault)


class Body:
    """A request's body, read when it is wanted."""

    def __init__(self, handler: BaseHTTPRequestHandler, length: int) -> None:
        self._handler, self.length = handler, length
        self.was_read = length == 0

    def read(self) -> bytes:
        data = _read(self._handler, self.length)
        self.was_read = True
        if len(data) < self.length:
            raise ConnectionResetError("the body was cut off: nothing is kept")
        return data

    def drain(self) -> None:
        if not self.was_read:
            self.read()


def _read(handler: BaseHTTPRequestHandler, length: int) -> bytes:
    return handler.rfile.read(length)


def _reset(handler: BaseHTTPRequestHandler) -> None:
    """End the connection with a reset instead of an orderly close."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()
    handler.wfile = io.BytesIO()  # for what the handler flushes at its end


def trickle(handler: BaseHTTPRequestHandler, begin: bytes = TRICKLES["body"]) -> None:
    """Answer with a byte now and then, until the client has had enough, or for longer than any client may wait."""
    handler.close_connection = True
    end, pause = time.monotonic() + 90, threading.Event()
    with contextlib.suppress(OSError):
        handler.wfile.write(begin)
        while time.monotonic() < end:
            pause.wait(0.2)  # whatever a test makes of time.sleep
            handler.wfile.write(b" ")
            handler.wfile.flush()


def _send(handler: BaseHTTPRequestHandler, answer: Answer, fault: Fault) -> None:
    if answer.status == 400 and answer.headers.get("Connection") == "close" and not answer.body:
        handler.wfile.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")  # a bare one
        handler.close_connection = True
        return
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    if "Content-Length" not in answer.headers and answer.status != 204:
        handler.send_header("Content-Length", str(max(0, len(answer.body) + fault.length)))
    if handler.close_connection:
        handler.send_header("Connection", "close")
    handler.end_headers()
    if handler.command == "HEAD":
        return
    body = answer.body if fault.cut_answer is None else answer.body[:-1][: fault.cut_answer]
    if fault.length < 0:
        body = body[: fault.length]
    handler.wfile.write(body)
    if len(body) < len(answer.body) + fault.length:
        handler.close_connection = True
