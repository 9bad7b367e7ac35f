"""A PostgreSQL server in a temporary folder, with one database, its owner, and a role `reader` without rights."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

NAME, USER, PASSWORD = "brain", "lab", "p4ssword-of-the-lab"
_FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"


def _program(name: str) -> str | None:
    """Return the path of one of the server's programs, which Debian leaves out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def _unprivileged() -> dict[str, object]:
    """Return how a process of the server is run: root may not run it."""
    if os.geteuid():
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


class Server:
    """A server that runs."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.owner = {"host": "127.0.0.1", "port": port, "dbname": NAME, "user": USER, "password": PASSWORD}
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str:
        """Return the programs that are not installed."""
        return ", ".join(name for name in ("initdb", "postgres") if _program(name) is None)

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Server]:
        """Start a server, and stop it after the block."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with tempfile.TemporaryDirectory(prefix="postgres-") as name:
            folder = Path(name)
            if not os.geteuid():
                shutil.chown(folder, "nobody", "nogroup")
            (folder / "password").write_text(PASSWORD)
            (folder / "password").chmod(0o644)
            command = [_program("initdb"), "-D", folder / "data", "-U", USER, "--pwfile", folder / "password"]
            command += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **_unprivileged())  # type: ignore[call-overload]
            hba = folder / "data" / "pg_hba.conf"
            hba.write_text(f"host all reader 127.0.0.1/32 trust\n{hba.read_text()}")
            server = cls(folder, port)
            server.start()
            try:
                with psycopg.connect(**{**server.owner, "dbname": "postgres"}, autocommit=True) as connection:
                    connection.execute(f"CREATE DATABASE {NAME}")
                    connection.execute("CREATE ROLE reader LOGIN")
                yield server
            finally:
                server.kill()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        command = [_program("postgres"), "-D", self.folder / "data", "-p", str(self.port), *_FAST.split()]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **_unprivileged())  # type: ignore[call-overload]
        for _ in range(600):
            try:
                psycopg.connect(**{**self.owner, "dbname": "postgres"}).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    break
                self._process_wait()
        raise RuntimeError((self.folder / "log").read_text())

    def kill(self) -> None:
        """Kill it as a power failure would, with all of its connections."""
        assert self._process
        self._process.send_signal(3)  # SIGQUIT: immediate shutdown; the next start recovers from the log
        self._process.wait()

    def _process_wait(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert self._process
            self._process.wait(0.1)
