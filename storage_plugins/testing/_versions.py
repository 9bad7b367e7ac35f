"""Versions: immutable, in order, each with its own id, and described so that they are found without receipts."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from storage_plugins import AlreadyExists, AssemblyNotFound, NotSupported, Source, StorageError

from . import _children as children
from ._assemblies import make_assembly
from ._base import Kit
from ._comparison import differences
from ._faults import Call, Fault, FaultyFiles
from ._hosts import Host
from ._lab import Lab, data_of, eager_threads, identical, keep, outcome, read, same_place

MIB = 1 << 20


class VersionTests(Kit):
    """Each upload is a new version and never changes another."""

    def test_versions_are_listed_newest_first_with_their_records(self, lab: Lab) -> None:
        store = lab.versioned()
        receipts = [store.upload(make_assembly(seed), "a.b") for seed in range(4)]
        for machine in (store, lab.files_machine()):
            versions = machine.versions("a.b")
            assert [v.version_id for v in versions] == [r.version_id for r in reversed(receipts)], "wrong order or ids"
            for version, receipt in zip(versions, reversed(receipts), strict=True):
                listed = (version.sha1, version.sha256, version.size, version.content_digest)
                assert listed == (receipt.sha1, receipt.sha256, receipt.size, receipt.content_digest), "wrong record"
                assert (version.identifier, version.assembly_prefix) == ("a.b", "assy_"), (
                    "the record does not have the name"
                )
        assert store.versions("never.uploaded") == []

    def test_versions_are_dated(self, lab: Lab) -> None:
        store = lab.files_machine()
        receipt = store.upload(make_assembly(), "X")
        (version,) = store.files.versions(receipt.key)
        assert version.created is not None, "the version has no date"
        assert version.created.tzinfo is not None, "the date has no time zone"
        assert abs(version.created - datetime.now(UTC)) < timedelta(days=1), "the date is not today's"

    def test_the_newest_is_the_first_of_the_versions(self, lab: Lab) -> None:
        files = lab.versioned().files
        assert files.newest("file.bin") is None
        assert list(files.versions("file.bin")) == []
        for number in range(3):
            version_id = keep(files, "file.bin", lab.source(b"%d" % number))
            newest = files.newest("file.bin")
            assert newest is not None
            assert newest.version_id == version_id, "newest() is not the version that was stored last"
            first = next(iter(files.versions("file.bin")))
            assert (newest.version_id, newest.sha256) == (first.version_id, first.sha256), (
                "newest() is not the first of versions()"
            )

    def test_every_version_stays_unchanged(self, lab: Lab) -> None:
        files = lab.versioned().files
        made = [b"the number %d" % number * (number + 1) for number in range(5)]
        ids = [keep(files, "file.bin", lab.source(data)) for data in made]
        assert len(set(ids)) == len(ids), "two versions have the same id"
        for _ in range(2):
            assert [read(files, "file.bin", version_id) for version_id in ids] == made, "a version has other bytes"
            files = lab.files_machine().files

    def test_a_version_id_is_text_and_not_a_hash(self, lab: Lab) -> None:
        version_id = lab.versioned().upload(make_assembly(), "X").version_id
        assert isinstance(version_id, str)
        assert version_id, "a store that keeps versions must return version ids"
        assert len(version_id) != 40, "an id of 40 characters is mistaken for a sha1"

    def test_a_read_describes_the_requested_version(self, lab: Lab) -> None:
        files = lab.versioned().files
        sources = [lab.source(b"%d" % number * 100) for number in range(3)]
        ids = [keep(files, "file.bin", source) for source in sources]
        for version_id, source in zip([*ids, None], [*sources, sources[-1]], strict=True):
            with files.read("file.bin", version_id) as content:
                version = content.version
            assert version.version_id == (version_id or ids[-1]), f"read({version_id!r}) describes another version"
            assert (version.size, version.sha256) in [(source.size, source.sha256), (source.size, None)], (
                "wrong description"
            )

    def test_an_unknown_version_is_not_found(self, lab: Lab) -> None:
        store = lab.versioned()
        receipt = store.upload(make_assembly(), "X")
        for version_id in ("nonsense", f"{receipt.version_id}0"):
            with pytest.raises(AssemblyNotFound):
                store.load("X", version_id=version_id)
            with pytest.raises(AssemblyNotFound):
                read(store.files, receipt.key, version_id)

    def test_a_version_id_of_another_key_loads_nothing(self, lab: Lab) -> None:
        store = lab.versioned()
        store.upload_file(lab.file(b"a"), "a.bin")
        others = [store.upload_file(lab.file(b"b%d" % number), "b.bin") for number in range(3)]
        store.upload(make_assembly(), "A")
        more = [store.upload(make_assembly(seed), "B") for seed in range(1, 4)]
        for receipt in others:
            got = outcome(functools.partial(data_of, lab.elsewhere(), "a.bin", version_id=receipt.version_id))
            harmless = isinstance(got, StorageError) or got == b"a"
            assert harmless, f"a.bin, read with a version id of b.bin, gave {got!r:.200}"
        for receipt in more:
            loaded = outcome(functools.partial(lab.elsewhere().load, "A", version_id=receipt.version_id))
            assert isinstance(loaded, StorageError) or identical(loaded, make_assembly()), (
                "A, loaded with a version id of B, gave the data of B"
            )

    def test_remove_deletes_one_version_and_nothing_else(self, lab: Lab) -> None:
        files = lab.versioned().files
        ids = [keep(files, "file.bin", lab.source(b"%d" % number)) for number in range(3)]
        keep(files, "file.bin.more", lab.source(b"more"))
        left = {version_id: b"%d" % number for number, version_id in enumerate(ids)}
        for version_id in (ids[1], ids[2], ids[0]):  # one in between, the newest, the last one
            try:
                files.remove("file.bin", version_id)
            except NotSupported as error:
                pytest.skip(error.message)
            del left[version_id]
            for machine in (files, lab.files_machine().files):
                listed = [version.version_id for version in machine.versions("file.bin")]
                assert listed == [each for each in reversed(ids) if each in left], "remove() left other versions"
                assert {each: read(machine, "file.bin", each) for each in left} == left, "a version has other bytes"
                newest = machine.newest("file.bin")
                assert (newest.version_id if newest else None) == next(iter(listed), None)
                assert sorted(machine.keys()) == ["file.bin", "file.bin.more"][not left :]
                with pytest.raises(AssemblyNotFound):
                    read(machine, "file.bin", version_id)

    def test_version_ids_are_not_used_again_after_discard(self, lab: Lab) -> None:
        files = lab.versioned().files
        ids = [keep(files, "file.bin", lab.source(b"%d" % number)) for number in range(2)]
        try:
            files.discard("file.bin")
        except NotSupported as error:
            pytest.skip(error.message)
        for number in range(2):
            keep(files, "file.bin", lab.source(b"new %d" % number), if_absent=not number)
        for version_id in ids:
            got = outcome(functools.partial(read, lab.files_machine().files, "file.bin", version_id))
            assert isinstance(got, AssemblyNotFound), f"the id of a discarded version now reads {got!r}"

    def test_going_back_to_earlier_bytes_is_a_new_version(self, lab: Lab) -> None:
        store = lab.versioned()
        for data in (b"one", b"two", b"one"):
            receipt = store.upload_file(lab.file(data), "file.bin")
        versions = list(store.files.versions("file.bin"))
        assert len({version.version_id for version in versions}) == 3, "a version was lost"
        assert versions[0].version_id == receipt.version_id, "the last upload is not the newest"
        assert data_of(lab.elsewhere(), "file.bin", newest=True) == b"one"

    def test_the_host_stores_what_was_uploaded_in_that_order(self, lab: Lab, host: Host) -> None:
        store = lab.files_machine()
        made = [b"first", bytes(range(256)) * 12_000, b""][: 3 if store.files.keeps_versions() else 1]
        for data in made:
            store.upload_file(lab.file(data), "file.bin")
        assert host.get("file.bin") == made, "the host has other bytes, or another order"

    def test_of_simultaneous_first_uploads_one_succeeds(self, lab: Lab) -> None:
        files = lab.files_machine().files
        if not files.creates_safely():
            pytest.skip("creates_safely() is not True: simultaneous first uploads may replace each other")
        for round_ in range(3):
            key, sources = f"race{round_}.bin", _meeting([lab.source(b"%d" % number * 999) for number in range(6)])
            with eager_threads(), concurrent.futures.ThreadPoolExecutor(6) as pool:
                calls = [functools.partial(keep, files, key, source, if_absent=True) for source in sources]
                done = list(pool.map(outcome, calls))
            lost = [isinstance(each, AlreadyExists) for each in done]
            assert lost.count(False) == 1, f"{lost.count(False)} of 6 simultaneous first uploads succeeded: {done}"
            assert read(files, key) == sources[lost.index(False)].path.read_bytes(), (
                "the stored bytes are those of a refused upload"
            )

    # simultaneous uploads

    def test_simultaneous_uploads_from_threads_get_the_ids_of_their_own_bytes(self, lab: Lab) -> None:
        files = lab.versioned().files
        for round_ in range(3):
            key, sources = f"race{round_}.bin", _meeting([lab.source(b"%d" % number * 999) for number in range(6)])
            with eager_threads(), concurrent.futures.ThreadPoolExecutor(6) as pool:
                ids = list(pool.map(functools.partial(keep, files, key), sources))
            for version_id, source in zip(ids, sources, strict=True):
                got = read(files, key, version_id)
                assert got == source.path.read_bytes(), f"{version_id} was returned for an upload of other bytes"
            listed = [str(version.version_id) for version in files.versions(key)]
            assert sorted(listed) == sorted(map(str, ids)), "versions were lost"

    def test_simultaneous_uploads_from_processes_get_the_ids_of_their_own_bytes(self, lab: Lab, host: Host) -> None:
        if not host.across_processes:
            pytest.skip(f"{type(host).__name__} has across_processes = False")
        machines = [lab.versioned() for _ in range(3)]
        paths = [[lab.file(b"%d %d" % (process, number) * 999) for number in range(4)] for process in range(3)]
        work = [(machine, mine, "shared.bin") for machine, mine in zip(machines, paths, strict=True)]
        receipts = [one for each in children.in_children("spawn", children.upload_many, work) for one in each]
        files = lab.files_elsewhere().files
        for path, receipt in zip((path for mine in paths for path in mine), receipts, strict=True):
            assert read(files, "shared.bin", receipt.version_id) == path.read_bytes(), (
                "an upload returned the id of other bytes"
            )
        listed = [version.version_id for version in files.versions("shared.bin")]
        assert sorted(map(str, listed)) == sorted(str(receipt.version_id) for receipt in receipts), "versions were lost"

    def test_what_another_writer_did_is_seen_at_once(self, lab: Lab) -> None:
        mine, theirs = lab.versioned(), lab.versioned()
        made: list[str | None] = []
        for number in range(4):
            mine.identifiers(), mine.versions("X"), mine.files.newest("assy_X.nc")
            made.insert(0, theirs.upload(make_assembly(number), "X").version_id)
            theirs.upload(make_assembly(number), f"Y{number}")
            assert [version.version_id for version in mine.versions("X")] == made, (
                "an outdated list of versions was returned"
            )
            assert mine.identifiers() == sorted(["X", *(f"Y{n}" for n in range(number + 1))]), (
                "an outdated list of names was returned"
            )
            assert differences(mine.load("X", newest=True), make_assembly(number)) == [], "an old version was loaded"
            assert mine.upload(make_assembly(number), "X").version_id == made[0]
            mine, theirs = theirs, mine  # take turns

    # pins

    def test_records_lead_to_the_version_with_a_hash_without_receipts(self, lab: Lab) -> None:
        store = lab.versioned()
        receipts = [store.upload_file(lab.file(b"%d" % number), "file.bin") for number in range(4)]
        for number, receipt in enumerate(receipts):
            for pin in ({"sha1": receipt.sha1}, {"sha256": receipt.sha256}):
                other = lab.files_elsewhere()
                other.files = faulty = FaultyFiles(other.files)
                assert data_of(other, "file.bin", **pin) == b"%d" % number
                reads = [call.version_id for call in faulty.calls if call.operation == "read"]
                assert reads == [receipt.version_id], f"{len(reads)} versions were read to find one that has a record"

    def test_a_version_id_alone_loads_that_version(self, lab: Lab) -> None:
        store = lab.versioned()
        receipts = [store.upload_file(lab.file(b"%d" % number), "file.bin") for number in range(3)]
        for number, receipt in enumerate(receipts):
            got = data_of(lab.elsewhere(), "file.bin", version_id=receipt.version_id)
            assert got == b"%d" % number, "a version id alone loaded another version"

    def test_a_right_hash_with_a_wrong_version_id_warns_and_loads(
        self, lab: Lab, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = lab.versioned()
        first, second = (store.upload_file(lab.file(data), "file.bin") for data in (b"one", b"two"))
        for version_id in (second.version_id, "nonsense"):
            caplog.clear()
            with caplog.at_level(logging.WARNING, "storage_plugins"):
                assert data_of(lab.elsewhere(), "file.bin", version_id=version_id, sha1=first.sha1) == b"one"
            assert any(str(version_id) in logged.getMessage() for logged in caplog.records), (
                "no warning names the wrong id"
            )

    def test_a_hash_and_its_version_id_need_no_listing(self, lab: Lab) -> None:
        receipt = lab.versioned().upload_file(lab.file(b"one"), "file.bin")
        other = lab.files_elsewhere()
        other.files = FaultyFiles(other.files, lambda call: Fault(refuse=True) if call.operation != "read" else None)
        assert data_of(other, "file.bin", version_id=receipt.version_id, sha256=receipt.sha256) == b"one"

    def test_a_receipt_leads_here_whatever_version_id_is_given(self, lab: Lab) -> None:
        store = lab.versioned()
        first, second = (store.upload_file(lab.file(data), "file.bin") for data in (b"one", b"two"))

        def only_reads_of_the_first(call: Call) -> Fault | None:
            good = call.operation == "read" and call.version_id == first.version_id
            return None if good else Fault(refuse=True)

        store.files = FaultyFiles(store.files, only_reads_of_the_first)
        assert data_of(store, "file.bin", version_id=second.version_id, sha1=first.sha1) == b"one"

    def test_cached_files_load_by_hash_when_the_host_does_not_answer(self, lab: Lab) -> None:
        store = lab.files_machine()
        receipt = store.upload_file(lab.file(b"one"), "file.bin")
        store.files = FaultyFiles(store.files)
        store.fetch(receipt)
        store.files = FaultyFiles(store.files, lambda call: Fault(refuse=True))
        assert data_of(store, "file.bin", sha1=receipt.sha1) == b"one"

    def test_the_newest_receipt_decides_without_a_pin_and_the_store_decides_with_newest(self, lab: Lab) -> None:
        mine, theirs = lab.versioned(), lab.versioned()
        mine.upload_file(lab.file(b"mine"), "file.bin")
        theirs.upload_file(lab.file(b"theirs"), "file.bin")
        assert data_of(mine, "file.bin") == b"mine"
        assert data_of(mine, "file.bin", newest=True) == b"theirs"

    def test_a_file_from_another_program_is_found_by_its_hash(self, lab: Lab, host: Host) -> None:
        host.put("file.bin", b"by hand")
        source = lab.source(b"by hand")
        store = lab.files_machine()
        assert data_of(store, "file.bin", sha1=source.sha1) == b"by hand"
        assert data_of(lab.elsewhere(), "file.bin", newest=True) == b"by hand"
        assert "file.bin" in store.file_names()

    def test_an_upload_does_not_replace_a_file_from_another_program(self, lab: Lab, host: Host) -> None:
        store = lab.versioned()
        host.put("file.bin", b"by hand")
        store.upload_file(lab.file(b"uploaded"), "file.bin")
        by_hand = lab.source(b"by hand")
        assert data_of(lab.elsewhere(), "file.bin", sha1=by_hand.sha1) == b"by hand", "the earlier file is lost"
        assert data_of(lab.elsewhere(), "file.bin", newest=True) == b"uploaded"

    def test_uploading_an_existing_version_returns_its_receipt(self, lab: Lab) -> None:
        store = lab.versioned()
        receipt = store.upload(make_assembly(), "X")
        again = lab.files_machine().upload(make_assembly(), "X")
        assert same_place(again, receipt)


def _meeting(sources: list[Source]) -> list[Source]:
    """Return sources that wait for each other at their end, so that their uploads finish at the same moment.

    If a backend uploads one after the other, they continue after half a second.
    """
    barrier = threading.Barrier(len(sources))

    def meet(_: int) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(0.5)

    return [dataclasses.replace(source, progress=meet) for source in sources]
