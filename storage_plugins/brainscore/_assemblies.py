"""Upload and load assemblies with the functions of BrainIO and of ``brainscore_language.utils.s3``."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable
from typing import Any

import pandas as pd
import xarray as xr

from .._config.config import nearest
from .._identifiers import check_identifier
from ..codec import with_stimulus_id
from ..errors import ConfigError, EncodingError, NotSupported
from ._buckets import store_for
from ._files import properties
from ._locations import PUBLIC_BUCKET, is_sha1

_log = logging.getLogger(__name__)
_PRESENTATION, _STIMULUS_ID = "presentation", "stimulus_id"
BRAINIO = "brainscore_core.supported_data_standards.brainio"


def upload_data_assembly(
    assembly: xr.DataArray, assembly_identifier: str, bucket_name: str | None = None, assembly_prefix: str = "assy_"
) -> dict[str, Any]:
    """Upload an assembly as a new version, like ``brainscore_language.utils.s3.upload_data_assembly``.

    Attributes that are tables or assemblies (``stimulus_set``, the ``raw`` of a score) are not uploaded; one warning
    names them.

    Args:
        assembly: a DataArray of any class.
        assembly_identifier: its name, such as ``Pereira2018.language``.
        bucket_name: ``bucket`` or ``bucket/folder``. None means the default store or, without a ``storage.yaml``,
            Brain-Score's public bucket.
        assembly_prefix: the beginning of the file's name.

    Returns:
        ``VersionId`` (``"null"`` without versions), ``sha1``, ``ETag``, ``ContentLength``, ``LastModified``.

    Raises:
        StorageError: as ``Store.upload``.
    """
    attrs = getattr(assembly, "attrs", {})  # upload() refuses what is not a DataArray
    left_out = [name for name, value in attrs.items() if isinstance(value, pd.DataFrame | xr.DataArray)]
    if left_out:
        _log.warning(
            "Uploading %s without its attributes %s: upload tables and assemblies separately",
            assembly_identifier,
            ", ".join(map(repr, left_out)),
        )
    if bucket_name == "brainscore-storage":  # by this name that function uploads to a folder of it
        bucket_name = PUBLIC_BUCKET
    return properties(
        store_for(bucket_name).upload(
            assembly, assembly_identifier, assembly_prefix=assembly_prefix, drop_attrs=left_out
        )
    )


def load_from_s3(
    identifier: str,
    sha1: str | None = None,
    version_id: str | None = None,
    assembly_prefix: str = "assy_",
    cls: type | str | None = None,
    *,
    bucket: str | None = None,
) -> Any:
    """Load an assembly and verify it, like ``brainscore_language.utils.s3.load_from_s3``.

    As positional arguments, sha1 and version_id can be in either order, since its releases differ: the one with 40
    hexadecimal digits is the sha1.

    Args:
        identifier: the assembly's name.
        sha1, version_id: which version; the hash takes precedence. See ``Store.load``.
        assembly_prefix: the beginning of the file's name.
        cls: a class, or the name of a Brain-Score class. None means NeuroidAssembly, or DataArray if
            ``brainscore_core`` is not installed.
        bucket: as in `upload_data_assembly`.

    Raises:
        StorageError: as ``Store.load``.
    """
    if is_sha1(version_id) and not is_sha1(sha1):
        sha1, version_id = version_id, sha1
    if cls is None and importlib.util.find_spec("brainscore_core") is not None:
        cls = "NeuroidAssembly"
    assembly = _loaded(identifier, version_id, sha1, bucket, assembly_prefix)
    return _finished(assembly, identifier, cls)


def load_assembly_from_s3(
    identifier: str,
    version_id: str | None = None,
    sha1: str | None = None,
    bucket: str | None = None,
    cls: type | str | None = None,
    stimulus_set_loader: Callable[[], Any] | None = None,
    merge_stimulus_set_meta: bool = True,
) -> Any:
    """Load an assembly and verify it, like BrainIO's ``load_assembly_from_s3``.

    Args:
        identifier: the assembly's name.
        version_id, sha1: which version; the hash takes precedence. See ``Store.load``.
        bucket: as in `upload_data_assembly`.
        cls: a class, or the name of a Brain-Score class. None means DataArray.
        stimulus_set_loader: returns the stimulus set for the attribute ``stimulus_set``.
        merge_stimulus_set_meta: whether to add the columns of the stimulus set as coordinates of the presentations.

    Raises:
        EncodingError: the stimulus set does not match the assembly.
        StorageError: as ``Store.load``.
    """
    assembly = _loaded(identifier, version_id, sha1, bucket, "assy_")
    if stimulus_set_loader is not None:
        stimulus_set = stimulus_set_loader()
        assembly.attrs["stimulus_set_identifier"] = stimulus_set.identifier
        assembly.attrs["stimulus_set"] = stimulus_set
        if merge_stimulus_set_meta:
            assembly = _merged(assembly, stimulus_set, identifier)
    return _finished(assembly, identifier, cls)


def _loaded(
    identifier: str, version_id: str | None, sha1: str | None, bucket: str | None, assembly_prefix: str
) -> xr.DataArray:
    store = store_for(bucket)
    assembly = store.load(
        check_identifier(identifier),
        version_id=version_id,
        sha1=sha1,
        assembly_prefix=assembly_prefix,
        chunks=_chunks(),
    )
    return with_stimulus_id(assembly)


def _chunks() -> Any:
    """Return the chunks that BrainIO loads lazily with: those in BRAINIO_CHUNKS; None without dask."""
    text = os.environ.get("BRAINIO_CHUNKS", "{}")
    try:
        chunks = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ConfigError(
            f"BRAINIO_CHUNKS must be a Python value, got {text!r}", hint="For example {}, {'neuroid': 100} or None."
        ) from None
    return chunks if importlib.util.find_spec("dask") is not None else None


def _finished(assembly: xr.DataArray, identifier: str, cls: type | str | None) -> Any:
    made = assembly if cls is None else _class(cls)(assembly)
    made.attrs["identifier"] = identifier
    return made


def _class(cls: type | str) -> Callable[[xr.DataArray], xr.DataArray]:
    """Return a class, or the Brain-Score class with a name."""
    if not isinstance(cls, str):
        return cls
    try:
        modules = [importlib.import_module(name) for name in (f"{BRAINIO}.assemblies", "brainscore_core.metrics")]
    except ModuleNotFoundError as error:
        raise NotSupported(
            f"cls={cls!r} needs brainscore_core, which is not installed", hint="pip install brainscore_core"
        ) from error
    classes: dict[str, type[xr.DataArray]] = {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, xr.DataArray)
    }
    if cls not in classes:
        raise EncodingError(f"cls={cls!r} is not a Brain-Score class", hint=nearest(cls, list(classes)))
    return classes[cls]


def _merged(assembly: xr.DataArray, stimulus_set: pd.DataFrame, identifier: str) -> xr.DataArray:
    """Return an assembly with the columns of a stimulus set as coordinates, but for those that it has already."""
    there = {name for name, coord in assembly.coords.items() if coord.dims == (_PRESENTATION,)}
    there |= set(assembly.indexes[_PRESENTATION].names if _PRESENTATION in assembly.indexes else ())
    if _STIMULUS_ID not in there:
        raise EncodingError(
            f"{identifier} has no coordinate {_STIMULUS_ID!r} along {_PRESENTATION!r}, which links it to its stimuli",
            hint="Load it with merge_stimulus_set_meta=False.",
        )
    table = stimulus_set.set_index(_STIMULUS_ID)
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise EncodingError(f"The stimulus {twice!r} is in the stimulus set of {identifier} more than once")
    rows = table.reindex(assembly[_STIMULUS_ID].values)
    added = {name: (_PRESENTATION, rows[name].to_numpy()) for name in table.columns if name not in there}
    return assembly.assign_coords(added)
