"""The facts that travel through the core: what bytes are, which are wanted, where a verified copy is."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from .errors import InvalidPin

if TYPE_CHECKING:
    from concurrent.futures import Future

    import xarray as xr

_LENGTHS = {"sha1": 40, "sha256": 64}  # hexadecimal digits
_LARGE = 768 << 10  # bytes; less is hashed before a thread has started
_MOST_PENDING = 4  # blocks that wait for a hash
_LANES = 2  # threads for MD5s


@dataclasses.dataclass(frozen=True)
class Digests:
    """The identity of a file's bytes.

    Attributes:
        sha1, sha256: lower-case hex digests.
        size: bytes.
    """

    sha1: str
    sha256: str
    size: int


class Digesting:
    """Hashes bytes while they pass: both digests, MD5s if wanted, and how many bytes there were.

    Each hash of a large file has a thread of its own, so that hashing runs beside reading and writing.

    Args:
        md5_of: also compute the MD5 of every so many bytes.
    """

    def __init__(self, *, md5_of: int | None = None) -> None:
        self._sha1, self._sha256, self.size = hashlib.sha1(), hashlib.sha256(), 0
        self._parts = [_PartMD5s(md5_of, turn) for turn in range(_LANES)] if md5_of else []
        self._hashes: list[_Hash] = [self._sha1, self._sha256, *self._parts]
        self._behind: list[_Behind] = []

    def update(self, block: bytes) -> None:
        """Take in the next bytes, which must not change afterwards."""
        self.size += len(block)
        if not self._behind and self.size > _LARGE:
            self._behind = [_Behind(each) for each in self._hashes]
        for each in self._behind or self._hashes:
            each.update(block)

    def digests(self) -> Digests:
        """Return what the bytes so far are."""
        for each in self._behind:
            each.catch_up()
        return Digests(self._sha1.hexdigest(), self._sha256.hexdigest(), self.size)

    def md5s(self) -> tuple[bytes, ...]:
        """Return the MD5s of the parts so far."""
        for each in self._behind:
            each.catch_up()
        found = dict(itertools.chain.from_iterable(each.digests() for each in self._parts))
        return tuple(found[number] for number in sorted(found))


class _Hash(Protocol):
    def update(self, block: bytes, /) -> None: ...


class _Behind:
    """Hashes in a thread of its own, a few blocks behind. The thread ends with this object."""

    def __init__(self, hash_: _Hash) -> None:
        from concurrent.futures import ThreadPoolExecutor  # not needed to import this package

        self._hash = hash_
        self._thread = ThreadPoolExecutor(1, "storage-plugins-hash")
        self._pending: collections.deque[Future[None]] = collections.deque()

    def update(self, block: bytes) -> None:
        """Take in the next bytes; wait if too many blocks are pending."""
        if len(self._pending) >= _MOST_PENDING:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._hash.update, block))

    def catch_up(self) -> None:
        """Return when every block is hashed."""
        while self._pending:
            self._pending.popleft().result()


class _PartMD5s:
    """The MD5 of every part of ``size`` bytes whose turn it is: MD5 is the slowest hash, so parts take turns."""

    def __init__(self, size: int, turn: int) -> None:
        self._size, self._turn, self._position = size, turn, 0
        self._md5s = {} if turn else {0: hashlib.md5(usedforsecurity=False)}  # of no bytes, that of an empty part

    def update(self, block: bytes) -> None:
        """Take in the next bytes of the file."""
        rest = memoryview(block)
        while rest:
            number, done = divmod(self._position, self._size)
            piece, rest = rest[: self._size - done], rest[self._size - done :]
            self._position += len(piece)
            if number % _LANES == self._turn:
                self._md5s.setdefault(number, hashlib.md5(usedforsecurity=False)).update(piece)

    def digests(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the MD5 of each of these parts so far."""
        return ((number, md5.digest()) for number, md5 in self._md5s.items())


