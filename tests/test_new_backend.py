"""The command that begins a backend: whole packages, right as they are written, and never in the way of anything."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from command_line import run_command
from new_package import GUIDE, MODULE, blocks, fill_in

from storage_plugins import AlreadyExists, InvalidIdentifier
from storage_plugins.atomic import atomic_folder
from storage_plugins.cli import cli

LONGEST = "a-name-of-forty_characters-0123456789-xy"
TOOLS = ("build", "editables", "hatchling", "mypy", "ruff")


@pytest.fixture
def new(tmp_path):
    def new(name, folder, *words, code=0, **options):
        done = run_command("new-backend", name, folder, *words, **options)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return new


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("x", "storage-plugins-x"),
        ("my_lab-2", "storage-plugins-my-lab-2"),
        (LONGEST, "storage-plugins-a-name-of-forty-characters-0123456789-xy"),
    ],
)
def test_a_package_is_written_and_the_next_steps_are_told(new, tmp_path, name, distribution):
    assert len(LONGEST) == 40
    told = new(name, "made here").stdout.splitlines()
    files, module = tree(tmp_path / "here" / "made here"), distribution.replace("-", "_")
    assert {*files} == {
        *("CHANGELOG.md", "LICENSE", ".github/workflows/publish.yml", ".github/workflows/test.yml"),
        *("README.md", "pyproject.toml", ".gitignore", f"tests/test_{module.removeprefix('storage_plugins_')}.py"),
        *(f"src/{module}/{file}" for file in ("__init__.py", "files.py", "settings.py", "py.typed")),
    }
    assert not any(b"$" in text for text in files.values())
    project = tomllib.loads(files["pyproject.toml"].decode())["project"]
    assert project["name"] == distribution
    assert project["entry-points"] == {"storage_plugins": {name: module}}
    assert len(told) == 3
    assert f"cd '{tmp_path / 'here' / 'made here'}' && pip install" in told[1]
    assert f"src/{module}/files.py" in told[2]
    assert all(len(line) <= 120 for text in files.values() for line in text.decode().splitlines())


def test_the_workflows_are_right_yaml_and_run_the_guides_checks(new, tmp_path):
    new("x", "made")
    folder = tmp_path / "here" / "made" / ".github" / "workflows"
    workflows = {name: yaml.safe_load((folder / f"{name}.yml").read_text("utf-8")) for name in ("test", "publish")}
    commands = [
        step.get("run", "") for jobs in workflows.values() for job in jobs["jobs"].values() for step in job["steps"]
    ]
    for command in ("python -m pytest", "ruff check . && ruff format --check . && mypy"):
        assert command in commands
    assert workflows["publish"]["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert workflows["publish"][True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as True
    assert "storage-plugins-x" in (folder / "publish.yml").read_text("utf-8")
    assert "The authors of storage-plugins-x" in (folder.parent.parent / "LICENSE").read_text("utf-8")


def test_a_store_with_its_own_upload_and_load_is_written(new, tmp_path):
    told = new("x", "made", "--store").stdout
    files = tree(tmp_path / "here" / "made")
    assert "src/storage_plugins_x/store.py" in told
    assert "src/storage_plugins_x/files.py" not in files
    hook = files["src/storage_plugins_x/__init__.py"].decode()
    assert "from .store import XStore" in hook
    assert "store=XStore," in hook
    assert "class TestX(StoreTests):" in files["tests/test_x.py"].decode()
    assert not any(b"$" in text for text in files.values())
    assert all(len(line) <= 120 for text in files.values() for line in text.decode().splitlines())


@pytest.mark.slow
def test_a_store_as_written_fails_in_the_kit_only_for_what_is_not_written(new, tmp_path):
    new("x", "made", "--store")
    folder = tmp_path / "here" / "made"
    information = folder / "src" / "storage_plugins_x-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: storage-plugins-x\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text("[storage_plugins]\nx = storage_plugins_x\n")
    path = os.pathsep.join([str(folder / "src"), *filter(None, sys.path)])
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--junit-xml=results.xml"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    results = ElementTree.parse(folder / "results.xml").getroot()
    failures = [failure.text or "" for failure in results.iter("failure")]
    assert list(results.iter("error")) == []
    assert len(failures) >= 20, done.stdout
    assert [text for text in failures if not re.search(r"(upload|load) is not written yet", text)] == []


@pytest.mark.parametrize("name", ["", "Lab", "2lab", "../lab", "a/b", "lab\n", "a b", "$name", "null", "x" * 41])
def test_a_name_that_no_backend_can_have_is_refused(tmp_path, name):
    with pytest.raises(InvalidIdentifier):
        cli(["new-backend", name, "made"], standalone_mode=False)
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("name", ["local", "s3", "group", "local-", "memory"])  # tests/site has one called memory
def test_a_name_that_is_taken_is_refused(tmp_path, name):
    with pytest.raises(AlreadyExists, match="Choose another name"):
        cli(["new-backend", name, "made"], standalone_mode=False)
    assert list((tmp_path / "here").iterdir()) == []


def test_an_empty_folder_is_filled_and_any_other_is_left_alone(new, tmp_path):
    (tmp_path / "here" / "made").mkdir()
    new("lab", "made")
    before = tree(tmp_path / "here")
    new("lab", "made", code=6)
    new("../lab", "else", code=13)
    (tmp_path / "here" / "file").write_text("mine")
    new("lab", "file", code=6)
    new("lab", "no/such/parent", code=1)
    (tmp_path / "here" / "file").unlink()
    assert tree(tmp_path / "here") == before


def test_the_folder_one_stands_in_is_filled_if_it_is_empty(new, tmp_path):
    new("lab", ".")
    assert (tmp_path / "here" / "pyproject.toml").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit on Windows")
def test_what_cannot_be_written_to_its_end_leaves_nothing(new, tmp_path):
    import resource

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))

    done = new("lab", "made", code=8, preexec_fn=small_files)
    assert "Cannot write" in done.stderr
    assert list((tmp_path / "here").iterdir()) == []


def test_a_folder_that_is_interrupted_leaves_nothing(tmp_path):
    def interrupted() -> None:
        with atomic_folder(tmp_path / "here" / "made") as folder:
            (folder / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "here").iterdir()) == []


def test_what_appears_meanwhile_is_left_as_it_is(tmp_path):
    made = tmp_path / "here" / "made"

    def overtaken() -> None:
        with atomic_folder(made) as folder:
            (folder / "file").write_text("ours")
            made.mkdir()
            (made / "file").write_text("theirs")

    with pytest.raises(FileExistsError):
        overtaken()
    assert tree(tmp_path / "here") == {"made/file": b"theirs"}


@pytest.mark.skipif(not GUIDE.exists(), reason="no checkout around the tests")
@pytest.mark.skipif(
    not all(importlib.util.find_spec(tool) for tool in TOOLS), reason=f"the author's tools are not here: {TOOLS}"
)
@pytest.mark.slow
def test_the_guides_commands_install_check_and_build_the_package(tmp_path):
    """In an environment of its own, over the packages of this one; pip and build are told to fetch nothing."""
    here, environment = tmp_path / "here", tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("**/site-packages")
    (site / "ours.pth").write_text("\n".join(filter(None, sys.path)))
    path = os.pathsep.join([str(environment / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {
        **os.environ,
        "PATH": path,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "MYPYPATH": os.environ.get("PYTHONPATH", ""),  # mypy does not look there by itself
    }

    def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        script = script.replace("python -m pip install ruff mypy build\n", "")
        script = script.replace("pip install", "pip install -q --no-deps --no-build-isolation --no-index")
        script = script.replace("-m build", "-m build --no-isolation")
        return subprocess.run(
            ["sh", "-ec", script], cwd=folder, env=variables, capture_output=True, text=True, check=False
        )

    begin, look = blocks("sh")
    (command,) = [line[2:] for line in "".join(blocks("console")).splitlines()]
    assert run(command, here).returncode == 0
    first = run(begin, here)
    assert first.returncode == 1, first.stdout + first.stderr
    assert re.search(r"NotImplementedError: \w+ is not written yet", first.stdout), first.stdout + first.stderr
    package = here / "storage-plugins-dict"
    assert re.search(
        r"^dict +storage-plugins-dict 0\.1\.0", run("python -m storage_plugins backends", package).stdout, re.M
    )
    for step in ("as it is written", "filled in"):
        done = run(look, package)
        assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"
        fill_in(package)
    (wheel,) = (package / "dist").glob("*.whl")
    assert wheel.name == f"{MODULE}-0.1.0-py3-none-any.whl"
