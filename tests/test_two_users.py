"""What one user of a computer can do to another: each attack against root and against an ordinary user."""

import contextlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from test_receipts_and_cache import receipt
from test_shared_machines import PIN, RIGHT, WRONG, change_unseen, digests, mode, shared_folder, store
from users import COLLEAGUE, MEMBER, as_colleague, as_user

from storage_plugins import ConfigError
from storage_plugins._config.config import Config
from storage_plugins._copies.cache import Cache
from storage_plugins._copies.receipts import Receipts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, to be several users"),
]
MODES = [0o2775, 0o777, 0o1777]


@pytest.fixture(params=[0, MEMBER], ids=["root", "an ordinary user"])
def victim(request) -> int:
    """The user who is attacked by the colleague."""
    return request.param


def never_wrong(cache: Cache) -> None:
    found = cache.find("x.bin", sha256=PIN)
    assert found is None or found.path.read_bytes() == RIGHT


@pytest.mark.parametrize("permissions", MODES)
def test_a_note_that_lies_gives_no_other_bytes(open_folder, victim, permissions):
    """The colleague writes other bytes, and notes that say that they were verified, wherever that is possible."""
    folder = shared_folder(open_folder, permissions)
    as_user(victim, lambda: store(Cache([folder])))

    def attack() -> None:
        for path in [each for each in folder.rglob("*") if each.is_file() and each.suffix != ".json"]:
            with contextlib.suppress(OSError):
                path.unlink()
                path.write_bytes(WRONG)
        places = [folder, folder / f"shared-{victim}", folder / f"private-{victim}"]
        for place in places:
            with contextlib.suppress(OSError):
                planted = place / PIN[:2] / PIN / "x.bin"
                planted.parent.mkdir(parents=True, exist_ok=True)
                planted.write_bytes(WRONG)
                status = planted.stat()
                state = [status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, status.st_ctime_ns]
                entry = {"path": str(planted), "state": state, "sha1": digests(RIGHT).sha1, "sha256": PIN}
                for home in places:
                    with contextlib.suppress(OSError):
                        (home / "verified").mkdir(exist_ok=True)
                        (home / "verified" / Cache([folder])._note(planted).name).write_text(json.dumps(entry))

    as_colleague(attack)
    as_user(victim, lambda: never_wrong(Cache([folder])))
    as_user(victim, lambda: store(Cache([folder])))
    as_user(victim, lambda: never_wrong(Cache([folder])))


@pytest.mark.parametrize("permissions", MODES)
def test_a_link_put_in_the_place_of_a_download_changes_no_mode(open_folder, victim, permissions):
    folder, key = shared_folder(open_folder, permissions), open_folder / "key"
    key.write_bytes(b"PRIVATE")
    key.chmod(0o600)
    os.chown(key, victim, -1)

    def attack() -> None:
        for path in list(folder.rglob(".tmp-*")):
            with contextlib.suppress(OSError):
                path.unlink()
                path.symlink_to(key)

    def download(meanwhile: Callable[[], None]) -> None:
        cache = Cache([folder])
        with cache.incoming() as (file, path):
            file.write(RIGHT)
            meanwhile()
            with contextlib.suppress(OSError):
                cache.adopt(file, path, digests(RIGHT), "x.bin", private=False)

    meanwhile(victim, download, attack)
    assert (mode(key), key.read_bytes()) == (0o600, b"PRIVATE")
    as_user(victim, lambda: never_wrong(Cache([folder])))


def meanwhile(user: int, work: Callable[[Callable[[], None]], None], attack: Callable[[], None]) -> None:
    """Run ``work`` as a user, and when it asks for it, ``attack`` as the colleague."""
    (asked, ask), (answered, answer) = os.pipe(), os.pipe()

    def pause() -> None:
        os.write(ask, b".")
        os.read(answered, 1)

    def serve() -> None:
        os.read(asked, 1)
        try:
            as_colleague(attack)
        finally:
            os.write(answer, b".")

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        as_user(user, lambda: work(pause))
        server.join(20)
        assert not server.is_alive()
    finally:
        for descriptor in (asked, ask, answered, answer):
            os.close(descriptor)


