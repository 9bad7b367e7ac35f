"""Citations: what they say, that other programs can read them, and that their Python loads exactly the version."""

import dataclasses
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import xarray as xr
import yaml
from conftest import write_yaml
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins import Receipt

on_one_backend = pytest.mark.parametrize("yaml_file", ["local"], indirect=True)
HOSTILE = "v1\n}, title={x}\r\x1b[31m\\input{/etc/passwd} #%&_~^$ ü“: - *a !!python/object: \u202e"


def receipt_like(**changes: object) -> Receipt:
    values = {
        "identifier": "Lab2026.rates_a",
        "store": "lab",
        "address": "s3://bucket/brain",
        "key": "assy_Lab2026_rates_a.nc",
        "version_id": "xYz_9",
        "sha1": "a" * 40,
        "sha256": "b" * 64,
        "size": 3,
        "content_digest": None,
        "created": datetime(2026, 3, 5, 23, 59, tzinfo=UTC),
        "uri": f"s3://bucket/brain/assy_Lab2026_rates_a.nc?versionId=xYz_9#sha256={'b' * 64}",
    }
    return Receipt(**{**values, **changes})


def test_a_citation_says_what_where_when_and_which_bytes():
    citation = storage_plugins.cite(receipt_like(), authors=["Doe, Jane", "The Brain Lab"], contact="data@lab.example")
    assert str(citation) == (
        "Doe, Jane; The Brain Lab (2026). Lab2026.rates_a, version xYz_9 [data set]. Uploaded to s3://bucket/brain on "
        f"5 March 2026. sha256 {'b' * 64}. "
        f"s3://bucket/brain/assy_Lab2026_rates_a.nc?versionId=xYz_9#sha256={'b' * 64}. "
        "Contact: data@lab.example."
    )


def test_bibtex_escapes_what_tex_would_read_as_a_command():
    text = storage_plugins.cite(receipt_like(), authors=["Doe, Jane", "Bread and Butter Lab"], doi="10.17605/X").bibtex
    assert text.startswith("@misc{Lab2026.rates_a-bbbbbbbb,\n")
    assert "  title   = {{Lab2026.rates\\_a}},\n" in text
    assert "  author  = {Doe, Jane and {Bread and Butter Lab}},\n" in text
    assert "  month   = mar,\n" in text
    assert "  doi     = {10.17605/X},\n" in text
    assert "  url     = {s3://bucket/brain/assy_Lab2026_rates_a.nc?versionId=xYz_9#sha256=bbb" in text


def test_names_from_outside_stay_within_their_field():
    receipt = receipt_like(
        identifier=f"X{HOSTILE}", version_id=HOSTILE, address=f"s3://{HOSTILE}", uri=f"s3://{HOSTILE}", store=HOSTILE
    )
    citation = storage_plugins.cite(receipt, authors=HOSTILE, contact=HOSTILE)
    for text in (citation.text, citation.bibtex, citation.cff):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    assert "\n" not in citation.text
    fields = citation.bibtex.splitlines()
    assert [line.split("=")[0].split() for line in fields[1:-1]] == [
        [name] for name in ("title", "author", "year", "month", "version", "url", "note")
    ]
    for line in fields[1:-1]:
        assert line.count("{") == line.count("}")
    assert "\\input" not in citation.bibtex.replace("textbackslash", "")
    assert yaml.safe_load(citation.cff)["title"].startswith("Xv1 }, title={x}")
    assert re.fullmatch(r"@misc\{[A-Za-z0-9._+-]+,", fields[0])
    compile(citation.python, "citation", "exec")
    assert len([line for line in citation.python.splitlines() if line.startswith("#")]) == 3


@pytest.mark.parametrize(
    ("authors", "contact", "expected"),
    [
        ((), None, [{"name": "The authors of Lab2026.rates_a"}]),
        ((), "data@lab.example", [{"name": "data@lab.example", "email": "data@lab.example"}]),
        ("Jane Doe", None, [{"name": "Jane Doe"}]),
        (["Doe, Jane", "Lab"], "data@lab.example", [{"family-names": "Doe", "given-names": "Jane"}, {"name": "Lab"}]),
    ],
)
def test_citation_cff_has_what_its_format_requires(authors, contact, expected):
    found = yaml.safe_load(storage_plugins.cite(receipt_like(), authors=authors, contact=contact).cff)
    assert {"cff-version", "message", "title", "authors"} <= found.keys()
    assert (found["cff-version"], found["type"], found["authors"]) == ("1.2.0", "dataset", expected)
    assert (found["version"], found["date-released"]) == ("xYz_9", "2026-03-05")
    assert "url" not in found  # the format has only http, https and ftp there
    assert [one["type"] for one in found["identifiers"]] == ["other", "other"]


@pytest.mark.parametrize("version", ["1.10", "1", "null", "true", "2026-03-05", "~"])
def test_a_version_that_looks_like_a_number_stays_text(version):
    found = yaml.safe_load(storage_plugins.cite(receipt_like(version_id=version)).cff)
    assert found["version"] == version


def test_the_python_of_a_citation_loads_exactly_that_version(store, yaml_file, assembly, monkeypatch, new_cache):
    first = store.upload(assembly, "Lab2026.rates")
    store.upload(assembly + 1, "Lab2026.rates")
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(yaml_file))
    new_cache()
    code = storage_plugins.cite(first).python
    statements = re.findall(r"(?ms)^assembly = .*?(?=^#|^\n|\Z)", code)
    assert len(statements) == 3
    names: dict[str, object] = {}
    exec("\n".join(line for line in code.splitlines() if "import" in line), names)
    for statement in statements:
        exec(statement, names)
        xr.testing.assert_equal(xr.DataArray(names["assembly"]), assembly)


