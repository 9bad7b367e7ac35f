"""The netCDF and HDF5 libraries: one thread at a time, without file locks, and safe to fork."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

try:
    import h5py
except ImportError:  # no wheel for this machine: chunks go through netCDF4, one after the other
    h5py = None

_LOCKING = "HDF5_USE_FILE_LOCKING"
_unset = _LOCKING not in os.environ  # a setting of the user's own is left as it is
if _unset:
    os.environ[_LOCKING] = (
        "FALSE"  # some network file systems have no locks; netCDF4's HDF5 reads this once, when it starts
    )
try:
    import netCDF4
finally:
    if _unset:
        del os.environ[_LOCKING]

__all__ = ["alone", "close", "h5py", "hdf5", "library", "netcdf", "plain", "pread"]

_ours = threading.RLock()  # netCDF4 and HDF5 crash when several threads are inside them


@contextlib.contextmanager
def library() -> Iterator[None]:
    """Hold the locks of netCDF4 and HDF5: this package's own, and xarray's."""
    with _ours, NETCDF4_PYTHON_LOCK:
        yield


def alone() -> threading.RLock:
    """Return the lock to hold around what xarray does with a file: it takes its own for each of its calls."""
    return _ours


def _before_fork() -> None:
    """Wait until no thread is inside the libraries: a child would inherit locks that no thread of it releases."""
    _ours.acquire()
    NETCDF4_PYTHON_LOCK.acquire()
    if h5py is not None:  # its own lock, taken also where its objects are deleted; h5py 3.10 does not do this itself
        h5py._objects.phil.acquire()


def _after_fork() -> None:
    if h5py is not None:
        h5py._objects.phil.release()
    NETCDF4_PYTHON_LOCK.release()
    _ours.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)

# HDF5 closes itself when the process ends, and crashes if a daemon thread is inside it then
atexit.register(_ours.acquire, timeout=5)


def netcdf(path: Path, mode: Literal["r", "w", "a"] = "r") -> Any:
    """Open a file with netCDF4. Call it, and use what it returns, within `library`."""
    return netCDF4.Dataset(path, mode, format="NETCDF4")


def hdf5(path: Path, mode: Literal["r", "r+"] = "r") -> Any:
    """Open a file with h5py. Call it, and use what it returns, within `library`."""
    return h5py.File(path, mode, locking=False)


def close(file: Any) -> None:
    """Close a file of either library."""
    with library():
        file.close()


def plain(variable: Any) -> Any:
    """Make netCDF4 return and accept a variable's elements as they are in the file."""
    variable.set_auto_maskandscale(False)
    variable.set_auto_chartostring(False)
    return variable


def pread(file: int, size: int, offset: int) -> bytes:
    """Read bytes at an offset of an open file, without a position that threads would share."""
    if hasattr(os, "pread"):
        return os.pread(file, size, offset)
    with os.fdopen(os.dup(file), "rb") as copy, _ours:  # Windows
        copy.seek(offset)
        return copy.read(size)
