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
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from .._backend.offline import refuse_if_offline
from .._identifiers import check_identifier
from .._progress import Bars
from .._records import Cached, Pin, UploadOptions
from .._visible import html_fields, visible
from ..errors import ConfigError, NotSupported, StorageError
from ..protocol import AssemblyStore, Receipt, Version
from .cite import Citation, cite
from .in_parts import InParts, parts_of
from .many import ManyReport, copied_into, refuse_collisions, refuse_same_files, run
from .publish import seconds_of
from .show import Place, Summary, summary_of

if TYPE_CHECKING:
    from datetime import timedelta

    import xarray as xr

    from .. import codec
    from .._audit.report import VerifyReport
    from .._audit.where import Whereabouts
    from .._audit.withdraw import WithdrawReport
    from .._backend.settings import StoreSettings
    from .._config.config import StoreEntry
    from .file_store import FileStore
    from .prefetch import PrefetchReport


_LARGE = 8 << 20  # bytes from which on a file gets a progress bar
Report = Callable[[str, int, int | None], None]

_log = logging.getLogger(__name__)


class Store:
    """A configured store. What this kind of store cannot do raises NotSupported.

    Attributes:
        name: its name in ``storage.yaml``.
        address: the location, such as ``s3://bucket/prefix``.
        settings: its checked settings; shows no secrets.
        progress: True shows bars for large files, on a terminal or in a notebook. Or a function that is called
            with a file's name, bytes done and bytes in all (None: unknown) during transfers.
    """

    _at_once: ClassVar[int] = 4  # uploads or loads side by side; each has one file on disk, and connections
    _fetches_at_once: ClassVar[int] = 8  # small files over a link of 20 ms: 1.4 times as fast as 4, no slower than 16

    def __init__(self, entry: StoreEntry, settings: StoreSettings) -> None:
        self.name = entry.name
        self.settings = settings
        self._progress: Report | None = None
        self._entry = entry
        self._opener: Callable[[StoreEntry], Store]  # opens those beside it; given by who opened this one

    @property
    def address(self) -> str:
        """The location, such as ``s3://bucket/prefix``."""
        return f"{self._entry.backend}:{self.name}"

    @property
    def progress(self) -> Report | None:
        """What is called during transfers; None: nothing."""
        return self._progress

    @progress.setter
    def progress(self, report: Report | bool | None) -> None:
        if report is True:
            self._progress = Bars(smallest=_LARGE, leave=True)
        else:
            self._progress = report or None

    def __repr__(self) -> str:
        return f"<storage_plugins store {self.name!r}: {visible(self.address, one_line=True)}>"

    def _repr_html_(self) -> str:
        fields = {"backend": self._entry.backend, "address": self.address, "contact": self.settings.contact}
        return html_fields(f"Store {self.name}", {**fields, "configured in": self._entry.origin})

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
            ValueError: ``expires`` is not a time span.
            NotSupported: it is longer than the host allows, or the host has no such links. Nothing was read.
        """
        return self._share(
            identifier, Pin(version_id, sha1, sha256, assembly_prefix=assembly_prefix), seconds_of(expires)
        )

    def cite(
        self,
        identifier: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        assembly_prefix: str | None = None,
        authors: Sequence[str] | str = (),
    ) -> Citation:
        """Return how one version is cited: as a sentence, as BibTeX, as CITATION.cff, and as Python that loads it.

        A receipt in the receipts folder is enough. Without one, the store is asked; if it has no record of the
        hashes, the file is read.

        Args:
            identifier: its name, or the name of another file; or a receipt.
            version_id, sha1, sha256: which version; None: the newest receipt, else the newest version.
            assembly_prefix: what the file's name begins with; None: the store's setting.
            authors: their names, such as ``"Doe, Jane"``; a text is one name.

        Raises:
            AssemblyNotFound: no such identifier, version or hash.
            and what `load` raises.

        Example:
            >>> import storage_plugins, tempfile, xarray as xr
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> receipt = store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
            >>> print(store.cite("Lab2026.rates", authors="Doe, Jane"))  # doctest: +ELLIPSIS
            Doe, Jane (20...). Lab2026.rates, version 1-... [data set]. ...
        """
        return self._cite(identifier, Pin(version_id, sha1, sha256, assembly_prefix=assembly_prefix), authors)

    # many at once

    def upload_many(
        self,
        assemblies: Mapping[str, xr.DataArray | str | os.PathLike[str]],
        *,
        assembly_prefix: str | None = None,
        drop_attrs: Sequence[str] = (),
        replace: bool | None = None,
    ) -> ManyReport[Receipt]:
        """Store several assemblies, or netCDF files, side by side.

        One that fails does not stop the others; only if the store cannot be reached several times in a row, the
        rest are not tried. What the store has already is not sent again, so run it again after an interruption.
        ``progress`` is called from several threads.

        Args:
            assemblies: DataArrays, or paths of netCDF files, by identifier.
            assembly_prefix, drop_attrs, replace: as in `upload`.

        Returns:
            a report; ``done`` has the receipts, by identifier.

        Raises:
            InvalidIdentifier, IdentifierCollision: a name cannot be used, or two would share a file. Nothing was sent.

        Example:
            >>> import storage_plugins, tempfile, xarray as xr
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> rates = xr.DataArray([1.5, 2.0], dims="neuroid")
            >>> report = store.upload_many({"Lab2026.monkey1": rates, "Lab2026.monkey2": rates + 1, "Lab2026.m3": None})
            >>> report
            <storage_plugins report: 2 done, 1 failed>
            >>> report.done["Lab2026.monkey2"].key
            'assy_Lab2026_monkey2.nc'
        """
        if not isinstance(assemblies, Mapping):
            raise TypeError(f"Give a mapping of identifiers to assemblies, not {type(assemblies).__name__}")
        prefix = self.settings.assembly_prefix if assembly_prefix is None else assembly_prefix
        refuse_collisions(assemblies, prefix)
        options = UploadOptions(assembly_prefix=assembly_prefix, drop_attrs=drop_attrs, replace=replace)
        return run(
            assemblies,
            lambda identifier: self._upload(assemblies[identifier], identifier, options),
            at_once=self._at_once,
            gives_up=True,
        )

    def load_many(
        self,
        identifiers: Iterable[str | Receipt],
        *,
        cls: type | None = None,
        chunks: Mapping[Any, Any] | int | str | None = None,
        assembly_prefix: str | None = None,
        newest: bool = False,
    ) -> ManyReport[xr.DataArray]:
        """Load several assemblies side by side, each verified. One that fails does not stop the others.

        Args:
            identifiers: names, or receipts, which pin their versions.
            cls, chunks, assembly_prefix, newest: as in `load`. Without ``chunks`` all are in memory at the end.

        Returns:
            a report; ``done`` has the assemblies, by what was given for each.

        Example:
            >>> import storage_plugins, tempfile, xarray as xr
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> receipt = store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
            >>> report = store.load_many([receipt, "Lab2026.missing"])
            >>> report.done[receipt].values
            array([1.5, 2. ])
            >>> type(report.failed["Lab2026.missing"]).__name__
            'AssemblyNotFound'
        """
        return run(
            _several(identifiers),
            lambda one: self.load(one, cls=cls, chunks=chunks, assembly_prefix=assembly_prefix, newest=newest),
            at_once=self._at_once,
        )

    def fetch_many(
        self,
        names: Iterable[str | Receipt],
        folder: str | os.PathLike[str] | None = None,
        *,
        newest: bool = False,
        replace: bool = False,
    ) -> ManyReport[Path]:
        """Fetch several files side by side, each verified. One that fails does not stop the others.

        Args:
            names: names of files, or receipts of files or assemblies.
            folder: where they are copied to, under their names in the store; what is there already is not copied
                again. None: they stay where `fetch` has them, for reading only.
            newest: as in `fetch`.
            replace: whether other files of these names in ``folder`` are replaced.

        Returns:
            a report; ``done`` has the paths, by what was given for each.

        Example:
            >>> import pathlib, storage_plugins, tempfile
            >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
            >>> store = storage_plugins.open_store(config={"stores": stores})
            >>> folder = pathlib.Path(tempfile.mkdtemp())
            >>> _ = (folder / "hvm.csv").write_text("a,b")
            >>> receipt = store.upload_file(folder / "hvm.csv")
            >>> store.fetch_many([receipt], folder / "copies").done[receipt].name
            'hvm.csv'
        """
        wanted = _several(names)
        keys = {one: one.key if isinstance(one, Receipt) else one for one in wanted}
        if folder is not None:
            refuse_same_files(keys.values())

        def fetched(one: str | Receipt) -> Path:
            found = self._fetch(one, Pin(newest=newest and not isinstance(one, Receipt)))
            return found.path if folder is None else copied_into(Path(folder), keys[one], found, replace=replace)

        return run(wanted, fetched, at_once=self._fetches_at_once)

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

        return where_among(self._opener, {**self._entry.others, self.name: self._entry}.values(), identifier)

    def members(self) -> dict[str, bool]:
        """Return the names of the stores that it consists of, and whether uploads go there; none but for a group."""
        return {}

    def sibling(self, store: Store | str) -> Store:
        """Return a store that is given by its name in the same configuration, or itself.

        Raises:
            ConfigError: there is no such store.
        """
        if isinstance(store, Store):
            return store
        others = self._entry.others
        if store not in others:
            raise ConfigError(f"There is no store {store!r} beside {self.name!r} in {self._entry.origin}")
        return self._opener(others[store])

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
        known = [identifier] if isinstance(identifier, Receipt) else self._receipts_of(key)
        digests = (receipt.content_digest for receipt in known if receipt.digests == cached.digests)
        return codec.decode(
            cached.path,
            cls=cls,
            chunks=chunks,
            refetch=refetch,
            content_digest=cached.content_digest or next(filter(None, digests), None),
            verified=cached.note_content,
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

    def _cite(self, identifier: str | Receipt, pin: Pin, authors: Sequence[str] | str) -> Citation:
        if not isinstance(identifier, Receipt):
            self._cannot("cite() without a receipt")
        if pin.names_version:
            raise TypeError("A receipt is a pin already: give nothing else with it")
        return cite(identifier, authors=authors, contact=self.settings.contact)

    def _withdraw(self, identifier: str, pin: Pin, reason: str, confirm: str, all_copies: bool) -> WithdrawReport:
        self._cannot("withdraw()")

    def _cannot(self, what: str) -> NoReturn:
        raise NotSupported(f"Store {self.name!r} (backend {self._entry.backend}) does not support {what}")


class PlainStore(Store):
    """A store whose backend has ``upload`` and ``load`` of its own."""

    _at_once = _fetches_at_once = 1  # nobody promises that the backend's own calls can be made from several threads

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


def _several(names: Iterable[str | Receipt]) -> list[str | Receipt]:
    if isinstance(names, str | Receipt):
        raise TypeError(f"Give a list of names or receipts, not {names!r} alone")
    return list(names)
