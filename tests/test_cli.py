"""The command line: what it prints, what it leaves, and its exit codes."""

import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import xarray as xr
from conftest import make_assembly, write_yaml

import storage_plugins
from storage_plugins.cli import cli
from storage_plugins.cli._exit_codes import OTHER, exit_code
from storage_plugins.cli._main import run as run_command
from storage_plugins.cli._output import VisibleFormatter, visible

# what the command line adds is the same over each
on_one_backend = pytest.mark.parametrize("yaml_file", ["local"], indirect=True)


class Done(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


@pytest.fixture
def run(capsys):
    """Run a command in this process."""

    def run(*command, code=0):
        capsys.readouterr()
        got = run_command([str(word) for word in command])
        done = Done(*capsys.readouterr())
        assert got == code, done
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def run_process():
    """Run a command in a process of its own, as users do."""

    def run_process(*command, code=0, **options):
        done = subprocess.run(
            [sys.executable, "-m", "storage_plugins", *map(str, command)], capture_output=True, text=True, **options
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run_process


@pytest.fixture
def netcdf(tmp_path):
    path = tmp_path / "mine.nc"
    make_assembly().reset_index(["presentation", "neuroid"]).to_netcdf(path, engine="netcdf4")
    return path


def test_the_main_job_by_command_line(run, yaml_file, netcdf, tmp_path):
    where = ("--config", yaml_file)
    receipt = json.loads(run("upload", netcdf, "Lab2026.rates", *where, "--json").stdout)
    assert receipt["key"] == "assy_Lab2026_rates.nc"
    told = run("upload", netcdf, "Lab2026.rates", *where).stdout
    assert receipt["sha1"] in told
    assert 'load_from_s3(identifier="Lab2026.rates"' in told
    assert run("ls", *where).stdout == "Lab2026.rates\n"
    assert receipt["version_id"] in run("versions", "Lab2026.rates", *where).stdout
    assert "presentation" in run("load", "Lab2026.rates", *where).stdout
    out = tmp_path / "out.nc"
    run("load", "Lab2026.rates", "--sha1", receipt["sha1"], "-o", out, *where)
    assert out.read_bytes() == netcdf.read_bytes()
    run("load", "Lab2026.rates", "-o", out, *where, code=6)
    run("load", "Lab2026.rates", "-o", out, "--force", *where)


@on_one_backend
def test_other_files_by_command_line(run, yaml_file, tmp_path):
    (tmp_path / "stimulus.csv").write_text("a,b\n")
    where = ("--config", yaml_file)
    assert "load_from_s3" not in run("upload", tmp_path / "stimulus.csv", *where).stdout
    assert run("ls", *where).stdout == "Other files:\n  stimulus.csv\n"
    assert json.loads(run("ls", *where, "--json").stdout) == {"identifiers": [], "files": ["stimulus.csv"]}
    path = run("fetch", "stimulus.csv", *where).stdout.strip()
    assert Path(path).read_text() == "a,b\n"
    run("fetch", "stimulus.csv", "-o", tmp_path / "copy.csv", *where)
    assert (tmp_path / "copy.csv").read_text() == "a,b\n"


def test_the_demo_works_twice_in_an_empty_home(run_process, home):
    first, second = run_process("demo"), run_process("demo")
    assert "verified, and identical" in first.stdout
    for done in (first, second):
        assert "stored on this computer only" in done.stderr
    assert re.findall("sha1 +(.*)", first.stdout) == re.findall("sha1 +(.*)", second.stdout)


def test_the_demo_never_uploads_to_a_configured_store(run, tmp_path):
    write_yaml(tmp_path / "here", {"backend": "local", "root": "./lab"})
    run("demo")
    assert not (tmp_path / "here" / "lab").exists()


def test_init_writes_a_file_that_works_and_never_replaces_one(run, netcdf, tmp_path):
    run("init")
    run("upload", netcdf, "X")
    assert (tmp_path / "here" / "assemblies" / "assy_X.nc").exists()
    assert "already" in run("init", code=6).stderr
    assert "scratch" in run("stores").stdout


def test_stores_lists_all_and_what_is_wrong(run, tmp_path):
    path = tmp_path / "storage.yaml"
    path.write_text(
        "default: a\nstores:\n  a: {backend: local, root: ./x}\n  b: {backend: lokal}\n  c: {backend: local, rot: y}\n"
    )
    told = run("stores", "--config", path).stdout
    assert "*  a" in told
    assert "Did you mean 'local'?" in told
    assert "'root'" in told
    rows = json.loads(run("stores", "--config", path, "--json").stdout)["stores"]
    assert [row["problem"] is None for row in rows] == [True, False, False]


def test_without_a_yaml_file_stores_says_so(run):
    assert "No storage.yaml was found from" in run("stores").stdout


def test_backends_are_listed_with_who_brought_them(run):
    told = run("backends").stdout
    assert re.search(r"local +storage-plugins \d", told)
    assert re.search(r"s3 +storage-plugins \d", told)


@on_one_backend
def test_exit_codes_tell_what_kind_of_thing_went_wrong(run, yaml_file, netcdf, tmp_path):
    where = ("--config", yaml_file)
    run("load", "absent", *where, code=3)
    run("versions", "absent", *where, code=3)
    run("upload", netcdf, "../x", *where, code=13)
    run("upload", tmp_path / "absent.nc", "X", *where, code=3)
    run("upload", netcdf, "X", *where)
    run("load", "X", "--sha1", "0" * 40, *where, code=5)
    run("load", "X", "--sha1", "xyz", *where, code=14)
    run("upload", netcdf, "x", *where, code=6)
    run("load", "X", "--store", "nowhere", *where, code=9)
    run("load", "X", "--config", tmp_path / "absent.yaml", code=9)
    run("load", code=2)
    run("lod", code=2)
    (tmp_path / "text.nc").write_text("text")
    run("upload", tmp_path / "text.nc", "X", *where, code=12)


def test_every_error_has_an_exit_code_of_its_own_or_of_its_parent():
    for name in storage_plugins.__all__:
        kind = getattr(storage_plugins, name)
        if isinstance(kind, type) and issubclass(kind, storage_plugins.StorageError):
            assert (exit_code(kind) == OTHER) == (kind is storage_plugins.StorageError), name


def test_progress_is_shown_on_a_terminal_and_nowhere_else(run, yaml_file, tmp_path):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(1 << 20) * 8)
    assert run("upload", large, "--config", yaml_file).stderr == ""
    large.write_bytes(os.urandom(1 << 20) * 8)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "storage_plugins", "upload", large, "--config", yaml_file],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    process.wait(timeout=60)
    shown = os.read(ours, 100_000)
    assert b"large.bin:" in shown
    assert b"8.39M" in shown
    os.close(theirs)
    os.close(ours)


