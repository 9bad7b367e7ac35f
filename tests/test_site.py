"""The site: its reference has every public name, examples run, and it builds without a warning or a broken link."""

import doctest
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe
import chromium
import click
import pytest
from pages import FLAGS

import storage_plugins
from storage_plugins.cli import cli

DOCS = Path(__file__).parent.parent / "docs"
MODULES = ("", ".codec", ".testing", ".brainscore", ".atomic")

needs_checkout = pytest.mark.skipif(not (DOCS / "conf.py").exists(), reason="no checkout around the tests")


def public_names(module: str) -> set[str]:
    loaded = importlib.import_module(module)
    defined = {
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_") and getattr(value, "__module__", module) == module and not inspect.ismodule(value)
    }
    imported = {"annotations", "TYPE_CHECKING"}
    return {f"{module}.{name}" for name in getattr(loaded, "__all__", defined - imported)}


def referred() -> set[str]:
    """Return the names that the reference documents."""
    names = set()
    for page in (DOCS / "reference").glob("*.md"):
        module = ""
        for directive, name in re.findall(r"^\.\. (\w+):: ([\w.]+)", page.read_text("utf-8"), re.M):
            if directive == "currentmodule":
                module = name
            elif directive != "automodule":
                names.add(f"{module}.{name}")
    return names


@needs_checkout
@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name(module):
    module = f"storage_plugins{module}"
    missing = public_names(module) - referred()
    assert missing == set(), f"add them to a page of docs/reference: {sorted(missing)}"


@needs_checkout
def test_the_reference_has_every_method_of_a_store_and_none_that_is_gone():
    methods = {f"Store.{name}" for name in vars(storage_plugins.Store) if not name.startswith("_")}
    described = {name.removeprefix("storage_plugins.") for name in referred() if ".Store." in name}
    assert described == methods


@needs_checkout
def test_the_table_of_errors_has_every_error_with_its_builtins():
    rows = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", (DOCS / "reference" / "errors.md").read_text("utf-8"), re.M))
    errors = {
        name: value
        for name in storage_plugins.__all__
        if inspect.isclass(value := getattr(storage_plugins, name)) and issubclass(value, storage_plugins.StorageError)
    }
    assert {*rows, "StorageError"} == errors.keys()
    for name, also in rows.items():
        for base in re.findall(r"\w+", also):
            assert base in {one.__name__ for one in errors[name].__mro__}, (name, base)


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder()
    found = []
    for name in ("open_store", "load", "mirror", "Store", "Receipt", "Version"):
        found += [test for test in finder.find(getattr(storage_plugins, name), name, globs={}) if test.examples]
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_example_of_a_docstring_runs(example):
    report: list[str] = []
    assert doctest.DocTestRunner(optionflags=FLAGS).run(example, out=report.append).failed == 0, "".join(report)


def test_the_functions_that_everyone_calls_have_examples():
    assert {example.name for example in examples()} >= {"open_store", "load", "mirror", "Store.upload", "Store.load"}


@needs_checkout
def test_every_page_is_in_the_contents_once():
    listed = []
    for page in DOCS.rglob("*.md"):
        for contents in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text("utf-8"), re.S | re.M):
            for entry in re.findall(r"^[^:\n].*$", contents, re.M):
                if "*" in entry:
                    listed += [path.resolve() for path in page.parent.glob(f"{entry}.md")]
                else:
                    listed.append((page.parent / f"{entry}.md").resolve())
    assert sorted(listed) == sorted(path.resolve() for path in DOCS.rglob("*.md") if path != DOCS / "index.md")


class Page(HTMLParser):
    """The anchors of a built page, what it leads to, and what a browser would fetch for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.unnamed = 0
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get("rel") in ("stylesheet", "icon") or "src" in values:
            self.fetched.append(values.get("src") or values["href"])
        if (tag == "img" and not values.get("alt")) or (values.get("role") == "img" and not values.get("aria-label")):
            self.unnamed += 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages of the built site, by path."""
    folder = built("html", tmp_path_factory.mktemp("site"))
    return {path: Page(path) for path in folder.rglob("*.html")}


