"""Several stores behind one line of YAML: the hash decides, one member's trouble does not stop the next."""

import pickle

import pytest
import xarray as xr
import yaml
from conftest import OSF_TOKEN, make_assembly

import storage_plugins
from storage_plugins import AccessDenied, AssemblyNotFound, ConfigError, IntegrityError, NotSupported, StoreUnavailable
from storage_plugins._copies.cache import Cache


@pytest.fixture
def open_group(tmp_path):
    """Open the group of two folders, as on a new machine or not, and either member by its name."""
    stores = {
        "public": {"backend": "local", "root": "./public"},
        "private": {"backend": "local", "root": "./private"},
        "all": {"backend": "group", "read": ["public", "private"], "write": "private"},
    }

    def open_group(name="all", *, receipts=True, **changes):
        text = yaml.safe_dump({"default": "all", "receipts": receipts, "stores": {**stores, **changes}})
        (tmp_path / "storage.yaml").write_text(text)
        return storage_plugins.open_store(name, config=tmp_path / "storage.yaml")

    return open_group


def test_a_group_loads_what_any_member_has_and_uploads_to_one(open_group):
    in_public = open_group("public").upload(make_assembly(1), "X")
    in_private = open_group().upload(make_assembly(2), "Y")
    assert in_private.store == "private"
    group = open_group()
    for name, receipt, seed in (("X", in_public, 1), ("Y", in_private, 2)):
        for pin in ({}, {"sha1": receipt.sha1}, {"sha256": receipt.sha256}, {"version_id": receipt.version_id}):
            xr.testing.assert_identical(group.load(name, **pin), make_assembly(seed))
        xr.testing.assert_identical(group.load(receipt), make_assembly(seed))
    assert group.identifiers() == ["X", "Y"]
    assert open_group("public").identifiers() == ["X"]


def test_the_hash_decides_which_members_version_is_meant(open_group):
    old = open_group("public").upload(make_assembly(1), "X")
    new = open_group("private").upload(make_assembly(2), "X")
    group = open_group(receipts=False)
    xr.testing.assert_identical(group.load("X", sha1=old.sha1), make_assembly(1))
    xr.testing.assert_identical(group.load("X", sha1=new.sha1), make_assembly(2))
    assert [version.sha1 for version in group.versions("X")] == [new.sha1, old.sha1]


@pytest.mark.parametrize("receipts", [True, False])
@pytest.mark.parametrize("order", [["public", "private"], ["private", "public"]])
def test_without_a_pin_the_newest_of_all_members_is_meant(open_group, receipts, order):
    for name, seed in zip(order, (1, 2), strict=True):
        open_group(name, receipts=receipts).upload(make_assembly(seed), "X")
    group = open_group(receipts=receipts)
    xr.testing.assert_identical(group.load("X"), make_assembly(2))
    xr.testing.assert_identical(group.load("X", newest=True), make_assembly(2))


def test_the_same_bytes_in_two_members_are_one_version(open_group):
    for name in ("public", "private"):
        open_group(name).upload(make_assembly(1), "X")
    assert len(open_group().versions("X")) == 1


def test_other_files_and_extras(open_group, tmp_path):
    (tmp_path / "f.csv").write_text("a,b\n")
    open_group("public").upload_file(tmp_path / "f.csv")
    open_group().upload_file(tmp_path / "f.csv", "g.csv")
    open_group().upload(make_assembly(1), "X", extras={"more": make_assembly(2)})
    group = open_group()
    assert group.file_names() == ["f.csv", "g.csv"]
    for name in group.file_names():
        assert group.fetch(name).read_text() == "a,b\n"
        assert group.fetch(name, newest=True).read_text() == "a,b\n"
    xr.testing.assert_identical(group.load_extras("X")["more"], make_assembly(2))


@pytest.mark.parametrize(
    "member",
    [
        {"backend": "s3", "bucket": "nobody", "endpoint_url": "http://127.0.0.1:9"},
        {"backend": "no-such-backend"},
        {"backend": "local", "rot": "./misspelt"},
        {"backend": "osf", "project": "abc12", "api_url": "http://127.0.0.1:9/v2/"},
    ],
    ids=["out of reach", "no plugin", "mistake", "osf away"],
)
def test_a_member_in_trouble_does_not_stop_the_next(open_group, member, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    receipt = open_group("private").upload(make_assembly(1), "X")
    group = open_group(public=member)
    xr.testing.assert_identical(group.load("X", sha1=receipt.sha1), make_assembly(1))
    assert group.identifiers() == ["X"]
    with pytest.raises(storage_plugins.StorageError):
        group.load("Y", newest=True)


def test_what_says_most_is_told_where_no_member_has_it(open_group, monkeypatch, open_lab, home, endpoint, bucket):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(AssemblyNotFound):
        open_group().load("X")
    with pytest.raises(StoreUnavailable):
        open_group(public={"backend": "s3", "bucket": "b-b", "endpoint_url": "http://127.0.0.1:9"}).load("X")
    open_lab().upload(make_assembly(1), "X")
    (home / ".aws" / "credentials").unlink()
    private = {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": endpoint, "contact": "data@lab.example"}
    with pytest.raises(AccessDenied, match=r"Ask data@lab\.example"):
        open_group(public=private).load("X")
    open_group("public").upload(make_assembly(1), "X")
    with pytest.raises(IntegrityError):
        open_group(receipts=False).load("X", sha1="0" * 40)


def test_a_group_without_write_is_for_reading(open_group):
    group = open_group(all={"backend": "group", "read": ["public"]})
    with pytest.raises(NotSupported, match="read-only"):
        group.upload(make_assembly(1), "X")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"read": ["publik"]}, r"Did you mean 'public'"),
        ({"read": ["public"], "write": "privat"}, "the store 'privat'"),
        ({"read": [""]}, "the store ''"),
        ({"read": ["public"], "write": ""}, "the store ''"),
        ({"read": ["all"]}, "is a group itself"),
        ({"read": []}, "read"),
        ({"read": "public"}, "read"),
        ({}, "read"),
        ({"read": ["public"], "wirte": "private"}, "wirte"),
    ],
)
def test_mistakes_are_told_with_file_and_line(open_group, settings, told):
    with pytest.raises(ConfigError, match=told) as caught:
        open_group(all={"backend": "group", **settings})
    assert "storage.yaml:" in str(caught.value)


def test_a_group_is_pickled_without_secrets_and_loads_elsewhere(open_group, osf, project, tmp_path, monkeypatch):
    monkeypatch.setenv("OSF_TOKEN", OSF_TOKEN)
    place = {"backend": "osf", "project": project.id, "api_url": osf.api_url, "token": "${OSF_TOKEN}"}
    group = open_group(private=place)
    receipt = group.upload(make_assembly(1), "X")
    assert receipt.address.startswith("osf:")
    state = pickle.dumps(group)
    assert OSF_TOKEN.encode() not in state
    other = pickle.loads(state)
    other._member("private").cache = Cache([tmp_path / "elsewhere"])
    xr.testing.assert_identical(other.load(receipt), make_assembly(1))


def test_lazily_loaded_assemblies_fetch_themselves_through_the_group(open_group):
    pytest.importorskip("dask")
    open_group().upload(make_assembly(1), "X")
    lazy = pickle.loads(pickle.dumps(open_group().load("X", chunks={})))
    xr.testing.assert_identical(lazy.compute(), make_assembly(1))
