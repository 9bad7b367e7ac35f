"""An assembly to a netCDF-4 file, and the digest of its content."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import xarray as xr

from .._identifiers import check_identifier
from ..atomic import from_os_error, sync_folder, temporary_name
from ..errors import EncodingError, QuotaExceeded, StorageError
from ._content import Content, add_hashes, taken_apart
from ._writing import write

_FULL = 1 << 20  # bytes free on a disk that is full
Compression = Literal["deflate", "none"]


def encode(
    assembly: xr.DataArray,
    path: Path,
    *,
    identifier: str,
    extras: Mapping[str, xr.DataArray] | None = None,
    drop_attrs: Sequence[str] = (),
    compression: Compression = "deflate",
) -> str:
    """Write an assembly to a netCDF-4 file, and further assemblies as groups of it.

    The file appears under its name whole, flushed to disk, or not at all. A dask-backed assembly is computed
    and written part by part.

    Args:
        assembly: any number of dimensions and coordinates. It is not changed.
        path: the file to write, in a folder that exists. An existing file is replaced.
        identifier: the assembly's name, stored as a global attribute.
        extras: further assemblies by name, each an identifier.
        drop_attrs: names of attributes of ``assembly`` to leave out.
        compression: ``none`` is for a fast local disk. Every netCDF-4 reader opens both.

    Returns:
        The content digest, as `content_digest` returns it (of the extras too, if there are any).

    Raises:
        EncodingError: something cannot be stored exactly. The message names it; nothing was written.
        InvalidIdentifier: ``identifier`` or the name of an extra is not a valid identifier.
        QuotaExceeded: the disk or a quota is full.
        StorageError: any other error of the disk.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import xarray
        >>> from storage_plugins import codec
        >>> rates = xarray.DataArray([[1.0, 2.0]], dims=("presentation", "neuroid"), name="rates")
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "rates.nc")
        >>> codec.encode(rates, path, identifier="Lab2026.rates") == codec.content_digest(rates)
        True
        >>> codec.decode(path).identical(rates)
        True
        >>> folder.cleanup()
    """
    check_identifier(identifier)
    groups: dict[str | None, Content] = {None: _taken_apart(assembly, identifier, drop_attrs)}
    for name, extra in (extras or {}).items():
        check_identifier(name)
        groups[name] = _taken_apart(extra, f"{identifier}, extra {name!r}")
    temporary = temporary_name(path.parent)
    with _writing(temporary, identifier):
        try:
            digest = write(temporary, groups, identifier, compress=compression != "none")
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return digest


def content_digest(assembly: xr.DataArray) -> str:
    """Return the digest of an assembly's content: its dimensions, values, coordinates, name and attributes.

    It is the same wherever and however the assembly is stored, and whatever the order of coordinates and attributes.

    Args:
        assembly: any number of dimensions and coordinates. Dask-backed data are computed part by part.

    Returns:
        ``sp1:`` and 64 hexadecimal digits.

    Raises:
        EncodingError: something has no exact form in a file. The message names it.

    Example:
        >>> import xarray
        >>> from storage_plugins import codec
        >>> codec.content_digest(xarray.DataArray(1.5))[:12]
        'sp1:85a144f0'
    """
    content = _taken_apart(assembly, "the assembly")
    add_hashes(content)
    return content.digest


def _taken_apart(assembly: Any, label: str, drop_attrs: Sequence[str] = ()) -> Content:
    if not isinstance(assembly, xr.DataArray):
        raise EncodingError(
            f"{label} is of type {type(assembly).__name__}, not a DataArray", hint=_as_data_array(assembly)
        )
    if isinstance(drop_attrs, str):
        raise TypeError("drop_attrs must be a list of names, not one str")
    unknown = [name for name in drop_attrs if name not in assembly.attrs]
    if unknown:
        raise EncodingError(f"drop_attrs names {unknown[0]!r}, but {label} has no such attribute")
    return taken_apart(assembly, label, drop_attrs)


def _as_data_array(given: Any) -> str:
    """Say how to make a DataArray of something else."""
    if isinstance(given, xr.Dataset):
        if not given.data_vars:
            return "It has no variables. An assembly is one xarray.DataArray."
        return f"Upload one of its variables: dataset[{next(iter(given.data_vars))!r}]; others as extras={{…}}."
    if hasattr(given, "__array__") or isinstance(given, list | tuple | int | float | pd.Series | pd.DataFrame):
        return "Make one of it: xarray.DataArray(…, dims=[…])."
    return "An assembly is one xarray.DataArray."


@contextlib.contextmanager
def _writing(temporary: Path, identifier: str) -> Iterator[None]:
    """Turn errors of the disk into this package's errors."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno is None or error.errno < 0:
            raise StorageError(f"Cannot write {identifier} in {temporary.parent}: {error}") from error
        raise from_os_error(error, f"write {identifier}") from error
    except RuntimeError as error:  # HDF5's, where it writes the disk itself
        if shutil.disk_usage(temporary.parent).free < _FULL:
            raise QuotaExceeded(
                f"No space left in {temporary.parent} to write {identifier}",
                hint="Free some space there, or name another cache folder in STORAGE_PLUGINS_CACHE.",
            ) from error
        if "HDF" in str(error) or "NetCDF" in str(error):
            raise StorageError(f"Cannot write {identifier} in {temporary.parent}: {error}") from error
        raise
