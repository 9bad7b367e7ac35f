"""What the command line prints cannot control the terminal, and signals leave nothing behind."""

import logging
import os
import re
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import xarray as xr

import storage_plugins
from storage_plugins._visible import on_one_line
from storage_plugins.cli import cli
from storage_plugins.cli._exit_codes import OTHER
from storage_plugins.cli._main import run as run_command
from storage_plugins.cli._output import VisibleFormatter, visible

# what the command line adds is the same over each
on_one_backend = pytest.mark.parametrize("yaml_file", ["local"], indirect=True)


ESCAPES = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b2J\r\u202e\u2066\u061c\x7f\x00"


def test_text_from_outside_cannot_control_the_terminal():
    shown = visible(f"a{ESCAPES}b\udc80")
    assert shown == (r"a\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b2J\r\u202e\u2066\u061c\x7f\x00b\udc80")
    assert visible("é…你好\tx\ny") == "é…你好\tx\ny"
    assert visible("x\ny", one_line=True) == r"x\ny"


def test_an_error_on_one_line_is_sentences():
    assert on_one_line("store 'b' is gone\n  Check bucket:\n  or ask") == "store 'b' is gone. Check bucket: or ask"
    assert on_one_line("One line") == "One line"
    assert on_one_line("") == ""


def harmless(text):
    return not set(text) & set(ESCAPES.replace("[", "").translate(dict.fromkeys(map(ord, "52cZXvpbA;=]J"))))


def test_an_error_that_python_prints_is_harmless_too():
    error = storage_plugins.AssemblyNotFound(f"There is no a{ESCAPES}", hint=f"Look into b{ESCAPES}.\x1b[m")
    assert harmless(str(error))
    assert harmless("".join(traceback.format_exception(error)))
    assert harmless(error.message)  # it goes to logs
    assert ESCAPES in error.args[0]


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


@pytest.mark.slow
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
