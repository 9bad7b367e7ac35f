"""Assemblies in and out, by the functions of BrainIO and of ``brainscore_language.utils.s3``."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import logging
import os
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import xarray as xr

from .._config.config import nearest
from .._identifiers import check_identifier
from ..codec import with_stimulus_id
from ..errors import ConfigError, EncodingError, NotSupported
from .places import PUBLIC, store_for
from .transport import properties

_log = logging.getLogger(__name__)
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
_PRESENTATION, _STIMULUS_ID = "presentation", "stimulus_id"
BRAINIO = "brainscore_core.supported_data_standards.brainio"


def upload_data_assembly(
    assembly: xr.DataArray, assembly_identifier: str, bucket_name: str | None = None, assembly_prefix: str = "assy_"
) -> dict[str, Any]:
    """Keep an assembly as a new version; as the function of that name in ``brainscore_language.utils.s3``.

    Attributes that are tables or assemblies (``stimulus_set``, the ``raw`` of a score) are left out, with one warning.

    Args:
        assembly: a DataArray of any class.
        assembly_identifier: its name, such as ``Pereira2018.language``.
        bucket_name: ``bucket`` or ``bucket/folder``; None: the default store, or without any ``storage.yaml``
            Brain-Score's public bucket.
        assembly_prefix: what the file's name begins with.

    Returns:
        ``VersionId`` (``"null"`` on a host without versions), ``sha1``, ``ETag``, ``ContentLength``, ``LastModified``.

    Raises:
        what ``Store.upload`` raises.
    """
    attrs = getattr(assembly, "attrs", {})  # what is no DataArray is refused further on
    left_out = [name for name, value in attrs.items() if isinstance(value, pd.DataFrame | xr.DataArray)]
    if left_out:
        _log.warning(
            "%s is uploaded without its attributes %s: tables and assemblies are uploaded under names of their own",
            assembly_identifier,
            ", ".join(map(repr, left_out)),
        )
    if bucket_name == "brainscore-storage":  # that function has always meant its folder there
        bucket_name = PUBLIC
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
    """Return an assembly, verified; as the function of that name in ``brainscore_language.utils.s3``.

    Without keywords, sha1 and version_id stand in either order, as they have in its releases: forty hex digits are the
    sha1.

    Args:
        identifier: its name.
        sha1, version_id: which version; the hash decides. See ``Store.load``.
        assembly_prefix: what the file's name begins with.
        cls: a class, or the name of one of Brain-Score's; None: NeuroidAssembly, or a plain DataArray where
            ``brainscore_core`` is not installed.
        bucket: as in `upload_data_assembly`.

    Raises:
        what ``Store.load`` raises.
    """
    if _is_sha1(version_id) and not _is_sha1(sha1):
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
    """Return an assembly, verified; as BrainIO's function of that name.

    Args:
        identifier: its name.
        version_id, sha1: which version; the hash decides. See ``Store.load``.
        bucket: as in `upload_data_assembly`.
        cls: a class, or the name of one of Brain-Score's; None: a plain DataArray.
        stimulus_set_loader: called for the stimulus set that goes into the attribute ``stimulus_set``.
        merge_stimulus_set_meta: whether its columns become coordinates of the presentations too.

    Raises:
        EncodingError: the stimulus set does not go with the assembly.
        and what ``Store.load`` raises.
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
    """Return how BrainIO loads: lazily, by the chunks that BRAINIO_CHUNKS names, where dask is installed."""
    text = os.environ.get("BRAINIO_CHUNKS", "{}")
    try:
        chunks = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ConfigError(
            f"BRAINIO_CHUNKS={text!r} is no Python value", hint="Such as {}, {'neuroid': 100} or None."
        ) from None
    return chunks if importlib.util.find_spec("dask") is not None else None


def _finished(assembly: xr.DataArray, identifier: str, cls: type | str | None) -> Any:
    made = assembly if cls is None else _class(cls)(assembly)
    made.attrs["identifier"] = identifier
    return made


def _class(cls: type | str) -> Callable[[xr.DataArray], xr.DataArray]:
    """Return a class, found by its name among Brain-Score's."""
    if not isinstance(cls, str):
        return cls
    try:
        modules = [importlib.import_module(name) for name in (f"{BRAINIO}.assemblies", "brainscore_core.metrics")]
    except ModuleNotFoundError as error:
        raise NotSupported(
            f"cls={cls!r} is a class of brainscore_core, which is not installed", hint="pip install brainscore_core"
        ) from error
    classes: dict[str, type[xr.DataArray]] = {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, xr.DataArray)
    }
    if cls not in classes:
        raise EncodingError(f"cls={cls!r} is no class of Brain-Score's", hint=nearest(cls, list(classes)))
    return classes[cls]


def _merged(assembly: xr.DataArray, stimulus_set: pd.DataFrame, identifier: str) -> xr.DataArray:
    """Return an assembly with what the stimulus set says of each presentation, beyond what it says itself."""
    there = {name for name, coord in assembly.coords.items() if coord.dims == (_PRESENTATION,)}
    there |= set(assembly.indexes[_PRESENTATION].names if _PRESENTATION in assembly.indexes else ())
    if _STIMULUS_ID not in there:
        raise EncodingError(
            f"{identifier} has no coordinate {_STIMULUS_ID!r} along {_PRESENTATION!r} to look its stimuli up by",
            hint="Load it with merge_stimulus_set_meta=False.",
        )
    table = stimulus_set.set_index(_STIMULUS_ID)
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise EncodingError(f"The stimulus set of {identifier} has the stimulus {twice!r} twice")
    rows = table.reindex(assembly[_STIMULUS_ID].values)
    added = {name: (_PRESENTATION, rows[name].to_numpy()) for name in table.columns if name not in there}
    return assembly.assign_coords(added)


def _is_sha1(value: object) -> bool:
    return isinstance(value, str) and _SHA1.fullmatch(value) is not None
