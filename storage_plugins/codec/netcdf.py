"""The first file format: netCDF-4 written by xarray, with one variable ``data``, as BrainIO's loader opens it.

What netCDF itself has no place for (the assembly's name, which coordinates form an index, the types of
coordinates) stands in one global JSON attribute, ``storage_plugins``. Each file is read back before it
is handed on, and an assembly that would come back changed is refused.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import shutil
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..atomic import from_os_error
from ..errors import EncodingError, NotSupported, QuotaExceeded, StorageError
from ..identifiers import check_identifier

_log = logging.getLogger(__name__)
ATTRIBUTE = "storage_plugins"
VARIABLE = "data"
_NO_ROOM = 1 << 20  # bytes free on a disk that is full
_FORMAT = 0  # the format before the documented one
# netCDF4 and HDF5 crash when several threads are inside them; xarray takes a lock of its own for each call
_lock = threading.RLock()
_RESERVED = frozenset(
    ["_FillValue", "missing_value", "scale_factor", "add_offset", "units", "calendar", "coordinates", "dtype"]
)


def encode(
    assembly: xr.DataArray,
    path: Path,
    *,
    identifier: str,
    extras: Mapping[str, xr.DataArray],
    drop_attrs: Sequence[str],
) -> str | None:
    """Write ``assembly`` to a new file at ``path``, and ``extras`` as further groups of it.

    Args:
        assembly: any number of dimensions and coordinates.
        path: must not exist; what is there after an error is no assembly and is to be removed.
        identifier: kept as a global attribute.
        extras: further assemblies by name.
        drop_attrs: names of attributes of ``assembly`` to leave out.

    Returns:
        the content digest, None in this format.

    Raises:
        EncodingError: something would not come back as it is; names it.
    """
    if not isinstance(assembly, xr.DataArray):
        raise EncodingError(
            f"{identifier} is a {type(assembly).__name__}, not a DataArray",
            hint="Wrap it: xarray.DataArray(…).",
        )
    if isinstance(drop_attrs, str):
        raise TypeError("drop_attrs is a list of names")
    unknown = [name for name in drop_attrs if name not in assembly.attrs]
    if unknown:
        raise EncodingError(f"drop_attrs names {unknown[0]!r}, which is no attribute of {identifier}")
    for name, extra in extras.items():
        check_identifier(name)
        if not isinstance(extra, xr.DataArray):
            raise EncodingError(f"{identifier}: the extra {name!r} is a {type(extra).__name__}, not a DataArray")
    # computed before the lock is taken: what is computed may itself load from a store
    plain = _plain(assembly)
    plain.attrs = {name: value for name, value in plain.attrs.items() if name not in drop_attrs}
    plain_extras = {name: _plain(extra) for name, extra in extras.items()}
    with _lock:
        _write(plain, path, identifier, group=None)
        for name, extra in plain_extras.items():
            _write(extra, path, f"{identifier}, extra {name!r}", group=name)
    return None


def decode(path: Path, *, cls: type | None = None, chunks: Any = None) -> xr.DataArray:
    """Read the assembly in a netCDF file.

    Args:
        path: a file of this package, of BrainIO, or of xarray.
        cls: the class to return.
        chunks: as in ``xarray.open_dataset``; None: in memory.

    Raises:
        EncodingError: the file holds no assembly.
        NotSupported: chunks without dask.
    """
    if chunks is not None and importlib.util.find_spec("dask") is None:
        raise NotSupported("chunks= needs dask, which is not installed", hint="pip install 'storage-plugins[dask]'")
    assembly = _read(path, None, chunks)
    return assembly if cls is None else cls(assembly)


def decode_extras(path: Path) -> dict[str, xr.DataArray]:
    """Read the further assemblies in a netCDF file: its groups, by name."""
    import netCDF4
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    with _lock, _readable(path), NETCDF4_PYTHON_LOCK, netCDF4.Dataset(path) as file:
        groups = list(file.groups)
    return {group: _read(path, group, None) for group in groups}


def check(path: Path) -> None:
    """Raise EncodingError unless the file at ``path`` holds an assembly, without reading its data."""
    with _lock:
        _open(path, None).close()


def _plain(assembly: xr.DataArray) -> xr.DataArray:
    """Return a copy in memory, without subclass behaviour and other libraries' encoding hints."""
    plain = xr.DataArray(assembly.variable, coords=assembly.coords, name=assembly.name)
    plain.attrs = dict(assembly.attrs)
    plain.encoding = {}
    for name in plain.coords:
        plain.coords[name].encoding = {}
    return plain.compute()


