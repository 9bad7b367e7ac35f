"""Loads with ``download=False``: few requests, all of one version, and every byte that is used verified."""

import dataclasses
import functools
import http.server
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import make_assembly, yaml_for
from memory_files import MemoryFiles
from proxy import Answer, Proxy

import storage_plugins
from storage_plugins import IntegrityError, NotSupported, StoreUnavailable, codec
from storage_plugins.testing._comparison import differences

ALL = pytest.mark.parametrize("kind", ["local", "s3", "osf", "memory", pytest.param("sftp", marks=pytest.mark.slow)])


@functools.cache
def large() -> xr.DataArray:
    """Noise, which does not compress, in twelve tiles: 300 presentations of 4,000 neuroids."""
    made = xr.DataArray(
        np.random.default_rng(0).normal(size=(300, 4000)),
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", [f"stimulus {number}" for number in range(300)]),
            "repetition": ("presentation", np.arange(300) % 3),
            "neuroid_id": ("neuroid", [f"n{number}" for number in range(4000)]),
            "region": ("neuroid", ["IT", "V4"] * 2000),
        },
        attrs={"unit": "spikes"},
    )
    return made.set_index(presentation=["stimulus_id", "repetition"], neuroid=["neuroid_id", "region"])


@dataclasses.dataclass
class Traffic:
    """What went over a proxy."""

    requests: int = 0
    received: int = 0

    def clear(self) -> None:
        self.requests = self.received = 0


@pytest.fixture
def traffic(proxy: Proxy) -> Traffic:
    found = Traffic()

    def count(method: str, path: str, answer: Answer) -> None:
        found.requests += 1
        found.received += len(answer.body)

    proxy.spoil = count
    return found


def tile_of(digest_of: Path, number: int) -> tuple[int, int]:
    """Return where a tile of the data is in a file."""
    return codec.Parts(codec.LocalSource(digest_of))._opened.chunks[None][number]


