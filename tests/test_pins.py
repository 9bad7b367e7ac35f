"""The order in which a pin is resolved, branch by branch, on a host that counts what is read."""

import hashlib
import logging

import pytest
import xarray as xr
from conftest import make_assembly
from memory_files import MemoryFiles

from storage_plugins import AccessDenied, AssemblyNotFound, IntegrityError, InvalidPin, StoreUnavailable, Version

KEY = "assy_X.nc"


@pytest.fixture
def files():
    return MemoryFiles()


@pytest.fixture
def store(memory_store, files):
    return memory_store(files)


@pytest.fixture
def bare(memory_store, files):
    """The same host seen by somebody without receipts and with an empty cache."""
    return memory_store(files, receipts=False, cache="bare-cache")


def encoded(store, seed):
    """Return the bytes of an assembly's file, and its sha1."""
    from storage_plugins import codec

    with store.cache.scratch() as folder:
        codec.encode(make_assembly(seed), folder / "x.nc", identifier="X", extras={}, drop_attrs=())
        data = (folder / "x.nc").read_bytes()
    return data, hashlib.sha1(data).hexdigest()


def test_1_a_verified_copy_needs_no_request(store, files):
    receipt = store.upload(make_assembly(), "X")
    store.load("X", sha1=receipt.sha1)
    files.away = True
    xr.testing.assert_identical(store.load("X", sha1=receipt.sha1), make_assembly())
    xr.testing.assert_identical(store.load("X", sha1=receipt.sha1, version_id="whatever"), make_assembly())


def test_2_a_receipt_gives_this_stores_own_version_id(store, files):
    receipts = [store.upload(make_assembly(seed), "X") for seed in range(3)]
    files.listing_denied = True
    store.load("X", sha1=receipts[0].sha1, version_id="an-id-of-another-store")
    assert files.reads == [(KEY, receipts[0].version_id, 0)]


def test_3_the_version_id_given_comes_before_records(bare, store, files):
    receipts = [store.upload(make_assembly(seed), "X") for seed in range(3)]
    files.listing_denied = True
    bare.load("X", sha1=receipts[1].sha1, version_id=receipts[1].version_id)
    assert files.reads == [(KEY, receipts[1].version_id, 0)]


def test_4_without_receipts_records_lead_to_a_hash(bare, store, files):
    receipts = [store.upload(make_assembly(seed), "X") for seed in range(12)]
    for pin in ({"sha1": receipts[2].sha1}, {"sha256": receipts[3].sha256}):
        files.reads.clear()
        bare.load("X", **pin)
        assert len(files.reads) == 1


def test_5_without_records_the_newest_eight_are_read_and_kept(bare, files):
    hashes = []
    for seed in range(10):
        data, sha1 = encoded(bare, seed)
        files.add(KEY, data)
        hashes.append(sha1)
    bare.load("X", sha1=hashes[7])
    assert [version_id for _, version_id, _ in files.reads] == ["v10", "v9", "v8"]
    files.reads.clear()
    bare.load("X", sha1=hashes[9])  # was kept on the way
    assert files.reads == []
    with pytest.raises(IntegrityError):
        bare.load("X", sha1=hashes[0])
    assert [version_id for _, version_id, _ in files.reads] == [f"v{n}" for n in range(10, 2, -1)]


def test_a_record_that_lies_does_not_hide_the_bytes(bare, files):
    data, sha1 = encoded(bare, 0)
    files.add(KEY, data, {"sha1": "0" * 40, "sha256": "0" * 64})
    xr.testing.assert_identical(bare.load("X", sha1=sha1), make_assembly(0))


def test_a_version_id_that_turns_out_wrong_is_a_warning(bare, store, files, caplog):
    first, second = (store.upload(make_assembly(seed), "X") for seed in (1, 2))
    loaded = bare.load("X", version_id=second.version_id, sha1=first.sha1)
    xr.testing.assert_identical(loaded, make_assembly(1))
    assert second.version_id in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_version_id_of_another_store_is_found_by_the_hash_in_its_receipt(memory_store, store, files):
    store.upload(make_assembly(1), "X")
    there = MemoryFiles("memory:ours")
    ours = memory_store(there, name="ours", cache="cache-ours")
    there.add(KEY, files.held[KEY][0][1], version_id="other-id")
    there.add(KEY, encoded(ours, 2)[0], version_id="newest")
    xr.testing.assert_identical(ours.load("X", version_id="v1"), make_assembly(1))


def test_a_version_id_that_names_two_things_is_an_error_listing_both(memory_store, store):
    one = store.upload(make_assembly(1), "X")
    ours = memory_store(MemoryFiles("memory:ours"), name="ours", cache="cache-ours")
    two = ours.upload(make_assembly(2), "X")
    assert one.version_id == two.version_id == "v1"
    with pytest.raises(InvalidPin) as caught:
        ours.load("X", version_id="v1")
    for said in (one.sha256, two.sha256, "'lab'", "'ours'"):
        assert said in str(caught.value)
    xr.testing.assert_identical(ours.load("X", version_id="v1", sha1=two.sha1), make_assembly(2))


