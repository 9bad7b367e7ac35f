"""Discovery: each plugin stands alone, and what is wrong with one is told with what mends it.

The plugins are real distributions, laid out in a folder as an installer would, found by a fresh interpreter.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
import storage_plugins
class Settings(storage_plugins.StoreSettings):
    place: str = "x"
def files(settings):
    raise storage_plugins.NotSupported("no files here")
@storage_plugins.hookimpl
def storage_plugins_backend():
    return storage_plugins.Backend(name="{name}", settings=Settings, files=files{more})
"""


@pytest.fixture
def site(tmp_path):
    """Install distributions into a folder, and run code that sees them."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Site:
        def install(self, distribution: str, code: str) -> None:
            module = distribution.replace("-", "_")
            (folder / f"{module}.py").write_text(code)
            info = folder / f"{module}-1.5.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
            (info / "entry_points.txt").write_text(f"[storage_plugins]\n{module} = {module}\n")

        def run(self, *command: str) -> subprocess.CompletedProcess[str]:
            code = f"import sys; sys.path.insert(0, {str(folder)!r}); sys.argv[1:] = {list(command)!r}; "
            code += "from storage_plugins.cli import main; main()"
            return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

        def backends(self) -> dict[str, dict[str, str]]:
            done = self.run("backends", "--json")
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout)
            return {f"{plugin['name']} of {plugin['distribution']}": plugin for plugin in found}

    return Site()


BROKEN = {
    "raises-on-import": ("raise RuntimeError('no such thing as a free import')", "RuntimeError: no such thing"),
    "exits-on-import": ("raise SystemExit(3)", "SystemExit: 3"),
    "needs-a-module": ("import a_module_nobody_has", "a_module_nobody_has"),
    "no-python": ("def def", "SyntaxError"),
    "misspelt-hook": (GOOD.format(name="misspelt", more="").replace("plugins_backend()", "plugins_backnd()"), "backnd"),
    "no-hook": ("x = 1", "storage_plugins_backend"),
    "unmarked-hook": (GOOD.format(name="unmarked", more="").replace("@storage_plugins.hookimpl", ""), "hookimpl"),
    "returns-a-string": (
        "import storage_plugins\n@storage_plugins.hookimpl\ndef storage_plugins_backend():\n    return 'mine'",
        "returned str",
    ),
    "settings-no-model": (
        GOOD.format(name="nomodel", more="").replace("(storage_plugins.StoreSettings)", ""),
        "StoreSettings",
    ),
    "odd-name": (GOOD.format(name="Odd Name", more=""), "Odd Name"),
    "requires-a-string": (GOOD.format(name="reqstr", more=", requires='boto3'"), "requires="),
    "requires-nothing": (GOOD.format(name="reqnone", more=", requires=None"), "requires="),
    "summary-of-none": (GOOD.format(name="sumnone", more=", summary=None"), "summary="),
    "scheme-without-locate": (GOOD.format(name="noloc", more=", schemes=('x',)"), "locate="),
    "neither-files-nor-store": (GOOD.format(name="neither", more="").replace(", files=files", ""), "files= or store="),
}


def test_broken_plugins_are_told_and_break_nothing_else(site):
    for distribution, (code, _) in BROKEN.items():
        site.install(distribution, code)
    site.install("works-well", GOOD.format(name="works", more=""))
    backends = site.backends()
    assert backends["local of storage-plugins"]["problem"] is None
    assert backends["s3 of storage-plugins"]["problem"] is None
    assert backends["works of works-well"]["problem"] is None
    for distribution, (_, told) in BROKEN.items():
        (plugin,) = [one for one in backends.values() if one["distribution"] == distribution]
        assert told in plugin["problem"], distribution
        assert plugin["remedy"], distribution
        assert plugin["version"] == "1.5"


def test_two_that_claim_one_name_both_lose_it(site, tmp_path):
    site.install("one-lab", GOOD.format(name="osf2", more=""))
    site.install("other-lab", GOOD.format(name="osf2", more=""))
    backends = site.backends()
    for distribution in ("one-lab", "other-lab"):
        problem = backends[f"osf2 of {distribution}"]["problem"]
        assert "one-lab" in problem
        assert "other-lab" in problem
    (tmp_path / "storage.yaml").write_text("stores: {a: {backend: osf2}}")
    done = site.run("ls", "--config", str(tmp_path / "storage.yaml"))
    assert done.returncode == 10
    assert "one-lab and other-lab" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_third_party_cannot_take_a_first_party_name_unseen(site):
    site.install("takes-local", GOOD.format(name="local", more=""))
    assert "takes-local" in site.backends()["local of storage-plugins"]["problem"]


def test_a_backend_whose_sdk_is_missing_is_listed_with_the_command_that_mends_it(site, tmp_path):
    more = ", requires=('an_sdk_nobody_has',), install='needs-sdk[sdk]'"
    site.install("needs-sdk", GOOD.format(name="sdk", more=more))
    plugin = site.backends()["sdk of needs-sdk"]
    assert "an_sdk_nobody_has" in plugin["problem"]
    assert plugin["remedy"] == "pip install 'needs-sdk[sdk]'"
    (tmp_path / "storage.yaml").write_text("stores: {a: {backend: sdk}}")
    done = site.run("ls", "--config", str(tmp_path / "storage.yaml"))
    assert done.returncode == 10
    assert "pip install 'needs-sdk[sdk]'" in done.stderr


def test_an_sdk_within_a_package_that_is_missing_is_missing(site):
    site.install("needs-sdk", GOOD.format(name="sdk", more=", requires=('no_such_parent.child',)"))
    assert "no_such_parent.child" in site.backends()["sdk of needs-sdk"]["problem"]


def test_a_plugin_that_cannot_be_used_takes_no_addresses_away(site, tmp_path):
    more = ", requires=('an_sdk_nobody_has',), schemes=('file',), locate=str"
    site.install("aaa-first", GOOD.format(name="aaa", more=more))
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path / "site")!r})
import storage_plugins
try: storage_plugins.load("file:///nowhere/x.nc")
except storage_plugins.StorageError as error: print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "AssemblyNotFound\n"


def test_a_backend_that_fails_to_open_is_told_as_its_own_fault(site, tmp_path):
    site.install(
        "fails-later",
        GOOD.format(name="later", more="").replace("raise storage_plugins.NotSupported", "raise KeyError"),
    )
    (tmp_path / "storage.yaml").write_text("stores: {a: {backend: later}, b: {backend: local, root: x}}")
    done = site.run("stores", "--config", str(tmp_path / "storage.yaml"))
    assert done.returncode == 0, done.stderr
    assert "'later' of fails-later 1.5 failed to open: KeyError" in done.stdout
    assert "file://" in done.stdout


def test_the_list_for_people_says_what_is_wrong_and_what_to_do(site):
    site.install("raises-on-import", BROKEN["raises-on-import"][0])
    done = site.run("backends")
    assert "no such thing as a free import" in done.stdout
    assert "to fix it: " in done.stdout


def test_a_third_partys_settings_are_checked_like_our_own(site, tmp_path):
    site.install("works-well", GOOD.format(name="works", more=""))
    path = Path(tmp_path / "storage.yaml")
    path.write_text("stores:\n  a:\n    backend: works\n    plase: here\n")
    done = site.run("ls", "--config", str(path))
    assert done.returncode == 9
    assert f"{path}:4:" in done.stderr
    assert "'place'" in done.stderr


def test_a_backend_of_upload_and_load_alone_is_a_store(site, tmp_path):
    site.install(
        "plain-store",
        """
import storage_plugins
class Settings(storage_plugins.StoreSettings):
    pass
class Plain:
    def upload(self, assembly, identifier, **options):
        raise storage_plugins.QuotaExceeded(f"no room for {identifier}")
    def load(self, identifier, **options):
        return f"the one called {identifier}"
@storage_plugins.hookimpl
def storage_plugins_backend():
    return storage_plugins.Backend(name="plain", settings=Settings, store=lambda settings: Plain())
""",
    )
    (tmp_path / "storage.yaml").write_text("stores: {a: {backend: plain}}")
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path / "site")!r})
import storage_plugins
store = storage_plugins.open_store(config={str(tmp_path / "storage.yaml")!r})
print(store.load("X"))
for call in (lambda: store.versions("X"), lambda: store.upload(None, "X"), lambda: store.upload(None, "../x")):
    try: call()
    except storage_plugins.StorageError as error: print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:4] == ["the one called X", "NotSupported", "QuotaExceeded", "InvalidIdentifier"]
