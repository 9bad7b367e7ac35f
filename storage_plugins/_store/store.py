"""What `open_store` returns: every operation of the public API, with its arguments and errors.

The methods here turn what a caller gave into records, `UploadOptions` and `Pin`, and pass these on to the
methods that begin with an underscore. Each kind of store has its own of those: `FileStore` over a
backend's file operations, `Group` over other stores, `PlainStore` over a backend's own ``upload`` and ``load``.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .._backend.offline import refuse_if_offline
from .._identifiers import check_identifier
from .._records import Cached, Pin
from ..errors import ConfigError, NotSupported
from ..protocol import AssemblyStore, Receipt, Version
from .publish import seconds_of

if TYPE_CHECKING:
    from datetime import timedelta

    import xarray as xr

    from .._audit.report import VerifyReport
    from .._audit.where import Whereabouts
    from .._audit.withdraw import WithdrawReport
    from .._backend.settings import StoreSettings
    from .._config.config import StoreEntry
    from .file_store import FileStore
    from .prefetch import PrefetchReport


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
            AssemblyWithdrawn: this content was withdrawn under that name, by the receipts.
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

        Raises:
            AssemblyNotFound: no such identifier, version or hash.
            AssemblyWithdrawn: the version was removed on purpose; says why.
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
        """
        return self._load(identifier, Pin(version_id, sha1, sha256, newest, assembly_prefix), cls, chunks)

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

    def verify(
        self, identifiers: Iterable[str] | None = None, *, against: Store | str | None = None, full: bool = False
    ) -> VerifyReport:
        """Compare this store with the receipts of its address, and each version with its record. Nothing is changed.

        The cache is not used. Of a group, all members are verified.

        Args:
            identifiers: of the assemblies, or names of files; None: everything.
            against: a store, or its name in the same configuration: each of its versions must be here, too.
            full: read every byte, and compare its hash. Otherwise existence, sizes, and the hashes that the store
                reports are compared. A full run that was interrupted continues where it stopped.

        Returns:
            the state of each version. `VerifyReport.ok` is False if there is none.

        Raises:
            NotSupported: the store does not consist of files.
            AccessDenied, StoreUnavailable: the store to compare with cannot be listed or read.

        Example:
            >>> import storage_plugins, tempfile, xarray as xr
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> receipt = store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
            >>> store.verify(full=True).ok
            True
        """
        from .._audit.verify import verify_stores

        others = [] if against is None else self.sibling(against).file_stores("verify()")
        return verify_stores(self.file_stores("verify()"), identifiers, against=others, full=full)

    def withdraw(
        self,
        identifier: str,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        assembly_prefix: str | None = None,
        reason: str,
        confirm: str,
        all_copies: bool = False,
    ) -> WithdrawReport:
        """Remove one version's bytes for good, and leave a tombstone that says when, by whom and why.

        For what must not be there, such as data of a participant who withdrew consent. Afterwards a load of this
        version, by any pin, raises AssemblyWithdrawn with the reason, and so does a load without a pin until a newer
        version is uploaded. Equal bytes under the same name are removed as well. The cache of this computer forgets
        them; that of another computer does when it sees the receipts, or when a load asks the store.

        Args:
            identifier: its name, or the name of another file.
            version_id, sha1, sha256: which version; one of them must be given.
            assembly_prefix: what the file's name begins with; None: the store's setting.
            reason: why, for everyone who tries to load it.
            confirm: ``identifier`` once more.
            all_copies: remove the copies in other stores of the configuration, too, as far as receipts know them.

        Raises:
            NotSupported: the host cannot remove single versions; the hint says what a person must do.
            AccessDenied: these credentials may not.
            StorageError: ``confirm`` is not the identifier; nothing was removed.

        Example:
            >>> import storage_plugins, tempfile, xarray as xr
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> receipt = store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
            >>> report = store.withdraw(
            ...     "Lab2026.rates", version_id=receipt.version_id, reason="consent withdrawn", confirm="Lab2026.rates"
            ... )
            >>> store.versions("Lab2026.rates")
            []
        """
        pin = Pin(version_id, sha1, sha256, assembly_prefix=assembly_prefix)
        return self._withdraw(check_identifier(identifier), pin, reason, confirm, all_copies)

    def prefetch(self, wanted: Iterable[str | Receipt]) -> PrefetchReport:
        """Bring files into the cache of this computer, verified, several at a time.

        Afterwards they load without a network, with ``STORAGE_PLUGINS_OFFLINE=1`` too. A file that fails does not stop
        the others.

        Args:
            wanted: identifiers, names of other files, or receipts. Without a receipt as pin, a name means what it
                means for `load`.

        Returns:
            which files are on this computer now, and which failed.

        Example:
            >>> import storage_plugins, tempfile, xarray as xr
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> receipt = store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
            >>> len(store.prefetch([receipt]).fetched)
            1
        """
        from .prefetch import Wanted, prefetch

        wanted = [wanted] if isinstance(wanted, str | Receipt) else wanted
        return prefetch((self, Wanted.of(one)) for one in wanted)

    def where(self, identifier: str) -> tuple[Whereabouts, ...]:
        """Ask this store, and the others of its configuration, which versions of a name they have.

        Arguments and answers as `storage_plugins.where`.

        Example:
            >>> import storage_plugins, tempfile
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> [(answer.store, answer.state) for answer in store.where("Lab2026.rates")]
            [('lab', 'missing')]
        """
        from .._audit.where import where_among

        return where_among({**self._entry.others, self.name: self._entry}.values(), identifier)

    def members(self) -> dict[str, bool]:
        """Return the names of the stores that it consists of, and whether uploads go there; none but for a group."""
        return {}

    def sibling(self, store: Store | str) -> Store:
        """Return a store that is given by its name in the same configuration, or itself.

        Raises:
            ConfigError: there is no such store.
        """
        from .open import open_entry

        if isinstance(store, Store):
            return store
        others = self._entry.others
        if store not in others:
            raise ConfigError(f"There is no store {store!r} beside {self.name!r} in {self._entry.origin}")
        return open_entry(others[store])

    def file_stores(self, what: str) -> list[FileStore]:
        """Return the stores of files that it consists of; ``what`` needs them."""
        self._cannot(what)

    # what each kind of store does in its own way

    def _upload(self, assembly: xr.DataArray | str | os.PathLike[str], identifier: str, how: UploadOptions) -> Receipt:
        self._cannot("upload()")

    def _load(self, identifier: str | Receipt, pin: Pin, cls: type | None, chunks: Any) -> xr.DataArray:
        from .. import codec

        key, cached = self._verified(identifier, pin)
        refetch = functools.partial(self.fetch, key, sha256=cached.digests.sha256)  # travels in a lazy one's pickle
        return codec.decode(cached.path, cls=cls, chunks=chunks, refetch=refetch)

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

    def _withdraw(self, identifier: str, pin: Pin, reason: str, confirm: str, all_copies: bool) -> WithdrawReport:
        self._cannot("withdraw()")

    def _cannot(self, what: str) -> NoReturn:
        raise NotSupported(f"Store {self.name!r} (backend {self._entry.backend}) does not support {what}")


class PlainStore(Store):
    """A store whose backend has ``upload`` and ``load`` of its own."""

    def __init__(self, entry: StoreEntry, settings: StoreSettings, inner: AssemblyStore) -> None:
        super().__init__(entry, settings)
        self._inner = inner

    def _upload(self, assembly: xr.DataArray | str | os.PathLike[str], identifier: str, how: UploadOptions) -> Receipt:
        refuse_if_offline(self.address)
        receipt = self._inner.upload(assembly, identifier, **how.given())
        return dataclasses.replace(receipt, store=self.name, address=self.address)

    def _load(self, identifier: str | Receipt, pin: Pin, cls: type | None, chunks: Any) -> xr.DataArray:
        refuse_if_offline(self.address)
        if not isinstance(identifier, Receipt):
            check_identifier(identifier)
        options = {**dataclasses.asdict(pin), "cls": cls, "chunks": chunks}
        return self._inner.load(
            identifier, **{name: value for name, value in options.items() if value not in (None, False)}
        )
