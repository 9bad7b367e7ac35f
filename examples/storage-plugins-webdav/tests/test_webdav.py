"""Tests of this backend only: the layout, the number of requests, settings, and unusual servers."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xarray as xr
from conftest import WebDAVHost
from stub import FILE, FOLDER, Stub, listing

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AssemblyNotFound,
    ConfigError,
    IntegrityError,
    InvalidPin,
    QuotaExceeded,
    RateLimited,
    Source,
    StorageError,
    StoreUnavailable,
)
from storage_plugins_webdav import WebDAVSettings, locate
from storage_plugins_webdav.files import WebDAVFiles

Open = Callable[..., storage_plugins.Store]
RATES = xr.DataArray([[1.5, 2.0], [0.5, 3.0]], dims=("presentation", "neuroid"), name="rates")


@pytest.fixture
def open_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: WebDAVHost) -> Open:
    """Open the store, each time as on a new computer."""
    count = iter(range(99))

    def open_lab(**settings: object) -> storage_plugins.Store:
        folder = tmp_path / f"machine-{next(count)}"
        folder.mkdir()
        monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(folder))
        config = {"receipts": False, "stores": {"lab": {**host.settings, **settings}}}
        return storage_plugins.open_store(config=config)

    return open_lab


@pytest.fixture
def requests(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the methods of the requests since the last call, from the log of httpx."""
    caplog.set_level(logging.INFO, "httpx")

    def requests() -> list[str]:
        methods = [record.getMessage().split()[2] for record in caplog.records if record.name == "httpx"]
        caplog.clear()
        return methods

    return requests


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def files(stub: Stub) -> WebDAVFiles:
    """Files on a server with planned responses."""
    return WebDAVFiles(WebDAVSettings(url=stub.url))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "file.bin").write_bytes(b"12345")
    return Source.of(tmp_path / "file.bin")


def test_the_layout_is_the_documented_one(open_lab: Open, host: WebDAVHost) -> None:
    receipts = [open_lab().upload(RATES + number, "a.b") for number in range(2)]
    folder = host.folder / ".versions" / "assy_a_b.nc"
    assert sorted(path.name for path in folder.iterdir()) == [receipt.version_id for receipt in receipts]
    for number, receipt in enumerate(receipts, 1):
        assert receipt.version_id
        assert receipt.version_id[:20] == f"{number:06d}-{receipt.sha256[:12]}-"
        assert (folder / receipt.version_id / "data.nc").stat().st_size == receipt.size
        record = json.loads((folder / receipt.version_id / "record.json").read_text())
        assert (record["identifier"], record["sha256"]) == ("a.b", receipt.sha256)
    assert [path.name for path in host.folder.joinpath(".versions").iterdir()] == ["assy_a_b.nc"]


def test_few_requests_are_made(open_lab: Open, requests: Callable[[], list[str]]) -> None:
    store = open_lab()
    receipts = [store.upload(RATES + number, "X") for number in range(2)]
    requests()
    store.upload(RATES + 2, "X")
    looks, again = ["PROPFIND", "GET"], ["PROPFIND"]
    assert requests() == [*looks, *again, "MKCOL", "PUT", "PUT", "PROPFIND", "MOVE"]
    open_lab().load("X", version_id=receipts[0].version_id, sha1=receipts[0].sha1)
    assert requests() == ["GET"]
    for number in range(9):
        store.upload(RATES, f"Y{number}")
    requests()
    assert len(open_lab().identifiers()) == 10
    assert requests() == ["PROPFIND", "PROPFIND"]
    assert len(open_lab().versions("X")) == 3
    assert sorted(requests()) == ["GET", "GET", "GET", "PROPFIND", "PROPFIND"]


