"""Calls that end in time: each runs in a worker thread, and is abandoned when its deadline has passed.

A client cannot be trusted to give up by itself: a server that sends one byte now and then resets the
timeout of every library that was tried. Workers are daemon threads and are used again, so that clients
which keep a connection for each thread keep it.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar, TypeVar

from .._waiting import is_set
from ..errors import StoreUnavailable
from .operations import Content

SLOWEST = 4 << 10  # bytes per second; what arrives more slowly counts as silence
_SLOWEST_SENT = 64 << 10  # bytes per second that a client may take for what it has read of a file but not sent
_MOST_UNSENT = 64 << 20  # bytes that a client may have read and not sent
_CLEAN_UP = 10.0  # seconds that a worker gets to undo what it has begun, after ctrl-C
_LOOK = 0.05  # seconds
_BUFFER = 4 << 20  # bytes received and not yet taken
T = TypeVar("T")


class Cancelled(BaseException):
    """Ends a worker whose caller no longer waits; not an Exception, so that no client takes it for a failure."""


class Deadline:
    """When to give up: ``seconds`` after the beginning, or after enough bytes moved.

    A trickle does not extend it: only `SLOWEST` bytes a second, averaged over ``seconds``, do.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._received = self._unsent = 0

    def left(self) -> float:
        """Return the seconds that are left; 0.0 when it has passed."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raise Cancelled if it has passed."""
        if not self.left():
            raise Cancelled

    def cancel(self) -> None:
        """Let it pass now."""
        self._end = 0.0

    def wait(self, seconds: float) -> None:
        """Sleep as the host asked; that is no silence, so the deadline moves as far."""
        self._end += seconds
        time.sleep(seconds)

    def received(self, count: int) -> None:
        """Note bytes that arrived."""
        self._received += count
        if self._received >= self.seconds * SLOWEST and self.left():
            self._received = 0
            self._end = time.monotonic() + self.seconds

    def sent(self, count: int) -> None:
        """Note bytes that a client took from a file to send them; raise Cancelled if the deadline has passed."""
        self.check()
        self._unsent = min(self._unsent + count, _MOST_UNSENT)
        self._end = max(self._end, time.monotonic() + self.seconds + self._unsent / _SLOWEST_SENT)


class Worker:
    """A daemon thread that does one job after the other."""

    idle: ClassVar[deque[Worker]] = deque()

    def __init__(self) -> None:
        self._wake = threading.Semaphore(0)
        self._job: Callable[[], None] | None = None
        threading.Thread(target=self._work, name="storage-plugins", daemon=True).start()

    @classmethod
    def do(cls, job: Callable[[], None]) -> None:
        """Let an idle worker, or a new one, do a job."""
        try:
            worker = cls.idle.pop()
        except IndexError:
            worker = cls()
        worker._job = job
        worker._wake.release()

    def _work(self) -> None:
        while True:
            self._wake.acquire()
            assert self._job is not None  # noqa: S101  for mypy
            self._job()
            self._job = None
            self.idle.append(self)


if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads
    os.register_at_fork(after_in_child=Worker.idle.clear)