@pytest.mark.parametrize("permissions", [0o777, 0o1777])
@pytest.mark.parametrize("how", ["file", "link", "hard link"])
def test_a_storage_yaml_put_into_a_folder_above_is_not_used(open_folder, victim, permissions, how):
    folder = shared_folder(open_folder, permissions)
    here = folder / "of-the-victim"
    here.mkdir()
    os.chown(here, victim, -1)
    own = open_folder / "own.yaml"
    own.write_text("stores: {theirs: {backend: local, root: ./data}}")

    def attack() -> None:
        planted = folder / "storage.yaml"
        if how == "file":
            planted.write_text("stores: {theirs: {backend: local, root: ./data}}")
        elif how == "link":
            planted.symlink_to(own)
        else:
            with contextlib.suppress(OSError):  # the kernel may protect other users' files from it
                planted.hardlink_to(own)

    as_colleague(attack)
    if not (folder / "storage.yaml").exists():
        return

    def refused() -> None:
        os.chdir(here)
        with pytest.raises(ConfigError, match=r"storage\.yaml"):
            Config.open(None)

    as_user(victim, refused)


def test_a_layer_rewritten_under_its_old_date_gives_no_other_bytes(open_folder, victim):
    open_folder.chmod(0o777)
    folder = open_folder / "layer"
    path = folder / PIN[:2] / PIN / "x.bin"

    def publish() -> None:
        path.parent.mkdir(parents=True)
        path.write_bytes(RIGHT)

    as_colleague(publish)

    def found(expected: bool) -> None:
        assert (Cache([open_folder / f"own-{victim}", folder]).find("x.bin", sha256=PIN) is not None) == expected

    as_user(victim, lambda: found(True))
    as_user(victim, lambda: found(True))
    as_colleague(lambda: change_unseen(path, WRONG))
    as_user(victim, lambda: found(False))


def test_a_file_of_a_shared_local_store_rewritten_under_its_old_date_is_hashed_again(open_folder, victim):
    folder = shared_folder(open_folder, 0o2775)
    path = folder / "data.nc"
    path.write_bytes(RIGHT)
    os.chown(path, COLLEAGUE, -1)

    def hashed(expected: bytes) -> None:
        cache = Cache([open_folder / f"own-{victim}"])
        assert cache.verify(path).digests == digests(expected)

    open_folder.chmod(0o777)
    as_user(victim, lambda: hashed(RIGHT))
    as_colleague(lambda: change_unseen(path, WRONG))
    as_user(victim, lambda: hashed(WRONG))


@pytest.mark.parametrize("target", ["/dev/zero", "/proc/self/environ", "pipe"])
def test_a_receipt_that_is_a_link_or_without_end_is_passed_over(open_folder, victim, target):
    folder = shared_folder(open_folder, 0o2775)
    (folder / "assy_X.nc").mkdir()
    (folder / "assy_X.nc").chmod(0o777)

    def attack() -> None:
        for name in (f"{'0' * 16}.yaml", f"{'0' * 16}@{'1' * 16}.yaml", f"{'0' * 16}@{'1' * 16}.pin.yaml"):
            path = folder / "assy_X.nc" / name
            os.mkfifo(path) if target == "pipe" else path.symlink_to(target)

    as_colleague(attack)

    def read() -> None:
        receipts = Receipts(folder)
        assert receipts.known("assy_X.nc") == []
        assert receipts.latest("assy_X.nc", "X") == []

    as_user(victim, read)


def test_a_receipt_is_not_written_through_a_link(open_folder, victim):
    folder, precious = shared_folder(open_folder, 0o777), open_folder / "precious"
    precious.mkdir()
    os.chown(precious, victim, -1)
    one = receipt(1)
    as_colleague(lambda: (folder / one.key).symlink_to(precious))
    as_user(victim, lambda: Receipts(folder).write(one))
    assert list(precious.iterdir()) == []


@pytest.mark.parametrize("uploader", [0, COLLEAGUE], ids=["root", "an ordinary user"])
def test_a_file_copied_over_what_people_see_is_never_taken_for_the_version(open_folder, uploader):
    """As root, `cp` overwrites a read-only file, and with it what it is a hard link of."""
    from storage_plugins import Source
    from storage_plugins_local.files import LocalFiles

    open_folder.chmod(0o777)
    upload, new = open_folder / "upload", open_folder / "new"
    upload.write_bytes(RIGHT)
    new.write_bytes(WRONG)
    files = LocalFiles(open_folder / "store")
    source = Source.of(upload)
    metadata = {"sha1": source.sha1, "sha256": source.sha256}
    as_user(uploader, lambda: files.put("x.bin", source, metadata=metadata, if_absent=False))
    shown = open_folder / "store" / "x.bin"
    for user in (COLLEAGUE, MEMBER, *([0] if uploader == 0 else [])):
        as_user(user, lambda: copied(new, shown))
        with files.read("x.bin") as content:
            assert b"".join(content.blocks) == RIGHT, user
    assert stat.S_IMODE(shown.stat().st_mode) & 0o022 == 0


def copied(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.copyfile(source, target)
