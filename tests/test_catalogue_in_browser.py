"""The catalogue in Chromium: searching, sorting, copying, by keyboard, in the dark, on a phone."""

from pathlib import Path

import axe
import chromium
import numpy as np
import pytest
import xarray as xr
from conftest import make_assembly, write_yaml

import storage_plugins

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium here: install chromium"),
]
COUNT = "document.getElementById('count').textContent"
SHOWN = "[...document.querySelectorAll('tbody tr:not([hidden]) th')].map(cell => cell.textContent)"
FOCUSED = "document.activeElement.id || document.activeElement.textContent"
WIDTH = "document.documentElement.scrollWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def tab():
    with chromium.tab() as tab:
        yield tab


@pytest.fixture
def site(tmp_path, tab):
    """Three assemblies, one with hostile texts; its pages must be silent, and ask for nothing from elsewhere."""
    write_yaml(Path(), {"backend": "local", "root": "./lab"})
    store = storage_plugins.open_store()
    hostile = "</script><script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(2)>"
    store.upload(make_assembly().assign_attrs(tags="ecog, macaque"), "Lab2026.small")
    store.upload(xr.DataArray(np.eye(40), dims=("time", "channel"), attrs={"tags": "fmri"}), "Lab2026.large")
    odd = xr.DataArray([[1.0, np.nan]], dims=("t", hostile), attrs={"note": hostile, "tags": [hostile]}, name=hostile)
    store.upload(odd, "Lab2026." + "odd" * 50)
    tab.requested.clear()
    tab.complaints.clear()
    tab.width(1200)
    tab.colours("light")
    yield storage_plugins.catalogue(tmp_path / "site", title=hostile).folder
    assert tab.complaints == []
    assert all(address.startswith(("file://", "data:")) for address in tab.requested)
    assert tab.requested


def test_words_and_coordinates_are_found_by_keyboard_alone(tab, site):
    tab.open((site / "index.html").as_uri())
    tab.press("Tab")
    assert tab.run(FOCUSED) == "query"
    tab.type("ECOG small")
    assert tab.run(SHOWN) == ["Lab2026.small"]
    assert tab.run(COUNT) == "1 of 3 assemblies"
    for _ in range(2 + 8):  # the table, which scrolls, its heads, and the link
        tab.press("Tab")
    assert tab.run(FOCUSED) == "Lab2026.small"
    tab.press("Enter")
    tab.wait_for_page()
    assert tab.run("document.querySelector('h1').textContent") == "Lab2026.small"
    assert tab.run("document.querySelector('img').naturalWidth") > 0
    tab.open((site / "index.html").as_uri())
    tab.run("document.getElementById('query').focus()")
    tab.type("stimulus_id")
    assert tab.run(SHOWN) == ["Lab2026.small"]
    tab.run("document.getElementById('query').select()")
    tab.type("nothing like it")
    assert tab.run(COUNT) == "0 of 3 assemblies"


def test_columns_are_sorted_both_ways_by_numbers_and_by_text(tab, site):
    tab.open((site / "index.html").as_uri())
    for name, key in (("Data", "Enter"), ("Identifier", " ")):
        find = f"[...document.querySelectorAll('th button')].find(one => one.textContent === '{name}')"
        tab.run(f"{find}.focus()")
        orders = []
        for order in ("ascending", "descending"):
            tab.press(key)
            assert tab.run(f"{find}.parentElement.getAttribute('aria-sort')") == order
            assert tab.run("document.querySelectorAll('[aria-sort]').length") == 1
            orders.append([text[8:13] for text in tab.run(SHOWN)])
        expected = ["oddod", "small", "large"] if name == "Data" else ["large", "oddod", "small"]
        assert orders == [expected, expected[::-1]]
        assert tab.run(FOCUSED) == name


def test_code_and_citation_are_copied(tab, site):
    tab.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    tab.open((site / "assemblies/Lab2026.small.html").as_uri())
    for name in ("Python", "Text", "BibTeX"):
        find = f"[...document.querySelectorAll('button')].find(one => one.textContent === 'Copy {name}')"
        tab.run(f"{find}.focus()")
        tab.press("Enter")
        said = "new Promise(done => setTimeout(() => done(document.activeElement.nextSibling.textContent), 100))"
        assert tab.run(said) == " Copied."
        assert tab.run("navigator.clipboard.readText()") == tab.run(
            f"document.getElementById('code-{name.lower()}').textContent"
        )


@pytest.mark.parametrize(
    "name", ["index.html", "assemblies/Lab2026.small.html", f"assemblies/Lab2026.{'odd' * 50}.html"]
)
def test_pages_fit_a_phone_and_are_dark_where_that_is_preferred(tab, site, name):
    path = site / name
    if not path.exists():
        (path,) = (site / "assemblies").glob("Lab2026.odd*.html")
    tab.open(path.as_uri())
    assert tab.run(BACKGROUND) == "rgb(255, 255, 255)"
    tab.colours("dark")
    assert tab.run(BACKGROUND) == "rgb(21, 24, 28)"
    assert tab.run("getComputedStyle(document.querySelector('h1')).color") == "rgb(230, 233, 237)"
    for width in (1200, 400, 320):
        tab.width(width)
        assert tab.run(WIDTH) <= width


def test_a_screen_reader_finds_a_table_with_names(tab, site):
    tab.open((site / "index.html").as_uri())
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]}
    assert ("searchbox", "Search names, coordinates and tags") in named
    assert ("region", "Assemblies") in named
    assert ("columnheader", "Identifier") in named
    assert ("rowheader", "Lab2026.small") in named
    assert ("button", "Size") in named
    assert {"table", "status"} <= {role for role, _ in named}


def test_axe_finds_nothing_wrong(tab, site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == 4
    assert [one for page in pages for one in axe.violations(tab, page)] == []


def test_words_on_a_phone_are_not_broken_in_the_heads_of_tables(tab, site):
    tab.width(400)
    tab.open((site / "assemblies/Lab2026.small.html").as_uri())
    texts = "[...document.querySelectorAll('thead th')].map(cell => {const text = document.createRange();"
    texts += "text.selectNodeContents(cell); return [cell.textContent, text.getClientRects().length]})"
    lines = tab.run(texts)
    assert "Dimensions" in dict(lines)
    assert [text for text, number in lines if number > len(text.split())] == []
