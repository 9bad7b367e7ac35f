"""A server with planned responses that records its requests."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, bytes, dict[str, str]]
FOLDER = (
    "<response><href>/{}</href><propstat><prop><resourcetype><collection/></resourcetype></prop></propstat></response>"
)
FILE = "<response><href>/{}</href><propstat><prop><getcontentlength>{}</getcontentlength></prop></propstat></response>"


def listing(*responses: str) -> Answer:
    """Return the response to a PROPFIND."""
    return 207, f'<multistatus xmlns="DAV:">{"".join(responses)}</multistatus>'.encode(), {}


class Stub:
    """``answer`` gets the method of a request and returns the response; ``asked`` has the method and path of each."""

    def __init__(self) -> None:
        self.answer: Callable[[str], Answer] = lambda method: (404, b"", {})
        self.asked: list[str] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                stub.asked.append(f"{self.command} {self.path}")
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, body, headers = stub.answer(self.command)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_DELETE = do_PROPFIND = do_MKCOL = do_MOVE = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/dav"
        threading.Thread(target=self.server.serve_forever).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
