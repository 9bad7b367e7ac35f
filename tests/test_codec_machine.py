"""The codec on computers that fail it: full disks, quotas, no locks, no descriptors, forks."""

import errno
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from storage_plugins import codec

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs LD_PRELOAD, /proc and fork")

# The n-th and each later write to a file under a folder fails; file locks do.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#define NEXT(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))
static long writes;
static int fails(int fd, const char *at) {
  const char *under = getenv("FAIL_UNDER");
  char link[64], path[4096];
  ssize_t n;
  if (!under || !getenv(at)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if ((n = readlink(link, path, sizeof path - 1)) < 0) return 0;
  path[n] = 0;
  if (strncmp(path, under, strlen(under))) return 0;
  if (__sync_add_and_fetch(&writes, 1) < atol(getenv(at))) return 0;
  errno = atoi(getenv("FAIL_ERRNO"));
  return 1;
}
#define WRITE "FAIL_WRITE"
#define READ "FAIL_READ"
ssize_t write(int fd, const void *data, size_t n) {
  return fails(fd, WRITE) ? -1 : NEXT(ssize_t, write, int, const void *, size_t)(fd, data, n);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
  return fails(fd, WRITE) ? -1 : NEXT(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, data, n, at);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
  return fails(fd, WRITE) ? -1 : NEXT(ssize_t, pwrite64, int, const void *, size_t, off64_t)(fd, data, n, at);
}
int ftruncate(int fd, off_t n) { return fails(fd, WRITE) ? -1 : NEXT(int, ftruncate, int, off_t)(fd, n); }
int ftruncate64(int fd, off64_t n) { return fails(fd, WRITE) ? -1 : NEXT(int, ftruncate64, int, off64_t)(fd, n); }
ssize_t read(int fd, void *data, size_t n) {
  return fails(fd, READ) ? -1 : NEXT(ssize_t, read, int, void *, size_t)(fd, data, n);
}
ssize_t pread(int fd, void *data, size_t n, off_t at) {
  return fails(fd, READ) ? -1 : NEXT(ssize_t, pread, int, void *, size_t, off_t)(fd, data, n, at);
}
ssize_t pread64(int fd, void *data, size_t n, off64_t at) {
  return fails(fd, READ) ? -1 : NEXT(ssize_t, pread64, int, void *, size_t, off64_t)(fd, data, n, at);
}
int flock(int fd, int what) {
  if (getenv("NO_LOCKS")) { errno = ENOLCK; return -1; }
  return NEXT(int, flock, int, int)(fd, what);
}
"""
PRELUDE = """
import os, sys
from pathlib import Path
import numpy as np, xarray as xr
from storage_plugins import StorageError, codec
folder = Path(sys.argv[1])
made = xr.DataArray(np.random.default_rng(0).normal(size=(2000, 100)), dims=("p", "n"),
                    coords={"w": ("p", [f"w{i}" for i in range(2000)]), "t": ("n", ["x" * 9999, *["y"] * 99])})
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
    return folder / "shim.so"


def run(code: str, folder: Path, **environment: object) -> str:
    """Run code in a process of its own, which must end by itself; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, str(folder)],
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


ENCODE = """
for _ in range(2):  # the process goes on after the first failure
    try:
        codec.encode(made, folder / "x.nc", identifier="X", extras={"more": made[:3]})
        print("stored")
    except StorageError as error:
        print(type(error).__name__)
print(*os.listdir(folder))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "name"),
    [(errno.ENOSPC, "QuotaExceeded"), (errno.EDQUOT, "QuotaExceeded"), (errno.EIO, "StorageError")],
)
@pytest.mark.parametrize("at", [1, 4, 12])
def test_a_disk_that_fails_at_any_write_gives_a_typed_error_and_leaves_nothing(tmp_path, shim, at, number, name):
    disk = tmp_path / "disk"
    disk.mkdir()
    printed = run(ENCODE, disk, LD_PRELOAD=shim, FAIL_WRITE=at, FAIL_ERRNO=number, FAIL_UNDER=disk)
    assert printed.split() == [name, name]


DECODE = """
import dask.array
for name in ("ours.nc", "theirs.nc", "older.nc"):
    for read in (codec.decode, codec.check, lambda path: codec.decode(path, chunks={}).compute(), codec.decode_extras):
        try:
            read(folder / name)
        except StorageError as error:
            print(type(error).__name__, "Input/output error" in str(error))
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 5, 20])
def test_a_disk_that_fails_at_any_read_gives_an_error_that_says_so(tmp_path, shim, at):
    plain = xr.DataArray(np.ones((300, 200)), dims=("p", "n"), coords={"w": ("p", [f"w{i}" for i in range(300)])})
    codec.encode(plain, tmp_path / "ours.nc", identifier="X")
    plain.to_dataset(name="data").to_netcdf(tmp_path / "theirs.nc", engine="netcdf4")
    plain.to_dataset(name="data").to_netcdf(tmp_path / "older.nc", engine="netcdf4", format="NETCDF3_CLASSIC")
    printed = run(DECODE, tmp_path, LD_PRELOAD=shim, FAIL_READ=at, FAIL_ERRNO=errno.EIO, FAIL_UNDER=tmp_path)
    assert len(printed.splitlines()) >= 8
    assert set(printed.splitlines()) == {"StorageError True"}


WITHOUT_LOCKS = """
codec.encode(made, folder / "ours.nc", identifier="X", extras={"more": made[:3]})
for name in ("ours.nc", "theirs.nc"):
    codec.check(folder / name)
    whole = codec.decode(folder / name)
    assert codec.decode(folder / name, chunks={}).compute().identical(whole)
    codec.decode_extras(folder / name)
