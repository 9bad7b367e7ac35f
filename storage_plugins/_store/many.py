"""Many at once: several uploads or loads side by side, and a report of what succeeded and what failed."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from .._backend.deadline import Worker
from .._identifiers import assembly_key
from .._records import Cached, Digesting, Digests
from .._visible import html_table
from .._waiting import next_of
from ..atomic import atomic_file, disk_errors
from ..errors import AlreadyExists, IdentifierCollision, StorageError, StoreUnavailable, error_in_words
from ..protocol import Receipt
from .parts import STOP, Stopped, stop_if_asked

_log = logging.getLogger(__name__)
_UNREACHABLE = 4  # uploads that fail one after the other before the store counts as out of reach
_CLEAN_UP = 10.0  # seconds that transfers get to undo what they have begun, after ctrl-C
_BLOCK = 1 << 20
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ManyReport(Generic[T]):
    """What became of many uploads or loads, in the order in which they were asked for.

    Attributes:
        done: the result of each that succeeded, by the name or receipt that was given.
        failed: the error of each that failed.
        not_tried: uploads that were not begun, since the store could not be reached several times in a row.
    """

    done: Mapping[Any, T]
    failed: Mapping[Any, Exception]
    not_tried: tuple[Any, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all succeeded."""
        return not self.failed and not self.not_tried

    def check(self) -> None:
        """Raise the first error, if there is one."""
        for error in self.failed.values():
            raise error

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values: receipts and paths as such, of other results the names alone."""
        return {
            "done": [{"name": _name(item), "result": _plain(result)} for item, result in self.done.items()],
            "failed": [
                {"name": _name(item), "error": type(error).__name__, "problem": error_in_words(error)}
                for item, error in self.failed.items()
            ],
            "not_tried": [_name(item) for item in self.not_tried],
            "complete": self.complete,
        }

    def __repr__(self) -> str:
        return f"<storage_plugins report: {self._summary()}>"

    def _repr_html_(self) -> str:
        rows = [[_name(item), error_in_words(error)] for item, error in self.failed.items()]
        rows += [[_name(item), "not tried"] for item in self.not_tried]
        return html_table(self._summary(), ["name", "problem"], rows)

    def _summary(self) -> str:
        counts = [f"{len(self.done)} done", f"{len(self.failed)} failed"]
        return ", ".join([*counts, *([f"{len(self.not_tried)} not tried"] if self.not_tried else [])])


def run(
    items: Iterable[K],
    work: Callable[[K], T],
    *,
    at_once: int,
    gives_up: bool = False,
    finished: Callable[[K, T | Exception], None] = lambda item, outcome: None,
) -> ManyReport[T]:
    """Do ``work`` for each item, several at once; one that fails does not stop the others.

    On ctrl-C, transfers end at their next block, and undo what they have begun.

    Args:
        items: what to do it for; equal ones once.
        work: what to do.
        at_once: how many side by side; one: in the calling thread.
        gives_up: whether to stop where the store cannot be reached several times in a row.
        finished: called in the calling thread with each item and its result or error, as they come.
    """
    wanted = list(dict.fromkeys(items))
    crew = _Crew(wanted, work, gives_up)
    outcomes: dict[K, T | Exception] = {}
    with contextlib.closing(crew.outcomes(min(at_once, len(wanted)))) as ended:
        for item, outcome in ended:
            outcomes[item] = outcome
            finished(item, outcome)
    found = [(item, outcomes[item]) for item in wanted if item in outcomes]
    return ManyReport(
        done={item: outcome for item, outcome in found if not isinstance(outcome, Exception)},
        failed={item: outcome for item, outcome in found if isinstance(outcome, Exception)},
        not_tried=tuple(item for item in wanted if item not in outcomes),
    )


class _Crew(Generic[K, T]):
    """Threads that take one item after the other.

    They are daemons: after ctrl-C, one that waits for a silent server does not keep the program from ending.
    """

    def __init__(self, items: Iterable[K], work: Callable[[K], T], gives_up: bool) -> None:
        self._items, self._work, self._gives_up = deque(items), work, gives_up
        self._stop = threading.Event()
        self._outcomes: queue.SimpleQueue[tuple[K, T | Exception] | BaseException | None] = queue.SimpleQueue()
        self._unreachable = 0
        self._lock = threading.Lock()

    def outcomes(self, at_once: int) -> Generator[tuple[K, T | Exception]]:
        """Yield each item with its outcome, in the order in which they end."""
        if at_once <= 1:
            while self._items:
                yield self._outcome_of_next()
            return
        context = contextvars.copy_context()
        context.run(STOP.set, self._stop)
        for _ in range(at_once):
            Worker.do(functools.partial(context.copy().run, self._work_on))
        working = at_once
        try:
            while working:
                outcome = next_of(self._outcomes)
                if outcome is None:
                    working -= 1
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    yield outcome
        finally:
            self._stop.set()
            self._items.clear()
            until = time.monotonic() + _CLEAN_UP
            while working and (left := until - time.monotonic()) > 0:
                try:
                    working -= self._outcomes.get(timeout=left) is None
                except queue.Empty:
                    break

    def _work_on(self) -> None:
        try:
            while not self._stop.is_set():
                self._outcomes.put(self._outcome_of_next())
        except (IndexError, Stopped):
            pass
        except BaseException as error:
            self._outcomes.put(error)
        finally:
            self._outcomes.put(None)

    def _outcome_of_next(self) -> tuple[K, T | Exception]:
        item = self._items.popleft()
        outcome: T | Exception
        try:
            outcome = self._work(item)
        except Exception as error:  # a backend's mistake, too, is one item's trouble
            _log.debug("%s failed", item, exc_info=error)
            outcome = error
        with self._lock:
            self._unreachable = self._unreachable + 1 if isinstance(outcome, StoreUnavailable) else 0
            if self._gives_up and self._unreachable >= _UNREACHABLE:
                self._items.clear()
        return item, outcome


def refuse_collisions(identifiers: Iterable[str], prefix: str) -> None:
    """Refuse names that are impossible, or that would share one file, before anything is sent.

    Raises:
        InvalidIdentifier, IdentifierCollision
    """
    seen: dict[str, str] = {}
    for identifier in identifiers:
        other = seen.setdefault(assembly_key(identifier, prefix).casefold(), identifier)
        if other != identifier:
            raise IdentifierCollision(
                f"{other!r} and {identifier!r} would be stored under one file name. Nothing was uploaded.",
                hint="Choose another identifier for one of them.",
            )


def refuse_same_files(names: Iterable[str]) -> None:
    """Refuse names that would be one file in a folder, also where it does not distinguish upper and lower case.

    Raises:
        IdentifierCollision
    """
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise IdentifierCollision(
                f"Two of them would be the file {name} in one folder", hint="Write them to different folders."
            )
        seen.add(name.casefold())


def copied_into(folder: Path, name: str, found: Cached, *, replace: bool) -> Path:
    """Copy a verified file into a folder, which is made if needed; do nothing where it is there already.

    Raises:
        AlreadyExists: the folder has another file of that name, and ``replace`` is False.
    """
    path = folder / name
    with disk_errors(f"write {path}"):
        if path.is_file() and path.stat().st_size == found.digests.size and _digests(path) == found.digests:
            return path
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            disk_errors(f"write {path}"),
            atomic_file(path, exclusive=not replace) as file,
            found.path.open("rb") as source,
        ):
            while block := source.read(_BLOCK):
                stop_if_asked()
                file.write(block)
    except StorageError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise AlreadyExists(f"{path} exists already, with other content", hint="Choose another folder.") from error
        raise
    return path


def _digests(path: Path) -> Digests:
    digesting = Digesting()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            stop_if_asked()
            digesting.update(block)
    return digesting.digests()


def _name(item: Any) -> str:
    return item.identifier if isinstance(item, Receipt) else str(item)


def _plain(result: Any) -> Any:
    """Return a result as plain values; None for what has no such form, such as an assembly."""
    if isinstance(result, Receipt):
        return result.to_dict()
    return str(result) if isinstance(result, Path) else None
