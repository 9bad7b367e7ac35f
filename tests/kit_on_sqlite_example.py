"""The kit for the example with ``upload`` and ``load`` alone, run by test_sqlite_example.py where it is installed."""

import contextlib
import sqlite3

import pytest

import storage_plugins
from storage_plugins import EncodingError, IntegrityError, NotSupported, StorageError
from storage_plugins.testing import Host, StoreTests
from storage_plugins.testing._assemblies import make_assembly


class SQLiteHost(Host):
    def __init__(self, database):
        self.database = database
        self.settings = {"backend": "sqlite", "database": str(database)}

    def get(self, key):
        return [bytes(file) for _, file in self.rows(key)]

    def damage(self, key, number, data):
        self.query("UPDATE versions SET file = ? WHERE number = ?", data, self.rows(key)[number][0])

    def names(self):
        return [str(number) for (number,) in self.query("SELECT number FROM versions")]

    def rows(self, key):
        return self.query("SELECT number, file FROM versions WHERE key = ? ORDER BY number", key)

    def query(self, statement, *values):
        with contextlib.closing(sqlite3.connect(self.database, isolation_level=None)) as raw:
            return raw.execute(statement, values).fetchall()


class TestSQLite(StoreTests):
    @pytest.fixture
    def host(self, tmp_path):
        return SQLiteHost(tmp_path / "assemblies.db")


@pytest.fixture
def database(tmp_path):
    return tmp_path / "assemblies.db"


@pytest.fixture
def store(database):
    config = {"stores": {"ours": {"backend": "sqlite", "database": str(database)}}}
    return storage_plugins.open_store(config=config)


def test_a_receipt_names_the_store_as_the_yaml_does(store):
    receipt = store.upload(make_assembly(), "X")
    assert (receipt.store, receipt.address, receipt.version_id) == ("ours", store.address, "v1")


def test_what_was_damaged_is_not_handed_out(store, database):
    receipt = store.upload(make_assembly(), "X")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as raw:
        raw.execute("UPDATE versions SET file = zeroblob(length(file))")
    for pin in ({}, {"sha1": receipt.sha1}, {"version_id": receipt.version_id}):
        with pytest.raises((IntegrityError, EncodingError)):
            store.load("X", **pin)
    database.write_bytes(b"no database at all" * 100)
    with pytest.raises(IntegrityError, match="cannot be used"):
        store.load("X")


def test_an_upload_that_is_not_committed_was_never_there(store, database):
    first = store.upload(make_assembly(1), "X")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as raw:
        raw.execute("CREATE TRIGGER full AFTER INSERT ON versions BEGIN SELECT RAISE(ABORT, 'killed'); END")
        with pytest.raises(StorageError, match="killed"):
            store.upload(make_assembly(2), "X")
        raw.execute("DROP TRIGGER full")
    assert store.load("X").identical(make_assembly(1))
    assert store.upload(make_assembly(1), "X") == first


def test_what_it_has_not_is_refused(store, database):
    receipt = store.upload(make_assembly(), "X")
    for call in (
        lambda: store.load("X", chunks={}),
        lambda: store.upload(make_assembly(), "Y", extras={"meta": make_assembly()}),
        lambda: store.versions("X"),
        lambda: store.fetch(receipt),
    ):
        with pytest.raises(NotSupported):
            call()
