"""What `open_store` returns: every operation of the public API, with its arguments and errors.

The methods here turn what a caller gave into records, `UploadOptions` and `Pin`, and pass these on to the
methods that begin with an underscore. Each kind of store has its own of those: `FileStore` over a
backend's file operations, `Group` over other stores, `PlainStore` over a backend's own ``upload`` and ``load``.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .._identifiers import check_identifier
from .._records import Cached, Pin
from ..errors import NotSupported, StorageError
from ..protocol import AssemblyStore, Receipt, Version
from .in_parts import InParts, parts_of
from .publish import seconds_of
from .show import Place, Summary, summary_of

if TYPE_CHECKING:
    from datetime import timedelta

    import xarray as xr

    from .. import codec
    from .._backend.settings import StoreSettings
    from .._config.config import StoreEntry

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UploadOptions:
    """What a caller of `Store.upload` asked for; see there."""

    extras: Mapping[str, xr.DataArray] | None = None
    assembly_prefix: str | None = None
    drop_attrs: Sequence[str] = ()
    replace: bool | None = None

    def given(self) -> dict[str, Any]:
        """Return those that differ from their defaults, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value not in (None, ())}


class Store:
    """A configured store. What this kind of store cannot do raises NotSupported.

    Attributes:
        name: its name in ``storage.yaml``.
        address: the location, such as ``s3://bucket/prefix``.
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
        """The location, such as ``s3://bucket/prefix``."""
        return f"{self._entry.backend}:{self.name}"

    def __repr__(self) -> str:
        return f"<storage_plugins store {self.name!r}: {self.address}>"

    def promises(self) -> str:
        """Ask the host what happens when an existing name is uploaded again; return the answer in words."""
        return "how it treats a second upload of the same name depends on its backend"

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
        """Store an assembly as a new version of ``identifier`` and return its receipt.

        Args:
            assembly: a DataArray, or the path of a netCDF file, whose bytes are stored as they are.
            identifier: its name: ASCII letters, digits, ``. _ - +``; at most 200 characters.
            extras: further assemblies to store in the same file, by name.
            assembly_prefix: what the file's name begins with; None: the store's setting.
            drop_attrs: attributes to leave out, for those that the file format cannot store.
            replace: on a host without versions, whether to replace an assembly by a changed one.

        Returns:
            the receipt; that of the newest version where it has the same content already.

        Raises:
            InvalidIdentifier, IdentifierCollision: the name cannot be used, or is too close to another one.
            EncodingError: something would change in the file; names it. Nothing was sent.
            AlreadyExists: other content has that name, on a host without versions.
            AccessDenied, QuotaExceeded, StoreUnavailable, IntegrityError: nothing was stored.

        Example:
            >>> import storage_plugins, tempfile, xarray as xr
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates").key
            'assy_Lab2026_rates.nc'
        """
        options = UploadOptions(extras=extras, assembly_prefix=assembly_prefix, drop_attrs=drop_attrs, replace=replace)
        return self._upload(assembly, check_identifier(identifier), options)

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
        download: bool = True,
    ) -> xr.DataArray:
        """Return an assembly, verified over every byte.

        Args:
            identifier: its name, or a receipt.
            version_id, sha1, sha256: which version. A hash is the identity, wherever the bytes are now.
                None and "" pin nothing; if nothing is pinned, the newest receipt decides.
            cls: a subclass of DataArray to return.
            chunks: for a dask-backed assembly, as in ``xarray.open_dataset``; None: in memory.
            assembly_prefix: what the file's name begins with; None: the store's setting.
            newest: ask the store for its newest version, whatever the receipts say.
            download: False: open it where it is stored. Coordinates are read at once; of the data, only the tiles
                that are used, each verified by its hash when it is read. What cannot be read so, such as files of
                other programs, is downloaded, with a warning in the log.

        Raises:
            AssemblyNotFound: no such identifier, version or hash.
            AccessDenied: private, or missing where the host does not show the difference.
            IntegrityError: the bytes are not those of the pin; names expected, got and where.
            InvalidPin: an invalid hash, or an ambiguous version id.
            EncodingError: the file is not an assembly.
            StoreUnavailable: out of reach, and this computer has no verified copy.

        Example:
            >>> import storage_plugins, tempfile, xarray as xr
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> receipt = store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
            >>> store.load("Lab2026.rates", sha1=receipt.sha1).values
            array([1.5, 2. ])
            >>> store.load("Lab2026.rates", download=False)[0].item()
            1.5
        """
        pin = Pin(version_id, sha1, sha256, newest, assembly_prefix)
        load = self._load if download else self._load_in_place
        return load(identifier, pin, cls, chunks)

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
        """Return the further assemblies stored in the same file, by name. Arguments and errors as `load`."""
        from .. import codec  # needs xarray, which looking and listing do not

        pin = Pin(version_id, sha1, sha256, newest, assembly_prefix)
        return codec.decode_extras(self._verified(identifier, pin)[1].path)

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
        return self._verified(identifier, Pin(version_id, sha1, sha256, newest, assembly_prefix))[1].path

    def versions(self, identifier: str, *, assembly_prefix: str | None = None) -> list[Version]:
        """Return the versions of an assembly, or of another file, newest first; none for an unknown name.

        Args:
            identifier: its name.
            assembly_prefix: what the file's name begins with; None: the store's setting.

        Raises:
            AccessDenied, StoreUnavailable: they cannot be listed.
        """
        return self._versions(check_identifier(identifier), assembly_prefix)

    def identifiers(self, *, assembly_prefix: str | None = None) -> list[str]:
        """Return the identifiers of all assemblies with that file name prefix, sorted.

        Args:
            assembly_prefix: what the file names begin with; None: the store's setting.

        Raises:
            AccessDenied, StoreUnavailable: they cannot be listed.
        """
        return self._identifiers(assembly_prefix)

    def file_names(self, *, assembly_prefix: str | None = None) -> list[str]:
        """Return the names of all other files, sorted: stimulus sets, for example.

        Args:
            assembly_prefix: what the file names of assemblies begin with; None: the store's setting.

        Raises:
            AccessDenied, StoreUnavailable: they cannot be listed.
        """
        return self._file_names(assembly_prefix)

    def show(
        self,
        identifier: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        assembly_prefix: str | None = None,
        newest: bool = False,
    ) -> Summary:
        """Return what an assembly contains and where it is, without its data: in about five requests.

        Args:
            identifier, version_id, sha1, sha256, assembly_prefix, newest: as in `load`.

        Returns:
            a summary: ``print`` shows it, ``as_dict()`` is for programs, and ``picture()`` reads a few tiles. Files of
            other programs are downloaded for it.

        Raises:
            as `load`.

        Example:
            >>> import storage_plugins, tempfile, xarray as xr
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> receipt = store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
            >>> store.show("Lab2026.rates")
            <storage_plugins summary of 'Lab2026.rates': neuroid 2, float64>
        """
        return summary_of(self._place(identifier, Pin(version_id, sha1, sha256, newest, assembly_prefix)))

    def upload_file(
        self, path: str | os.PathLike[str], name: str | None = None, *, replace: bool | None = None
    ) -> Receipt:
        """Store any file, byte for byte, as a new version of ``name``.

        Args:
            path: the file.
            name: its name in the store; None: its own.
            replace: on a host without versions, whether to replace a file by a changed one.

        Returns:
            the receipt, whose ``identifier`` is the name.

        Raises:
            as `upload`; AssemblyNotFound: there is no such file.
        """
        return self._upload_file(path, name, replace)

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
        return self._fetch(name, Pin(version_id, sha1, sha256, newest)).path

    def publish(
        self,
        identifier: str,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        assembly_prefix: str | None = None,
    ) -> Receipt:
        """Make one version public, and nothing else.

        Args:
            identifier: its name, or the name of another file, such as a stimulus set.
            version_id, sha1, sha256: which version; None: the newest.
            assembly_prefix: what the file's name begins with; None: the store's setting.

        Returns:
            a receipt whose ``uri`` anyone can load. An anonymous reader has read these very bytes.

        Raises:
            AccessDenied: anonymous readers cannot read it, and it was left private; the hint says what to do.
            NotSupported: this kind of store, or its settings, cannot do it.
        """
        return self._publish(identifier, Pin(version_id, sha1, sha256, assembly_prefix=assembly_prefix))

    def unpublish(
        self,
        identifier: str,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        assembly_prefix: str | None = None,
    ) -> None:
        """Make ``identifier`` private again: one version, or all where none is named.

        Returns once an anonymous reader was refused.

        Raises:
            AccessDenied: these credentials may not; the hint says what to do.
            StorageError: anyone can still read it, for another reason.
        """
        self._unpublish(identifier, Pin(version_id, sha1, sha256, assembly_prefix=assembly_prefix))

    def publish_store(self, *, confirm: str) -> None:
        """Make the whole location public, where the host publishes nothing smaller: OSF publishes projects.

        Args:
            confirm: the store's ``address``, so that nobody publishes a store by mistake.

        Raises:
            StorageError: ``confirm`` is another text; the message says what else would become public.
                Nothing was changed.
            AccessDenied: these credentials may not.
            NotSupported: this kind of store publishes single assemblies, by `publish`, or nothing.
        """
        self._publish_store(confirm)

    def share(
        self,
        identifier: str,
        *,
        expires: str | int | timedelta = "7d",
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        assembly_prefix: str | None = None,
    ) -> str:
        """Return a web address from which anyone can load one version for some time, without credentials.

        Args:
            identifier: as in `publish`.
            expires: such as ``"7d"``, ``"12h"``, ``"30m"``; seconds; or a timedelta. Hosts have a limit: S3 7 days.
            version_id, sha1, sha256, assembly_prefix: as in `publish`.

        Returns:
            an address to send to somebody; ``storage_plugins.load(address)`` loads and verifies it.

        Raises:
            ValueError: ``expires`` is not a time span, or longer than the host allows.
        """
        return self._share(
            identifier, Pin(version_id, sha1, sha256, assembly_prefix=assembly_prefix), seconds_of(expires)
        )

    # what each kind of store does in its own way

    def _upload(self, assembly: xr.DataArray | str | os.PathLike[str], identifier: str, how: UploadOptions) -> Receipt:
        self._cannot("upload()")

    def _load(self, identifier: str | Receipt, pin: Pin, cls: type | None, chunks: Any) -> xr.DataArray:
        from .. import codec

        key, cached = self._verified(identifier, pin)
        refetch = functools.partial(self.fetch, key, sha256=cached.digests.sha256)  # travels in a lazy one's pickle
        known = [identifier] if isinstance(identifier, Receipt) else self._receipts_of(key)
        digests = (receipt.content_digest for receipt in known if receipt.digests == cached.digests)
        return codec.decode(
            cached.path, cls=cls, chunks=chunks, refetch=refetch, content_digest=next(filter(None, digests), None)
        )

    def _load_in_place(self, identifier: str | Receipt, pin: Pin, cls: type | None, chunks: Any) -> xr.DataArray:
        """Return an assembly that is read in parts; one that cannot be is downloaded."""
        try:
            parts = self.opened_parts(identifier, pin)
        except NotSupported as error:
            _log.warning("%s. It is downloaded whole", error.message)
            return self._load(identifier, pin, cls, chunks)
        return parts.assembly(cls, chunks)

    def opened_parts(self, identifier: str | Receipt, pin: Pin) -> codec.Parts:
        """Return an assembly of which only the description was read; errors as of `in_parts.parts_of`."""
        key, found = self._in_parts(identifier, pin)
        return parts_of(found, functools.partial(self.fetch, key, sha256=found.digests.sha256))

    def _place(self, identifier: str | Receipt, pin: Pin) -> Place:
        """Return where the version is that a pin means, and what is known of it."""
        name = identifier.identifier if isinstance(identifier, Receipt) else identifier
        try:
            key, found = self._in_parts(identifier, pin)
        except NotSupported:
            key, found = self._verified(identifier, pin)
        store = found.source.store if isinstance(found, InParts) else self
        try:
            versions = store._versions_of_key(key, name)
        except StorageError:
            versions = None
        return Place(
            identifier=name,
            key=key,
            store=store.name,
            address=store.address,
            found=found,
            versions=versions,
            receipts=self._receipts_of(key),
            refetch=functools.partial(self.fetch, key, sha256=found.digests.sha256),
            is_public=functools.partial(store._anyone_can_read, key),
        )

    def _receipts_of(self, key: str) -> list[Receipt]:
        """Return the receipts of a key, newest first."""
        return []

    def _versions_of_key(self, key: str, name: str) -> list[Version]:
        """Return the versions of a file that are of an identifier."""
        return self._versions(name, None)

    def _anyone_can_read(self, key: str, version_id: str | None, newest: bool) -> bool | None:
        """Whether anyone can read a version; None: unknown."""
        return None

    def _in_parts(self, identifier: str | Receipt, pin: Pin) -> tuple[str, Cached]:
        """Return an assembly's key, and where its version was found, not downloaded."""
        self._cannot("download=False")

    def _verified(self, identifier: str | Receipt, pin: Pin) -> tuple[str, Cached]:
        """Return an assembly's key, and its verified file on this computer."""
        self._cannot("loading files")

    def _versions(self, identifier: str, assembly_prefix: str | None) -> list[Version]:
        self._cannot("versions()")

    def _identifiers(self, assembly_prefix: str | None) -> list[str]:
        self._cannot("identifiers()")

    def _file_names(self, assembly_prefix: str | None) -> list[str]:
        self._cannot("file_names()")

    def _upload_file(self, path: str | os.PathLike[str], name: str | None, replace: bool | None) -> Receipt:
        self._cannot("upload_file()")

    def _fetch(self, name: str | Receipt, pin: Pin) -> Cached:
        self._cannot("fetch()")

    def _publish(self, identifier: str, pin: Pin) -> Receipt:
        self._cannot("publish()")

    def _unpublish(self, identifier: str, pin: Pin) -> None:
        self._cannot("unpublish()")

    def _publish_store(self, confirm: str) -> None:
        self._cannot("publish_store()")

    def _share(self, identifier: str, pin: Pin, seconds: int) -> str:
        self._cannot("share()")

    def _cannot(self, what: str) -> NoReturn:
        raise NotSupported(f"Store {self.name!r} (backend {self._entry.backend}) does not support {what}")


class PlainStore(Store):
    """A store whose backend has ``upload`` and ``load`` of its own."""

    def __init__(self, entry: StoreEntry, settings: StoreSettings, inner: AssemblyStore) -> None:
        super().__init__(entry, settings)
        self._inner = inner

    def _upload(self, assembly: xr.DataArray | str | os.PathLike[str], identifier: str, how: UploadOptions) -> Receipt:
        receipt = self._inner.upload(assembly, identifier, **how.given())
        return dataclasses.replace(receipt, store=self.name, address=self.address)

    def _load(self, identifier: str | Receipt, pin: Pin, cls: type | None, chunks: Any) -> xr.DataArray:
        if not isinstance(identifier, Receipt):
            check_identifier(identifier)
        options = {**dataclasses.asdict(pin), "cls": cls, "chunks": chunks}
        return self._inner.load(
            identifier, **{name: value for name, value in options.items() if value not in (None, False)}
        )