def is_text(value: str) -> bool:
    """Whether a str can be sent and stored: Python's may have halves of characters (surrogates)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Hashed(Protocol):
    """Whatever states the hashes of a file; None where they are unknown."""

    @property
    def sha1(self) -> str | None: ...
    @property
    def sha256(self) -> str | None: ...


@dataclasses.dataclass(frozen=True)
class Pin:
    """Which version a caller asked for. Nothing given: the newest.

    Made once, in the public method that the caller used, and passed on whole.

    Attributes:
        version_id: the host's name for it; a hint where there is a hash.
        sha1, sha256: lower-case hex digests. A hash is the identity.
        newest: whether to ask the store for its newest version, whatever the receipts say.
        assembly_prefix: what the file's name begins with; None: the store's setting.

    Raises:
        InvalidPin: a hash that is not one.
    """

    version_id: str | None = None
    sha1: str | None = None
    sha256: str | None = None
    newest: bool = False
    assembly_prefix: str | None = None

    def __post_init__(self) -> None:
        for field in ("version_id", "sha1", "sha256"):
            value = getattr(self, field)
            if value is not None and not isinstance(value, str):
                raise InvalidPin(f"{field} must be a str, got {type(value).__name__} {value!r}")
            if value and not is_text(value):
                raise InvalidPin(f"{field} has characters that are not Unicode text: {value!r}")
            object.__setattr__(self, field, value or None)  # an empty string pins nothing
        for field, length in _LENGTHS.items():
            value = getattr(self, field)
            if value is None:
                continue
            if not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", value):
                raise InvalidPin(
                    f"{field} must be {length} hexadecimal digits, got {value!r}",
                    hint="Copy all of it from the receipt. `storage-plugins versions NAME` shows it, too.",
                )
            object.__setattr__(self, field, value.lower())

    @classmethod
    def of(cls, known: Hashed, version_id: str | None = None) -> Pin:
        """Return the pin of a version whose hash is known: by sha256, or by sha1 where that is all there is."""
        return cls(version_id, sha256=known.sha256) if known.sha256 else cls(version_id, sha1=known.sha1)

    @property
    def by_hash(self) -> bool:
        """Whether a hash was given."""
        return bool(self.sha1 or self.sha256)

    @property
    def names_version(self) -> bool:
        """Whether a hash or a version id was given."""
        return self.by_hash or self.version_id is not None

    def fits(self, other: Hashed) -> bool:
        """Whether every hash given is the one of ``other``."""
        return self.sha1 in (None, other.sha1) and self.sha256 in (None, other.sha256)

    def __str__(self) -> str:
        given = ((field, getattr(self, field)) for field in ("version_id", "sha1", "sha256"))
        return ", ".join(f"{field} {value}" for field, value in given if value) or "the newest version"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """A version that was removed from a store on purpose.

    Attributes:
        identifier: the assembly's name, or the file's name for other files.
        address: the store's location.
        key: file name in the store.
        version_id: the id that the version had there.
        sha1, sha256, size: of its bytes.
        when: the date, UTC, in ISO 8601.
        by: who removed it, as this user is called on the computer.
        reason: why.
        newest: whether it was the newest version.
        older: id of the version that was the newest afterwards; None if there was none.
    """

    identifier: str
    address: str
    key: str
    version_id: str | None
    sha1: str
    sha256: str
    size: int
    when: str
    by: str
    reason: str
    newest: bool
    older: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return what was stored.

        Raises:
            ValueError: it is something else.
        """
        found: dict[str, Any] = {field.name: values.get(field.name) for field in dataclasses.fields(cls)}
        optional = ("version_id", "older")
        texts = [value for name, value in found.items() if name not in ("size", "newest", *optional)]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("it lacks a field")
        if not all(re.fullmatch(f"[0-9a-f]{{{length}}}", str(found[name])) for name, length in _LENGTHS.items()):
            raise ValueError("it has no hash")
        if not all(isinstance(found[name], str | None) for name in optional):
            raise ValueError("a version id is not text")
        if not re.fullmatch(r"\d{1,18}", str(found["size"])):
            raise ValueError("its size is not a number of bytes")
        return cls(**{**found, "size": int(str(found["size"])), "newest": str(found["newest"]).lower() == "true"})


@dataclasses.dataclass(frozen=True)
class Cached:
    """A file on this computer whose every byte was verified.

    Attributes:
        path: where it is; for reading only.
        digests: what its bytes are.
        content_digest: of the assembly in it, if it was loaded before with every tile verified.
        note_content: takes that digest, for the next load.
    """

    path: Path
    digests: Digests
    content_digest: str | None = dataclasses.field(default=None, compare=False)
    note_content: Callable[[str], object] | None = dataclasses.field(default=None, compare=False, repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UploadOptions:
    """What a caller of `Store.upload` asked for; see there."""

    extras: Mapping[str, xr.DataArray] | None = None
    assembly_prefix: str | None = None
    drop_attrs: Sequence[str] = ()
    replace: bool | None = None

    def given(self) -> dict[str, Any]:
        """Return those that differ from their defaults, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value not in (None, ())}