def built(kind: str, folder: Path) -> Path:
    """Let Sphinx write into a folder, without a warning."""
    if not (DOCS / "conf.py").exists():
        pytest.skip("no checkout around the tests")
    for package in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(package)
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", kind, "-d", folder / "trees"]
    done = subprocess.run([*build, DOCS, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def outside(link: str) -> bool:
    return bool(urlsplit(link).scheme or urlsplit(link).netloc)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_every_link_inside_leads_to_something(site):
    assert len(site) > 50
    broken = []
    for path, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if outside(link) or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in site[target].anchors):
                broken.append(f"{path.name}: {link}")
    assert broken == []


@pytest.mark.slow
def test_the_site_fetches_nothing_from_elsewhere_and_every_picture_has_words(site):
    assert [link for page in site.values() for link in page.fetched if outside(link)] == []
    assert [path.name for path, page in site.items() if page.unnamed] == []


@pytest.mark.slow
def test_what_scrolls_can_be_reached_by_the_keyboard_and_what_is_beside_the_text_has_a_name(site):
    """What axe-core found in the theme's pages."""
    for path in site:
        text = path.read_text("utf-8")
        assert "<pre>" not in text, path.name
        assert re.findall(r"<aside (?![^>]*aria-label)[^>]*>", text) == [], path.name
        assert '<th class="head"><p></p></th>' not in text, path.name
        assert 'docutils container">' not in text, path.name


@pytest.mark.slow
@pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium here: install chromium")
def test_axe_finds_nothing_wrong_on_a_page_of_each_kind_and_their_scripts_say_nothing(site):
    kinds = ("index", "first-assembly", "publish-and-cite", "command-line", "commands", "store", "search", "genindex")
    pages = [path for path in site if path.stem in kinds]
    assert len(pages) >= len(kinds)
    with chromium.tab() as tab:
        assert [one for page in pages for one in axe.violations(tab, page)] == []
        assert tab.complaints == []
        assert [address for address in tab.requested if not address.startswith(("file:", "data:"))] == []


@pytest.mark.slow
def test_the_built_reference_has_every_public_name_and_every_option_of_every_command(site):
    anchors = set().union(*(page.anchors for page in site.values()))
    assert set().union(*(public_names(f"storage_plugins{module}") for module in MODULES)) <= anchors
    (path,) = (path for path in site if path.name == "commands.html")
    text = re.sub(r"<[^>]+>", "", path.read_text("utf-8"))

    def check(command: click.Command, words: str) -> None:
        if isinstance(command, click.Group):
            for name, one in command.commands.items():
                check(one, f"{words} {name}")
            return
        assert words in text
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert all(flag in text for flag in parameter.opts), (words, parameter.opts)

    check(cli, "storage-plugins")


@pytest.mark.slow
def test_the_manual_page_has_every_command_with_its_options_and_every_exit_code(tmp_path):
    page = built("man", tmp_path) / "storage-plugins.1"
    source = page.read_text("utf-8")
    sections = re.findall(r"^\.SH (.*)$", source, re.M)
    assert sections == ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXIT STATUS", "ENVIRONMENT"]
    plain = source.replace("\\fP", "").replace("\\-", "-")
    described = dict(re.findall(r"^\.SS (.*)\n((?:(?!\.S[SH] ).*\n)*)", plain, re.M))

    def check(command: click.Command, words: str) -> None:
        if isinstance(command, click.Group):
            for name, one in command.commands.items():
                check(one, f"{words} {name}")
            return
        text = described[f"\\fB{words}"]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert all(flag in text for flag in parameter.opts), (words, parameter.opts)

    check(cli, "storage-plugins")
    if shutil.which("man"):
        shown = subprocess.run(
            ["man", "--warnings", "-l", page],
            capture_output=True,
            text=True,
            env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
        )
        assert (shown.returncode, shown.stderr) == (0, "")
        for code in ("3      not found", "storage-plugins mirror", "--max-size SIZE", "STORAGE_PLUGINS_OFFLINE"):
            assert code in shown.stdout
