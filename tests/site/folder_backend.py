"""A small right backend over a folder, from which broken_backend derives the wrong ones. No model of style: of rules.

``root/files/<key>/<number>/{data, record.json}``, and an empty file ``public`` beside them once everybody may read.
Without ``versions`` only the newest is kept. ``host: closed`` stands for one that does not answer.
"""

import functools
import json
import logging
import os
import shutil
import socket
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

from pydantic import SecretStr

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    Content,
    FileOperations,
    StoreUnavailable,
    Version,
)

TOKEN = "t0ken-of-the-lab"
BLOCK = 1 << 20


class FolderSettings(storage_plugins.StoreSettings):
    root: storage_plugins.ConfigFolder
    token: SecretStr | None = None
    versions: bool = True
    host: str = "open"
    port: int | None = None
    served_at: int | None = None
    mutation: str = ""


def locate(uri):
    address, _, query = uri.removeprefix("folder:").partition("?")
    root, _, key = address.rpartition("/")
    return storage_plugins.Location({"root": root}, key, parse_qs(query).get("versionId", [None])[0])


@functools.cache
def serve_files() -> int:
    """Serve parts of the files of this computer: a line with path, start and stop is answered by the bytes."""

    def answer(connection):
        with connection, connection.makefile("rb") as asked:
            path, start, stop = json.loads(asked.readline())
            connection.sendall(Path(path).read_bytes()[start:stop])

    def accept(server):
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    server = socket.create_server(("127.0.0.1", 0), backlog=100)
    threading.Thread(target=accept, args=(server,), daemon=True).start()
    return server.getsockname()[1]


class Client:
    """What a process connects with; of no use to another one."""

    def __init__(self, token):
        self.token, self.process = token, os.getpid()

    def ask(self):
        if self.process != os.getpid():
            raise RuntimeError("the connection belongs to another process")
        logging.getLogger("folder").debug("asking")


