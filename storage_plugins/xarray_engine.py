"""The engine ``storage_plugins`` of xarray: stored assemblies by xarray's own functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

_UNNAMED = "__xarray_dataarray_variable__"  # what xarray calls an array without a name in a dataset
_NAME = "__xarray_dataarray_name__"  # attribute of a dataset from which `xarray.open_dataarray` takes the name


class StorageEngine(BackendEntrypoint):
    """Opens assemblies as ``Store.load`` with ``download=False`` does, with their MultiIndexes, exactly.

    ``xarray.open_dataarray(what, engine="storage_plugins")`` returns the assembly, and ``xarray.open_dataset`` a
    dataset with it. What is named may be a file, ``lab:Pereira2018.language``, or a receipt's URI. Further options are
    ``config``, and for ``lab:…`` the pins ``version_id``, ``sha1`` and ``sha256``. Data are read when they are used;
    files of other programs are downloaded first.

    Example:
        >>> import tempfile, xarray as xr
        >>> import storage_plugins
        >>> from storage_plugins.xarray_engine import StorageEngine  # or engine="storage_plugins"
        >>> config = {"stores": {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}}
        >>> rates = xr.DataArray([1.5, 2.0], dims="neuroid", name="rates")
        >>> receipt = storage_plugins.open_store(config=config).upload(rates, "Lab2026.rates")
        >>> xr.open_dataarray("lab:Lab2026.rates", engine=StorageEngine, config=config).identical(rates)
        True
    """

    description = "Open assemblies in the stores of storage-plugins"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "config", "version_id", "sha1", "sha256")

    def open_dataset(  # type: ignore[override]  # xarray's own engines have other arguments too
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
    ) -> xr.Dataset:
        """Return a dataset with the assembly as its only variable."""
        from ._records import Pin  # xarray imports this module with the first file that anyone opens
        from ._store.naming import named

        assembly = named(filename_or_obj, config, Pin(version_id, sha1, sha256)).load()
        name = assembly.name
        plain = isinstance(name, str) and name not in assembly.coords and name not in assembly.dims
        dataset = assembly.to_dataset(name=name if plain else _UNNAMED)
        if name is not None and not plain:
            dataset.attrs[_NAME] = name
        if drop_variables is not None:
            dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables)
            dataset = dataset.drop_vars([one for one in dropped if one in dataset.variables])
        return dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return False: it is used where it is asked for by name."""
        return False
