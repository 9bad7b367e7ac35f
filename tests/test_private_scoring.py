"""The recipe for scoring models on private data, run as two users of one computer."""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from conftest import write_credentials
from test_examples_and_docs import PROJECT, WITH_COMMAND, blocks, buckets_in_documents  # noqa: F401  a fixture
from users import COLLEAGUE, GROUP, as_colleague

import storage_plugins
from storage_plugins import StoreUnavailable

DOCUMENT = PROJECT / "docs" / "private-data.md"
several_users = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, to be several users")
needs_document = pytest.mark.skipif(not DOCUMENT.exists(), reason="needs the checkout")

BENCHMARK = """
import os
import pathlib
import storage_plugins
RESPONSES
print(round(float(responses.sum()), 6))
assert not [name for name in os.environ if name.startswith("AWS_")]
for secret in SECRETS:
    try:
        pathlib.Path(secret).read_bytes()
    except PermissionError:
        continue
    raise AssertionError(secret)
"""


AS_SANDBOX = f"""
import contextlib, os, runpy, sys, tempfile
import storage_plugins, xarray
from unittest import mock
with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, STORAGE_PLUGINS_CACHE=folder):
    config = {{{{"receipts": False, "stores": {{{{"l": {{{{"backend": "local", "root": folder}}}}}}}}}}}}
    store = storage_plugins.open_store("l", config=config)  # what is imported by now is there for the other user
    store.load(store.upload(xarray.DataArray([1.0], dims="x"), "X")).sum()
    with contextlib.suppress(storage_plugins.StoreUnavailable):
        storage_plugins.open_store("lab").load("X", sha1="0" * 40)
os.setgroups([])
os.setgid({GROUP})
os.setuid({COLLEAGUE})
runpy.run_path(sys.argv[1], run_name="__main__")
""".replace("{{", "{").replace("}}", "}")


@several_users
@needs_document
@pytest.mark.slow
@pytest.mark.usefixtures("buckets_in_documents")
def test_the_recipe_scores_submitted_code_that_cannot_read_the_credentials(open_folder, home, s3_server, monkeypatch):
    write_credentials(home, s3_server.owner)
    credentials = home / ".aws" / "credentials"
    credentials.chmod(0o600)
    (open_folder / "storage.yaml").write_text(
        next(text for text in map(textwrap.dedent, all_blocks("yaml")) if "lab:" in text)
    )
    monkeypatch.chdir(open_folder)
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(open_folder / "storage.yaml"))
    names: dict[str, object] = {}
    upload, load = (textwrap.dedent(text) for text in all_blocks("python")[:2])
    exec(upload, names)
    sha1 = names["receipt"].sha1
    code = BENCHMARK.replace("RESPONSES", load.replace("receipt.sha1", repr(sha1)))
    (open_folder / "score.py").write_text(code.replace("SECRETS", repr([str(credentials), "/proc/1/environ"])))
    (open_folder / "as_sandbox.py").write_text(AS_SANDBOX)
    fetch, score = (textwrap.dedent(text) for text in all_blocks("sh")[:2])
    shell(fetch, open_folder)
    assert shell(score, open_folder) == "1.9\n"
    data = open_folder / "data"
    assert [path for path in data.rglob("*.nc") if path.read_bytes()]

    def attack() -> None:
        for path in data.rglob("*"):
            assert not os.access(path, os.W_OK), path
        os.environ.clear()
        os.environ.update(
            HOME=str(open_folder / "none"), STORAGE_PLUGINS_OFFLINE="1", STORAGE_PLUGINS_CACHE=tempfile.mkdtemp()
        )
        with pytest.raises(StoreUnavailable, match="OFFLINE"):  # the data are where they were put, and nowhere else
            storage_plugins.open_store("lab", config=open_folder / "storage.yaml").load("Lab2026.private", sha1=sha1)

    as_colleague(attack)
    assert oct(data.stat().st_mode)[-4:] == "2750"  # strangers see nothing


def all_blocks(language: str) -> list[str]:
    section = DOCUMENT.read_text("utf-8").partition("## Score models")[2].partition("\n## ")[0]
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", section, re.S | re.M)


def shell(text: str, server: Path) -> str:
    """Run a block with this test's folders and users."""
    sandbox = server / "home-of-sandbox"
    sandbox.mkdir(exist_ok=True)
    os.chown(sandbox, COLLEAGUE, GROUP)
    for word, ours in {
        "/srv/scoring": str(server),
        "/tmp/sandbox": str(sandbox),
        "-g sandbox": f"-g {GROUP}",
        "sudo -u sandbox ": "",  # who may not be able to start this interpreter: it changes the user itself
        "python ": f"{sys.executable} {server / 'as_sandbox.py'} ",
    }.items():
        text = text.replace(word, ours)
    environment = {**os.environ, "PATH": WITH_COMMAND}
    done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, env=environment, cwd=server, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout
