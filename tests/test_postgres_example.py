"""The second example of a third-party package, for a real database: its own tests and the kit, on PostgreSQL."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import storage_plugins

EXAMPLE = Path(__file__).parent.parent / "examples" / "storage-plugins-postgres"
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
