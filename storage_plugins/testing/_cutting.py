"""A server between a backend and its host that cuts connections in the middle of what the host sends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_BLOCK = 1 << 12


class Cutting:
    """Forwards connections to a host. While ``left`` is above 0, each that receives ``after`` bytes is cut.

    Attributes:
        port: of 127.0.0.1, where it accepts connections.
        cut: how many connections it has cut.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.left = self.after = self.cut = 0
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._open: list[socket.socket] = [self._server]
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close it, and every connection."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                host = socket.create_connection(self._target)
                self._open += [client, host]
                threading.Thread(target=self._pass, args=(client, host, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(host, client, True), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, may_cut: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while block := one.recv(_BLOCK):
                passed += len(block)
                if may_cut and self.left and passed > self.after:
                    self.left -= 1
                    self.cut += 1
                    other.shutdown(socket.SHUT_RDWR)
                    one.shutdown(socket.SHUT_RDWR)
                    return
                other.sendall(block)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def cutting(target: tuple[str, int]) -> Iterator[Cutting]:
    """Run one for the block."""
    server = Cutting(target)
    try:
        yield server
    finally:
        server.close()
