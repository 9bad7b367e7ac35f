"""The example and every command in the documents run as they are written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from conftest import OSF_TOKEN, write_yaml

import storage_plugins

PROJECT = Path(__file__).parent.parent
DATA = PROJECT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real inputs are not here")
needs_checkout = pytest.mark.skipif(not (PROJECT / "README.md").exists(), reason="no checkout around the tests")

TABLE = (
    "word\tzone\titem\tnItem\tmeanItemRT\tsdItemRT\tgmeanItemRT\tgsdItemRT\n"
    "you\t2\t1\t87\t368.18\t168.03\t339.75\t1.46\nIf\t1\t1\t84\t369.01\t160.58\t340.57\t1.47\n"
    '"Quoted\t1\t2\t80\t300.5\t100.5\t290.5\t1.5\n'
)


def run_example(table: Path, config: Path) -> str:
    done = subprocess.run(
        [sys.executable, PROJECT / "examples" / "natural_stories.py", table, "--config", config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "identical to what was uploaded: True" in done.stdout
    return re.search(r'sha1="([0-9a-f]{40})"', done.stdout)[1]


KINDS = ("local", "s3", "osf")


def yaml_for(kind: str, tmp_path: Path, request) -> Path:
    (tmp_path / kind).mkdir()
    if kind == "local":
        return write_yaml(tmp_path / kind, {"backend": "local", "root": "./assemblies"})
    if kind == "osf":
        osf, node = request.getfixturevalue("osf"), request.getfixturevalue("project")
        store = {"backend": "osf", "project": node.id, "token": OSF_TOKEN, "api_url": osf.api_url}
        return write_yaml(tmp_path / kind, store)
    bucket, endpoint = request.getfixturevalue("bucket"), request.getfixturevalue("endpoint")
    return write_yaml(tmp_path / kind, {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint})


@needs_checkout
def test_the_example_gives_the_same_bytes_wherever_the_yaml_points(tmp_path, request):
    table = tmp_path / "table.tsv"
    table.write_text(TABLE)
    sha1s = {run_example(table, yaml_for(kind, tmp_path, request)) for kind in KINDS}
    assert len(sha1s) == 1
    (sha1,) = sha1s
    loaded = [
        storage_plugins.open_store(config=tmp_path / kind / "storage.yaml").load(
            "Futrell2018.natural-stories", sha1=sha1
        )
        for kind in KINDS
    ]
    xr.testing.assert_identical(loaded[0], loaded[1])
    xr.testing.assert_identical(loaded[0], loaded[2])
    assert list(loaded[0]["word"].values) == ["If", "you", '"Quoted']


@needs_data
@needs_checkout
def test_the_real_table_gives_the_same_bytes_wherever_the_yaml_points(tmp_path, request):
    table = DATA / "naturalstories_wordinfo.tsv"
    assert len({run_example(table, yaml_for(kind, tmp_path, request)) for kind in KINDS}) == 1


@needs_data
@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.nc")) if DATA.is_dir() else [])
def test_real_files_keep_their_bytes_wherever_the_yaml_points(tmp_path, request, name):
    loaded = []
    for kind in KINDS:
        config = yaml_for(kind, tmp_path, request)
        command = [sys.executable, "-m", "storage_plugins"]
        identifier = name.removesuffix(".nc")
        subprocess.run(
            [*command, "upload", DATA / name, identifier, "--config", config], check=True, capture_output=True
        )
        out = tmp_path / f"{kind}.nc"
        subprocess.run([*command, "load", identifier, "-o", out, "--config", config], check=True, capture_output=True)
        assert out.read_bytes() == (DATA / name).read_bytes()
        loaded.append(storage_plugins.open_store(config=config).load(identifier))
    xr.testing.assert_identical(loaded[0], loaded[1])
    xr.testing.assert_identical(loaded[0], loaded[2])


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text("utf-8"), re.S | re.M)


STEPS = "brain-score.md"  # needs brainscore_core: test_brainscore_docs.py follows it
DOCUMENTS = [PROJECT / "README.md", *sorted(path for path in (PROJECT / "docs").glob("*.md") if path.name != STEPS)]


@needs_checkout
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_block_of_a_document_runs(document, tmp_path, bucket, endpoint, monkeypatch):
    """Blocks of one document run one after the other, with its YAML beside them and its buckets on the server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    import boto3

    client = boto3.client("s3", region_name="us-east-1")
    for name in ("my-bucket", "brainscore-storage"):
        client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    code = "\n".join(blocks(document, "python"))
    for text in blocks(document, "yaml"):
        Path("storage.yaml").write_text(text)
    # warnings of other libraries are their own in older stacks
    done = subprocess.run(
        [sys.executable, "-W", "error:::__main__", "-c", code], capture_output=True, text=True, check=False
    )
    for name in ("my-bucket", "brainscore-storage"):
        for version in client.list_object_versions(Bucket=name).get("Versions", []):
            client.delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
        client.delete_bucket(Bucket=name)
    assert done.returncode == 0, done.stderr


@needs_checkout
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_console_block_of_a_document_runs(document, tmp_path, monkeypatch):
    """Lines that begin with ``$ `` are commands; each must succeed in a folder that has an assembly.nc."""
    commands = [
        line[2:] for block in blocks(document, "console") for line in block.splitlines() if line.startswith("$ ")
    ]
    from conftest import make_assembly

    make_assembly().reset_index(["presentation", "neuroid"]).to_netcdf("rates.nc", engine="netcdf4")
    Path("stimulus_hvm.zip").write_bytes(b"PK")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in commands:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env={**os.environ, "PATH": path})
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
