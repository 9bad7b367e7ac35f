"""What a self-test tries. Without receipts and with an empty cache each time, so that the host itself has to answer.

All files made here are called `NAME` and a random number.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .. import _sample as demo
from .._backend.operations import FileOperations, Source
from .._backend.transfer import retrying
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

if TYPE_CHECKING:
    import xarray as xr

    from .._store.store import Store

NAME = "storage-plugins-check"
_AT_ONCE = 4  # racing uploads
_SAMPLES = 20  # files that are looked at for one of a size worth reading
_SAMPLE = 16 << 20  # bytes of a file that is read whole
_SPEED = (1 << 20, 16 << 20)  # bytes; the second only where the first took less than
_SOON = 2.0  # seconds
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What became of one check.

    Attributes:
        check: its name.
        ok: False if something is not as it should be; None where it cannot be told, or does not apply.
        text: what was found, for people.
        hint: what to do about it, None where nothing needs to be done.
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
    """A file of a check that is still at the place, and why it could not be taken away."""

    name: str
    why: str


class PlainTrials:
    """For a store that brings ``upload`` and ``load`` of its own: whether what goes in comes out."""

    first: Receipt  # what was uploaded by `writing`, on which those after it rely

    def __init__(self, store: Store) -> None:
        self.store = store
        self.identifier = f"{NAME}-{secrets.token_hex(4)}"
        self.earlier: list[str] = []
        self._began = False

    def all(self) -> dict[str, Callable[[], Finding]]:
        """Return the checks by name."""
        return {"writing": self.writing, "coming back": self.coming_back}

    def reading(self) -> dict[str, Callable[[], Finding]]:
        """Return the checks that change nothing."""
        return {}

    def clean_up(self) -> list[Left]:
        """Take away what can be; return what is left."""
        return [Left(self.identifier, "this kind of store cannot take anything away")] if self._began else []

    def writing(self) -> Finding:
        """Upload a small assembly."""
        self._began = True
        self.first = self.store.upload(demo.assembly(), self.identifier)
        size = self.first.size
        return Finding("writing", True, f"a small assembly was uploaded, {size} bytes", figures={"bytes": size})

    def coming_back(self) -> Finding:
        """Load it again."""
        self._expect(self.store.load(self.first), demo.assembly())
        return Finding("coming back", True, "it was loaded again, verified and identical")

    def _expect(self, loaded: xr.DataArray, wanted: xr.DataArray) -> None:
        if not loaded.identical(wanted):
            raise IntegrityError(f"What came back of {self.identifier} is not what was uploaded")


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
        self._files: FileOperations = store.files
        self._keys: list[str] = []  # what may be at the place by now
        self._refused: set[str] = set()  # of these nothing is, but perhaps a folder
        self._receipts: list[Receipt] = []
        self._sample: str | None = None
        self._listed = False
        self.store = self._elsewhere()

    def all(self) -> dict[str, Callable[[], Finding]]:
        """Return the checks by name, in the order in which they need each other."""
        return {
            **self._looks(),
            "writing": self.writing,
            "coming back": self.coming_back,
            "versions": self.versions,
            "racing": self.racing,
            "damage": self.damage,
            "everybody": self.everybody,
            "speed": self.speed,
        }

    def reading(self) -> dict[str, Callable[[], Finding]]:
        """Return the checks that change nothing."""
        return {**self._looks(), "everybody": self.everybody}

    def _looks(self) -> dict[str, Callable[[], Finding]]:
        return {"listing": self.listing, "reading": self.sampling, "room": self.room}

    def clean_up(self) -> list[Left]:
        """Take away what the checks made; return what is left, as far as it can be seen."""
        left = []
        for receipt in self._receipts if self.store.settings.visibility == "public" else ():
            with contextlib.suppress(StorageError):
                self._files.unpublish(receipt.key, receipt.version_id)
        for key in self._keys:
            try:
                for name in [key, *self._replaced(key)]:
                    self._files.discard(name)
            except Exception as error:  # whatever a backend may raise, the rest is still to be taken away
                if key not in self._refused and self._may_be_there(key):
                    left.append(Left(key, error.message if isinstance(error, StorageError) else repr(error)))
        return left

    # what is tried

    def listing(self) -> Finding:
        """List all names."""
        try:
            names, seconds = timed(lambda: list(retrying(lambda: list(self._files.keys()))))
        except AccessDenied as error:
            hint = f"{error.hint or ''} If only listing is forbidden, what is named loads all the same.".lstrip()
            return Finding("listing", None, error.message, hint)
        self._listed = True
        self.earlier = [name for name in names if NAME in name]
        for key in [name for name in names if NAME not in name and not name.startswith(".")][:_SAMPLES]:
            newest = retrying(functools.partial(self._files.newest, key))
            if newest is not None and (newest.size or 0) <= _SAMPLE:
                self._sample = key
                break
        text = f"{len(names)} {'name' if len(names) == 1 else 'names'} in {seconds:.2f} s"
        return Finding("listing", True, text, figures={"names": len(names), "seconds": seconds})

    def sampling(self) -> Finding:
        """Read something that is there, and compare it with its record."""
        key = self._sample
        if key is None:
            nothing = f"nothing is there to try it with, of up to {_SAMPLE >> 20} MiB"
            raise NotSupported(nothing if self._listed else "what is there could not be listed to try it with")
        version = retrying(lambda: self._files.newest(key))
        if version is None:
            raise AssemblyNotFound(f"{key} is gone from {self.store.address}")
        path, seconds = timed(
            functools.partial(
                self._elsewhere().fetch, key, version_id=version.version_id, newest=not version.version_id
            )
        )
        source = Source.of(path)
        if version.sha256 not in (None, source.sha256) or version.sha1 not in (None, source.sha1):
            raise IntegrityError(
                f"{key} is not what its record says: expected sha256 {version.sha256}, got {source.sha256}",
                hint="Nobody gets it by that hash. Look for a whole copy in another store, and upload it again.",
            )
        told = "is what its record says" if version.sha256 else "has no record to compare with"
        text = f"{key}, {source.size} bytes, {told}; read in {seconds:.2f} s"
        return Finding("reading", True, text, figures={"bytes": source.size, "seconds": seconds})

    def room(self) -> Finding:
        """Ask how much fits in."""
        free = retrying(self._files.free_space)
        if free is None:
            return Finding("room", None, "the host does not say how much room there is")
        if free == 0:
            return Finding("room", False, "there is none", error=QuotaExceeded, figures={"bytes": 0})
        return Finding("room", True, f"{_amount(free)} free", figures={"bytes": free})

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

    def coming_back(self) -> Finding:
        """Load it again, as machines would that know its version id, its hash, or its name alone."""
        pins: list[dict[str, Any]] = [
            {"version_id": self.first.version_id, "sha256": self.first.sha256},
            {"sha1": self.first.sha1},
            {},
        ]
        for pin in pins:
            self._expect(self._elsewhere().load(self.identifier, **pin), demo.assembly())
        told = retrying(lambda: self._files.newest(self.first.key))
        if told is None or (told.identifier, told.sha256) != (self.identifier, self.first.sha256):
            raise IntegrityError(f"What was recorded with {self.first.key} does not come back: the host tells {told}")
        return Finding(
            "coming back", True, "loaded by its version id, by its hash and by its name: verified and identical"
        )

    def versions(self) -> Finding:
        """Upload other values under the same name; both must be there afterwards, or the second be refused."""
        versioned = retrying(self._files.keeps_versions)
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
            return Finding("versions", True, "each upload is kept: two of one name load by their own ids")
        text = "the host does not say that it keeps versions: " + (
            "changed bytes were refused, and what was there stayed"
            if refused
            else "it was replaced, and the bytes from before still load by their hash"
        )
        return Finding("versions", True, text, "Turn on versioning there, and each upload becomes a version.")

    def racing(self) -> Finding:
        """Upload several files under one name at the same moment."""
        name = self._expected(f"{self.identifier}-race.bin")
        contents = [b"%d" % number for number in range(_AT_ONCE)]
        stores = [self._elsewhere() for _ in contents]
        paths = [self._file(data) for data in contents]
        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
            uploads = [pool.submit(store.upload_file, path, name) for store, path in zip(stores, paths, strict=True)]
        won: list[Receipt] = []
        for upload in uploads:
            with contextlib.suppress(AlreadyExists):
                won.append(upload.result())
        self._receipts += won
        kept = [receipt for receipt in won if self._is_there(receipt)]
        figures = {"uploads": len(contents), "answered": len(won), "kept": len(kept)}
        versioned = retrying(self._files.keeps_versions)
        if len(kept) < len(won) or not won:
            text = (
                f"of {len(won)} uploads at the same moment that were said to be kept, {len(won) - len(kept)} are lost"
            )
            hint = "Do not let two people upload under one name at once there; ask the host's makers about it."
            return Finding("racing", False, text, hint, figures=figures)
        text = "all are kept, each with the id of its own bytes" if versioned else "one was kept and the others refused"
        if not versioned and not self._files.creates_safely():
            text += "; whether that holds for large files too, this host does not promise"
        return Finding("racing", True, f"of {_AT_ONCE} uploads at the same moment {text}", figures=figures)

    def damage(self) -> Finding:
        """Put bytes there whose record tells of others, and send a file that changes on its way."""
        name, other = (self._expected(f"{self.identifier}-{what}.bin") for what in ("damaged", "changed"))
        right, wrong = (Source.of(self._file(data)) for data in (b"what was recorded", b"what has become of it"))
        self._files.put(name, wrong, metadata=_metadata(name, right), if_absent=True)
        try:
            self._elsewhere().fetch(name, sha256=right.sha256)
        except (IntegrityError, AssemblyNotFound):
            pass
        else:
            raise IntegrityError("Bytes that are not what their record says were handed out")
        changed = dataclasses.replace(wrong, sha1=right.sha1, sha256=right.sha256)
        try:
            self._files.put(other, changed, metadata=_metadata(other, right), if_absent=True)
        except IntegrityError:
            pass
        else:
            raise IntegrityError("A file that changed while it was uploaded was taken")
        if retrying(lambda: self._files.newest(other)) is not None:
            raise IntegrityError("A part of a file that changed while it was uploaded was kept")
        return Finding(
            "damage", True, "bytes that are not what their record says are refused, and so is a file that changes"
        )

    def everybody(self) -> Finding:
        """Read as somebody without credentials."""
        key = self._keys[0] if self._keys else self._sample
        readers = self._files.anonymous()
        if readers is None:
            return Finding("everybody", None, "this kind of store knows no readers without credentials")
        if key is None:
            raise NotSupported("nothing is there that somebody without credentials could be refused")
        public = self.store.settings.visibility == "public"
        try:
            with retrying(lambda: readers.read(key)) as content:
                next(iter(content.blocks), b"")
        except (AccessDenied, AssemblyNotFound):
            text = "somebody without credentials was refused"
            if not public:
                return Finding("everybody", True, text)
            closed = self._files.place_is_public() is False
            hint = "storage-plugins publish-store opens it." if closed else self._files.why_still_private(key)
            return Finding("everybody", False, f"{text}, though visibility is public", hint)
        text = f"somebody without credentials could read {key}"
        if public:
            return Finding("everybody", True, f"{text}, as visibility: public says")
        if not self._keys:
            return Finding("everybody", None, f"{text}: it is public")
        hint = "Write visibility: public if that is meant. Else look at who may read all of the place, and close it."
        return Finding("everybody", False, f"{text} as soon as it was uploaded, though visibility is private", hint)

    def speed(self) -> Finding:
        """Time a file on its way there and back, verified on both ways, and a small request."""
        for number, size in enumerate(_SPEED):
            name = self._expected(f"{self.identifier}-speed{number}.bin")
            receipt, up = timed(functools.partial(self.store.upload_file, self._file(os.urandom(size)), name))
            self._receipts.append(receipt)
            _, down = timed(functools.partial(self._elsewhere().fetch, receipt))
            if up + down > _SOON:
                break
        _, request = timed(lambda: self._files.newest(name))
        text = f"up {_amount(size / up)}/s, down {_amount(size / down)}/s, with {size >> 20} MiB"
        figures = {"bytes": size, "up_bytes_per_second": size / up, "down_bytes_per_second": size / down}
        text += f"; a small request takes {1000 * request:.0f} ms"
        return Finding("speed", True, text, figures={**figures, "request_seconds": request})

    # how

    def _elsewhere(self) -> FileStore:
        """Return the store as a machine has it that never loaded anything."""
        cache = self._folder / secrets.token_hex(4)
        return self.store.elsewhere(Cache([cache], own=cache))

    def _expected(self, key: str) -> str:
        """Note that ``key`` may be at the place from now on."""
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
        return list(self._files.keys(f"{FOLDER}/{key}/")) if self._files.replaces() else []

    def _may_be_there(self, key: str) -> bool:
        with contextlib.suppress(Exception):
            return self._files.newest(key) is not None
        return True


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and the seconds it took."""
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def _amount(size: float) -> str:
    """Return a number of bytes for people, in units of 1,000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.0f} TB"


def _metadata(name: str, source: Source) -> dict[str, str]:
    return record(
        identifier=name,
        assembly_prefix=None,
        sha1=source.sha1,
        sha256=source.sha256,
        size=source.size,
        content_digest=None,
    )
