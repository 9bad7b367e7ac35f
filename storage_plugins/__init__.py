"""Storage for brain-data assemblies, behind one config setting."""

from typing import TYPE_CHECKING

from ._backend.operations import Content, FileOperations, Source
from ._lazy_names import names_from
from ._records import Digests
from .errors import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    AssemblyWithdrawn,
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
    from ._audit.configured import verify, where
    from ._audit.report import VerifyReport
    from ._audit.where import Whereabouts
    from ._audit.withdraw import WithdrawReport
    from ._backend.discovery import Backend, Location, hookimpl
    from ._backend.settings import ConfigFolder, StoreSettings
    from ._catalogue.build import CatalogueReport, catalogue
    from ._mirror.mirror import MirrorReport, mirror
    from ._store.cite import Citation, cite
    from ._store.diff import diff
    from ._store.many import ManyReport
    from ._store.open import load, open_store
    from ._store.prefetch import PrefetchReport
    from ._store.store import Store

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "AssemblyNotFound",
    "AssemblyStore",
    "AssemblyWithdrawn",
    "Backend",
    "CatalogueReport",
    "Citation",
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
    "ManyReport",
    "MirrorReport",
    "NotSupported",
    "PluginError",
    "PrefetchReport",
    "QuotaExceeded",
    "RateLimited",
    "Receipt",
    "Source",
    "StorageError",
    "Store",
    "StoreSettings",
    "StoreUnavailable",
    "VerifyReport",
    "Version",
    "Whereabouts",
    "WithdrawReport",
    "catalogue",
    "cite",
    "diff",
    "hookimpl",
    "load",
    "mirror",
    "open_store",
    "verify",
    "where",
]

# Loaded at their first use: they need pydantic or pluggy, and the command line is to start at once.
__getattr__ = names_from(
    __name__,
    {
        "Backend": "_backend.discovery",
        "CatalogueReport": "_catalogue.build",
        "Citation": "_store.cite",
        "ConfigFolder": "_backend.settings",
        "Location": "_backend.discovery",
        "ManyReport": "_store.many",
        "MirrorReport": "_mirror.mirror",
        "PrefetchReport": "_store.prefetch",
        "Store": "_store.store",
        "StoreSettings": "_backend.settings",
        "VerifyReport": "_audit.report",
        "Whereabouts": "_audit.where",
        "WithdrawReport": "_audit.withdraw",
        "catalogue": "_catalogue.build",
        "cite": "_store.cite",
        "diff": "_store.diff",
        "hookimpl": "_backend.discovery",
        "load": "_store.open",
        "mirror": "_mirror.mirror",
        "open_store": "_store.open",
        "verify": "_audit.configured",
        "where": "_audit.configured",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