def test_a_file_put_there_by_hand_is_the_oldest_version_until_it_is_changed(open_lab: Open, host: WebDAVHost) -> None:
    host.put("stimuli.zip", b"by hand")
    store = open_lab()
    assert store.fetch("stimuli.zip").read_bytes() == b"by hand"
    (by_hand,) = store.files.versions("stimuli.zip")  # type: ignore[attr-defined]
    (host.folder / "new").write_bytes(b"new")
    receipt = store.upload_file(host.folder / "new", "stimuli.zip")
    assert [v.version_id for v in store.files.versions("stimuli.zip")] == [receipt.version_id, by_hand.version_id]  # type: ignore[attr-defined]
    assert open_lab().fetch("stimuli.zip", version_id=by_hand.version_id).read_bytes() == b"by hand"
    host.put("stimuli.zip", b"changed by hand")
    with pytest.raises(AssemblyNotFound):
        open_lab().fetch("stimuli.zip", version_id=by_hand.version_id)


def test_a_version_without_its_whole_record_is_not_there(open_lab: Open, host: WebDAVHost) -> None:
    receipt = open_lab().upload(RATES, "X")
    for number, record in enumerate(["", "[]", '{"sha256": "86', '{"size": "3"}'], 2):
        folder = host.folder / ".versions" / "assy_X.nc" / f"{number:06d}-86009cd83379-00000000"
        folder.mkdir()
        (folder / "record.json").write_text(record)
    assert [version.version_id for version in open_lab().versions("X")] == [receipt.version_id]
    assert open_lab().load("X", newest=True).identical(RATES)
    version_id = open_lab().upload(RATES + 1, "X").version_id
    assert version_id
    assert version_id.startswith("000006-")


def test_no_version_id_from_outside_becomes_a_path(stub: Stub, files: WebDAVFiles) -> None:
    for version_id in ("../../secret", "..", "000001-86009cd83379-00000000/", "000001-86009cd83379-00000000\n", "0-/"):
        with pytest.raises(AssemblyNotFound):
            files.read("a", version_id)
    assert stub.asked == []


def test_a_folder_is_made_and_the_one_above_it_is_not(open_lab: Open, host: WebDAVHost) -> None:
    open_lab().upload(RATES, "X")
    with pytest.raises(ConfigError, match="returned 409"):
        open_lab(url=f"{host.settings['url']}/no/such").upload(RATES, "X")
    assert not (host.folder / "no").exists()


# settings and addresses


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "cloud.example/brain"}, "https://"),
        ({"url": "https://alice:pw@cloud.example/brain"}, "no user, password"),
        ({"url": "https://cloud.example/brain?token=1"}, "query"),
        ({"url": "http://cloud.example/brain"}, "unencrypted"),
        ({"username": None}, "username"),
        ({"pasword": "x"}, "Did you mean 'password'|password"),
    ],
)
def test_invalid_settings_are_refused(open_lab: Open, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_lab(**settings)
    assert "app-passw0rd" not in str(caught.value)


def test_an_address_is_the_same_however_it_is_written_and_leads_back() -> None:
    one, other = (
        WebDAVFiles(WebDAVSettings(url=url))
        for url in ("https://Cloud.example/dav/my data/", "https://cloud.example/dav/my%20data")
    )
    assert one.address == other.address == "webdav:https://cloud.example/dav/my%20data"
    location = locate(one.uri("assy_a+b.nc", "000001-86009cd83379-00000000"))
    assert (location.key, location.version_id) == ("assy_a+b.nc", "000001-86009cd83379-00000000")
    assert WebDAVFiles(WebDAVSettings(**location.settings)).address == one.address
    for address in ("webdav:", "webdav:x", "webdav:https://cloud.example"):
        with pytest.raises(InvalidPin if address != "webdav:https://cloud.example" else StorageError):
            storage_plugins.load(address)


def test_the_quota_gives_the_free_space(stub: Stub, files: WebDAVFiles) -> None:
    for sent, expected in [("1234", 1234), ("0", 0), ("-3", None), ("", None)]:
        quota = f"<propstat><prop><quota-available-bytes>{sent}</quota-available-bytes></prop></propstat>"
        stub.answer = lambda method, quota=quota: listing(f"<response><href>/dav/</href>{quota}</response>")  # type: ignore[misc]
        assert files.free_space() == expected
    stub.answer = lambda method: (404, b"", {})
    assert files.free_space() is None


# unusual servers


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, StorageError),
        (400, StorageError),
        (401, AccessDenied),
        (403, AccessDenied),
        (413, QuotaExceeded),
        (423, StoreUnavailable),
        (429, RateLimited),
        (503, StoreUnavailable),
        (507, QuotaExceeded),
    ],
)
def test_a_refusal_raises_the_matching_error(
    stub: Stub, files: WebDAVFiles, source: Source, status: int, expected: type[StorageError]
) -> None:
    stub.answer = lambda method: (status, b"", {"Retry-After": "7"})
    for call in (
        lambda: files.put("a", source, metadata={}, if_absent=False),
        lambda: files.read("a", "000001-86009cd83379-00000000"),
        lambda: files.newest("a"),
        lambda: files.keys(),
    ):
        with pytest.raises(StorageError, match=str(status)) as caught:
            call()  # type: ignore[no-untyped-call]
        assert type(caught.value) is expected
        assert getattr(caught.value, "retry_after", 7) == 7


