"""A real WebDAV server in a separate process, and folders on it."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import PASSWORD, USER

from storage_plugins.testing import Host


class WebDAVHost(Host):
    """A folder of the server, and the same folder on disk."""

    secrets = (PASSWORD,)

    def __init__(self, address: str, served: Path) -> None:
        name = f"lab {uuid.uuid4().hex}"
        self.folder = served / name
        self.server = "127.0.0.1", int(address.rpartition(":")[2].partition("/")[0])
        self.settings = {"backend": "webdav", "url": f"{address}/{name}", "username": USER, "password": PASSWORD}

    def _data(self, key: str) -> list[Path]:
        return sorted((self.folder / ".versions" / key).glob("[0-9]*/data*"))

    def get(self, key: str) -> list[bytes]:
        return [path.read_bytes() for path in self._data(key)]

    def put(self, key: str, data: bytes) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / key).write_bytes(data)

    def damage(self, key: str, number: int, data: bytes) -> None:
        self._data(key)[number].write_bytes(data)

    def names(self) -> list[str]:
        return [str(path) for path in self.folder.rglob("*") if path.is_file() and path.name != "record.json"]

    def unreachable(self) -> dict[str, str]:
        return {**self.settings, "url": "http://127.0.0.1:1/dav"}

    def silent(self, port: int) -> dict[str, str]:
        return self.through(port)

    def through(self, port: int) -> dict[str, str]:
        return {**self.settings, "url": self.settings["url"].replace(f":{self.server[1]}/", f":{port}/")}

    def denied(self) -> dict[str, str]:
        return {"backend": "webdav", "url": self.settings["url"]}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The server's address, and the folder that it serves."""
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, str(Path(__file__).with_name("served.py")), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip(), folder
        process.communicate()


@pytest.fixture
def host(server: tuple[str, Path]) -> WebDAVHost:
    return WebDAVHost(*server)
