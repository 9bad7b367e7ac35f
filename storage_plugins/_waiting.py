"""Waiting for other threads that ctrl-C ends.

The system may give a signal to any thread of a process, and only the thread that got it wakes. Python acts on it in the
main thread, so that one must look now and then.
"""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_LOOK = 0.2  # seconds
A = TypeVar("A")
T = TypeVar("T")


def is_set(event: threading.Event, seconds: float) -> bool:
    """Return whether an event is set within so many seconds."""
    until = time.monotonic() + seconds
    while not event.wait(min(_LOOK, max(0.0, until - time.monotonic()))):
        if time.monotonic() >= until:
            return False
    return True


def next_of(outcomes: queue.SimpleQueue[T]) -> T:
    """Return the next object of a queue."""
    while True:
        try:
            return outcomes.get(timeout=_LOOK)
        except queue.Empty:
            continue


def each(pool: concurrent.futures.Executor, call: Callable[[A], T], items: Iterable[A]) -> Iterator[T]:
    """Call with each item in the threads of a pool, and yield the results in order; after an error, begin no more."""
    futures = deque(pool.submit(call, item) for item in items)
    try:
        while futures:
            while not futures[0].done():
                concurrent.futures.wait([futures[0]], timeout=_LOOK)
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()
