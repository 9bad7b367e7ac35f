"""Tests of this backend only: the tables, many writers, killed clients and servers, settings and addresses."""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import multiprocessing
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from conftest import PostgresHost
from served import PASSWORD, Server

import storage_plugins
from storage_plugins import AccessDenied, AlreadyExists, AssemblyNotFound, ConfigError, InvalidPin, StoreUnavailable
from storage_plugins_postgres import PostgresSettings, locate
from storage_plugins_postgres.files import CHUNK, PostgresFiles

Open = Callable[..., storage_plugins.Store]
RATES = xr.DataArray([[1.5, 2.0], [0.5, 3.0]], dims=("presentation", "neuroid"), name="rates")
WRITERS, EACH = 8, 10

UPLOAD_WITHOUT_END = """
import dataclasses, pickle, sys, time
from pathlib import Path
from storage_plugins import Source
from storage_plugins_postgres.files import PostgresFiles
from storage_plugins_postgres import PostgresSettings

class Endless(Source):
    def blocks(self, size):
        for number, block in enumerate(super().blocks(size)):
            yield block
            if number == 3:
                print("sent", flush=True)
                time.sleep(600)

files = PostgresFiles(PostgresSettings(**pickle.loads(sys.stdin.buffer.read())))
files.put("large.bin", Endless.of(Path(sys.argv[1])), metadata={}, if_absent=True)
"""


@pytest.fixture
def open_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: PostgresHost) -> Open:
    """Open the store, each time as on a new computer."""
    numbers = itertools.count()

    def open_lab(**settings: object) -> storage_plugins.Store:
        monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(tmp_path / f"machine-{next(numbers)}"))
        config = {"receipts": False, "stores": {"lab": {**host.settings, **settings}}}
        return storage_plugins.open_store(config=config)

    return open_lab


@pytest.fixture
def files(host: PostgresHost) -> PostgresFiles:
    return _files(host.settings)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(8 * CHUNK))
    return path


def _files(settings: Mapping[str, Any]) -> PostgresFiles:
    return PostgresFiles(PostgresSettings(**{name: value for name, value in settings.items() if name != "backend"}))


def _source(path: Path, data: bytes) -> storage_plugins.Source:
    path.write_bytes(data)
    return storage_plugins.Source.of(path)


def test_the_tables_are_the_documented_ones(open_lab: Open, host: PostgresHost) -> None:
    receipts = [open_lab().upload(RATES + number, "a.b") for number in range(2)]
    rows = host.sql("SELECT id, key, number, size, metadata->>'sha256' FROM {versions} ORDER BY number")
    expected = [(r.version_id, "assy_a_b.nc", number, r.size, r.sha256) for number, r in enumerate(receipts, 1)]
    assert rows == expected
    chunks = host.sql("SELECT position, data FROM {chunks} WHERE version = %s", receipts[1].version_id)
    assert [(position, hashlib.sha1(data).hexdigest()) for position, data in chunks] == [(0, receipts[1].sha1)]


def _upload(settings: Mapping[str, Any], folder: Path, writer: int) -> list[tuple[str | None, bytes]]:
    files, made = _files(settings), []
    for number in range(EACH):
        data = b"%d %d" % (writer, number) * 999
        source = _source(folder / f"{writer}.bin", data)
        made.append((files.put("shared.bin", source, metadata={}, if_absent=False), data))
    return made


