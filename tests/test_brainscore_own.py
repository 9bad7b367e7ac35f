"""brainscore_core's own tests of its data pass as well over our stores as without them."""

import importlib.resources
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("brainscore_core")

# Some of its tests load public data while they are collected: offline those modules could not even be imported.
OFFLINE = """
from brainscore_core.supported_data_standards.brainio import s3

def pytest_collection(session):
    session.config.real = real = s3.load_assembly_from_s3, s3.load_stimulus_set_from_s3
    s3.load_assembly_from_s3, s3.load_stimulus_set_from_s3 = (lambda **pins: None,) * 2

def pytest_collection_finish(session):
    import sys
    names = "load_assembly_from_s3", "load_stimulus_set_from_s3"
    for module in (s3, *[one for name, one in sys.modules.items() if name.startswith("test_")]):
        for name, function in zip(names, session.config.real):
            if hasattr(module, name):
                setattr(module, name, function)
"""
INSTALL = "import storage_plugins.brainscore\nstorage_plugins.brainscore.install()\n"


@pytest.fixture
def their_tests(tmp_path):
    """A copy of its tests, with the pictures that they upload and that its wheel lacks."""
    folder = tmp_path / "theirs"
    source = importlib.resources.files("brainscore_core.supported_data_standards.brainio.tests")
    shutil.copytree(str(source), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "__init__.py").unlink()
    (folder / "offline.py").write_text(OFFLINE)
    (folder / "images").mkdir()
    for number in range(10):
        (folder / "images" / f"n{number}.png").write_bytes(b"\x89PNG" + bytes([number]))
    return folder


@pytest.fixture
def their_bucket(s3_client, aws_credentials):
    s3_client.create_bucket(Bucket="brainscore-storage")
    yield "brainscore-storage"
    for version in s3_client.list_object_versions(Bucket="brainscore-storage").get("Versions", []):
        s3_client.delete_object(Bucket="brainscore-storage", Key=version["Key"], VersionId=version["VersionId"])
    s3_client.delete_bucket(Bucket="brainscore-storage")


def passed(folder: Path, environment: dict[str, str], report: Path) -> set[str]:
    """Run the tests and return the names of those that pass."""
    path = os.pathsep.join([environment.pop("SITE", ""), str(folder), os.environ.get("PYTHONPATH", "")])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "offline",
        "-p",
        "no:cacheprovider",
        "-rA",
        "-q",
        "--continue-on-collection-errors",
        ".",
    ]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True
    )
    report.write_text(done.stdout + done.stderr)
    return set(re.findall(r"^PASSED (\S+)", done.stdout, re.M))


def test_its_own_tests_pass_as_before(their_tests, their_bucket, tmp_path, endpoint, s3_client):
    server = {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    before = passed(their_tests, {**server, "BRAINIO_HOME": str(tmp_path / "one")}, tmp_path / "before.txt")
    stores = {"lab": {"backend": "local", "root": str(tmp_path / "store")}}
    config = {"stores": stores, "brainscore": {"buckets": {"*": "lab"}}}
    (tmp_path / "ours.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(INSTALL)
    ours = {
        "BRAINIO_HOME": str(tmp_path / "two"),
        "SITE": str(tmp_path / "site"),
        "STORAGE_PLUGINS_CONFIG": str(tmp_path / "ours.yaml"),
    }
    after = passed(their_tests, {**server, **ours}, tmp_path / "after.txt")
    for part in ("test_packaging", "test_assemblies", "test_transform"):
        assert any(part in name for name in before), (tmp_path / "before.txt").read_text()
    assert {name for name in before if "package" in name}
    assert before <= after, (tmp_path / "after.txt").read_text()
    there = {path.name for path in (tmp_path / "store").iterdir()}
    assert {"assy_test_package_assembly.nc", "stimulus_test_TenImages.zip"} <= there
    print(f"{len(before)} pass without, {len(after)} with")
