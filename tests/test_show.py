"""``show``: what is in an assembly and where it is, by few requests."""

import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import make_assembly, write_yaml
from memory_files import MemoryFiles
from test_cli_output import ESCAPES, harmless
from test_in_parts import Traffic, large, traffic  # noqa: F401  a fixture

import storage_plugins
from storage_plugins import AssemblyNotFound
from storage_plugins._store.picture import Picture

on_one_backend = pytest.mark.parametrize("yaml_file", ["local"], indirect=True)


def test_everything_is_shown(store):
    first = store.upload(make_assembly() + 1, "X.y")
    receipt = store.upload(make_assembly(), "X.y")
    shown = store.show("X.y")
    found = shown.as_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["identifier"] == "X.y"
    assert found["content_digest"] == receipt.content_digest
    assert [found[name] for name in ("version_id", "sha1", "sha256", "size", "key", "address")] == [
        getattr(receipt, name) for name in ("version_id", "sha1", "sha256", "size", "key", "address")
    ]
    assert found["versions"] == 2
    assert found["dims"] == ["presentation", "neuroid"]
    assert found["shape"] == [6, 3]
    assert found["attrs"] == make_assembly().attrs
    coords = {coord["name"]: coord for coord in found["coords"]}
    assert coords["stimulus_id"]["distinct"] == 3
    assert coords["stimulus_id"]["examples"] == ["a", "b", "c"]
    assert coords["stimulus_id"]["index"] == "presentation"
    assert [copy["uri"] for copy in found["copies"]] == [receipt.uri]
    for text in ("X.y", receipt.sha256, "3 distinct: 'a', 'b', 'c'", "presentation 6 x neuroid 3"):
        assert text in str(shown)
    assert repr(shown) == "<storage_plugins summary of 'X.y': presentation 6 x neuroid 3, float64>"
    assert store.show("X.y", sha1=first.sha1).as_dict()["version_id"] == first.version_id
    assert store.show(first).as_dict()["sha256"] == first.sha256


def test_it_says_whether_anyone_can_read_it(open_lab):
    store = open_lab(publish_by="acl")
    store.upload(make_assembly(), "X.y")
    assert store.show("X.y").as_dict()["visibility"] == "private"
    store.publish("X.y")
    assert store.show("X.y").as_dict()["visibility"] == "public"
    store.upload(make_assembly() + 1, "X.y")
    assert store.show("X.y").as_dict()["visibility"] == "private"


@pytest.mark.parametrize("pinned", [True, False])
def test_few_requests_and_few_bytes_are_needed(open_lab, proxy, traffic, pinned):  # noqa: F811
    receipt = open_lab(endpoint_url=proxy.url).upload(large(), "X.y")
    traffic.clear()
    shown = open_lab(endpoint_url=proxy.url).show(receipt if pinned else "X.y")
    str(shown)
    shown.picture().text()
    assert traffic.requests <= (6 if pinned else 7)  # without a pin, whether a newer version was withdrawn
    assert traffic.received < 2_000_000 < receipt.size / 4
    traffic.clear()
    assert len(shown.picture(large=True).png()) > 1000
    assert traffic.received <= receipt.size


def test_large_coordinates_are_not_read(memory_store):
    rng = np.random.default_rng(0)
    events = xr.DataArray(rng.normal(size=200_000), dims="t", coords={"when": ("t", rng.normal(size=200_000)), "x": 1})
    store = memory_store(MemoryFiles())
    store.upload(events, "X")
    coords = {coord["name"]: coord for coord in store.show("X").as_dict()["coords"]}
    assert coords["when"]["distinct"] is None
    assert coords["when"]["stored_bytes"] > 1_000_000
    assert coords["x"]["distinct"] == 1


