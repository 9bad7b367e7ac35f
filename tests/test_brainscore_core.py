"""The unmodified brainscore_core and brainscore_language over our stores. Runs where brainscore_core is installed."""

import importlib
import logging
import os
import pickle
import shutil
import subprocess
import sys
import types
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from conftest import OSF_TOKEN, make_assembly

pytest.importorskip("brainscore_core")

from brainscore_core.metrics import Score
from brainscore_core.supported_data_standards.brainio import fetch, packaging, s3
from brainscore_core.supported_data_standards.brainio.assemblies import (
    BehavioralAssembly,
    DataAssembly,
    NeuroidAssembly,
    PropertyAssembly,
    SpikeTimesAssembly,
)
from brainscore_core.supported_data_standards.brainio.stimuli import StimulusSet

import storage_plugins
from storage_plugins import brainscore

BUCKET = "brainscore-storage/brainio-brainscore"
BUCKETS = ("one-bucket", "one-bucket/folder", "one-bucket/folder/deeper")


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch, aws_credentials, endpoint):
    """A machine of its own for BrainIO too, whose S3 is the test's server."""
    monkeypatch.setattr(fetch, "_local_data_path", str(tmp_path / "brainio"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def installed():
    brainscore.install()
    yield
    brainscore.uninstall()


@pytest.fixture
def routed(yaml_file, monkeypatch):
    """A storage.yaml in which a store of each backend in turn stands for all buckets."""
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(yaml_file))  # its servers are not the backends' own
    yaml_file.write_text(
        yaml.safe_dump({**yaml.safe_load(yaml_file.read_text()), "brainscore": {"buckets": {"*": "lab"}}})
    )


@pytest.fixture
def their_bucket(s3_client):
    """The bucket that Brain-Score's data plugins name."""
    name = "brainscore-storage"
    s3_client.create_bucket(Bucket=name)
    s3_client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield name
    empty(s3_client, name)
    s3_client.delete_bucket(Bucket=name)


def empty(s3_client, name):
    for version in s3_client.list_object_versions(Bucket=name).get("Versions", []):
        s3_client.delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])


@pytest.fixture
def new_machine(new_cache, tmp_path, monkeypatch):
    """Forget what was downloaded, ours and BrainIO's."""

    def switch():
        cache = new_cache()
        monkeypatch.setattr(fetch, "_local_data_path", str(cache / "brainio"))

    return switch


def neural():
    return NeuroidAssembly(make_assembly().rename(None))


def stimuli(folder, count=3):
    """A stimulus set of made-up images."""
    folder.mkdir(exist_ok=True)
    names = list("abc")[:count]
    for name in names:
        (folder / f"{name}.png").write_bytes(name.encode() * 100)
    made = StimulusSet(
        pd.DataFrame({"stimulus_id": names, "word": [f"word {name}" for name in names], "n": range(count)})
    )
    made.stimulus_paths = {name: folder / f"{name}.png" for name in names}
    made.identifier = "Lab.letters"
    return made


def package(folder, bucket=BUCKET, assembly=None, identifier="Lab2026.rates", cls="NeuroidAssembly"):
    """Upload an assembly and its stimulus set by Brain-Score's own code; return the pins of each."""
    told = packaging.package_stimulus_set(None, stimuli(folder / "images"), "Lab.letters", bucket_name=bucket)
    pins = packaging.package_data_assembly(
        None, neural() if assembly is None else assembly, identifier, "Lab.letters", cls, bucket
    )
    return pins, told


# the switch


def test_install_rebinds_and_uninstall_gives_back():
    before = fetch.fetch_file, s3.fetch_file, packaging.upload_to_s3, s3.unzip, fetch.unzip
    brainscore.install()
    brainscore.install()
    now = fetch.fetch_file, s3.fetch_file, packaging.upload_to_s3, s3.unzip, fetch.unzip
    assert [new is old for new, old in zip(now, before, strict=True)] == [False, False, False, False, True]
    assert fetch.fetch_file is s3.fetch_file
    assert pickle.loads(pickle.dumps(fetch.fetch_file)) is fetch.fetch_file
    brainscore.uninstall()
    assert (fetch.fetch_file, s3.fetch_file, packaging.upload_to_s3, s3.unzip, fetch.unzip) == before


