"""A real OpenSSH server on loopback, which serves files by SFTP to whoever runs the tests."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class SftpServer:
    """One sshd, with keys of its own, that can be killed and started again at the same port.

    Attributes:
        port: where it listens on 127.0.0.1.
        user: the user that it serves.
        key: the private key that it lets in.
        stranger: one that it does not.
    """

    def __init__(self, folder: Path) -> None:
        assert SSHD
        for name in ("host", "user", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.user, self.key, self.stranger = getpass.getuser(), folder / "user", folder / "stranger"
        self._config, self._host_key = folder / "sshd_config", (folder / "host.pub").read_text()
        self._log = folder / "log"
        self._config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {folder / 'user.pub'}\nPermitRootLogin yes\nPasswordAuthentication yes\n"
            "Subsystem sftp internal-sftp\n"
        )
        gentle = "PerSourcePenalties no\n"  # of newer versions, which would soon refuse everybody on this machine
        if subprocess.run([SSHD, "-t", "-f", self._config, "-o", gentle.strip()], capture_output=True).returncode == 0:
            self._config.write_text(self._config.read_text() + gentle)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where a server of root's separates its privileges
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs, and return when it answers."""
        assert SSHD
        if self._process is not None:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", self._config], stdin=subprocess.DEVNULL, stderr=log
            )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                if probe.recv(3) == b"SSH":
                    return
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()

    def kill(self) -> None:
        """Kill it, and with it all connections."""
        import psutil  # of the slow tests only

        if self._process is not None:
            server = psutil.Process(self._process.pid)
            for process in (server, *server.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()
            self._process = None

    def url(self, folder: Path) -> str:
        """Return the address of a folder."""
        return f"sftp://127.0.0.1:{self.port}{folder}"

    def known_hosts(self) -> str:
        """Return its line in known_hosts."""
        return f"[127.0.0.1]:{self.port} {self._host_key}"

    def log(self) -> str:
        """Return what it said."""
        return self._log.read_text()
