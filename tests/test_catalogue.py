"""``catalogue``: a static site of a store or of the receipts."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import xarray as xr
from conftest import OSF_TOKEN, make_assembly, write_yaml

import storage_plugins
from storage_plugins import AlreadyExists, StorageError, Version, codec
from storage_plugins._catalogue.build import build
from storage_plugins._catalogue.content import Content
from storage_plugins._catalogue.listing import Held, listed
from storage_plugins._catalogue.metadata import dataset
from storage_plugins._config.config import Config
from storage_plugins._store.cite import cite

SITE = Path("site")
ACCESS = ("private", "unknown", "public", None)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e\x1b"


class Html(HTMLParser):
    """A page: its text, tags, links, and JSON-LD."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.links: list[str] = []
        self.metadata: dict = {}
        self.blocks: dict[str, str] = {}
        self._in: tuple[str, str | None] = ("", None)
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        self.links += [values[name] for name in ("href", "src") if values.get(name)]
        if tag in ("script", "pre"):
            self._in = (tag, values.get("id") or values.get("type"))

    def handle_endtag(self, tag):
        if tag == self._in[0]:
            self._in = ("", None)

    def handle_data(self, data):
        if self._in == ("script", "application/ld+json"):
            self.metadata = json.loads(data)
        elif self._in[0] == "pre":
            self.blocks[self._in[1]] = self.blocks.get(self._in[1], "") + data
        if self._in[0] != "script":
            self.text += data

    @property
    def rows(self) -> list[str]:
        return re.findall(r"<tr[ >].*?</tr>", self.source.split("<tbody>")[1].split("</tbody>")[0], re.S)


def index() -> Html:
    return Html(SITE / "index.html")


def page(identifier: str) -> Html:
    return Html(SITE / "assemblies" / f"{identifier}.html")


def files() -> dict[str, bytes]:
    return {path.relative_to(SITE).as_posix(): path.read_bytes() for path in SITE.rglob("*") if path.is_file()}


@pytest.fixture
def lab():
    """A local store, of the storage.yaml here."""
    write_yaml(Path(), {"backend": "local", "root": "./lab", "contact": "data@lab.example"})
    return storage_plugins.open_store()


def described() -> xr.DataArray:
    made = make_assembly()
    made.attrs = {
        "tags": "ecog, macaque",
        "license": "https://creativecommons.org/licenses/by/4.0/",
        "authors": ["Doe, Jane", "Roe, Richard"],
        "description": "Rates of three neurons while six images were shown, averaged over time.",
    }
    return made


# what it shows


def test_the_table_lists_every_assembly_and_leads_to_its_page(lab):
    lab.upload(described(), "Lab2026.rates")
    lab.upload(make_assembly() + 1, "Lab2026.other")
    report = storage_plugins.catalogue(SITE, title="Data of the lab")
    assert (report.assemblies, report.made, report.complete) == (2, ("Lab2026.other", "Lab2026.rates"), True)
    shown = index()
    assert len(shown.rows) == 2
    for text in ("Data of the lab", "presentation 6 × neuroid 3", "float64", "ecog", "macaque", "2 assemblies"):  # noqa: RUF001
        assert text in shown.text
    assert "stimulus_id" in shown.rows[0]  # found by a search, too
    assert "assemblies/Lab2026.rates.html" in shown.links


