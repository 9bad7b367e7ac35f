"""Every command is documented: its help, its examples, its JSON and the exit codes."""

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from conftest import OSF_TOKEN, make_assembly

import storage_plugins
from storage_plugins.cli import cli
from storage_plugins.cli._main import run as run_command

# what the command line adds is the same over each
on_one_backend = pytest.mark.parametrize("yaml_file", ["local"], indirect=True)


def commands(group=cli, words=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield (*words, name), command
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


NAMES = ["itself", *(" ".join(words) for words, _ in commands())]


@pytest.mark.parametrize(("words", "command"), [((), cli), *commands()], ids=NAMES)
def test_the_help_of_every_command_ends_with_examples(run, words, command):
    text = run(*words, "--help").stdout
    assert "…" not in text
    lines = text.rstrip().split("Example:\n")[1].splitlines()
    for line in lines:
        program, *rest = shlex.split(line)
        assert program == "storage-plugins"
        assert words == tuple(rest[: len(words)])


# which commands need stores on servers; the others have folders on this computer
ON_S3 = ("publish", "unpublish", "share")
ON_OSF = ("publish-store",)
WITHOUT_CONFIG = ("init",)


@pytest.fixture
def words_of_today(request):
    """Make what the examples of a command speak of; return a function that puts today's ids and hashes into a line."""

    def prepare(name: str):
        stores = {"lab": {"backend": "local", "root": "./lab"}, "ours": {"backend": "local", "root": "./ours"}}
        if name in ON_S3:
            bucket, endpoint = request.getfixturevalue("bucket"), request.getfixturevalue("endpoint")
            stores["lab"] = {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint, "publish_by": "acl"}
        if name in ON_OSF:
            stores["ours"] = osf_store(request)
        config = {"default": "lab", "stores": stores}
        for number, file in enumerate(("rates.nc", "monkey1.nc", "monkey2.nc")):
            make_assembly(number).reset_index(["presentation", "neuroid"]).to_netcdf(file, engine="netcdf4")
        Path("assemblies.csv").write_text("path,identifier\nmonkey1.nc,Lab2026.monkey1\n")
        for file in ("stimulus_hvm.zip", "stimulus_hvm.csv"):
            Path(file).write_text(file)
        Path("brainscore_vision").mkdir()
        Path("brainscore_vision/x.py").write_text(f"load_from_s3('X.y', 'v1', '{'0' * 40}')\n")
        if name in WITHOUT_CONFIG:
            return lambda line: line
        Path("storage.yaml").write_text(json.dumps(config))
        lab = storage_plugins.open_store("lab", config="storage.yaml")
        first = lab.upload("monkey2.nc", "Lab2026.rates")
        newest = lab.upload("rates.nc", "Lab2026.rates")
        for number in (1, 2):
            lab.upload(f"monkey{number}.nc", f"Lab2026.monkey{number}")
        for file in ("stimulus_hvm.zip", "stimulus_hvm.csv"):
            lab.upload_file(file)
        if name not in ("mirror", *ON_S3, *ON_OSF):
            assert storage_plugins.mirror("lab", "ours", config="storage.yaml").complete
        if name == "diff":
            shutil.copy("rates.nc", "rebuilt.nc")
        if name == "load":
            Path("rates.nc").unlink()  # it is to be written
        texts = {
            r"'s3://\S+'": f"'{newest.uri}'",
            r"\b1-[0-9a-f]{12}\b": first.version_id,
            r"\b2-[0-9a-f]{12}\b": newest.version_id,
            r"\b[0-9a-f]{40}\b": newest.sha1,
            r"\bosf:abc12\b": storage_plugins.open_store("ours", config="storage.yaml").address,
        }

        def of_today(line: str) -> str:
            for pattern, text in texts.items():
                line = re.sub(pattern, lambda _, text=text: str(text), line)
            return line

        return of_today

    return prepare


def osf_store(request):
    """Return the settings of the project abc12 on the stand-in, private and empty."""
    osf = request.getfixturevalue("osf")
    osf.host.node(guid="abc12", roles={OSF_TOKEN: "admin"})
    return {"backend": "osf", "project": "abc12", "token": OSF_TOKEN, "api_url": osf.api_url}


@pytest.mark.parametrize(("words", "command"), [((), cli), *commands()], ids=NAMES)
def test_the_examples_of_every_command_run(run, words, command, words_of_today):
    name = " ".join(words)
    of_today = words_of_today(name)
    if name in (*ON_S3, *ON_OSF):
        run("trust", "storage.yaml")
    if name == "unpublish":
        run("publish", "Lab2026.rates")
    for line in command.epilog.split("Example:\n")[1].splitlines():
        if name in WITHOUT_CONFIG:
            Path("storage.yaml").unlink(missing_ok=True)
        differ = name == "diff" and "--from" in line
        run(*shlex.split(of_today(line))[1:], code=1 if differ else 0)


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


def documented_json():
    """Return the command lines of each documented shape, and the shape."""
    pattern = r"^(`storage-plugins [^\n]*--json`(?:[^\n]+\n)*[^\n]*)\n\n```json\n(.*?)^```"
    found = re.findall(pattern, DOCUMENT.read_text("utf-8"), re.S | re.M)
    return [(re.findall(r"`storage-plugins ([^`]+ --json)`", head), json.loads(text)) for head, text in found]


@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
def test_json_has_the_shapes_that_are_documented(bucket, endpoint, capsys, monkeypatch, request):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):  # a session token needs trust
        monkeypatch.setenv(f"AWS_{name}", "temporary")
    s3 = {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint, "publish_by": "acl"}
    ours = osf_store(request)
    stores = {"scratch": {"backend": "local", "root": "./assemblies"}, "lab": s3}
    Path("storage.yaml").write_text(json.dumps({"default": "scratch", "stores": stores}))
    make_assembly().reset_index(["presentation", "neuroid"]).to_netcdf("rates.nc", engine="netcdf4")
    sha1 = hashlib.sha1(Path("rates.nc").read_bytes()).hexdigest()
    Path("stimulus_hvm.zip").write_bytes(b"PK")
    Path("plugins").mkdir()
    Path("plugins/x.py").write_text(f"load_from_s3('X.y', 'v1', '{'0' * 40}')\nload_from_s3(name(), 'v1')\n")
    documented = documented_json()
    assert len(documented) >= 20
    assert len(documented) == DOCUMENT.read_text("utf-8").count("```json\n")
    for lines, shape in documented:
        for line in lines:
            if line.startswith("publish-store"):
                Path("storage.yaml").write_text(json.dumps({"default": "scratch", "stores": {**stores, "ours": ours}}))
                run_command(["trust", "storage.yaml"])
                address = storage_plugins.open_store("ours", config="storage.yaml").address
                line = line.replace("osf:abc12", address)
            capsys.readouterr()
            run_command(shlex.split(line.replace("dbc8…", sha1)))
            printed = capsys.readouterr()
            assert [*differences(shape, json.loads(printed.out))] == [], (line, printed)


@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
def test_every_command_that_prints_json_has_a_documented_shape():
    documented = {line for lines, _ in documented_json() for line in lines}
    for words, command in commands():
        if any(parameter.name == "as_json" or "--json" in parameter.opts for parameter in command.params):
            name = " ".join(words)
            assert any(line.startswith(f"{name} ") for line in documented), f"{name} --json"


@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
def test_every_command_and_every_exit_code_is_documented():
    text = DOCUMENT.read_text("utf-8")
    for words, command in commands():
        assert f"`{' '.join(words)}`" in text or hasattr(command, "commands"), words
    codes = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", text, re.M) for code in row.split(",")}
    assert {*range(15), 129, 130, 143} == codes