def _write(assembly: xr.DataArray, path: Path, identifier: str, group: str | None) -> None:
    _refuse_attrs(assembly, identifier)
    flat, description = _flatten(assembly, identifier)
    listed = [name for name in description["order"] if name in flat.coords and name not in flat.dims]
    if listed and not any(" " in name for name in listed):
        flat.encoding["coordinates"] = " ".join(listed)  # older versions of xarray list them in no fixed order
    dataset = flat.to_dataset(name=VARIABLE)
    dataset.attrs = {ATTRIBUTE: json.dumps(description)}
    if group is None:
        dataset.attrs["identifier"] = identifier
    encoding = {VARIABLE: {"zlib": True, "complevel": 1, "shuffle": True}} if flat.dtype.kind in "iuf" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", xr.SerializationWarning)
            dataset.to_netcdf(
                path, mode="w" if group is None else "a", group=group, engine="netcdf4", encoding=encoding
            )
    except OSError:
        raise
    except Exception as error:
        if shutil.disk_usage(path.parent).free < _NO_ROOM:  # the library says "HDF error" to a full disk
            with contextlib.suppress(OSError):
                os.truncate(path, 0)  # HDF5 never closes a file it could not write; this gives its space back
            raise QuotaExceeded(
                f"No space left in {path.parent} to write {identifier}",
                hint="Free some space there, or name another cache folder in STORAGE_PLUGINS_CACHE.",
            ) from error
        raise EncodingError(f"{identifier} cannot be written as netCDF: {error}") from error
    _refuse_changes(assembly, _read(path, group, None), identifier)


def _refuse_attrs(assembly: xr.DataArray, identifier: str) -> None:
    owners = [
        ("", assembly.attrs),
        *((f" of coordinate {name!r}", c.attrs) for name, c in assembly.coords.items()),
    ]
    for owner, attrs in owners:
        for name, value in attrs.items():
            whole = isinstance(value, str | int | float | np.ndarray | np.number) and not isinstance(value, bool)
            if not isinstance(name, str) or name in _RESERVED or not whole:
                raise EncodingError(
                    f"{identifier}: attribute {name!r}{owner} ({type(value).__name__}) would not come back as it is",
                    hint=f"Leave it out with drop_attrs=[{name!r}]; a DataArray can go into extras=."
                    if not owner
                    else None,
                )


def _flatten(assembly: xr.DataArray, identifier: str) -> tuple[xr.DataArray, dict[str, Any]]:
    """Return the assembly without MultiIndexes, and what is needed to restore it."""
    names = [*assembly.dims, *assembly.coords]
    for name in names:
        if not isinstance(name, str) or name == VARIABLE or "/" in name:
            raise EncodingError(
                f"{identifier}: the name {name!r} cannot be kept", hint="Rename it: assembly.rename(…)."
            )
    if assembly.name is not None and not isinstance(assembly.name, str):
        raise EncodingError(f"{identifier}: its name {assembly.name!r} is no str")
    indexes: dict[str, list[str]] = {}
    for name, index in assembly.indexes.items():
        if isinstance(index, pd.MultiIndex) and name in assembly.dims:
            indexes[str(name)] = [str(level) for level in index.names]
    flat = assembly.reset_index(list(indexes)) if indexes else assembly
    flat = flat.drop_vars([name for name in indexes if name in flat.coords])
    for name, coord in flat.coords.items():
        if coord.dtype.kind not in "iufUSM" and not _only_text(coord):
            raise EncodingError(
                f"{identifier}: coordinate {name!r} ({coord.dtype}) would not come back as it is",
                hint="Give it one type without missing values: numbers or text.",
            )
    if flat.dtype.kind not in "iufM" or flat.dtype == np.float16:
        raise EncodingError(f"{identifier}: data of type {flat.dtype} cannot be kept")
    dtypes = {str(name): coord.dtype.str for name, coord in flat.coords.items() if coord.dtype.kind == "U"}
    # older versions of xarray do not list an index's levels among the coordinates
    order = list(dict.fromkeys(level for name in assembly.coords for level in indexes.get(str(name), [str(name)])))
    return flat, {
        "format": _FORMAT,
        "name": assembly.name,
        "indexes": indexes,
        "fixed_width": dtypes,
        "order": order,
    }


def _only_text(coord: xr.DataArray) -> bool:
    return coord.dtype.kind in "OT" and all(isinstance(value, str) for value in coord.values.ravel())


def _read(path: Path, group: str | None, chunks: Any) -> xr.DataArray:
    with _lock:
        dataset = _open(path, group)
        try:
            assembly = _assembly_of(dataset, path)
            if chunks is None:
                assembly.load()
            else:
                for coord in assembly.coords.values():
                    coord.load()
            source = _Blocks(path, group, assembly.name, assembly.shape, assembly.dtype)
            stored = assembly.encoding.get("chunksizes") or assembly.shape
            description = _description(dataset)
        except Exception as error:
            raise EncodingError(f"{path.name} cannot be read as an assembly: {error}") from error
        finally:
            dataset.close()
    if chunks is not None:
        assembly = assembly.copy(data=source.as_dask(chunks, assembly.dims, stored))
    try:
        return assembly if description is None else _restored(assembly, description)
    except Exception as error:
        raise EncodingError(f"{path.name} cannot be read as an assembly: {error}") from error


