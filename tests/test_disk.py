"""Full disks and folders that may not be written: a typed error, and nothing left behind."""

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import make_assembly
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins import AccessDenied, QuotaExceeded
from storage_plugins._copies.cache import Cache

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")


@contextlib.contextmanager
def mounted(folder: Path, options: str):
    """Mount a tmpfs, or skip where that is not allowed."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"may not mount a tmpfs: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        # lazily: HDF5 never closes a file that it could not write
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def local_store(root: Path) -> storage_plugins.Store:
    return storage_plugins.open_store(config={"stores": {"a": {"backend": "local", "root": str(root)}}})


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_full_disk_under_a_local_store(tmp_path):
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(2 << 20))
    with mounted(tmp_path / "disk", "size=1m") as disk:
        store = local_store(disk)
        store.upload(make_assembly(), "X")
        before = files_in(disk)
        with pytest.raises(QuotaExceeded, match=r"large.bin(.|\n)*[Ss]pace"):
            store.upload_file(large)
        assert files_in(disk) == before
        assert store.file_names() == []
        assert store.load("X").identical(make_assembly())


def test_a_full_disk_under_the_cache(tmp_path, memory_store):
    files = MemoryFiles()
    (tmp_path / "large.bin").write_bytes(os.urandom(2 << 20))
    receipt = memory_store(files).upload_file(tmp_path / "large.bin")
    with mounted(tmp_path / "disk", "size=1m") as disk:
        store = memory_store(files)
        store.cache = Cache([disk])
        with pytest.raises(QuotaExceeded):
            store.fetch(receipt)
        with pytest.raises(QuotaExceeded, match=r"[Ss]pace"):
            store.upload(xr.DataArray(np.random.default_rng(0).normal(size=500_000), dims="time"), "X")
        assert files_in(disk) == []


def test_a_folder_that_may_not_be_written(tmp_path):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        receipt = local_store(disk).upload(make_assembly(), "X")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        store = local_store(disk)
        with pytest.raises(AccessDenied, match="Read-only"):
            store.upload(make_assembly(1), "X")
        assert store.load(receipt).identical(make_assembly())


def test_a_cache_that_may_not_be_written_is_reported(tmp_path, memory_store):
    files = MemoryFiles()
    receipt = memory_store(files).upload(make_assembly(), "X")
    with mounted(tmp_path / "disk", "size=1m,ro") as disk:
        store = memory_store(files)
        store.cache = Cache([disk])
        with pytest.raises(AccessDenied, match="cache"):
            store.load(receipt)


def test_local_data_load_even_where_nothing_can_be_noted_in_a_cache(tmp_path):
    store = local_store(tmp_path / "root")
    receipt = store.upload(make_assembly(), "X")
    with mounted(tmp_path / "disk", "size=1m,ro") as disk:
        store.cache = Cache([disk])
        assert store.load(receipt).identical(make_assembly())


def test_a_receipt_on_a_full_disk_is_a_warning_and_leaves_nothing(tmp_path, caplog):
    with mounted(tmp_path / "disk", "size=8k") as disk:
        (disk / "filler").write_bytes(bytes(4096))
        config = {
            "receipts": str(disk / "receipts"),
            "stores": {"a": {"backend": "local", "root": str(tmp_path / "root")}},
        }
        store = storage_plugins.open_store(config=config)
        with contextlib.suppress(OSError), (disk / "rest").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        receipt = store.upload(make_assembly(), "X")
        assert "could not be written" in caplog.text
        assert receipt.uri in caplog.text
        assert {path.name for path in files_in(disk)} == {"filler", "rest"}
        assert store.load(receipt).identical(make_assembly())


@pytest.mark.parametrize("free", range(0, 8))
def test_too_many_open_files_is_one_of_our_errors(tmp_path, free):
    """With so many files left to open, an upload works or fails with one of our errors, and is never half done."""
    root = tmp_path / "root"
    store = local_store(root)
    store.cache = Cache([tmp_path / "cache"])
    (tmp_path / "x.bin").write_bytes(b"the file")
    store.upload_file(tmp_path / "x.bin", "first.bin")
    child = os.fork()
    if child == 0:
        code = 2
        try:
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, lowest + free))
            store.fetch(store.upload_file(tmp_path / "x.bin", "second.bin"))
            code = 0
        except storage_plugins.StorageError:
            code = 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (0, 1)
    assert [version.size for version in store.files.versions("first.bin")] == [8]
    assert {version.size for version in store.files.versions("second.bin")} <= {8}
    assert store.fetch(store.upload_file(tmp_path / "x.bin", "second.bin")).read_bytes() == b"the file"
