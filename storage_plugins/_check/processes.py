"""Uploads from several processes at the same moment.

Each process is a new Python, so that they share nothing but the store's location. `multiprocessing` would run the
caller's script again in each of them, unless the script guards against it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from .._copies.cache import Cache
from ..errors import StorageError
from ..protocol import Receipt

if TYPE_CHECKING:
    from .._store.file_store import FileStore

_CODE = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from storage_plugins._check.processes import main; main()"
)
_START = 60.0  # seconds for all processes to start and to connect to the store


class Alone(Exception):
    """Other processes cannot upload to the store; says why."""


def from_processes(store: FileStore, paths: Sequence[Path], name: str, cache: Path) -> list[Receipt | StorageError]:
    """Upload each of ``paths`` under one name, all at the same moment; return the results in that order.

    Args:
        store: is opened again in each process.
        paths: one file for each process.
        name: the file name in the store.
        cache: an empty folder, the cache of these processes.

    Raises:
        Alone: the processes cannot be started, or cannot open the store.
    """
    if not sys.executable:
        raise Alone("the path of the Python interpreter is unknown")
    try:
        jobs = [pickle.dumps((store, path, name, cache)) for path in paths]
    except Exception as error:
        raise Alone(f"the store cannot be opened in another process: {_shown(error)}") from error
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool, contextlib.ExitStack() as stack:
        try:
            children = [stack.enter_context(_child()) for _ in jobs]
        except OSError as error:
            raise Alone(f"another process cannot be started: {error}") from error
        ready = [pool.submit(_begin, child, job) for child, job in zip(children, jobs, strict=True)]
        concurrent.futures.wait(ready, _START, concurrent.futures.FIRST_EXCEPTION)
        for problem in [begun.exception() for begun in ready if begun.done()]:
            if problem is not None:
                raise Alone(f"the store cannot be opened in another process: {_shown(problem)}") from problem
        if not all(begun.done() for begun in ready):
            raise Alone(f"another process did not start within {_START:.0f} s")
        return list(pool.map(_upload, children))


def main() -> None:
    """Be one of the processes: open the store, report it, wait, upload, report the result."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a backend prints is no reply
    result: object = None
    try:
        store, path, name, cache = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent
        store = store.elsewhere(Cache([cache]))
        store.host.newest(name)  # connects
        _send(replies, None)
        if not sys.stdin.buffer.readline():
            return  # the check was ended
        result = store.upload_file(path, name)
    except StorageError as problem:
        result = problem
    except Exception as problem:
        result = StorageError(_shown(problem))
    _send(replies, result)


@contextlib.contextmanager
def _child() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process; it is killed at the end of the block, if it is still running."""
    child = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", _CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                cast("IO[bytes]", pipe).close()


def _begin(child: subprocess.Popen[bytes], job: bytes) -> None:
    """Give a process its job, and wait until it is ready."""
    pipe = cast("IO[bytes]", child.stdin)
    pipe.write(pickle.dumps(sys.path) + job)
    pipe.flush()
    problem = _reply(child)
    if problem is not None:
        raise problem


def _upload(child: subprocess.Popen[bytes]) -> Receipt | StorageError:
    """Let a process upload, and return the result."""
    pipe = cast("IO[bytes]", child.stdin)
    with contextlib.suppress(OSError):  # it has died: there is no reply
        pipe.write(b"go\n")
        pipe.flush()
    try:
        result: Receipt | StorageError = _reply(child)
    except EOFError:
        return StorageError("A process died while it was uploading")
    return result


def _reply(child: subprocess.Popen[bytes]) -> Any:
    return pickle.load(cast("IO[bytes]", child.stdout))  # noqa: S301 - from our child


def _send(replies: IO[bytes], reply: object) -> None:
    replies.write(pickle.dumps(reply))
    replies.flush()


def _shown(error: BaseException) -> str:
    return error.message if isinstance(error, StorageError) else f"{type(error).__name__}: {error}".rstrip(": ")
