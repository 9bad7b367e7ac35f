"""The machines of a lab: each has its own ``storage.yaml``, receipts and cache, and all use one location."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import pytest
import yaml

import storage_plugins
from storage_plugins import FileOperations, Receipt, Source, Store, Version
from storage_plugins.protocol import record

from ._hosts import Host

if TYPE_CHECKING:
    import xarray as xr

    from storage_plugins._store.file_store import FileStore

T = TypeVar("T")
_NO_FILES = "this backend has a store of its own, not files"


class Lab:
    """Opens stores at a host's location, each as on a new machine.

    Args:
        folder: an empty folder for the machines.
        host: whose settings are used.
        patch: pytest's, for the environment variables of the cache.
    """

    def __init__(self, folder: Path, host: Host, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.host = host
        self._patch = patch
        self._numbers = itertools.count(1)
        self._files: FileOperations | None = None
        for name in ("STORAGE_PLUGINS_STORE", "STORAGE_PLUGINS_CONFIG"):
            patch.delenv(name, raising=False)
        patch.setenv("BRAINIO_HOME", str(folder / "no-brainio"))

    def machine(self, settings: Mapping[str, Any] | None = None) -> Store:
        """Open the location (or another one, by its ``settings``) on a machine that has never used it."""
        folder = self._new_folder()
        path = folder / "storage.yaml"
        text = yaml.safe_dump({"stores": {"lab": dict(self.host.settings if settings is None else settings)}})
        path.write_text(text, encoding="utf-8")
        self._patch.setenv("STORAGE_PLUGINS_CACHE", str(folder / "cache"))
        store = storage_plugins.open_store(config=path)
        if settings is None and self._files is None and is_file_store(store):
            self._files = store.files
        return store

    def files_machine(self, settings: Mapping[str, Any] | None = None) -> FileStore:
        """Open as `machine`, and skip the test if the store does not consist of files."""
        store = self.machine(settings)
        if not is_file_store(store):
            pytest.skip(_NO_FILES)
        return store

    def elsewhere(self) -> Store:
        """Open the location with an empty cache and no receipts, on the files that were opened first.

        Like a new machine, except for the clients, which are slow to make.
        """
        store = self.machine()
        if is_file_store(store) and self._files is not None:
            store.files = self._files
        return store

    def files_elsewhere(self) -> FileStore:
        """Open as `elsewhere`, and skip the test if the store does not consist of files."""
        store = self.elsewhere()
        if not is_file_store(store):
            pytest.skip(_NO_FILES)
        return store

    def versioned(self) -> FileStore:
        """Open as `files_machine`, and skip the test if the store does not keep versions."""
        store = self.files_machine()
        if not store.files.keeps_versions():
            pytest.skip("keeps_versions() is not True")
        return store

    def unversioned(self) -> FileStore:
        """Open as `files_machine`, and skip the test if the store keeps versions."""
        store = self.files_machine()
        if store.files.keeps_versions():
            pytest.skip("the store keeps versions")
        return store

    def file(self, data: bytes, name: str = "file.bin") -> Path:
        """Return a new local file with these bytes."""
        path = self._new_folder() / name
        path.write_bytes(data)
        return path

    def source(self, data: bytes) -> Source:
        """Return a new local file with these bytes, hashed, as `FileOperations.put` takes it."""
        return Source.of(self.file(data))

    @contextlib.contextmanager
    def left_as_it_was(self, store: Store) -> Iterator[None]:
        """Fail if the block changes the versions or names at the location."""
        before = _contents(store)
        yield
        assert _contents(store) == before, "a refused call changed what is stored"

    def _new_folder(self) -> Path:
        folder = self.folder / f"{next(self._numbers)}"
        folder.mkdir(parents=True)
        return folder


def is_file_store(store: Store) -> TypeGuard[FileStore]:
    """Whether a store consists of files."""
    from storage_plugins._store.file_store import FileStore

    return isinstance(store, FileStore)


def metadata_of(source: Source, key: str, identifier: str | None = None) -> dict[str, str]:
    """Return the metadata that the core would pass with ``source``."""
    return record(identifier or key, None, source.digests, None)


def keep(files: FileOperations, key: str, source: Source, *, if_absent: bool = False) -> str | None:
    """Put a file as the core does."""
    return files.put(key, source, metadata=metadata_of(source, key), if_absent=if_absent)


def read(files: FileOperations, key: str, version_id: str | None = None, **options: Any) -> bytes:
    """Read a file's bytes, or some of them."""
    with files.read(key, version_id, **options) as content:
        return b"".join(content.blocks)


def data_of(store: Store, name: str, **pin: Any) -> bytes:
    """Fetch a file and return its bytes."""
    return store.fetch(name, **pin).read_bytes()


def is_same(got: bytes, wanted: bytes) -> bool:
    """Whether bytes are equal. For large ones in an ``==``, pytest takes minutes to show the difference in CI."""
    return got == wanted


def same_place(one: Receipt, other: Receipt | Version) -> bool:
    """Whether two records describe one version."""
    return (one.version_id, one.sha256) == (other.version_id, other.sha256)


def outcome(call: Callable[[], T]) -> T | BaseException:
    """Return what a call returns, or what it raises."""
    try:
        return call()
    except Exception as error:
        return error


def outcome_within(seconds: float, call: Callable[[], T]) -> T | BaseException:
    """Return as `outcome`, and a TimeoutError if the call takes longer."""
    answers: list[T | BaseException] = []
    thread = threading.Thread(target=lambda: answers.append(outcome(call)), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else TimeoutError(f"no answer within {seconds} seconds")


def identical(one: object, other: xr.DataArray) -> bool:
    """Whether ``one`` is an assembly that differs in nothing except the representation in memory."""
    import xarray as xr

    from ._comparison import differences

    return isinstance(one, xr.DataArray) and not differences(one, other)


@contextlib.contextmanager
def eager_threads() -> Iterator[None]:
    """Switch between threads as often as possible, to provoke race conditions."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def _contents(store: Store) -> object:
    if not is_file_store(store):
        return None
    return {key: [(v.version_id, v.sha256) for v in store.files.versions(key)] for key in store.files.keys("")}
