"""Operations that SIGKILL ends at point after point, and what the next run makes of it.

    python tests/kills.py --store local --points 60
    python tests/kills.py --store s3 --points 60

Each operation runs in a process of its own that is killed: before each of its calls that opens, makes, renames, links
or removes a file, or connects a socket (Python's audit events; every k-th where there are more than wanted); on S3 also
before each request reaches the server, and after the server has done it and before its answer arrives; and, until
there are ``--points`` of them, at moments drawn over the time that it takes, which also fall into the code of C
libraries.

Demanded after each kill: the store has the old versions, or these and the new one; every receipt names a version of its
bytes; a cache has the right bytes or none. Then the operation is run again: it succeeds, the new version is there once,
and after everything unfinished is dated back and one further file was uploaded and loaded, nothing unfinished is left.
"""

import argparse
import collections
import hashlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from campaign_hosts import S3, Local, LocalFolder, Wrong
from children import child
from proxy import Answer

from storage_plugins import Digests, Receipt, Source, mirror, open_store
from storage_plugins._copies.cache import Cache
from storage_plugins._copies.receipts import Receipts
from storage_plugins.atomic import TEMPORARY

BACKENDS = {"local": Local, "s3": S3}
EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "socket.connect"}
LARGE = S3.large
LONGEST = 120  # seconds that one run may take


class Point(NamedTuple):
    """When to kill: before the n-th event, request or answer, or after so many seconds."""

    kind: str
    at: float


class Task(NamedTuple):
    """An operation on one file, of which the store has an older version; all that a process needs to do it."""

    operation: str
    folder: str
    name: str
    target: str

    @property
    def source(self) -> Path:
        return Path(self.folder, self.name)

    @property
    def cache(self) -> Cache:
        return Cache([Path(self.folder, f"cache-{self.name}")])

    @property
    def receipts(self) -> Receipts:
        return Receipts(Path(self.folder, f"receipts-{self.name}"))

    def open(self, name: str) -> Any:
        store = open_store(name, config=Path(self.folder, "storage.yaml"))
        store.cache = self.cache
        return store

    def run(self) -> None:
        if self.operation.startswith("upload"):
            self.open(self.target).upload_file(self.source, self.name)
        elif self.operation == "load":
            self.open(self.target).fetch(self.name, sha256=digests(self.source).sha256)
        elif self.operation == "cache write":
            with self.cache.incoming() as (file, path):
                file.write(self.source.read_bytes())
                self.cache.adopt(file, path, digests(self.source), self.name, private=False)
        elif self.operation == "receipt":
            self.receipts.write(self.receipt())
        elif self.operation == "mirror":
            assert mirror(self.open("home"), self.open(self.target)).complete

    def receipt(self) -> Receipt:
        found = digests(self.source)
        return Receipt(
            identifier=self.name,
            store="lab",
            address="file:///lab",
            key=self.name,
            version_id="1",
            sha1=found.sha1,
            sha256=found.sha256,
            size=found.size,
            content_digest=None,
            created=datetime(2026, 1, 1, tzinfo=UTC),
            uri="file:///lab/it",
        )


def digests(path: Path) -> Digests:
    return Source.of(path).digests


def work(task: Task, at: int) -> None:
    """Do a task, killed before its ``at``-th event; for 0, write down how many it has and how long it takes."""
    count, places = 0, str(Path(task.folder).parent)

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        ours = event == "socket.connect" or any(str(path).startswith(places) for path in arguments[:2])
        if event in EVENTS and ours:
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    Path(task.folder, f"begun-{task.name}").touch()
    sys.addaudithook(heard)
    began = time.monotonic()
    task.run()
    if not at:
        Path(task.folder, "counted").write_text(f"{count} {time.monotonic() - began}")


