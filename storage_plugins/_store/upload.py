"""Uploading: from an assembly or a file to a new version in a store, and its receipt."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .._backend.operations import Source
from .._identifiers import assembly_key, check_file_name
from .._records import Pin, UploadOptions
from ..atomic import disk_errors, from_os_error
from ..errors import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    IdentifierCollision,
    NotSupported,
    StorageError,
)
from ..protocol import Receipt, Version, record
from .parts import Parts
from .publish import publish
from .replaced import save_replaced
from .withdrawn import meant, refuse

if TYPE_CHECKING:
    import xarray as xr

_log = logging.getLogger(__name__)
_TICK = timedelta(microseconds=1)


def upload_assembly(
    parts: Parts, assembly: xr.DataArray | str | os.PathLike[str], identifier: str, how: UploadOptions
) -> Receipt:
    """Store an assembly, or a netCDF file's own bytes; see `Store.upload`."""
    from .. import codec  # needs xarray, which looking and listing do not

    prefix = parts.prefix(how.assembly_prefix)
    key = assembly_key(identifier, prefix)
    with contextlib.ExitStack() as stack:
        if isinstance(assembly, str | os.PathLike):
            if how.extras or how.drop_attrs:
                raise TypeError("A file's bytes are stored as they are: extras and drop_attrs need a DataArray")
            path = _existing_file(assembly)
            codec.check(path)
            content_digest = codec.digest_of_file(path)
        else:
            path = stack.enter_context(parts.cache.scratch()) / key
            content_digest = codec.encode(
                assembly,
                path,
                identifier=identifier,
                extras=how.extras,
                drop_attrs=how.drop_attrs,
                compression=parts.settings.compression,
            )
        upload = _Upload(parts, key, identifier, prefix, content_digest, how.replace)
        upload.compares_content = not isinstance(assembly, str | os.PathLike)
        return upload.run(path)


def upload_file(parts: Parts, path: str | os.PathLike[str], name: str | None, replace: bool | None) -> Receipt:
    """Store any file, byte for byte; see `Store.upload_file`."""
    source = _existing_file(path)
    key = check_file_name(source.name if name is None else name)
    return _Upload(parts, key, key, None, None, replace).run(source)


def visible_as_asked(parts: Parts, what: str) -> bool | None:
    """Return whether the location itself is public; refuse one that is more visible than the settings ask for."""
    public = parts.host.place_is_public()
    if public and parts.settings.visibility == "private":
        raise ConfigError(
            f"{parts.host.address} is public, and store {parts.name!r} is for private uploads: anyone could read "
            f"{what} at once",
            hint="Set visibility: public for this store in storage.yaml, or choose a private location.",
        )
    if public is False and parts.settings.visibility == "public":
        _log.warning("%s is private until publish_store is called, and so is %s", parts.host.address, what)
    return public


def refuse_other_name(parts: Parts, newest: Version, key: str, identifier: str, prefix: str | None) -> None:
    """Refuse a second name for one file."""
    recorded = (newest.identifier, newest.assembly_prefix)
    if None in recorded or prefix is None or recorded == (identifier, prefix):
        return
    raise IdentifierCollision(
        f"{identifier!r} would be stored as {key}, which contains {newest.identifier!r} in {parts.host.address}",
        hint="Choose another identifier, or upload under the existing name.",
    )


