"""A campaign of faults: random operations on a store whose host misbehaves, each checked by looking round the store.

    python tests/campaign.py --backend osf --faults 2000 --seed 1
    python tests/campaign.py --backend osf --seed 1 --round 17

Much of the time goes into fsync: TMPDIR=/dev/shm spares that.

A round begins with empty places and makes some thirty operations: uploads (of a new name, a further version, what is
the newest already), loads from a cold cache by every pin, listings, mirrors both ways. The seed draws each operation,
what goes wrong with it, at which of its requests, and how many requests on end, now and then more than the retries can
bear; and sometimes somebody else uploads to the same name meanwhile. After each operation:

- what was returned is what the host holds; what failed raised a StorageError; without a fault nothing failed;
- the host lost and changed nothing it had, and holds nothing that nobody uploaded;
- every receipt on disk names a version of exactly those bytes, and none was lost since.

A round ends without faults: the mirrors are finished, and all that was acknowledged loads by each pin from a cold
cache, with and without receipts. Faults are counted when they happen, not when they are drawn. Nobody waits:
``time.sleep`` does nothing beyond 20 ms. What was not as it should be is told with seed, round and step; the second
command repeats one round. Mirrors and ``identifiers`` work in threads, whose requests may meet the faults in another
order the next time.

A further backend brings its faults and its own way round the store: see campaign_hosts.py.
"""

import argparse
import collections
import contextlib
import functools
import hashlib
import itertools
import logging
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from unittest import mock

import xarray as xr
import yaml
from campaign_hosts import BACKENDS, Held, Kind, LocalFolder
from conftest import make_assembly

from storage_plugins import Receipt, StorageError, codec, mirror, open_store
from storage_plugins._copies.cache import Cache
from storage_plugins.testing._comparison import differences

STEPS = 30
IDENTIFIERS = {"lab": ("X", "Lab.a", "f.bin"), "home": ("H", "Home.b", "g.bin")}  # with a suffix: a file
LONGEST = 60  # seconds that an operation may take
ON_END = (1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 8)  # so many faults one after the other


class Backend(Protocol):
    """What the campaign needs to know of a kind of host. A context manager; each round has one of its own.

    Attributes:
        kinds: what may go wrong, by name.
        stages: of an upload in parts, the kinds of requests, by name; empty if there are none.
        aims: those that first faults are aimed at, each as often as it is to be hit.
        large: the size in bytes of a file that is uploaded in parts.
        unversioned: whether it can have places that keep no versions.
        reach: so many requests a common operation has; a fault after more than that would not happen.
    """

    kinds: Mapping[str, Kind]
    stages: Mapping[str, Callable[[Any], bool]]
    aims: tuple[str, ...]
    large: int
    unversioned: bool
    reach: int

    def settings(self, *, versioned: bool = True) -> dict[str, Any]:
        """Make an empty place, and return the settings of a store there."""

    def unfinished(self, settings: Mapping[str, Any]) -> list[str]:
        """Return what is there of uploads that were not finished, without the store."""

    def age(self, settings: Mapping[str, Any]) -> None:
        """Make what is unfinished older than any upload that may still run."""

    def held(self, settings: Mapping[str, Any]) -> Held:
        """Return what that place holds, without the store."""

    def put(self, settings: Mapping[str, Any], key: str, data: bytes) -> None:
        """Upload as somebody else, without the store."""

    def go_wrong(self, ask: Callable[[Any], Any]) -> None:
        """Ask, for each request from now on, which fault happens to it; None for none."""


class Violation(AssertionError):
    """Something is not as it should be."""


@functools.lru_cache(maxsize=256)
def hashes(data: bytes) -> tuple[str, str, int]:
    return hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest(), len(data)


def demand(right: bool, told: str) -> None:
    if not right:
        raise Violation(told)


# one operation