def within(deadline: Deadline, what: str, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, or raise what it raises.

    Raises:
        StoreUnavailable: it took too long, and was abandoned; ``what`` names it.
    """
    done, context = threading.Event(), contextvars.copy_context()
    values: list[T] = []
    errors: list[BaseException] = []

    def job() -> None:
        try:
            values.append(context.run(call))
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    Worker.do(job)
    try:
        while not is_set(done, deadline.left()):
            if not deadline.left():
                deadline.cancel()
                raise too_slow(what, deadline)
    except StoreUnavailable:
        raise
    except BaseException:  # ctrl-C: let what was begun be undone before the program ends
        deadline.cancel()
        done.wait(_CLEAN_UP)
        raise
    if errors:
        try:
            if isinstance(errors[0], Cancelled):  # it saw that the deadline had passed before this thread did
                raise too_slow(what, deadline)
            raise errors[0]
        finally:
            errors.clear()  # its traceback leads back here
    return values[0]


def too_slow(what: str, deadline: Deadline) -> StoreUnavailable:
    """Return the error for a host that takes too long."""
    return StoreUnavailable(
        f"{what}: no answer within {deadline.seconds:g} s, or less than {SLOWEST >> 10} KiB/s",
        hint="Check the network and the server, or set a longer timeout: for this store in storage.yaml.",
    )


class Incoming:
    """A version's bytes, received by a worker while the caller does something with those before.

    A context manager; leaving it ends the transfer. `blocks` gives the blocks in order.

    Args:
        most: how many bytes are wanted; None: all.
        buffer: how many bytes may have arrived without being taken.
        received: called with the number of bytes of each block that arrives.
        begun: whether to receive at once, not only when the first block is asked for.

    Attributes:
        version: what the host's answer says of it.
        private: whether credentials were needed.
        whole: whether the host ignored the range that was asked for.
        ended: whether nothing more will arrive.
    """

    def __init__(
        self,
        deadline: Deadline,
        what: str,
        read: Callable[[], Content],
        *,
        most: int | None = None,
        buffer: int | None = None,
        received: Callable[[int], None] | None = None,
        begun: bool = False,
    ) -> None:
        self._deadline, self._what = deadline, what
        self._most, self._buffer = most, buffer or _BUFFER
        self._received = received or deadline.received
        self._condition = threading.Condition()
        self._blocks: deque[bytes] = deque()
        self._queued = self._count = 0
        self._wanted, self.ended, self._left = begun, False, False
        self._answer: Content | None = None
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        Worker.do(lambda: context.run(self._receive, read))

    def __enter__(self) -> Incoming:
        try:
            self._wait(lambda: self._answer is not None or self.ended)
        except BaseException:
            self.__exit__()
            raise
        if self._answer is None:
            assert self._error is not None  # noqa: S101  a worker that ends without an answer has failed
            raise self._error
        self.version, self.private = self._answer.version, self._answer.private
        self.whole = self._answer.whole
        return self

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._left = True
            self._blocks.clear()
            self._condition.notify_all()

    def limit(self, more: int) -> int:
        """End after so many bytes more than have arrived; return how many that are in all."""
        with self._condition:
            self._most = self._count + more
            return self._most

    def blocks(self, look: Callable[[], None] = lambda: None) -> Iterator[bytes]:
        """Yield the blocks. ``look`` is called before each, and now and then while none arrives."""
        with self._condition:
            self._wanted = True
            self._condition.notify_all()
        while True:
            self._wait(lambda: bool(self._blocks) or self.ended, look)
            with self._condition:
                if not self._blocks:
                    break
                block = self._blocks.popleft()
                self._queued -= length(block)
                self._condition.notify_all()
            yield block
        if isinstance(self._error, Cancelled):
            raise too_slow(self._what, self._deadline)
        if self._error is not None:
            raise self._error

    def _wait(self, until: Callable[[], bool], look: Callable[[], None] = lambda: None) -> None:
        while True:
            look()
            with self._condition:
                if self._condition.wait_for(until, min(_LOOK, self._deadline.left())):
                    return
                if not self._deadline.left():
                    raise too_slow(self._what, self._deadline)

    def _receive(self, read: Callable[[], Content]) -> None:
        try:
            with read() as content:
                self._set(content)
                for block in content.blocks:
                    if not self._put(block):
                        break
        except BaseException as error:
            self._error = error
        finally:
            with self._condition:
                self.ended = True
                self._condition.notify_all()

    def _set(self, content: Content) -> None:
        with self._condition:
            self._answer = content
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._wanted or self._left)
            self._stop_if_left()

    def _put(self, block: bytes) -> bool:
        """Hand a block over; return whether more is wanted."""
        with self._condition:
            self._condition.wait_for(lambda: self._queued < self._buffer or self._left)
            self._stop_if_left()
            if self._most is not None and self._count + length(block) > self._most:
                block = block[: self._most - self._count]
            count = length(block)
            self._blocks.append(block)
            self._queued += count
            self._count += count
            more = self._most is None or self._count < self._most
            self._condition.notify_all()
        self._received(count)
        return more

    def _stop_if_left(self) -> None:
        if self._left:
            raise Cancelled


def length(block: object) -> int:
    """Return the bytes of a block."""
    return len(block) if isinstance(block, bytes | bytearray | memoryview) else 0  # what else it is, its reader says
