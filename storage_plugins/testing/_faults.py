"""A host that fails: `FaultyFiles` wraps the files of any backend, and makes chosen calls fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from storage_plugins import Content, FileOperations, Source, StoreUnavailable, Version


class Call(NamedTuple):
    """One call of a file operation.

    Attributes:
        operation: the method's name.
        number: how many earlier calls of that operation there were.
        key, version_id: its arguments, where it has them.
        start: where a ``read`` begins, in bytes.
    """

    operation: str
    number: int
    key: str | None = None
    version_id: str | None = None
    start: int = 0


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong with one call. Positions are bytes from the beginning of the file.

    Attributes:
        refuse: the call fails with StoreUnavailable, and nothing is done.
        lose_answer: the call is carried out, then it fails with StoreUnavailable.
        cut: a ``read`` fails with StoreUnavailable at that byte.
        end: a ``read`` ends at that byte as if the file ended there.
        flip: a ``read`` returns the byte there with one bit changed.
        extra: a ``read`` returns these bytes after the last one.
        blocks: a ``read`` returns blocks of so many bytes, as on a slow connection.
        instead: a ``read`` returns the bytes of that version, described as the requested one.
        size: a ``read`` reports this size of the file.
    """

    refuse: bool = False
    lose_answer: bool = False
    cut: int | None = None
    end: int | None = None
    flip: int | None = None
    extra: bytes = b""
    blocks: int | None = None
    instead: str | None = None
    size: int | None = None


T = TypeVar("T")
Plan = Callable[[Call], Fault | None]


def _passed_on(name: str) -> Callable[..., Any]:
    def call(self: FaultyFiles, *args: Any, **options: Any) -> Any:
        return self._do(name, args[0] if args else None, lambda: getattr(self.inner, name)(*args, **options))

    call.__name__ = name
    call.__doc__ = f"Do as ``inner.{name}``, unless the plan has a fault for it."
    return call


class FaultyFiles(FileOperations):
    """The files of ``inner``, with the faults of a plan. ``store.files = FaultyFiles(store.files, plan)``.

    Files are never read in place, so that every byte goes through `read`.

    Args:
        inner: any backend's files.
        plan: called with each `Call`; returns its fault, or None.

    Attributes:
        calls: all calls so far.
    """

    def __init__(self, inner: FileOperations, plan: Plan = lambda call: None) -> None:
        self.inner = inner
        self.plan = plan
        self.calls: list[Call] = []

    @property
    def address(self) -> str:
        """The address of ``inner``."""
        return self.inner.address

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
        """Put, unless the plan has a fault for it."""
        return self._do("put", key, lambda: self.inner.put(key, source, metadata=metadata, if_absent=if_absent))

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Read, with the faults of the plan."""
        fault = self._asked("read", key, version_id, start)
        if fault.refuse or fault.lose_answer:
            raise _unavailable("read", key)
        if fault.instead is not None:
            other = self.inner.read(key, fault.instead, start=start, stop=stop)
            claimed = version_id or other.version.version_id
            other.version = dataclasses.replace(
                self.inner.read(key, version_id).version, version_id=claimed, size=other.version.size
            )
            return other
        content = self.inner.read(key, version_id, start=start, stop=stop, if_match=if_match)
        if fault.size is not None:
            content.version = dataclasses.replace(content.version, size=fault.size)
        content.blocks = _spoilt(content.blocks, fault, start, key)
        return content

    def versions(self, key: str) -> Iterable[Version]:
        """List the versions, unless the plan has a fault for it."""
        return self._do("versions", key, lambda: list(self.inner.versions(key)))

    def keys(self, prefix: str = "") -> Iterable[str]:
        """List the keys, unless the plan has a fault for it."""
        return self._do("keys", None, lambda: list(self.inner.keys(prefix)))

    def local_file(self, key: str, version_id: str | None = None) -> tuple[Path, Version] | None:
        """Return None: no file is read in place."""
        return None

    def anonymous(self) -> FileOperations | None:
        """Return what ``inner`` returns, without faults."""
        return self.inner.anonymous()

    def uri(self, key: str, version_id: str | None) -> str:
        """Return what ``inner`` returns."""
        return self.inner.uri(key, version_id)

    def part_size(self, size: int) -> int | None:
        """Return what ``inner`` returns."""
        return self.inner.part_size(size)

    def reads_at_once(self) -> int:
        """Return what ``inner`` returns."""
        return self.inner.reads_at_once()

    keeps_versions = _passed_on("keeps_versions")
    newest = _passed_on("newest")
    newest_of_all = _passed_on("newest_of_all")
    creates_safely = _passed_on("creates_safely")
    replaces = _passed_on("replaces")
    replace = _passed_on("replace")
    publish = _passed_on("publish")
    unpublish = _passed_on("unpublish")
    why_still_private = _passed_on("why_still_private")
    place_is_public = _passed_on("place_is_public")
    publish_place = _passed_on("publish_place")
    describe_place = _passed_on("describe_place")
    share = _passed_on("share")
    discard = _passed_on("discard")
    removes = _passed_on("removes")
    remove = _passed_on("remove")
    free_space = _passed_on("free_space")
    doi = _passed_on("doi")
    longest_link = _passed_on("longest_link")

    def _asked(self, operation: str, key: str | None, version_id: str | None = None, start: int = 0) -> Fault:
        number = sum(call.operation == operation for call in self.calls)
        call = Call(operation, number, key, version_id, start)
        self.calls.append(call)
        return self.plan(call) or Fault()

    def _do(self, operation: str, key: str | None, call: Callable[[], T]) -> T:
        fault = self._asked(operation, key)
        if fault.refuse:
            raise _unavailable(operation, key)
        done = call()
        if fault.lose_answer:
            raise _unavailable(operation, key)
        return done


def _spoilt(blocks: Iterator[bytes], fault: Fault, start: int, key: str) -> Iterator[bytes]:
    """Yield blocks that begin at byte ``start`` of a file, with the fault."""
    position = start
    last = min((at for at in (fault.cut, fault.end) if at is not None), default=None)
    try:
        for whole in blocks:
            step = fault.blocks or len(whole)
            for begin in range(0, len(whole), step or 1):
                block = whole[begin : begin + step]
                if fault.flip is not None and position <= fault.flip < position + len(block):
                    at = fault.flip - position
                    block = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
                if last is not None and position + len(block) > last:
                    yield block[: max(0, last - position)]
                    if fault.cut == last:
                        raise _unavailable("read", key)
                    return
                position += len(block)
                yield block
        if fault.extra:
            yield fault.extra
    finally:
        close = getattr(blocks, "close", None)
        if close is not None:
            close()


def _unavailable(operation: str, key: str | None) -> StoreUnavailable:
    return StoreUnavailable(f"a planned fault: {operation} of {key or 'the store'} broke")
