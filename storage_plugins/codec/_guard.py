"""A look at a file before the netCDF library opens it: nothing outside the file is read, and memory stays bounded.

netCDF and HDF5 trust what they open. They follow links and external storage to other files, run filters from plugins,
take gigabytes because a header says so, never return from damaged lists, and end the process on groups in a circle.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from . import _guard_hdf5, _guard_netcdf3
from ._bounds import Bounds, deflated_at_most
from ._library import h5py, library, netcdf

__all__ = ["NotNetCDF", "look_through"]


class NotNetCDF(Exception):
    """The file is of another kind."""


def look_through(path: Path) -> None:
    """Raise unless the netCDF library can safely open the file.

    It takes 1 to 4 ms for files of this package. Without h5py only the sizes of the variables are checked.

    Raises:
        Refused: the file reads others, needs a plugin, or declares more than it can hold.
        Unsound: it contradicts itself.
        NotNetCDF: it is of another kind.
        OSError, RuntimeError, ValueError, KeyError: h5py's errors for other damage.
    """
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():  # to open a pipe would wait for ever
        raise NotNetCDF("it is not a regular file")
    with path.open("rb") as file:
        bounds = Bounds(os.fstat(file.fileno()).st_size)
        start = file.read(16)
        if start[:3] == b"CDF":
            _guard_netcdf3.look_through(file, bounds)
        elif start[:8] != _guard_hdf5.SIGNATURE:
            raise NotNetCDF("it begins as neither netCDF-3 nor HDF5")
        elif h5py is not None:
            _guard_hdf5.look_through(path, file.fileno(), start, bounds)
        else:
            _declared(path, bounds)


def _declared(path: Path, bounds: Bounds) -> None:
    """Check the sizes of all variables against that of the whole file."""
    held = deflated_at_most(bounds.size)
    with library(), netcdf(path) as file:
        groups = [file]
        while groups:
            group: Any = groups.pop()
            groups += group.groups.values()
            for name, variable in group.variables.items():
                itemsize = 16 if variable.dtype is str else np.dtype(variable.dtype).itemsize
                nbytes = math.prod(variable.shape) * itemsize
                bounds.declare(f"variable {name!r}", nbytes, min(nbytes, held), itemsize)
                held -= min(nbytes, held)