print("all", os.environ.get("HDF5_USE_FILE_LOCKING"))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    version("netCDF4") < "1.7.5", reason="its HDF5 wants HDF5_USE_FILE_LOCKING set before Python starts"
)
def test_no_file_locks_are_needed_and_the_environment_stays_as_it_is(tmp_path, shim):
    xr.DataArray(np.ones(3), dims="p").to_dataset(name="data").to_netcdf(tmp_path / "theirs.nc", engine="netcdf4")
    assert run(WITHOUT_LOCKS, tmp_path, LD_PRELOAD=shim, NO_LOCKS=1).split() == ["all", "None"]


def test_where_hdf5_insists_on_locks_the_error_names_them_and_the_way_out(tmp_path, shim):
    xr.DataArray(np.ones(3), dims="p").to_dataset(name="data").to_netcdf(tmp_path / "theirs.nc", engine="netcdf4")
    code = """
for work in (lambda: codec.decode(folder / "theirs.nc"), lambda: codec.encode(made, folder / "x.nc", identifier="X")):
    try:
        work()
    except StorageError as error:
        print("lock" in str(error), "HDF5_USE_FILE_LOCKING=FALSE" in str(error), type(error).__name__)
"""
    printed = run(code, tmp_path, LD_PRELOAD=shim, NO_LOCKS=1, HDF5_USE_FILE_LOCKING="TRUE")
    assert printed.splitlines() == ["True True StorageError"] * 2


DESCRIPTORS = """
import dask.array, resource
for name in ("ours.nc", "theirs.nc"):
    codec.decode(folder / name)
codec.encode(made, folder / "x.nc", identifier="X")
for limit in range(4, 10):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    for work in (lambda: codec.decode(folder / "ours.nc"), lambda: codec.check(folder / "theirs.nc"),
                 lambda: codec.encode(made, folder / "x.nc", identifier="X")):
        try:
            work()
        except StorageError as error:
            print(limit, "Too many open files" in str(error))
"""


@pytest.mark.slow
def test_without_free_descriptors_the_error_says_so(tmp_path):
    codec.encode(xr.DataArray(np.ones(3), dims="p"), tmp_path / "ours.nc", identifier="X")
    xr.DataArray(np.ones(3), dims="p").to_dataset(name="data").to_netcdf(tmp_path / "theirs.nc", engine="netcdf4")
    printed = run(DESCRIPTORS, tmp_path).splitlines()
    assert printed
    assert all(line.endswith("True") for line in printed), printed


FORKS = """
import select, signal, threading
made.to_dataset(name="data").to_netcdf(folder / "theirs.nc", engine="netcdf4")
codec.encode(made, folder / "ours.nc", identifier="X")
stop = threading.Event()
def work(name):
    while not stop.is_set():
        codec.decode(folder / name)
for name in ("ours.nc", "theirs.nc", "theirs.nc"):
    threading.Thread(target=work, args=(name,), daemon=True).start()
import warnings
warnings.simplefilter("ignore")
for number in range(25):
    ear, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        right = codec.decode(folder / ("ours.nc", "theirs.nc")[number % 2]).shape == made.shape
        os.write(mouth, b"y" if right else b"n")
        os._exit(0)
    os.close(mouth)
    if not select.select([ear], [], [], 20)[0]:
        os.kill(child, signal.SIGKILL)
    print(os.read(ear, 1).decode(), end="")
    os.close(ear)
    os.waitpid(child, 0)
stop.set()
"""


@pytest.mark.slow
def test_a_process_forks_while_its_threads_read(tmp_path):
    assert run(FORKS, tmp_path) == "y" * 25


WHILE_IN_H5PY = """
import threading, time
import h5py
codec.encode(made, folder / "ours.nc", identifier="X")
inside = threading.Event()
def work():
    with h5py._objects.phil:
        inside.set()
        time.sleep(0.5)
threading.Thread(target=work).start()
inside.wait()
child = os.fork()
if child == 0:
    print(codec.decode(folder / "ours.nc").shape == made.shape, flush=True)
    os._exit(0)
for _ in range(200):
    time.sleep(0.1)
    if os.waitpid(child, os.WNOHANG)[0]:
        break
else:
    os.kill(child, 9)
"""


def test_a_process_forks_while_a_thread_of_it_is_in_h5py(tmp_path):
    assert run(WHILE_IN_H5PY, tmp_path) == "True\n"


AT_THE_END = """
import threading, time
made.to_dataset(name="data").to_netcdf(folder / "theirs.nc", engine="netcdf4")
def work():
    while True:
        codec.decode(folder / "theirs.nc")
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.5)
"""


@pytest.mark.slow
def test_a_process_ends_while_its_daemon_threads_read(tmp_path):
    for _ in range(5):
        assert run(AT_THE_END, tmp_path) == ""


AFTER_THE_MAIN_THREAD = """
import threading
large = xr.DataArray(np.arange(600_000.0), dims="neuroid")
codec.encode(large, folder / "ours.nc", identifier="X")
def work():
    threading.main_thread().join()
    print(codec.decode(folder / "ours.nc").identical(large))
threading.Thread(target=work).start()
"""


def test_a_thread_reads_after_the_main_thread_has_ended(tmp_path):
    assert run(AFTER_THE_MAIN_THREAD, tmp_path) == "True\n"
