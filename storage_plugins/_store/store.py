"""What `open_store` returns: every operation of the public API.

What a kind of store cannot do raises NotSupported. `FileStore` has nearly all of it, over the file
operations of a backend; `PlainStore` wraps a backend that brings an `AssemblyStore` of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .._identifiers import check_identifier
from ..errors import NotSupported
from ..protocol import AssemblyStore, Receipt, Version
from .load import Pin

if TYPE_CHECKING:
    from datetime import timedelta

    import xarray as xr

    from .._backend.settings import StoreSettings
    from .._config.config import StoreEntry
    from .._copies.cache import Cached


class Store:
    """A configured place. What this kind of store cannot do raises NotSupported.

    Attributes:
        name: its name in ``storage.yaml``.
        address: the place itself.
        settings: its checked settings; shows no secrets.
        progress: called with a file's name, bytes done and bytes in all (None: unknown) during transfers.
    """

    def __init__(self, entry: StoreEntry, settings: StoreSettings) -> None:
        self.name = entry.name
        self.settings = settings
        self.progress: Callable[[str, int, int | None], None] | None = None
        self._entry = entry

    @property
    def address(self) -> str:
        """The place itself, such as ``s3://bucket/prefix``."""
        return f"{self._entry.backend}:{self.name}"

    def __repr__(self) -> str:
        return f"<storage_plugins store {self.name!r}: {self.address}>"

    def __reduce__(self) -> tuple[Any, ...]:
        from .open import portable, reopen

        return reopen, (portable(self._entry),)

    def promises(self) -> str:
        """Ask the host; return in words what becomes of bytes that are uploaded again, and what cannot be promised."""
        return "what becomes of bytes that are uploaded again is for its backend to say"

    def upload(
        self,
        assembly: xr.DataArray | str | os.PathLike[str],
        identifier: str,
        *,
        extras: Mapping[str, xr.DataArray] | None = None,
        assembly_prefix: str | None = None,
        drop_attrs: Sequence[str] = (),
        replace: bool | None = None,
    ) -> Receipt:
        """Keep an assembly as a new version of ``identifier`` and return its receipt.

        Args:
            assembly: a DataArray, or the path of a netCDF file, whose bytes are kept as they are.
            identifier: its name: ASCII letters, digits, ``. _ - +``; at most 200 characters.
            extras: further assemblies to keep in the same file, by name.
            assembly_prefix: what the file's name begins with; None: the store's setting.
            drop_attrs: attributes to leave out, for those the file format cannot carry.
            replace: on a host without versions, whether to replace an assembly by a changed one.

        Returns:
            the receipt; that of the newest version where that has the same content already.

        Raises:
            InvalidIdentifier, IdentifierCollision: the name cannot be used, or another one is too close.
            EncodingError: something would not come back as it is; names it. Nothing was sent.
            AlreadyExists: there is another content under that name, on a host without versions.
            AccessDenied, QuotaExceeded, StoreUnavailable, IntegrityError: nothing was kept.
        """
        self._cannot("upload")

    def load(
        self,
        identifier: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        cls: type | None = None,
        chunks: Mapping[Any, Any] | int | str | None = None,
        assembly_prefix: str | None = None,
        newest: bool = False,
    ) -> xr.DataArray:
        """Return an assembly, verified over every byte.

        Args:
            identifier: its name, or a receipt.
            version_id, sha1, sha256: which version. A hash is the identity, wherever it lies by now.
                None and "" pin nothing; with nothing pinned, the newest receipt's.
            cls: a subclass of DataArray to return.
            chunks: for a dask-backed assembly, as in ``xarray.open_dataset``; None: in memory.
            assembly_prefix: what the file's name begins with; None: the store's setting.
            newest: ask the store for its newest version, whatever the receipts say.

        Raises:
            AssemblyNotFound: no such identifier, version or hash.
            AccessDenied: private, or missing where the host does not tell the difference.
            IntegrityError: the bytes are not those of the pin; names expected, got and where.
            InvalidPin: a hash that is none, or a version id that means two things.
            EncodingError: the file is no assembly.
            StoreUnavailable: out of reach, and no verified copy is here.
        """
        from .. import codec

        key, cached = self._verified(
            identifier,
            version_id=version_id,
            sha1=sha1,
            sha256=sha256,
            assembly_prefix=assembly_prefix,
            newest=newest,
        )
        refetch = functools.partial(self.fetch, key, sha256=cached.hashes.sha256)
        return codec.decode(cached.path, cls=cls, chunks=chunks, refetch=refetch)

    def load_extras(
        self,
        identifier: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        assembly_prefix: str | None = None,
        newest: bool = False,
    ) -> dict[str, xr.DataArray]:
        """Return the further assemblies kept in the same file, by name. Arguments and errors as `load`."""
        from .. import codec

        _, cached = self._verified(
            identifier,
            version_id=version_id,
            sha1=sha1,
            sha256=sha256,
            assembly_prefix=assembly_prefix,
            newest=newest,
        )
        return codec.decode_extras(cached.path)

    def load_file(
        self,
        identifier: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        assembly_prefix: str | None = None,
        newest: bool = False,
    ) -> Path:
        """Return an assembly's netCDF file, verified, on this computer, for reading only. Errors as `load`."""
        _, cached = self._verified(
            identifier,
            version_id=version_id,
            sha1=sha1,
            sha256=sha256,
            assembly_prefix=assembly_prefix,
            newest=newest,
        )
        return cached.path

    def versions(self, identifier: str, *, assembly_prefix: str | None = None) -> list[Version]:
        """Return the versions of ``identifier``, newest first; none for an unknown one."""
        self._cannot("versions")

    def identifiers(self, *, assembly_prefix: str | None = None) -> list[str]:
        """Return the identifiers of all assemblies with that file name prefix, sorted."""
        self._cannot("identifiers")

    def file_names(self, *, assembly_prefix: str | None = None) -> list[str]:
        """Return the names of all other files, sorted."""
        self._cannot("file_names")

    def upload_file(
        self, path: str | os.PathLike[str], name: str | None = None, *, replace: bool | None = None
    ) -> Receipt:
        """Keep any file, byte for byte, as a new version of ``name`` (None: its own). Errors as `upload`."""
        self._cannot("upload_file")

    def fetch(
        self,
        name: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        newest: bool = False,
    ) -> Path:
        """Return the path of a verified local copy of a file, for reading only. Pins and errors as `load`."""
        self._cannot("fetch")

    def publish(self, identifier: str, *, version_id: str | None = None, assembly_prefix: str | None = None) -> Receipt:
        """Make one version readable by everybody, and nothing else.

        Args:
            identifier: its name.
            version_id: which version; None: the newest.
            assembly_prefix: what the file's name begins with; None: the store's setting.

        Returns:
            a receipt whose ``uri`` anybody can load. An anonymous reader has read these very bytes.

        Raises:
            AccessDenied: it is not readable by everybody, and was left private; the hint says what to do.
            NotSupported: this kind of store, or its settings, cannot do it.
        """
        self._cannot("publish")

    def unpublish(self, identifier: str, *, version_id: str | None = None, assembly_prefix: str | None = None) -> None:
        """Make ``identifier`` private again: one version, or all where none is named.

        Returns once an anonymous reader was refused.

        Raises:
            AccessDenied: these credentials may not; the hint says what to do.
            StorageError: everybody can still read it, for another reason.
        """
        self._cannot("unpublish")

    def publish_store(self, *, confirm: str) -> None:
        """Make the whole place readable by everybody, where the host opens nothing smaller: OSF opens projects.

        Args:
            confirm: the store's ``address``, so that nobody opens a place by mistake.

        Raises:
            StorageError: ``confirm`` is another text; the message says what else would be opened. Nothing was done.
            AccessDenied: these credentials may not.
            NotSupported: this kind of store opens single assemblies, by `publish`, or nothing.
        """
        self._cannot("publish_store")

    def share(
        self,
        identifier: str,
        *,
        expires: str | int | timedelta = "7d",
        version_id: str | None = None,
        assembly_prefix: str | None = None,
    ) -> str:
        """Return a web address from which anybody can load one version for some time, without credentials.

        Args:
            identifier: its name.
            expires: such as ``"7d"``, ``"12h"``, ``"30m"``; seconds; or a timedelta. Hosts have a limit: S3 7 days.
            version_id, assembly_prefix: as in `publish`.

        Returns:
            an address to give to somebody; ``storage_plugins.load(address)`` loads and verifies it.
        """
        self._cannot("share")

    def _verified(
        self,
        identifier: str | Receipt,
        *,
        version_id: str | None,
        sha1: str | None,
        sha256: str | None,
        assembly_prefix: str | None,
        newest: bool,
    ) -> tuple[str, Cached]:
        """Return an assembly's key, and its verified file on this computer."""
        self._cannot("load from files")

    def _cannot(self, what: str) -> NoReturn:
        raise NotSupported(f"Store {self.name!r} (backend {self._entry.backend}) cannot {what}")


class PlainStore(Store):
    """A store whose backend brings ``upload`` and ``load`` of its own."""

    def __init__(self, entry: StoreEntry, settings: StoreSettings, inner: AssemblyStore) -> None:
        super().__init__(entry, settings)
        self._inner = inner

    def upload(self, assembly: Any, identifier: str, **options: Any) -> Receipt:
        """Keep an assembly, as the backend does it. What the store is called, only this one knows."""
        receipt = self._inner.upload(assembly, check_identifier(identifier), **options)
        return dataclasses.replace(receipt, store=self.name, address=self.address)

    def load(self, identifier: str | Receipt, **options: Any) -> xr.DataArray:
        """Return an assembly, as the backend does it."""
        if not isinstance(identifier, Receipt):
            check_identifier(identifier)
        Pin(*(options.get(field) for field in ("version_id", "sha1", "sha256")))  # refuses a hash that is none
        return self._inner.load(identifier, **options)
