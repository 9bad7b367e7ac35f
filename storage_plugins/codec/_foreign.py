"""netCDF files that this package did not write, or that other programs have rewritten: read as xarray opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from ..errors import EncodingError
from ._layout import VARIABLE
from ._lazy import dask_array
from ._library import alone
from ._readable import identity, readable

_UNNAMED = "__xarray_dataarray_variable__"  # what xarray, and so older BrainIO, calls an array without a name


def read(path: Path, group: str | None, chunks: Any) -> xr.DataArray:
    """Read the assembly in a file. Raises EncodingError, and the errors of xarray and the netCDF library."""
    with alone():
        dataset = _open(path, group)
        try:
            assembly = _assembly_of(dataset, path)
            stored = assembly.encoding.get("chunksizes") or assembly.shape
            if chunks is None:
                _loaded(assembly.variable, path)
            for coord in assembly.coords.values():
                _loaded(coord.variable, path)
        finally:
            dataset.close()
    if chunks is not None:
        dims = tuple(map(str, assembly.dims))
        blocks = _Blocks(path, group, assembly.name, assembly.shape, assembly.dtype)
        assembly = assembly.copy(deep=False, data=dask_array(blocks, chunks, dims, stored))
    if assembly.name == _UNNAMED:
        assembly.name = None
    return assembly


def check(path: Path, group: str | None = None) -> None:
    """Raise unless the file contains an assembly, without reading its data."""
    with alone():
        dataset = _open(path, group)
        try:
            _assembly_of(dataset, path)
        finally:
            dataset.close()


class _Blocks:
    """An assembly's data in its file, read block by block.

    The file is opened and closed for each block, under the lock. xarray keeps files open and closes them
    whenever an array is collected, without a lock: HDF5 crashes if another thread is in it at that moment.
    """

    def __init__(self, path: Path, group: str | None, name: Any, shape: tuple[int, ...], dtype: Any) -> None:
        self.path, self.group, self.name, self.shape, self.dtype = path, group, name, shape, dtype
        self.ndim = len(shape)
        self.known = identity(path)  # it was looked through when it was opened

    def __getitem__(self, key: Any) -> Any:
        with readable(self.path, self.known), alone():
            dataset = _open(self.path, self.group)
            try:
                return _loaded(dataset[self.name].variable[key], self.path).values
            finally:
                dataset.close()


def _open(path: Path, group: str | None) -> xr.Dataset:
    return xr.open_dataset(path, group=group, engine="netcdf4")


def _loaded(variable: xr.Variable, path: Path) -> xr.Variable:
    """Return a variable with its values in memory.

    Raises:
        EncodingError: they have another shape than xarray expects, as sequences of any length may have.
    """
    shape = variable.shape
    if variable.load().shape != shape:
        raise EncodingError(f"{path.name} has values of shape {variable.shape} in a variable of shape {shape}")
    return variable


def _assembly_of(dataset: xr.Dataset, path: Path) -> xr.DataArray:
    names = list(dataset.data_vars)
    for name in (VARIABLE, _UNNAMED, *names[: len(names) == 1]):
        if name in dataset.data_vars:
            return dataset[name]
    raise EncodingError(f"{path.name} has {len(names)} variables, and none of them is named {VARIABLE!r}")