def test_starting_up_loads_nothing_heavy():
    code = (
        "import sys; from storage_plugins.cli._main import run; assert run(['--help']) == run(['ls', '--help']) == 0; "
        "print([m for m in ('xarray', 'numpy', 'pandas', 'netCDF4', 's3fs', 'boto3', 'botocore', 'fsspec', 'pydantic')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


def test_opening_a_store_loads_no_sdk(tmp_path):
    write_yaml(tmp_path, {"backend": "s3", "bucket": "some-bucket"})
    code = (
        f"import sys, storage_plugins; s = storage_plugins.open_store(config={str(tmp_path / 'storage.yaml')!r}); "
        "print([m for m in ('xarray', 'netCDF4') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@on_one_backend
def test_a_loaded_file_opens_as_any_netcdf_file(run, yaml_file, netcdf, tmp_path):
    run("upload", netcdf, "X", "--config", yaml_file)
    run("load", "X", "-o", tmp_path / "out.nc", "--config", yaml_file)
    assert xr.open_dataset(tmp_path / "out.nc", engine="netcdf4").sizes == {"presentation": 6, "neuroid": 3}


@on_one_backend
def test_load_refuses_another_names_assembly_as_the_library_does(run, yaml_file, netcdf):
    run("upload", netcdf, "a.b", "--config", yaml_file)
    run("load", "a_b", "--config", yaml_file, code=3)


def test_publishing_and_sharing_by_command_line(run, bucket, endpoint, netcdf, tmp_path):
    s3 = {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": endpoint, "publish_by": "acl"}
    where = ("--config", write_yaml(tmp_path, s3))
    run("upload", netcdf, "X", *where)
    uri = run("publish", "X", *where).stdout.splitlines()[-1]
    assert storage_plugins.load(uri).name == "rates"
    assert json.loads(run("publish", "X", *where, "--json").stdout)["uri"] == uri
    assert "private" in run("unpublish", "X", *where).stdout
    link = run("share", "X", "--expires", "1h", *where).stdout.strip()
    assert "X-Amz-Expires=3600" in link
    assert storage_plugins.load(link).name == "rates"
    run("share", "X", "--expires", "soon", *where, code=2)
    run("publish", "Y", *where, code=3)


def test_what_a_store_cannot_do_by_command_line(run, netcdf, tmp_path):
    where = ("--config", write_yaml(tmp_path, {"backend": "local", "root": "./assemblies"}))
    run("upload", netcdf, "X", *where)
    for command in ("publish", "unpublish", "share"):
        assert "Traceback" not in run(command, "X", *where, code=11).stderr


def test_what_each_host_promises(run, new_bucket, endpoint, tmp_path):
    def told(**store):
        return run("stores", "--ask", "--config", write_yaml(tmp_path, store)).stdout

    assert "lab: keeps every version" in told(backend="local", root="./assemblies")
    s3 = {"backend": "s3", "endpoint_url": endpoint}
    assert "lab: keeps every version" in told(**s3, bucket=new_bucket())
    unversioned = told(**s3, bucket=new_bucket(versioned=False))
    assert "changed bytes are refused" in unversioned
    assert "may be lost" in unversioned
    assert "cannot be asked" in told(**s3, bucket="nobody-made-this")


# uploading several files


@pytest.fixture
def several(tmp_path):
    """Three files with different assemblies, a.nc, b.nc and c.nc, and a local store."""
    write_yaml(Path(), {"backend": "local", "root": "./lab"})
    for number, name in enumerate("abc"):
        make_assembly(number).reset_index(["presentation", "neuroid"]).to_netcdf(f"{name}.nc", engine="netcdf4")
    return [f"{name}.nc" for name in "abc"]


def stored():
    store = storage_plugins.open_store()
    return {name: store.load_file(name).read_bytes() for name in store.identifiers()}


def test_several_files_are_stored_by_a_template_and_sent_once(run, several):
    done = run("upload", *several, "--as", "Lab2026.{stem}")
    assert "3 of 3 files are in store 'lab'" in done.stdout
    assert stored() == {f"Lab2026.{name[0]}": Path(name).read_bytes() for name in several}
    again = json.loads(run("upload", *several, "--as", "Lab2026.{stem}", "--json").stdout)
    assert [receipt["identifier"] for receipt in again["uploaded"]] == ["Lab2026.a", "Lab2026.b", "Lab2026.c"]
    assert [len(storage_plugins.open_store().versions(f"Lab2026.{name}")) for name in "abc"] == [1, 1, 1]


def test_one_file_by_a_template_or_a_plain_name(run, several):
    Path("monkey1").mkdir()
    Path("a.nc").rename("monkey1/rates.nc")
    run("upload", "monkey1/rates.nc", "--as", "{parent}.{stem}")
    run("upload", "b.nc", "--as", "c.nc")
    assert [*stored()] == ["c.nc", "monkey1.rates"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "path,identifier\na.nc,X.a\nsub/b.nc,X.b\n"),
        ("m.csv", "\ufeffidentifier,path,note\r\nX.a,a.nc,first\r\nX.b,sub/b.nc,\r\n"),
        ("m.yaml", "- {path: a.nc, identifier: X.a}\n- {path: sub/b.nc, identifier: X.b}\n"),
    ],
)
def test_a_manifest_names_each_file_relative_to_itself(run, several, tmp_path, monkeypatch, name, text):
    Path("sub").mkdir()
    Path("b.nc").rename("sub/b.nc")
    Path(name).write_text(text)
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    run("upload", "--manifest", f"../{name}")
    assert stored() == {"X.a": Path("../a.nc").read_bytes(), "X.b": Path("../sub/b.nc").read_bytes()}


@pytest.mark.parametrize(
    "words",
    [
        ["a.nc", "b.nc"],  # the second one is a file, not an identifier
        ["a.nc", "b.nc", "c.nc"],
        ["a.nc", "d.nc"],  # a mistyped file
        ["a.nc", "notes.txt"],
        ["a.nc", "b.nc", "Lab2026.rates"],
        ["a.nc", "sub"],
        ["a.nc", "b.nc", "--as", "Lab2026.rates"],
        ["a.nc", "sub/a.nc", "--as", "{stem}"],
        ["a.nc", "A.nc", "--as", "{stem}"],  # names that differ in case only
        ["a.nc", "b.nc", "--as", "{name}"],
        ["sub/notes.txt", "notes.txt"],
        ["a.nc", "--manifest", "m.csv"],
        ["--as", "{stem}", "--manifest", "m.csv"],
        ["--manifest", "empty.csv"],
        ["--manifest", "odd.csv"],
        ["--manifest", "twice.csv"],
        ["--manifest", "mapping.yaml"],
        ["--manifest", "latin1.csv"],
        ["--as", "{stem}"],
        [],
    ],
    ids=" ".join,
)
def test_what_is_ambiguous_is_refused_before_anything_is_sent(run, several, words):
    Path("sub").mkdir()
    for name in ("sub/a.nc", "A.nc"):
        Path(name).write_bytes(Path("a.nc").read_bytes())
    for name in ("notes.txt", "sub/notes.txt"):
        Path(name).write_text("notes")
    Path("m.csv").write_text("path,identifier\na.nc,X\n")
    Path("empty.csv").write_text("path,identifier\n")
    Path("odd.csv").write_text("file,name\na.nc,X\n")
    Path("twice.csv").write_text("path,identifier\na.nc,X.y\nb.nc,X_y\n")
    Path("mapping.yaml").write_text("a.nc: X\n")
    Path("latin1.csv").write_bytes("path,identifier\né.nc,X\n".encode("latin-1"))
    run("upload", *words, code=2)
    assert not Path("lab").exists()


def test_a_name_that_is_impossible_is_refused_before_anything_is_sent(run, several):
    Path("my data.nc").write_bytes(Path("c.nc").read_bytes())
    assert "my data.nc" in run("upload", "a.nc", "my data.nc", "--as", "{stem}", code=13).stderr
    assert not Path("lab").exists()


def test_other_files_are_stored_side_by_side_under_their_own_names(run, several):
    for name in ("one.csv", "two.csv"):
        Path(name).write_text(name)
    run("upload", "one.csv", "two.csv")
    assert storage_plugins.open_store().file_names() == ["one.csv", "two.csv"]


def test_a_file_that_fails_does_not_stop_the_others(run, several):
    Path("b.nc").write_text("text")
    done = run("upload", *several, "--as", "{stem}", code=12)
    assert "b.nc: not uploaded" in done.stderr
    assert "2 of 3 files" in done.stdout
    assert [*stored()] == ["a", "c"]
    report = json.loads(run("upload", *several, "--as", "{stem}", "--json", code=12).stdout)
    assert [failed["path"] for failed in report["failed"]] == ["b.nc"]
    assert report["not_tried"] == []


# names


def test_near_names_are_suggested(run, several):
    run("upload", "a.nc", "Lab2026.rates")
    Path("stimuli.zip").write_text("zip")
    run("upload", "stimuli.zip")
    for command in ("load", "versions", "publish", "unpublish", "share"):
        if command in ("load", "versions"):
            assert "Did you mean Lab2026.rates?" in run(command, "lab2026.rate", code=3).stderr
    assert "Did you mean stimuli.zip?" in run("fetch", "stimulis.zip", code=3).stderr
    assert "Did you mean" not in run("load", "Pereira2018", code=3).stderr


def test_outside_a_project_errors_say_that_no_storage_yaml_was_found(run, tmp_path):
    for words, code in (
        (("load", "X"), 3),
        (("fetch", "x.zip"), 3),
        (("versions", "X"), 3),
        (("ls", "-s", "lab"), 9),
        (("check", "lab"), 9),
        (("mirror", "lab", "ours"), 9),
    ):
        assert f"No storage.yaml was found from {tmp_path / 'here'} upwards" in run(*words, code=code).stderr, words
    write_yaml(Path(), {"backend": "local", "root": "./lab"})
    assert "No storage.yaml" not in run("load", "X", code=3).stderr


def test_other_files_have_versions_too_and_links(run, bucket, endpoint, tmp_path):
    s3 = {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": endpoint, "publish_by": "acl"}
    where = ("--config", write_yaml(tmp_path, s3))
    file = Path("stimulus_hvm.zip")
    receipts = []
    for data in ("old", "new"):
        file.write_text(data)
        receipts.append(json.loads(run("upload", file, *where, "--json").stdout))
    old, new = receipts
    found = json.loads(run("versions", file, *where, "--json").stdout)
    assert [version["version_id"] for version in found] == [new["version_id"], old["version_id"]]
    link = run("share", file, *where).stdout.strip()
    assert f"sha256={new['sha256']}" in link
    link = run("share", file, "--sha1", old["sha1"], *where).stdout.strip()
    assert f"sha256={old['sha256']}" in link
    uri = run("publish", file, "--sha256", old["sha256"], *where).stdout.splitlines()[-1]
    assert f"sha256={old['sha256']}" in uri
    assert "private" in run("unpublish", file, *where).stdout
    run("share", file, "--sha1", "0" * 40, *where, code=3)
    run("share", file, "--sha1", "xyz", *where, code=14)
    run("share", file, "--assembly-prefix", "assy_", *where, code=3)


def test_an_assembly_comes_before_another_file_of_its_name(run, several):
    run("upload", "a.nc", "rates.v1")
    Path("rates.v1").write_text("other")
    run("upload", "rates.v1")
    (version,) = json.loads(run("versions", "rates.v1", "--json").stdout)
    assert version["size"] == Path("a.nc").stat().st_size


def test_ls_long_shows_the_newest_of_each(run, several):
    run("upload", "a.nc", "X")
    run("upload", "b.nc", "X")
    Path("notes.txt").write_text("notes")
    run("upload", "notes.txt")
    (Path("lab") / "by hand.txt").write_text("no name that can be loaded")
    rows = [line.split() for line in run("ls", "-l").stdout.splitlines()]
    assert [(row[0], row[1], row[-1]) for row in rows[1:]] == [
        ("2", str(Path("b.nc").stat().st_size), "X"),
        ("-", "-", "hand.txt"),
        ("1", "5", "notes.txt"),
    ]


def test_content_digest_is_of_the_content_whatever_wrote_the_file(run, several):
    make_assembly(0).reset_index(["presentation", "neuroid"]).to_netcdf(
        "d.nc", engine="netcdf4", encoding={"rates": {"zlib": True}}
    )
    digests = [run("content-digest", name).stdout for name in ("a.nc", "b.nc", "d.nc")]
    assert Path("a.nc").read_bytes() != Path("d.nc").read_bytes()
    assert digests[0] == digests[2] != digests[1]
    assert digests[0].startswith("sp1:")
    run("content-digest", "absent.nc", code=3)


# init


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ((), "storage.yaml"),
        (("lab/",), "lab/storage.yaml"),
        (("lab",), "lab/storage.yaml"),
        (("a/b",), "a/b/storage.yaml"),
        (("there",), "there/storage.yaml"),
        (("there.yaml/",), "there.yaml/storage.yaml"),
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


# what comes from outside

ESCAPES = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b2J\r\u202e\u2066\u061c\x7f\x00"


def test_text_from_outside_cannot_control_the_terminal():
    shown = visible(f"a{ESCAPES}b\udc80")
    assert shown == (r"a\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b2J\r\u202e\u2066\u061c\x7f\x00b\udc80")
    assert visible("é…你好\tx\ny") == "é…你好\tx\ny"
    assert visible("x\ny", one_line=True) == r"x\ny"


def harmless(text):
    return not set(text) & set(ESCAPES.replace("[", "").translate(dict.fromkeys(map(ord, "52cZXvpbA;=]J"))))


def test_whatever_is_printed_is_harmless(run, several):
    made = xr.DataArray([1.0, 2.0], dims="t", name=f"n{ESCAPES[:-1]}", attrs={"note": ESCAPES[:-1], "k\x1b[2J": 1})
    storage_plugins.open_store().upload(made, "X.y")
    (Path("lab") / f"x{ESCAPES.replace('/', '')[:-1]}\nfake.csv").write_text("1")
    for words, code in (
        (("load", "X.y"), 0),
        (("ls",), 0),
        (("ls", "-l"), 0),
        (("ls", "--json"), 0),
        (("ls", "-l", "--json"), 0),
        (("load", f"X{ESCAPES}"), 13),
        (("fetch", f"X{ESCAPES}"), 13),
        (("upload", f"a{ESCAPES}.nc", "X"), 3),
        (("upload", "a.nc", f"b{ESCAPES}.nc"), 2),
        ((f"lod{ESCAPES}",), 2),
        (("stores", "-c", f"c{ESCAPES[:-1]}"), 9),
    ):
        done = run(*words, code=code)
        assert harmless(done.stdout + done.stderr), (words, done)
    assert "\nfake.csv" not in run("ls").stdout


def test_logs_and_bugs_are_harmless_too(capsys):
    @cli.command("fails")
    def fails():
        raise RuntimeError(ESCAPES)

    try:
        assert run_command(["fails"]) == OTHER
    finally:
        del cli.commands["fails"]
    printed = capsys.readouterr().err
    assert "RuntimeError" in printed
    assert harmless(printed)
    record = logging.LogRecord("x", logging.WARNING, "", 1, "%s", (ESCAPES,), None)
    assert harmless(VisibleFormatter("%(message)s").format(record))


def test_what_the_terminal_cannot_write_is_escaped(run_process, several):
    made = xr.DataArray([1.0], dims="t", attrs={"note": "é你"})
    storage_plugins.open_store().upload(made, "X")
    done = run_process("load", "X", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert r"\xe9\u4f60" in done.stdout


def test_nothing_is_printed_past_the_output_module():
    folder = Path(storage_plugins.__file__).parent / "cli"
    for path in folder.glob("*.py"):
        if path.name != "_output.py":
            assert not re.search(r"click\.s?echo\(|\bprint\(|sys\.std(out|err)\.write", path.read_text("utf-8")), (
                path.name
            )


# signals

WAITS = """
import sys
from storage_plugins.cli import cli, main

@cli.command()
def wait():
    try:
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        print("cleaned up")

main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_that_is_ignored_stays_ignored():
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, "wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as under nohup
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate("", timeout=60)[0] == "cleaned up\n"
    assert process.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_the_library_sets_no_signal_handlers(run, several):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
    run("upload", "a.nc", "X")
    storage_plugins.open_store().load("X")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)] == before


# help


def commands(group=cli, words=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield (*words, name), command
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


NAMES = ["itself", *(" ".join(words) for words, _ in commands())]


@pytest.mark.parametrize(("words", "command"), [((), cli), *commands()], ids=NAMES)
def test_the_help_of_every_command_ends_with_examples_that_parse(run, words, command):
    text = run(*words, "--help").stdout
    assert "…" not in text
    lines = text.rstrip().split("Example:\n")[1].splitlines()
    for line in lines:
        program, *rest = shlex.split(line)
        assert program == "storage-plugins"
        assert words == tuple(rest[: len(words)])
        parsed(rest)


def parsed(words):
    """Parse a command line as the real command does, without running it."""
    context, command = click.Context(cli), cli
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    for parameter in command.params:
        if isinstance(parameter.type, click.Path) and parameter.type.exists:
            for word in words:
                if not word.startswith("-"):
                    Path(word).mkdir(exist_ok=True)
    return command.make_context(name, words, parent=context)


def test_no_summary_is_cut_short(run):
    assert "..." not in run("--help").stdout.split("Commands:")[1]
    for words, command in commands():
        assert len(command.get_short_help_str(limit=200)) <= 60, words
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or parameter.help, (words, parameter.name)


# JSON

DOCUMENT = Path(__file__).parent.parent / "docs" / "command-line.md"


def differences(documented, printed, where="document"):
    """Yield where what was printed has another shape than what is documented; null and [] there stand for anything."""
    if documented is None or printed is None:
        return
    if type(documented) is not type(printed):
        yield f"{where}: {type(printed).__name__}, not {type(documented).__name__}"
    elif isinstance(documented, dict) and documented:
        if documented.keys() != printed.keys():
            yield f"{where}: {sorted(documented.keys() ^ printed.keys())}"
        for key in documented.keys() & printed.keys():
            yield from differences(documented[key], printed[key], f"{where}.{key}")
    elif isinstance(documented, list) and documented:
        if not printed:
            yield f"{where}: empty"
        for one in printed:
            yield from differences(documented[0], one, f"{where}[]")


@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
def test_json_has_the_shapes_that_are_documented(bucket, endpoint, capsys):
    s3 = {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint, "publish_by": "acl"}
    stores = {"scratch": {"backend": "local", "root": "./assemblies"}, "lab": s3}
    Path("storage.yaml").write_text(json.dumps({"default": "scratch", "stores": stores}))
    make_assembly().reset_index(["presentation", "neuroid"]).to_netcdf("rates.nc", engine="netcdf4")
    Path("stimulus_hvm.zip").write_bytes(b"PK")
    Path("plugins").mkdir()
    Path("plugins/x.py").write_text(f"load_from_s3('X.y', 'v1', '{'0' * 40}')\nload_from_s3(name(), 'v1')\n")
    pattern = r"^`storage-plugins ([^`\n]+--json)`[^\n]*\n\n```json\n(.*?)^```"
    documented = re.findall(pattern, DOCUMENT.read_text("utf-8"), re.S | re.M)
    assert len(documented) >= 15
    assert [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.S | re.M)]
    for line, text in documented:
        capsys.readouterr()
        run_command(shlex.split(line))
        printed = capsys.readouterr()
        assert [*differences(json.loads(text), json.loads(printed.out))] == [], (line, printed)


@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
def test_every_command_and_every_exit_code_is_documented():
    text = DOCUMENT.read_text("utf-8")
    for words, command in commands():
        assert f"`{' '.join(words)}`" in text or hasattr(command, "commands"), words
    codes = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", text, re.M) for code in row.split(",")}
    assert {*range(15), 129, 130, 143} == codes
