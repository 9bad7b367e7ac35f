"""The fsspec backend on a real OpenSSH server: the lab's own file server."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import make_assembly, write_yaml
from test_disk import mounted
from test_examples_and_docs import TABLE, needs_checkout, run_example

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AssemblyNotFound,
    ConfigError,
    IntegrityError,
    QuotaExceeded,
    StorageError,
    StoreUnavailable,
)
from storage_plugins._copies.cache import Cache

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path):
    """The folder on the server, which this machine sees too."""
    return tmp_path / "server" / "brain"


@pytest.fixture
def open_sftp(tmp_path, root, sftp):
    """Open the store at ``root``, each time as on a new machine."""
    count = 0

    def open_sftp(**settings):
        nonlocal count
        count += 1
        folder = tmp_path / f"machine-{count}"
        folder.mkdir()
        store = {"backend": "fsspec", "url": sftp.url(root), **settings}
        store = storage_plugins.open_store(config=write_yaml(folder, store))
        store.cache = Cache([folder / "cache"], own=folder / "cache")
        return store

    return open_sftp


@pytest.fixture
def store(open_sftp):
    return open_sftp()


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(np.random.default_rng(0).bytes(40_000_003))
    return path


def local_store(root: Path) -> storage_plugins.Store:
    return storage_plugins.open_store(config={"stores": {"a": {"backend": "local", "root": str(root)}}})


# the layout


def test_the_folder_is_one_of_the_local_backend_and_the_other_way_round(store, root):
    receipts = [store.upload(make_assembly(1), "a.b"), local_store(root).upload(make_assembly(2), "a.b")]
    receipts.append(store.upload(make_assembly(3), "a.b"))
    receipts.append(local_store(root).upload(make_assembly(4), "a.b"))
    folder = root / ".versions" / "assy_a_b.nc"
    assert sorted(path.name for path in folder.iterdir()) == ["000001", "000002", "000003", "000004"]
    assert sorted(path.name for path in (folder / "000001").iterdir()) == ["data.nc", "receipt.json"]
    for number, receipt in enumerate(receipts, 1):
        assert receipt.version_id == f"{number}-{receipt.sha256[:12]}"
        for reader in (store, local_store(root)):
            assert reader.load("a.b", version_id=receipt.version_id).identical(make_assembly(number))
    for reader in (store, local_store(root)):
        assert [version.version_id for version in reader.versions("a.b")] == [r.version_id for r in reversed(receipts)]
        assert reader.identifiers() == ["a.b"]
    assert sorted(path.name for path in root.iterdir()) == [".versions", "assy_a_b.nc"]
    assert sorted(path.name for path in (root / ".versions").iterdir()) == ["assy_a_b.nc"]


def test_a_file_put_there_by_hand_is_one_version_and_stays_one(open_sftp, root):
    root.mkdir(parents=True)
    make_assembly(7).reset_index(["presentation", "neuroid"]).to_netcdf(root / "assy_X.nc", engine="netcdf4")
    data = (root / "assy_X.nc").read_bytes()
    store = open_sftp()
    assert store.identifiers() == ["X"]
    assert store.load("X").shape == (6, 3)
    receipt = store.upload(make_assembly(8), "X")
    newest, adopted = store.versions("X")
    assert (newest.version_id, adopted.version_id[:2]) == (receipt.version_id, "1-")
    assert open_sftp().fetch("assy_X.nc", version_id=adopted.version_id).read_bytes() == data
    assert (root / "assy_X.nc").read_bytes() == data


def test_damage_and_lost_records_hide_no_other_version(open_sftp, root):
    store = open_sftp()
    receipts = [store.upload(make_assembly(seed), "X") for seed in (1, 2, 3)]
    folder = root / ".versions" / "assy_X.nc"
    (folder / "000003" / "data.nc").unlink()
    (folder / "000001" / "receipt.json").write_text('{"sha256": "xyz"}')
    data = (folder / "000002" / "data.nc").read_bytes()
    (folder / "000002" / "data.nc").write_bytes(data[:-1] + b"?")
    (folder / "000009").mkdir()
    (root / ".versions" / ".tmp-abc").mkdir()
    assert [version.version_id for version in store.versions("X")] == [r.version_id for r in (receipts[1], receipts[0])]
    xr.testing.assert_identical(open_sftp().load("X", sha1=receipts[0].sha1), make_assembly(1))
    with pytest.raises(IntegrityError, match=receipts[1].sha256):
        open_sftp().load("X", newest=True)
    assert store.identifiers() == ["X"]
    assert store.upload(make_assembly(4), "X").version_id.startswith("10-")


def test_what_a_crash_left_long_ago_is_swept_away(store, root):
    for name, age in (("old", 200_000), ("new", 0)):
        folder = root / ".versions" / f".tmp-{name}" / "000001"
        folder.mkdir(parents=True)
        (folder / "data.nc").write_bytes(b"half")
        moment = folder.stat().st_mtime - age
        os.utime(folder.parent, (moment, moment))
    store.upload(make_assembly(), "X")
    assert sorted(path.name for path in (root / ".versions").iterdir()) == [".tmp-new", "assy_X.nc"]


def test_a_large_file_comes_back_whole_and_in_any_part(open_sftp, large):
    receipt = open_sftp().upload_file(large)
    store = open_sftp()
    assert store.fetch(receipt).read_bytes() == large.read_bytes()
    data = large.read_bytes()
    for start, stop in ((0, 1), (5_000_000, 9_000_001), (39_999_999, None), (40_000_003, None), (7, 7), (1, 1 << 40)):
        with store.files.read("large.bin", receipt.version_id, start=start, stop=stop) as content:
            assert b"".join(content.blocks) == data[start:stop]
            assert content.version.size == len(data)


def test_a_read_that_is_given_up_disturbs_no_other(store, large):
    receipt = store.upload_file(large)
    for _ in range(3):
        with store.files.read("large.bin", receipt.version_id) as content:
            assert large.read_bytes().startswith(next(iter(content.blocks)))
    assert store.fetch(receipt).read_bytes() == large.read_bytes()


def test_one_connection_serves_one_user_after_another(store, sftp):
    before = sftp.log().count("Accepted publickey")
    receipt = store.upload(make_assembly(), "X")
    assert store.load(receipt).identical(make_assembly())
    assert len(store.versions("X")) == 1
    assert sftp.log().count("Accepted publickey") == before + 1


# who is let in, and whom to speak to


def test_a_server_that_is_not_known_is_not_spoken_to(open_sftp, sftp, home):
    known = home / ".ssh" / "known_hosts"
    known.unlink()
    before = sftp.log().count("Accepted")
    with pytest.raises(AccessDenied, match="not in known_hosts") as caught:
        open_sftp().upload(make_assembly(), "X")
    assert sftp.log().count("Accepted") == before
    fingerprint = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=sftp.known_hosts().split(" ", 1)[1], capture_output=True, text=True
    )
    assert fingerprint.stdout.split()[1] in str(caught.value)
    command = re.search(r"ssh-keyscan .*", str(caught.value))[0]
    subprocess.run(command, shell=True, check=True, capture_output=True)  # what it says to do is what helps
    open_sftp().upload(make_assembly(), "X")


def test_a_server_whose_key_changed_is_not_spoken_to(open_sftp, sftp, home):
    known = home / ".ssh" / "known_hosts"
    other = (home / ".ssh" / "id_ed25519").with_name("other")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    known.write_text(f"[127.0.0.1]:{sftp.port} {other.with_suffix('.pub').read_text()}")
    with pytest.raises(AccessDenied, match="is not the one that known_hosts has"):
        open_sftp().load("X")
    with pytest.raises(AccessDenied, match="is not the one that known_hosts has"):
        open_sftp(host_keys="any").load("X")


def test_any_server_is_spoken_to_if_the_settings_say_so(open_sftp, home):
    (home / ".ssh" / "known_hosts").unlink()
    receipt = open_sftp(host_keys="any").upload(make_assembly(), "X")
    assert open_sftp(host_keys="any").load(receipt).identical(make_assembly())
    assert not (home / ".ssh" / "known_hosts").exists()


def test_a_user_who_is_not_let_in_is_told_so(open_sftp, sftp, home, monkeypatch):
    monkeypatch.setenv("LAB_PASSWORD", "wr0ng-word")
    own = home / ".ssh" / "id_ed25519"
    own.unlink()
    wrong = (
        {"secrets": {"password": "${LAB_PASSWORD}"}},
        {"options": {"key_filename": str(sftp.stranger)}},
        {},
        {"options": {"key_filename": str(sftp.key), "username": "nobody-at-all"}},
    )
    for settings in wrong:
        with pytest.raises(AccessDenied, match="Check the user's name") as caught:
            open_sftp(**settings).load("X")
        assert "wr0ng-word" not in str(caught.value)
    with pytest.raises(ConfigError, match="no-such-key"):
        open_sftp(options={"key_filename": str(home / "no-such-key")}).load("X")
    with pytest.raises(AccessDenied, match=r"LAB_OTHER.* is not set"):
        open_sftp(secrets={"password": "${LAB_OTHER}"}).load("X")
    receipt = open_sftp(options={"key_filename": str(sftp.key)}).upload(make_assembly(), "X")
    url = receipt.address.replace("//", f"//{sftp.user}@")
    named = open_sftp(url=url, options={"key_filename": str(sftp.key)})
    assert named.load(receipt).identical(make_assembly())
    assert named.address == receipt.address


def test_a_folder_that_does_not_exist_is_told(store, root):
    with pytest.raises(AssemblyNotFound, match="that folder does not exist"):
        store.load("X")
    assert store.identifiers() == []
    assert not root.exists()


# trouble


def test_a_server_that_is_down_is_told(store, sftp):
    sftp.kill()
    with pytest.raises(StoreUnavailable, match=rf"127\.0\.0\.1:{sftp.port}"):
        store.load("X")


def test_a_server_that_was_restarted_is_found_again(store, sftp):
    receipt = store.upload(make_assembly(1), "X")
    sftp.kill()
    sftp.start()
    second = store.upload(make_assembly(2), "X")
    sftp.kill()
    sftp.start()
    assert store.files.read(receipt.key, receipt.version_id) or True
    assert [version.version_id for version in store.versions("X")] == [second.version_id, receipt.version_id]


def test_an_upload_into_which_the_server_dies_is_told_and_leaves_nothing(store, sftp, root, large):
    def kill(key, done, size):
        if done > 20_000_000:
            sftp.kill()

    store.progress = kill
    with pytest.raises(StoreUnavailable):
        store.upload_file(large)
    store.progress = None
    sftp.start()
    assert store.file_names() == []
    assert store.files.newest("large.bin") is None
    receipt = store.upload_file(large)
    assert receipt.version_id.startswith("1-")
    assert store.fetch(receipt).read_bytes() == large.read_bytes()


def test_a_download_into_which_the_server_dies_is_taken_up_again(open_sftp, sftp, large):
    receipt = open_sftp().upload_file(large)
    store, deaths = open_sftp(), []

    def restart(key, done, size):
        if len(deaths) < 3 and done > 10_000_000 * (1 + len(deaths)):
            deaths.append(done)
            sftp.kill()
            sftp.start()

    store.progress = restart
    assert store.fetch(receipt).read_bytes() == large.read_bytes()
    assert len(deaths) == 3


def test_a_download_from_a_server_that_stays_away_is_told(store, sftp, large):
    receipt = store.upload_file(large)
    with store.files.read("large.bin", receipt.version_id) as content:
        next(iter(content.blocks))
        sftp.kill()
        with pytest.raises(StoreUnavailable):
            list(content.blocks)


KILLED = """
import sys, storage_plugins
store = storage_plugins.open_store(config=sys.argv[1])
def tell(key, done, size):
    print(done, flush=True)
