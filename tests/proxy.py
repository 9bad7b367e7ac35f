"""A proxy before an HTTP server that can answer by itself, and cut or change what comes back."""

import contextlib
import dataclasses
import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclasses.dataclass
class Answer:
    """What came back. ``status`` 0: the connection is closed without an answer."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


class Proxy:
    """Passes requests on and notes them.

    Attributes:
        requests: "METHOD path?query" of each.
        refuse: given method and path, returns (status, error code) to answer with, or None.
        answer: given method and path, returns XML to answer with, or None.
        stuck: given method and path, whether to leave the body unread until `go_on` is set.
        spoil: given method, path and the `Answer` that came back, changes it.
        change: given method, path and the body that came back, returns the body to send, under the old length.
    """

    def __init__(self, target: str) -> None:
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.refuse: Callable[[str, str], tuple[int, str] | None] = lambda method, path: None
        self.answer: Callable[[str, str], str | None] = lambda method, path: None
        self.change: Callable[[str, str, bytes], bytes] = lambda method, path, body: body
        self.spoil: Callable[[str, str, Answer], None] = lambda method, path, answer: None
        self.stuck: Callable[[str, str], bool] = lambda method, path: False
        self.go_on = threading.Event()
        self._target = urlsplit(target)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                proxy._pass(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that reset its connection

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _pass(self, handler: BaseHTTPRequestHandler) -> None:
        method, path = handler.command, handler.path
        self.requests.append(f"{method} {path}")
        self.headers.append(dict(handler.headers))
        if self.stuck(method, path):
            self.go_on.wait(30)
            handler.close_connection = True
            return
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        refusal, told = self.refuse(method, path), self.answer(method, path)
        if refusal is not None or told is not None:
            status, code = refusal or (200, "")
            text = told or f"<Error><Code>{code}</Code><Message>as told</Message></Error>"
            body = text.encode()
            handler.send_response(status)
            handler.send_header("Content-Type", "application/xml")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(b"" if method == "HEAD" else body)
            return
        answer = self.forward(handler, body)
        self.spoil(method, path, answer)
        if not answer.status:
            handler.close_connection = True
            return
        sent = self.change(method, path, answer.body)
        self.send(handler, answer, sent)
        if len(sent) < len(answer.body):
            handler.close_connection = True

    def forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        """Ask the server."""
        onward = http.client.HTTPConnection(self._target.hostname or "", self._target.port)
        with contextlib.closing(onward):
            onward.request(handler.command, handler.path, body, dict(handler.headers))
            came = onward.getresponse()
            data = came.read()
        return Answer(came.status, {name.lower(): value for name, value in came.getheaders()}, data)

    def send(self, handler: BaseHTTPRequestHandler, answer: Answer, sent: bytes) -> None:
        """Answer with ``sent`` under the length of the answer's body."""
        handler.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name not in ("transfer-encoding", "connection", "content-length"):
                handler.send_header(name, value)
        length = answer.headers.get("content-length") if handler.command == "HEAD" else str(len(answer.body))
        handler.send_header("Content-Length", length or "0")
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(sent)
