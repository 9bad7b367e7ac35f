"""The commands that look after the cache: what they show, and that they remove only what is cached."""

import json
import os
import time
from pathlib import Path

import pytest

import storage_plugins
from storage_plugins._copies import cache_tools
from storage_plugins._copies.cache import Cache


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Three cached files of 1000, 2000 and 3000 bytes, used today, 10 and 40 days ago."""
    monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(tmp_path / "cache"))
    store = storage_plugins.open_store(config={"stores": {"m": {"backend": "memory", "place": str(tmp_path)}}})
    paths = {}
    for name, size, days in (("today.bin", 1000, 0), ("ten.bin", 2000, 10), ("forty.bin", 3000, 40)):
        Path(name).write_bytes(name[:1].encode() * size)
        store.upload_file(name)
        paths[name] = store.fetch(name)
        used = time.time() - days * 86400 - 60
        os.utime(paths[name], (used, used))
    return paths


def there(cached):
    return [name for name, path in cached.items() if path.exists()]


def test_the_cache_is_listed_last_used_first(run, cached, tmp_path):
    assert run("cache", "path").stdout == f"{tmp_path / 'cache'}\n"
    assert run("cache", "size").stdout == "3 entries, 6.0 KB\n"
    rows = [line.split() for line in run("cache", "list").stdout.splitlines()]
    assert [(row[0], row[-1]) for row in rows[1:]] == [
        ("1000", "today.bin"),
        ("2000", "ten.bin"),
        ("3000", "forty.bin"),
    ]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--max-age", "30d"], ["today.bin", "ten.bin"]),
        (["--max-age", "1w"], ["today.bin"]),
        (["--max-age", "0d"], ["today.bin"]),  # may be in use
        (["--max-size", "3KB"], ["today.bin", "ten.bin"]),
        (["--max-size", "2999"], ["today.bin"]),
        (["--max-size", "0"], ["today.bin"]),
        (["--max-size", "1GB"], ["today.bin", "ten.bin", "forty.bin"]),
        (["--max-size", "1GB", "--max-age", "30d"], ["today.bin", "ten.bin"]),
    ],
    ids=" ".join,
)
def test_pruning_removes_what_was_used_least_recently(run, cached, options, left):
    run("cache", "prune", *options)
    assert there(cached) == left


@pytest.mark.parametrize("options", [["--max-size", "much"], ["--max-age", "30"]], ids=" ".join)
def test_pruning_needs_a_limit_that_can_be_read(run, cached, options):
    run("cache", "prune", *options, code=2)
    assert len(there(cached)) == 3


def test_without_a_limit_pruning_removes_what_was_not_used_for_90_days(run, cached):
    used = time.time() - 91 * 86400
    os.utime(cached["forty.bin"], (used, used))
    run("cache", "prune", "--yes")
    assert there(cached) == ["today.bin", "ten.bin"]


def test_clearing_removes_copies_and_nothing_else(run, cached, tmp_path):
    other = tmp_path / "cache" / "ab" / "notes.txt"
    other.parent.mkdir(exist_ok=True)
    other.write_text("mine")
    outside = tmp_path / "outside" / ("0" * 64)
    outside.mkdir(parents=True)
    (outside / "file").write_text("mine")
    (tmp_path / "cache" / "00").symlink_to(outside.parent)
    run("cache", "clear", code=2)
    assert len(there(cached)) == 3
    removed = json.loads(run("cache", "clear", "--yes", "--json").stdout)
    assert (len(removed["removed"]), removed["bytes"]) == (3, 6000)
    assert there(cached) == []
    assert other.read_text() == (outside / "file").read_text() == "mine"
    assert not [*(tmp_path / "cache" / "sha1").glob("*/*"), *(tmp_path / "cache" / "verified").glob("*")]


def test_a_damaged_copy_is_found(run, cached):
    assert "as it was downloaded" in run("cache", "verify").stdout
    cached["ten.bin"].chmod(0o600)
    cached["ten.bin"].write_bytes(b"x" * 2000)
    assert "ten.bin" in run("cache", "verify", code=5).stdout
    (damaged,) = json.loads(run("cache", "verify", "--json", code=5).stdout)["damaged"]
    assert damaged["names"] == ["ten.bin"]


def test_what_was_unpacked_from_a_file_is_an_entry_of_its_own(run, cached, tmp_path):
    cache = Cache.from_environment()
    cache.made_once(
        cache.verify(cached["ten.bin"]), "stimuli", lambda folder: folder.exists(), lambda f: (f / "x").write_text("x")
    )
    assert "1 unpacked files" in run("cache", "list").stdout
    run("cache", "verify")
    run("cache", "clear", "--yes")
    assert run("cache", "size").stdout == "0 entries, 0 bytes\n"


def test_an_empty_cache_is_no_problem(run):
    assert run("cache", "size").stdout == "0 entries, 0 bytes\n"
    run("cache", "list")
    run("cache", "verify")
    run("cache", "clear", "--yes")


def test_what_is_being_made_is_no_entry(tmp_path):
    cache = Cache([tmp_path / "cache"])
    with cache.scratch() as folder:
        (folder / ("0" * 64)).mkdir()
        (folder / ("0" * 64) / "half.nc").write_bytes(b"half")
        assert cache_tools.entries(cache) == []
