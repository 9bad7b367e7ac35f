"""What a self-test tries. Without receipts and with an empty cache each time, so that the host itself must answer.

All files made here are named `NAME` and a random number.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .. import _sample as demo
from .._backend.host import Nowhere
from .._backend.operations import Source
from .._copies.cache import Cache
from .._identifiers import assembly_key
from .._store.file_store import FileStore
from .._store.replaced import FOLDER
from ..errors import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    IntegrityError,
    NotSupported,
    QuotaExceeded,
    StorageError,
)
from ..protocol import Receipt, record
from .processes import Alone, from_processes

if TYPE_CHECKING:
    import xarray as xr

    from .._store.store import Store

NAME = "storage-plugins-check"
_AT_ONCE = 2  # processes that upload at the same moment; each takes a third of a second to start
_SAMPLES = 20  # files that are looked at to find one small enough to read
_SAMPLE = 16 << 20  # the largest file that is read, in bytes
_SPEED = (1 << 20, 16 << 20)  # bytes; the second only where the first took less than
_SHOWN = 10  # names of unfinished uploads
_SOON = 2.0  # seconds
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: its name.
        ok: False if something is wrong; None where it is unknown, or does not apply.
        text: what was found, for people.
        hint: what to do about it, None where nothing has to be done.
        error: the class of the error that ended it, None if none did.
        figures: what was measured: counts, bytes, seconds, bytes_per_second.
    """

    check: str
    ok: bool | None
    text: str
    hint: str | None = None
    error: type[StorageError] | None = None
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Left(NamedTuple):
    """A file of a check that is still in the store, and why it could not be deleted."""

    name: str
    why: str


class PlainTrials:
    """For a store with ``upload`` and ``load`` of its own: whether what is uploaded can be loaded."""

    first: Receipt  # of what `writing` uploaded, which later checks need

    def __init__(self, store: Store) -> None:
        self.store = store
        self.identifier = f"{NAME}-{secrets.token_hex(4)}"
        self.earlier: list[str] = []
        self._began = False

    def all(self) -> dict[str, Callable[[], Finding]]:
        """Return the checks by name."""
        return {"writing": self.writing, "round trip": self.round_trip}

    def reading(self) -> dict[str, Callable[[], Finding]]:
        """Return the checks that change nothing."""
        return {}

    def clean_up(self) -> list[Left]:
        """Delete what can be deleted; return what is left."""
        return [Left(self.identifier, "this kind of store cannot delete")] if self._began else []

    def writing(self) -> Finding:
        """Upload a small assembly."""
        self._began = True
        self.first = self.store.upload(demo.assembly(), self.identifier)
        size = self.first.size
        return Finding("writing", True, f"a small assembly was uploaded, {size} bytes", figures={"bytes": size})

    def round_trip(self) -> Finding:
        """Load it again."""
        self._expect(self.store.load(self.first), demo.assembly())
        return Finding("round trip", True, "it was loaded, verified and identical")

    def _expect(self, loaded: xr.DataArray, wanted: xr.DataArray) -> None:
        if not loaded.identical(wanted):
            raise IntegrityError(f"{self.identifier} changed between upload and load")