class Kills:
    """A folder and a host, and operations that are killed there.

    Attributes:
        killed: by operation, how many points of each kind really ended it.
    """

    def __init__(self, host: Any, folder: Path, chance: random.Random) -> None:
        self._host, self._folder, self._chance = host, folder, chance
        self._stores = {"lab": _patient(host), "home": {"backend": "local", "root": str(folder / "home")}}
        self._numbers = 0
        self.killed: collections.Counter[tuple[str, str]] = collections.Counter()

    def operation(self, operation: str, points: int) -> None:
        """Kill one operation at so many points, and look each time."""
        events, requests, seconds = self._measure(operation)
        chosen = [Point("event", at) for at in _spread(events, points // 2 if requests else points)]
        for kind in ("request", "answer"):
            chosen += [Point(kind, at) for at in _spread(requests, points // 4)]
        moments = (Point("moment", self._chance.uniform(0, seconds)) for _ in range(2 * points))
        for point in itertools.chain(chosen, moments):
            if sum(count for (name, _), count in self.killed.items() if name == operation) >= points:
                break  # some had ended before they were killed
            task, old = self._task(operation)
            try:
                self._kill(task, point)
                self._look(task, old, whole=False)
                self._host.go_wrong(lambda request: None)
                task.run()
                self._look(task, old, whole=True)
                self._demand_nothing_left(task)
            except BaseException as error:
                raise AssertionError(f"{operation}, killed at {point.kind} {point.at}: {error!r}") from error

    def _measure(self, operation: str) -> tuple[int, int, float]:
        """Return how many events and requests it has, and how long it takes: one run without a kill."""
        task, _ = self._task(operation)
        requests = []
        self._host.go_wrong(requests.append)  # which returns None: no fault
        process = child(work, task, 0)
        process.start()
        process.join(LONGEST)
        assert process.exitcode == 0, f"{operation} failed without a kill"
        self._host.go_wrong(lambda request: None)
        events, seconds = (self._folder / "counted").read_text().split()
        return int(events), len(requests) if isinstance(self._host, S3) else 0, float(seconds)

    def _task(self, operation: str) -> tuple[Task, list[bytes]]:
        """Prepare a file of its own; return also the versions that the store has of it."""
        self._numbers += 1
        target = "lab"
        if operation == "mirror":
            target = f"target-{self._numbers}"
            self._stores[target] = _patient(self._host)
            self._stores["home"] = {"backend": "local", "root": str(self._folder / f"home-{self._numbers}")}
        (self._folder / "storage.yaml").write_text(yaml.safe_dump({"default": "lab", "stores": self._stores}))
        task = Task(operation, str(self._folder), f"file-{self._numbers}.bin", target)
        size = LARGE if operation == "upload in parts" else 50_000
        old = [self._chance.randbytes(5_000)]
        task.source.write_bytes(old[0])
        if operation == "mirror":
            task.open("home").upload_file(task.source, task.name)
        elif operation in ("upload", "upload in parts", "load"):
            task.open(target).upload_file(task.source, task.name)
        task.source.write_bytes(self._chance.randbytes(size))
        if operation == "mirror":
            task.open("home").upload_file(task.source, task.name)
            return task, []
        if operation == "load":
            task.open(target).upload_file(task.source, task.name)
            return task, [*old, task.source.read_bytes()]
        return task, old

    def _kill(self, task: Task, point: Point) -> None:
        process = child(work, task, int(point.at) if point.kind == "event" else -1)
        self._host.go_wrong(_killer(process, point))
        process.start()
        if point.kind == "moment":
            begun = Path(task.folder, f"begun-{task.name}")
            while not begun.exists() and process.is_alive():
                time.sleep(0.001)
            process.join(point.at)
            process.kill()
        process.join(LONGEST)
        assert process.exitcode is not None, f"it hangs for {LONGEST} s"
        assert process.exitcode in (0, -signal.SIGKILL), f"it failed: {process.exitcode}"
        self.killed[task.operation, point.kind] += process.exitcode != 0

    def _look(self, task: Task, old: list[bytes], *, whole: bool) -> None:
        """Demand the old state or the new one; the new one if it is to be ``whole``."""
        data = task.source.read_bytes()
        cached = task.cache.find(task.name, sha256=digests(task.source).sha256)
        assert cached is None or cached.path.read_bytes() == data, "the cache has other bytes"
        if task.operation == "cache write":
            assert cached is not None or not whole
        elif task.operation == "receipt":
            found = task.receipts.of(task.name)
            assert found in ([task.receipt()], *([] if whole else [[]])), f"the receipts are {found}"
        else:
            held = [bytes_ for _, bytes_ in self._host.held(self._stores[task.target]).get(task.name, [])]
            if task.operation == "mirror":
                home = LocalFolder(self._folder).held(self._stores["home"])[task.name]
                history = [bytes_ for _, bytes_ in home]
                assert held == history[: len(held)], "the target has another history"
                assert held == history or not whole
            else:
                new = old if task.operation == "load" else [*old, data]
                assert held == new or (held == old and not whole), f"there are {len(held)} versions"
            self._look_at_receipts(task, whole)

    def _look_at_receipts(self, task: Task, whole: bool) -> None:
        store = task.open(task.target)
        held = self._host.held(self._stores[task.target]).get(task.name, [])
        receipts = [receipt for receipt in store.receipts.of(task.name) if receipt.address == store.address]
        for receipt in receipts:
            data = dict(held).get(receipt.version_id, b"")
            assert hashlib.sha256(data).hexdigest() == receipt.sha256, f"the receipt of {receipt.version_id} is false"
        if whole:
            assert {receipt.sha256 for receipt in receipts} >= {digests(task.source).sha256}, "there is no receipt"

    def _demand_nothing_left(self, task: Task) -> None:
        """Demand that what was left is removed, once it is old, by the next uses of the same places."""
        settings = self._stores[task.target]
        for path in self._folder.rglob(f"{TEMPORARY}*"):
            os.utime(path, (1, 1), follow_symlinks=False)
        if self._host.unfinished(settings):
            self._host.age(settings)
        task.source.write_bytes(self._chance.randbytes(LARGE if task.operation == "upload in parts" else 1000))
        for again in (task, task._replace(operation="cache write"), task._replace(operation="receipt")):
            (again._replace(operation="upload") if again.operation in ("load", "mirror") else again).run()
        self._host.go_wrong(lambda request: None)
        left = [str(path) for path in self._folder.rglob(f"{TEMPORARY}*")] + self._host.unfinished(settings)
        assert not left, f"there is still {left}"
        shutil.rmtree(self._folder / f"cache-{task.name}", ignore_errors=True)
        task.source.unlink()


def _patient(host: Any) -> dict[str, Any]:
    """Return the settings of an empty store that waits for a busy computer: no server is slow here on purpose."""
    return {**host.settings(), "timeout": 60}


def _spread(count: int, wanted: int) -> list[int]:
    """Return so many numbers from 1 to ``count``, evenly; all of them where there are fewer."""
    wanted = min(count, wanted)
    return [1 + number * count // wanted for number in range(wanted)]


def _killer(process: Any, point: Point) -> Callable[[Any], Any]:
    """Return what a host is to ask at each request: it kills the process before the one, or before its answer."""
    count = 0

    def ask(request: Any) -> Wrong | None:
        nonlocal count
        count += 1
        if count != point.at or point.kind not in ("request", "answer"):
            return None
        if point.kind == "request":
            process.kill()
            return Wrong(instead=Answer(0, {}, b""))

        def before_the_answer(answer: Answer) -> None:
            process.kill()
            answer.status = 0

        return Wrong(spoil=before_the_answer)

    return ask


def play(backend: str, points: int, seed: int, operations: Sequence[str] = ()) -> Kills:
    """Kill the operations, or all that there are, at so many points each."""
    every = ["upload", "load", "receipt", "cache write", "mirror", *(["upload in parts"] if backend == "s3" else [])]
    with tempfile.TemporaryDirectory(prefix="kills-") as name, BACKENDS[backend](Path(name, "places")) as host:
        folder = Path(name, "machine")
        folder.mkdir()
        kills = Kills(host, folder, random.Random(seed))
        for operation in operations or every:
            kills.operation(operation, points)
    return kills


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", choices=BACKENDS, required=True)
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    kills = play(given.store, given.points, given.seed)
    for operation in dict.fromkeys(operation for operation, _ in kills.killed):
        here = {kind: count for (name, kind), count in kills.killed.items() if name == operation}
        points = ", ".join(f"{count} at {kind}s" for kind, count in here.items())
        print(f"{given.store}, {operation}: killed {sum(here.values())} times ({points})")
    took = time.monotonic() - began
    print(f"each time the old state or the new one; the next run healed it; nothing left; {took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
