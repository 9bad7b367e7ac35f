"""The second example of a third-party package, for a real database: its own tests and the kit, on PostgreSQL.

The last test makes an environment of its own, from the built wheel that STORAGE_PLUGINS_TEST_WHEEL names and from the
package index; `.ci/run` asks for it.
"""

import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fresh_environment import WHEEL, Environment
from test_examples_and_docs import DATA, TABLE

import storage_plugins

EXAMPLE = Path(__file__).parent.parent / "examples" / "storage-plugins-postgres"
STORIES = EXAMPLE.parent / "natural_stories.py"
SERVE = """
import sys; sys.path.insert(0, sys.argv[1])
from served import PASSWORD, USER, Server
if Server.missing(): sys.exit(print(""))
with Server.running() as server:
    print(server.port, USER, PASSWORD, flush=True); input()
"""
pytestmark = pytest.mark.skipif(not EXAMPLE.exists(), reason="no checkout around the tests")


def as_installed(folder: Path) -> str:
    """Return a path for Python on which the example is a package with its entry point."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    described = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"]["storage_plugins"]
    lines = [f"{name} = {module}\n" for name, module in points.items()]
    (described / "entry_points.txt").write_text("[storage_plugins]\n" + "".join(lines))
    return os.pathsep.join([str(folder), str(EXAMPLE / "src"), *filter(None, sys.path)])


def run(folder: Path, *arguments: object, **environment: str) -> str:
    """Run Python with the example installed, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": as_installed(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_uses_only_public_names():
    for path in EXAMPLE.rglob("*.py"):
        tree = ast.walk(ast.parse(path.read_text("utf-8")))
        used = {node.module for node in tree if isinstance(node, ast.ImportFrom) and node.module and not node.level}
        ours = {module for module in used if module.startswith("storage_plugins.")}
        assert ours <= {"storage_plugins.atomic", "storage_plugins.testing"}, path


def test_the_core_does_not_import_it():
    for path in Path(storage_plugins.__file__).parent.rglob("*.py"):
        assert "storage_plugins_postgres" not in path.read_text("utf-8"), path


def test_it_is_listed_and_described_without_its_client(tmp_path):
    hide = "import sys; sys.modules['psycopg'] = None; from storage_plugins.cli._main import cli; cli(['backends'])"
    shown = run(tmp_path, "-c", hide)
    assert re.search(r"^postgres\b.*storage-plugins-postgres 0\.1\.0", shown, re.M), shown
    assert "pip install 'storage-plugins-postgres'" in shown


@pytest.mark.slow
def test_its_own_tests_with_the_kit_pass_on_a_real_server(tmp_path):
    pytest.importorskip("psycopg")
    tests = [EXAMPLE / "tests", "--rootdir", EXAMPLE, "-c", EXAMPLE / "pyproject.toml"]
    shown = run(tmp_path, "-m", "pytest", "-q", "-rs", "-n0", "-p", "no:cacheprovider", *tests)
    if "PostgreSQL is not installed" in shown:
        pytest.skip("PostgreSQL is not installed")
    assert int(re.search(r"(\d+) passed", shown)[1]) >= 100, shown


@contextlib.contextmanager
def postgres_server(environment):
    """Run a server as the example's tests do; give its port, its user and the password."""
    command = [environment.programs / "python", "-c", SERVE, EXAMPLE / "tests"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        shown = server.stdout.readline().split()
        try:
            if not shown:
                pytest.skip("PostgreSQL is not installed")
            yield shown
        finally:
            server.communicate("\n")


@pytest.mark.slow
@pytest.mark.skipif(WHEEL is None, reason="STORAGE_PLUGINS_TEST_WHEEL names no wheel of this project")
def test_both_built_wheels_store_the_natural_stories_and_pass_check_and_the_kit(tmp_path, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(tmp_path / "cache"))
    environment = Environment(tmp_path)
    environment.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", EXAMPLE)
    (package,) = (tmp_path / "dist").glob("storage_plugins_postgres-*.whl")
    environment.run("python", "-m", "pip", "install", "-q", WHEEL, f"{package}[test]")
    yaml = re.search(r"^```yaml\n(.*?)^```", (EXAMPLE / "README.md").read_text("utf-8"), re.S | re.M)[1]
    table = DATA / "naturalstories_wordinfo.tsv" if DATA.is_dir() else environment.folder / "table.tsv"
    if not DATA.is_dir():
        table.write_text(TABLE)
    with postgres_server(environment) as (port, user, password):
        monkeypatch.setenv("LAB_DATABASE_PASSWORD", password)
        yaml = yaml.replace("host: db.lab.example", f"host: 127.0.0.1\n    port: {port}").replace(
            "user: lab", f"user: {user}"
        )
        (environment.folder / "storage.yaml").write_text(yaml)
        environment.run("storage-plugins", "trust")
        shown = environment.run("python", STORIES, table)
        assert "identical to what was uploaded: True" in shown
        checked = environment.run("storage-plugins", "check")
        assert "Nothing was left behind." in checked
        assert environment.run("storage-plugins", "ls").split()[0] == "Futrell2018.natural-stories"
        assert password not in shown + checked
    tests = shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("src"))
    shown = environment.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tests, tests / "tests"
    )
    assert int(re.search(r"(\d+) passed", shown)[1]) >= 100