def test_a_version_id_that_means_two_things_is_seen_without_a_receipt_of_this_store(memory_store, store):
    store.upload(make_assembly(1), "X")
    there = MemoryFiles("memory:ours")
    ours = memory_store(there, name="ours", cache="cache-ours")
    there.add(KEY, encoded(ours, 2)[0])  # its first version, as the other store's, is called v1
    with pytest.raises(InvalidPin):
        ours.load("X", version_id="v1")


def test_an_unknown_version_id_is_not_found_but_a_hash_with_it_is(bare, store):
    receipt = store.upload(make_assembly(), "X")
    for one in (store, bare):
        with pytest.raises(AssemblyNotFound):
            one.load("X", version_id="v99")
        xr.testing.assert_identical(one.load("X", version_id="v99", sha1=receipt.sha1), make_assembly())


def test_null_pins_nothing_where_there_is_no_such_version(bare, store, caplog):
    receipts = [store.upload(make_assembly(seed), "X") for seed in (1, 2)]
    xr.testing.assert_identical(bare.load("X", version_id="null"), make_assembly(2))
    xr.testing.assert_identical(bare.load("X", version_id="null", sha1=receipts[0].sha1), make_assembly(1))
    assert "null" not in caplog.text


def test_a_forbidden_listing_does_not_stop_a_load_that_can_succeed(bare, store, files):
    receipt = store.upload(make_assembly(), "X")
    files.listing_denied = True
    xr.testing.assert_identical(bare.load("X", sha1=receipt.sha1), make_assembly())
    xr.testing.assert_identical(bare.load("X"), make_assembly())
    xr.testing.assert_identical(bare.load("X", version_id=receipt.version_id), make_assembly())


def test_a_forbidden_listing_does_not_stop_an_upload(store, files):
    files.listing_denied = True
    store.upload(make_assembly(), "X")
    xr.testing.assert_identical(store.load("X"), make_assembly())


def test_a_version_that_is_denied_does_not_hide_another(bare, store, files, monkeypatch):
    receipts = [store.upload(make_assembly(seed), "X") for seed in (1, 2)]
    read = files.read

    def deny_the_first(key, version_id=None, **options):
        if version_id == "v1":
            raise AccessDenied("v1 is private")
        return read(key, version_id, **options)

    files.read = deny_the_first
    xr.testing.assert_identical(bare.load("X", version_id="v1", sha1=receipts[1].sha1), make_assembly(2))
    with pytest.raises(AccessDenied):
        bare.load("X", sha1=receipts[0].sha1)


def test_no_version_is_asked_for_twice(bare, store, files):
    for seed in (1, 2):
        store.upload(make_assembly(seed), "X")
    asked = []
    read = files.read

    def deny(key, version_id=None, **options):
        if not key.startswith(".gone-"):
            asked.append(version_id)
        raise AccessDenied("private")

    files.read = deny
    with pytest.raises(AccessDenied):
        bare.load("X", version_id="v1", sha1="0" * 40)
    files.read = read
    assert asked == ["v1", "v2"]


def test_unpinned_takes_the_newest_receipt_and_says_so(store, files, caplog):
    caplog.set_level(logging.INFO)
    receipt = store.upload(make_assembly(1), "X")
    files.add(KEY, encoded(store, 2)[0])  # a co-worker's, without a receipt here
    xr.testing.assert_identical(store.load("X"), make_assembly(1))
    assert receipt.sha1 in caplog.text
    xr.testing.assert_identical(store.load("X", newest=True), make_assembly(2))


def test_unpinned_without_receipts_asks_the_store_in_one_request(bare, store, files):
    for seed in (1, 2):
        store.upload(make_assembly(seed), "X")
    xr.testing.assert_identical(bare.load("X"), make_assembly(2))
    assert files.reads == [(KEY, None, 0)]


def test_the_newest_is_not_read_again_when_its_record_names_cached_bytes(store, files):
    store.upload(make_assembly(1), "X")
    store.load("X", newest=True)
    files.held[KEY][0] = (files.held[KEY][0][0], b"")  # no byte of it could be read
    xr.testing.assert_identical(store.load("X", newest=True), make_assembly(1))