class FileTrials(PlainTrials):
    """For a store of files.

    Args:
        store: the store.
        folder: an empty folder on this computer.
    """

    store: FileStore

    def __init__(self, store: FileStore, folder: Path) -> None:
        super().__init__(store)
        self._folder = folder
        self._host = store.host
        self._keys: list[str] = []  # what may be in the store by now
        self._refused: set[str] = set()  # of these there is nothing, but perhaps a folder
        self._receipts: list[Receipt] = []
        self._sample: str | None = None
        self._listed = False
        self.store = self._elsewhere()

    def all(self) -> dict[str, Callable[[], Finding]]:
        """Return the checks by name, in the order in which they need each other."""
        return {
            **self._looks(),
            "writing": self.writing,
            "round trip": self.round_trip,
            "versions": self.versions,
            "simultaneous uploads": self.simultaneous,
            "damage": self.damage,
            "anonymous readers": self.anonymous_readers,
            "speed": self.speed,
        }

    def reading(self) -> dict[str, Callable[[], Finding]]:
        """Return the checks that change nothing."""
        return {**self._looks(), "anonymous readers": self.anonymous_readers}

    def _looks(self) -> dict[str, Callable[[], Finding]]:
        looks = {"listing": self.listing, "reading": self.sampling, "free space": self.free_space}
        return looks | ({"unfinished uploads": self.unfinished} if self._host.may_leave_uploads else {})

    def clean_up(self) -> list[Left]:
        """Delete what the checks made; return what is left, as far as it can be seen."""
        left = []
        for receipt in self._receipts if self.store.settings.visibility == "public" else ():
            with contextlib.suppress(StorageError):
                self._host.unpublish(receipt.key, receipt.version_id)
        for key in self._keys:
            try:
                for name in [key, *self._replaced(key)]:
                    self._host.discard(name)
            except Exception as error:  # whatever a backend raises, the rest must still be deleted
                if key not in self._refused and self._may_be_there(key):
                    left.append(Left(key, error.message if isinstance(error, StorageError) else repr(error)))
        return left

    # what is tried

    def listing(self) -> Finding:
        """List all names."""
        try:
            names, seconds = timed(self._host.keys)
        except AccessDenied as error:
            hint = f"{error.hint or ''} If only listing is forbidden, loading by name still works.".lstrip()
            return Finding("listing", None, error.message, hint)
        self._listed = True
        self.earlier = [name for name in names if NAME in name]
        for key in [name for name in names if NAME not in name and not name.startswith(".")][:_SAMPLES]:
            newest = self._host.newest(key)
            if newest is not None and (newest.size or 0) <= _SAMPLE:
                self._sample = key
                break
        text = f"{len(names)} {'name' if len(names) == 1 else 'names'} in {seconds:.2f} s"
        return Finding("listing", True, text, figures={"names": len(names), "seconds": seconds})

    def sampling(self) -> Finding:
        """Read a file that is in the store, and compare it with its record."""
        key = self._sample
        if key is None:
            nothing = f"the store has no file of up to {_SAMPLE >> 20} MiB to try"
            raise NotSupported(nothing if self._listed else "not tried: the files could not be listed")
        version = self._host.newest(key)
        if version is None:
            raise AssemblyNotFound(f"{key} has disappeared from {self.store.address}")
        path, seconds = timed(
            functools.partial(
                self._elsewhere().fetch, key, version_id=version.version_id, newest=not version.version_id
            )
        )
        source = Source.of(path)
        if version.sha256 not in (None, source.sha256) or version.sha1 not in (None, source.sha1):
            raise IntegrityError(
                f"{key} is not what its record says: expected sha256 {version.sha256}, got {source.sha256}",
                hint="It cannot be loaded by that hash. Look for an intact copy in another store, and upload it again.",
            )
        found = "matches its record" if version.sha256 else "has no record to compare with"
        text = f"{key}, {source.size} bytes, {found}; read in {seconds:.2f} s"
        return Finding("reading", True, text, figures={"bytes": source.size, "seconds": seconds})

    def free_space(self) -> Finding:
        """Ask for the free space."""
        free = self._host.free_space()
        if free is None:
            return Finding("free space", None, "the host does not report its free space")
        if free == 0:
            return Finding("free space", False, "none", error=QuotaExceeded, figures={"bytes": 0})
        return Finding("free space", True, f"{_amount(free)} free", figures={"bytes": free})

    def unfinished(self) -> Finding:
        """List unfinished uploads that no longer run."""
        try:
            names, advice = self._host.unfinished()
        except AccessDenied as error:
            return Finding("unfinished uploads", None, error.message, error.hint)
        if not names:
            return Finding("unfinished uploads", True, "none that is old", figures={"uploads": 0})
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        return Finding("unfinished uploads", None, f"{len(names)} of {shown}", advice, figures={"uploads": len(names)})

    def writing(self) -> Finding:
        """Upload a small assembly."""
        key = self._expected(assembly_key(self.identifier, self.store.settings.assembly_prefix))
        try:
            finding = super().writing()
        except (AccessDenied, ConfigError, NotSupported, QuotaExceeded):
            if self.store.settings.visibility == "private":  # else it may be publishing that was refused
                self._refused.add(key)
            raise
        self._receipts.append(self.first)
        return finding

    def round_trip(self) -> Finding:
        """Load it by its version id, by its hash, and by its name alone."""
        pins: list[dict[str, Any]] = [
            {"version_id": self.first.version_id, "sha256": self.first.sha256},
            {"sha1": self.first.sha1},
            {},
        ]
        for pin in pins:
            self._expect(self._elsewhere().load(self.identifier, **pin), demo.assembly())
        newest = self._host.newest(self.first.key)
        if newest is None or (newest.identifier, newest.sha256) != (self.identifier, self.first.sha256):
            raise IntegrityError(f"The record of {self.first.key} was not stored with it: the host reports {newest}")
        return Finding(
            "round trip", True, "loaded by its version id, by its hash and by its name: verified and identical"
        )

    def versions(self) -> Finding:
        """Upload other values under the same name; both must be loadable afterwards, or the second be refused."""
        versioned = self._host.keeps_versions()
        refused = False
        try:
            second = self.store.upload(demo.assembly() + 1.0, self.identifier)
            self._receipts.append(second)
            self._expect(self._loaded(second), demo.assembly() + 1.0)
        except AlreadyExists:
            if versioned:
                raise
            refused = True
        self._expect(self._loaded(self.first), demo.assembly())
        if versioned:
            if second.version_id in (None, self.first.version_id):
                raise IntegrityError(f"Two versions have the same id, {second.version_id}")
            return Finding("versions", True, "every version is kept: two uploads of one name load by their own ids")
        text = "the host does not report that it keeps versions: " + (
            "changed bytes were refused, and the old ones are intact"
            if refused
            else "they were replaced, and the old bytes still load by their hash"
        )
        return Finding("versions", True, text, "Turn on versioning there, so that every upload becomes a version.")

    def simultaneous(self) -> Finding:
        """Upload several files under one name at the same moment, each from a process of its own."""
        try:
            return self._raced(f"{self.identifier}-race.bin", self._from_processes, "processes")
        except Alone as why:
            finding = self._raced(f"{self.identifier}-threads.bin", self._from_threads, "threads of one process")
            return dataclasses.replace(finding, text=f"{finding.text}. Processes were not tried: {why}")

    def damage(self) -> Finding:
        """Store bytes that differ from their record, and send a file that changes during the upload."""
        name, other = (self._expected(f"{self.identifier}-{what}.bin") for what in ("damaged", "changed"))
        right, wrong = (Source.of(self._file(data)) for data in (b"what was recorded", b"what has become of it"))
        self._host.put(name, wrong, metadata=_metadata(name, right), if_absent=True)
        try:
            with _expected_damage(name):
                self._elsewhere().fetch(name, sha256=right.sha256)
        except (IntegrityError, AssemblyNotFound):
            pass
        else:
            raise IntegrityError("Bytes that differ from their record were returned as data")
        changed = Source(wrong.path, dataclasses.replace(right.digests, size=wrong.size))
        try:
            self._host.put(other, changed, metadata=_metadata(other, right), if_absent=True)
        except IntegrityError:
            pass
        else:
            raise IntegrityError("A file that changed while it was being uploaded was accepted")
        if self._host.newest(other) is not None:
            raise IntegrityError("Part of a file that changed while it was being uploaded was stored")
        return Finding(
            "damage",
            True,
            "bytes that differ from their record, and a file that changes during the upload, are refused",
        )

    def anonymous_readers(self) -> Finding:
        """Read without credentials."""
        key = self._keys[0] if self._keys else self._sample
        readers = self._host.anonymous()
        if readers is None:
            return Finding("anonymous readers", None, "not applicable: this store has no anonymous access")
        if key is None:
            raise NotSupported("the store has no file to try")
        public = self.store.settings.visibility == "public"
        try:
            readers.download(key, None, Nowhere())
        except (AccessDenied, AssemblyNotFound):
            text = "a reader without credentials was refused"
            if not public:
                return Finding("anonymous readers", True, text)
            closed = self._host.place_is_public() is False
            hint = "Use storage-plugins publish-store." if closed else self._host.why_still_private(key)
            return Finding("anonymous readers", False, f"{text}, although visibility is public", hint)
        text = f"a reader without credentials could read {key}"
        if public:
            return Finding("anonymous readers", True, f"{text}, as visibility: public asks for")
        if not self._keys:
            return Finding("anonymous readers", None, f"{text}: it is public")
        hint = "Set visibility: public if that is intended. Otherwise check who may read the whole location."
        return Finding(
            "anonymous readers", False, f"{text} as soon as it was uploaded, although visibility is private", hint
        )

    def speed(self) -> Finding:
        """Time an upload and a download, both verified, and a small request."""
        for number, size in enumerate(_SPEED):
            name = self._expected(f"{self.identifier}-speed{number}.bin")
            receipt, up = timed(functools.partial(self.store.upload_file, self._file(os.urandom(size)), name))
            self._receipts.append(receipt)
            _, down = timed(functools.partial(self._elsewhere().fetch, receipt))
            if up + down > _SOON:
                break
        _, request = timed(lambda: self._host.newest(name))
        text = f"up {_amount(size / up)}/s, down {_amount(size / down)}/s, with {size >> 20} MiB"
        figures = {"bytes": size, "up_bytes_per_second": size / up, "down_bytes_per_second": size / down}
        text += f"; a small request takes {1000 * request:.0f} ms"
        return Finding("speed", True, text, figures={**figures, "request_seconds": request})

    # how

    def _raced(self, name: str, upload: Callable[[list[Path], str], list[Receipt | StorageError]], by: str) -> Finding:
        """Upload from several processes or threads at the same moment, and look for what was confirmed."""
        results = upload([self._file(b"%d" % number) for number in range(_AT_ONCE)], self._expected(name))
        won = [result for result in results if isinstance(result, Receipt)]
        problems = [result for result in results if not isinstance(result, Receipt | AlreadyExists)]
        self._receipts += won
        kept = [receipt for receipt in won if self._is_there(receipt)]
        if by == "processes" and not kept:
            raise Alone(problems[0].message if problems else "what they upload is not seen here")
        if problems:
            raise problems[0]
        figures = {"uploads": len(results), "answered": len(won), "kept": len(kept)}
        if len(kept) < len(won) or not won:
            text = f"of {len(won)} confirmed uploads, made by two {by} at the same moment, {len(won) - len(kept)} lost"
            hint = "Do not let two people upload under one name at once there. Report it to the provider of the host."
            return Finding("simultaneous uploads", False, text, hint, figures=figures)
        versioned = self._host.keeps_versions()
        text = (
            "both were stored, each with the id of its own bytes" if versioned else "one was stored, the other refused"
        )
        if not versioned and not self._host.creates_safely():
            text += "; for large files this host does not guarantee that"
        text = f"two {by} uploaded under one name at the same moment: {text}"
        return Finding("simultaneous uploads", True, text, figures=figures)

    def _from_processes(self, paths: list[Path], name: str) -> list[Receipt | StorageError]:
        return from_processes(self._elsewhere(), paths, name, self._folder / secrets.token_hex(4))

    def _from_threads(self, paths: list[Path], name: str) -> list[Receipt | StorageError]:
        def upload(path: Path) -> Receipt | StorageError:
            try:
                return self._elsewhere().upload_file(path, name)
            except StorageError as error:
                return error

        with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
            return list(pool.map(upload, paths))

    def _elsewhere(self) -> FileStore:
        """Return the store as a machine sees it that has never loaded anything."""
        cache = self._folder / secrets.token_hex(4)
        return self.store.elsewhere(Cache([cache]))

    def _expected(self, key: str) -> str:
        """Note that ``key`` may be in the store from now on."""
        self._keys.append(key)
        return key

    def _file(self, data: bytes) -> Path:
        path = self._folder / secrets.token_hex(4)
        path.write_bytes(data)
        return path

    def _loaded(self, receipt: Receipt) -> xr.DataArray:
        return self._elsewhere().load(receipt)

    def _is_there(self, receipt: Receipt) -> bool:
        with contextlib.suppress(AssemblyNotFound, IntegrityError):
            self._elsewhere().fetch(receipt)
            return True
        return False

    def _replaced(self, key: str) -> list[str]:
        """Return where old bytes of ``key`` went when they were replaced."""
        return self._host.keys(f"{FOLDER}/{key}/") if self._host.replaces() else []

    def _may_be_there(self, key: str) -> bool:
        with contextlib.suppress(Exception):
            return self._host.newest(key) is not None
        return True


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and the seconds it took."""
    began = time.perf_counter()
    return call(), time.perf_counter() - began


@contextlib.contextmanager
def _expected_damage(key: str) -> Iterator[None]:
    """Leave out the warning that a file is damaged, since it is so on purpose."""
    log = logging.getLogger("storage_plugins._backend.host")

    def is_about_another(record: logging.LogRecord) -> bool:
        return not (isinstance(record.args, tuple) and key in record.args)

    log.addFilter(is_about_another)
    try:
        yield
    finally:
        log.removeFilter(is_about_another)


def _amount(size: float) -> str:
    """Return a number of bytes for people, in units of 1,000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.0f} TB"


def _metadata(name: str, source: Source) -> dict[str, str]:
    return record(name, None, source.digests, None)