store.progress = tell
store.upload_file(sys.argv[2])
"""


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_writer_killed_in_the_middle_leaves_nothing_in_sight(open_sftp, root, large, tmp_path, earlier):
    store = open_sftp()
    if earlier:
        (tmp_path / "first").write_bytes(b"first")
        store.upload_file(tmp_path / "first", "large.bin")
    for moment in (1, 20_000_000, 39_000_000):
        config = store._entry.path
        writer = subprocess.Popen([sys.executable, "-c", KILLED, config, large], stdout=subprocess.PIPE, text=True)
        for line in writer.stdout:
            if int(line) >= moment:
                break
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert [path.name for path in (root / ".versions").iterdir() if path.name.startswith(".tmp-")]
        assert store.file_names() == ["large.bin"] * earlier
        assert len(list(store.files.versions("large.bin"))) == earlier
        assert len(list(local_store(root).files.versions("large.bin"))) == earlier
    assert store.upload_file(large).version_id.startswith(f"{earlier + 1}-")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")
def test_a_full_disk_on_the_server(store, root, large, tmp_path):
    root.mkdir(parents=True)
    with mounted(root, "size=8m"):
        store.upload(make_assembly(), "X")
        before = sorted(root.rglob("*"))
        for size in (40_000_003, 8 << 20):
            with large.open("r+b") as file:
                file.truncate(size)
            with pytest.raises(QuotaExceeded, match=r"disk is full(.|\n)*space"):
                store.upload_file(large)
        assert sorted(root.rglob("*")) == before
        assert store.load("X", newest=True).identical(make_assembly())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")
def test_a_folder_that_may_not_be_written(open_sftp, root):
    root.mkdir(parents=True)
    with mounted(root, "size=8m"):
        store = open_sftp()
        receipt = store.upload(make_assembly(), "X")
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        with pytest.raises(StorageError, match=r"Cannot keep assy_X\.nc"):
            store.upload(make_assembly(1), "X")
        assert open_sftp().load(receipt).identical(make_assembly())


@needs_checkout
def test_the_example_runs_on_a_file_server(open_sftp, tmp_path):
    (tmp_path / "table.tsv").write_text(TABLE)
    store = open_sftp()
    sha1 = run_example(tmp_path / "table.tsv", store._entry.path)
    assert list(open_sftp().load("Futrell2018.natural-stories", sha1=sha1)["word"].values) == ["If", "you", '"Quoted']
