"""docs/backends.md lists the known backends as their packages describe them, and errors name the package to install."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

import storage_plugins
from storage_plugins import PluginError
from storage_plugins._backend import discovery, known

CHECKOUT = Path(__file__).parent.parent
PAGE = CHECKOUT / "docs" / "backends.md"
EXAMPLES = ("webdav", "postgres")
in_a_checkout = pytest.mark.skipif(not PAGE.exists(), reason="no checkout around the tests")


def example(name, monkeypatch):
    """Return the project of an example, and the backend that it describes."""
    folder = CHECKOUT / "examples" / f"storage-plugins-{name}"
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    monkeypatch.syspath_prepend(folder / "src")
    module = project["entry-points"]["storage_plugins"][name]
    before = set(sys.modules)
    backend = importlib.import_module(module).storage_plugins_backend()
    for imported in set(sys.modules) - before:
        monkeypatch.delitem(sys.modules, imported)
    return project, backend


def row(backend, package, install):
    uris = ", ".join(f"`{scheme}:`" for scheme in backend.schemes)
    return f"| `{backend.name}` | {backend.summary} | {package} | `{install}` | {uris} |"


@in_a_checkout
def test_the_page_lists_the_backends_as_their_packages_describe_them(monkeypatch):
    ours = [plugin.backend for plugin in discovery.installed() if plugin.distribution == "storage-plugins"]
    rows = [
        row(backend, "storage-plugins", f"pip install '{backend.install or 'storage-plugins'}'") for backend in ours
    ]
    for name in EXAMPLES:
        project, backend = example(name, monkeypatch)
        assert backend.install == project["name"]
        link = f"[{project['name']}](../examples/{project['name']}/README.md)"
        rows.append(row(backend, link, f"pip install ./examples/{project['name']}"))
    found = re.findall(r"^\| `.*\|$", PAGE.read_text("utf-8"), re.M)
    assert found == rows, "docs/backends.md should have\n" + "\n".join(rows)


@in_a_checkout
def test_the_packages_that_errors_name_are_those_of_the_page(monkeypatch):
    described = {
        plugin.name: plugin.backend.install for plugin in discovery.installed() if plugin.name in ("s3", "osf")
    }
    described |= {name: example(name, monkeypatch)[1].install for name in EXAMPLES}
    for name, install in described.items():
        assert known.PACKAGES[name] == install
    for name in EXAMPLES:
        assert example(name, monkeypatch)[1].schemes == (name,)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_backend_of_the_yaml_that_is_not_installed_names_its_package(name):
    config = {"stores": {"lab": {"backend": name}}}
    with pytest.raises(PluginError, match=f"There is no backend '{name}'") as caught:
        storage_plugins.open_store(config=config)
    assert f"Install the package storage-plugins-{name}." in caught.value.hint


@pytest.mark.parametrize(
    ("uri", "package"),
    [
        ("webdav:https://cloud.example/brain/assy_X.nc?versionId=1", "storage-plugins-webdav"),
        ("postgres://db.lab.example/brain/assemblies/assy_X.nc?versionId=1", "storage-plugins-postgres"),
    ],
)
def test_the_uri_of_a_receipt_whose_backend_is_not_installed_names_its_package(uri, package):
    with pytest.raises(PluginError, match="No installed backend understands") as caught:
        storage_plugins.load(f"{uri}#sha256={'0' * 64}")
    assert f"Install the package {package}." in caught.value.hint


@pytest.mark.parametrize("name", ["s3", "osf", "fsspec"])
def test_our_own_backends_have_their_extra_as_the_package(name):
    assert f"Install the package storage-plugins[{name}]." in known.how_to_install(name)


def test_of_an_unknown_backend_no_package_is_invented():
    with pytest.raises(PluginError, match="There is no backend 'zarrr'") as caught:
        discovery.find_backend("zarrr")
    assert "Install the package" not in (caught.value.hint or "")
