"""The command line in the process of the tests: what a Python of its own would print and return, a second sooner."""

import contextlib
import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from storage_plugins.cli import main


def run_command(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run ``storage-plugins`` here, or with options of ``subprocess.run`` in a Python of its own."""
    texts = list(map(str, arguments))
    if options:
        command = [sys.executable, "-m", "storage_plugins", *texts]
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _as_at_the_start(texts):
        try:
            main()
        except SystemExit as end:
            code = end.code
    printed = [stream.buffer.getvalue().decode("utf-8") for stream in (out, err)]
    return subprocess.CompletedProcess(texts, code, *printed)


@contextlib.contextmanager
def _as_at_the_start(arguments: list[str]) -> Iterator[None]:
    """Have the arguments where a process has them, and logging not set up yet; in the end as before."""
    root, ours = logging.getLogger(), logging.getLogger("storage_plugins")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["storage-plugins", *arguments])
        patch.setattr(sys, "stdin", io.StringIO())
        patch.setattr(root, "handlers", [])  # pytest's
        levels = root.level, ours.level
        yield
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