def test_a_page_shows_the_version_what_it_contains_and_what_changed(lab):
    lab.upload(described(), "Lab2026.rates")
    changed = described().assign_attrs(license="CC0") + xr.zeros_like(described())
    changed.attrs = {**described().attrs, "license": "CC0"}
    changed = (changed + 1).assign_attrs(changed.attrs).assign_coords(session=1)
    receipt = lab.upload(changed, "Lab2026.rates")
    storage_plugins.catalogue(SITE)
    shown = page("Lab2026.rates")
    for text in (receipt.sha1, receipt.sha256, receipt.content_digest, receipt.version_id, "'a', 'b', 'c'", "data@lab"):
        assert text in shown.text
    for text in (
        "Data: 1 of 1 tile differ",
        "Attribute license was https://creativecommons.org/licenses/by/4.0/ and is CC0.",
        "Coordinate session was added.",
    ):
        assert text in shown.text
    picture = next(values for tag, values in shown.tags if tag == "img")
    assert (SITE / "assemblies" / picture["src"]).read_bytes().startswith(b"\x89PNG")
    assert "presentation 0:6" in picture["alt"]
    assert shown.blocks["code-bibtex"] == lab.cite(receipt, authors=["Doe, Jane", "Roe, Richard"]).bibtex
    assert shown.blocks["code-text"].startswith("Doe, Jane; Roe, Richard (")
    lab.upload(make_assembly() + 5, "Lab2026.rates")
    names: dict = {}
    exec(shown.blocks["code-python"].split("# with Brain-Score")[0], names)
    xr.testing.assert_identical(names["assembly"], changed)


def test_versions_of_the_same_content_are_said_to_be_the_same(lab):
    made = make_assembly().reset_index(["presentation", "neuroid"])
    for name in ("a.nc", "b.nc"):
        codec.encode(made, Path(name), identifier=f"X.{name[0]}")
        lab.upload(name, "X")
    assert len(lab.versions("X")) == 2
    storage_plugins.catalogue(SITE)
    assert "The content is the same. Only the bytes of the files differ." in page("X").text


def test_files_of_other_programs_text_and_scalars_have_pages_too(several):
    store = storage_plugins.open_store()
    for number in (0, 1):
        store.upload(several[number], "foreign")
    store.upload(xr.DataArray(1.5), "scalar")
    store.upload(xr.DataArray(["a", "b"], dims="t"), "text")
    shutil.copy("c.nc", "lab/assy_by_hand.nc")  # without a record
    assert storage_plugins.catalogue(SITE).complete
    assert "were not compared" in page("foreign").text
    assert "presentation 6 × neuroid 3" in page("by_hand").text  # noqa: RUF001
    assert "a scalar" in page("scalar").text
    assert not any(tag == "img" for tag, _ in page("text").tags)


def test_every_link_leads_to_a_file_of_the_site_and_nothing_is_fetched_from_elsewhere(lab):
    lab.upload(described(), "Lab2026.rates")
    storage_plugins.catalogue(SITE)
    for path in SITE.rglob("*.html"):
        shown = Html(path)
        for link in shown.links:
            if link == "data:,":
                continue
            if urlsplit(link).scheme:
                assert link == described().attrs["license"]  # to follow, not to fetch
                continue
            assert (path.parent / unquote(link)).is_file(), link
        assert not any(name.startswith("on") or name == "style" for _, values in shown.tags for name in values)
        policy = next(values["content"] for tag, values in shown.tags if values.get("http-equiv"))
        assert policy.startswith("default-src 'none'")
    script = (SITE / "catalogue.js").read_text()
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|https?:|innerHTML", script)


def test_tables_and_fields_have_names_for_screen_readers(lab):
    lab.upload(described(), "Lab2026.rates")
    storage_plugins.catalogue(SITE)
    for shown in (index(), page("Lab2026.rates")):
        tags = shown.tags
        assert ("html", {"lang": "en"}) in tags
        assert all(values.get("scope") for tag, values in tags if tag == "th")
        assert all(values.get("alt") for tag, values in tags if tag == "img")
        labelled = {values["for"] for tag, values in tags if tag == "label"}
        assert all(values["id"] in labelled for tag, values in tags if tag == "input")
        assert all(values.get("aria-label") for _, values in tags if values.get("role") == "region")
        assert sum(tag == "h1" for tag, _ in tags) == sum(tag == "main" for tag, _ in tags) == 1
    assert ("p", {"id": "count", "role": "status"}) in index().tags


# texts from outside