@on_one_backend
def test_the_python_of_another_file_fetches_it(store, yaml_file, monkeypatch):
    Path("stimulus_hvm.zip").write_bytes(b"PK")
    store.upload_file("stimulus_hvm.zip")
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(yaml_file))
    names: dict[str, object] = {}
    exec(store.cite("stimulus_hvm.zip").python, names)
    assert names["path"].read_bytes() == b"PK"


def test_a_version_is_cited_by_any_pin_with_and_without_receipts(store, assembly):
    first = store.upload(assembly, "Lab2026.rates")
    second = store.upload(assembly + 1, "Lab2026.rates")
    for receipts in (store.receipts, type(store.receipts)(None)):
        store.receipts = receipts
        cited = {
            "newest": store.cite("Lab2026.rates").receipt,
            "id": store.cite("Lab2026.rates", version_id=first.version_id).receipt,
            "sha1": store.cite("Lab2026.rates", sha1=first.sha1).receipt,
            "sha256": store.cite("Lab2026.rates", sha256=first.sha256, version_id="another host's").receipt,
            "receipt": store.cite(first).receipt,
        }
        for by, expected in (("newest", second), ("id", first), ("sha1", first), ("sha256", first), ("receipt", first)):
            assert cited[by].sha256 == expected.sha256, by
            assert (cited[by].version_id, cited[by].uri) == (expected.version_id, expected.uri)
        with pytest.raises(storage_plugins.AssemblyNotFound):
            store.cite("Lab2026.rats")
        with pytest.raises(storage_plugins.IntegrityError, match="expected sha1 000"):  # as load
            store.cite("Lab2026.rates", sha1="0" * 40)


def test_without_any_record_the_file_is_read_for_its_hash(memory_store, assembly):
    uploader = memory_store(MemoryFiles(), receipts=False)
    receipt = uploader.upload(assembly, "X")
    for key, held in uploader.files.held.items():
        uploader.files.held[key] = [(storage_plugins.Version(version_id=one.version_id), data) for one, data in held]
    cited = memory_store(uploader.files, receipts=False, cache="elsewhere").cite("X").receipt
    assert (cited.sha256, cited.version_id, cited.size) == (receipt.sha256, receipt.version_id, receipt.size)


def test_a_receipt_needs_no_request(memory_store, assembly):
    store = memory_store(MemoryFiles())
    receipt = store.upload(assembly, "X")
    store.files.away = True
    assert store.cite("X").receipt == receipt


def test_osf_has_a_doi_and_citing_goes_on_where_it_cannot_be_asked(open_osf, project, osf, assembly):
    store = open_osf(contact="data@lab.example")
    store.upload(assembly, "X")
    assert store.cite("X").doi is None
    project.doi = "10.17605/OSF.IO/ABC12"
    citation = store.cite("X")
    assert citation.doi == "10.17605/OSF.IO/ABC12"
    assert "https://doi.org/10.17605/OSF.IO/ABC12" in citation.text
    assert yaml.safe_load(citation.cff)["doi"] == citation.doi
    elsewhere = dataclasses.replace(citation.receipt, address="osf:other")
    assert store.cite(elsewhere).doi is None


def test_a_registration_is_cited_by_its_own_doi(open_osf, osf, project, assembly):
    receipt = open_osf().upload(assembly, "X")
    registered = osf.host.register(project)
    registered.doi = "10.17605/OSF.IO/REG12"
    store = open_osf(project=None, registration=registered.id, token=None)
    citation = store.cite("X")
    assert (citation.doi, citation.receipt.sha256) == ("10.17605/OSF.IO/REG12", receipt.sha256)


@on_one_backend
def test_the_command_prints_each_form(run, store, assembly, yaml_file, monkeypatch):
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(yaml_file))
    first = store.upload(assembly, "Lab2026.rates")
    store.upload(assembly + 1, "Lab2026.rates")
    words = ("cite", "Lab2026.rates", "--version-id", first.version_id, "--author", "Doe, Jane")
    expected = store.cite("Lab2026.rates", version_id=first.version_id, authors="Doe, Jane")
    for form in ("text", "bibtex", "cff", "python"):
        assert run(*words, "--format", form).stdout == getattr(expected, form) + "\n"
    assert run(*words).stdout == expected.text + "\n"
    assert json.loads(run(*words, "--json").stdout) == expected.to_dict()
    assert "Did you mean Lab2026.rates?" in run("cite", "Lab2026.rate", code=3).stderr


def test_a_group_cites_what_its_members_have(tmp_path, assembly):
    stores = {name: {"backend": "local", "root": str(tmp_path / name)} for name in ("a", "b")}
    stores["both"] = {"backend": "group", "read": ["a", "b"], "write": "b"}
    config = {"default": "both", "stores": stores}
    receipt = storage_plugins.open_store("b", config=config).upload(assembly, "X")
    assert storage_plugins.open_store(config=config).cite("X").receipt.sha256 == receipt.sha256


def test_what_is_cited_has_its_contact(tmp_path, assembly):
    path = write_yaml(tmp_path, {"backend": "local", "root": "./a", "contact": "data@lab.example"})
    store = storage_plugins.open_store(config=path)
    store.upload(assembly, "X")
    assert store.cite("X").text.endswith("Contact: data@lab.example.")
