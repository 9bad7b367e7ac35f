"""Tests of every store, with or without files: `AssemblyStore`'s two methods, and the core around them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, given, settings

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    EncodingError,
    IntegrityError,
    InvalidIdentifier,
    InvalidPin,
    NotSupported,
    Store,
    StoreUnavailable,
)

from . import _children as children
from ._assemblies import AWKWARD, assemblies, make_assembly
from ._base import Kit
from ._comparison import differences
from ._hosts import Host
from ._lab import Lab, outcome, outcome_within

WRONG_SHA1 = hashlib.sha1(b"").hexdigest()
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


class EveryStore(Kit):
    """The promises of any store."""

    examples = 8  # how many assemblies, and how many histories, Hypothesis draws

    # what can be stored

    def test_what_cannot_be_stored_is_refused_and_leaves_nothing(self, store: Store) -> None:
        assembly = make_assembly()
        assembly.attrs["raw"] = assembly.copy()
        with pytest.raises(EncodingError, match="raw"):
            store.upload(assembly, "X")
        with pytest.raises(AssemblyNotFound):
            store.load("X")
        assert "raw" not in store.load(store.upload(assembly, "X", drop_attrs=["raw"])).attrs

    def test_a_class_is_honoured(self, store: Store) -> None:
        class Special(xr.DataArray):  # type: ignore[no-untyped-call,unused-ignore]
            __slots__ = ()

        assert type(store.load(store.upload(make_assembly(), "X"), cls=Special)) is Special

    # receipts and pins

    def test_the_receipt_says_what_was_stored_and_where(self, store: Store) -> None:
        receipt = store.upload(make_assembly(), "Pereira2018.language")
        assert (receipt.identifier, receipt.store, receipt.address) == ("Pereira2018.language", "lab", store.address)
        assert receipt.key == "assy_Pereira2018_language.nc"
        assert (len(receipt.sha1), len(receipt.sha256)) == (40, 64)
        assert receipt.created.tzinfo is not None, "the receipt's date has no time zone"
        assert receipt.version_id is None or receipt.version_id, "version_id must be None or a non-empty str"

    def test_every_pin_gives_its_own_version(self, store: Store, lab: Lab) -> None:
        made = [make_assembly(1), make_assembly(2)]
        receipts = [store.upload(made[0], "X")]
        try:
            receipts.append(store.upload(made[1], "X"))
        except AlreadyExists:
            _without_versions(store)
        for assembly, receipt in zip(made, receipts, strict=False):
            for pin in (
                {"version_id": receipt.version_id, "sha1": receipt.sha1},
                {"sha1": receipt.sha1},
                {"sha256": receipt.sha256.upper()},
                {"version_id": "", "sha1": None, "sha256": receipt.sha256},
            ):
                got = lab.elsewhere().load("X", **pin)
                assert differences(got, assembly) == [], f"{pin} loaded another assembly"

    def test_without_a_pin_the_newest_is_loaded(self, store: Store, lab: Lab) -> None:
        store.upload(make_assembly(1), "X")
        newest = make_assembly(1)
        try:
            newest = make_assembly(2)
            store.upload(newest, "X")
        except AlreadyExists:
            newest = make_assembly(1)
        assert differences(lab.elsewhere().load("X"), newest) == [], "without a pin, the newest was not loaded"
        assert differences(lab.elsewhere().load("X", version_id="", sha1=None, sha256=""), newest) == []

    def test_uploading_the_same_again_makes_no_new_version(self, store: Store, lab: Lab) -> None:
        first = store.upload(make_assembly(), "X")
        assert store.upload(make_assembly(), "X") == first
        again = lab.machine().upload(make_assembly(), "X")
        assert (again.version_id, again.sha256) == (first.version_id, first.sha256)

    def test_another_hash_gives_an_error_and_no_data(self, store: Store) -> None:
        store.upload(make_assembly(), "X")
        pins: list[dict[str, Any]] = [{"sha1": WRONG_SHA1}, {"sha256": "0" * 64}]
        for pin in pins:
            with pytest.raises((IntegrityError, AssemblyNotFound)):
                store.load("X", **pin)

    def test_an_invalid_pin_is_refused(self, store: Store) -> None:
        pins: list[dict[str, Any]] = [{"sha1": "xyz"}, {"sha256": "ab" * 20}, {"sha1": 5}, {"version_id": 3}]
        for pin in pins:
            with pytest.raises(InvalidPin):
                store.load("X", **pin)

    # names

    def test_impossible_identifiers_are_refused(self, store: Store) -> None:
        impossible: list[Any] = ["../x", "", "x" * 300, "a/b", "a b", "é", ".a", "a\n", "a\x00", 7, None]
        for identifier in impossible:
            with pytest.raises(InvalidIdentifier):
                store.upload(make_assembly(), identifier)
            with pytest.raises(InvalidIdentifier):
                store.load(identifier)

    def test_assemblies_with_similar_names_are_not_mixed_up(self, store: Store, lab: Lab) -> None:
        names = ["a", "aa", "b.c", "C-3.x", "d+e", "0", "x" * 200]
        for seed, name in enumerate(names):
            store.upload(make_assembly(seed), name)
        other = lab.elsewhere()
        for seed, name in enumerate(names):
            assert differences(other.load(name), make_assembly(seed)) == [], f"{name} loads another assembly"

    def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        with pytest.raises(AssemblyNotFound):
            store.load("X")
        store.upload(make_assembly(), "X")
        for name, pin in (("Y", {}), ("X", {"version_id": "nonsense"})):
            with pytest.raises(AssemblyNotFound):
                store.load(name, **pin)  # type: ignore[arg-type]

    # when things go wrong

    def test_a_host_that_does_not_answer_is_unavailable(self, lab: Lab, host: Host) -> None:
        store = lab.machine(host.unreachable())
        for call in (lambda: store.upload(make_assembly(), "X"), lambda: store.load("X"), store.identifiers):
            error = outcome(call)
            assert isinstance(error, StoreUnavailable | NotSupported), f"expected StoreUnavailable, got {error!r}"

    def test_a_host_that_never_answers_is_unavailable(self, lab: Lab, host: Host, silent_port: int) -> None:
        store = lab.machine({**host.silent(silent_port), "timeout": 1})
        calls: list[Callable[[], object]] = [lambda: store.upload(make_assembly(), "X"), lambda: store.load("X")]
        for call in [*calls, store.identifiers, lambda: store.versions("X")]:
            error = outcome_within(20, call)
            assert isinstance(error, StoreUnavailable | NotSupported), f"expected StoreUnavailable, got {error!r}"

    def test_an_access_error_names_the_contact(self, store: Store, lab: Lab, host: Host) -> None:
        settings = {**host.denied(), "contact": "data@lab.example"}
        store.upload(make_assembly(), "X")
        with pytest.raises(AccessDenied, match=r"data@lab\.example"):
            lab.machine(settings).load("X")

    # elsewhere

    def test_a_store_survives_a_pickle(self, store: Store) -> None:
        receipt = store.upload(make_assembly(), "X")
        again = pickle.loads(pickle.dumps(store))
        assert again.address == store.address
        assert differences(again.load(receipt), make_assembly()) == []

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_a_store_in_use_works_in_a_child_process(self, method: str, store: Store, host: Host) -> None:
        _needs_processes(host)
        receipt = store.upload(make_assembly(), "X")
        (loaded,) = children.in_children(method, children.load_newest, [(store, receipt)])
        assert differences(loaded, make_assembly()) == []

    def test_threads_do_not_disturb_each_other(self, store: Store) -> None:
        def work(number: int) -> list[str]:
            receipt = store.upload(make_assembly(number), f"thread{number}")
            return differences(store.load(receipt), make_assembly(number))

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(16))) == [[]] * 16

    def test_it_is_an_assembly_store(self, store: Store) -> None:
        assert isinstance(store, storage_plugins.AssemblyStore)

    # round trip, last because the failures of the simple tests are easier to read

    def test_awkward_assemblies_come_back_unchanged_or_are_refused(self, store: Store, lab: Lab) -> None:
        receipts = {}
        for number, (kind, make) in enumerate(AWKWARD.items()):
            with contextlib.suppress(EncodingError):  # refused, so nothing is lost
                receipts[kind] = store.upload(make(), f"awkward{number}")
        assert len(receipts) > len(AWKWARD) // 2, f"everything except {list(receipts)} is refused"
        reader = lab.elsewhere()
        changed = {kind: differences(reader.load(receipt), AWKWARD[kind]()) for kind, receipt in receipts.items()}
        assert {kind: what for kind, what in changed.items() if what} == {}

    @pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
    def test_any_assembly_comes_back_unchanged_or_is_refused(self, lab: Lab) -> None:
        store, numbers = lab.machine(), iter(range(10**6))

        @settings(
            max_examples=self.examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=SLOW,
            phases=[Phase.generate, Phase.shrink],
        )
        @given(assembly=assemblies(odd=True))
        def check(assembly: xr.DataArray) -> None:
            try:
                receipt = store.upload(assembly, f"any{next(numbers)}")
            except EncodingError:
                return
            assert differences(store.load(receipt), assembly) == []

        check()


def _needs_processes(host: Host) -> None:
    if not host.across_processes:
        pytest.skip(f"{type(host).__name__} has across_processes = False: other processes cannot reach the location")


def _without_versions(store: Store) -> None:
    from ._lab import is_file_store

    assert not (is_file_store(store) and store.files.keeps_versions()), (
        "keeps_versions() is True, but a second version was refused"
    )
