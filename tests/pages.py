"""The blocks of a document as one script: what its reader does, from top to bottom, in a folder.

- ``yaml`` is written to storage.yaml, ``ini`` to the user's file of AWS credentials.
- ``python`` is run.
- ``pycon`` is run as a doctest: what it prints must be what the page shows. ``...`` stands for anything.
- ``console``: lines that begin with ``$ `` are commands of a shell, which must succeed; the lines below such a line, if
  there are any, are what it prints, with ``...`` for anything, any number or hash for another one, and any folder for
  that of a path. The server of a bucket is not compared.

Blocks of one document share their variables, their folder and their environment. Other languages are not run.
"""

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from storage_plugins.cli._main import run as run_command

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


LANGUAGES = ("yaml", "ini", "python", "pycon", "console")


def script(text: str, languages: Iterable[str] = LANGUAGES) -> str:
    """Return Python that does what the blocks of a document in these languages say."""
    code = "import pages\nfrom pathlib import Path\n"
    pattern = rf"^ *```({'|'.join(languages)})\n(.*?)^ *```"
    for language, indented in re.findall(pattern, text, re.S | re.M):
        block = textwrap.dedent(indented)
        if language == "python":
            code += block
        elif language == "yaml":
            code += f"Path('storage.yaml').write_text({block!r})\n"
        elif language == "ini":
            code += f"Path('~/.aws/credentials').expanduser().write_text({block!r})\n"
        elif language == "pycon":
            code += f"pages.session({block!r}, globals())\n"
        else:
            code += f"pages.shell({block!r})\n"
    return code


def session(block: str, names: dict[str, Any]) -> None:
    """Run a Python session, and fail unless it prints what is shown."""
    test = doctest.DocTestParser().get_doctest(block, names, "session", None, 0)
    report = io.StringIO()
    test.globs = names  # the names that it makes are for later blocks
    done = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.write, clear_globs=False)
    assert done.failed == 0, report.getvalue()


def shell(block: str) -> None:
    """Run the commands of a console, and fail unless they succeed and print what is shown."""
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", block, re.M):
        printed = _here(command) if _is_ours(command) else _in_a_shell(command)
        if shown.strip():
            as_shown = doctest.OutputChecker().check_output(_masked(shown), _masked(printed), FLAGS)
            assert as_shown, f"{command}\n{printed}\nnot\n{shown}"


def _masked(text: str) -> str:
    text = re.sub(r"\?endpoint_url=https?://[\w.]+:\d+", "", text)
    text = re.sub(r"((?<=file://)|(?<!\S))/(\S+/)?", "/", text)
    return re.sub(r"\b[0-9a-f]*\d[0-9a-f]*\b", "0", text)


def _is_ours(command: str) -> bool:
    return command.startswith("storage-plugins ") and not set("|<>&;$`*") & set(command)


def _here(command: str) -> str:
    """Run our command in this process, which is sooner."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command(shlex.split(command)[1:])
    assert code == 0, f"{command}\n{out.getvalue()}{err.getvalue()}"
    return out.getvalue()


def _in_a_shell(command: str) -> str:
    """Run a command, and take over what it exports."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder, "environment")
        done = subprocess.run(
            ["bash", "-ec", f"{command}\nenv -0 >{environment}"],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path},
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        os.environ.update(line.split("=", 1) for line in environment.read_text().split("\0") if "=" in line)
    return done.stdout
