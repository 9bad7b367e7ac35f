"""The netCDF and HDF5 libraries, one thread at a time."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

try:
    import h5py
except ImportError:  # no wheel for this machine: chunks go through netCDF4, one after the other
    h5py = None

__all__ = ["alone", "close", "h5py", "library", "plain", "pread"]

_ours = threading.RLock()  # netCDF4 and HDF5 crash when several threads are inside them


@contextlib.contextmanager
def library() -> Iterator[None]:
    """Be alone in netCDF4 and HDF5: among this package's threads, and with what xarray does in others."""
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    with _ours, NETCDF4_PYTHON_LOCK:
        yield


def alone() -> threading.RLock:
    """Return the lock to hold around what xarray does with a file: it takes its own for each of its calls."""
    return _ours


def close(file: Any) -> None:
    """Close a file of either library."""
    with library():
        file.close()


def plain(variable: Any) -> Any:
    """Let netCDF4 give and take a variable's elements as they are."""
    variable.set_auto_maskandscale(False)
    variable.set_auto_chartostring(False)
    return variable


def pread(file: int, size: int, offset: int) -> bytes:
    """Read bytes at a place of an open file, without a position that threads would share."""
    if hasattr(os, "pread"):
        return os.pread(file, size, offset)
    with os.fdopen(os.dup(file), "rb") as copy, _ours:  # Windows
        copy.seek(offset)
        return copy.read(size)
