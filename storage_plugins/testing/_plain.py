"""Tests of stores with their own ``upload`` and ``load``: they do themselves what the core does for files."""

from __future__ import annotations

import concurrent.futures
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import LazilyIndexedArray

from storage_plugins import (
    AlreadyExists,
    AssemblyNotFound,
    EncodingError,
    IdentifierCollision,
    IntegrityError,
    NotSupported,
    Receipt,
    StorageError,
    Store,
)

from . import _children as children
from ._assemblies import make_assembly
from ._base import Kit
from ._comparison import differences
from ._hosts import Host
from ._lab import Lab, eager_threads, outcome
from ._sources import Crash

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "one bit changed": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "the last byte lost": lambda data: data[:-1],
    "cut in half": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "longer": lambda data: data + b"\0",
}


class PlainStoreTests(Kit):
    """The promises that a store without files keeps without the core's help."""

    # damage in storage

    def test_damaged_assemblies_are_not_loaded(self, store: Store, lab: Lab, host: Host) -> None:
        receipt = store.upload(make_assembly(), "X")
        (data,) = host.get(receipt.key)
        for way, damage in DAMAGE.items():
            host.damage(receipt.key, 0, damage(data))
            for pin in _pins(receipt):
                got = outcome(functools.partial(lab.elsewhere().load, "X", **pin))
                by_hash = "sha1" in pin or "sha256" in pin
                expected = (IntegrityError, AssemblyNotFound) if by_hash else (IntegrityError,)
                assert isinstance(got, expected), f"{way}: load with {pin} returned {got!r:.200}"
            got = outcome(lambda: lab.elsewhere().load(receipt))
            assert isinstance(got, IntegrityError | AssemblyNotFound), f"{way}: load(receipt) returned {got!r:.200}"
        host.damage(receipt.key, 0, data)
        assert differences(lab.elsewhere().load(receipt), make_assembly()) == []

    def test_bytes_of_another_assembly_are_not_loaded(self, store: Store, lab: Lab, host: Host) -> None:
        first, second = (store.upload(make_assembly(seed), f"X{seed}") for seed in (1, 2))
        host.damage(second.key, 0, host.get(first.key)[0])
        for pin in _pins(second):
            got = outcome(functools.partial(lab.elsewhere().load, "X2", **pin))
            assert isinstance(got, IntegrityError | AssemblyNotFound), f"load with {pin} returned {got!r:.200}"
        assert differences(lab.elsewhere().load(first), make_assembly(1)) == []

    # pins and names

    def test_pins_of_another_assembly_load_nothing(self, store: Store, lab: Lab) -> None:
        store.upload(make_assembly(1), "A")
        other = store.upload(make_assembly(2), "B")
        for pin in _pins(other)[1:]:
            got = outcome(functools.partial(lab.elsewhere().load, "A", **pin))
            harmless = isinstance(got, StorageError) or _is(got, 1)
            assert harmless, f"load('A') with {pin} of B returned {got!r:.200}"

    def test_a_hash_decides_whatever_the_version_id_is(self, store: Store, lab: Lab) -> None:
        first, second = _two_versions(store)
        hashes: list[dict[str, Any]] = [{"sha1": first.sha1.upper()}, {"sha256": first.sha256}]
        for version_id in (second.version_id, "nonsense"):
            for pin in hashes:
                got = lab.elsewhere().load("X", version_id=version_id, **pin)
                assert differences(got, make_assembly(1)) == [], f"{pin} with another version id loaded other data"

    def test_hashes_of_two_versions_load_neither(self, store: Store, lab: Lab) -> None:
        first, second = _two_versions(store)
        with pytest.raises((IntegrityError, AssemblyNotFound)):
            lab.elsewhere().load("X", sha1=first.sha1, sha256=second.sha256)

    def test_similar_identifiers_are_refused_or_not_mixed_up(self, store: Store, lab: Lab) -> None:
        for first, second in (("a.b", "a_b"), ("c.d", "C.d")):
            store.upload(make_assembly(1), first)
            other = outcome(functools.partial(store.upload, make_assembly(2), second))
            assert isinstance(other, Receipt | IdentifierCollision | AlreadyExists), f"{second}: {other!r}"
            assert _is(lab.elsewhere().load(first), 1), f"{first} loads what was uploaded as {second}"
            if isinstance(other, Receipt):
                assert _is(lab.elsewhere().load(second), 2), f"{second} does not load its own data"

    def test_prefixes_separate_assemblies_with_one_identifier(self, store: Store, lab: Lab) -> None:
        store.upload(make_assembly(1), "X")
        _supported("assembly_prefix", lambda: store.upload(make_assembly(2), "X", assembly_prefix="ceiling_"))
        assert _is(lab.elsewhere().load("X"), 1), "the assembly with another prefix was loaded"
        assert _is(lab.elsewhere().load("X", assembly_prefix="ceiling_"), 2), "assembly_prefix is ignored"

    # what a store may leave out: it says NotSupported

    def test_extras_are_refused(self, store: Store) -> None:
        with pytest.raises((NotSupported, EncodingError)):  # there is no way to load them from such a store
            store.upload(make_assembly(), "X", extras={"meta": make_assembly(1)})

    def test_chunks_are_honoured_or_not_supported(self, store: Store) -> None:
        pytest.importorskip("dask")
        store.upload(make_assembly(), "X")
        loaded = _supported("chunks", lambda: store.load("X", chunks={}))
        assert loaded.chunks is not None, "chunks is ignored"
        assert differences(loaded, make_assembly()) == []

    def test_a_netcdf_file_can_be_uploaded_or_is_not_supported(self, store: Store, lab: Lab) -> None:
        scratch = lab.machine({"backend": "local", "root": str(lab.file(b"").parent / "scratch")})
        path = scratch.load_file(scratch.upload(make_assembly(), "X"))
        for given in (path, str(path)):
            _supported("files as assemblies", functools.partial(store.upload, given, "X"))
            assert _is(lab.elsewhere().load("X"), 0)

    # simultaneous uploads

    def test_simultaneous_uploads_of_one_name_lose_nothing(self, store: Store, lab: Lab) -> None:
        store.upload(make_assembly(), "warm")  # imports and connections take time only once
        for round_ in range(3):
            name, barrier = f"X{round_}", threading.Barrier(6)

            def upload(seed: int, name: str = name, barrier: threading.Barrier = barrier) -> Receipt:
                barrier.wait(30)
                return store.upload(make_assembly(seed), name)

            with eager_threads(), concurrent.futures.ThreadPoolExecutor(6) as pool:
                done = list(pool.map(outcome, [functools.partial(upload, seed) for seed in range(6)]))
            _nothing_is_lost(done, lab, name)

    def test_simultaneous_uploads_from_processes_lose_nothing(self, store: Store, lab: Lab, host: Host) -> None:
        if not host.across_processes:
            pytest.skip(f"{type(host).__name__} has across_processes = False")
        store.upload(make_assembly(), "warm")
        done = children.in_children(
            "fork", children.upload_assembly, [(lab.machine(), make_assembly(seed), "X") for seed in range(4)]
        )
        _nothing_is_lost(done, lab, "X")

    def test_readers_never_see_an_unfinished_upload(self, store: Store, lab: Lab) -> None:
        reader, seen, finished = lab.elsewhere(), list[object](), threading.Event()

        def look() -> None:
            while not finished.is_set():
                seen.append(outcome(lambda: reader.load("X", newest=True)))

        with eager_threads(), concurrent.futures.ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            try:
                for seed in range(3):
                    if isinstance(outcome(functools.partial(store.upload, make_assembly(seed), "X")), AlreadyExists):
                        break
            finally:
                finished.set()
            looking.result()
        wrong = [
            got for got in seen if not isinstance(got, AssemblyNotFound) and not any(_is(got, n) for n in range(3))
        ]
        assert wrong == [], "a reader saw an unfinished upload"

    # uploads that fail

    @pytest.mark.parametrize("error", [Crash, OSError])
    def test_an_upload_that_breaks_changes_nothing(
        self, error: type[BaseException], store: Store, lab: Lab, host: Host
    ) -> None:
        store.upload(make_assembly(1), "X")
        names = sorted(host.names())
        for name in ("X", "Y"):
            with pytest.raises(BaseException):  # noqa: B017, PT011
                store.upload(_breaking(error), name)
        assert sorted(host.names()) == names, "an upload that failed left files behind, or changed some"
        assert _is(lab.elsewhere().load("X"), 1)
        with pytest.raises(AssemblyNotFound):
            lab.elsewhere().load("Y")
        assert _is(lab.elsewhere().load(store.upload(make_assembly(2), "Y")), 2)

    def test_refused_and_repeated_uploads_leave_nothing_behind(self, store: Store, host: Host) -> None:
        store.upload(make_assembly(), "X")
        names = sorted(host.names())
        refused = make_assembly()
        refused.attrs["raw"] = make_assembly()
        for name in ("X", "Y"):
            with pytest.raises(EncodingError):
                store.upload(refused, name)
        assert sorted(host.names()) == names, "a refused upload left files behind"
        store.upload(make_assembly(), "X")
        assert sorted(host.names()) == names, "uploading the same again left files behind"

    def test_an_upload_whose_process_is_killed_changes_nothing(self, store: Store, lab: Lab, host: Host) -> None:
        if not host.across_processes:
            pytest.skip(f"{type(host).__name__} has across_processes = False")
        receipt = store.upload(make_assembly(1), "X")
        began = time.perf_counter()
        children.in_children("fork", children.upload_assembly, [(store, make_assembly(1), "timed")])
        whole = time.perf_counter() - began
        for part in (0.95, 0.8, 0.5, 0.2) * 2:
            upload = (store, make_assembly(2), "X")
            whole = min(whole, children.killed("fork", children.upload_assembly, upload, part * whole))
            assert _is(lab.elsewhere().load(receipt), 1), "an upload that was killed damaged an earlier version"
            newest = lab.elsewhere().load("X", newest=True)
            assert _is(newest, 1) or _is(newest, 2), "an upload that was killed is loaded"
        later = outcome(lambda: store.upload(make_assembly(3), "X"))
        if not isinstance(later, AlreadyExists):
            assert isinstance(later, Receipt), f"after an upload that was killed, the next one fails: {later!r}"
            assert _is(lab.elsewhere().load(later), 3)


