"""The cache on a computer that several people use, and on computers without homes."""

import contextlib
import json
import os
import stat
from pathlib import Path

import pytest
from test_receipts_and_cache import receipt
from users import COLLEAGUE, GROUP, as_colleague, killed_at

from storage_plugins import AccessDenied, ConfigError, Receipt
from storage_plugins._config.config import find
from storage_plugins._copies.cache import Cache
from storage_plugins._copies.receipts import Receipts
from storage_plugins._records import Cached, Digesting, Digests

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX users and modes")
several_users = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, to be several users")
RIGHT, WRONG = b"right bytes", b"wrong bytes"


def digests(data: bytes) -> Digests:
    digesting = Digesting()
    digesting.update(data)
    return digesting.digests()


PIN = digests(RIGHT).sha256


def store(cache: Cache, data: bytes = RIGHT, *, private: bool = False) -> Cached:
    with cache.incoming() as (file, path):
        file.write(data)
        return cache.adopt(file, path, digests(data), "x.bin", private=private)


def change_unseen(path: Path, replacement: bytes) -> None:
    """Change a file in place so that its size, inode and modification time stay as they were."""
    before = path.stat()
    path.chmod(0o600)
    path.write_bytes(replacement)
    path.chmod(stat.S_IMODE(before.st_mode))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def shared_folder(open_folder: Path, permissions: int, owner: int = 0) -> Path:
    folder = open_folder / "cache"
    folder.mkdir()
    os.chown(folder, owner, GROUP)
    folder.chmod(permissions)
    return folder


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_cache_folder_is_closed_to_others_whatever_the_umask(tmp_path, umask):
    cache = Cache([tmp_path / "new" / "cache"])
    previous = os.umask(umask)
    try:
        path = store(cache, private=True).path
    finally:
        os.umask(previous)
    assert (mode(tmp_path / "new"), mode(tmp_path / "new" / "cache"), mode(path)) == (0o700, 0o700, 0o600)
    assert not any(mode(each) & 0o022 for each in (tmp_path / "new").rglob("*"))


def test_a_file_changed_in_place_is_seen_though_size_time_and_inode_are_the_same(tmp_path):
    cache = Cache([tmp_path])
    change_unseen(store(cache).path, WRONG)
    assert cache.find("x.bin", sha256=PIN) is None


@several_users
@pytest.mark.parametrize("permissions", [0o2775, 0o777, 0o1777])
def test_a_colleague_cannot_have_other_bytes_loaded_from_a_folder_that_both_can_write(open_folder, permissions):
    folder = shared_folder(open_folder, permissions)
    cache = Cache([folder])
    store(cache)
    store(cache, private=True)

    def attack() -> None:
        for path in list(folder.rglob("*")):
            with contextlib.suppress(OSError):
                if path.is_file():
                    path.unlink()
                    path.write_bytes(WRONG)
        planted = folder / PIN[:2] / PIN / "x.bin"
        planted.parent.mkdir(parents=True)
        planted.write_bytes(WRONG)
        status = planted.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, status.st_ctime_ns]
        entry = {"path": str(planted), "state": state, "sha1": digests(RIGHT).sha1, "sha256": PIN}
        with contextlib.suppress(OSError):
            note = cache._note(planted).relative_to(folder)
            (folder / "verified").mkdir()
            (folder / "verified" / note.name).write_text(json.dumps(entry))

    as_colleague(attack)
    found = cache.find("x.bin", sha256=PIN)
    assert found is None or found.path.read_bytes() == RIGHT
    assert store(cache).path.read_bytes() == RIGHT


@several_users
def test_files_of_others_are_hashed_each_time(open_folder):
    folder = open_folder / "layer"
    path = folder / PIN[:2] / PIN / "x.bin"

    def publish() -> None:
        path.parent.mkdir(parents=True)
        path.write_bytes(RIGHT)

    open_folder.chmod(0o777)
    as_colleague(publish)
    cache = Cache([open_folder / "own", folder])
    assert cache.find("x.bin", sha256=PIN).path == path
    assert cache.find("x.bin", sha256=PIN).path == path
    assert not (open_folder / "own").exists()  # not a note
    as_colleague(lambda: change_unseen(path, WRONG))
    assert cache.find("x.bin", sha256=PIN) is None


