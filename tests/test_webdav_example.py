"""The example of somebody else's package: installed, used by its YAML alone, tested by the kit, and gone.

The last test makes an environment of its own, from the built wheel that STORAGE_PLUGINS_TEST_WHEEL names and from the
package index; `.ci/run` asks for it.
"""

import ast
import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fresh_environment import WHEEL, Environment
from test_examples_and_docs import DATA, TABLE

import storage_plugins

PROJECT = Path(__file__).parent.parent
EXAMPLE = PROJECT / "examples" / "storage-plugins-webdav"
STORIES = PROJECT / "examples" / "natural_stories.py"
needs_checkout = pytest.mark.skipif(not EXAMPLE.exists(), reason="no checkout around the tests")


@needs_checkout
def test_it_uses_what_everybody_may_use():
    for path in [*EXAMPLE.rglob("*.py"), PROJECT / "examples" / "sqlite_store.py"]:
        tree = ast.walk(ast.parse(path.read_text("utf-8")))
        used = {node.module for node in tree if isinstance(node, ast.ImportFrom) and node.module and not node.level}
        ours = {module for module in used if module.startswith("storage_plugins.")}
        assert ours <= {"storage_plugins.atomic", "storage_plugins.testing"}, path


def test_the_core_knows_nothing_of_it():
    for path in Path(storage_plugins.__file__).parent.rglob("*.py"):
        assert "storage_plugins_webdav" not in path.read_text("utf-8"), path


@contextlib.contextmanager
def webdav_server(environment):
    """Serve a folder as the example's tests do; give its address."""
    (environment.folder / "served").mkdir()
    command = [environment.programs / "python", EXAMPLE / "tests" / "served.py", environment.folder / "served"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.communicate()


@needs_checkout
@pytest.mark.skipif(WHEEL is None, reason="STORAGE_PLUGINS_TEST_WHEEL names no wheel of this project")
def test_a_package_of_others_is_installed_used_tested_and_gone(tmp_path, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NEXTCLOUD_PASSWORD", "app-passw0rd")
    environment = Environment(tmp_path)
    environment.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", EXAMPLE)
    (package,) = (tmp_path / "dist").glob("storage_plugins_webdav-*.whl")
    environment.run("python", "-m", "pip", "install", "-q", WHEEL, f"{package}[test]")

    # it is there
    assert re.search(r"^webdav\b.*storage-plugins-webdav 0\.1\.0", environment.run("storage-plugins", "backends"), re.M)
    yaml = re.search(r"^```yaml\n(.*?)^```", (EXAMPLE / "README.md").read_text("utf-8"), re.S | re.M)[1]
    config = environment.folder / "storage.yaml"
    with webdav_server(environment) as address:
        yaml = re.sub(r"url: .*", f"url: {address}/assemblies", yaml).replace("brain-lab", "alice")
        config.write_text(yaml.replace("username:", "usrname:"))
        told = environment.run("storage-plugins", "ls", fails=True)
        assert re.search(r"storage\.yaml:7: .*usrname.*\n.*Did you mean 'username'", told), told

        # it is used by the YAML alone
        table = DATA / "naturalstories_wordinfo.tsv" if DATA.is_dir() else environment.folder / "table.tsv"
        if not DATA.is_dir():
            table.write_text(TABLE)
        said = []
        for text in (yaml, "stores:\n  lab: {backend: local, root: ./assemblies}\n"):
            config.write_text(text)
            environment.run("storage-plugins", "trust")  # it sends the password to a server that is not WebDAV's own
            said.append(environment.run("python", STORIES, table))
            assert "identical to what was uploaded: True" in said[-1]
        assert f"uploaded to webdav:{address}/assemblies" in said[0]
        assert len({re.search(r'sha1="([0-9a-f]{40})"', text)[1] for text in said}) == 1
        assert "app-passw0rd" not in "".join(said)

    # it passes its own tests, the kit's among them
    tests = shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("src"))
    told = environment.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tests, tests / "tests"
    )
    assert int(re.search(r"(\d+) passed", told)[1]) >= 100

    # it is gone
    environment.run("python", "-m", "pip", "uninstall", "-q", "-y", "storage-plugins-webdav")
    assert "webdav" not in environment.run("storage-plugins", "backends")
    assert "storage-plugins-webdav" not in environment.run("python", "-m", "pip", "list")
    config.write_text(yaml)
    assert "There is no backend 'webdav'" in environment.run("storage-plugins", "ls", fails=True)
