"""SFTP servers, through fsspec's filesystem for them, with host keys checked and many requests at once."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem
from paramiko.sftp import int64 as _Offset  # noqa: N812  eight bytes in messages

from storage_plugins import AccessDenied
from storage_plugins.atomic import expanded

from .errors import refused_write
from .host import Host
from .settings import parse

if TYPE_CHECKING:
    from .settings import FsspecSettings

_PATIENCE = 60.0  # seconds without a byte
_PIECE = 1 << 15  # bytes: what every server answers in one message
_AT_ONCE = 64  # requests sent before the first answer is needed, for distant servers
_KNOWN = ("/etc/ssh/ssh_known_hosts", "~/.ssh/known_hosts")


class SftpHost(Host):
    """One connection to an SFTP server, which renames folders atomically."""

    renames = True

    def __init__(self, settings: FsspecSettings) -> None:
        place = parse(settings.url)
        options = {**settings.given(), "host_keys": settings.host_keys}
        if place.port:
            options["port"] = place.port
        if place.user:
            options["username"] = place.user
        self.address = settings.address
        self.fs = _Sftp(place.host, **options, skip_instance_cache=True)
        self.root = f"/{place.path}"
        self._protocol = place.protocol

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a range of a file, with many requests sent before the first is answered.

        paramiko can do so too, but in a thread that prints its errors.
        """
        ftp, answers, asked = self.fs.ftp, _Answers(), collections.deque[tuple[int, int, int]]()
        with ftp.open(path, "rb") as file:
            while start < stop or asked:
                while start < stop and len(asked) < _AT_ONCE:
                    size = min(_PIECE, stop - start)
                    number = ftp._async_request(answers, paramiko.sftp.CMD_READ, file.handle, _Offset(start), size)
                    asked.append((number, start, size))
                    start += size
                number, at, size = asked.popleft()
                while number not in answers:
                    ftp._read_response()
                kind, message = answers.pop(number)
                try:
                    block = message.get_string() if kind == paramiko.sftp.CMD_DATA else ftp._convert_status(message)
                except EOFError:  # the file is shorter than it was
                    return
                if block and len(block) < size:  # as a server may answer
                    file.seek(at + len(block))
                    block += file.read(size - len(block))
                yield block or b""

    def write(self, path: str, blocks: Iterable[bytes]) -> None:
        """Write a new file, and flush it to the server's disk, if the server supports that."""
        with self.fs.ftp.open(path, "wx") as file:
            file.set_pipelined(True)
            held = b""
            for block in blocks:
                self._write(file, held)
                held = block
            self._write(file, held[:-1])
            file.set_pipelined(False)  # so that the last byte waits for all answers
            self._write(file, held[-1:])
            self._flush(file)

    def make_folder(self, path: str) -> None:
        """Make a folder and its missing parents."""
        try:
            self.fs.ftp.mkdir(path)
        except FileNotFoundError:
            parent = path.rpartition("/")[0]
            if not parent:
                raise
            self.make_folder(parent)
            self.make_folder(path)
        except OSError:  # SFTP has no error of its own for a name that is taken
            if not self.alive() or not self.is_folder(path):
                raise

    def remove(self, folder: str) -> None:
        """Remove a folder that is not a version, if possible."""
        with contextlib.suppress(Exception):
            try:
                self.fs.ftp.rmdir(folder)  # most are empty, or gone
            except FileNotFoundError:
                pass
            except OSError:
                super().remove(folder)

    def remove_empty(self, folder: str) -> None:
        """Remove a folder if it is empty. SFTP's own request fails if it is not."""
        with contextlib.suppress(OSError):
            self.fs.ftp.rmdir(folder)

    def rename(self, folder: str, target: str) -> bool:
        """Rename with SFTP's own request, which fails if the target exists."""
        try:
            self.fs.ftp.rename(folder, target)
        except OSError:  # SFTP has no error of its own for that
            if self.alive() and self.fs.exists(target):
                return False
            raise
        return True

    def alive(self) -> bool:
        """Whether the connection is open, as far as is known here."""
        transport = self.fs.client.get_transport()
        return transport is not None and transport.is_active()

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(Exception):
            self.fs.client.close()

    def _write(self, file: paramiko.SFTPFile, data: bytes) -> None:
        try:
            file.write(data)
        except OSError as error:
            if error.errno is None and self.alive():
                raise refused_write(str(error), "write", self.address) from error
            raise

    def _flush(self, file: paramiko.SFTPFile) -> None:
        """Request an fsync, an extension of OpenSSH that paramiko has no method for."""
        try:
            self.fs.ftp._request(paramiko.sftp.CMD_EXTENDED, "fsync@openssh.com", file.handle)
        except OSError as error:
            if "unsupported" not in str(error).lower():
                raise


class _Answers(dict[int, tuple[int, Any]]):
    """Where paramiko puts answers that nothing waits for yet, by the number of the request."""

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        self[number] = (kind, message)


class _Sftp(SFTPFileSystem):  # type: ignore[misc]
    """fsspec's filesystem, which by itself would trust any server."""

    def _connect(self) -> None:
        options = {"timeout": _PATIENCE, "banner_timeout": _PATIENCE, "auth_timeout": _PATIENCE, **self.ssh_kwargs}
        policy = _Known() if options.pop("host_keys") == "known" else paramiko.AutoAddPolicy()
        self.client = paramiko.SSHClient()
        try:
            for path in (expanded(name) for name in _KNOWN):
                if path.is_file():
                    self.client.load_system_host_keys(str(path))
            self.client.set_missing_host_key_policy(policy)
            self.client.connect(self.host, **options)
            self.ftp = self.client.open_sftp()
            self.ftp.get_channel().settimeout(_PATIENCE)
        except paramiko.BadHostKeyException as error:
            self.client.close()
            port = options.get("port", paramiko.config.SSH_PORT)
            hostname = self.host if port == paramiko.config.SSH_PORT else f"[{self.host}]:{port}"
            raise _stranger(hostname, error.key, "is not the one that known_hosts has for it", known=True) from error
        except BaseException:
            self.client.close()
            raise


class _Known(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Refuses servers that are not in known_hosts."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise _stranger(hostname, key, "is not in known_hosts")


def _stranger(hostname: str, key: paramiko.PKey, why: str, *, known: bool = False) -> AccessDenied:
    host, _, port = hostname.removeprefix("[").partition("]:")
    remove = f"ssh-keygen -R '{hostname}' && " if known else ""
    scan = f"ssh-keyscan {f'-p {port} ' if port else ''}{host}"
    return AccessDenied(
        f"The key of the server {hostname}, {key.get_name()} {key.fingerprint}, {why}: "
        "it may be somebody else's server. Nothing was sent to it",
        hint=f"Compare the fingerprint with the one its administrators publish; if it is the same: "
        f"{remove}{scan} >> ~/.ssh/known_hosts",
    )