class Plan:
    """What goes wrong with one operation: up to three times, some requests go well and then some on end do not.

    Attributes:
        fired: those that did happen, as ``kind at request``.
        stages: how many of them happened at each stage of an upload in parts.
    """

    def __init__(self, backend: Backend, chance: random.Random, operation: "Operation") -> None:
        self._left: list[tuple[int, str, Any]] = []  # requests that go well before it, kind, fault
        self._kinds, self._stages = backend.kinds, backend.stages
        names = [*self._kinds]
        weights = [self._kinds[name].weight for name in names]
        for _ in range(chance.choice((1, 2, 3))):
            drawn = chance.choices(names, weights) * chance.choice(ON_END)
            if chance.random() < 0.3:
                drawn = chance.choices(names, weights, k=len(drawn))
            before = chance.randrange(min(chance.choice(operation.reach), backend.reach))
            for name in drawn:
                self._left.append((before, name, self._kinds[name].draw(chance)))
                before = 0
        self._aim = self._stages[chance.choice(backend.aims)] if operation.aimed else None
        self.fired: list[str] = []
        self.stages: collections.Counter[str] = collections.Counter()
        self._requests = self._well = 0
        self._interfere = [(chance.randrange(8), operation.interfere)] if operation.interfere else []
        self._lock = threading.Lock()

    def ask(self, request: Any) -> Any:
        with self._lock:
            self._requests += 1
            if self._interfere and self._requests > self._interfere[0][0]:
                self._interfere.pop()[1]()
            if not self._is_due(request):
                self._well += 1
                return None
            _, name, fault = self._left.pop(0)
            self._aim = None  # what comes after the first may happen at any request
            self.stages.update(stage for stage, fits in self._stages.items() if fits(request))
            self.fired.append(f"{name} at {self._requests}")
            self._well = 0
            return fault

    def _is_due(self, request: Any) -> bool:
        if not self._left or not self._kinds[self._left[0][1]].fits(request):
            return False
        return self._well >= self._left[0][0] if self._aim is None else self._aim(request)

    def __str__(self) -> str:
        return f"faults by request: {', '.join(self.fired) or 'none'}"


class Operation(NamedTuple):
    """A call, and what is demanded of what it returns.

    Attributes:
        interfere: what somebody else may do meanwhile.
        reach: before the first fault go fewer requests well than one of these numbers.
        aimed: whether the first fault is to happen at a stage of an upload in parts.
    """

    name: str
    call: Callable[[], Any]
    judge: Callable[[Any], None]
    interfere: Callable[[], None] | None = None
    reach: tuple[int, ...] = (3, 8, 20)
    aimed: bool = False


# a round


class Place:
    """A store of the round, and what its host held when it was looked at last."""

    def __init__(self, name: str, host: Any, settings: dict[str, Any]) -> None:
        self.name, self._host, self.settings = name, host, settings
        self.address = ""
        self.seen: Held = {}

    def held(self) -> Held:
        return self._host.held(self.settings)

    def of(self, key: str) -> list[tuple[str, bytes]]:
        return self.held().get(key, [])

    def put(self, key: str, data: bytes) -> None:
        self._host.put(self.settings, key, data)

    def unfinished(self) -> list[str]:
        return list(self._host.unfinished(self.settings))

    def age(self) -> None:
        self._host.age(self.settings)