def test_hostile_texts_are_shown_and_do_nothing(lab):
    made = xr.DataArray(
        [[1.0, 2.0]],
        dims=("t", f"n{HOSTILE}"),
        coords={f"c{HOSTILE}": ("t", [HOSTILE])},
        name=f"a{HOSTILE}",
        attrs={
            f"k{HOSTILE}": HOSTILE,
            "tags": [HOSTILE],
            "license": "javascript:alert(3)",
            "authors": HOSTILE,
            "description": HOSTILE,
            "doi": HOSTILE,
            "title": HOSTILE,
        },
    )
    lab.upload(made, "Lab2026.rates")
    lab.upload(made.assign_attrs(license=f"https://x/{HOSTILE}"), "Lab2026.rates")
    lab.upload(make_assembly().assign_attrs(license="javascript:alert(3)"), "Lab2026.link")
    by_hand = "assy_<img src=x onerror=alert(4)>.nc"
    Path("lab", by_hand).write_bytes(b"x")
    report = storage_plugins.catalogue(SITE, title=HOSTILE)
    assert list(report.failed) == [by_hand.removeprefix("assy_").removesuffix(".nc")]
    assert sorted(path.name for path in (SITE / "assemblies").iterdir()) == [
        f"Lab2026.{name}" for name in ("link.html", "link.png", "rates.html", "rates.png")
    ]
    for path in SITE.rglob("*.html"):
        shown = Html(path)
        assert sum(tag == "script" for tag, _ in shown.tags) == 2
        assert all(values["src"].endswith(".png") for tag, values in shown.tags if tag == "img")
        assert not any("onerror" in values for _, values in shown.tags)
        assert not any(link.startswith("javascript") for link in shown.links)
        assert not {"\u202e", "\x1b"} & set(shown.source)
    assert "\\u003c/script" in page("Lab2026.rates").source
    assert page("Lab2026.rates").metadata["name"] == HOSTILE
    assert "\\u202e" in page("Lab2026.rates").text


def test_one_that_fails_is_listed_with_its_error_and_the_others_have_pages(lab, run):
    lab.upload(make_assembly(), "Lab2026.good")
    receipt = lab.upload(make_assembly() + 1, "Lab2026.damaged")
    data = Path("lab/.versions", receipt.key, "000001/data.nc")
    good = data.read_bytes()
    data.chmod(0o600)
    data.write_bytes(good[:200])
    shutil.rmtree(Path("home"), ignore_errors=True)
    done = run("catalogue", SITE, code=1)
    assert "Lab2026.damaged: " in done.stderr
    assert 'class="problem"' in index().source
    assert (SITE / "assemblies/Lab2026.good.html").is_file()
    data.write_bytes(good)
    report = storage_plugins.catalogue(SITE)
    assert (report.made, report.unchanged, report.complete) == (("Lab2026.damaged",), 1, True)
    assert 'class="problem"' not in index().source


# making it again


def test_only_what_changed_is_made_again(lab):
    for name in ("a", "b", "c"):
        lab.upload(make_assembly(), f"Lab2026.{name}")
    storage_plugins.catalogue(SITE)
    before, times = files(), {path: path.stat().st_mtime_ns for path in SITE.rglob("*")}
    report = storage_plugins.catalogue(SITE)
    assert (report.made, report.unchanged, report.removed) == ((), 3, 0)
    assert {path: path.stat().st_mtime_ns for path in SITE.rglob("*") if path.is_file()}.items() <= times.items()
    lab.upload(make_assembly() + 1, "Lab2026.b")
    Path("lab/assy_Lab2026_c.nc").unlink()
    shutil.rmtree("lab/.versions/assy_Lab2026_c.nc")
    report = storage_plugins.catalogue(SITE)
    assert (report.made, report.unchanged, report.removed) == (("Lab2026.b",), 1, 2)
    after = files()
    assert before.keys() - after.keys() == {"assemblies/Lab2026.c.html", "assemblies/Lab2026.c.png"}
    assert after["assemblies/Lab2026.a.html"] == before["assemblies/Lab2026.a.html"]
    assert after["assemblies/Lab2026.b.html"] != before["assemblies/Lab2026.b.html"]
    assert "Lab2026.c" not in index().source
    (SITE / "assemblies/Lab2026.a.png").unlink()
    assert storage_plugins.catalogue(SITE).made == ("Lab2026.a",)
    assert storage_plugins.catalogue(SITE, title="Another").made == ("Lab2026.a", "Lab2026.b")