@pytest.mark.parametrize("answer", [(200, b"<html>Sign in</html>", {}), (207, b"<html", {})])
def test_a_web_page_is_not_a_folder(stub: Stub, files: WebDAVFiles, answer: tuple[int, bytes, dict[str, str]]) -> None:
    stub.answer = lambda method: answer
    with pytest.raises(StorageError) as caught:
        files.keys()
    assert stub.url in str(caught.value)


def test_a_server_without_ranges_is_read_from_the_beginning(stub: Stub, files: WebDAVFiles) -> None:
    stub.answer = lambda method: (200, bytes(range(200)), {})
    for start, stop in [(0, None), (7, None), (7, 9), (0, 200), (200, None)]:
        with files.read("a", "000001-86009cd83379-00000000", start=start, stop=stop) as content:
            assert (b"".join(content.blocks), content.version.size) == (bytes(range(200))[start:stop], 200)


def test_an_incomplete_upload_is_noticed_although_the_server_accepts_it(
    stub: Stub, files: WebDAVFiles, source: Source
) -> None:
    def answer(method: str) -> tuple[int, bytes, dict[str, str]]:
        return listing(FOLDER.format("x"), FILE.format("x/data.bin", 4)) if method == "PROPFIND" else (201, b"", {})

    stub.answer = answer
    with pytest.raises(IntegrityError, match="incomplete"):
        files.put("a.bin", source, metadata={}, if_absent=False)
    methods = [asked.split()[0] for asked in stub.asked]
    assert "MOVE" not in methods
    assert methods[-1] == "DELETE"


def test_a_move_that_went_half_way_is_no_upload(stub: Stub, files: WebDAVFiles, source: Source) -> None:
    def answer(method: str) -> tuple[int, bytes, dict[str, str]]:
        there = listing(FOLDER.format("x"), FILE.format("x/data.bin", 5))
        return {"PROPFIND": there, "MOVE": (207, b"<multistatus/>", {})}.get(method, (201, b"", {}))

    stub.answer = answer
    with pytest.raises(StorageError, match="207"):
        files.put("a.bin", source, metadata={}, if_absent=False)


def test_a_folder_that_is_locked_while_another_makes_it_is_waited_for(
    stub: Stub, files: WebDAVFiles, source: Source
) -> None:
    def answer(method: str) -> tuple[int, bytes, dict[str, str]]:
        asked = stub.asked[-1]
        if method == "MKCOL" and asked.endswith("/a.bin/") and stub.asked.count(asked) < 3:
            return 423, b"", {}
        there = ".tmp-" in asked and method == "PROPFIND"
        return listing(FILE.format("x/data.bin", 5)) if there else (404 if method == "PROPFIND" else 201, b"", {})

    stub.answer = answer
    files.put("a.bin", source, metadata={}, if_absent=False)
    assert [asked.split()[0] for asked in stub.asked].count("DELETE") == 0
    assert stub.asked[-1].startswith("MOVE")


def test_many_reads_that_nobody_finishes_leave_no_connection_behind(stub: Stub, files: WebDAVFiles) -> None:
    stub.answer = lambda method: (200, bytes(300_000), {})
    for _ in range(120):  # more than a client has
        with files.read("a", "000001-86009cd83379-00000000"):
            pass
