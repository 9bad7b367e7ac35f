"""The `AssemblyStore` written once, over the few file operations that a backend supplies."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from . import answers
from .atomic import disk_errors, from_os_error
from .cache import Cache, Cached
from .errors import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    IdentifierCollision,
    NotSupported,
    StorageError,
)
from .files import FileOperations, Source
from .identifiers import assembly_key, check_file_name
from .kept import FOLDER, keep, kept_versions
from .pins import Pin, Resolver
from .protocol import Receipt, Version, record
from .publishing import everybody, opens_alone, publish, publish_place, seconds_of, unpublish
from .receipts import Receipts
from .store import Store
from .transfer import Hashes, retrying

if TYPE_CHECKING:
    from datetime import timedelta

    import xarray as xr

    from .config import StoreEntry
    from .settings import StoreSettings

_log = logging.getLogger(__name__)
_LOOKS_AT_ONCE = 16  # requests side by side when many small answers are wanted


class FileStore(Store):
    """A store of files: one netCDF file for each version of an assembly.

    Args:
        entry: where it was configured.
        settings: its checked settings.
        files: the backend's file operations.
        cache: where verified copies are kept.
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
    def address(self) -> str:
        """The place itself, such as ``s3://bucket/prefix``."""
        return self.files.address

    def elsewhere(self, cache: Cache) -> FileStore:
        """Return this store as another machine has it: with another cache, and without receipts."""
        entry = dataclasses.replace(self._entry, receipts=None, implicit=None)
        return FileStore(entry, self.settings, self.files, cache=cache, unset=self._unset)

    def promises(self) -> str:
        """Ask the host what becomes of bytes that are uploaded again; see `Store.promises`."""
        try:
            if retrying(lambda: answers.keeps_versions(self.files)):
                seen = "; everybody can read all that is there" if retrying(self.files.place_is_public) else ""
                return f"keeps every version{seen}"
        except StorageError as error:
            return f"cannot be asked: {error.message}"
        told = ["does not say that it keeps versions: changed bytes are refused"]
        if self.files.replaces():
            told.append(f"; with replace=True the old ones are kept under {FOLDER}/, loadable by their hash")
        if not self.files.creates_safely():
            told.append(
                ". Whether this host keeps two uploads apart that are made at the same moment is not known: then one "
                "of them may be lost"
            )
        return "".join(told)

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
        """Keep an assembly as a new version of ``identifier``; see `Store.upload`."""
        from . import codec

        prefix = self._prefix(assembly_prefix)
        key = assembly_key(identifier, prefix)
        with self.explained(), contextlib.ExitStack() as stack:
            digest = None
            if isinstance(assembly, str | os.PathLike):
                if extras or drop_attrs:
                    raise TypeError("A file's bytes are kept as they are: extras and drop_attrs need a DataArray")
                path = _existing_file(assembly)
                codec.check(path)
            else:
                path = stack.enter_context(self.cache.scratch()) / key
                digest = codec.encode(
                    assembly,
                    path,
                    identifier=identifier,
                    extras=extras,
                    drop_attrs=drop_attrs,
                    compression=self.settings.compression,
                )
            return self._keep(key, path, identifier, prefix, digest, replace)

    def versions(self, identifier: str, *, assembly_prefix: str | None = None) -> list[Version]:
        """Return the versions of ``identifier``, newest first; none for an unknown one."""
        key = assembly_key(identifier, self._prefix(assembly_prefix))
        with self.explained():
            versions = retrying(lambda: answers.versions(self.files, key))
            present = {version.sha256 for version in versions}
            versions += [version for version in kept_versions(self.files, key) if version.sha256 not in present]
        return [version for version in versions if version.answers_to(identifier)]

    def identifiers(self, *, assembly_prefix: str | None = None) -> list[str]:
        """Return the identifiers of all assemblies with that file name prefix, sorted."""
        prefix = self._prefix(assembly_prefix)
        with self.explained():
            described = retrying(lambda: answers.newest_of_all(self.files, prefix))
            if described is not None:
                return sorted(_recorded_name(key, prefix, version) for key, version in described if _is_assembly(key))
            keys = [key for key in self._keys(prefix) if _is_assembly(key)]
            with concurrent.futures.ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
                return sorted(pool.map(lambda key: self._identifier(key, prefix), keys))

    def file_names(self, *, assembly_prefix: str | None = None) -> list[str]:
        """Return the names of all other files, sorted."""
        prefix = self._prefix(assembly_prefix)
        with self.explained():
            return sorted(key for key in self._keys("") if not (key.startswith(prefix) and key.endswith(".nc")))

    def upload_file(
        self, path: str | os.PathLike[str], name: str | None = None, *, replace: bool | None = None
    ) -> Receipt:
        """Keep any file, byte for byte; see `Store.upload_file`."""
        with self.explained():
            source = _existing_file(path)
            key = check_file_name(source.name if name is None else name)
            return self._keep(key, source, key, None, None, replace)

    def fetch(
        self,
        name: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        newest: bool = False,
    ) -> Path:
        """Return the path of a verified local copy of a file, for reading only; see `Store.fetch`."""
        pin = Pin(version_id, sha1, sha256)
        if isinstance(name, Receipt):
            return self._file(check_file_name(name.key), self._receipt_pin(name, pin), None, newest).path
        return self._file(check_file_name(name), pin, None, newest).path

    def publish(self, identifier: str, *, version_id: str | None = None, assembly_prefix: str | None = None) -> Receipt:
        """Make one version readable by everybody; see `Store.publish`."""
        with self.explained():
            opens_alone(self.files, identifier)
            return self._publish(*self._one(identifier, version_id, assembly_prefix), identifier)

    def unpublish(self, identifier: str, *, version_id: str | None = None, assembly_prefix: str | None = None) -> None:
        """Make one version, or all, private again; see `Store.unpublish`."""
        with self.explained():
            everybody(self.files)
            if version_id:
                unpublish(self.files, *self._one(identifier, version_id, assembly_prefix)[:2])
                return
            versions = self.versions(identifier, assembly_prefix=assembly_prefix)
            if not versions:
                raise AssemblyNotFound(f"There is no {identifier} in {self.address}")
            for version in versions:
                unpublish(self.files, assembly_key(identifier, self._prefix(assembly_prefix)), version.version_id)

    def publish_store(self, *, confirm: str) -> None:
        """Make the whole place readable by everybody; see `Store.publish_store`."""
        with self.explained():
            publish_place(self.files, confirm)
            _log.info("Everybody can read all that is in %s", self.address)

    def share(
        self,
        identifier: str,
        *,
        expires: str | int | timedelta = "7d",
        version_id: str | None = None,
        assembly_prefix: str | None = None,
    ) -> str:
        """Return a link to one version for some time; see `Store.share`."""
        seconds = seconds_of(expires)
        with self.explained():
            key, version_id, cached = self._one(identifier, version_id, assembly_prefix)
            return f"{self.files.share(key, version_id, seconds)}#sha256={cached.hashes.sha256}"

    def _one(
        self, identifier: str, version_id: str | None, assembly_prefix: str | None
    ) -> tuple[str, str | None, Cached]:
        """Return the key of one version, its id, and its verified file: the newest, if none is named."""
        key = assembly_key(identifier, self._prefix(assembly_prefix))
        if not version_id:
            newest = retrying(lambda: answers.newest(self.files, key))
            if newest is None or not newest.answers_to(identifier):
                raise AssemblyNotFound(f"There is no {identifier} in {self.address}")
            version_id = newest.version_id
        return key, version_id, self._resolver().own(key, version_id)

    def _publish(self, key: str, version_id: str | None, cached: Cached, identifier: str) -> Receipt:
        readers, there = publish(self.files, key, version_id, cached.hashes)
        source = Source(cached.path, cached.hashes.size, cached.hashes.sha1, cached.hashes.sha256)
        receipt = self._receipt(key, identifier, version_id, source, None, datetime.now(UTC))
        uri = f"{readers.uri(key, there)}#sha256={cached.hashes.sha256}"
        _log.info("Everybody can load %s from %s", identifier, uri)
        return dataclasses.replace(receipt, uri=uri)

    # uploading

    def _keep(
        self,
        key: str,
        path: Path,
        identifier: str,
        prefix: str | None,
        content_digest: str | None,
        replace: bool | None,
    ) -> Receipt:
        """Make the file at ``path`` a new version of ``key``, unless it is the newest already."""
        source = self._hashed(path, key)
        versioned = functools.cache(lambda: answers.keeps_versions(self.files))  # a request, which is not always needed
        newest = self._look(key, versioned)
        if newest is None:
            self._refuse_other_case(key)
        else:
            self._refuse_other_name(newest, key, identifier, prefix)
            if _is_same(newest, source, content_digest) and self._is_whole(key, newest):
                self._tell("The same is the newest already: %s in", identifier)
                return self._receipt_of(newest, key, identifier, source)
        public = self._visible_as_asked(identifier)
        metadata = record(
            identifier=identifier,
            assembly_prefix=prefix,
            sha1=source.sha1,
            sha256=source.sha256,
            size=source.size,
            content_digest=content_digest,
        )
        if versioned():
            version_id = answers.put(self.files, key, source, metadata=metadata, if_absent=False)
        elif newest is None:
            version_id = answers.put(self.files, key, source, metadata=metadata, if_absent=True)
        else:
            version_id = self._replace(key, identifier, newest, source, metadata, replace)
        receipt = self._receipt(key, identifier, version_id, source, content_digest, datetime.now(UTC))
        self.receipts.write(receipt)
        self._tell("Uploaded %s to", identifier)
        if self.settings.visibility == "public" and public is None:
            readers, there = publish(self.files, key, version_id, Hashes(source.sha1, source.sha256, source.size))
            _log.info("Everybody can read %s as %s", identifier, readers.uri(key, there))
        return receipt

    def _visible_as_asked(self, what: str) -> bool | None:
        """Return whether the place itself is public; refuse one that is more visible than the settings ask for."""
        public = retrying(self.files.place_is_public)
        if public and self.settings.visibility == "private":
            raise ConfigError(
                f"{self.address} is public, and store {self.name!r} asks for private uploads: everybody could read "
                f"{what} at once",
                hint="Write visibility: public for this store in storage.yaml, or choose a place that is private.",
            )
        if public is False and self.settings.visibility == "public":
            _log.warning("%s is private until publish_store is called, and so is %s", self.address, what)
        return public

    def _look(self, key: str, versioned: Callable[[], bool]) -> Version | None:
        """Return the newest version, None if there is none; where that cannot be seen, only if nothing can be lost."""
        try:
            newest = retrying(lambda: answers.newest(self.files, key))
        except AccessDenied as error:
            if not versioned() and not self.files.creates_safely():
                raise
            _log.info("Whether there is a %s in %s cannot be seen (%s)", key, self.address, error)
            return None
        if newest is None and not versioned():
            with contextlib.suppress(AccessDenied, NotSupported):  # one that was deleted may have left older ones
                newest = next(iter(retrying(lambda: answers.versions(self.files, key))), None)
        return newest

    def _replace(
        self,
        key: str,
        identifier: str,
        newest: Version,
        source: Source,
        metadata: Mapping[str, str],
        replace: bool | None,
    ) -> str | None:
        """Write over what is there, on a host without versions, after it was kept in another place."""
        held = newest.sha256 or newest.etag or "unknown"
        message = f"{identifier} is in {self.address} with other bytes ({held}), and this host keeps no versions"
        if not (self.settings.replace if replace is None else replace):
            raise AlreadyExists(
                message,
                hint="Turn on versioning there; or give replace=True (--replace), which keeps the old bytes loadable "
                "by their hash; or choose another identifier."
                if self.files.replaces()
                else "Turn on versioning there, so that nothing is lost, or choose another identifier.",
            )
        if not self.files.replaces():
            raise NotSupported(f"{message}: they would be lost", hint="Choose another identifier.")
        lost = [newest]
        if newest.version_id not in (None, "null"):  # versions kept earlier stay; what came before or after them not
            older = retrying(lambda: answers.versions(self.files, key))
            lost += [version for version in older if version.version_id == "null"]
        with self.cache.scratch() as folder:
            for version in lost:
                keep(self.files, key, version, folder / "old")
        return answers.replace(self.files, key, source, metadata=metadata, seen=newest)

    def _tell(self, done: str, identifier: str) -> None:
        """Log which store and which configuration an upload used; the store nobody configured is a warning."""
        implicit = self._entry.implicit is not None
        only = "stored on this computer only; " if implicit else ""
        level = logging.WARNING if implicit else logging.INFO
        _log.log(level, f"{done} store %r, %s (%s%s)", identifier, self.name, self.address, only, self._entry.origin)

    def _is_whole(self, key: str, version: Version) -> bool:
        """Whether a version that is a file of this computer still has its bytes; others are believed."""
        with disk_errors(f"read {key}"):
            local = answers.local_file(self.files, key, version.version_id)
            return local is None or self.cache.verify(local[0]).hashes.sha256 == version.sha256

    def _hashed(self, path: Path, key: str) -> Source:
        try:
            size = path.stat().st_size
            sent = 0

            def progress(count: int) -> None:
                nonlocal sent
                sent += count
                if self.progress:
                    self.progress(key, sent, size)

            return Source.of(path, progress)
        except OSError as error:
            raise from_os_error(error, f"read {path.name}") from error

    def _refuse_other_name(self, newest: Version, key: str, identifier: str, prefix: str | None) -> None:
        """Refuse a second name for one file."""
        recorded = (newest.identifier, newest.assembly_prefix)
        if None in recorded or prefix is None or recorded == (identifier, prefix):
            return
        raise IdentifierCollision(
            f"{identifier!r} would be kept as {key}, which holds {newest.identifier!r} in {self.address}",
            hint="Choose another identifier, or upload under the name that is there.",
        )

    def _refuse_other_case(self, key: str) -> None:
        """Refuse a name that differs from an existing one in case only: some hosts keep one of them."""
        try:
            others = retrying(lambda: answers.differing_in_case(self.files, key))
        except (AccessDenied, NotSupported) as error:
            _log.info("Names that differ in case only cannot be seen in %s (%s)", self.address, error)
            return
        if others:
            raise IdentifierCollision(
                f"{key} differs from {others[0]}, which is in {self.address}, in case only",
                hint="Choose another identifier, or upload under the name that is there.",
            )

    def _receipt_of(self, version: Version, key: str, identifier: str, source: Source) -> Receipt:
        """Return the receipt of a version that is there already, from its writing or made anew."""
        for receipt in self.receipts.of(key):
            if (receipt.address, receipt.version_id) == (self.address, version.version_id):
                return receipt
        known = Source(source.path, version.size or source.size, version.sha1 or "", version.sha256 or "")
        created = version.created or datetime.now(UTC)
        receipt = self._receipt(key, identifier, version.version_id, known, version.content_digest, created)
        self.receipts.write(receipt)
        return receipt

    def _receipt(
        self,
        key: str,
        identifier: str,
        version_id: str | None,
        source: Source,
        content_digest: str | None,
        created: datetime,
    ) -> Receipt:
        return Receipt(
            identifier=identifier,
            store=self.name,
            address=self.address,
            key=key,
            version_id=version_id,
            sha1=source.sha1,
            sha256=source.sha256,
            size=source.size,
            content_digest=content_digest,
            created=created,
            uri=f"{self.files.uri(key, version_id)}#sha256={source.sha256}",
        )

    # loading

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
        pin, name = Pin(version_id, sha1, sha256), None
        if isinstance(identifier, Receipt):
            key, pin = check_file_name(identifier.key), self._receipt_pin(identifier, pin)
        else:
            key, name = assembly_key(identifier, self._prefix(assembly_prefix)), identifier
        return key, self._file(key, pin, name, newest)

    def _file(self, key: str, pin: Pin, identifier: str | None, newest: bool) -> Cached:
        with self.explained():
            return self._resolver().fetch(key, pin, identifier=identifier, newest=newest)

    def _resolver(self) -> Resolver:
        return Resolver(
            self.files,
            self.cache,
            self.receipts,
            self.name,
            shared=self.settings.cache == "shared",
            progress=self.progress,
        )

    def _receipt_pin(self, receipt: Receipt, pin: Pin) -> Pin:
        if pin != Pin():
            raise TypeError("A receipt is a pin already: give nothing else with it")
        # another place's version id says nothing here
        version_id = receipt.version_id if receipt.address == self.address else None
        return Pin(version_id, receipt.sha1, receipt.sha256)

    # both

    def _prefix(self, assembly_prefix: str | None) -> str:
        return self.settings.assembly_prefix if assembly_prefix is None else assembly_prefix

    def _keys(self, prefix: str) -> list[str]:
        return [key for key in retrying(lambda: answers.keys(self.files, prefix)) if not key.startswith(".")]

    def _identifier(self, key: str, prefix: str) -> str:
        """Return the identifier recorded with a key; what its name says where nothing was recorded."""
        stem = key.removeprefix(prefix).removesuffix(".nc")
        if "_" not in stem:  # no dot can have become an underscore
            return stem
        try:
            newest = retrying(lambda: answers.newest(self.files, key))
        except (AccessDenied, AssemblyNotFound):
            newest = None
        return _recorded_name(key, prefix, newest)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Add to a refusal in this block what the settings know of it."""
        try:
            yield
        except AccessDenied as error:
            hint = error.hint or f"Ask {self.settings.contact or 'the owner of the store'} for access."
            unset = [
                f"The environment variable {name}, named in {self._entry.origin}, is not set." for name in self._unset
            ]
            error.hint = " ".join([*(told for told in unset if told not in hint), hint])
            raise


def _is_same(newest: Version, source: Source, content_digest: str | None) -> bool:
    """Whether the newest version has this content, so that nothing need be uploaded."""
    if newest.sha1 is None or newest.sha256 is None:
        return False
    if (newest.sha256, newest.size) == (source.sha256, source.size):
        return True
    return content_digest is not None and content_digest == newest.content_digest


def _is_assembly(key: str) -> bool:
    return key.endswith(".nc") and not key.startswith(".")


def _recorded_name(key: str, prefix: str, version: Version | None) -> str:
    """Return the identifier recorded with a key; what its name says where nothing was recorded, or something else."""
    stem = key.removeprefix(prefix).removesuffix(".nc")
    recorded = version.identifier if version is not None and version.assembly_prefix == prefix else None
    return recorded if recorded is not None and recorded.replace(".", "_") == stem else stem


def _existing_file(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    with disk_errors(f"read {file}"):
        if file.is_file():
            return file
        if file.exists():
            raise StorageError(f"{file} is not a file", hint="Upload its files one by one, or pack them first.")
    raise AssemblyNotFound(f"There is no file {file}")
