"""Assemblies to netCDF-4 files and back, exactly. The format is specified in ``docs/format.md``."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from .._identifiers import check_identifier
from ..atomic import from_os_error, sync_folder, temporary_name
from ..errors import EncodingError, NotSupported, QuotaExceeded, StorageError
from . import foreign, reading, shield
from .content import Content, add_hashes, put_together, taken_apart
from .elements import restored
from .layout import logical_dtype
from .lazy import as_dask
from .library import library
from .writing import write

__all__ = ["check", "content_digest", "decode", "decode_extras", "encode", "with_stimulus_id"]

_log = logging.getLogger(__name__)
_NO_ROOM = 1 << 20  # bytes free on a disk that is full
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
    """Write ``assembly`` to a file, and ``extras`` as further groups of it.

    The file appears under its name whole, flushed to disk, or not at all. A dask-backed assembly is computed
    and written part by part.

    Args:
        assembly: any number of dimensions and coordinates.
        path: replaced if it is there.
        identifier: kept as a global attribute.
        extras: further assemblies by name.
        drop_attrs: names of attributes of ``assembly`` to leave out.
        compression: ``none`` is for a fast local disk; either way every netCDF-4 reader opens the file.

    Returns:
        the content digest.

    Raises:
        EncodingError: something would not come back as it is; names it. Nothing was written.
        QuotaExceeded: the disk is full.
    """
    groups: dict[str | None, Content] = {None: _taken_apart(assembly, identifier, drop_attrs)}
    for name, extra in (extras or {}).items():
        check_identifier(name)
        groups[name] = _taken_apart(extra, f"{identifier}, extra {name!r}")
    temporary = temporary_name(path.parent)
    try:
        with _writing(temporary, identifier):
            digest = write(temporary, groups, identifier, compress=compression != "none")
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        return digest
    finally:
        temporary.unlink(missing_ok=True)


def _taken_apart(assembly: Any, label: str, drop_attrs: Sequence[str] = ()) -> Content:
    if not isinstance(assembly, xr.DataArray):
        raise EncodingError(
            f"{label} is a {type(assembly).__name__}, not a DataArray", hint="Wrap it: xarray.DataArray(…)."
        )
    if isinstance(drop_attrs, str):
        raise TypeError("drop_attrs is a list of names")
    unknown = [name for name in drop_attrs if name not in assembly.attrs]
    if unknown:
        raise EncodingError(f"drop_attrs names {unknown[0]!r}, which is no attribute of {label}")
    return taken_apart(assembly, label, drop_attrs)


@contextlib.contextmanager
def _writing(temporary: Path, identifier: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if shutil.disk_usage(temporary.parent).free < _NO_ROOM:  # the library says "HDF error" to a full disk
            with contextlib.suppress(OSError):
                os.truncate(temporary, 0)  # HDF5 never closes a file it could not write; this gives its space back
            raise QuotaExceeded(
                f"No space left in {temporary.parent} to write {identifier}",
                hint="Free some space there, or name another cache folder in STORAGE_PLUGINS_CACHE.",
            ) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise from_os_error(error, f"write {identifier}") from error
        raise


def content_digest(assembly: xr.DataArray) -> str:
    """Return the digest of an assembly's content: the same wherever and however it is stored.

    Raises:
        EncodingError: something has no exact form; names it.
    """
    content = _taken_apart(assembly, "the assembly")
    add_hashes(content)
    return content.digest


def decode(
    path: Path,
    *,
    cls: type | None = None,
    chunks: Any = None,
    refetch: Callable[[], Path] | None = None,
) -> xr.DataArray:
    """Read the assembly in a netCDF file.

    Args:
        path: a file of this package, of BrainIO, or of xarray.
        cls: the class to return.
        chunks: as in ``xarray.open_dataset``; None: in memory.
        refetch: gets the file on another machine, when a part of a dask-backed assembly is wanted there.

    Raises:
        EncodingError: the file holds no assembly, or is damaged, or holds what the installed libraries cannot.
        NotSupported: chunks without dask.
    """
    if chunks is not None and importlib.util.find_spec("dask") is None:
        raise NotSupported("chunks= needs dask, which is not installed", hint="pip install 'storage-plugins[dask]'")
    assembly, ours = _read(path, None, chunks, refetch)
    if cls is None:
        return assembly
    made: xr.DataArray = cls(assembly if ours else with_stimulus_id(assembly))
    return made


def with_stimulus_id(assembly: xr.DataArray) -> xr.DataArray:
    """Return an assembly from before ``image_id`` was called ``stimulus_id`` with both, as BrainIO's loader does."""
    names = {*assembly.coords, *(name for index in assembly.indexes.values() for name in index.names)}
    if "image_id" in names and "stimulus_id" not in names:
        image_id = assembly["image_id"]
        if image_id.dims == ("presentation",):
            return assembly.assign_coords(stimulus_id=("presentation", image_id.data))
    return assembly


def decode_extras(path: Path) -> dict[str, xr.DataArray]:
    """Read the further assemblies in a netCDF file: its groups, by name. Raises as `decode`."""
    import netCDF4

    with _readable(path), library(), netCDF4.Dataset(path) as file:
        groups = list(file.groups)
    return {group: _read(path, group, None, None)[0] for group in groups}


def check(path: Path) -> None:
    """Raise EncodingError unless the file at ``path`` holds an assembly, without reading its data."""
    with _readable(path):
        try:
            if reading.opened(path, None) is not None:
                return
        except reading.Unfit as reason:
            reading.refuse_in_place(path, None, reason)
        foreign.check(path)


def _read(path: Path, group: str | None, chunks: Any, refetch: Any) -> tuple[xr.DataArray, bool]:
    """Return the assembly, and whether its file is one of this package."""
    with _readable(path):
        try:
            found = reading.opened(path, group)
            if found is not None:
                return _ours(found, chunks, refetch), True
        except reading.Unfit as reason:
            reading.refuse_in_place(path, group, reason)
            _log.warning(
                "%s was changed by another program since this package wrote it (%s): it is read as any netCDF file",
                path.name,
                reason,
            )
        return foreign.read(path, group, chunks), False


def _ours(found: reading.Opened, chunks: Any, refetch: Any) -> xr.DataArray:
    entry = found.description["data"]
    dtype = logical_dtype(entry["type"])
    lazy = chunks is not None and "dtype" in entry["type"] and dtype is not None and bool(found.layouts[None].chunk)
    elements: dict[str | None, Any] = dict(reading.elements_of(found, skip_data=lazy))
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
        raise reading.Damaged(f"its description contradicts itself ({error})") from error


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what is said of a file that cannot be read into this package's errors."""
    try:
        shield.prove(path)
        yield
    except StorageError:
        raise
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise from_os_error(error, f"read {path.name}") from error
    except MemoryError as error:
        raise StorageError(
            f"There is not enough memory to load {path.name}", hint="Load it in parts: chunks={}."
        ) from error
    except (reading.Damaged, shield.Unsound) as error:
        raise EncodingError(
            f"{path.name} is damaged: {error}", hint="Load it again from the store, or from another copy."
        ) from error
    except Exception as error:
        raise EncodingError(
            f"{path.name} is no netCDF file that can be read: {error}",
            hint="Only netCDF files hold assemblies; keep other files with upload_file and fetch.",
        ) from error