@several_users
def test_files_of_a_local_store_that_others_can_change_are_hashed_each_time(open_folder):
    folder = shared_folder(open_folder, 0o2775)
    path = folder / "data.nc"
    path.write_bytes(RIGHT)
    cache = Cache([open_folder / "own"])
    assert cache.verify(path).digests == digests(RIGHT)
    assert not (open_folder / "own").exists()


@several_users
def test_no_link_is_followed_in_a_folder_that_others_can_write(open_folder):
    folder = shared_folder(open_folder, 0o2775)
    secret = open_folder / "secret"
    secret.write_bytes(RIGHT)
    place = folder / PIN[:2] / PIN
    place.mkdir(parents=True)
    place.chmod(0o777)
    as_colleague(lambda: (place / "x.bin").symlink_to(secret))
    assert Cache([folder]).find("x.bin", sha256=PIN) is None
    with pytest.raises(OSError, match="symbolic"):
        Cache([open_folder / "own"]).verify(place / "x.bin")


def test_a_link_in_place_of_a_temporary_file_changes_no_mode(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"PRIVATE")
    key.chmod(0o600)
    cache = Cache([tmp_path / "cache"])
    with cache.incoming() as (file, path):
        file.write(RIGHT)
        path.unlink()
        path.symlink_to(key)
        cache.adopt(file, path, digests(RIGHT), "x.bin", private=False)
    assert (mode(key), key.read_bytes()) == (0o600, b"PRIVATE")
    assert cache.find("x.bin", sha256=PIN) is None


@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_what_is_not_a_file_is_passed_over(tmp_path, kind):
    path = tmp_path / PIN[:2] / PIN / "x.bin"
    path.parent.mkdir(parents=True)
    {"device": lambda: path.symlink_to("/dev/zero"), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    assert Cache([tmp_path]).find("x.bin", sha256=PIN) is None


@several_users
def test_private_copies_in_a_folder_of_all_are_in_a_folder_of_ones_own(open_folder):
    folder = shared_folder(open_folder, 0o777)
    path = store(Cache([folder]), private=True).path
    assert mode(folder / "private-0") == 0o700
    assert path.is_relative_to(folder / "private-0")
    as_colleague(lambda: _found(Cache([folder]), False))
    _found(Cache([folder]), True)


@several_users
def test_colleagues_find_what_is_shared(open_folder):
    folder = shared_folder(open_folder, 0o777)
    store(Cache([folder]))
    as_colleague(lambda: _found(Cache([folder]), True))
    as_colleague(lambda: _found_by_sha1(Cache([folder])))
    as_colleague(lambda: store(Cache([folder]), b"of the colleague"))
    assert Cache([folder]).find("x.bin", sha256=digests(b"of the colleague").sha256) is not None


def _found_by_sha1(cache: Cache) -> None:
    assert cache.find("x.bin", sha1=digests(RIGHT).sha1) is not None


def _found(cache: Cache, expected: bool) -> None:
    assert (cache.find("x.bin", sha256=PIN) is not None) == expected


@several_users
@pytest.mark.parametrize("how", ["folder", "link"])
def test_a_private_folder_that_somebody_else_made_is_named_and_not_used(open_folder, how):
    folder = shared_folder(open_folder, 0o777)

    def attack() -> None:
        (folder / "elsewhere").mkdir()
        if how == "folder":
            (folder / "private-0").mkdir(mode=0o777)
        else:
            (folder / "private-0").symlink_to(folder / "elsewhere")

    as_colleague(attack)
    with pytest.raises(AccessDenied, match="private-0"):
        store(Cache([folder]), private=True)
    assert list((folder / "elsewhere").iterdir()) == []


@several_users
def test_a_volume_of_root_that_all_can_write_is_used(open_folder, monkeypatch):
    volume = shared_folder(open_folder, 0o777)
    monkeypatch.setenv("HOME", "/")
    for named in (volume, volume / "sub"):
        monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(named))
        as_colleague(lambda: _found_under(store(Cache.from_environment(), private=True), volume))


def _found_under(cached: Cached, folder: Path) -> None:
    assert cached.path.is_relative_to(folder)
    assert mode(cached.path.parents[2]) == 0o700