def flipped(path: Path, at: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    return bytes(data)


@ALL
def test_an_assembly_in_parts_is_the_assembly(tmp_path, request, kind, new_cache):
    path = yaml_for(kind, tmp_path, request)
    receipt = storage_plugins.open_store(config=path).upload(make_assembly(), "X.y")
    new_cache()
    store = storage_plugins.open_store(config=path)
    for pins in ({}, {"version_id": receipt.version_id}, {"sha1": receipt.sha1}, {"newest": True}):
        came = store.load("X.y", download=False, **pins)
        assert differences(came.load(), make_assembly()) == []
    assert store.load(receipt, download=False).identical(make_assembly())
    assert storage_plugins.load(receipt, download=False, config=path).identical(make_assembly())
    assert storage_plugins.load(receipt.uri, download=False, config=path).identical(make_assembly())
    assert store.cache.find(receipt.key, sha256=receipt.sha256) is None


@ALL
def test_without_receipts_the_record_of_the_upload_says_what_is_there(tmp_path, request, kind, new_cache, caplog):
    path = yaml_for(kind, tmp_path, request)
    receipt = storage_plugins.open_store(config=path).upload(make_assembly(), "X.y")
    new_cache()
    store = storage_plugins.open_store(config=path)
    store = store.elsewhere(store.cache)
    for pins in ({}, {"version_id": receipt.version_id}, {"sha256": receipt.sha256}):
        assert store.load("X.y", download=False, **pins).identical(make_assembly())
    assert "downloaded" not in caplog.text
    assert store.cache.find(receipt.key, sha256=receipt.sha256) is None


def test_one_neuroid_takes_few_requests_and_few_bytes(open_lab, proxy, traffic):
    receipt = open_lab().upload(large(), "X.y")
    for pin in ({}, {"sha1": receipt.sha1}):
        traffic.clear()
        came = open_lab(endpoint_url=proxy.url).load("X.y", download=False, **pin)
        np.testing.assert_array_equal(came[:, 7].values, large()[:, 7].values)
        assert traffic.requests <= 6
        assert traffic.received < 2_000_000 < receipt.size / 4
        before = traffic.requests
        np.testing.assert_array_equal(came[:, 8].values, large()[:, 8].values)  # of the same tile
        assert traffic.requests == before


def test_tiles_that_are_neighbours_come_together(open_lab, proxy, traffic):
    open_lab().upload(large(), "X.y")
    came = open_lab(endpoint_url=proxy.url).load("X.y", download=False)
    traffic.clear()
    assert came.identical(large())
    assert traffic.requests <= 2


def test_chunks_and_classes_are_lazy_too(open_lab, proxy, traffic):
    pytest.importorskip("dask")

    class Rates(xr.DataArray):
        __slots__ = ()

    open_lab().upload(large(), "X.y")
    for options in ({"chunks": {}}, {"chunks": {"neuroid": 1000}}, {"cls": Rates}):
        traffic.clear()
        came = open_lab(endpoint_url=proxy.url).load("X.y", download=False, **options)
        assert type(came) is options.get("cls", xr.DataArray)
        assert came.chunks is not None
        np.testing.assert_array_equal(came[:, 7].values, large()[:, 7].values)
        assert traffic.received < 4_000_000
        assert came.identical(large())


def test_what_is_in_the_cache_is_not_asked_for(open_lab, proxy, traffic):
    store = open_lab(endpoint_url=proxy.url)
    receipt = store.upload(large(), "X.y")
    store.load(receipt)
    traffic.clear()
    assert store.load("X.y", sha256=receipt.sha256, download=False).identical(large())
    assert traffic.requests == 0


def test_all_parts_are_of_one_version(open_lab):
    store = open_lab()
    store.upload(large(), "X.y")
    came = open_lab().load("X.y", download=False)
    store.upload(large() + 1, "X.y")
    np.testing.assert_array_equal(came[3].values, large()[3].values)


def test_a_file_that_was_replaced_meanwhile_is_noticed(memory_store):
    files = MemoryFiles()
    store = memory_store(files)
    store.upload(large(), "X.y")
    key = "assy_X_y.nc"
    store.upload(large() + 1, "Other")
    came = memory_store(files, receipts=False, cache="elsewhere").load("X.y", download=False)
    version, _ = files.held[key][0]
    other = files.held["assy_Other.nc"][0]
    files.held[key] = [(dataclasses.replace(other[0], version_id=version.version_id, etag="another"), other[1])]
    with pytest.raises(IntegrityError, match="was replaced"):
        came[3].load()
    files.held[key] = [(version, other[1])]  # a host that does not say so
    with pytest.raises(IntegrityError, match="tile 0 of 'data'"):
        came[:, 3].load()


def test_a_flipped_tile_is_named_and_the_others_can_be_read(memory_store, tmp_path):
    files = MemoryFiles()
    memory_store(files).upload(large(), "X.y")
    ((version, data),) = files.held["assy_X_y.nc"]
    path = tmp_path / "x.nc"
    path.write_bytes(data)
    offset, size = tile_of(path, 2)
    for place in (offset + 40, offset + size // 2, offset + size - 1):
        files.held["assy_X_y.nc"] = [(version, flipped(path, place))]
        came = memory_store(files, cache="elsewhere").load("X.y", download=False)
        width = codec.Parts(codec.LocalSource(path)).layouts[None].tile[1]
        np.testing.assert_array_equal(came[:, 0].values, large()[:, 0].values)
        with pytest.raises(
            IntegrityError, match=rf"assy_X_y.nc .*tile 2 of 'data' .*neuroid {2 * width}:{3 * width}\)"
        ):
            came[:, 2 * width].load()


def test_a_tile_that_was_damaged_on_the_way_is_asked_for_again(open_lab, proxy):
    open_lab().upload(large(), "X.y")
    came = open_lab(endpoint_url=proxy.url).load("X.y", download=False)
    left = [1]
    proxy.change = lambda method, path, body: body[:99] + b"x" + body[100:] if left and left.pop() else body
    np.testing.assert_array_equal(came[:, 7].values, large()[:, 7].values)
    assert not left


def test_a_flipped_byte_of_the_description_or_a_coordinate_is_noticed(memory_store, tmp_path):
    files = MemoryFiles()
    memory_store(files).upload(make_assembly(), "X.y")
    ((version, data),) = files.held["assy_X_y.nc"]
    path = tmp_path / "x.nc"
    path.write_bytes(data)
    found = codec.Parts(codec.LocalSource(path))._opened.chunks
    begin = data.index(b'{"format"')
    places = [begin, begin + 12, begin + 40, begin + 200, *range(begin + 300, begin + 4000, 97)]
    places += [offset + size // 2 for name, pieces in found.items() if name is not None for offset, size in pieces]
    for place in [place for place in places if place < len(data)]:
        files.held["assy_X_y.nc"] = [(version, flipped(path, place))]
        with pytest.raises(IntegrityError, match=r"assy_X_y\.nc"):
            memory_store(files, cache="elsewhere").load("X.y", download=False)


def test_a_file_that_contains_something_else_than_was_recorded_is_refused(memory_store):
    files = MemoryFiles()
    store = memory_store(files)
    store.upload(make_assembly(), "X.y")
    ((version, data),) = files.held["assy_X_y.nc"]
    files.held["assy_X_y.nc"] = [(dataclasses.replace(version, content_digest=f"sp1:{'0' * 64}"), data)]
    with pytest.raises(IntegrityError, match="contains sp1:"):
        memory_store(files, receipts=False, cache="elsewhere").load("X.y", download=False)
    assert memory_store(files, cache="elsewhere").load("X.y", download=False).identical(make_assembly())  # by receipt


def test_a_file_of_this_package_can_be_read_in_parts_though_it_was_uploaded_as_a_file(memory_store, tmp_path, caplog):
    files = MemoryFiles()
    digest = codec.encode(large(), tmp_path / "x.nc", identifier="X")
    receipt = memory_store(files).upload(tmp_path / "x.nc", "X")
    assert receipt.content_digest == digest
    assert memory_store(files, receipts=False, cache="elsewhere").load("X", download=False).identical(large())
    assert "downloaded whole" not in caplog.text
    codec.encode(large(), tmp_path / "x.nc", identifier="X", compression="none")
    other = memory_store(files).upload(tmp_path / "x.nc", "X")  # its bytes are others, and they are stored
    assert other.content_digest == digest
    assert other.version_id != receipt.version_id
    offset, size = tile_of(tmp_path / "x.nc", 2)
    (tmp_path / "x.nc").write_bytes(flipped(tmp_path / "x.nc", offset + size // 2))
    assert codec.digest_of_file(tmp_path / "x.nc") is None


def test_files_of_others_are_downloaded_whole_and_the_log_says_so(several, new_cache, caplog):
    store = storage_plugins.open_store()
    store.upload("a.nc", "X")
    came = store.load("X", download=False)
    assert came.identical(store.load("X"))
    assert "no record of its content" in caplog.text
    assert "downloaded whole" in caplog.text


def test_text_of_any_length_is_downloaded_whole(memory_store, caplog):
    files = MemoryFiles()
    wide = xr.DataArray(np.zeros(4000), dims="t", coords={"note": ("t", ["x" * 9999, *["short"] * 3999])})
    memory_store(files).upload(wide, "X")
    assert memory_store(files, cache="elsewhere").load("X", download=False).identical(wide)
    assert "text of any length" in caplog.text


class WithoutRanges(http.server.SimpleHTTPRequestHandler):
    """Python's own web server, which ignores ranges."""

    def log_message(self, *arguments):
        pass


def test_a_host_without_ranges_is_downloaded_from(tmp_path, new_cache, caplog):
    receipt = storage_plugins.open_store(
        config={"stores": {"lab": {"backend": "local", "root": str(tmp_path / "lab")}}}
    ).upload(large(), "X.y")
    served = functools.partial(WithoutRanges, directory=tmp_path / "lab")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        link = f"http://127.0.0.1:{server.server_address[1]}/{receipt.key}#sha256={receipt.sha256}"
        new_cache()
        assert storage_plugins.load(link, download=False).identical(large())
        server.shutdown()
    assert "does not support reading parts" in caplog.text


def test_a_link_to_s3_is_read_in_parts(open_lab, proxy, traffic, new_cache):
    store = open_lab(endpoint_url=proxy.url)
    store.upload(large(), "X.y")
    link = store.share("X.y")
    new_cache()
    traffic.clear()
    came = storage_plugins.load(link, download=False)
    np.testing.assert_array_equal(came[:, 7].values, large()[:, 7].values)
    assert traffic.received < 2_000_000


def test_a_connection_that_breaks_is_taken_up_where_it_broke(memory_store, monkeypatch):
    files = MemoryFiles()
    memory_store(files).upload(large(), "X.y")
    came = memory_store(files, cache="elsewhere").load("X.y", download=False)
    files.reads.clear()
    files.cut_after[:] = [5000]
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    np.testing.assert_array_equal(came[:, 7].values, large()[:, 7].values)
    starts = [start for _, _, start in files.reads]
    assert starts == [starts[0], starts[0] + 5000]


def test_a_host_that_sends_too_little_or_too_much_is_noticed(memory_store, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    class Short(MemoryFiles):
        def _blocks(self, data):
            yield data[: len(data) // 2]

    class Long(MemoryFiles):
        def read(self, key, version_id=None, *, start=0, stop=None, if_match=None):
            return super().read(key, version_id, start=start)

    for kind, error in ((Short, StoreUnavailable), (Long, NotSupported)):
        files = kind()
        memory_store(files).upload(large(), "X.y")
        with pytest.raises(error):
            memory_store(files, cache="elsewhere").host.read("assy_X_y.nc", None, 10, 20_000)
    came = memory_store(files, cache="another").load("X.y", download=False)
    assert came.identical(large())


def test_a_group_reads_parts_of_the_first_member_that_has_it(tmp_path, new_cache):
    stores = {
        "near": {"backend": "local", "root": str(tmp_path / "near")},
        "far": {"backend": "local", "root": str(tmp_path / "far")},
        "both": {"backend": "group", "read": ["near", "far"]},
    }
    config = {"default": "both", "stores": stores}
    receipt = storage_plugins.open_store("far", config=config).upload(large(), "X.y")
    new_cache()
    both = storage_plugins.open_store(config=config)
    for pins in ({}, {"sha256": receipt.sha256}, {"version_id": receipt.version_id}):
        assert both.load("X.y", download=False, **pins).identical(large())


ELSEWHERE = """
import pickle, sys
from pathlib import Path
lazy = pickle.loads(Path(sys.argv[1]).read_bytes())
print(float(lazy[:, 7].sum()))
"""


@pytest.mark.parametrize("chunks", [None, pytest.param({}, marks=pytest.mark.slow)])
def test_it_travels_to_other_processes(tmp_path, chunks, new_cache):
    store = storage_plugins.open_store(config={"stores": {"lab": {"backend": "local", "root": str(tmp_path / "lab")}}})
    store.upload(large(), "X.y")
    new_cache()
    lazy = store.load("X.y", download=False, chunks=chunks)
    (tmp_path / "lazy").write_bytes(pickle.dumps(lazy))
    assert (tmp_path / "lazy").stat().st_size < 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "lazy")], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(large()[:, 7].sum().item())


def test_data_can_be_changed_without_changing_the_file(memory_store):
    files = MemoryFiles()
    memory_store(files).upload(large(), "X.y")
    store = memory_store(files, cache="elsewhere")
    came = store.load("X.y", download=False)
    came[0, 0] = 5.0
    assert came[0, 0].item() == 5.0
    assert store.load("X.y", download=False)[0, 0].item() == large()[0, 0].item()


def test_a_description_with_places_that_overlap_or_lie_outside_is_refused(tmp_path):
    import json

    import netCDF4

    from storage_plugins.codec._content import seal

    path = tmp_path / "x.nc"
    codec.encode(large(), path, identifier="X")
    with netCDF4.Dataset(path) as file:
        text = file.getncattr("storage_plugins")
    for change in (
        lambda chunks: chunks[""].__setitem__(1, chunks[""][0]),
        lambda chunks: chunks[""].__setitem__(1, [10**12, 5]),
        lambda chunks: chunks[""].__setitem__(1, [-5, 5]),
        lambda chunks: chunks[""].__setitem__(1, [5.5, 5]),
        lambda chunks: chunks[""].__setitem__(1, [chunks[""][1][0], 5]),
        lambda chunks: chunks[""].pop(),
        lambda chunks: chunks.pop("/stimulus_id"),
    ):
        parsed = json.loads(text)
        change(parsed["file"]["chunks"])
        parsed["seal"] = seal(parsed["file"])
        with netCDF4.Dataset(path, "a") as file:
            file.setncattr("storage_plugins", json.dumps(parsed).encode())
        with pytest.raises(IntegrityError, match="is damaged"):
            codec.Parts(codec.LocalSource(path))


def test_the_library_is_free_while_a_server_is_waited_for(tmp_path):
    from storage_plugins.codec._library import library

    path = tmp_path / "x.nc"
    codec.encode(large(), path, identifier="X")
    free = []

    class Waiting(codec.LocalSource):
        def read(self, start, stop):
            def look():
                with library():
                    free.append(True)

            other = threading.Thread(target=look)
            other.start()
            other.join(5)
            return super().read(start, stop)

    assert codec.Parts(Waiting(path)).assembly().identical(large())
    assert len(free) >= 4