def test_a_folder_with_other_files_is_refused_and_files_of_others_stay(lab):
    lab.upload(make_assembly(), "Lab2026.rates")
    SITE.mkdir()
    (SITE / "index.html").write_text("mine")
    with pytest.raises(AlreadyExists, match=r"index\.html"):
        storage_plugins.catalogue(SITE)
    assert files() == {"index.html": b"mine"}
    with pytest.raises(AlreadyExists, match="is a file"):
        storage_plugins.catalogue(SITE / "index.html")
    (SITE / "index.html").unlink()
    storage_plugins.catalogue(SITE)
    for name in ("notes.txt", "assemblies/mine.html"):
        (SITE / name).write_text("mine")
    Path("lab/assy_Lab2026_rates.nc").unlink()
    shutil.rmtree("lab/.versions")
    assert storage_plugins.catalogue(SITE).removed == 2
    assert (SITE / "notes.txt").read_text() == (SITE / "assemblies/mine.html").read_text() == "mine"


def test_a_manifest_cannot_lead_out_of_its_folder(lab):
    lab.upload(make_assembly(), "Lab2026.rates")
    storage_plugins.catalogue(SITE)
    manifest = SITE / "catalogue.json"
    values = json.loads(manifest.read_text())
    victims = [Path("victim.html"), SITE / "assemblies.html"]
    for victim in victims:
        victim.write_text("mine")
    values["files"] += ["../victim.html", "assemblies/../../victim.html", str(victims[0].resolve()), "assemblies.html"]
    manifest.write_text(json.dumps(values))
    storage_plugins.catalogue(SITE)
    assert all(victim.is_file() for victim in victims)
    for text in ("[]", "{", '{"format": 2}', '{"format": 1, "files": 3, "pages": {}}'):
        manifest.write_text(text)
        with pytest.raises(StorageError, match="not the manifest"):
            storage_plugins.catalogue(SITE)
    shutil.rmtree(SITE / "assemblies")
    Path("elsewhere").mkdir()
    (SITE / "assemblies").symlink_to(Path("elsewhere").resolve())
    manifest.write_text(json.dumps(values))
    with pytest.raises(AlreadyExists, match="is a link"):
        storage_plugins.catalogue(SITE)
    assert not any(Path("elsewhere").iterdir())


def test_an_interrupted_run_leaves_whole_files_and_is_continued(lab):
    for number in range(20):
        lab.upload(make_assembly(number), f"Lab2026.x{number:02}")

    def interrupt(done, total):
        assert total == 20
        if done == 5:
            raise KeyboardInterrupt

    options = {"store": None, "receipts": False, "title": None, "private": "hide"}
    with pytest.raises(KeyboardInterrupt):
        build(Config.open(), SITE, **options, count=interrupt)
    assert not list(SITE.rglob(".tmp-*"))
    assert not (SITE / "index.html").exists()
    report = storage_plugins.catalogue(SITE)
    assert report.unchanged >= 5
    assert report.unchanged + len(report.made) == len(index().rows) == 20


def test_names_that_differ_in_case_or_are_reserved_have_pages_of_their_own(run):
    stores = {name: {"backend": "local", "root": f"./{name}"} for name in ("lab", "ours")}
    Path("storage.yaml").write_text(json.dumps({"default": "lab", "stores": stores}))
    lab, ours = (storage_plugins.open_store(name) for name in stores)
    lab.upload(make_assembly(), "Lab.X")
    ours.upload(make_assembly(), "lab.x")
    lab.upload(make_assembly(), "con.1")
    lab.upload(make_assembly(), "n" * 200)
    assert storage_plugins.catalogue(SITE, store="all").assemblies == 4
    names = [path.name for path in (SITE / "assemblies").glob("*.html")]
    assert len({name.lower() for name in names}) == 4
    assert not {"con.1.html", "nul.html"} & set(names)
    assert max(map(len, names)) < 160