def test_modules_that_have_imported_the_functions_already_follow(monkeypatch):
    plugin = types.ModuleType("some_plugin")
    plugin.renamed, plugin.own = packaging.upload_to_s3, lambda: None
    original, own = packaging.upload_to_s3, plugin.own
    monkeypatch.setitem(sys.modules, "some_plugin", plugin)

    def theirs(source, bucket, key):
        return plugin.renamed(source, bucket, key)

    packaging.upload_to_s3 = theirs  # as a plugin of brainscore_vision does
    try:
        brainscore.install()
        assert packaging.upload_to_s3 is theirs
        assert plugin.renamed is not original
        assert plugin.own is own
    finally:
        brainscore.uninstall()
        packaging.upload_to_s3 = original
    assert plugin.renamed is original


SITE = "import storage_plugins.brainscore\nstorage_plugins.brainscore.install()\n"
PROBE = """
import sys
heavy = [name for name in ("numpy", "xarray", "pandas", "yaml", "pydantic", "boto3") if name in sys.modules]
assert not heavy, heavy
from brainscore_core.supported_data_standards.brainio import fetch, packaging, s3
for function in (fetch.fetch_file, s3.fetch_file, packaging.upload_to_s3, s3.unzip):
    assert function.__wrapped__
assert fetch.__loader__.get_source(fetch.__name__) and fetch.__spec__.loader is fetch.__loader__
"""