class _Upload:
    """The upload of one file: what it is for, and in which store.

    Attributes:
        compares_content: whether a newest version of the same content will do, though its bytes are others. Not where
            somebody gave a file, whose bytes are stored as they are.
    """

    compares_content = False

    def __init__(
        self,
        parts: Parts,
        key: str,
        identifier: str,
        prefix: str | None,
        content_digest: str | None,
        replace: bool | None,
    ) -> None:
        self._parts, self._host = parts, parts.host
        self._key, self._identifier, self._prefix = key, identifier, prefix
        self._content_digest, self._replace = content_digest, replace
        self._versioned = cache(self._host.keeps_versions)  # a request, which is not always needed

    def run(self, path: Path) -> Receipt:
        """Make the file at ``path`` a new version, unless the newest is identical."""
        source = self._hashed(path)
        withdrawn = meant(self._parts.receipts.withdrawn(self._key), Pin.of(source))
        if withdrawn is not None:  # the same bytes are not to come back
            raise refuse(self._parts.cache, withdrawn)
        newest = self._look()
        if newest is None:
            self._refuse_other_case()
        else:
            refuse_other_name(self._parts, newest, self._key, self._identifier, self._prefix)
            if self._is_same(newest, source) and self._is_whole(newest):
                self._say("Nothing to upload: the newest version of %s is identical, in")
                return self._receipt_of(newest, source)
        public = visible_as_asked(self._parts, self._identifier)
        version_id = self._store(source, newest)
        created = self._created(newest)
        receipt = self._parts.receipt(
            self._key, self._identifier, version_id, source.digests, self._content_digest, created
        )
        self._parts.receipts.write(receipt)
        self._say("Uploaded %s to")
        if self._parts.settings.visibility == "public" and public is None:
            readers, there = publish(self._host, self._key, version_id, source.digests)
            _log.info("Anyone can read %s as %s", self._identifier, readers.uri(self._key, there))
        return receipt

    # before anything is sent

    def _hashed(self, path: Path) -> Source:
        try:
            size = path.stat().st_size
            report, sent = self._parts.reporting(self._key), 0

            def progress(count: int) -> None:
                nonlocal sent
                sent += count
                report(sent, size)

            return Source.of(path, progress, part_size=self._host.part_size(size))
        except OSError as error:
            raise from_os_error(error, f"read {path.name}") from error

    def _look(self) -> Version | None:
        """Return the newest version, None if there is none; where that cannot be seen, only if nothing can be lost."""
        try:
            newest = self._host.newest(self._key)
        except AccessDenied as error:
            if not self._versioned() and not self._host.creates_safely():
                raise
            _log.info("Whether there is a %s in %s cannot be seen (%s)", self._key, self._host.address, error)
            return None
        if newest is None and not self._versioned():
            with contextlib.suppress(AccessDenied, NotSupported):  # one that was deleted may have left older ones
                newest = next(iter(self._host.versions(self._key)), None)
        return newest

    def _refuse_other_case(self) -> None:
        """Refuse a name that differs from an existing one in case only: some hosts keep one of them."""
        try:
            others = self._host.differing_in_case(self._key)
        except (AccessDenied, NotSupported) as error:
            _log.info("Names that differ in case only cannot be seen in %s (%s)", self._host.address, error)
            return
        if others:
            raise IdentifierCollision(
                f"{self._key} differs from {others[0]}, which is in {self._host.address}, in case only",
                hint="Choose another identifier, or upload under the existing name.",
            )

    def _is_same(self, newest: Version, source: Source) -> bool:
        """Whether the newest version has this content, so that nothing need be uploaded."""
        if newest.digests is None:
            return False
        same_data = (
            self.compares_content and self._content_digest is not None and self._content_digest == newest.content_digest
        )
        return same_data or newest.digests == source.digests

    def _is_whole(self, version: Version) -> bool:
        """Whether a version that is a file of this computer still has its bytes; others are believed."""
        with disk_errors(f"read {self._key}"):
            local = self._host.local_file(self._key, version.version_id)
            return local is None or self._parts.cache.verify(local[0]).digests.sha256 == version.sha256

    # sending

    def _store(self, source: Source, newest: Version | None) -> str | None:
        """Make ``source`` a version, and return its id."""
        metadata = record(self._identifier, self._prefix, source.digests, self._content_digest)
        if newest is None or self._versioned():
            if_absent = not self._versioned()
            return self._host.put(self._key, source, metadata=metadata, if_absent=if_absent, seen=newest)
        return self._write_over(newest, source, metadata)

    def _write_over(self, newest: Version, source: Source, metadata: Mapping[str, str]) -> str | None:
        """Replace the newest version on a host without versions, after its bytes were saved under another key."""
        found = newest.sha256 or newest.etag or "unknown"
        message = (
            f"{self._identifier} is in {self._host.address} with other bytes ({found}), and this host keeps no versions"
        )
        replaces = self._host.replaces()
        if not (self._parts.settings.replace if self._replace is None else self._replace):
            raise AlreadyExists(
                message,
                hint="Turn on versioning there; or give replace=True (--replace), which keeps the old bytes loadable "
                "by their hash; or choose another identifier."
                if replaces
                else "Turn on versioning there, so that nothing is lost, or choose another identifier.",
            )
        if not replaces:
            raise NotSupported(f"{message}: they would be lost", hint="Choose another identifier.")
        lost = [newest]
        if newest.version_id not in (None, "null"):  # versions stay that are older than the end of versioning
            lost += [version for version in self._host.versions(self._key) if version.version_id == "null"]
        with self._parts.cache.scratch() as folder:
            for version in lost:
                save_replaced(self._host, self._key, version, folder / "old")
        return self._host.replace(self._key, source, metadata=metadata, seen=newest)

    # afterwards

    def _created(self, newest: Version | None) -> datetime:
        """Return when this upload was made: by this computer's clock, but never before what was there already."""
        earlier = [receipt.created for receipt in self._parts.receipts.of(self._key)]
        if newest is not None and newest.created is not None:
            earlier.append(newest.created)
        return max([datetime.now(UTC), *(date + _TICK for date in earlier)])

    def _receipt_of(self, version: Version, source: Source) -> Receipt:
        """Return the receipt of a version that is there already: the one that is written, or a new one."""
        for receipt in self._parts.receipts.of(self._key):
            if (receipt.address, receipt.version_id) == (self._host.address, version.version_id):
                # a copy without a record was noted under its file name
                return dataclasses.replace(receipt, identifier=self._identifier)
        receipt = self._parts.receipt(
            self._key,
            self._identifier,
            version.version_id,
            version.digests or source.digests,
            version.content_digest,
            version.created or datetime.now(UTC),
        )
        self._parts.receipts.write(receipt)
        return receipt

    def _say(self, done: str) -> None:
        """Log which store and which configuration an upload used; a store that nobody configured is a warning."""
        parts = self._parts
        only = "stored on this computer only; " if parts.implicit else ""
        level = logging.WARNING if parts.implicit else logging.INFO
        message = f"{done} store %r, %s (%s%s)"
        _log.log(level, message, self._identifier, parts.name, self._host.address, only, parts.origin)


def _existing_file(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    with disk_errors(f"read {file}"):
        if file.is_file():
            return file
        if file.exists():
            raise StorageError(f"{file} is not a file", hint="Upload its files one by one, or pack them first.")
    raise AssemblyNotFound(f"There is no file {file}")
