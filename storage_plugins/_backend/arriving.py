"""One version's bytes, in order, by as many requests at a time as bring more.

It begins with one plain request. Where that is slow and the host reads ranges, further ranges are requested at the
same time. If that does not make the whole faster, one request at a time goes on. What comes ahead of its turn waits in
memory, `_AHEAD` pieces at most.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar

from ..errors import RateLimited, StoreUnavailable
from ..protocol import Version
from .calls import ATTEMPTS, wait
from .deadline import Deadline, Incoming, length
from .operations import Content

_PIECE = 4 << 20  # bytes of one range
_AHEAD = 13  # ranges that are asked for before their turn: 52 MiB
_STEPS = (1, 12)  # requests at a time; a step of 6 between them was slower over slow links
_GAIN = 1.3  # by how much a step has to make the whole faster
_FAST = 192 << 20  # bytes a second; one request that brings as much is as fast as hashing
_ENOUGH = 256 << 10  # bytes before a break, after which the next request needs no pause
_INTERVAL = 0.1  # seconds, over which speed is measured
_MOST = 32  # further requests at a time, of all downloads of this process
Read = Callable[[int, int | None, Version | None], Content]


class _Budget:
    """The further requests that this process may have open."""

    free: ClassVar[int] = _MOST
    lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def take(cls) -> bool:
        """Whether there is one more; it has to be given back."""
        with cls.lock:
            if not cls.free:
                return False
            cls.free -= 1
            return True

    @classmethod
    def give_back(cls, count: int) -> None:
        """Return some."""
        with cls.lock:
            cls.free = min(_MOST, cls.free + count)

    @classmethod
    def renew(cls) -> None:
        """Begin anew, in a forked process."""
        cls.free, cls.lock = _MOST, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Budget.renew)


class _Piece:
    """A range on its way: from ``start`` to ``stop``, None: the end of the file."""

    def __init__(self, start: int, stop: int | None, incoming: Incoming) -> None:
        self.start, self.stop, self.incoming = start, stop, incoming


class Arriving:
    """A version's bytes; see the module. A context manager; leaving it ends all requests.

    Args:
        read: asks for bytes from a position up to another, None: the end; of the version that an earlier answer was
            of, if there was one.
        at_once: how many requests the host takes at a time.
        start: where the bytes begin.

    Attributes:
        version: what the host's first answer says of it.
        private: whether credentials were needed.
        whole: whether the host ignored where the bytes were to begin.
    """

    def __init__(self, deadline: Deadline, what: str, read: Read, at_once: int, start: int = 0) -> None:
        self._deadline, self._what, self._read = deadline, what, read
        self._steps = [step for step in _STEPS if step <= max(1, at_once)]
        self._step, self._settled = 0, len(self._steps) == 1
        self._pieces: deque[_Piece] = deque()
        self._following = 0  # where the next range begins
        self._position, self._failures, self._extra = start, 0, 0
        self._lock = threading.Lock()
        self._arrived, self._arrived_at = 0, 0.0
        self._slower = 0.0  # bytes a second with the requests of the step before
        self._version: Version | None = None

    def __enter__(self) -> Arriving:
        asked = time.monotonic()
        try:
            while self._version is None:
                incoming = self._ask(self._position, None, begun=False)
                self._pieces = deque([_Piece(self._position, None, incoming)])
                try:
                    incoming.__enter__()
                except StoreUnavailable as error:
                    self._fail(error, self._position)
                else:
                    self._version, self.private, self.whole = incoming.version, incoming.private, incoming.whole
        except BaseException:
            self.__exit__()
            raise
        self._answer_time = time.monotonic() - asked
        self._measure_from(0.0)
        self.version = self._version
        if self.version.size is None or self.version.size < self._position + 4 * _PIECE:
            self._settled = True
        self._following = self.version.size or 0
        return self

    def __exit__(self, *_: object) -> None:
        for piece in self._pieces:
            piece.incoming.__exit__()
        _Budget.give_back(self._extra)
        self._extra = 0

    def __iter__(self) -> Iterator[bytes]:
        while self._pieces:
            piece = self._pieces[0]
            begun = self._position
            try:
                for block in piece.incoming.blocks(self._look):
                    self._position += length(block)
                    yield block
                self._check_end(piece)
            except StoreUnavailable as error:
                self._fail(error, begun)
                self._pieces[0] = _Piece(self._position, piece.stop, self._ask(self._position, piece.stop))
            else:
                self._pieces.popleft()
                self._request_more()

    def _check_end(self, piece: _Piece) -> None:
        end = piece.stop if piece.stop is not None else self.version.size
        if end is not None and self._position < end:
            raise StoreUnavailable(f"{self._what}: ended after {self._position} of {self.version.size} bytes")

    def _fail(self, error: StoreUnavailable, begun: int) -> None:
        """Return if another request is worth trying; pause before it unless enough bytes arrived."""
        count = self._position - begun
        self._failures = 1 if count else self._failures + 1
        if self._failures >= ATTEMPTS or not self._deadline.left():
            raise error
        if count < _ENOUGH or isinstance(error, RateLimited):
            wait(self._failures, error, self._deadline)

    # asking

    def _ask(self, start: int, stop: int | None, *, begun: bool = True) -> Incoming:
        version = self._version
        return Incoming(
            self._deadline,
            self._what,
            lambda: self._read(start, stop, version),
            most=None if stop is None else stop - start,
            buffer=None if stop is None else _PIECE,
            received=self._receive,
            begun=begun,
        )

    def _request_more(self) -> None:
        """Keep as many requests running as the step says, and as fit into memory."""
        size = self.version.size or 0
        active = sum(not piece.incoming.ended for piece in self._pieces)
        if self._extra > max(0, active - 1):
            _Budget.give_back(self._extra - max(0, active - 1))
            self._extra = max(0, active - 1)
        wanted = self._steps[self._step]
        while self._following < size and active < wanted and len(self._pieces) <= _AHEAD:
            if self._pieces and not _Budget.take():
                return
            self._extra += bool(self._pieces)
            stop = min(self._following + _PIECE, size) if wanted > 1 else None
            self._pieces.append(_Piece(self._following, stop, self._ask(self._following, stop)))
            self._following = size if stop is None else stop
            active += 1

    # how fast it is

    def _receive(self, count: int) -> None:
        with self._lock:
            self._arrived += count
            self._arrived_at = time.monotonic()
            self._deadline.received(count)

    def _measure_from(self, later: float) -> None:
        """Measure after so many seconds, when what was requested now arrives."""
        self._since = time.monotonic() + later
        self._before: int | None = None  # bytes that had arrived then

    def _look(self) -> None:
        """Measure how fast the bytes arrive, and change the number of requests. Called all the time."""
        now = time.monotonic()
        if not self._settled and now >= self._since:
            with self._lock:
                arrived, last = self._arrived, self._arrived_at
            if self._before is None:
                self._before, self._since = arrived, now
            elif now - self._since >= _INTERVAL and last > self._since:
                self._adapt((arrived - self._before) / max(last - self._since, _INTERVAL / 2))
        if self._step or not self._settled:
            self._request_more()

    def _adapt(self, speed: float) -> None:
        if self._step == 0:
            if speed >= _FAST or not self._split():
                self._settled = True
                return
        elif speed < self._slower * _GAIN:
            self._step, self._settled = self._step - 1, True
            return
        if self._step + 1 == len(self._steps):
            self._settled = True
            return
        self._step += 1
        self._slower = speed
        self._measure_from(self._answer_time)

    def _split(self) -> bool:
        """Let the plain request end soon, so that the rest can be requested in ranges; whether there is enough."""
        head, size = self._pieces[0], self.version.size or 0
        if self._position + 3 * _PIECE > size or len(self._pieces) > 1 or head.stop is not None:
            return False
        head.stop = head.start + head.incoming.limit(_PIECE)
        self._following = min(head.stop, size)
        return True
