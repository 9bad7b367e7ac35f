"""A backend whose host is a dictionary, and which can be told to refuse: a third party's smallest one."""

import dataclasses
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from storage_plugins import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    Content,
    FileOperations,
    Source,
    StoreUnavailable,
    Version,
)

_lock = threading.Lock()


@dataclasses.dataclass
class MemoryFiles(FileOperations):
    """Keeps (version, bytes), oldest first, for each key."""

    name: str = "memory:lab"
    held: dict[str, list[tuple[Version, bytes]]] = dataclasses.field(default_factory=dict)
    reads: list[tuple[str, str | None, int]] = dataclasses.field(default_factory=list)
    listing_denied: bool = False
    away: bool = False
    discarded: dict[str, int] = dataclasses.field(default_factory=dict)  # versions, whose ids are not used again
    block: int = 1000  # bytes that arrive at a time
    cut_after: list[int] = dataclasses.field(default_factory=list)  # bytes after which the next reads break

    @property
    def address(self) -> str:
        return self.name

    def keeps_versions(self) -> bool:
        return True

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
        self._answer()
        data = b"".join(source.blocks())
        with _lock:
            if if_absent and key in self.held:
                raise AlreadyExists(f"there is a {key}")
            return self.add(key, data, metadata)

    def add(
        self, key: str, data: bytes, metadata: Mapping[str, str] | None = None, version_id: str | None = None
    ) -> str:
        """Put a version there, going round the store."""
        versions = self.held.setdefault(key, [])
        version_id = version_id or f"v{self.discarded.get(key, 0) + len(versions) + 1}"
        version = Version.described(
            metadata or {}, version_id=version_id, size=len(data), created=datetime.now(UTC), etag=f"e{version_id}"
        )
        versions.append((version, data))
        return version_id

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        self._answer()
        self.reads.append((key, version_id, start))
        for version, data in reversed(self.held.get(key, [])):
            if version_id in (None, version.version_id):
                return Content(version, self._blocks(data[start:stop]), private=True)
        raise AssemblyNotFound(f"no {key} {version_id}")

    def _blocks(self, data: bytes) -> Iterable[bytes]:
        if self.cut_after:
            count = self.cut_after.pop(0)
            yield data[:count]
            raise StoreUnavailable("the connection broke", hint=None)
        for begin in range(0, len(data), self.block):
            yield data[begin : begin + self.block]

    def versions(self, key: str) -> Iterable[Version]:
        self._answer()
        if self.listing_denied:
            raise AccessDenied("listing is forbidden")
        return [version for version, _ in reversed(self.held.get(key, []))]

    def newest(self, key: str) -> Version | None:
        self._answer()
        return self.held[key][-1][0] if key in self.held else None

    def keys(self, prefix: str = "") -> Iterable[str]:
        self._answer()
        if self.listing_denied:
            raise AccessDenied("listing is forbidden")
        return [key for key in self.held if key.startswith(prefix)]

    def discard(self, key: str) -> None:
        self._answer()
        self.discarded[key] = self.discarded.get(key, 0) + len(self.held.pop(key, []))

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("the network is down")
