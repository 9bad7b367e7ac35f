"""How a backend's operations are called: answers checked, what changes nothing repeated, every call in time."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from ..errors import PluginError, RateLimited, StoreUnavailable
from ..protocol import Version
from .deadline import Deadline, within
from .discovery import title_by_package
from .hints import ANSWER, see
from .offline import refuse_if_offline
from .operations import FileOperations

_log = logging.getLogger(__name__)
ATTEMPTS = 3  # at one request, or at a download without a single byte of progress between them
_LONGEST_WAIT = 60.0  # seconds; a host that asks for a longer one is reported instead
_ITEM = 4 << 10  # bytes that a new entry of a list counts as, for its deadline
MOST_ITEMS = 5_000_000  # entries of one list; more is a list that never ends
T = TypeVar("T")
_FIELDS: dict[str, Any] = {
    **dict.fromkeys(
        ("version_id", "sha1", "sha256", "md5", "content_digest", "identifier", "assembly_prefix", "etag"), str
    ),
    "size": int,
    "created": datetime,
}


class Calls:
    """The calls of a backend's operations; `Host` says which.

    Args:
        files: the backend's operations.
        timeout: seconds that an operation may take without progress.
    """

    def __init__(self, files: FileOperations, timeout: float) -> None:
        self.files = files
        self.timeout = timeout

    def _once(self, operation: str, call: Callable[[], T], *kinds: type | None) -> T:
        refuse_if_offline(self.files.address)
        answer = within(Deadline(self.timeout), f"{operation} in {self.files.address}", call)
        return self._checked(operation, answer, *kinds)

    def _safe(self, operation: str, call: Callable[[], T], *kinds: type | None) -> T:
        answer = self._checked(operation, self._repeated(operation, call, Deadline(self.timeout)), *kinds)
        if isinstance(answer, Version):
            self._check_version(operation, answer)
        return answer

    def _list(
        self, operation: str, call: Callable[[], Iterable[T]], kind: type[T], *, most: int = MOST_ITEMS
    ) -> list[T]:
        deadline = Deadline(self.timeout)
        return self._repeated(operation, lambda: list(self._each(operation, call(), kind, deadline, most)), deadline)

    def _repeated(self, operation: str, call: Callable[[], T], deadline: Deadline) -> T:
        """Return what ``call``, which changes nothing, returns; repeat it while the store is out of reach."""
        refuse_if_offline(self.files.address)
        what = f"{operation} in {self.files.address}"
        for attempt in range(1, ATTEMPTS):
            try:
                return within(deadline, what, call)
            except StoreUnavailable as error:
                if not deadline.left():
                    raise
                wait(attempt, error, deadline)
        return within(deadline, what, call)

    def _each(self, operation: str, answer: Iterable[T], kind: type[T], deadline: Deadline, most: int) -> Iterator[T]:
        if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
            raise self._wrong(operation, f"an iterable of {kind.__name__}", got=kind_of(answer))
        seen: set[T] = set()
        for number, one in enumerate(answer):
            if number == MOST_ITEMS:
                raise StoreUnavailable(f"{operation} of {self.files.address} does not end: {number} entries so far")
            if number == most:
                return
            if not isinstance(one, kind):
                raise self._wrong(operation, f"an iterable of {kind.__name__}", got=f"a {kind_of(one)}")
            if isinstance(one, Version):
                self._check_version(operation, one)
            deadline.check()
            if one not in seen:  # a server that repeats one page for ever makes no progress
                seen.add(one)
                deadline.received(_ITEM)
            yield one

    def _checked(self, operation: str, answer: T, *kinds: type | None) -> T:
        for kind in kinds:
            if answer is None if kind is None else isinstance(answer, kind) and not _only_looks_like(kind, answer):
                return answer
        raise self._wrong(operation, " or ".join(_name(kind) for kind in kinds), got=kind_of(answer))

    def _check_version(self, operation: str, version: Version) -> None:
        """Look at what the core relies on: types, and that dates can be compared."""
        for field, kinds in _FIELDS.items():
            value = getattr(version, field)
            if value is not None and (not isinstance(value, kinds) or _only_looks_like(kinds, value)):
                raise self._wrong(f"{operation}: {field}", f"{_name(kinds)} or None", got=kind_of(value))
        if version.created is not None and version.created.tzinfo is None:
            raise self._wrong(f"{operation}: created", "a datetime with a time zone", got="one without")
        if version.size is not None and version.size < 0:
            raise self._wrong(f"{operation}: size", "a number of bytes", got=str(version.size))

    def _is_default(self, operation: str) -> bool:
        """Whether the backend leaves an operation to the core."""
        return getattr(getattr(self.files, operation), "__func__", None) is getattr(FileOperations, operation)

    def _wrong(self, operation: str, expected: str, *, got: str) -> PluginError:
        return PluginError(
            f"{title_by_package(self.files)}: {operation} returned {got}, expected {expected}", hint=see(ANSWER)
        )


def wait(attempt: int, error: StoreUnavailable, deadline: Deadline) -> None:
    """Wait before the next attempt, as long as the host asks or as is usual; raise ``error`` if that is too long."""
    asked = error.retry_after if isinstance(error, RateLimited) else None
    if asked is not None and asked > _LONGEST_WAIT:
        raise error
    # a random share keeps many clients from returning at the same moment
    pause = asked if asked is not None else 0.1 * 2**attempt * (0.5 + random.random())  # noqa: S311
    _log.info("%s; trying again in %.1f s", error.message, pause)
    deadline.wait(max(0.0, pause))


def _only_looks_like(kind: type, value: object) -> bool:
    """Whether a bool stands where a number is expected."""
    return kind is int and isinstance(value, bool)


def _name(kind: type | None) -> str:
    return "None" if kind is None else kind.__name__


def kind_of(value: object) -> str:
    """Return the name of a value's type, for messages."""
    return "None" if value is None else type(value).__name__
