"""``init`` writes where it is asked to, and only what is right."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# what the command line adds is the same over each
on_one_backend = pytest.mark.parametrize("yaml_file", ["local"], indirect=True)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ((), "storage.yaml"),
        (("lab/",), "lab/storage.yaml"),
        (("lab",), "lab/storage.yaml"),
        (("a/b",), "a/b/storage.yaml"),
        (("there",), "there/storage.yaml"),
        (("there.yaml/",), "there.yaml/storage.yaml"),
        (("there.yaml",), "there.yaml/storage.yaml"),
        (("other.yaml",), "other.yaml"),
    ],
)
def test_init_writes_into_the_folder_or_the_file_named(run, tmp_path, path, written):
    Path("there").mkdir()
    Path("there.yaml").mkdir()
    done = run("init", *path)
    assert f"Wrote {written}" in done.stdout
    assert Path(written).read_text().startswith("# yaml-language-server: $schema=storage.schema.json\n")
    schema = json.loads(Path(written).with_name("storage.schema.json").read_text())
    assert schema["title"].startswith("storage.yaml")
    text = Path(written).read_text()
    run("init", *path, code=6)
    assert Path(written).read_text() == text
    assert json.loads(run("stores", "-c", written, "--json").stdout)["stores"][0]["name"] == "scratch"


def test_init_never_changes_a_file_that_is_in_the_way(run):
    Path("notes").write_text("notes")
    run("init", "notes", code=6)
    run("init", "notes/", code=6)
    assert Path("notes").read_text() == "notes"
    Path("link.yaml").symlink_to("nowhere.yaml")
    run("init", "link.yaml", code=6)
    assert not Path("nowhere.yaml").exists()


def test_init_takes_the_settings_of_any_backend(run):
    run("init", "--backend", "s3", "--name", "ours", "--bucket", "my-bucket/x", "--requester-pays=true")
    text = Path("storage.yaml").read_text()
    assert "  ours: {backend: s3, bucket: my-bucket/x, requester_pays: true}\n" in text
    assert json.loads(run("stores", "--json").stdout)["stores"][0]["address"] == "s3://my-bucket/x"
    run("init", "osf", "--backend", "osf", "--project", "abc12", "--token", "${OSF_TOKEN}")
    assert "token: '${OSF_TOKEN}'" in Path("osf/storage.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "code", "about"),
    [
        (["--backend", "s3", "--buket", "b"], 9, "'bucket'"),
        (["--backend", "s3"], 9, "bucket"),
        (["--backend", "s4"], 10, "s4"),
        (["--bucket", "b"], 2, "--backend"),
        (["--backend", "s3", "--bucket"], 2, "--bucket"),
        (["--backend", "osf", "--project", "abc12", "--token", "secret"], 9, "${MY_TOKEN}"),
        (["a", "b"], 2, "one PATH"),
    ],
)
def test_init_checks_what_it_is_given_and_writes_nothing_wrong(run, words, code, about):
    assert about in run("init", *words, code=code).stderr
    assert [*Path().iterdir()] == []


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
def test_init_asks_on_a_terminal_for_what_the_kind_of_store_needs():
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "storage_plugins", "init"], stdin=theirs, stdout=theirs)
    os.write(ours, b"s3\nmy-bucket\n")
    assert process.wait(60) == 0
    os.close(theirs)
    os.close(ours)
    assert "  lab: {backend: s3, bucket: my-bucket}\n" in Path("storage.yaml").read_text()