@several_users
def test_a_named_folder_that_cannot_be_written_is_named_in_the_error(open_folder, monkeypatch):
    volume = shared_folder(open_folder, 0o755)
    monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(volume / "sub"))

    def refused() -> None:
        with pytest.raises(AccessDenied, match=str(volume)) as caught:
            store(Cache.from_environment())
        assert "STORAGE_PLUGINS_CACHE" in str(caught.value.hint)

    as_colleague(refused)


@several_users
def test_without_a_home_the_error_names_what_to_set(monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "STORAGE_PLUGINS_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def refused() -> None:
        with pytest.raises(ConfigError, match="HOME is not set") as caught:
            Cache.from_environment()
        assert "STORAGE_PLUGINS_CACHE" in str(caught.value.hint)

    as_colleague(refused)


@several_users
def test_without_a_home_a_configuration_is_found_all_the_same(open_folder, monkeypatch):
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (open_folder / "project" / "below").mkdir(parents=True)
    (open_folder / "project" / "storage.yaml").write_text("stores: {s: {backend: local, root: ./data}}")

    def found() -> None:
        assert find(open_folder / "project" / "below") == open_folder / "project" / "storage.yaml"
        assert find(open_folder) is None

    as_colleague(found)


def test_a_named_cache_is_all_that_is_searched(tmp_path, monkeypatch, home):
    monkeypatch.delenv("BRAINIO_HOME", raising=False)
    monkeypatch.delenv("STORAGE_PLUGINS_CACHE", raising=False)
    store(Cache.from_environment(), private=True)
    of_brainio = home / ".brainio" / digests(WRONG).sha1 / "x.bin"
    of_brainio.parent.mkdir(parents=True)
    of_brainio.write_bytes(WRONG)
    assert Cache.from_environment().find("x.bin", sha256=PIN) is not None
    assert Cache.from_environment().find("x.bin", sha1=digests(WRONG).sha1) is not None
    monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(tmp_path / "empty"))
    assert Cache.from_environment().find("x.bin", sha256=PIN) is None
    assert Cache.from_environment().find("x.bin", sha1=digests(WRONG).sha1) is None


def test_a_file_system_without_modes_serves_as_a_cache(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    for name in ("chmod", "fchmod"):  # as on SMB and many FUSE mounts
        monkeypatch.setattr(os, name, refuse)
    cache = Cache([tmp_path / "cache"])
    store(cache)
    assert cache.find("x.bin", sha256=PIN) is not None


def old(folder: Path) -> list[Path]:
    """Date what is unfinished two days back, and return it."""
    found = list(folder.rglob(".tmp-*"))
    for path in found:
        os.utime(path, (1, 1), follow_symlinks=False)
    return found


@pytest.mark.slow
def test_a_process_killed_at_any_step_of_a_cache_write_leaves_nothing_for_long(tmp_path):
    step = 0
    killed = True
    while killed:
        step += 1
        folder = tmp_path / str(step)
        cache = Cache([folder])
        killed = killed_at(step, lambda cache=cache: store(cache))
        found = cache.find("x.bin", sha256=PIN)
        assert found is None or found.path.read_bytes() == RIGHT
        old(folder)
        assert store(cache).path.read_bytes() == RIGHT
        assert old(folder) == []
        assert cache.find("x.bin", sha1=digests(RIGHT).sha1) is not None
    assert step > 8


@pytest.mark.slow
def test_a_process_killed_at_any_step_of_a_receipt_leaves_nothing_for_long(tmp_path):
    step = 0
    killed = True
    one: Receipt = receipt(1)
    while killed:
        step += 1
        receipts = Receipts(tmp_path / str(step))
        killed = killed_at(step, lambda receipts=receipts: receipts.write(one))
        assert receipts.of(one.key) in ([], [one])
        old(tmp_path / str(step))
        receipts.write(one)
        assert receipts.of(one.key) == [one]
        assert old(tmp_path / str(step)) == []
    assert step > 5


@several_users
def test_the_colleague_of_these_tests_has_neither_name_nor_home():
    import pwd

    with pytest.raises(KeyError):
        pwd.getpwuid(COLLEAGUE)
