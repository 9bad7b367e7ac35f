"""Storage for brain-data assemblies, behind one config setting."""

from typing import TYPE_CHECKING

from ._backend.operations import Content, FileOperations, Source
from ._lazy_names import names_from
from ._records import Digests
from .errors import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    EncodingError,
    IdentifierCollision,
    IntegrityError,
    InvalidIdentifier,
    InvalidPin,
    NotSupported,
    PluginError,
    QuotaExceeded,
    RateLimited,
    StorageError,
    StoreUnavailable,
)
from .protocol import AssemblyStore, Receipt, Version

if TYPE_CHECKING:
    from ._backend.discovery import Backend, Location, hookimpl
    from ._backend.settings import ConfigFolder, StoreSettings
    from ._mirror.mirror import MirrorReport, mirror
    from ._store.diff import diff
    from ._store.open import load, open_store
    from ._store.store import Store

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "AssemblyNotFound",
    "AssemblyStore",
    "Backend",
    "ConfigError",
    "ConfigFolder",
    "Content",
    "Digests",
    "EncodingError",
    "FileOperations",
    "IdentifierCollision",
    "IntegrityError",
    "InvalidIdentifier",
    "InvalidPin",
    "Location",
    "MirrorReport",
    "NotSupported",
    "PluginError",
    "QuotaExceeded",
    "RateLimited",
    "Receipt",
    "Source",
    "StorageError",
    "Store",
    "StoreSettings",
    "StoreUnavailable",
    "Version",
    "diff",
    "hookimpl",
    "load",
    "mirror",
    "open_store",
]

# Loaded at their first use: they need pydantic or pluggy, and the command line is to start at once.
__getattr__ = names_from(
    __name__,
    {
        "Backend": "_backend.discovery",
        "ConfigFolder": "_backend.settings",
        "Location": "_backend.discovery",
        "MirrorReport": "_mirror.mirror",
        "Store": "_store.store",
        "StoreSettings": "_backend.settings",
        "diff": "_store.diff",
        "hookimpl": "_backend.discovery",
        "load": "_store.open",
        "mirror": "_mirror.mirror",
        "open_store": "_store.open",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