# who may see what


@pytest.mark.slow
def test_private_assemblies_are_left_out_named_or_shown_as_asked(open_lab):
    store = open_lab(publish_by="acl", contact="data@lab.example")
    config = store._entry.path
    secret = make_assembly().assign_attrs(note="secret note")
    private = store.upload(secret, "Lab2026.private")
    store.upload(make_assembly() + 1, "Lab2026.mixed")
    mixed = store.publish("Lab2026.mixed")
    report = storage_plugins.catalogue(SITE, config=config)
    assert (report.assemblies, report.left_out) == (1, 1)
    everything = b"".join(files().values()).decode("utf-8", "replace")
    for text in ("Lab2026.private", private.sha1, private.sha256, "secret note"):
        assert text not in everything
    shown = page("Lab2026.mixed")
    assert mixed.sha256 in shown.text
    assert "anyone" in shown.text
    assert shown.metadata["isAccessibleForFree"] is True
    assert mixed.uri in shown.metadata["identifier"]
    assert "distribution" not in shown.metadata  # it has no http address

    report = storage_plugins.catalogue(SITE, config=config, private="names")
    assert (report.assemblies, report.left_out) == (2, 0)
    assert "private: ask data@lab.example" in index().text
    everything = b"".join(files().values()).decode("utf-8", "replace")
    assert "Lab2026.private" in everything
    for text in (private.sha1, private.sha256, "secret note", "Lab2026.private.html"):
        assert text not in everything

    third = store.upload(make_assembly() + 2, "Lab2026.mixed")
    storage_plugins.catalogue(SITE, config=config)
    assert third.sha256 not in b"".join(files().values()).decode("utf-8", "replace")
    storage_plugins.catalogue(SITE, config=config, private="full")
    assert private.sha256 in page("Lab2026.private").text
    assert "secret note" in page("Lab2026.private").text
    assert "distribution" not in page("Lab2026.private").metadata
    assert third.sha256 in page("Lab2026.mixed").metadata["identifier"][-1]

    store.unpublish("Lab2026.mixed")
    report = storage_plugins.catalogue(SITE, config=config)
    assert (report.assemblies, report.left_out) == (0, 2)
    assert not list((SITE / "assemblies").iterdir())


@pytest.mark.parametrize(
    ("private", "shown"), [("hide", ["public", None]), ("names", ["public", None]), ("full", [*ACCESS])]
)
def test_of_the_versions_only_those_are_shown_that_everyone_can_read(private, shown):
    held = [
        Held("lab", "s3://lab", None, Version(version_id=str(number), sha256=f"{number:064x}"), None, access)
        for number, access in enumerate(ACCESS)
    ]
    found = listed("assy_X.nc", "X", held, private, None)
    assert [version[0].access for version in found.versions] == shown
    assert found.visible
    secret = listed("assy_X.nc", "X", held[:2], private, None)
    assert (bool(secret.versions), secret.visible) == (private == "full", private != "hide")


def test_a_store_that_is_public_as_a_whole_is_shown_and_a_private_one_is_not(open_osf, project):
    store = open_osf()
    store.upload(make_assembly(), "Lab2026.rates")
    config = store._entry.path
    assert storage_plugins.catalogue(SITE, config=config).left_out == 1
    project.public = True
    report = storage_plugins.catalogue(SITE, config=config)
    assert (report.assemblies, report.left_out) == (1, 0)
    assert page("Lab2026.rates").metadata["isAccessibleForFree"] is True
    assert OSF_TOKEN not in b"".join(files().values()).decode("utf-8", "replace")


def test_only_the_three_ways_to_treat_private_ones_exist(lab):
    with pytest.raises(ValueError, match="hide, names, full"):
        storage_plugins.catalogue(SITE, private="all")
    assert not SITE.exists()


# several stores, and receipts


