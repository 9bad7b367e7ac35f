"""A proxy before an HTTP server that can answer by itself, and cut or change what comes back."""

import contextlib
import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Proxy:
    """Passes requests on and notes them.

    Attributes:
        requests: "METHOD path?query" of each.
        refuse: given method and path, returns (status, error code) to answer with, or None.
        answer: given method and path, returns XML to answer with, or None.
        stuck: given method and path, whether to leave the body unread until `go_on` is set.
        change: given method, path and the body that came back, returns the body to send, under the old length.
    """

    def __init__(self, target: str) -> None:
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.refuse: Callable[[str, str], tuple[int, str] | None] = lambda method, path: None
        self.answer: Callable[[str, str], str | None] = lambda method, path: None
        self.change: Callable[[str, str, bytes], bytes] = lambda method, path, body: body
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

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
            answer = text.encode()
            handler.send_response(status)
            handler.send_header("Content-Type", "application/xml")
            handler.send_header("Content-Length", str(len(answer)))
            handler.end_headers()
            handler.wfile.write(b"" if method == "HEAD" else answer)
            return
        onward = http.client.HTTPConnection(self._target.hostname or "", self._target.port)
        with contextlib.closing(onward):
            onward.request(method, path, body, dict(handler.headers))
            came = onward.getresponse()
            data = came.read()
        handler.send_response(came.status)
        for name, value in came.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server", "content-length"):
                handler.send_header(name, value)
        length = came.getheader("Content-Length") if method == "HEAD" else str(len(data))
        handler.send_header("Content-Length", length or "0")
        handler.end_headers()
        if method != "HEAD":
            sent = self.change(method, path, data)
            handler.wfile.write(sent)
            if len(sent) < len(data):
                handler.close_connection = True
