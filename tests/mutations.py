"""Mistakes in our own backends, made one at a time, and the tests of the kit that notice them.

    python tests/mutations.py                   # all, more than an hour
    python tests/mutations.py s3 osf            # of some backends
    python tests/mutations.py local:seek        # one

Each mutation of ``mutations.toml`` replaces text in a copy of one plugin. The kit then runs on that copy until its
first failure, the quick tests first. The ``web`` backend cannot upload, which the kit needs, so its own tests run
instead. A mutation that no test notices goes through ``storage-plugins check`` as well. Results are written as they
come, as a table.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PLUGINS = TESTS.parent / "plugins"
SLOW = (
    "processes or any_history or any_assembly or memory or awkward or child_process or similar or large or long or "
    "never_answers or too_close or forked or threads or parts or full_pages"
)
SLOW_IMPORTS = (
    *("boto3", "fsspec", "hypothesis", "moto.server", "netCDF4", "paramiko", "requests", "xarray"),
    *("storage_plugins.testing._suite", "storage_plugins._check.check", "osf_server", "s3_servers", "sftp_server"),
)
SECONDS = 600  # for the kit on one mutation
KITS = {
    "local": ["test_kit.py::TestLocal"],
    "fsspec": ["test_kit.py::TestFsspec", "test_kit.py::TestSftp"],
    "s3": ["test_kit.py::TestS3WithoutVersions", "test_kit.py::TestS3"],
    "osf": ["test_kit.py::TestOSF"],
    "web": ["test_web.py"],
}
CHECKS = {
    "local": "test_a_store_is_found_right_and_left_as_it_was[local]",
    "s3": "test_a_store_is_found_right_and_left_as_it_was[s3]",
    "osf": "test_a_store_is_found_right_and_left_as_it_was[osf]",
    "fsspec": "test_a_store_is_found_right_and_left_as_it_was[sftp]",
}


@dataclasses.dataclass(frozen=True)
class Mutation:
    """A mistake: ``changes`` are pairs of texts, of which the first is in the file exactly once."""

    name: str
    does: str
    file: str
    changes: tuple[tuple[str, str], ...]


MUTATIONS = {
    backend: [Mutation(**{**each, "changes": tuple(map(tuple, each["changes"]))}) for each in mutations]
    for backend, mutations in tomllib.loads((TESTS / "mutations.toml").read_text("utf-8")).items()
}


def mutate(backend: str, mutation: Mutation, folder: Path) -> None:
    """Write the plugin of a backend, with one mistake, to ``folder``."""
    name = f"storage_plugins_{backend}"
    shutil.copytree(PLUGINS / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / name / mutation.file
    text = path.read_text("utf-8")
    for old, new in mutation.changes:
        if text.count(old) != 1:
            raise SystemExit(f"{backend}:{mutation.name}: {old!r} is in {mutation.file} {text.count(old)} times")
        text = text.replace(old, new)
    compile(text, str(path), "exec")
    path.write_text(text, encoding="utf-8")


def pytest_run(folder: Path, *arguments: str) -> tuple[str, str]:
    """Run tests against the plugin in ``folder``; return what failed, if anything did, and what it said."""
    command = ["-x", "-v", "-n0", "-m", "", "--tb=short", "--assert=plain", "-p", "no:cacheprovider"]
    report = folder / "report.txt"
    process = multiprocessing.get_context("fork").Process(
        target=_run_here, args=([*command, f"--basetemp={folder / 'tmp'}", *arguments], folder, report)
    )
    process.start()
    process.join(SECONDS)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    shown = report.read_text("utf-8", "replace")
    if code is None:
        begun = re.findall(r"^\S+?::(\w+(?:\[.*?\])?) *", shown, re.M)
        return f"{begun[-1] if begun else '?'} (no end)", f"no end within {SECONDS} s"
    if code in (0, 5):
        return "", ""
    failed = re.search(r"^(?:FAILED|ERROR) \S+::(\S+)(?: - (.*))?$", shown, re.M)
    return (failed[1], failed[2] or "") if failed else (f"pytest ended with {code}", shown[-500:])


def _run_here(command: list[str], folder: Path, report: Path) -> None:
    """Run pytest in this process, which was forked after the slow imports, and exit."""
    path = [str(folder), *(str(TESTS / each) for each in (".", "site"))]
    os.environ |= {"PYTHONPATH": os.pathsep.join(path), "COLUMNS": "250"}
    sys.path[:0] = path
    os.chdir(TESTS)
    with report.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os._exit(pytest.main(command))


def noticed(backend: str, mutation: Mutation, *, quick: bool) -> tuple[str, str, float]:
    """Return the test that notices a mutation, an empty text if none does; what it said; and the seconds it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        folder = Path(name)
        mutate(backend, mutation, folder)
        runs = [["-k", f"not ({SLOW})", *KITS[backend]], ["-k", SLOW, *KITS[backend]]]
        if backend in CHECKS:
            runs.append([f"test_check.py::{CHECKS[backend]}"])
        for number, arguments in enumerate(runs[:1] if quick else runs):
            test, said = pytest_run(folder, *arguments)
            if test:
                return ("check" if number == 2 else test), said, time.monotonic() - began
    return "", "", time.monotonic() - began


def main() -> None:
    """Run the mutations that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help="backends, or backend:name")
    parser.add_argument("--fit", action="store_true", help="only look whether every mutation fits the code")
    parser.add_argument("--quick", action="store_true", help="run only the quick tests")
    arguments = parser.parse_args()
    every = {f"{backend}:{one.name}": (backend, one) for backend, all_ in MUTATIONS.items() for one in all_}
    wanted = arguments.which or list(MUTATIONS)
    chosen = [every[name] for which in wanted for name in every if which in (name, name.partition(":")[0])]
    sys.path[:0] = [str(TESTS), str(TESTS / "site")]
    for module in SLOW_IMPORTS:
        importlib.import_module(module)
    for backend, mutation in chosen:
        if arguments.fit:
            with tempfile.TemporaryDirectory() as name:
                mutate(backend, mutation, Path(name))
            continue
        test, said, seconds = noticed(backend, mutation, quick=arguments.quick)
        shown = " ".join(said.split())[:100].replace("|", "/")
        print(
            f"| {backend} | {mutation.name} | {mutation.does} | {test or 'none'} | {seconds:.0f} s | {shown} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