class Round:
    """Places, machines, and the operations on them."""

    def __init__(self, host: Any, folder: Path, chance: random.Random) -> None:
        self._host, self._folder, self._chance = host, folder, chance
        local = {name: LocalFolder(folder / name) for name in ("home", "back")}
        hosts = {"lab": host, "copy": host, **local}
        self._places = {name: Place(name, host, host.settings()) for name, host in hosts.items()}
        if host.unversioned:
            self._places["plain"] = Place("plain", host, host.settings(versioned=False))
        self._stores: dict[tuple[str, str], Any] = {}
        self._made: dict[str, set[str]] = collections.defaultdict(set)  # by key: sha256 of all that was ever sent
        self._assemblies: dict[str, xr.DataArray] = {}  # by sha256
        self._theirs: set[str] = set()  # sha256 of what somebody else uploaded
        self._acknowledged: list[tuple[str, Receipt]] = []  # with the store's name
        self._receipts: set[tuple[Any, ...]] = set()
        self._read = functools.cache(yaml.safe_load)
        self._numbers = 0
        for machine in ("here", "elsewhere"):
            (folder / machine).mkdir()
            stores = {name: place.settings for name, place in self._places.items()}
            (folder / machine / "storage.yaml").write_text(yaml.safe_dump({"default": "lab", "stores": stores}))
        for name, place in self._places.items():
            place.address = self._store(name).address

    def step(self) -> tuple[Operation, Plan, StorageError | None]:
        """Make one operation and look that all is as it should be."""
        operation = self._draw()
        plan = Plan(self._host, self._chance, operation)
        self._host.go_wrong(plan.ask)
        failed: StorageError | None = None
        began = time.monotonic()
        try:
            result = operation.call()
        except StorageError as error:
            failed = error
        except Exception as error:
            raise Violation(f"{operation.name} raised {type(error).__name__}: {error} ({plan})") from error
        finally:
            self._host.go_wrong(lambda request: None)
        took = time.monotonic() - began
        try:
            demand(took < LONGEST, f"it took {took:.0f} s")
            self._look_round()
            if failed is None:
                operation.judge(result)
            else:
                demand(bool(plan.fired), f"it failed, although nothing went wrong: {failed}")
        except Violation as violation:
            raise Violation(f"{operation.name}: {violation} ({plan})") from failed
        return operation, plan, failed

    def finish(self) -> None:
        """Without faults, demand all that was acknowledged, by each pin, from cold caches; and complete mirrors."""
        for source, target in (("home", "copy"), ("lab", "back")):
            operation = self._mirror(source, target)
            operation.judge(operation.call())
        self._look_round()
        for name, receipt in self._acknowledged:
            wheres = {"lab": ("lab", "back"), "home": ("home", "copy"), "plain": ("plain",)}[name]
            if receipt.size >= 16 << 20:
                wheres = ()  # its version and its receipt are enough
            by_version, *by_hash = ({pin: getattr(receipt, pin)} for pin in ("version_id", "sha1", "sha256"))
            for where, pin in ((name, by_version), *((where, pin) for where in wheres for pin in by_hash)):
                store = self._store(where, self._chance.choice(("here", "elsewhere")))
                load = store.fetch if _is_file(receipt.identifier) else store.load_file
                self._demand_bytes(load(receipt.identifier, **pin), {receipt.sha256})
            self._demand_bytes(self._load(self._store(name), receipt, {}), {receipt.sha256})
        self._demand_nothing_left()

    def _demand_nothing_left(self) -> None:
        """Demand that the next upload removes what failures left behind, once that is old."""
        for name, place in self._places.items():
            if unfinished := place.unfinished():
                place.age()
                for identifier in {_identifier(key) for key in unfinished}:
                    path = self._write(identifier, size=self._host.large)
                    self._store(name, fresh=True).upload_file(path, identifier, replace=True)
                demand(not place.unfinished(), f"{name} still has {place.unfinished()}")

    # operations

    def _draw(self) -> Operation:
        chance = self._chance
        ways: list[tuple[int, Callable[[], Operation]]] = [
            (8, self._upload),
            (14, self._load_one),
            (4, self._versions),
            (4, self._identifiers),
            (1, lambda: self._mirror("home", "copy")),
            (2, lambda: self._mirror("lab", "back")),
            *([(2, self._upload_in_parts)] if self._host.stages else []),
            *([(1, self._upload_without_versions)] if self._host.unversioned else []),
        ]
        (way,) = chance.choices([way for _, way in ways], [weight for weight, _ in ways])
        return way()

    def _upload(self) -> Operation:
        place, chance = self._places["lab"], self._chance
        identifier = chance.choice(IDENTIFIERS["lab"])
        key = _key(identifier)
        before = place.of(key)
        again = bool(before) and chance.random() < 0.4  # bytes that are there: of the newest version, or an older one
        path = self._write(identifier, chance.choice([before[-1], *before])[1] if again else None)
        data = path.read_bytes()
        unchanged = bool(before) and before[-1][1] == data
        sha256 = hashes(data)[0]
        store = self._store("lab", fresh=chance.random() < 0.5)

        def call() -> Receipt:
            if _is_file(identifier):
                return store.upload_file(path, key)
            return store.upload(path if chance.random() < 0.3 else self._assemblies[sha256], identifier)

        def judge(receipt: Receipt) -> None:
            held = dict(place.of(key))
            demand(receipt.sha256 == sha256, "the receipt has another sha256")
            demand(held.get(receipt.version_id or "") == data, f"version {receipt.version_id} is not what was uploaded")
            demand(_facts(receipt) in self._receipts, "there is no such receipt on disk")
            self._acknowledged.append(("lab", receipt))
            new = [version for version in place.of(key)[len(before) :] if version[1] == data]
            # without a record, not every host knows the hashes of what somebody else uploaded
            unknown = bool(others) or sha256 in self._theirs
            right = (0, 1) if unchanged and unknown else (0,) if unchanged else (1,)
            demand(len(new) in right, f"it was kept {len(new)} times")

        others: list[bytes] = []

        def interfere() -> None:
            others.append(theirs)
            self._put(place, key, theirs)

        theirs = self._write(identifier).read_bytes() if chance.random() < 0.4 else b""
        name = "unchanged" if unchanged else "version" if before else "new"
        reach = (1, 2, 5) if unchanged else (3, 8, 20)
        return Operation(f"upload {name}", call, judge, interfere if theirs else None, reach)

    def _upload_in_parts(self) -> Operation:
        return self._upload_large("lab")._replace(name="upload in parts", aimed=True)

    def _upload_without_versions(self) -> Operation:
        """Upload a new name to a place without versions."""
        if self._host.stages and self._chance.random() < 0.7:
            return self._upload_large("plain")._replace(name="upload without versions", aimed=True)
        return self._upload_large("plain", size=5000)._replace(name="upload without versions")

    def _upload_large(self, where: str, size: int | None = None) -> Operation:
        """Upload a file under a name of its own; what failed is uploaded once more, without faults."""
        place = self._places[where]
        self._numbers += 1
        key = f"large-{self._numbers}.bin"
        path = self._write(key, size=size or self._host.large)
        data = path.read_bytes()
        store = self._store(where, fresh=self._chance.random() < 0.5)

        def judge(receipt: Receipt) -> None:
            demand(receipt.sha256 == hashes(data)[0], "the receipt has another sha256")
            demand(
                place.of(key) == [(_real(receipt.version_id), data)], f"there are {[id_ for id_, _ in place.of(key)]}"
            )
            demand(_facts(receipt) in self._receipts, "there is no such receipt on disk")
            self._acknowledged.append((where, receipt))

        return Operation("", lambda: store.upload_file(path, key), judge)

    def _load_one(self) -> Operation:
        place, chance = self._places["lab"], self._chance
        uploaded = [identifier for identifier in IDENTIFIERS["lab"] if place.of(_key(identifier))]
        if not uploaded:
            return self._upload()
        identifier = chance.choice(uploaded)
        key = _key(identifier)
        before = place.of(key)
        version_id, data = chance.choice(before)
        sha256, sha1, _ = hashes(data)
        receipts = [receipt for name, receipt in self._acknowledged if name == "lab" and receipt.key == key]
        pins: dict[str, dict[str, Any]] = {
            "version": {"version_id": version_id},
            "sha1": {"sha1": sha1, "version_id": chance.choice((None, version_id, "1"))},
            "sha256": {"sha256": sha256},
            "newest": {"newest": True},
            "receipt": {},
        }
        (name,) = chance.choices([*pins], weights=(5, 3, 3, 2, 2 if receipts else 0))  # some ask less often
        what: Any = identifier
        if name == "receipt":
            what = chance.choice(receipts)
            sha256 = what.sha256
        store = self._store("lab", chance.choice(("here", "elsewhere")), fresh=chance.random() < 0.5)
        expected = {sha256}

        def judge(result: Any) -> None:
            if name == "newest":
                expected.clear()
                expected.update(hashes(data)[0] for _, data in place.of(key)[len(before) - 1 :])
            self._demand_bytes(result, expected)

        theirs = self._write(identifier).read_bytes() if chance.random() < 0.1 else None
        return Operation(
            f"load {name}",
            lambda: self._load(store, what, pins[name]),
            judge,
            (lambda: self._put(place, key, theirs)) if theirs is not None else None,
            reach=(1, 2, 5),
        )

    def _versions(self) -> Operation:
        place, chance = self._places["lab"], self._chance
        identifier = chance.choice([name for name in IDENTIFIERS["lab"] if not _is_file(name)])
        store = self._store("lab", chance.choice(("here", "elsewhere")), fresh=chance.random() < 0.5)

        def judge(versions: Any) -> None:
            told = [(version.version_id, version.sha256) for version in reversed(versions)]
            held = [(version_id, hashes(data)[0]) for version_id, data in place.of(_key(identifier))]
            # what somebody else uploaded has no record, and not every host has hashes of its own
            known = [(id_, None if (id_, None) in told and sha256 in self._theirs else sha256) for id_, sha256 in held]
            demand(told == known, f"it told of {told}")
            for version, (_, data) in zip(reversed(versions), place.of(_key(identifier)), strict=True):
                _, sha1, size = hashes(data)
                demand((version.sha1 or sha1, version.size) == (sha1, version.size and size), f"it told {version}")
                demand(version.identifier in (None, identifier), f"it told {version}")

        return Operation("versions", lambda: store.versions(identifier), judge, reach=(1, 2, 5))

    def _identifiers(self) -> Operation:
        place, chance = self._places["lab"], self._chance
        store = self._store("lab", chance.choice(("here", "elsewhere")), fresh=chance.random() < 0.5)

        def judge(told: Any) -> None:
            held = place.held()
            right = sorted(identifier for identifier in IDENTIFIERS["lab"] if _key(identifier) in held)
            files = [identifier for identifier in right if _is_file(identifier)]
            # a version that somebody else uploaded without a record has no name but its file's
            told = ([name.replace("Lab_a", "Lab.a") for name in told[0]], told[1])
            told = (told[0], [name for name in told[1] if not name.startswith("large-")])
            demand(told == ([name for name in right if name not in files], files), f"it told {told}, not {right}")

        return Operation("identifiers", lambda: (store.identifiers(), store.file_names()), judge, reach=(1, 2, 5))

    def _mirror(self, source: str, target: str) -> Operation:
        if source == "home":
            for identifier in self._chance.choices(IDENTIFIERS["home"], k=self._chance.randrange(4)):
                path = self._write(identifier)
                store = self._store("home")
                upload = store.upload_file if _is_file(identifier) else store.upload
                self._acknowledged.append(
                    ("home", upload(path, _key(identifier) if _is_file(identifier) else identifier))
                )
        stores = [self._store(name, fresh=self._chance.random() < 0.5) for name in (source, target)]

        def call() -> Any:
            with _reasons() as reasons:
                report = mirror(*stores)
            for error in reasons:
                raise error
            return report

        def judge(report: Any) -> None:
            demand(report.complete, f"{report}")
            held = self._places[target].held()
            for key, versions in self._places[source].held().items():
                if not key.startswith("."):
                    right, copied = (_merged([data for _, data in v]) for v in (versions, held.get(key, [])))
                    demand(right == copied, f"{key} was not copied as it is")

        return Operation(f"mirror {'to' if source == 'home' else 'from'}", call, judge)

    # what they are made of

    def _store(self, name: str, machine: str = "here", *, fresh: bool = False) -> Any:
        """Open a store with an empty cache: a new one, or the one of that machine as it is by now."""
        if fresh or (name, machine) not in self._stores:
            self._stores[name, machine] = open_store(name, config=self._folder / machine / "storage.yaml")
        store = self._stores[name, machine]
        self._numbers += 1
        cache = self._folder / f"cache-{self._numbers}"
        store.cache = Cache([cache])
        return store

    def _write(self, identifier: str, data: bytes | None = None, *, size: int | None = None) -> Path:
        """Write a file to be uploaded: new bytes unless they are given."""
        self._numbers += 1
        path = self._folder / f"upload-{self._numbers}"
        if data is not None:
            path.write_bytes(data)
        elif _is_file(identifier):
            size = size or self._chance.choice((1, 500, 5000, 300_000, 700_000, 2_500_000))
            # a prime: each part of a large file differs from the next
            piece = self._chance.randbytes(size if size < 8 << 20 else 65_521)
            path.write_bytes((piece * (size // len(piece) + 1))[:size])
        else:
            assembly = make_assembly(self._chance.randrange(10**6))
            codec.encode(assembly, path, identifier=identifier)
            self._assemblies[hashes(path.read_bytes())[0]] = assembly
        self._made[_key(identifier)].add(hashes(path.read_bytes())[0])
        return path

    def _put(self, place: Place, key: str, data: bytes) -> None:
        """Upload as somebody else."""
        self._theirs.add(hashes(data)[0])
        place.put(key, data)

    def _load(self, store: Any, what: str | Receipt, pin: dict[str, Any]) -> Any:
        """Return an assembly, or a file's path."""
        if _is_file(what if isinstance(what, str) else what.identifier):
            return store.fetch(what, **pin)
        return store.load(what, **pin)

    def _demand_bytes(self, result: Any, expected: set[str]) -> None:
        if isinstance(result, Path):
            demand(hashes(result.read_bytes())[0] in expected, "these are not the bytes that were asked for")
        else:
            found = [differences(self._assemblies[sha256], result) for sha256 in expected]
            demand([] in found, f"this is not the assembly that was asked for: {found}")

    def _look_round(self) -> None:
        """Look at every place and every receipt."""
        for place in self._places.values():
            held = place.held()
            for key, before in place.seen.items():
                demand(held.get(key, [])[: len(before)] == before, f"{place.name} lost or changed versions of {key}")
            for key, versions in held.items():
                ids = [version_id for version_id, _ in versions]
                demand(len({*ids}) == len(ids), f"{place.name} has two versions of one number of {key}")
                foreign = {hashes(data)[0] for _, data in versions} - self._made[key]
                demand(key.startswith(".") or not foreign, f"{place.name} holds what nobody sent as {key}: {foreign}")
            place.seen = held
        demand(not (self._folder / "elsewhere" / "receipts").exists(), "a load wrote a receipt")
        receipts = set(self._on_disk())
        demand(receipts >= self._receipts, f"receipts were lost: {self._receipts - receipts}")
        places = {place.address: place for place in self._places.values()}
        for key, sha256, sha1, size, address, version_id in receipts - self._receipts:
            data = dict(places[address].seen.get(key, [])).get(version_id, b"")
            demand(hashes(data) == (sha256, sha1, size), f"a receipt of {key}, version {version_id}, is false")
        self._receipts = receipts

    def _on_disk(self) -> Iterator[tuple[Any, ...]]:
        for folder in (self._folder / "here" / "receipts").glob("*"):
            files = {path.name: self._read(path.read_text()) for path in folder.glob("*.yaml")}
            for name, copy in files.items():
                if "@" in name:
                    version = files[f"{name.partition('@')[0]}.yaml"]
                    demand(version["sha256"] == copy["sha256"], f"{folder.name}/{name} is of another version")
                    told = (version["key"], version["sha256"], version["sha1"], int(version["size"]))
                    yield (*told, copy["address"], _real(copy.get("version_id")))


def _key(identifier: str) -> str:
    return identifier if _is_file(identifier) else f"assy_{identifier.replace('.', '_')}.nc"


def _is_file(identifier: str) -> bool:
    return identifier.endswith(".bin")


def _identifier(key: str) -> str:
    return key if _is_file(key) else "left.bin"


def _facts(receipt: Receipt) -> tuple[Any, ...]:
    return receipt.key, receipt.sha256, receipt.sha1, receipt.size, receipt.address, _real(receipt.version_id)


def _real(version_id: str | None) -> str | None:
    """Return a version's id; None for "null", by which S3 names what has none."""
    return None if version_id == "null" else version_id


def _merged(history: list[bytes]) -> list[bytes]:
    """Equal neighbours count as one: some hosts make no new version of equal bytes."""
    return [data for number, data in enumerate(history) if not number or data != history[number - 1]]


@contextlib.contextmanager
def _reasons() -> Iterator[list[BaseException]]:
    """Collect what a mirror's files failed of; its report has the words only."""
    reasons: list[BaseException] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                reasons.append(record.exc_info[1])

    logger, handler = logging.getLogger("storage_plugins._mirror.mirror"), Collecting()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield reasons
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


# the whole


class Tally:
    """How many faults of each kind happened in each operation, and in how many of them it succeeded all the same."""

    def __init__(self) -> None:
        self.overcome: collections.Counter[tuple[str, str]] = collections.Counter()
        self.failed: collections.Counter[tuple[str, str]] = collections.Counter()
        self.stages: collections.Counter[str] = collections.Counter()
        self.operations = self.rounds = 0

    @property
    def fired(self) -> int:
        return sum(self.overcome.values()) + sum(self.failed.values())

    def count(self, operation: Operation, plan: Plan, failed: StorageError | None) -> None:
        self.operations += 1
        self.stages += plan.stages
        for fired in plan.fired:
            kind = fired.partition(" at ")[0]
            (self.overcome if failed is None else self.failed)[operation.name, kind] += 1

    def table(self) -> str:
        """Return a line for each kind, a column for each operation: faults overcome / in an operation that failed."""
        both = self.overcome + self.failed
        operations, kinds = (sorted({pair[place] for pair in both}) for place in (0, 1))
        lines = [["", *(name.replace(" ", "\n") for name in operations), "all", "fired"]]
        for kind in [*kinds, "all"]:
            line = [kind]
            for operation in [*operations, "all"]:
                here = [pair for pair in both if operation in ("all", pair[0]) and kind in ("all", pair[1])]
                overcome, failed = (sum(counter[pair] for pair in here) for counter in (self.overcome, self.failed))
                line.append(f"{overcome}/{failed}" if here else "-")
            lines.append([*line, f"{overcome + failed}"])
        first = [name.partition("\n")[::2] for name in lines[0]]
        lines[:1] = [[name[0] for name in first], [name[1] for name in first]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
        )


@contextlib.contextmanager
def nobody_waits() -> Iterator[None]:
    """Let ``time.sleep`` return at once, but for the moments that servers rest."""
    real = time.sleep
    with mock.patch("time.sleep", lambda seconds: real(seconds) if seconds <= 0.02 else None):
        yield


def play(backend: str, seed: int, number: int, tally: Tally) -> None:
    """Play one round.

    Raises:
        Violation: something was not as it should be; tells how to repeat it.
    """
    step = 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="campaign-")))
        stack.enter_context(nobody_waits())
        try:
            played = Round(
                stack.enter_context(BACKENDS[backend](folder / "places")), folder, random.Random(f"{seed} {number}")
            )
            while step < STEPS:
                step += 1
                tally.count(*played.step())
            step += 1
            played.finish()
        except Exception as error:
            repeat = f"--backend {backend} --seed {seed} --round {number}"
            raise Violation(f"{repeat}: step {step}: {type(error).__name__}: {error}") from error
    tally.rounds += 1