def test_unpinned_and_offline(store, bare, files, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    store.upload(make_assembly(1), "X")
    store.load("X")
    files.away = True
    xr.testing.assert_identical(store.load("X"), make_assembly(1))
    with pytest.raises(StoreUnavailable, match="receipt"):
        bare.load("X")
    with pytest.raises(StoreUnavailable):
        store.load("X", newest=True)


def test_receipts_of_another_store_lead_to_this_stores_own_bytes_or_to_its_newest(memory_store, store, files):
    store.upload(make_assembly(1), "X")
    there = MemoryFiles("memory:ours")
    ours = memory_store(there, name="ours", cache="cache-ours")
    there.add(KEY, encoded(ours, 2)[0])
    xr.testing.assert_identical(ours.load("X"), make_assembly(2))
    there.add(KEY, files.held[KEY][0][1])
    there.add(KEY, encoded(ours, 3)[0])
    xr.testing.assert_identical(ours.load("X"), make_assembly(1))


def test_a_file_nobody_described_answers_to_every_identifier_of_its_key(bare, files):
    files.add("assy_a_b.nc", encoded(bare, 1)[0])
    for identifier in ("a.b", "a_b"):
        xr.testing.assert_identical(bare.load(identifier), make_assembly(1))


def test_a_race_of_two_names_for_one_file_leaves_each_its_own(bare, files):
    one, two = encoded(bare, 1)[0], encoded(bare, 2)[0]
    files.add("assy_a_b.nc", one, {"identifier": "a.b", "assembly-prefix": "assy_"})
    files.add("assy_a_b.nc", two, {"identifier": "a_b", "assembly-prefix": "assy_"})
    xr.testing.assert_identical(bare.load("a.b"), make_assembly(1))
    xr.testing.assert_identical(bare.load("a_b"), make_assembly(2))
    assert [version.version_id for version in bare.versions("a.b")] == ["v1"]


def test_bytes_that_are_not_those_recorded_are_refused_without_a_pin(bare, files):
    data, _ = encoded(bare, 1)
    files.add(KEY, data[:-100], {"sha256": hashlib.sha256(data).hexdigest()})
    for pin in ({}, {"newest": True}, {"version_id": "v1"}):
        with pytest.raises(IntegrityError, match="damaged"):
            bare.load("X", **pin)


class Silent(MemoryFiles):
    """A host that tells nothing of a version with its bytes, only in the list."""

    def read(self, key, version_id=None, **options):
        content = super().read(key, version_id, **options)
        content.version = Version(version_id=content.version.version_id)
        return content


class Forgetful(MemoryFiles):
    """A host that gives the newest, whatever version was asked for."""

    def read(self, key, version_id=None, **options):
        return super().read(key, None, **options)


def test_another_version_than_the_one_asked_for_is_refused(memory_store):
    files = Forgetful()
    store = memory_store(files, receipts=False)
    for seed in (1, 2):
        files.add(KEY, encoded(store, seed)[0])
    assert store.load("X", version_id="v2").identical(make_assembly(2))
    with pytest.raises(IntegrityError, match="asked for version v1, got version v2"):
        store.load("X", version_id="v1")


def test_bytes_that_came_without_a_word_are_compared_with_the_list_of_versions(memory_store):
    files = Silent()
    bare = memory_store(files, receipts=False)
    data, sha1 = encoded(bare, 1)
    sha256 = hashlib.sha256(data).hexdigest()
    for held in (data, encoded(bare, 2)[0]):
        files.add(KEY, held, {"sha256": sha256, "sha1": sha1, "size": str(len(data))})
    assert bare.load("X", version_id="v1").identical(make_assembly(1))
    with pytest.raises(IntegrityError, match="damaged"):
        bare.load("X", version_id="v2")
    files.listing_denied = True
    assert bare.load("X", version_id="v2").identical(make_assembly(2))  # nobody can say what it should be


def test_the_newest_receipt_counts_also_where_its_version_was_uploaded_as_a_plain_file(memory_store, tmp_path):
    store = memory_store(MemoryFiles())
    store.upload(make_assembly(1), "X")
    path = tmp_path / KEY
    path.write_bytes(encoded(store, 2)[0])
    store.upload_file(path)
    assert store.load("X").identical(make_assembly(2))
    assert store.load("X", newest=True).identical(make_assembly(2))


def test_a_download_that_breaks_is_resumed_where_it_broke(bare, files, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    data, sha1 = encoded(bare, 1)
    files.add(KEY, data)
    files.cut_after = [5000, 0, 300, 0, 1]
    xr.testing.assert_identical(bare.load("X", sha1=sha1), make_assembly(1))
    assert [(version, start) for _, version, start in files.reads] == [
        ("v1", start) for start in (0, 5000, 5000, 5300, 5300, 5301)
    ]


def test_a_download_that_never_gets_on_is_given_up_and_leaves_nothing(bare, files, monkeypatch, tmp_path):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    data, sha1 = encoded(bare, 1)
    files.add(KEY, data)
    files.cut_after = [100] + [0] * 20
    with pytest.raises(StoreUnavailable):
        bare.load("X", sha1=sha1)
    assert [path for path in (tmp_path / "bare-cache").rglob("*") if path.is_file()] == []