class FolderFiles(FileOperations):
    def __init__(self, settings, *, anonymous=False):
        self.root, self.settings, self.is_anonymous = settings.root, settings, anonymous
        self._client = None

    def __getstate__(self):
        bare = self.settings.model_copy(update={"token": None})
        return {**vars(self), "settings": bare, "_client": None}

    @property
    def address(self):
        return f"folder:{self.root}"

    def keeps_versions(self):
        return self.settings.versions

    def creates_safely(self):
        return True

    def replaces(self):
        return not self.settings.versions

    def put(self, key, source, *, metadata, if_absent):
        self.ask()
        return self.id(key, self.claim(key, source, metadata, only=1 if if_absent else None))

    def replace(self, key, source, *, metadata, seen):
        self.ask()
        newest = max(self.numbers(key))
        if self.etag(key, newest) != seen.etag:
            raise AlreadyExists(f"{key} was changed meanwhile")
        self.claim(key, source, metadata, only=newest + 1)
        shutil.rmtree(self.folder(key) / f"{newest:06d}")

    def read(self, key, version_id=None, *, start=0, stop=None, if_match=None):
        self.ask()
        number = self.find(key, version_id)
        if self.is_anonymous and not (self.folder(key) / f"{number:06d}" / "public").exists():
            raise AccessDenied("this is private")
        if if_match not in (None, self.etag(key, number)):
            raise storage_plugins.IntegrityError(f"{key} was changed meanwhile")
        return Content(self.version(key, number), self.blocks(self.data(key, number), start, stop))

    def versions(self, key):
        self.ask()
        return [self.version(key, number) for number in sorted(self.numbers(key), reverse=True)]

    def keys(self, prefix=""):
        self.ask()
        folder = self.root / "files"
        names = [path.name.replace("@", "/") for path in (folder.iterdir() if folder.exists() else [])]
        return [name for name in names if name.startswith(prefix) and self.numbers(name)]

    def anonymous(self):
        return type(self)(self.settings, anonymous=True)

    def publish(self, key, version_id):
        self.ask()
        (self.data(key, self.find(key, version_id)).parent / "public").touch()
        return version_id

    def unpublish(self, key, version_id):
        self.ask()
        (self.data(key, self.find(key, version_id)).parent / "public").unlink(missing_ok=True)

    def discard(self, key):
        self.ask()
        shutil.rmtree(self.folder(key), ignore_errors=True)

    def removes(self):
        return True

    def remove(self, key, version_id):
        self.ask()
        shutil.rmtree(self.data(key, self.find(key, version_id)).parent)

    # how it is done

    def ask(self):
        if self.settings.host == "closed":
            raise StoreUnavailable(f"{self.address} does not answer")
        if self.settings.port is not None:
            try:
                self.greet(self.settings.port)
            except TimeoutError as error:
                raise StoreUnavailable(f"{self.address} does not answer") from error
        if self._client is None or self._client.process != os.getpid():
            self._client = Client(self.settings.token.get_secret_value() if self.settings.token else None)
        self._client.ask()
        if self._client.token != TOKEN and not self.is_anonymous:
            raise AccessDenied("the token is not accepted")

    def greet(self, port):
        with socket.create_connection(("127.0.0.1", port), timeout=self.settings.timeout / 4) as connection:
            connection.recv(1)

    def claim(self, key, source, metadata, only=None):
        unfinished = self.root / "unfinished" / uuid.uuid4().hex
        unfinished.mkdir(parents=True)
        self.folder(key).mkdir(parents=True, exist_ok=True)
        try:
            self.write(unfinished, source, metadata)
            while True:
                number = only or max(self.numbers(key), default=0) + 1
                if only == 1 and self.numbers(key):
                    raise AlreadyExists(f"there is a {key}")
                try:
                    unfinished.rename(self.folder(key) / f"{number:06d}")
                    return number
                except OSError as error:
                    if only:
                        raise AlreadyExists(f"there is a {key}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def write(self, folder, source, metadata):
        with (folder / "data").open("wb") as file:
            for block in source.blocks():
                file.write(block)
        self.describe(folder, metadata)

    def describe(self, folder, metadata):
        record = {**metadata, "created": datetime.now(UTC).isoformat(), "etag": uuid.uuid4().hex}
        (folder / "record.json").write_text(json.dumps(record))

    def blocks(self, path, start, stop):
        if self.settings.served_at is not None:
            yield from self.download(path, start, path.stat().st_size if stop is None else stop)
            return
        with path.open("rb") as file:
            file.seek(start)
            left = path.stat().st_size - start if stop is None else stop - start
            while left > 0 and (block := file.read(min(BLOCK, left))):
                left -= len(block)
                yield block

    def download(self, path, start, stop):
        try:
            with socket.create_connection(("127.0.0.1", self.settings.served_at), timeout=10) as connection:
                connection.sendall(json.dumps([str(path), start, stop]).encode() + b"\n")
                while start < stop:
                    block = connection.recv(1 << 16)
                    if not block:
                        raise ConnectionError("the connection was closed")
                    start += len(block)
                    yield block
        except OSError as error:
            raise StoreUnavailable(f"{self.address}: {error}") from error

    def find(self, key, version_id):
        numbers = self.numbers(key)
        wanted = max(numbers, default=None) if version_id is None else self.number(version_id)
        if wanted not in numbers or version_id not in (None, self.id(key, wanted)):
            raise AssemblyNotFound(f"there is no {key} {version_id or ''}")
        return wanted

    def version(self, key, number):
        path, record = self.data(key, number), self.record(key, number)
        created = datetime.fromisoformat(record["created"]) if record else None
        size, etag = path.stat().st_size, self.etag(key, number)
        return Version.described(record, version_id=self.id(key, number), size=size, created=created, etag=etag)

    def record(self, key, number):
        path = self.data(key, number).with_name("record.json")
        return json.loads(path.read_text()) if path.exists() else {}

    def etag(self, key, number):
        return self.record(key, number).get("etag")

    def id(self, key, number):
        tag = (self.etag(key, number) or "0")[:6]  # so that no id is used again after a discard
        return f"v{number}-{tag}" if self.settings.versions else None

    def number(self, version_id):
        number = version_id[1:].partition("-")[0]
        return int(number) if version_id[:1] == "v" and number.isdigit() else 0

    def numbers(self, key):
        folder = self.folder(key)
        try:
            return [int(path.name) for path in (folder.iterdir() if folder.exists() else [])]
        except OSError:  # the name is too long for a file, so there is none
            return []

    def folder(self, key) -> Path:
        return self.root / "files" / key.replace("/", "@")

    def data(self, key, number) -> Path:
        return self.folder(key) / f"{number:06d}" / "data"