def _pins(receipt: Receipt) -> list[dict[str, Any]]:
    """Return the ways to name a version; the first pins nothing."""
    pins: list[dict[str, Any]] = [{}, {"sha1": receipt.sha1}, {"sha256": receipt.sha256}]
    return pins if receipt.version_id is None else [*pins, {"version_id": receipt.version_id}]


def _is(got: object, seed: int) -> bool:
    return isinstance(got, xr.DataArray) and not differences(got, make_assembly(seed))


def _two_versions(store: Store) -> tuple[Receipt, Receipt]:
    """Upload two versions, and skip the test if the store keeps only one."""
    first = store.upload(make_assembly(1), "X")
    try:
        return first, store.upload(make_assembly(2), "X")
    except AlreadyExists:
        pytest.skip("the store keeps one version of each name: a changed assembly is refused")


def _supported(power: str, call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns, and skip the test if the store does not have that power."""
    try:
        return call()
    except NotSupported as error:
        pytest.skip(f"the store does not support {power}: {error.message}")


def _nothing_is_lost(done: list[Any], lab: Lab, name: str) -> None:
    """Check simultaneous uploads: number ``n`` was of ``make_assembly(n)`` and returned ``done[n]``."""
    undeclared = [each for each in done if not isinstance(each, Receipt | StorageError)]
    assert undeclared == [], "simultaneous uploads raise other errors than this package's"
    stored = {seed: receipt for seed, receipt in enumerate(done) if isinstance(receipt, Receipt)}
    assert stored, f"none of {len(done)} simultaneous uploads succeeded: {done}"
    ids = [receipt.version_id for receipt in stored.values()]
    assert len(ids) == len(set(ids)), f"simultaneous uploads returned the same version id: {ids}"
    for seed, receipt in stored.items():
        for pin in _pins(receipt)[1:]:
            got = outcome(functools.partial(lab.elsewhere().load, name, **pin))
            assert _is(got, seed), f"{pin} of a simultaneous upload does not load its data: {got!r:.200}"
    newest = lab.elsewhere().load(name, newest=True)
    assert any(_is(newest, seed) for seed in stored), "the newest version is none of the uploads"


class _BreakingArray(BackendArray):
    """Values that cannot be read, like those of a damaged file or of a program that is interrupted."""

    def __init__(self, error: type[BaseException]) -> None:
        self.shape, self.dtype, self.error = (6,), np.dtype("f8"), error

    def __getitem__(self, key: object) -> np.ndarray:
        raise self.error("in the middle of an upload")


def _breaking(error: type[BaseException]) -> xr.DataArray:
    values = LazilyIndexedArray(_BreakingArray(error))
    return xr.DataArray(xr.Variable("presentation", values), coords={"presentation": np.arange(6)}, name="rates")