class _Blocks:
    """An assembly's data in its file, read block by block.

    The file is opened and closed for each block, under the lock. xarray keeps files open and closes them
    whenever an array is collected, without a lock: HDF5 crashes if another thread is in it at that moment.
    """

    def __init__(self, path: Path, group: str | None, name: Any, shape: tuple[int, ...], dtype: Any) -> None:
        self.path, self.group, self.name, self.shape, self.dtype = path, group, name, shape, dtype
        self.ndim = len(shape)

    def __getitem__(self, key: Any) -> Any:
        with _lock:
            dataset = _open(self.path, self.group)
            try:
                return dataset[self.name].variable[key].values
            finally:
                dataset.close()

    def as_dask(self, chunks: Any, dims: tuple[Any, ...], stored: tuple[int, ...]) -> Any:
        """Return a dask array. A mapping gives sizes by dimension; the file's own chunks for those not named."""
        import dask.array

        from_array: Any = dask.array.from_array  # untyped

        if isinstance(chunks, Mapping):
            chunks = tuple(chunks.get(dim, size or -1) for dim, size in zip(dims, stored, strict=True))
        return from_array(self, chunks=chunks, asarray=False, lock=False)


def _open(path: Path, group: str | None) -> xr.Dataset:
    with _readable(path):
        dataset = xr.open_dataset(path, group=group, engine="netcdf4")
    try:
        _assembly_of(dataset, path)
    except BaseException:
        dataset.close()
        raise
    return dataset


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what the netCDF library says of a file it cannot read into this package's errors."""
    try:
        yield
    except StorageError:
        raise
    except PermissionError as error:
        raise from_os_error(error, f"read {path.name}") from error
    except Exception as error:
        raise EncodingError(
            f"{path.name} is no netCDF file that can be read: {error}",
            hint="Only netCDF files hold assemblies; keep other files with upload_file and fetch.",
        ) from error


def _assembly_of(dataset: xr.Dataset, path: Path) -> xr.DataArray:
    names = list(dataset.data_vars)
    for name in (VARIABLE, "__xarray_dataarray_variable__", *names[: len(names) == 1]):
        if name in dataset.data_vars:
            return dataset[name]
    raise EncodingError(f"{path.name} holds {len(names)} variables, and none called {VARIABLE!r}: it is no assembly")


def _description(dataset: xr.Dataset) -> dict[str, Any] | None:
    text = dataset.attrs.get(ATTRIBUTE)
    if not isinstance(text, str):
        return None
    try:
        description = json.loads(text)
        if description["format"] != _FORMAT:
            raise ValueError(f"format {description['format']}")
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("The file's attribute %r is not understood (%s); it is read as any netCDF file", ATTRIBUTE, error)
        return None
    return dict(description)


def _restored(assembly: xr.DataArray, description: Mapping[str, Any]) -> xr.DataArray:
    assembly.name = description["name"]
    for name, dtype in description["fixed_width"].items():
        if assembly.coords[name].dtype.kind != "U":
            coord = assembly.coords[name]
            assembly = assembly.assign_coords({name: (coord.dims, coord.values.astype(dtype), coord.attrs)})
    present = {name: assembly.coords[name] for name in description["order"] if name in assembly.coords}
    assembly = xr.DataArray(assembly.variable, coords=present, name=assembly.name)
    indexes = {dim: levels for dim, levels in description["indexes"].items() if levels}
    return assembly.set_index(indexes) if indexes else assembly


def _refuse_changes(assembly: xr.DataArray, returned: xr.DataArray, identifier: str) -> None:
    """Compare with what was read back, and refuse by name what is not the same."""
    for name in [name for name in assembly.coords if not isinstance(assembly.indexes.get(name), pd.MultiIndex)]:
        if name not in returned.coords or not _same(assembly.coords[name], returned.coords[name]):
            raise EncodingError(f"{identifier}: coordinate {name!r} would not come back as it is")
    if not _same(assembly.variable, returned.variable) or not returned.identical(assembly):
        raise EncodingError(f"{identifier}: it would not come back as it is")


def _same(one: Any, other: Any) -> bool:
    alike = one.dtype == other.dtype or {one.dtype.kind, other.dtype.kind} <= {"O", "T"}  # Python strings
    return alike and one.dims == other.dims and one.attrs.keys() == other.attrs.keys()
