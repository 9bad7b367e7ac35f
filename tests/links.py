"""A link between a client and a server on loopback: slow, or with faults. Run as a process of its own.

    python tests/links.py TARGET_PORT [--rate BYTES] [--delay SECONDS] [--cuts SHARE]

Prints its port. A line on standard input asks for the bytes that passed since the last: up, down, cut connections.
"""

import argparse
import collections
import contextlib
import dataclasses
import random
import socket
import sys
import threading
import time
from collections.abc import Callable

_BLOCK = 64 << 10
_QUEUED = 1 << 20  # bytes on the way in one direction of a connection
_PER = 1 << 20  # bytes, of which each share of faults is meant


@dataclasses.dataclass
class Link:
    """How a connection is.

    Attributes:
        target: port of the server.
        rate: bytes a second in each direction.
        delay: seconds for the way there and back.
        cuts: probability that the connection is cut while a MiB passes.
        cut_at: a direction and a number of bytes: once, a connection is cut when so many passed.
    """

    target: int
    rate: float | None = None
    delay: float = 0.0
    cuts: float = 0.0
    cut_at: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        self.passed = {"up": 0, "down": 0}
        self.cut = self.connections = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._running: list[threading.Thread] = []
        self._random = random.Random(0)

    def serve(self) -> int:
        """Accept connections from now on; return the port."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Accept no more, and end all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._running:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._connect, client)

    def _start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._running.append(thread)
        thread.start()
        return thread

    def _connect(self, client: socket.socket) -> None:
        time.sleep(self.delay)  # the handshake
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            self._open += [client, server]
            self.connections += 1
            both = []
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for direction, source, sink in (("up", client, server), ("down", server, client)):
                way = _Way()
                both.append(self._start(self._receive, direction, source, way))
                both.append(self._start(self._send, direction, source, sink, way))
            for thread in both:
                thread.join()

    def _receive(self, direction: str, source: socket.socket, way: "_Way") -> None:
        free = 0.0  # when the last byte was on its way
        data = b"begin"
        while data and not way.ended:
            try:
                data = source.recv(_BLOCK)
            except OSError:
                data = b""
            now = time.monotonic()
            free = max(now, free) + (len(data) / self.rate if self.rate else 0.0)
            way.put(free + self.delay / 2, data)

    def _send(self, direction: str, source: socket.socket, sink: socket.socket, way: "_Way") -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while True:
                due, data = way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                passed += len(data)
                if self._is_cut(direction, len(data), passed):
                    source.shutdown(socket.SHUT_RDWR)
                    break
                if not data:
                    break
                sink.sendall(data)
        way.end()
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR if way.whole else socket.SHUT_RDWR)

    def _is_cut(self, direction: str, count: int, passed: int) -> bool:
        with self._lock:
            self.passed[direction] += count
            cut = self._random.random() < self.cuts * count / _PER
            if self.cut_at is not None and direction == self.cut_at[0] and passed >= self.cut_at[1]:
                cut, self.cut_at = True, None
            self.cut += cut
        return cut


class _Way:
    """What is on its way in one direction of a connection."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._parts: collections.deque[tuple[float, bytes]] = collections.deque()
        self._queued = 0
        self.ended = self.whole = False

    def put(self, due: float, data: bytes) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._queued < _QUEUED or self.ended)
            self._parts.append((due, data))
            self._queued += len(data)
            self._condition.notify_all()

    def get(self) -> tuple[float, bytes]:
        with self._condition:
            self._condition.wait_for(lambda: bool(self._parts))
            due, data = self._parts.popleft()
            self._queued -= len(data)
            self.whole = not data
            self._condition.notify_all()
            return due, data

    def end(self) -> None:
        with self._condition:
            self.ended = True
            self._condition.notify_all()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--cuts", type=float, default=0.0)
    options = parser.parse_args()
    link = Link(options.target, options.rate, options.delay, options.cuts)
    print(link.serve(), flush=True)
    for _ in sys.stdin:
        passed, link.passed = link.passed, {"up": 0, "down": 0}
        cut, link.cut = link.cut, 0
        print(passed["up"], passed["down"], cut, flush=True)


if __name__ == "__main__":
    main()
