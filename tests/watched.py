"""Processes that are watched: whatever may crash, hang or fill the memory is done in one."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from children import context

HANGS = 20.0  # seconds without an answer
MEMORY = 3 << 29  # bytes of address space that reading a small file may take


def serve(pipe: Any, warm_up: Any, *arguments: Any) -> None:
    """Call what the pipe asks for and answer with the result, with little more memory than after the warm-up."""
    warm_up(*arguments)
    with contextlib.suppress(FileNotFoundError):  # only Linux has /proc
        import resource

        limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    pipe.send("ready")
    while True:
        function, arguments = pipe.recv()
        pipe.send(function(*arguments))


@contextlib.contextmanager
def started(function: Any, *arguments: Any) -> Iterator[tuple[Any, Any]]:
    """Run ``function`` in a process until the end of the block, forked from one with all imports and no threads."""
    pipe, other = context().Pipe()
    process = context().Process(target=function, args=(other, *arguments), daemon=True)
    process.start()
    other.close()
    try:
        yield process, pipe
    finally:
        process.kill()
        process.join()
        process.close()
        pipe.close()


class Worker:
    """A process that answers call after call. That it dies or falls silent is an outcome too; it is replaced then."""

    def __init__(self, warm_up: Any, *arguments: Any) -> None:
        self.warm_up, self.stack, self.cases = (warm_up, *arguments), contextlib.ExitStack(), 0

    def __call__(self, function: Any, *arguments: Any) -> dict[str, str]:
        if not self.cases:
            self.process, self.pipe = self.stack.enter_context(started(serve, *self.warm_up))
            assert self.pipe.poll(100)
            assert self.pipe.recv() == "ready"
        self.cases += 1
        self.pipe.send((function, arguments))
        try:
            outcomes = self.pipe.recv() if self.pipe.poll(HANGS) else {"process": f"gives no answer for {HANGS} s"}
        except (EOFError, ConnectionError):
            self.process.join()
            outcomes = {"process": f"dies of {signal.Signals(-self.process.exitcode).name}"}
        if "process" in outcomes or self.cases == 500:  # the C library loses memory with each file it cannot open
            self.stop()
        return outcomes

    def stop(self) -> None:
        self.stack.close()
        self.cases = 0
