"""The functions that take the place of Brain-Score's, without any of Brain-Score's code."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from conftest import make_assembly

import storage_plugins
from storage_plugins import (
    AssemblyNotFound,
    ConfigError,
    EncodingError,
    IntegrityError,
    InvalidIdentifier,
    InvalidPin,
    NotSupported,
    brainscore,
)

PLACE = "their-bucket/data"


class Assembly(xr.DataArray):
    __slots__ = ()


@pytest.fixture
def routed(yaml_file, monkeypatch):
    """A storage.yaml in which a store of each backend in turn stands for a bucket."""
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(yaml_file))  # its servers are not the backends' own
    return route(yaml_file, {PLACE: "lab"})


def route(path, buckets):
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "brainscore": {"buckets": buckets}}))
    return path


@pytest.fixture
def two_stores(tmp_path):
    """A storage.yaml with two local stores and no buckets yet."""
    path = tmp_path / "storage.yaml"
    stores = {name: {"backend": "local", "root": f"./{name}"} for name in ("one", "two")}
    path.write_text(yaml.safe_dump({"default": "one", "stores": stores}))
    return path


def names_in(store):
    return storage_plugins.open_store(store).file_names() + storage_plugins.open_store(store).identifiers()


# assemblies


def test_what_was_uploaded_comes_back_by_each_order_of_the_pins(routed, assembly):
    told = brainscore.upload_data_assembly(assembly, "Lab2026.rates")
    assert {"VersionId", "sha1", "ETag", "ContentLength"} <= told.keys()
    version_id, sha1 = told["VersionId"], told["sha1"]
    calls = [
        brainscore.load_from_s3("Lab2026.rates", version_id, sha1),
        brainscore.load_from_s3("Lab2026.rates", sha1, version_id),
        brainscore.load_from_s3("Lab2026.rates", sha1),
        brainscore.load_from_s3("Lab2026.rates", None, sha1),
        brainscore.load_from_s3("Lab2026.rates", "null", sha1),
        brainscore.load_from_s3(identifier="Lab2026.rates", version_id=version_id, sha1=sha1.upper()),
        brainscore.load_from_s3(identifier="Lab2026.rates", sha1=sha1, cls=Assembly),
    ]
    for loaded in calls:
        assert loaded.attrs == {**assembly.attrs, "identifier": "Lab2026.rates"}
        np.testing.assert_array_equal(loaded.values, assembly.values)
    assert type(calls[-1]) is Assembly


def test_the_version_id_is_null_where_there_is_none(tmp_path, endpoint, assembly, new_bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    config = {"backend": "s3", "bucket": new_bucket(versioned=False)}
    (tmp_path / "storage.yaml").write_text(yaml.safe_dump({"stores": {"lab": config}}))
    told = brainscore.upload_data_assembly(assembly, "X")
    assert told["VersionId"] == "null"
    assert brainscore.load_from_s3("X", "null", told["sha1"]).shape == assembly.shape


def test_loads_are_lazy_as_brainios_are(two_stores, assembly, monkeypatch):
    pytest.importorskip("dask")
    sha1 = brainscore.upload_data_assembly(assembly, "X")["sha1"]
    assert brainscore.load_from_s3("X", sha1).chunks
    monkeypatch.setenv("BRAINIO_CHUNKS", "{'neuroid': 2}")
    assert brainscore.load_from_s3("X", sha1).chunks[1] == (2, 1)
    monkeypatch.setenv("BRAINIO_CHUNKS", "None")
    assert brainscore.load_from_s3("X", sha1).chunks is None
    monkeypatch.setenv("BRAINIO_CHUNKS", "__import__('os')")
    with pytest.raises(ConfigError, match="BRAINIO_CHUNKS"):
        brainscore.load_from_s3("X", sha1)


def test_tables_and_assemblies_among_the_attributes_are_left_out_with_one_warning(two_stores, assembly, caplog):
    rich = assembly.assign_attrs(stimulus_set=pd.DataFrame({"a": [1]}), raw=assembly, error_low=assembly.mean(), n=None)
    sha1 = brainscore.upload_data_assembly(rich, "X")["sha1"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert all(name in warnings[0] for name in ("'stimulus_set'", "'raw'", "'error_low'"))
    assert brainscore.load_from_s3("X", sha1).attrs == {"note": "made up", "n": None, "identifier": "X"}
    assert "raw" in rich.attrs


def test_another_prefix_is_another_file(two_stores, assembly):
    told = [brainscore.upload_data_assembly(assembly * n, "X", None, f"{n}_") for n in (1, 2)]
    for n, one in enumerate(told, 1):
        loaded = brainscore.load_from_s3("X", one["sha1"], None, f"{n}_")
        np.testing.assert_array_equal(loaded.values, assembly.values * n)


@pytest.mark.parametrize("indexed", [True, False])
def test_stimulus_id_is_made_from_image_id(two_stores, assembly, indexed):
    plain = assembly.reset_index(["presentation", "neuroid"]).rename(stimulus_id="image_id")
    old = plain.set_index(presentation=["image_id", "repetition"]) if indexed else plain
    sha1 = brainscore.upload_data_assembly(old, "X")["sha1"]
    loaded = brainscore.load_assembly_from_s3("X", "null", sha1, None, Assembly)
    assert list(loaded["stimulus_id"].values) == list("aabbcc")
    assert list(loaded["image_id"].values) == list("aabbcc")


def test_a_class_that_brainscore_does_not_have_is_refused(two_stores, assembly):
    sha1 = brainscore.upload_data_assembly(assembly, "X")["sha1"]
    with pytest.raises((EncodingError, NotSupported), match="NeuroidAssemblie"):
        brainscore.load_from_s3("X", sha1, cls="NeuroidAssemblie")


def test_a_pin_that_is_no_hash_and_a_hash_that_is_not_there_are_refused(two_stores, assembly):
    brainscore.upload_data_assembly(assembly, "X")
    with pytest.raises(InvalidPin):
        brainscore.load_from_s3("X", sha1="xyz")
    with pytest.raises((AssemblyNotFound, IntegrityError)):
        brainscore.load_from_s3("X", sha1="0" * 40)


def test_stimulus_metadata_is_merged_by_stimulus_id(two_stores, assembly):
    sha1 = brainscore.upload_data_assembly(assembly, "X")["sha1"]
    stimuli = pd.DataFrame({"stimulus_id": list("cba"), "word": ["sea", "bee", "ay"], "repetition": [7, 7, 7]})
    stimuli.attrs = {}
    stimuli = stimuli.pipe(with_identifier, "letters")
    loaded = brainscore.load_assembly_from_s3("X", None, sha1, None, Assembly, lambda: stimuli)
    assert list(loaded["word"].values) == ["ay", "ay", "bee", "bee", "sea", "sea"]
    assert list(loaded["repetition"].values) == [0, 1, 0, 1, 0, 1]  # the assembly's own
    assert loaded.attrs["stimulus_set_identifier"] == "letters"
    assert loaded.attrs["stimulus_set"] is stimuli
    bare = brainscore.load_assembly_from_s3("X", None, sha1, None, Assembly, lambda: stimuli, False)
    assert "word" not in bare.coords
    assert bare.attrs["stimulus_set"] is stimuli


class Stimuli(pd.DataFrame):
    _metadata = ("identifier",)


def with_identifier(table, identifier):
    made = Stimuli(table)
    made.identifier = identifier
    return made


def test_a_stimulus_set_that_does_not_match_the_assembly_is_refused(two_stores, assembly):
    sha1 = brainscore.upload_data_assembly(assembly.reset_index("presentation", drop=True), "X")["sha1"]
    stimuli = with_identifier(pd.DataFrame({"stimulus_id": ["a", "a"]}), "twice")
    with pytest.raises(EncodingError, match="no coordinate 'stimulus_id'"):
        brainscore.load_assembly_from_s3("X", None, sha1, None, None, lambda: stimuli)
    sha1 = brainscore.upload_data_assembly(assembly, "Y")["sha1"]
    with pytest.raises(EncodingError, match=r"stimulus 'a' is in the stimulus set of .* more than once"):
        brainscore.load_assembly_from_s3("Y", None, sha1, None, None, lambda: stimuli)


# files


def test_a_file_goes_up_and_comes_back_byte_for_byte(routed, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"stimulus_id\n1\n")
    told = brainscore.upload_to_s3(tmp_path / "a.csv", PLACE, "stimulus_a.csv")
    assert told["sha1"] == hashlib.sha1(b"stimulus_id\n1\n").hexdigest()
    assert told["ContentLength"] == 14
    bucket, folder = PLACE.split("/")
    told_again = brainscore.upload_to_s3(str(tmp_path / "a.csv"), bucket, f"{folder}/stimulus_a.csv")
    assert told_again["VersionId"] == told["VersionId"]
    for location in (
        "https://their-bucket.s3.amazonaws.com/data/stimulus_a.csv",
        "https://their-bucket.s3.us-east-2.amazonaws.com/data/stimulus_a.csv",
        "https://their-bucket.s3-us-east-2.amazonaws.com/data/stimulus_a.csv",
        "https://s3.amazonaws.com/their-bucket/data/stimulus_a.csv",
        "https://s3-us-east-2.amazonaws.com/their-bucket/data/stimulus_a.csv",
        "s3://their-bucket/data/stimulus_a.csv",
    ):
        for pins in ({"sha1": told["sha1"]}, {"version_id": told["VersionId"]}, told_pins(told), {}):
            path = brainscore.fetch_file("S3", location, **pins)
            assert isinstance(path, str)
            assert Path(path).read_bytes() == b"stimulus_id\n1\n"


def told_pins(told):
    return {"sha1": told["sha1"], "version_id": told["VersionId"]}


@pytest.mark.parametrize(
    "location",
    ["https://bucket.s3.amazonaws.com/", "https://s3.amazonaws.com/bucket", "nothing", "", "s3://bucket"],
)
def test_a_location_without_bucket_or_file_is_refused(two_stores, location):
    with pytest.raises(InvalidIdentifier):
        brainscore.fetch_file("S3", location)


def test_another_type_of_location_is_refused(two_stores):
    with pytest.raises(NotImplementedError, match="Zenodo"):
        brainscore.fetch_file("Zenodo", "https://zenodo.org/1")


@pytest.mark.parametrize("key", ["../up.nc", "a/../../b.nc", "..", "a/..", "a b.nc", ".hidden", ""])
def test_no_name_leaves_the_store(two_stores, tmp_path, key):
    route(two_stores, {"*": "one"})
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(InvalidIdentifier):
        brainscore.upload_to_s3(tmp_path / "a", "b", key)


# routing


@pytest.mark.parametrize(
    ("bucket", "store"),
    [
        ("a", "one"),
        ("a/", "one"),
        ("a/b", "one"),
        ("a/b/c", "two"),
        ("a/b/c/d", "two"),
        ("a/bb", "one"),
        ("a/x/y", "one"),
        ("a/x", "two"),
        ("brainscore-language", "two"),
        ("brainscore-storage/brainscore-language", "two"),
        ("brainscore-storage", "two"),
        ("brainio-brainscore", "one"),
        ("brainscore-storage/brainio-brainscore", "one"),
        ("brainscore-vision/benchmarks/Papale2025", "two"),
        ("brainscore-storage/brainscore-vision/benchmarks/Papale2025", "two"),
    ],
)
def test_the_exact_bucket_wins_then_the_longest_pattern(two_stores, assembly, bucket, store):
    route(
        two_stores,
        {
            "a/*": "one",
            "a/b/c/*": "two",
            "a/b/*": "one",
            "a/x": "two",
            "brainscore-language": "two",
            "brainscore-storage/brainio-brainscore": "one",
            "brainscore-storage/brainscore-vision/*": "two",
        },
    )
    sha1 = brainscore.upload_data_assembly(assembly, "X", bucket)["sha1"]
    assert names_in(store) == ["X"]
    read = "brainscore-language" if bucket == "brainscore-storage" else bucket
    assert brainscore.load_from_s3("X", sha1, bucket=read).shape == assembly.shape


def test_a_group_may_stand_for_a_bucket(two_stores, assembly, tmp_path):
    values = yaml.safe_load(two_stores.read_text())
    values["stores"]["all"] = {"backend": "group", "read": ["one", "two"], "write": "one"}
    two_stores.write_text(yaml.safe_dump(values))
    route(two_stores, {"*": "all"})
    old = storage_plugins.open_store("two").upload(assembly, "Old")
    assert brainscore.load_from_s3("Old", old.version_id, old.sha1, bucket="any").shape == assembly.shape
    path = brainscore.fetch_file("S3", "https://any.s3.amazonaws.com/assy_Old.nc", old.sha1)
    assert brainscore.upload_to_s3(path, "any", "assy_New.nc")["sha1"] == old.sha1
    assert brainscore.upload_data_assembly(assembly * 2, "Newer", "any")["VersionId"]
    assert set(names_in("one")) == {"New", "Newer"}


def test_no_bucket_is_the_default_store(two_stores, assembly, monkeypatch):
    route(two_stores, {"*": "two"})
    brainscore.upload_data_assembly(assembly, "X")
    assert names_in("one") == ["X"]
    monkeypatch.setenv("STORAGE_PLUGINS_STORE", "two")
    brainscore.upload_data_assembly(assembly, "Y")
    assert names_in("two") == ["Y"]


def test_a_bucket_that_is_not_named_is_that_bucket_on_s3(
    two_stores, assembly, bucket, endpoint, s3_client, monkeypatch, caplog
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    caplog.set_level(logging.INFO)
    told = brainscore.upload_data_assembly(assembly, "X", f"{bucket}/data/more")
    head = s3_client.head_object(Bucket=bucket, Key="data/more/assy_X.nc")
    assert (told["VersionId"], told["ContentLength"]) == (head["VersionId"], head["ContentLength"])
    assert any(bucket in message and "storage.yaml" in message for message in caplog.messages)
    assert not names_in("one")
    assert (two_stores.parent / "receipts" / "assy_X.nc").is_dir()
    assert (
        brainscore.load_from_s3("X", version_id=told["VersionId"], bucket=f"{bucket}/data/more").shape == assembly.shape
    )


def test_a_bucket_that_a_store_is_opens_with_that_stores_settings(tmp_path, assembly, bucket, endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    ours = {"backend": "s3", "bucket": f"{bucket}/data", "contact": "data@lab.example", "profile": "nobody"}
    (tmp_path / "storage.yaml").write_text(yaml.safe_dump({"stores": {"ours": ours}}))
    with pytest.raises(storage_plugins.StorageError, match="nobody"):
        brainscore.upload_data_assembly(assembly, "X", f"{bucket}/data")


def test_without_any_yaml_it_is_brainscores_bucket_and_never_this_computer(
    assembly, aws_credentials, endpoint, s3_client, monkeypatch, home
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(storage_plugins.StorageError, match="brainscore-storage/brainscore-language"):
        brainscore.upload_data_assembly(assembly, "X")
    with pytest.raises(storage_plugins.StorageError, match="brainscore-storage/brainscore-language"):
        brainscore.load_from_s3("X", "0" * 40)
    assert not (home / ".local").exists()


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("brainscore: 1", 5, "not a mapping"),
        ("brainscore:\n  bucket: {a: one}", 6, "Did you mean 'buckets'"),
        ("brainscore:\n  buckets: one", 6, "not a mapping"),
        ("brainscore:\n  buckets:\n    a: one\n    b: tow", 8, "Did you mean 'two'"),
        ("brainscore:\n  buckets:\n    a: [one]", 7, "there is no store"),
        ("brainscore:\n  buckets:\n    'a*': one", 7, "a\\*"),
        ("brainscore:\n  buckets:\n    'a/*/b': one", 7, "is not a bucket"),
        ("brainscore:\n  buckets:\n    'a/': one", 7, "is not a bucket"),
        ("brainscore:\n  buckets:\n    a: one\n    a: two", 8, "defined twice"),
        ("brainscor: {}", 5, "Did you mean 'brainscore'"),
    ],
)
def test_mistakes_in_the_yaml_are_told_with_their_line(two_stores, text, line, told):
    two_stores.write_text(
        "default: one\nstores:\n  one: {backend: local, root: ./one}\n  two: {backend: local, root: ./two}\n" + text
    )
    with pytest.raises(ConfigError, match=told) as caught:
        brainscore.load_from_s3("X", "0" * 40)
    assert f"storage.yaml:{line}: " in str(caught.value)


def test_make_assembly_is_not_changed_by_an_upload(two_stores):
    given, same = make_assembly(), make_assembly()
    brainscore.upload_data_assembly(given, "X")
    xr.testing.assert_identical(given, same)