def run(backend: str, faults: int, seed: int, *, found: list[Violation] | None = None) -> Tally:
    """Play rounds until so many faults have happened; a violation ends it, or is added to ``found``."""
    tally = Tally()
    for number in itertools.count(1):
        try:
            play(backend, seed, number, tally)
        except Violation as violation:
            if found is None:
                raise
            found.append(violation)
            print(violation, flush=True)
        if found is not None and number % 20 == 0:
            print(f"{number} rounds, {tally.fired} faults, {len(found)} violations", flush=True)
        if tally.fired >= faults:
            break
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, required=True)
    parser.add_argument("--faults", type=int, default=2000, help="play rounds until so many happened")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=int, help="play that round alone")
    given = parser.parse_args()
    logging.getLogger("storage_plugins").addHandler(logging.NullHandler())  # that a pin was out of date is expected
    began = time.monotonic()
    found: list[Violation] = []
    if given.round is None:
        tally = run(given.backend, given.faults, given.seed, found=found)
    else:
        play(given.backend, given.seed, given.round, tally := Tally())
    print(tally.table())
    if tally.stages:
        print("uploads in parts:", ", ".join(f"{count} at {stage}" for stage, count in sorted(tally.stages.items())))
    print(
        f"{given.backend}, seed {given.seed}: {tally.fired} faults happened in {tally.operations} operations of "
        f"{tally.rounds} rounds; {f'{len(found)} VIOLATIONS' if found else 'nothing false, nothing lost'}; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
