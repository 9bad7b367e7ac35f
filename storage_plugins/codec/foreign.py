"""netCDF files that this package did not write, or that others have rewritten: read as xarray opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from ..errors import EncodingError
from .layout import VARIABLE
from .lazy import dask_array
from .library import alone, library
from .reading import refuse_implausible

_UNNAMED = "__xarray_dataarray_variable__"  # what xarray, and so older BrainIO, calls an array without a name


def read(path: Path, group: str | None, chunks: Any) -> xr.DataArray:
    """Read the assembly in a file. Raises EncodingError, and whatever the netCDF library says of the file."""
    with alone():
        dataset = _open(path, group)
        try:
            assembly = _assembly_of(dataset, path)
            stored = assembly.encoding.get("chunksizes") or assembly.shape
            if chunks is None:
                assembly.load()
            else:
                for coord in assembly.coords.values():
                    coord.load()
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
    """Raise unless the file holds an assembly, without reading its data."""
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

    def __getitem__(self, key: Any) -> Any:
        try:
            with alone():
                dataset = _open(self.path, self.group)
                try:
                    return dataset[self.name].variable[key].values
                finally:
                    dataset.close()
        except (RuntimeError, ValueError) as error:  # so the library says of damage
            raise EncodingError(f"{self.path.name} cannot be read: {error}", hint="It may be damaged.") from error


def _open(path: Path, group: str | None) -> xr.Dataset:
    import netCDF4

    size = path.stat().st_size
    with library(), netCDF4.Dataset(path) as file:
        for variable in (file if group is None else file.groups[group]).variables.values():
            refuse_implausible(path.name, variable.shape, variable.dtype, size)
    return xr.open_dataset(path, group=group, engine="netcdf4")


def _assembly_of(dataset: xr.Dataset, path: Path) -> xr.DataArray:
    names = list(dataset.data_vars)
    for name in (VARIABLE, _UNNAMED, *names[: len(names) == 1]):
        if name in dataset.data_vars:
            return dataset[name]
    raise EncodingError(f"{path.name} holds {len(names)} variables, and none called {VARIABLE!r}: it is no assembly")