@pytest.fixture
def two():
    stores = {name: {"backend": "local", "root": f"./{name}"} for name in ("ours", "lab")}
    Path("storage.yaml").write_text(json.dumps({"default": "lab", "stores": stores}))
    return [storage_plugins.open_store(name) for name in ("lab", "ours")]


def test_all_stores_are_one_table_with_one_row_for_each_assembly(two, run):
    lab, ours = two
    receipt = lab.upload(make_assembly(), "Lab2026.rates")
    storage_plugins.mirror("lab", "ours")
    ours.upload(make_assembly() + 1, "Lab2026.ours")
    run("catalogue", SITE, "--store", "all")
    assert len(index().rows) == 2
    assert "lab, ours" in index().text
    shown = page("Lab2026.rates").text
    assert lab.address in shown
    assert ours.address in shown
    assert shown.count(receipt.sha256) == len(re.findall(receipt.sha256, page("Lab2026.rates").text))
    assert "What changed" not in shown


def test_a_group_is_a_table_of_what_its_members_have(two):
    lab, ours = two
    lab.upload(make_assembly(), "Lab2026.rates")
    ours.upload(make_assembly() + 1, "Lab2026.ours")
    config = json.loads(Path("storage.yaml").read_text())
    config["stores"]["both"] = {"backend": "group", "read": ["lab", "ours"], "write": "lab"}
    assert storage_plugins.catalogue(SITE, store="both", config=config).assemblies == 2
    assert storage_plugins.catalogue("of-all", store="all", config=config).assemblies == 2


def test_pages_of_a_store_that_cannot_be_listed_stay(two):
    _, ours = two
    ours.upload(make_assembly(), "Lab2026.ours")
    storage_plugins.catalogue(SITE, store="all")
    config = json.loads(Path("storage.yaml").read_text())
    config["stores"]["ours"] = {"backend": "absent"}
    Path("storage.yaml").write_text(json.dumps(config))
    report = storage_plugins.catalogue(SITE, store="all")
    assert list(report.problems) == ["ours"]
    assert not report.complete
    assert (SITE / "assemblies/Lab2026.ours.html").is_file()
    assert len(index().rows) == 1
    with pytest.raises(StorageError):
        storage_plugins.catalogue("another", store="ours")


def test_receipts_are_listed_without_asking_stores_what_they_have(two, run):
    lab, ours = two
    lab.upload(make_assembly(), "Lab2026.rates")
    ours.upload(make_assembly() + 1, "Lab2026.ours")
    Path("x.csv").write_text("a,b")
    lab.upload_file("x.csv")
    report = storage_plugins.catalogue(SITE, receipts=True)
    assert (report.assemblies, report.complete) == (2, True)
    assert storage_plugins.catalogue("of-ours", receipts=True, store="ours").made == ("Lab2026.ours",)
    stores = {"lab": {"backend": "local", "root": "./lab"}}
    Path("storage.yaml").write_text(json.dumps({"default": "lab", "stores": stores}))
    report = storage_plugins.catalogue(SITE, receipts=True)
    assert (report.assemblies, report.left_out) == (1, 1)  # nobody knows who can read what is elsewhere
    report = storage_plugins.catalogue(SITE, receipts=True, private="full")
    assert list(report.failed) == ["Lab2026.ours"]
    assert "No store in the configuration has the address" in page("Lab2026.ours").text
    run("withdraw", "Lab2026.rates", "--sha1", lab.versions("Lab2026.rates")[0].sha1, "--reason", "no", "--yes")
    assert storage_plugins.catalogue(SITE, receipts=True).assemblies == 0


def test_an_empty_store_has_an_empty_table(lab):
    assert storage_plugins.catalogue(SITE).assemblies == 0
    assert index().rows == []


# what machines read


