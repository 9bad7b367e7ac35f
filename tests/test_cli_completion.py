"""Completion in a shell: the lines that are documented work, and complete commands, options and stores."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("storage-plugins")
DOCUMENT = Path(__file__).parent.parent / "docs" / "command-line.md"
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="the command is not installed beside this Python")


def completed(shell, *words):
    """Return what a shell is offered for the last word."""
    Path("storage.yaml").write_text(
        json.dumps({"stores": {name: {"backend": "local", "root": name} for name in ("lab", "labelled", "ours")}})
    )
    variables = {
        "_STORAGE_PLUGINS_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["storage-plugins", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    done = subprocess.run([PROGRAM], env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("shell", "expected"), [("bash", ["plain,verify"]), ("zsh", ["plain", "verify"]), ("fish", ["plain,verify"])]
)
def test_commands_are_completed_in_each_shell(shell, expected):
    lines = completed(shell, "cache", "ver").splitlines()
    assert [line.split("\t")[0] for line in lines][: len(expected)] == expected


@pytest.mark.parametrize("words", [("ls", "--store", "la"), ("mirror", "ours", "la"), ("check", "la")], ids=" ".join)
def test_names_of_stores_are_completed(words):
    assert completed("bash", *words).split() == ["plain,lab", "plain,labelled"]


def test_a_broken_storage_yaml_completes_nothing_and_says_nothing():
    Path("other.yaml").write_text("stores: [")
    assert completed("bash", "ls", "-c", "other.yaml", "-s", "la").strip() == ""


@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_documented_line_gives_a_shell_its_completion(shell):
    row = re.search(rf"^\| {shell}[^|]*\|[^|]*\| `(.*?)` \|$", DOCUMENT.read_text("utf-8"), re.M)
    line = row[1].replace(r"\|", "|")
    assert f"_STORAGE_PLUGINS_COMPLETE={shell}_source storage-plugins" in line
    path = os.pathsep.join([str(PROGRAM.parent), os.environ["PATH"]])
    if shutil.which(shell) is None:
        source = subprocess.run(
            [PROGRAM],
            env={**os.environ, "_STORAGE_PLUGINS_COMPLETE": f"{shell}_source"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "_STORAGE_PLUGINS_COMPLETE" in source
        pytest.skip(f"there is no {shell} here")
    asked = {
        "bash": "COMP_WORDS=(storage-plugins cac); COMP_CWORD=1; _storage_plugins_completion storage-plugins; "
        'echo "${COMPREPLY[@]}"',
        "zsh": "whence -w _storage_plugins_completion",
        "fish": 'complete --do-complete "storage-plugins cac"',
    }
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}
    if shell == "zsh":
        line = f"autoload -U compinit; compinit -u; {line}"
    done = subprocess.run(
        [shell, *options[shell], "-c", f"{line}\n{asked[shell]}"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert ("function" if shell == "zsh" else "cache") in done.stdout, done


@pytest.mark.slow
@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_tab_key_completes_in_a_terminal(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    row = re.search(rf"^\| {shell}[^|]*\| `~/([^`]*)` \| `(.*?)` \|$", DOCUMENT.read_text("utf-8"), re.M)
    file = tmp_path / row[1]
    file.parent.mkdir(parents=True, exist_ok=True)
    first = "autoload -U compinit && compinit -u\n" if shell == "zsh" else ""
    file.write_text(first + row[2].replace(r"\|", "|") + "\n")
    Path("storage.yaml").write_text('{"stores": {"scratch": {"backend": "local", "root": "here"}}}')
    path = os.pathsep.join([str(PROGRAM.parent), os.environ["PATH"]])
    variables = {"HOME": str(tmp_path), "PATH": path, "TERM": "xterm", "LANG": "C.UTF-8"}
    words = {"storage-plugins cata": "storage-plugins catalogue ", "storage-plugins check scr": "check scratch "}
    for typed, completed in words.items():
        assert completed in on_a_terminal([shell, "-i"], variables, typed, completed)


def on_a_terminal(command, variables, typed, until):
    """Return what a shell shows when a line is typed and the Tab key is pressed, as soon as ``until`` is there."""
    pty = pytest.importorskip("pty")  # not on Windows
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(command[0], command, variables)
    shown, end = "", time.monotonic() + 60
    pressed = False
    try:
        while until not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 2.0)[0]:
                shown += os.read(terminal, 1 << 16).decode("utf-8", "replace")
                shown = re.sub(r"\x1b[\[\]()][0-9;?]*[a-zA-Z=>]?", "", shown)  # colours and moves of the cursor
            elif not pressed:  # it is silent, so it waits for a command
                os.write(terminal, f"{typed}\t".encode())
                pressed = True
        return shown
    finally:
        os.kill(process, signal.SIGKILL)
        os.close(terminal)
        os.waitpid(process, 0)
