"""Every command is documented: its help, its examples, its JSON and the exit codes."""

import hashlib
import json
import re
import shlex
from pathlib import Path

import click
import pytest
from conftest import make_assembly

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
def test_json_has_the_shapes_that_are_documented(bucket, endpoint, capsys, monkeypatch):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):  # a session token needs trust
        monkeypatch.setenv(f"AWS_{name}", "temporary")
    s3 = {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint, "publish_by": "acl"}
    stores = {"scratch": {"backend": "local", "root": "./assemblies"}, "lab": s3}
    Path("storage.yaml").write_text(json.dumps({"default": "scratch", "stores": stores}))
    make_assembly().reset_index(["presentation", "neuroid"]).to_netcdf("rates.nc", engine="netcdf4")
    sha1 = hashlib.sha1(Path("rates.nc").read_bytes()).hexdigest()
    Path("stimulus_hvm.zip").write_bytes(b"PK")
    Path("plugins").mkdir()
    Path("plugins/x.py").write_text(f"load_from_s3('X.y', 'v1', '{'0' * 40}')\nload_from_s3(name(), 'v1')\n")
    pattern = r"^`storage-plugins ([^`\n]+--json)`[^\n]*\n\n```json\n(.*?)^```"
    documented = re.findall(pattern, DOCUMENT.read_text("utf-8"), re.S | re.M)
    assert len(documented) >= 15
    assert [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.S | re.M)]
    for line, text in documented:
        capsys.readouterr()
        run_command(shlex.split(line.replace("dbc8…", sha1)))
        printed = capsys.readouterr()
        assert [*differences(json.loads(text), json.loads(printed.out))] == [], (line, printed)


@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
def test_every_command_and_every_exit_code_is_documented():
    text = DOCUMENT.read_text("utf-8")
    for words, command in commands():
        assert f"`{' '.join(words)}`" in text or hasattr(command, "commands"), words
    codes = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", text, re.M) for code in row.split(",")}
    assert {*range(15), 129, 130, 143} == codes