def test_files_of_others_and_odd_shapes_are_shown_too(several):
    store = storage_plugins.open_store()
    store.upload("a.nc", "foreign")
    found = store.show("foreign").as_dict()
    assert found["content_digest"] is None
    assert {coord["name"] for coord in found["coords"]} >= {"stimulus_id", "neuroid_id"}
    assert store.show("foreign").picture() is not None
    for name, assembly in {
        "scalar": xr.DataArray(1.5),
        "text": xr.DataArray(["a", "b"], dims="t"),
        "empty": xr.DataArray(np.zeros((0, 3)), dims=("t", "n")),
        "square": xr.DataArray(np.eye(3), dims=("t", "n"), coords={"lists": ("t", np.array([[1], [2], None], object))}),
    }.items():
        store.upload(assembly, name)
        shown = store.show(name)
        assert shown.as_dict()["shape"] == list(assembly.shape)
        assert str(shown)
        assert (shown.picture() is None) == (name != "square")
    for shape in ((5,), (3, 4), (3, 4, 5)):
        store.upload(xr.DataArray(np.arange(math.prod(shape), dtype="c8").reshape(shape)), "shaped")
        assert store.show("shaped").picture().text()
    with pytest.raises(AssemblyNotFound):
        store.show("absent")


def pixels(png: bytes) -> np.ndarray:
    """Read a PNG file of grey and alpha, as the standard says."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + length
    width, height, depth, colours = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (depth, colours) == (8, 4)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 2 * width)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, 2)


def test_a_picture_shows_low_values_dark_and_missing_ones_not_at_all():
    picture = Picture(np.array([[0.0, 1.0, np.nan], [0.5, 1.0, np.inf]]), "t 0:2 x n 0:3")
    shown = pixels(picture.png())
    assert shown[:, :, 1].tolist() == [[255, 255, 0], [255, 255, 255]]
    assert shown[0, 0, 0] < 20 < 100 < shown[1, 0, 0] < 150 < 230 < shown[0, 1, 0]
    assert shown[1, 2, 0] == 255
    assert picture.text() == "| █·|\n|▒██|\nt 0:2 x n 0:3"
    assert Picture(np.full((2, 2), 7.0), "constant").text()
    assert Picture(np.full((2, 2), np.nan), "nothing").text().startswith("|··|")


@on_one_backend
def test_the_command_shows_and_draws(yaml_file, store, run):
    store.upload(large(), "X.y")
    store.upload(make_assembly(), "Lab2026.rates")
    text = run("show", "X.y", "-c", yaml_file).stdout
    assert "4,000 distinct" in text
    assert "█" in text
    assert json.loads(run("show", "X.y", "-c", yaml_file, "--json").stdout) == store.show("X.y").as_dict()
    run("show", "X.y", "-c", yaml_file, "--png", "x.png")
    assert pixels(Path("x.png").read_bytes()).shape == (300, 800, 2)
    run("show", "X.y", "-c", yaml_file, "--png", "x.png", code=6)
    run("show", "X.y", "-c", yaml_file, "--png", "x.png", "--force")
    assert "Did you mean Lab2026.rates?" in run("show", "Lab2026.rate", "-c", yaml_file, code=3).stderr


def test_a_store_that_has_lost_it_is_not_shown_as_having_it(tmp_path, memory_store):
    files = MemoryFiles()
    store = memory_store(files)
    receipt = store.upload(make_assembly(), "Lab2026.x")
    store.load(receipt)
    assert "in store 'lab'" in str(store.show("Lab2026.x")).splitlines()[0]
    files.held.clear()
    lines = str(store.show("Lab2026.x")).splitlines()
    assert "not found in store 'lab'" in lines[0]
    assert any("the cache on this computer" in line for line in lines)


def test_what_is_shown_cannot_control_the_terminal(run):
    write_yaml(Path(), {"backend": "local", "root": "./lab"})
    odd = ESCAPES[:-1]
    made = xr.DataArray(
        [[1.0, 2.0]],
        dims=("t", f"n{odd}"),
        coords={f"c{odd}": ("t", [odd])},
        name=f"a{odd}",
        attrs={f"k{odd}": odd, "nested": {odd: [odd]}},
    )
    store = storage_plugins.open_store()
    store.upload(made, "X")
    for words in (("show", "X"), ("show", "X", "--json")):
        assert harmless(run(*words).stdout)
    assert harmless(str(store.show("X")) + repr(store.show("X")))
    picture = store.show("X").picture()
    assert harmless(picture.text())
