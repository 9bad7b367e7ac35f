"""Run functions in other processes; and the functions."""

from __future__ import annotations

import functools
import math
import multiprocessing
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from storage_plugins import FileOperations, Receipt, Store

from ._lab import outcome, read

_SILENT = 90.0  # seconds without an answer


def in_children(
    method: str,
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Any]:
    """Call ``function`` with each of ``arguments``, each in its own process, all at once; return the answers.

    ``method`` is "fork" or "spawn". The test is skipped where the system has no safe fork. ``meanwhile`` is called
    in this process while the children work.
    """
    context = _context(method)
    children = []
    try:
        for each in arguments:
            pipe, other = context.Pipe(duplex=False)
            child = context.Process(target=_answer, args=(other, function, *each), daemon=True)
            children.append((child, pipe))
            _start(child)
            other.close()
        meanwhile()
        return [_answer_of(pipe, method) for _, pipe in children]
    finally:
        for child, pipe in children:
            if child.pid is not None:
                child.kill()
                child.join()
            pipe.close()


def killed(method: str, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> float:
    """Call ``function`` in another process, and kill it after so many seconds; return how long it took, or infinity."""
    child = _context(method).Process(target=outcome, args=(functools.partial(function, *arguments),), daemon=True)
    began = time.perf_counter()
    _start(child)
    child.join(seconds)
    took = time.perf_counter() - began if child.exitcode is not None else math.inf
    child.kill()
    child.join()
    return took


def _context(method: str) -> Any:
    if method not in multiprocessing.get_all_start_methods() or (method == "fork" and sys.platform == "darwin"):
        pytest.skip(f"{method} is not available on this system")
    return multiprocessing.get_context(method)


def _start(child: Any) -> None:
    with warnings.catch_warnings():  # newer Pythons warn about forking with threads, which is what is tested
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()


def _answer(pipe: Any, function: Callable[..., Any], *arguments: Any) -> None:
    try:
        answer = True, function(*arguments)
    except BaseException:
        answer = False, traceback.format_exc()
    pipe.send(answer)
    pipe.close()


def _answer_of(pipe: Any, method: str) -> Any:
    try:
        good, answer = pipe.recv() if pipe.poll(_SILENT) else (False, f"no answer within {_SILENT} seconds")
    except EOFError:
        good, answer = False, "it died"
    if not good:
        pytest.fail(f"in a process made by {method}: {answer}")
    return answer


def fetch(store: Store, receipt: Receipt) -> bytes:
    """Read a file from the host, not from the cache."""
    return read(store.files, receipt.key, receipt.version_id)  # type: ignore[attr-defined]


def read_many(files: FileOperations, wanted: Sequence[tuple[str, str | None, bytes]], times: int) -> list[str]:
    """Read files several times, and return what was wrong."""
    wrong = []
    for _ in range(times):
        for key, version_id, data in wanted:
            got = outcome(functools.partial(read, files, key, version_id))
            listed = outcome(lambda key=key: [version.version_id for version in files.versions(key)])  # type: ignore[misc]
            if got != data:
                wrong.append(f"read({key}): {got!r:.100}")
            if listed != [version_id]:
                wrong.append(f"versions({key}): {listed!r:.100}")
    return wrong


def load_newest(store: Store, receipt: Receipt) -> Any:
    """Load an assembly, asking the store."""
    return store.load(receipt.identifier, newest=True)


def upload_many(store: Store, paths: Sequence[Path], name: str) -> list[Receipt]:
    """Upload files under one name, one after the other."""
    return [store.upload_file(path, name) for path in paths]


def upload_assembly(store: Store, assembly: Any, identifier: str) -> Any:
    """Upload an assembly, and return the receipt or the error."""
    return outcome(lambda: store.upload(assembly, identifier))


def growth(store: Store, small: Path, large: Path) -> tuple[int, int]:
    """Return the memory in bytes that the upload of a large file needed, and the upload and download together."""
    store.upload_file(small, "small.bin")
    store.fetch("small.bin", newest=True)
    before = _peak()
    store.upload_file(large, "large.bin")
    uploaded = _peak()
    store.fetch("large.bin", newest=True)
    return uploaded - before, _peak() - before


def _peak() -> int:
    """Return the peak memory of this process in bytes, on Linux."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
