"""The command line: what it prints, what it leaves, and its exit codes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from conftest import make_assembly, write_yaml

import storage_plugins
from storage_plugins.cli._exit_codes import OTHER, exit_code

# what the command line adds is the same over each
on_one_backend = pytest.mark.parametrize("yaml_file", ["local"], indirect=True)


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


def test_a_uri_is_loaded_without_any_configuration(run, several, tmp_path):
    receipt = json.loads(run("upload", "a.nc", "Lab2026.rates", "--json").stdout)
    run("upload", "b.nc", "Lab2026.rates")
    Path("storage.yaml").unlink()
    shutil.rmtree("receipts")
    assert run("load", receipt["uri"]).stdout == run("load", receipt["uri"]).stdout != ""
    run("load", receipt["uri"], "-o", "copy.nc")
    assert Path("copy.nc").read_bytes() == Path("a.nc").read_bytes()
    run("load", receipt["uri"], "-o", "folder/")
    assert Path("folder", receipt["key"]).read_bytes() == Path("a.nc").read_bytes()
    assert json.loads(run("load", receipt["uri"], "--json").stdout)["size"] == receipt["size"]
    for more in (("--sha1", receipt["sha1"]), ("--newest",), ("-s", "lab"), ("--assembly-prefix", "x_")):
        assert "leave out" in run("load", receipt["uri"], *more, code=2).stderr
    run("load", receipt["uri"].replace("#sha256=", "#sha256=0"), code=14)
    run("load", receipt["uri"].replace("assy_", "assi_"), code=3)
    run("load", "lab:Lab2026.rates", code=13)


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


@pytest.mark.slow  # the README has it too
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


def test_a_problem_of_a_store_has_its_advice_on_a_line_of_its_own(run):
    Path("storage.yaml").write_text("stores:\n  b: {backend: lokal}\n")
    (problem,) = (row["problem"] for row in json.loads(run("stores", "--json").stdout)["stores"])
    first, *advice = problem.splitlines()
    assert advice
    shown = run("stores").stdout.splitlines()
    assert shown[1].endswith(first)
    assert [line.strip() for line in shown[2 : 2 + len(advice)]] == [line.strip() for line in advice]


def test_a_short_hash_comes_with_where_to_find_all_of_it(run, several):
    run("upload", "a.nc", "Lab2026.rates")
    assert "`storage-plugins versions NAME`" in run("load", "Lab2026.rates", "--sha1", "7aa19ac2", code=14).stderr


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

    assert "keeps every version" in told(backend="local", root="./assemblies")
    s3 = {"backend": "s3", "endpoint_url": endpoint}
    assert "keeps every version" in told(**s3, bucket=new_bucket())
    unversioned = told(**s3, bucket=new_bucket(versioned=False))
    assert "changed bytes are refused" in unversioned
    assert "may be lost" in unversioned
    assert "cannot be asked" in told(**s3, bucket="nobody-made-this")


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
    assert "Did you mean" not in run("load", "Lab2026.rates", "--version-id", "9-0", code=3).stderr  # it is there


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
    assert "No storage.yaml was found from" in run("ls").stderr
    write_yaml(Path(), {"backend": "local", "root": "./lab"})
    assert run("ls").stdout == ""
    assert "lab is empty.\n" in run("ls").stderr
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
    (only,) = json.loads(run("versions", file, "--sha1", old["sha1"].upper(), *where, "--json").stdout)
    assert only["version_id"] == old["version_id"]
    run("versions", file, "--sha1", "0" * 40, *where, code=3)
    link = run("share", file, *where).stdout.strip()
    assert f"sha256={new['sha256']}" in link
    link = run("share", file, "--sha1", old["sha1"], *where).stdout.strip()
    assert f"sha256={old['sha256']}" in link
    uri = run("publish", file, "--sha256", old["sha256"], *where).stdout.splitlines()[-1]
    assert f"sha256={old['sha256']}" in uri
    assert "private" in run("unpublish", file, *where).stdout
    run("share", file, "--sha1", "0" * 40, *where, code=5)
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


def test_every_store_is_listed_and_one_out_of_order_does_not_stop_the_others(run, several):
    stores = {
        "broken": {"backend": "local", "root": "./file"},
        "lab": {"backend": "local", "root": "./lab"},
        "empty": {"backend": "local", "root": "./empty"},
        "wrong": {"backend": "s3"},
    }
    Path("storage.yaml").write_text(json.dumps({"default": "lab", "stores": stores}))
    Path("file").write_text("")
    Path("notes.txt").write_text("notes")
    run("upload", "a.nc", "X")
    run("upload", "notes.txt")
    done = run("ls", "--store", "all", code=9)
    assert done.stdout.splitlines()[-5:] == [
        next(line for line in done.stdout.splitlines() if line.startswith("lab, file://")),
        "  X",
        "  Other files:",
        "    notes.txt",
        next(line for line in done.stdout.splitlines() if line.startswith("empty, file://")),
    ]
    assert "wrong: " in done.stderr
    rows = json.loads(run("ls", "-l", "-s", "all", "--json", code=9).stdout)["stores"]
    assert [row["store"] for row in rows] == [*stores]
    assert rows[1]["identifiers"][0]["versions"] == 1
    assert rows[3]["problem"] is not None
    stores["all"] = {"backend": "local", "root": "./other"}
    Path("storage.yaml").write_text(json.dumps({"default": "lab", "stores": stores}))
    assert "is empty" in run("ls", "--store", "all").stderr