def test_a_line_in_sitecustomize_is_enough_and_light(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# through our stores


def test_what_brainscore_packages_its_own_loaders_read_back(routed, installed, tmp_path, new_machine):
    pins, told = package(tmp_path)
    new_machine()

    def stimulus_set():
        return s3.load_stimulus_set_from_s3(**told)

    pins["cls"] = NeuroidAssembly
    loaded = s3.load_assembly_from_s3(**pins, stimulus_set_loader=stimulus_set)
    assert isinstance(loaded, NeuroidAssembly)
    np.testing.assert_array_equal(loaded.values, neural().values)
    assert list(loaded["word"].values) == ["word a", "word a", "word b", "word b", "word c", "word c"]
    assert loaded.attrs["identifier"] == "Lab2026.rates"
    assert loaded.attrs["stimulus_set"].get_stimulus("a").read_bytes() == b"a" * 100
    assert loaded.chunks
    ours = brainscore.load_assembly_from_s3(**pins, stimulus_set_loader=stimulus_set)
    same(ours, loaded)
    for form in (
        {"stimulus_set_loader": stimulus_set, "merge_stimulus_set_meta": False},
        {"stimulus_set_loader": None},
        {},
    ):
        theirs = s3.load_assembly_from_s3(**pins, **form)
        same(brainscore.load_assembly_from_s3(**pins, **form), theirs)
    theirs = s3.load_stimulus_set_from_s3(**told, filename_prefix="stimulus_")
    ours = brainscore.load_stimulus_set_from_s3(**told)
    pd.testing.assert_frame_equal(ours, theirs)
    assert type(ours) is StimulusSet
    assert ours.stimulus_paths == theirs.stimulus_paths


def same(ours, theirs):
    """Both are the same assembly, down to the order of the levels."""
    attrs = [dict(one.attrs) for one in (ours, theirs)]
    tables = [one.pop("stimulus_set", None) for one in attrs]
    assert (tables[0] is None) == (tables[1] is None)
    if tables[0] is not None:
        pd.testing.assert_frame_equal(*tables)
    assert attrs[0] == attrs[1]
    assert type(ours) is type(theirs)
    xr.testing.assert_identical(bare(ours), bare(theirs))
    for dim in ours.dims:
        assert ours.indexes[dim].names == theirs.indexes[dim].names


def bare(assembly):
    """Without attributes, and with the name that BrainIO gives to all; ours keeps the one it was uploaded with."""
    plain = assembly.compute().rename("data")
    plain.attrs = {}
    return plain


@pytest.mark.parametrize("named", BUCKETS)
def test_every_form_of_pin_and_bucket_loads(routed, installed, tmp_path, new_machine, named):
    pins, told = package(tmp_path, named)
    pins |= {"cls": NeuroidAssembly, "bucket": named}
    told |= {"bucket": named}
    for version_id in (pins["version_id"], "null", None, "", "an-id-of-another-host"):
        new_machine()
        given = {**pins, "version_id": version_id}
        positional = [given[name] for name in ("identifier", "version_id", "sha1", "bucket", "cls")]
        of_stimuli = {**told, "csv_version_id": version_id, "zip_version_id": version_id}
        for loaded in (
            s3.load_assembly_from_s3(**given),
            s3.load_assembly_from_s3(*positional),
            brainscore.load_assembly_from_s3(*positional),
        ):
            np.testing.assert_array_equal(loaded.values, neural().values)
        assert len(s3.load_stimulus_set_from_s3(**of_stimuli)) == 3
    del pins["version_id"]  # which BrainIO's own function insists on
    np.testing.assert_array_equal(brainscore.load_assembly_from_s3(**pins).values, neural().values)


def behavioral():
    return BehavioralAssembly(
        [["dog"], ["cat"], ["dog"]],
        coords={
            "stimulus_id": ("presentation", list("abc")),
            "truth": ("presentation", ["dog", "cat", "cat"]),
            "choice": ("choice", ["x"]),
        },
        dims=["presentation", "choice"],
    )


def properties_of_neurons():
    return PropertyAssembly(
        [[0.5, 1.5], [2.5, np.nan]],
        coords={
            "neuroid_id": ("neuroid", [1, 2]),
            "region": ("neuroid", ["V1", "V1"]),
            "neuronal_property": ["size", "bandwidth"],
        },
        dims=["neuroid", "neuronal_property"],
    )


texts_by_brainio = pytest.mark.skipif(
    tuple(map(int, netCDF4.__version__.split(".")[:2])) < (1, 7), reason="BrainIO cannot write texts with this netCDF4"
)


@pytest.mark.parametrize("make", [neural, pytest.param(behavioral, marks=texts_by_brainio), properties_of_neurons])
def test_every_class_comes_back(routed, installed, tmp_path, new_machine, make):
    given = make()
    pins = packaging.package_data_assembly(None, given, "Lab.X", "Lab.letters", type(given).__name__, BUCKET)
    new_machine()
    pins["cls"] = type(given)
    theirs = s3.load_assembly_from_s3(**pins)
    assert type(theirs) is type(given)
    np.testing.assert_array_equal(theirs.values, given.values)
    same(brainscore.load_assembly_from_s3(**pins), theirs)
    by_name = brainscore.load_assembly_from_s3(**{**pins, "cls": type(given).__name__})
    same(by_name, theirs)


def score():
    made = Score([0.31, 0.05], coords={"aggregation": ["center", "error"]}, dims=["aggregation"])
    made.attrs["raw"] = Score([0.3, 0.4], coords={"neuroid_id": ("neuroid", [1, 2])}, dims=["neuroid"])
    made.attrs["error_low"] = xr.DataArray(0.02)
    made.attrs["note"] = "kept"
    return made


def test_a_score_goes_up_without_its_raw_values_and_comes_back_a_score(routed, caplog):
    told = brainscore.upload_data_assembly(score(), "Lab.X", BUCKET, "ceiling_")
    said = [record for record in caplog.records if record.name.startswith("storage_plugins.brainscore")]
    assert len([record for record in said if record.levelno == logging.WARNING]) == 1
    raw = brainscore.upload_data_assembly(score().raw, "Lab.X", BUCKET, "ceiling_raw_")
    for cls in (Score, "Score"):
        loaded = brainscore.load_from_s3("Lab.X", told["VersionId"], told["sha1"], "ceiling_", cls, bucket=BUCKET)
        assert type(loaded) is Score
        assert loaded.attrs == {"note": "kept", "identifier": "Lab.X"}
        assert loaded.sel(aggregation="center").values == 0.31
    assert brainscore.load_from_s3("Lab.X", raw["sha1"], None, "ceiling_raw_", Score, bucket=BUCKET).shape == (2,)


def test_extras_are_kept(routed, installed, new_machine):
    events = SpikeTimesAssembly(
        [0.1, 0.2], coords={"neuroid_id": ("event", ["a", "b"]), "n": ("event", [1, 2])}, dims=["event"]
    )
    pins = packaging.package_data_assembly(
        None, events, "Lab.X", "Lab.letters", "SpikeTimesAssembly", BUCKET, {"meta": DataAssembly(events * 2)}
    )
    new_machine()
    path = s3.get_path("Lab.X", "nc", BUCKET, pins["version_id"], pins["sha1"])
    np.testing.assert_array_equal(SpikeTimesAssembly.from_files(path).attrs["meta"].values, [0.2, 0.4])


# beside BrainIO alone, on S3


def test_what_brainio_alone_uploaded_we_load(their_bucket, tmp_path, new_machine, endpoint):
    path = tmp_path / "assy_Lab2026_rates.nc"
    sha1 = packaging.write_netcdf(neural(), path)
    told = packaging.upload_to_s3(path, their_bucket, "brainio-brainscore/assy_Lab2026_rates.nc")
    new_machine()
    store = storage_plugins.open_store(config={"stores": {"a": {"backend": "s3", "bucket": BUCKET}}})
    for pins in ({"sha1": sha1}, {"version_id": told["VersionId"]}, {}):
        loaded = store.load("Lab2026.rates", **pins, cls=NeuroidAssembly)
        np.testing.assert_array_equal(loaded.values, neural().values)
    assert store.versions("Lab2026.rates")[0].version_id == told["VersionId"]
    drop_in = brainscore.load_assembly_from_s3("Lab2026.rates", told["VersionId"], sha1, BUCKET, NeuroidAssembly)
    same(drop_in, s3.load_assembly_from_s3("Lab2026.rates", told["VersionId"], sha1, BUCKET, NeuroidAssembly))


def test_what_we_uploaded_brainio_alone_loads(their_bucket, tmp_path, new_machine):
    ours = brainscore.upload_data_assembly(neural(), "Lab2026.rates", BUCKET)
    brainscore.install()
    _, told = package(tmp_path, BUCKET, identifier="Lab2026.other")
    brainscore.uninstall()
    new_machine()
    loaded = s3.load_assembly_from_s3("Lab2026.rates", ours["VersionId"], ours["sha1"], BUCKET, NeuroidAssembly)
    np.testing.assert_array_equal(loaded.values, neural().values)
    same(brainscore.load_assembly_from_s3("Lab2026.rates", None, ours["sha1"], BUCKET, NeuroidAssembly), loaded)
    path = s3.get_path(
        "Lab2026.rates", "nc", their_bucket, ours["VersionId"], ours["sha1"], folder_name="brainio-brainscore"
    )
    assert packaging.sha1_hash(path) == ours["sha1"]
    assert len(s3.load_stimulus_set_from_s3(**told)) == 3


# the switch from host to host


def data_plugins(pins):
    """Thirty call sites, in the styles of the data plugins of vision and language."""
    sites = []
    for (identifier, bucket), (assembly, told) in pins.items():

        def stimulus_set(told=told):
            return s3.load_stimulus_set_from_s3(
                identifier=told["identifier"],
                bucket=told["bucket"],
                csv_sha1=told["csv_sha1"],
                zip_sha1=told["zip_sha1"],
                csv_version_id=told["csv_version_id"],
                zip_version_id=told["zip_version_id"],
            )

        version_id, sha1 = assembly["version_id"], assembly["sha1"]
        sites += [
            lambda i=identifier, b=bucket, v=version_id, h=sha1, s=stimulus_set: s3.load_assembly_from_s3(
                identifier=i, version_id=v, sha1=h, bucket=b, cls=NeuroidAssembly, stimulus_set_loader=s
            ),
            lambda i=identifier, b=bucket, v=version_id, h=sha1, s=stimulus_set: s3.load_assembly_from_s3(
                identifier=i,
                version_id=v,
                sha1=h,
                bucket=b,
                cls=NeuroidAssembly,
                stimulus_set_loader=s,
                merge_stimulus_set_meta=False,
            ),
            lambda i=identifier, b=bucket, h=sha1: s3.load_assembly_from_s3(
                identifier=i, version_id="null", sha1=h, bucket=b, cls=DataAssembly
            ),
            lambda i=identifier, b=bucket, h=sha1: s3.load_assembly_from_s3(i, "", h, b, NeuroidAssembly),
            lambda i=identifier, b=bucket, h=sha1: xr.open_dataarray(
                fetch.fetch_file(
                    location_type="S3",
                    location=f"https://{b.split('/')[0]}.s3.amazonaws.com/"
                    f"{b.partition('/')[2]}/assy_{i.replace('.', '_')}.nc",
                    sha1=h,
                )
            ),
            stimulus_set,
        ]
    return sites


def test_thirty_call_sites_load_from_s3_then_a_mirror_then_osf(
    their_bucket, installed, tmp_path, new_machine, project, osf, s3_client
):
    places = [
        "",
        "/brainio-brainscore",
        "/brainscore-language",
        "/brainscore-vision/benchmarks/A",
        "/brainscore-vision/benchmarks/B",
    ]
    pins = {}
    path = tmp_path / "storage.yaml"
    stores = {
        "mirror": {"backend": "local", "root": "./mirror"},
        "ours": {"backend": "osf", "project": project.id, "token": OSF_TOKEN, "api_url": osf.api_url},
    }
    stores |= {f"s{n}": {"backend": "s3", "bucket": f"{their_bucket}{place}"} for n, place in enumerate(places)}
    path.write_text(yaml.safe_dump({"default": "ours", "stores": stores}))
    for n, place in enumerate(places):
        (tmp_path / f"{n}").mkdir()
        assembly = neural() + n
        told = packaging.package_stimulus_set(
            None, stimuli(tmp_path / f"{n}" / "images"), f"Lab.letters{n}", bucket_name=f"{their_bucket}{place}"
        )
        packed = packaging.package_data_assembly(
            None, assembly, f"Lab2026.rates{n}", f"Lab.letters{n}", "NeuroidAssembly", f"{their_bucket}{place}"
        )
        pins[f"Lab2026.rates{n}", f"{their_bucket}{place}"] = packed, told
    sites = data_plugins(pins)
    assert len(sites) == 30

    def load_all():
        new_machine()
        return [loaded if isinstance(loaded, StimulusSet) else loaded.values for loaded in (site() for site in sites)]

    def same_as(before):
        return all(
            one.equals(other) if isinstance(one, StimulusSet) else np.array_equal(one, other)
            for one, other in zip(load_all(), before, strict=True)
        )

    on_s3 = load_all()
    for n in range(len(places)):
        assert storage_plugins.mirror(f"s{n}", "mirror").complete
    empty(s3_client, their_bucket)
    path.write_text(yaml.safe_dump({"default": "ours", "stores": stores, "brainscore": {"buckets": {"*": "mirror"}}}))
    assert same_as(on_s3)
    assert storage_plugins.mirror("mirror", "ours").complete
    shutil.rmtree(tmp_path / "mirror")
    path.write_text(yaml.safe_dump({"default": "ours", "stores": stores, "brainscore": {"buckets": {"*": "ours"}}}))
    assert same_as(on_s3)
    osf_store = storage_plugins.open_store("ours")
    old = pins["Lab2026.rates0", their_bucket][0]["version_id"]
    assert osf_store.load("Lab2026.rates0", version_id=old).shape == (6, 3)  # an id of S3's, understood by the receipts


# brainscore_language, which needs torch for its models but not for its data


@pytest.fixture
def language(monkeypatch):
    pytest.importorskip("brainscore_language")
    return importlib.import_module("brainscore_language.utils.s3")


def test_brainscore_language_uploads_and_loads(routed, installed, language, new_machine):
    told = language.upload_data_assembly(neural(), "Lab2026.language")
    assert {"VersionId", "sha1", "ETag", "ContentLength"} <= told.keys()
    new_machine()
    for pins in ({"sha1": told["sha1"]}, {"sha1": told["sha1"], "version_id": told["VersionId"]}):
        loaded = language.load_from_s3("Lab2026.language", **pins)
        assert isinstance(loaded, NeuroidAssembly)
        np.testing.assert_array_equal(loaded.values, neural().values)
    same(brainscore.load_from_s3("Lab2026.language", told["sha1"], bucket="brainscore-language"), loaded)
    ceiling = language.upload_data_assembly(score(), "Lab2026.language", assembly_prefix="ceiling_")
    back = language.load_from_s3("Lab2026.language", sha1=ceiling["sha1"], cls=Score, assembly_prefix="ceiling_")
    assert type(back) is Score


def test_a_data_plugin_of_brainscore_language_loads_unchanged(routed, installed, language, new_machine, monkeypatch):
    import brainscore_language

    told = language.upload_data_assembly(neural(), "Futrell2018")
    new_machine()
    plugin = importlib.import_module("brainscore_language.data.futrell2018")
    source = Path(plugin.__file__).read_text()
    (pin,) = {word for word in source.replace('"', " ").split() if len(word) == 40 and word.isalnum()}
    changed = types.ModuleType("pinned")
    exec(compile(source.replace(pin, told["sha1"]), "pinned", "exec"), changed.__dict__)
    loaded = brainscore_language.data_registry["Futrell2018"]()
    assert "bibtex" in loaded.attrs
    np.testing.assert_array_equal(loaded.values, neural().values)
