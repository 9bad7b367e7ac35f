"""A netCDF file to the assembly in it: one of this package exactly, others as xarray opens them."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from ..errors import NotSupported, StorageError
from . import _foreign, _reading
from ._content import put_together
from ._elements import restored
from ._layout import logical_dtype
from ._lazy import as_dask
from ._library import library, netcdf
from ._parts import as_encoded
from ._readable import identity, readable

_log = logging.getLogger("storage_plugins.codec")


def decode(
    path: Path,
    *,
    cls: type | None = None,
    chunks: Any = None,
    refetch: Callable[[], Path] | None = None,
    content_digest: str | None = None,
    verified: Callable[[str], object] | None = None,
) -> xr.DataArray:
    """Read the assembly in a netCDF file.

    The file is looked through before it is opened, since it may come from anyone: nothing outside it is read, and the
    memory is bounded by what it can hold.

    Args:
        path: a file of this package, of BrainIO, or of xarray.
        cls: the class to return, such as ``NeuroidAssembly``; it is called with the DataArray.
        chunks: as in ``xarray.open_dataset``; None: in memory.
        refetch: returns the path of the file on another machine, where a part of a dask-backed assembly is computed.
        content_digest: what `encode` returned for these very bytes, which were verified as a whole: the file is not
            looked through, and its numbers are not hashed again. None: unknown.
        verified: called with that digest once every tile of a file of this package was read and hashed.

    Returns:
        The assembly, with its dimensions, coordinates, indexes, name and attributes.

    Raises:
        EncodingError: the file contains no assembly, is damaged, or is not safe to open.
        NotSupported: ``chunks`` without dask.
        StorageError: the file cannot be read; FileNotFoundError and the like are its cause.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import xarray
        >>> from storage_plugins import codec
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "rates.nc")
        >>> digest = codec.encode(xarray.DataArray([1.0, 2.0], dims="neuroid"), path, identifier="Lab2026.rates")
        >>> codec.decode(path).values
        array([1., 2.])
        >>> folder.cleanup()
    """
    if chunks is not None and importlib.util.find_spec("dask") is None:
        raise NotSupported("chunks= needs dask, which is not installed", hint="pip install 'storage-plugins[dask]'")
    found = as_encoded(path, content_digest) if content_digest is not None else None
    if found is not None:
        with readable(path, identity(path)):
            assembly = _ours(found, chunks, refetch)
    else:
        with readable(path):
            assembly, found = _read(path, None, chunks, refetch)
        if found is not None and chunks is None and verified is not None:
            verified(found.digest)
    if cls is None:
        return assembly
    made: xr.DataArray = cls(assembly if found is not None else with_stimulus_id(assembly))
    return made


def decode_extras(path: Path) -> dict[str, xr.DataArray]:
    """Read the further assemblies in a netCDF file: its groups, by name.

    Returns:
        Each extra assembly as `decode` returns the main one; empty if there are none.

    Raises:
        EncodingError, StorageError: as `decode`.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import xarray
        >>> from storage_plugins import codec
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "rates.nc")
        >>> rates = xarray.DataArray([1.0, 2.0], dims="neuroid")
        >>> digest = codec.encode(rates, path, identifier="Lab2026.rates", extras={"ceiling": rates.max()})
        >>> float(codec.decode_extras(path)["ceiling"])
        2.0
        >>> folder.cleanup()
    """
    with readable(path):
        with library(), netcdf(path) as file:
            groups = list(file.groups)
        return {group: _read(path, group, None, None)[0] for group in groups}


def check(path: Path) -> None:
    """Raise unless a file contains an assembly that is safe to open. The data are not read.

    Raises:
        EncodingError, StorageError: as `decode`.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from storage_plugins import codec
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "notes.nc")
        >>> _ = path.write_text("These are notes.")
        >>> codec.check(path)
        Traceback (most recent call last):
          ...
        storage_plugins.errors.EncodingError: notes.nc is not a netCDF file: it begins as neither netCDF-3 nor HDF5
          Only netCDF files contain assemblies. Store other files with upload_file and fetch.
        >>> folder.cleanup()
    """
    with readable(path):
        try:
            if _reading.opened(path, None) is not None:
                return
        except _reading.Unfit as reason:
            _reading.refuse_in_place(path, None, reason)
        _foreign.check(path)


def with_stimulus_id(assembly: xr.DataArray) -> xr.DataArray:
    """Return an assembly from before ``image_id`` was renamed ``stimulus_id`` with both, as BrainIO's loader does.

    Example:
        >>> import xarray
        >>> from storage_plugins import codec
        >>> old = xarray.DataArray([1.0], dims="presentation", coords={"image_id": ("presentation", ["a"])})
        >>> codec.with_stimulus_id(old)["stimulus_id"].item()
        'a'
    """
    names = {*assembly.coords, *(name for index in assembly.indexes.values() for name in index.names)}
    if "image_id" in names and "stimulus_id" not in names:
        image_id = assembly["image_id"]
        if image_id.dims == ("presentation",):
            return assembly.assign_coords(stimulus_id=("presentation", image_id.data))
    return assembly


def _read(path: Path, group: str | None, chunks: Any, refetch: Any) -> tuple[xr.DataArray, _reading.Opened | None]:
    """Return the assembly, and what its file says of itself if it is one of this package."""
    try:
        found = _reading.opened(path, group)
        if found is not None:
            return _ours(found, chunks, refetch), found
    except _reading.Unfit as reason:
        _reading.refuse_in_place(path, group, reason)
        _log.warning(
            "%s was changed by another program since this package wrote it (%s): it is read as any netCDF file",
            path.name,
            reason,
        )
    return _foreign.read(path, group, chunks), None


def _ours(found: _reading.Opened, chunks: Any, refetch: Any) -> xr.DataArray:
    entry = found.description["data"]
    dtype = logical_dtype(entry["type"])
    lazy = chunks is not None and "dtype" in entry["type"] and dtype is not None and bool(found.layouts[None].chunk)
    elements: dict[str | None, Any] = dict(_reading.elements_of(found, skip_data=lazy))
    try:
        if lazy and dtype is not None:
            elements[None] = as_dask(found, dtype, chunks, refetch)
        else:
            elements[None] = restored(elements[None], found.layouts[None].shape)
        shown_as = {name: note["dtype"] for name, note in found.notes.items() if name is not None and "dtype" in note}
        return put_together(found.description, elements, shown_as)
    except StorageError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _reading.Damaged(f"its description contradicts itself ({error})") from error
