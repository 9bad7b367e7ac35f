"""What is shown in a notebook or a Python session: short, useful, and harmless whatever names come from outside."""

import dataclasses
import re
import textwrap
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
import xarray as xr
from conftest import write_yaml
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins import ManyReport, MirrorReport, Receipt, Version
from storage_plugins._mirror.mirror import Mirrored
from storage_plugins._visible import size_in_words

HOSTILE = "<script>alert('x')</script>\x1b[31m\u202e&amp;<b \n"
RECEIPT = Receipt(
    identifier="Lab2026.rates",
    store="lab",
    address="s3://bucket/brain",
    key="assy_Lab2026_rates.nc",
    version_id="v1",
    sha1="a" * 40,
    sha256="b" * 64,
    size=950_123_456,
    content_digest=None,
    created=datetime(2026, 3, 5, 23, 59, tzinfo=UTC),
    uri="s3://bucket/brain/assy_Lab2026_rates.nc?versionId=v1",
)


class Tags(HTMLParser):
    """Collects tags, and checks that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


def everything(word: str) -> list[object]:
    """One of each object, made of a word from outside."""
    receipt = dataclasses.replace(
        RECEIPT, identifier=word, store=word, address=word, key=word, version_id=word, uri=word
    )
    failed = Mirrored(key=word, outcome="failed", reason=word)
    return [
        receipt,
        Version(version_id=word, identifier=word, etag=word, size=3),
        MirrorReport(source=word, target=word, files=(failed,)),
        ManyReport(done={}, failed={word: ValueError(word), receipt: ValueError(word)}, not_tried=(word, receipt)),
        storage_plugins.cite(receipt, authors=word, contact=word),
    ]


@pytest.mark.parametrize("one", everything(HOSTILE), ids=lambda one: type(one).__name__)
def test_names_from_outside_cannot_do_anything(one):
    shown = Tags(one._repr_html_())
    assert shown.seen <= {"div", "strong", "table", "tr", "th", "td", "br"}
    for text in (one._repr_html_(), repr(one)):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    assert "\n" not in repr(one)
    assert "alert" in shown.text


def test_a_store_with_a_hostile_name_is_shown_harmlessly(memory_store):
    store = memory_store(MemoryFiles(name=f"memory:{HOSTILE}"), name=HOSTILE)
    assert Tags(store._repr_html_()).seen <= {"div", "strong", "table", "tr", "th", "td", "br"}
    assert "\n" not in repr(store)
    assert "\x1b" not in repr(store)


def test_what_is_shown_is_short_and_says_what_matters():
    assert repr(RECEIPT) == (
        "Receipt(identifier='Lab2026.rates', store='lab', address='s3://bucket/brain', version_id='v1', "
        "sha256='bbbbbbbbbbbb…', size=950123456, created=2026-03-05T23:59:00+00:00)"
    )
    assert repr(Version(version_id=None, size=3)) == "Version(size=3)"
    assert repr(Version(version_id="1", sha1="a" * 40)) == "Version(version_id='1', sha1='aaaaaaaaaaaa…')"
    shown = Tags(RECEIPT._repr_html_()).text
    for text in ("Lab2026.rates", "950.1 MB", "2026-03-05 23:59 UTC", "b" * 64, RECEIPT.uri, "a" * 40):
        assert text in shown


@pytest.mark.parametrize(
    ("size", "words"),
    [(None, None), (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB")],
)
def test_sizes_are_in_words(size, words):
    assert size_in_words(size) == words


def test_a_report_of_thousands_shows_what_went_wrong_first():
    copied = tuple(Mirrored(key=f"k{number}", outcome="copied", bytes_sent=2) for number in range(3000))
    failed = tuple(Mirrored(key=f"f{number}", outcome="failed", reason="why") for number in range(30))
    report = MirrorReport(source="s3://a", target="osf:b", files=copied + failed)
    assert repr(report) == (
        "<storage_plugins mirror: s3://a to osf:b, 3000 copied, 0 there already, 30 failed, 6000 bytes sent>"
    )
    shown = Tags(report._repr_html_()).text
    assert "f19" in shown
    assert "and 10 more" in shown
    assert len(report._repr_html_()) < 5000


def test_a_store_shows_where_it_is_and_no_secrets(open_osf):
    store = open_osf(contact="data@lab.example")
    shown = Tags(store._repr_html_()).text
    for text in ("osf", store.address, "data@lab.example", "storage.yaml"):
        assert text in shown
    assert "PAT-" not in store._repr_html_()


# progress


def test_progress_is_shown_for_large_files_alone(memory_store, tmp_path, capsys):
    store = memory_store(MemoryFiles())
    store.progress = True
    for name, size in (("small.bin", 1000), ("large.bin", 9 << 20)):
        (tmp_path / name).write_bytes(bytes(size))
        store.upload_file(tmp_path / name)
    printed = capsys.readouterr().err
    assert "small.bin" not in printed
    assert "large.bin: 100%" in printed
    elsewhere = memory_store(store.files, receipts=False, cache="elsewhere")
    elsewhere.progress = True
    elsewhere.fetch("large.bin")
    assert "large.bin: " in capsys.readouterr().err
    elsewhere.progress = False
    assert elsewhere.progress is None


def test_progress_of_a_group_is_that_of_its_members(tmp_path, capsys):
    stores = {"a": {"backend": "local", "root": str(tmp_path / "a")}, "both": {"backend": "group", "read": ["a"]}}
    stores["both"]["write"] = "a"
    group = storage_plugins.open_store("both", config={"stores": stores})
    group.progress = True
    (tmp_path / "large.bin").write_bytes(bytes(9 << 20))
    group.upload_file(tmp_path / "large.bin")
    assert "large.bin: 100%" in capsys.readouterr().err


@pytest.mark.slow
def test_a_notebook_shows_stores_receipts_and_progress(tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    write_yaml(tmp_path, {"backend": "local", "root": "./assemblies"})
    cells = [
        "import numpy as np, xarray as xr, storage_plugins\nstore = storage_plugins.open_store()\nstore",
        "store.progress = True\n"
        "data = np.random.default_rng(0).random((1000, 2000))\n"
        "receipt = store.upload(xr.DataArray(data, dims=('presentation', 'neuroid')), 'Lab2026.rates')\nreceipt",
        "store.load(receipt)",
        "store.versions('Lab2026.rates')[0]",
        "store.upload_many({'Lab2026.m1': xr.DataArray([1.0]), 'Lab2026.m2': 'absent.nc'})",
        "store.cite(receipt)",
        "open('notes.txt', 'w').write('x'); other = storage_plugins.open_store(config={'stores': {'b': "
        "{'backend': 'local', 'root': 'b'}}})\nstorage_plugins.mirror(store, other)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells])
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    html, streams = [], []
    for cell in notebook.cells:
        html.append("".join(output.get("data", {}).get("text/html", "") for output in cell.outputs))
        streams.append("".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream"))
    shown = [Tags(text).text if number != 2 else text for number, text in enumerate(html)]
    assert "Store lab" in shown[0]
    assert str(tmp_path / "assemblies") in shown[0]
    assert "Receipt of Lab2026.rates" in shown[1]
    assert "MB" in shown[1]
    assert "assy_Lab2026_rates.nc: 100%" in streams[1] or "widget" in str(notebook.cells[1].outputs)
    assert "xarray" in html[2]
    assert "Version 1-" in shown[3]
    assert "1 done, 1 failed" in shown[4]
    assert "There is no file absent.nc" in shown[4]
    assert "@misc{Lab2026.rates" in shown[5]
    assert "2 copied" in shown[6]
    assert xr.DataArray(storage_plugins.open_store(config=tmp_path / "storage.yaml").load("Lab2026.m1")).item() == 1.0
