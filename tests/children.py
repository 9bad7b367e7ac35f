"""Processes that begin where a Python of their own would after a second of imports: forked from one that has them."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

IMPORTS = ["storage_plugins.codec", "s3fs", "osfclient.models.session", "dask.array", "h5py", "netCDF4", "hypothesis"]


def context() -> Any:
    """Return the way to make processes, queues, … of a server that has the imports and no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTS)
    return context


def child(function: Callable[..., object], *arguments: object) -> BaseProcess:
    """Return a process, not yet started, that calls ``function`` with the environment and folder of now."""
    return context().Process(target=_as_here, args=(dict(os.environ), Path.cwd(), function, *arguments), daemon=True)


def _as_here(environment: dict[str, str], folder: Path, function: Callable[..., object], *arguments: object) -> None:
    os.environ.clear()  # the server's, which is that of the first test
    os.environ.update(environment)
    os.chdir(folder)
    function(*arguments)


def run_python(script: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a script as ``python script arguments``; warnings that are its own are errors."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = child(_run, str(script), list(map(str, arguments)), out, err)
        process.start()
        process.join()
        return subprocess.CompletedProcess(str(script), process.exitcode or 0, out.read_text(), err.read_text())


def _run(script: str, arguments: list[str], out: Path, err: Path) -> None:
    for number, path in enumerate((out, err), 1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    warnings.filterwarnings("error", module="__main__")
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