def test_eight_processes_store_ten_versions_each(host: PostgresHost, files: PostgresFiles, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(WRITERS, mp_context=context) as pool:
        each = pool.map(_upload, [host.settings] * WRITERS, [tmp_path] * WRITERS, range(WRITERS))
        made = [one for mine in each for one in mine]
    listed = [version.version_id for version in files.versions("shared.bin")]
    assert sorted(map(str, listed)) == sorted(str(version_id) for version_id, _ in made)
    assert host.sql("SELECT number FROM {versions} ORDER BY number") == [(n,) for n in range(1, WRITERS * EACH + 1)]
    for version_id, data in made:
        with files.read("shared.bin", version_id) as content:
            assert b"".join(content.blocks) == data


def test_of_simultaneous_first_uploads_one_succeeds_also_for_the_first_file(
    files: PostgresFiles, host: PostgresHost, tmp_path: Path
) -> None:
    def put(number: int) -> str:
        source = _source(tmp_path / f"{number}.bin", b"%d" % number)
        try:
            return _files(host.settings).put("new.bin", source, metadata={}, if_absent=True)
        except AlreadyExists:
            return ""

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = [version_id for version_id in pool.map(put, range(8)) if version_id]
    assert [version.version_id for version in files.versions("new.bin")] == ids
    assert len(ids) == 1


def test_a_client_that_is_killed_in_an_upload_leaves_nothing(
    files: PostgresFiles, host: PostgresHost, large: Path, tmp_path: Path
) -> None:
    before = files.put("before.bin", _source(tmp_path / "b", b"before"), metadata={}, if_absent=True)
    settings = {name: value for name, value in host.settings.items() if name != "backend"}
    command = [sys.executable, "-c", UPLOAD_WITHOUT_END, str(large)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin
        assert client.stdout
        client.stdin.write(pickle.dumps(settings))
        client.stdin.close()
        assert client.stdout.readline() == b"sent\n"
        client.send_signal(signal.SIGKILL)
    assert list(files.keys()) == ["before.bin"]
    # the next upload does not wait for the dead one
    after = files.put("large.bin", storage_plugins.Source.of(large), metadata={}, if_absent=True)
    assert host.sql("SELECT DISTINCT version FROM {chunks} ORDER BY 1") == sorted([(before,), (after,)])
    with files.read("before.bin") as content:
        assert b"".join(content.blocks) == b"before"


def test_a_server_that_is_killed_in_an_upload_has_all_of_it_or_nothing(tmp_path: Path, large: Path) -> None:
    if Server.missing():
        pytest.skip("PostgreSQL is not installed")
    with Server.running() as server:
        host = PostgresHost(server)
        files = _files(host.settings)
        before = files.put("before.bin", _source(tmp_path / "b", b"before"), metadata={}, if_absent=True)

        class Killing(storage_plugins.Source):
            def blocks(self, size: int = CHUNK) -> Any:
                for number, block in enumerate(super().blocks(size)):
                    yield block
                    if number == 3:
                        server.kill()

        with pytest.raises(StoreUnavailable):
            files.put("large.bin", Killing.of(large), metadata={}, if_absent=True)
        with pytest.raises(StoreUnavailable):
            files.newest("before.bin")
        server.start()
        assert [(key, version.version_id) for key, version in files.newest_of_all()] == [("before.bin", before)]
        assert host.sql("SELECT DISTINCT version FROM {chunks}") == [(before,)]
        server.kill()
        server.start()  # the connection from before is not used
        files.put("large.bin", storage_plugins.Source.of(large), metadata={}, if_absent=True)


def test_a_missing_or_short_chunk_is_an_error(files: PostgresFiles, host: PostgresHost, large: Path) -> None:
    version_id = files.put("large.bin", storage_plugins.Source.of(large), metadata={}, if_absent=True)
    host.sql("DELETE FROM {chunks} WHERE version = %s AND position = 5", version_id)
    with (
        pytest.raises(storage_plugins.IntegrityError, match="chunk 5"),
        files.read("large.bin", version_id, start=3 * CHUNK + 1) as content,
    ):
        list(content.blocks)
    with files.read("large.bin", version_id, start=6 * CHUNK + 1) as content:
        assert b"".join(content.blocks) == bytes(2 * CHUNK - 1)


def test_a_removed_version_takes_its_chunks_with_it(files: PostgresFiles, host: PostgresHost, tmp_path: Path) -> None:
    first, second = (
        files.put("a", _source(tmp_path / "a", data), metadata={}, if_absent=False) for data in (b"1", b"2")
    )
    with pytest.raises(AssemblyNotFound):
        files.remove("b", first)
    files.remove("a", first)
    assert host.sql("SELECT version, data FROM {chunks}") == [(second, b"2")]
    with pytest.raises(AlreadyExists):
        files.put("a", _source(tmp_path / "a", b"3"), metadata={}, if_absent=True)


# settings and addresses


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "https://db.lab.example"}, "host"),
        ({"host": "alice:pw@db"}, "host"),
        ({"folder": 'x"; DROP TABLE'}, "folder"),
        ({"port": 0}, "port"),
        ({"pasword": "x"}, "Did you mean 'password'|password"),
    ],
)
def test_invalid_settings_are_refused(open_lab: Open, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_lab(**settings)
    assert PASSWORD not in str(caught.value)


def test_a_database_that_does_not_exist_is_named(open_lab: Open) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        open_lab(database="nowhere").load("X", newest=True)


def test_no_password_but_the_one_of_the_settings_is_used(
    open_lab: Open, host: PostgresHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    open_lab().upload(RATES, "X")
    (tmp_path / "pgpass").write_text(f"*:*:*:*:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with pytest.raises(AccessDenied):
        open_lab(password=None).load("X", newest=True)


def test_what_a_reader_may_see_loads_by_its_uri(open_lab: Open, host: PostgresHost, tmp_path: Path) -> None:
    other = {"stores": {"other": {"backend": "local", "root": str(tmp_path)}}}
    receipt = open_lab().upload(RATES, "X")
    with pytest.raises(AccessDenied):
        storage_plugins.load(receipt.uri, config=other)
    for grant in ("USAGE ON SCHEMA {}", "SELECT ON ALL TABLES IN SCHEMA {}"):
        host.sql("GRANT " + grant.format(f'"{host.folder}"') + " TO reader")
    open_lab()  # with an empty cache
    assert storage_plugins.load(receipt.uri, config=other).identical(RATES)
    reader = open_lab(user="reader", password=None)
    assert reader.identifiers() == ["X"]
    with pytest.raises(AccessDenied):
        reader.upload(RATES + 1, "X")


def test_an_address_leads_back() -> None:
    settings = PostgresSettings(host="DB.lab.example", database="brain")
    files = PostgresFiles(settings)
    assert files.address == "postgres://db.lab.example:5432/brain/assemblies"
    location = locate(files.uri("assy_a+b.nc", "86009cd83379"))
    assert (location.key, location.version_id) == ("assy_a+b.nc", "86009cd83379")
    assert PostgresFiles(PostgresSettings(**location.settings)).address == files.address
    for uri in ("postgres:", "postgres://x", "postgres://x/a/b", "postgres://u:p@x/a/b/c", "postgres://x/a//c"):
        with pytest.raises(InvalidPin):
            storage_plugins.load(uri)
