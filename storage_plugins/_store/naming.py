"""What people name an assembly by: a file, a URI, ``store:identifier``, a receipt, or the assembly itself."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._backend.discovery import locate
from .._config.config import Config
from .._identifiers import check_identifier
from .._records import Pin
from ..errors import AssemblyNotFound, ConfigError, InvalidPin, NotSupported, PluginError
from ..protocol import Receipt
from .open import found_at, open_entry
from .store import Store

if TYPE_CHECKING:
    import xarray as xr

    from .. import codec

ConfigLike = str | os.PathLike[str] | Mapping[str, Any] | None
_IN_STORE = re.compile(r"([A-Za-z0-9_.-]+):([A-Za-z0-9][A-Za-z0-9._+-]*)")
_UNNAMED = Pin()


@dataclasses.dataclass(frozen=True)
class Assembly:
    """An assembly that somebody named. Nothing was read yet.

    Attributes:
        name: for messages.
        parts: returns it with its description read; raises NotSupported where that is not possible.
        path: returns its verified file.
    """

    name: str
    parts: Callable[[], codec.Parts]
    path: Callable[[], Path]

    def load(self, chunks: Any = None) -> xr.DataArray:
        """Return it, its data read when they are used, if that is possible."""
        from .. import codec

        try:
            parts = self.parts()
        except NotSupported:
            return codec.decode(self.path(), chunks=chunks, refetch=self.path)
        return parts.assembly(chunks=chunks)


def named(what: str | os.PathLike[str] | Receipt, config: ConfigLike = None, pin: Pin = _UNNAMED) -> Assembly:
    """Return the assembly that somebody means.

    Args:
        what: the path of a file; ``lab:Pereira2018.language``, which is an identifier in the store ``lab``; a URI as
            receipts have it; or a receipt. A file comes first, then a store.
        config: as in ``open_store``.
        pin: which version, of an identifier in a store.

    Raises:
        AssemblyNotFound: it is none of these.
        InvalidPin: a pin for something else than an identifier in a store.
    """
    text = what.uri if isinstance(what, Receipt) else os.fspath(what)
    stores = Config.open(config)
    found = None if isinstance(what, Receipt) or Path(text).is_file() else _IN_STORE.fullmatch(text)
    if found and found[1] in stores.stores:
        return in_store(open_entry(stores.entry(found[1])), found[2], pin)
    if pin.names_version or pin.newest:
        raise InvalidPin(f"A version can be chosen of an identifier in a store, not of {text}")
    if Path(text).is_file():
        return _file(Path(text))
    try:
        return _at(what if isinstance(what, Receipt) else text, config)
    except (InvalidPin, PluginError) as error:
        if is_uri(text):
            raise
        known = f"The stores are {', '.join(map(repr, stores.stores))}."
        raise AssemblyNotFound(
            f"{text} is not a file, an identifier in a store (lab:{text.rpartition(':')[2]}), or a URI", hint=known
        ) from error


def in_store(store: Store, identifier: str, pin: Pin) -> Assembly:
    """Return an assembly of an open store."""
    check_identifier(identifier)
    pins: dict[str, Any] = {name: getattr(pin, name) for name in ("version_id", "sha1", "sha256", "newest")}
    return Assembly(
        f"{store.name}:{identifier}",
        functools.partial(store.opened_parts, identifier, pin),
        functools.partial(store.load_file, identifier, assembly_prefix=pin.assembly_prefix, **pins),
    )


def is_uri(text: str) -> bool:
    """Return whether a text is meant as a URI: a backend understands it, or it looks like one."""
    try:
        locate(text.partition("#")[0])
    except (InvalidPin, PluginError, ConfigError):
        return "://" in text
    return True


def _at(uri: str | Receipt, config: ConfigLike) -> Assembly:
    there = found_at(uri, config)
    return Assembly(uri.identifier if isinstance(uri, Receipt) else uri, there.parts, there.fetch)


def _file(path: Path) -> Assembly:
    def parts() -> codec.Parts:
        from .. import codec

        return codec.Parts(codec.LocalSource(path))

    return Assembly(os.fspath(path), parts, lambda: path)
