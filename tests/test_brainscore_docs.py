"""The steps of docs/brain-score.md, one after the other, in a folder, on an S3 server and an OSF stand-in."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import OSF_TOKEN, make_assembly

pytest.importorskip("brainscore_core")

from brainscore_core.supported_data_standards.brainio import fetch, packaging
from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly

DOCUMENT = Path(__file__).parent.parent / "docs" / "brain-score.md"
BUCKET = "brainscore-storage"

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")


@pytest.fixture
def pinned(s3_client, aws_credentials, endpoint, tmp_path, monkeypatch):
    """Today's state: a bucket with what BrainIO alone uploaded before versioning was turned on; its sha1."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3_client.create_bucket(Bucket=BUCKET)
    path = tmp_path / "assy_Blank2014_fROI.nc"
    sha1 = packaging.write_netcdf(NeuroidAssembly(make_assembly()), path)
    packaging.upload_to_s3(path, BUCKET, "brainscore-language/assy_Blank2014_fROI.nc")
    s3_client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield sha1
    for item in s3_client.list_object_versions(Bucket=BUCKET).get("Versions", []):
        s3_client.delete_object(Bucket=BUCKET, Key=item["Key"], VersionId=item["VersionId"])
    s3_client.delete_bucket(Bucket=BUCKET)


class Reader:
    """Somebody who follows the document, in one shell."""

    def __init__(self, folder: Path, substitutes: dict[str, str]) -> None:
        self.folder, self.substitutes = folder, substitutes
        self.environment = dict(os.environ)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment |= {"PATH": path, "OSF_TOKEN": OSF_TOKEN}

    def follow(self, text: str) -> list[str]:
        """Do what the blocks of a section say; return their languages."""
        told = re.findall(r"^```(\w+)\n(.*?)^```", text, re.S | re.M)
        for language, block in told:
            for word, substitute in self.substitutes.items():
                block = block.replace(word, substitute)
            if language == "yaml":
                (self.folder / "storage.yaml").write_text(block)
                self.environment["STORAGE_PLUGINS_CONFIG"] = str(self.folder / "storage.yaml")  # it names a server
            elif language == "console":
                self.shell([line[2:] for line in block.splitlines() if line.startswith("$ ")])
            else:
                assert language == "python"
                self.python(block)
        return [language for language, _ in told]

    def shell(self, commands: list[str]) -> None:
        script = "\n".join(["set -eu", *commands, "env -0 > environment.out"])
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        told = (self.folder / "environment.out").read_text().split("\0")
        self.environment = dict(line.split("=", 1) for line in told if "=" in line)

    def python(self, code: str) -> None:
        """Run code on a machine that has downloaded nothing yet."""
        number = len(list(self.folder.glob("machine-*")))
        machine = self.folder / f"machine-{number}"
        machine.mkdir()
        fresh = {"STORAGE_PLUGINS_CACHE": str(machine / "cache"), "BRAINIO_HOME": str(machine / "brainio")}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.environment | fresh,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_the_call_loads_after_each_of_the_five_steps(pinned, tmp_path, project, osf, s3_client):
    introduction, *sections = re.split(r"^## ", DOCUMENT.read_text("utf-8"), flags=re.M)
    steps = [section for section in sections if section.startswith("Step ")]
    assert len(steps) == 5
    (tmp_path / "work").mkdir()
    reader = Reader(
        tmp_path / "work",
        {
            "af1e868821b897cb1684e4c8dcd33977121ef552": pinned,
            "project: abc12": f"project: {project.id}, api_url: {osf.api_url}",
        },
    )
    assert reader.follow(introduction) == ["python"]
    for step in steps:
        assert reader.follow(step)
        reader.follow(introduction)
    s3_client.delete_object(Bucket=BUCKET, Key="brainscore-language/assy_Blank2014_fROI.nc", VersionId="null")
    reader.follow(introduction)


def test_the_functions_for_new_code_do_what_is_said(tmp_path):
    (tmp_path / "storage.yaml").write_text("stores: {a: {backend: local, root: ./a}}")
    (block,) = re.findall(r"^```py\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.S | re.M)
    names = {"assembly": NeuroidAssembly(make_assembly())}
    exec(compile(block, str(DOCUMENT), "exec"), names)
    assert fetch.resolve_assembly_class("NeuroidAssembly") is NeuroidAssembly
    assert names["uploaded"]["VersionId"].startswith("1-")