def test_search_engines_find_what_google_asks_for(lab):
    lab.upload(described(), "Lab2026.rates")
    lab.upload(xr.DataArray([1.0]), "s", replace=True)
    lab.upload(xr.DataArray([1.0], attrs={"description": "x" * 9000, "tags": 3, "license": "CC-BY-4.0"}), "long")
    storage_plugins.catalogue(SITE, title="Data of the lab")
    for name in ("Lab2026.rates", "s", "long"):
        found = page(name).metadata
        assert (found["@context"], found["@type"]) == ("https://schema.org/", "Dataset")
        assert found["name"]
        assert 50 <= len(found["description"]) <= 5000
        assert found["version"]
        assert name in found["identifier"]
        assert found["includedInDataCatalog"]["name"] == "Data of the lab"
        assert "distribution" not in found  # a folder, which nobody else can read
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", found["dateModified"])
    found = page("Lab2026.rates").metadata
    assert found["license"] == described().attrs["license"]
    assert found["description"] == described().attrs["description"]
    assert found["keywords"] == ["ecog", "macaque"]
    assert [one["name"] for one in found["creator"]] == ["Doe, Jane", "Roe, Richard"]
    assert [one["name"] for one in found["variableMeasured"]][:2] == ["rates", "stimulus_id"]
    assert page("long").metadata["license"] == {"@type": "CreativeWork", "name": "CC-BY-4.0"}
    assert index().metadata["@type"] == "DataCatalog"
    assert len(index().metadata["dataset"]) == 3


@pytest.mark.parametrize("address", ["https://lab.example/data", "s3://bucket", "osf:abc12", "file:///data"])
def test_search_engines_get_addresses_that_they_understand(lab, address):
    receipt = lab.upload(described(), "Lab2026.rates")
    receipt = dataclasses.replace(receipt, uri=f"{address}/a.nc?versionId=1#sha256={receipt.sha256}")
    found = dataset(Content(receipt), cite(receipt), public=True, catalogue="x")
    assert receipt.uri in found["identifier"]
    if address.startswith("https"):
        (distribution,) = found["distribution"]
        assert distribution["contentUrl"] == "https://lab.example/data/a.nc?versionId=1"
        assert distribution["sha256"] == receipt.sha256
    else:
        assert "distribution" not in found
    assert "distribution" not in dataset(Content(receipt), cite(receipt), public=False, catalogue="x")


# the terms of https://w3id.org/ro/crate/1.1/context that are used; schema.org has more
TERMS = {"@id", "@type", "about", "author", "conformsTo", "dateModified", "datePublished", "description", "hasPart"}
TERMS |= {"encodingFormat", "identifier", "isBasedOn", "keywords", "license", "name", "version"}


def test_the_ro_crate_describes_every_file_once_in_its_own_terms(lab):
    lab.upload(described(), "Lab2026.rates")
    lab.upload(make_assembly().assign_attrs(license="CC0"), "Lab2026.other")
    storage_plugins.catalogue(SITE)
    crate = json.loads((SITE / "ro-crate-metadata.json").read_text())
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    graph = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(graph) == len(crate["@graph"])
    descriptor, root = graph["ro-crate-metadata.json"], graph["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset"
    assert {"name", "description", "datePublished", "license"} <= root.keys()
    assert {part["@id"] for part in root["hasPart"]} == files().keys() - {"ro-crate-metadata.json"}
    assert [graph[one["@id"]]["name"] for one in root["author"]] == ["Doe, Jane", "Roe, Richard"]
    for entity in crate["@graph"]:
        assert {"@id", "@type"} <= entity.keys() <= TERMS
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict) and not one["@id"].startswith("https://"):
                    assert one["@id"] in graph
    assert all(entity["@type"] == "File" for name, entity in graph.items() if name in files() and name[:2] != "ro")


def test_the_command_says_what_it_did(lab, run):
    lab.upload(make_assembly(), "Lab2026.rates")
    done = run("catalogue", SITE)
    assert "Pages made: 1, up to date: 0, files removed: 0" in done.stdout
    assert json.loads(run("catalogue", SITE, "--json").stdout) == {
        "folder": "site",
        "assemblies": 1,
        "made": [],
        "unchanged": 1,
        "removed": 0,
        "left_out": 0,
        "failed": {},
        "problems": {},
        "complete": True,
    }
    run("catalogue", SITE, "--store", "absent", code=9)
