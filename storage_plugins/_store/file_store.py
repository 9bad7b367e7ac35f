"""A store of files: one netCDF file for each version of an assembly, over a backend's file operations."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .._backend.host import Host
from .._backend.operations import FileOperations
from .._copies.cache import Cache
from .._copies.receipts import Receipts
from .._identifiers import assembly_key, check_file_name
from .._records import Cached, Digests, Pin, UploadOptions
from .._waiting import each
from ..errors import AccessDenied, AssemblyNotFound, StorageError
from ..protocol import Receipt, Version
from .cite import Citation, cite
from .copies import saying_where_copies_are
from .in_parts import PartLoader
from .load import Loader
from .parts import Parts
from .publish import check_link_lasts, check_publishes_alone, publish, publish_place, readers_of, unpublish
from .replaced import FOLDER, replaced_versions
from .show import anyone_can_read
from .store import Store
from .upload import upload_assembly, upload_file
from .withdrawn import refuse_withdrawn

if TYPE_CHECKING:
    import xarray as xr

    from .._audit.withdraw import WithdrawReport
    from .._backend.settings import StoreSettings
    from .._config.config import StoreEntry

_log = logging.getLogger(__name__)
_LOOKS_AT_ONCE = 16  # simultaneous requests where many small answers are wanted


class FileStore(Store):
    """A store of files.

    Args:
        entry: where it was configured.
        settings: its checked settings.
        files: the backend's file operations.
        cache: where verified copies are stored.
        unset: environment variables that its settings name and that are not set.
    """

    def __init__(
        self,
        entry: StoreEntry,
        settings: StoreSettings,
        files: FileOperations,
        *,
        cache: Cache,
        unset: Sequence[str] = (),
    ) -> None:
        super().__init__(entry, settings)
        self.files = files
        self.cache = cache
        self.receipts = Receipts(entry.receipts)
        self._unset = tuple(unset)

    @property
    def host(self) -> Host:
        """The way to its backend's operations."""
        return Host(self.files, self.settings.timeout)

    @property
    def parts(self) -> Parts:
        """What it consists of."""
        return Parts(
            name=self.name,
            host=self.host,
            settings=self.settings,
            cache=self.cache,
            receipts=self.receipts,
            origin=self._entry.origin,
            implicit=self._entry.implicit is not None,
            progress=self.progress,
        )

    @property
    def address(self) -> str:
        """The location, such as ``s3://bucket/prefix``."""
        return self.files.address

    def elsewhere(self, cache: Cache) -> FileStore:
        """Return this store as another machine has it: with another cache, and without receipts."""
        entry = dataclasses.replace(self._entry, receipts=None, implicit=None)
        return FileStore(entry, self.settings, self.files, cache=cache, unset=self._unset)

    def file_stores(self, what: str) -> list[FileStore]:
        """Return the stores of files that it consists of: this one alone."""
        return [self]

    def _withdraw(self, identifier: str, pin: Pin, reason: str, confirm: str, all_copies: bool) -> WithdrawReport:
        from .._audit.withdraw import withdraw

        return withdraw(self, identifier, pin, reason=reason, confirm=confirm, all_copies=all_copies)

    def promises(self) -> str:
        """Ask the host what happens when an existing name is uploaded again; see `Store.promises`."""
        host = self.host
        try:
            if host.keeps_versions():
                return f"keeps every version{'; anyone can read everything there' if host.place_is_public() else ''}"
        except StorageError as error:
            return f"cannot be asked: {error.message}"
        found = ["does not report that it keeps versions: changed bytes are refused"]
        if host.replaces():
            found.append(f"; with replace=True the old ones are kept under {FOLDER}/, loadable by their hash")
        if not host.creates_safely():
            found.append(". Of two simultaneous uploads of one name, one may be lost on this host")
        return "".join(found)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Add to a refusal in this block what the settings say about access."""
        try:
            yield
        except AccessDenied as error:
            contact = self.settings.contact
            hint = error.hint or f"Ask {contact or 'the owner of the store'} for access."
            if contact and contact not in hint and "\n" not in hint:  # a command on its own line ends the hint
                hint = f"{hint} If that does not help, ask {contact}."
            unset = [
                f"The environment variable {name}, named in {self._entry.origin}, is not set." for name in self._unset
            ]
            error.hint = " ".join([*(sentence for sentence in unset if sentence not in hint), hint])
            raise

    # uploading and loading

    def _upload(self, assembly: xr.DataArray | str | os.PathLike[str], identifier: str, how: UploadOptions) -> Receipt:
        with self.explained():
            return upload_assembly(self.parts, assembly, identifier, how)

    def _upload_file(self, path: str | os.PathLike[str], name: str | None, replace: bool | None) -> Receipt:
        with self.explained():
            return upload_file(self.parts, path, name, replace)

    def _verified(self, identifier: str | Receipt, pin: Pin) -> tuple[str, Cached]:
        if isinstance(identifier, Receipt):
            return identifier.key, self._fetch(identifier, pin)
        key = assembly_key(identifier, self.parts.prefix(pin.assembly_prefix))
        usual = key == assembly_key(identifier, self.settings.assembly_prefix)
        with self.explained(), saying_where_copies_are(self, identifier if usual else key, key, pin):
            return key, Loader(self.parts).fetch(key, pin, identifier)

    def _in_parts(self, identifier: str | Receipt, pin: Pin) -> tuple[str, Cached]:
        if isinstance(identifier, Receipt):
            key, pin = identifier.key, self._pin_of(identifier, pin)
            return key, self.file_in_parts(key, pin, receipt=identifier)
        key = assembly_key(identifier, self.parts.prefix(pin.assembly_prefix))
        return key, self.file_in_parts(key, pin, identifier)

    def file_in_parts(
        self, key: str, pin: Pin, identifier: str | None = None, *, receipt: Receipt | None = None
    ) -> Cached:
        """Return the version of a file that ``pin`` means, not downloaded; the verified file where it is here."""
        with self.explained():
            return PartLoader(self, receipt).fetch(check_file_name(key), pin, identifier)

    def _receipts_of(self, key: str) -> list[Receipt]:
        return self.receipts.of(key)

    def _versions_of_key(self, key: str, name: str) -> list[Version]:
        with self.explained():
            return [version for version in self.host.versions(key) if version.answers_to(name)]

    def _anyone_can_read(self, key: str, version_id: str | None, newest: bool) -> bool | None:
        return anyone_can_read(self.host, key, version_id, newest)

    def _pin_of(self, receipt: Receipt, pin: Pin) -> Pin:
        """Return the pin that a receipt is."""
        if pin.names_version:
            raise TypeError("A receipt is a pin already: give nothing else with it")
        # another location's version id means nothing here
        version_id = receipt.version_id if receipt.address == self.address else None
        return dataclasses.replace(pin, version_id=version_id, sha1=receipt.sha1, sha256=receipt.sha256)

    def _fetch(self, name: str | Receipt, pin: Pin) -> Cached:
        if isinstance(name, Receipt):
            pin = self._pin_of(name, pin)
            name = name.key
        with self.explained(), saying_where_copies_are(self, name, name, pin):
            return Loader(self.parts).fetch(check_file_name(name), pin)

    # looking

    def _versions(self, identifier: str, assembly_prefix: str | None) -> list[Version]:
        return self._key_and_versions(identifier, assembly_prefix)[1]

    def _key_and_versions(self, name: str, assembly_prefix: str | None) -> tuple[str, list[Version]]:
        """Return the key that a name means, and its versions."""
        host, keys = self.host, self.keys_of(name, assembly_prefix)
        with self.explained():
            for key in keys:
                versions = host.versions(key)
                present = {version.sha256 for version in versions}
                versions += [version for version in replaced_versions(host, key) if version.sha256 not in present]
                found = [version for version in versions if version.answers_to(name)]
                if found:
                    return key, found
        return keys[0], []

    def keys_of(self, name: str, assembly_prefix: str | None = None) -> list[str]:
        """Return the keys that a name may mean: an assembly's; else another file's, unless a prefix is given."""
        key = assembly_key(name, self.parts.prefix(assembly_prefix))
        return [key] if assembly_prefix is not None or name.endswith(".") else [key, name]

    def _identifiers(self, assembly_prefix: str | None) -> list[str]:
        prefix = self.parts.prefix(assembly_prefix)
        with self.explained():
            described = self.host.newest_of_all(prefix)
            if described is not None:
                return sorted(_recorded_name(key, prefix, version) for key, version in described if _is_assembly(key))
            keys = [key for key in self.all_keys(prefix) if _is_assembly(key)]
            with concurrent.futures.ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
                return sorted(each(pool, lambda key: self._identifier(key, prefix), keys))

    def _identifier(self, key: str, prefix: str) -> str:
        """Return the identifier recorded with a key; without a record, what its name says."""
        if "_" not in key.removeprefix(prefix):  # no dot can have become an underscore
            return _recorded_name(key, prefix, None)
        try:
            return _recorded_name(key, prefix, self.host.newest(key))
        except (AccessDenied, AssemblyNotFound):
            return _recorded_name(key, prefix, None)

    def _file_names(self, assembly_prefix: str | None) -> list[str]:
        prefix = self.parts.prefix(assembly_prefix)
        with self.explained():
            return sorted(key for key in self.all_keys("") if not (key.startswith(prefix) and key.endswith(".nc")))

    def all_keys(self, prefix: str) -> list[str]:
        """Return the keys of all files for users that begin with ``prefix``."""
        return [key for key in self.host.keys(prefix) if not key.startswith(".")]

    # citing

    def _cite(self, identifier: str | Receipt, pin: Pin, authors: Sequence[str] | str) -> Citation:
        if isinstance(identifier, Receipt):
            citation = super()._cite(identifier, pin, authors)
        else:
            citation = cite(self._receipt_of(identifier, pin), authors=authors, contact=self.settings.contact)
        doi = self._doi() if citation.receipt.address == self.address else None
        return dataclasses.replace(citation, doi=doi)

    def _doi(self) -> str | None:
        """Return the location's DOI; None where it has none, or cannot be asked."""
        try:
            return self.host.doi()
        except StorageError as error:
            _log.warning("Whether %s has a DOI cannot be seen: %s", self.address, error.message)
            return None

    def _receipt_of(self, name: str, pin: Pin) -> Receipt:
        """Return the receipt of one version here: the one that is written, else one made from what the host says."""

        def fits(one: Receipt | Version) -> bool:
            return pin.fits(one) and (pin.by_hash or pin.version_id in (None, one.version_id))

        keys = self.keys_of(name, pin.assembly_prefix)
        for key in keys:
            refuse_withdrawn(self.parts, key, pin, name)  # nobody can load it
            for receipt in self.receipts.of(key):
                if receipt.address == self.address and receipt.identifier in (name, key) and fits(receipt):
                    return receipt
        with self.explained():
            for key in keys:
                for version in self.host.versions(key):
                    if version.digests and version.answers_to(name) and fits(version):
                        return self._described(key, name, version, version.digests)
            key, version_id, cached = self.one_version(name, pin)
            versions = [one for one in self.host.versions(key) if one.version_id == version_id]
        return self._described(key, name, versions[0] if versions else Version(version_id=version_id), cached.digests)

    def _described(self, key: str, name: str, version: Version, digests: Digests) -> Receipt:
        created = version.created or datetime.now(UTC)
        return self.parts.receipt(key, name, version.version_id, digests, version.content_digest, created)

    # who may read

    def _publish(self, identifier: str, pin: Pin) -> Receipt:
        with self.explained():
            check_publishes_alone(self.host, identifier)
            key, version_id, cached = self.one_version(identifier, pin)
            readers, there = publish(self.host, key, version_id, cached.digests)
            receipt = self.parts.receipt(key, identifier, version_id, cached.digests, None, datetime.now(UTC))
            uri = readers.cited(key, there, cached.digests.sha256)
        _log.info("Anyone can load %s from %s", identifier, uri)
        return dataclasses.replace(receipt, uri=uri)

    def _unpublish(self, identifier: str, pin: Pin) -> None:
        with self.explained():
            readers_of(self.host)
            if pin.names_version:
                key, version_id, _ = self.one_version(identifier, pin)
                unpublish(self.host, key, version_id)
                return
            key, versions = self._key_and_versions(identifier, pin.assembly_prefix)
            if not versions:
                raise AssemblyNotFound(f"There is no {identifier} in {self.address}")
            for version in versions:
                unpublish(self.host, key, version.version_id)

    def _publish_store(self, confirm: str) -> None:
        with self.explained():
            publish_place(self.host, confirm)
        _log.info("Anyone can read everything in %s", self.address)

    def _share(self, identifier: str, pin: Pin, seconds: int) -> str:
        with self.explained():
            check_link_lasts(self.host, seconds)  # before the file is read
            key, version_id, cached = self.one_version(identifier, pin)
            return f"{self.host.share(key, version_id, seconds)}#sha256={cached.digests.sha256}"

    def one_version(self, identifier: str, pin: Pin) -> tuple[str, str | None, Cached]:
        """Return the key of one version, its id, and its verified file: the newest, if the pin names none."""
        missing: list[StorageError] = []
        for key in self.keys_of(identifier, pin.assembly_prefix):
            try:
                return key, *self._own_version(key, identifier, pin)
            except (AssemblyNotFound, AccessDenied) as error:
                missing.append(error)
        raise missing[0]

    def _own_version(self, key: str, identifier: str, pin: Pin) -> tuple[str | None, Cached]:
        loader, version_id = Loader(self.parts), pin.version_id
        if pin.by_hash:
            return loader.own_by_hash(key, pin)
        if not version_id:
            newest = self.host.newest(key)
            if newest is None or not newest.answers_to(identifier):
                raise AssemblyNotFound(f"There is no {identifier} in {self.address}")
            version_id = newest.version_id
        return version_id, loader.own(key, version_id)


def _is_assembly(key: str) -> bool:
    return key.endswith(".nc") and not key.startswith(".")


def _recorded_name(key: str, prefix: str, version: Version | None) -> str:
    """Return the identifier recorded with a key; without a fitting record, what its name says."""
    stem = key.removeprefix(prefix).removesuffix(".nc")
    recorded = version.identifier if version is not None and version.assembly_prefix == prefix else None
    return recorded if recorded is not None and recorded.replace(".", "_") == stem else stem
