"""Storage for brain-data assemblies, behind one config setting."""

from typing import TYPE_CHECKING

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
from .files import Content, FileOperations, Source
from .later import names_from
from .protocol import AssemblyStore, Receipt, Version

if TYPE_CHECKING:
    from .mirroring import MirrorReport, mirror
    from .opening import load, open_store
    from .plugins import Backend, Location, hookimpl
    from .settings import ConfigFolder, StoreSettings
    from .store import Store

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
    "hookimpl",
    "load",
    "mirror",
    "open_store",
]

# Loaded at their first use: they need pydantic or pluggy, and the command line is to start at once.
__getattr__ = names_from(
    __name__,
    {
        "Backend": "plugins",
        "ConfigFolder": "settings",
        "Location": "plugins",
        "MirrorReport": "mirroring",
        "Store": "store",
        "StoreSettings": "settings",
        "hookimpl": "plugins",
        "load": "opening",
        "mirror": "mirroring",
        "open_store": "opening",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
