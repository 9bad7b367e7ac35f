"""Bytes are complete, in order and verified; damage in storage or in transfer is an error, never wrong data."""

from __future__ import annotations

import functools
import random
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from storage_plugins import AssemblyNotFound, IntegrityError, StoreUnavailable

from . import _children as children
from ._assemblies import make_assembly
from ._base import Kit
from ._comparison import differences
from ._faults import Call, Fault, FaultyFiles, Plan
from ._hosts import Host
from ._lab import Lab, data_of, identical, is_same, keep, outcome, read
from ._sources import Crash, CrashingSource

MIB = 1 << 20
DATA = random.Random(7).randbytes(5000)  # noqa: S311
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "one bit changed": lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    "the last byte lost": lambda data: data[:-1],
    "cut in half": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "longer": lambda data: data + b"\0",
    "zeros": lambda data: bytes(len(data)),
}


class IntegrityTests(Kit):
    """What is loaded is what was uploaded."""

    large = 20 * MIB + 7  # bytes of a file that needs several blocks or parts
    huge, memory = 96 * MIB, 64 * MIB  # bytes of a file, and of memory for its upload and download

    def test_files_of_any_size_come_back(self, lab: Lab) -> None:
        store = lab.files_machine()
        for size in (0, 1, MIB, MIB + 1):
            data = random.Random(size).randbytes(size)  # noqa: S311
            receipt = store.upload_file(lab.file(data), f"{size}.bin")
            assert receipt.size == size
            for pin in ({"sha256": receipt.sha256}, {"newest": True}):
                got = data_of(lab.elsewhere(), f"{size}.bin", **pin)
                assert is_same(got, data), f"{size} bytes came back changed"

    def test_files_of_about_the_size_of_parts_come_back(self, lab: Lab, host: Host) -> None:
        if host.part_size is None:
            pytest.skip(f"{type(host).__name__} has no part_size; not tested: files that fill their last part")
        files, size = lab.files_machine().files, host.part_size
        for count in (size - 1, size, size + 1, 2 * size, 2 * size + 1, 3 * size):
            data = random.Random(count).randbytes(count)  # noqa: S311
            key = f"{count}.bin"
            version_id = keep(files, key, lab.source(data), if_absent=True)
            got = read(files, key, version_id)
            assert is_same(got, data), f"{count} bytes came back as {len(got)}, or changed"
            for start, stop in [
                (size, None),
                (size - 1, size + 1),
                (2 * size, None),
                (2 * size - 1, 2 * size),
                (0, size),
            ]:
                if start < count:
                    got = read(files, key, version_id, start=start, stop=stop)
                    assert is_same(got, data[start:stop]), f"read({start}, {stop}) of {count} bytes is wrong"

    def test_a_large_file_comes_back(self, lab: Lab, host: Host) -> None:
        data = random.Random(1).randbytes(self.large)  # noqa: S311
        store = lab.files_machine()
        receipt = store.upload_file(lab.file(data), "large.bin")
        listed = next(iter(store.files.versions("large.bin"))).size
        assert listed == self.large, f"a file of {self.large} bytes is listed with {listed}"
        assert is_same(data_of(lab.elsewhere(), "large.bin", sha1=receipt.sha1), data)

    def test_a_large_file_needs_little_memory(self, lab: Lab, host: Host) -> None:
        if not host.across_processes or not sys.platform.startswith("linux"):
            pytest.skip("memory is measured only in another process, on Linux")
        store = lab.files_machine()
        path = lab.file(b"", "huge.bin")
        with path.open("r+b") as file:
            file.truncate(self.huge)
        ((up, down),) = children.in_children("spawn", children.growth, [(store, lab.file(b"small"), path)])
        assert up < self.memory, f"the upload of {self.huge >> 20} MiB used {up >> 20} MiB of memory"
        assert down < self.memory, f"the download of {self.huge >> 20} MiB used {down >> 20} MiB of memory"

    def test_any_part_of_a_file_can_be_read(self, lab: Lab) -> None:
        data = random.Random(2).randbytes(3 * MIB + 5)  # noqa: S311
        files = lab.files_machine().files
        version_id = keep(files, "file.bin", lab.source(data))
        for start, stop in [(0, None), (0, 1), (5, 10), (MIB - 1, MIB + 1), (2 * MIB, None), (len(data) - 1, None)]:
            with files.read("file.bin", version_id, start=start, stop=stop) as content:
                got = b"".join(content.blocks)
            assert is_same(got, data[start:stop]), f"read({start}, {stop}) returned {len(got)} bytes, or wrong ones"
            assert content.version.size in (None, len(data)), (
                "the size returned with a part must be that of the whole file"
            )

    def test_an_abandoned_read_does_not_affect_other_reads(self, lab: Lab) -> None:
        files = lab.files_machine().files
        data = random.Random(3).randbytes(3 * MIB)  # noqa: S311
        keep(files, "file.bin", lab.source(data))
        for _ in range(3):
            with files.read("file.bin") as content:
                next(iter(content.blocks))
            assert is_same(read(files, "file.bin"), data)

    def test_a_read_with_the_current_etag_succeeds(self, lab: Lab) -> None:
        files = lab.files_machine().files
        version_id = keep(files, "file.bin", lab.source(DATA))
        with files.read("file.bin") as content:
            etag = content.version.etag
        assert read(files, "file.bin", version_id, start=10, if_match=etag) == DATA[10:]

    # damage in storage

    def test_damage_in_storage_is_an_error(self, lab: Lab, host: Host) -> None:
        store = lab.files_machine()
        for number, (way, damaged) in enumerate(WAYS.items()):
            name = f"damaged{number}.bin"
            receipt = store.upload_file(lab.file(DATA), name)
            host.damage(name, 0, damaged(DATA))
            pins: list[dict[str, Any]] = [{"sha1": receipt.sha1}, {"sha256": receipt.sha256}, {"newest": True}]
            for pin in [*pins, {"version_id": receipt.version_id, "sha1": receipt.sha1}]:
                got = outcome(functools.partial(data_of, lab.elsewhere(), name, **pin))
                assert isinstance(got, IntegrityError), f"{way}: {pin} returned {got!r:.200}"

    def test_damage_by_another_versions_bytes_is_an_error_and_the_other_still_loads(self, lab: Lab, host: Host) -> None:
        store = lab.versioned()
        first, second = (store.upload(make_assembly(seed), "X") for seed in (1, 2))
        host.damage(second.key, 1, host.get(first.key)[0])
        for pin in ({"sha1": second.sha1}, {"newest": True}):
            with pytest.raises(IntegrityError):
                lab.elsewhere().load("X", **pin)
        assert differences(lab.elsewhere().load("X", sha1=first.sha1), make_assembly(1)) == []

    # faults in transfer

    def test_an_interrupted_download_is_resumed(self, lab: Lab) -> None:
        for at in (1, 2500, 4999, 5000):
            got, faulty = _loaded(lab, _once(Fault(cut=at)))
            assert got == DATA, f"cut at byte {at} of 5000: {got!r:.200}"
            assert [call.start for call in faulty.calls if call.operation == "read"] in ([0], [0, at])

    def test_a_permanent_fault_is_an_error_and_leaves_nothing_wrong(self, lab: Lab) -> None:
        for fault in (Fault(flip=2500), Fault(extra=b"more"), Fault(size=4000), Fault(cut=2500), Fault(end=2500)):
            got, _ = _loaded(lab, functools.partial(_reads, fault))
            expected = StoreUnavailable if fault.cut or fault.end else IntegrityError
            assert isinstance(got, expected), f"{fault}: {got!r:.200}"
        assert _loaded(lab, lambda call: None)[0] == DATA

    def test_a_temporary_fault_does_no_harm(self, lab: Lab) -> None:
        for fault in (Fault(end=2500), Fault(blocks=7), Fault(refuse=True)):
            assert _loaded(lab, _once(fault))[0] == DATA, f"{fault}"

    def test_bytes_of_another_version_never_pass_for_those_of_a_hash(self, lab: Lab) -> None:
        store = lab.versioned()
        first, second = (store.upload(make_assembly(seed), "X") for seed in (1, 2))
        store = lab.files_machine()
        store.files = FaultyFiles(store.files, lambda call: Fault(instead=second.version_id))
        with pytest.raises(IntegrityError):
            store.load("X", version_id=first.version_id, sha1=first.sha1)

    # faults in an upload

    def test_an_upload_that_was_refused_can_be_repeated(self, lab: Lab) -> None:
        store = lab.files_machine()
        files = store.files
        store.files = FaultyFiles(files, lambda call: Fault(refuse=True) if call.operation == "put" else None)
        with lab.left_as_it_was(store), pytest.raises(StoreUnavailable):
            store.upload(make_assembly(), "X")
        store.files = files
        assert identical(lab.elsewhere().load(store.upload(make_assembly(), "X")), make_assembly())

    def test_an_upload_whose_answer_was_lost_is_found_and_makes_one_version(self, lab: Lab) -> None:
        store = lab.files_machine()
        files = store.files
        store.files = FaultyFiles(files, lambda call: Fault(lose_answer=True) if call.operation == "put" else None)
        receipt = store.upload(make_assembly(), "X")
        store.files = files
        assert store.upload(make_assembly(), "X") == receipt
        assert [version.version_id for version in store.versions("X")] == [receipt.version_id]
        assert identical(lab.elsewhere().load(receipt), make_assembly())

    @pytest.mark.parametrize("error", [Crash, OSError])
    @pytest.mark.parametrize("size", ["small", "large"])
    def test_an_upload_that_breaks_in_the_middle_changes_nothing(
        self, size: str, error: type[BaseException], lab: Lab
    ) -> None:
        store = lab.files_machine()
        versioned = store.files.keeps_versions()
        if versioned:
            store.upload_file(lab.file(b"earlier"), "file.bin")
        with lab.left_as_it_was(store), pytest.raises(BaseException):  # noqa: B017, PT011
            keep(store.files, "file.bin", self._crashing(lab, size, error), if_absent=not versioned)
        later = store.upload_file(lab.file(b"later"), "file.bin")
        assert data_of(lab.elsewhere(), "file.bin", sha1=later.sha1) == b"later"

    @pytest.mark.parametrize("error", [Crash, OSError])
    @pytest.mark.parametrize("size", ["small", "large"])
    def test_an_upload_that_breaks_in_the_middle_leaves_nothing_behind(
        self, size: str, error: type[BaseException], lab: Lab, host: Host
    ) -> None:
        files = lab.files_machine().files
        keep(files, "other.bin", lab.source(b"earlier"))
        before = sorted(host.names())
        with pytest.raises(BaseException):  # noqa: B017, PT011
            keep(files, "file.bin", self._crashing(lab, size, error), if_absent=True)
        left = sorted(set(host.names()) - set(before))
        assert not left, f"a failed upload left {left} behind"

    def test_nothing_is_left_in_the_temporary_folder(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        files = lab.files_machine().files
        keep(files, "earlier.bin", lab.source(DATA))  # some clients unpack something at first use
        folder = lab.file(b"").parent / "temporary"
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr(tempfile, "tempdir", None)
        keep(files, "file.bin", lab.source(DATA), if_absent=True)
        with pytest.raises(BaseException):  # noqa: B017, PT011
            keep(files, "broken.bin", self._crashing(lab, "small", OSError), if_absent=True)
        with files.read("file.bin") as content:
            next(iter(content.blocks))
        assert read(files, "file.bin", start=100) == DATA[100:]
        left = sorted(path.name for path in folder.iterdir())
        assert not left, f"uploads and reads left {left} in the temporary folder"

    def test_an_upload_leaves_nothing_unfinished_behind(self, lab: Lab, host: Host) -> None:
        files = lab.files_machine().files
        keep(files, "file.bin", lab.source(DATA))
        before = len(host.names())
        for number in range(3):
            keep(files, f"file{number}.bin", lab.source(DATA))
        grown = len(host.names()) - before
        assert grown <= 3 * before, f"3 uploads made {grown} raw names, the first upload made {before}"

    def test_a_file_changed_while_it_is_uploaded_is_refused(self, lab: Lab) -> None:
        store = lab.files_machine()
        path = lab.file(b"a" * 100_000)

        def change(call: Call) -> None:
            if call.operation == "put":  # between hashing and sending
                path.write_bytes(b"b" * 100_000)

        store.files = FaultyFiles(store.files, change)
        with pytest.raises(IntegrityError):
            store.upload_file(path, "file.bin")
        with pytest.raises(AssemblyNotFound):
            store.fetch("file.bin", newest=True)

    def _crashing(self, lab: Lab, size: str, error: type[BaseException]) -> CrashingSource:
        count = self.large if size == "large" else 5000
        source = lab.source(random.Random(4).randbytes(count))  # noqa: S311
        return CrashingSource(**vars(source), after=count - count // 3, error=error)


def _reads(fault: Fault, call: Call) -> Fault | None:
    return fault if call.operation == "read" else None


def _once(fault: Fault) -> Plan:
    """Make the first read fail."""
    return lambda call: fault if call.operation == "read" and not call.number else None


def _loaded(lab: Lab, plan: Plan) -> tuple[object, FaultyFiles]:
    """Upload DATA, and fetch it by its hash on another machine over a faulty connection."""
    receipt = lab.files_machine().upload_file(lab.file(DATA), "file.bin")
    store = lab.files_elsewhere()
    store.files = faulty = FaultyFiles(store.files, plan)
    pin = {"version_id": receipt.version_id, "sha256": receipt.sha256}
    return outcome(lambda: data_of(store, "file.bin", **pin)), faulty
