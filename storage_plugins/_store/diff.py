"""How two assemblies differ, wherever they are: files, versions in stores, URIs, receipts, or assemblies in memory."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from ..errors import NotSupported
from ..protocol import Receipt
from .naming import Assembly, ConfigLike, named

if TYPE_CHECKING:
    import xarray as xr

    from .. import codec
    from ..codec._comparing import Comparison


def diff(
    a: str | os.PathLike[str] | Receipt | xr.DataArray,
    b: str | os.PathLike[str] | Receipt | xr.DataArray,
    *,
    config: ConfigLike = None,
) -> Comparison:
    """Compare two assemblies by content, whatever wrote their files.

    Of what is in stores, the descriptions are read first. If their content digests are equal, nothing else is read;
    otherwise only coordinates, and the tiles of which the hashes differ. Files of other programs are downloaded.

    Args:
        a, b: each the path of a netCDF file; ``lab:Pereira2018.language``, an identifier in a store; a receipt or its
            URI; or an assembly.
        config: as in ``open_store``.

    Returns:
        a comparison, which ``print`` shows: ``same``, ``differences``, ``notes``, and ``as_dict()`` for programs.

    Raises:
        AssemblyNotFound: one of them does not exist.
        and what ``Store.load`` raises.

    Example:
        >>> import storage_plugins, tempfile, xarray as xr
        >>> config = {"stores": {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}}
        >>> rates = xr.DataArray([1.5, 2.0], dims="neuroid")
        >>> receipt = storage_plugins.open_store(config=config).upload(rates, "Lab2026.rates")
        >>> print(storage_plugins.diff("lab:Lab2026.rates", rates + [0, 1], config=config))
        Different content
          data: 1 of 2 values differ, by up to 1
            neuroid 1: 2.0 and 3.0
        >>> storage_plugins.diff(receipt, rates, config=config).same
        True
    """
    import xarray as xr

    from .. import codec

    one, other = (each if isinstance(each, xr.DataArray) else opened(named(each, config)) for each in (a, b))
    return codec.compare(one, other)


def opened(what: Assembly) -> codec.Parts | xr.DataArray:
    """Return an assembly with its description read, or, of another program's file, with data that are read in parts."""
    from .. import codec

    try:
        return what.parts()
    except NotSupported:
        has_dask = importlib.util.find_spec("dask") is not None  # without it they are read at once
        return codec.decode(what.path(), chunks={} if has_dask else None)
