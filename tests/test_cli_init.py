"""``init`` writes where it is asked to, and only what is right."""

import contextlib
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


def on_a_terminal(*words, answers):
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "storage_plugins", "init", *words], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, answers)
    printed = b""
    with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
        while block := os.read(ours, 1000):
            printed += block
    os.close(ours)
    return process.wait(60), printed.decode()


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
def test_init_asks_on_a_terminal_for_what_the_kind_of_store_needs():
    code, printed = on_a_terminal(answers=b"s3\nmy-bucket\nn\n")
    assert code == 0
    assert "  lab: {backend: s3, bucket: my-bucket}\n" in Path("storage.yaml").read_text()
    assert "To test its store 'lab':  storage-plugins check" in printed


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
def test_init_asks_for_the_names_of_variables_that_have_secrets():
    code, _ = on_a_terminal(answers=b"osf\nabc12\nMY_TOKEN\n\nn\n")
    assert code == 0
    assert "  lab: {backend: osf, project: abc12, token: '${MY_TOKEN}'}\n" in Path("storage.yaml").read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
def test_init_tests_the_store_if_that_is_wanted():
    code, printed = on_a_terminal(answers=b"local\n\n")
    assert code == 0
    assert "Nothing was left behind." in printed


@pytest.mark.slow
def test_init_with_check_tests_the_store_and_has_its_exit_code(run, new_bucket, endpoint):
    settings = ("--backend", "s3", "--endpoint-url", endpoint)
    done = run("init", "ours/", *settings, "--bucket", new_bucket(), "--check")
    assert "Wrote ours/storage.yaml." in done.stdout
    assert "Nothing was left behind." in done.stdout
    assert "To upload an assembly:" in done.stdout
    missing = run("init", "missing/", *settings, "--bucket", "there-is-no-such-bucket", "--check", code=9)
    assert "there-is-no-such-bucket" in missing.stdout
    assert Path("missing/storage.yaml").exists()
