"""Several stores behind one name: each is read in turn, the hash decides; uploads go to one of them."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from .._backend import answers
from .._backend.settings import StoreSettings
from .._copies.receipts import Receipts
from .._identifiers import assembly_key
from ..errors import AccessDenied, AssemblyNotFound, IntegrityError, NotSupported, StorageError
from ..protocol import Receipt, Version
from .file_store import FileStore
from .load import Pin
from .store import Store

if TYPE_CHECKING:
    from datetime import timedelta

    import xarray as xr

    from .._config.config import StoreEntry
    from .._copies.cache import Cached

BACKEND = "group"
_log = logging.getLogger(__name__)
_EARLY = datetime.min.replace(tzinfo=UTC)
T = TypeVar("T")


class GroupSettings(StoreSettings):
    """Settings of a group of stores."""

    read: list[str] = Field(min_length=1, description="names of the stores to read, in this order")
    write: str | None = Field(None, description="name of the store that uploads go to")


class Group(Store):
    """Stores read in turn. One that is out of reach, private, or cannot be opened does not stop the next.

    Args:
        entry: where it was configured.
        settings: its checked settings.
        open_member: opens one of the stores of the same configuration by its name.
    """

    def __init__(self, entry: StoreEntry, settings: GroupSettings, open_member: Callable[[str], Store]) -> None:
        super().__init__(entry, settings)
        self._names, self._write, self._open = tuple(settings.read), settings.write, open_member
        self._members: dict[str, FileStore] = {}
        self._receipts = Receipts(entry.receipts)

    def members(self) -> dict[str, bool]:
        """Return the names of its stores, and whether uploads go there."""
        return {name: name == self._write for name in filter(None, [*self._names, self._write])}

    def promises(self) -> str:
        """Say what the store that uploads go to promises."""
        return (
            "is for reading" if self._write is None else f"uploads go to {self._write!r}: {self._member().promises()}"
        )

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
        """Keep an assembly in the store that ``write:`` names; see `Store.upload`."""
        return self._member().upload(
            assembly,
            identifier,
            extras=extras,
            assembly_prefix=assembly_prefix,
            drop_attrs=drop_attrs,
            replace=replace,
        )

    def upload_file(
        self, path: str | os.PathLike[str], name: str | None = None, *, replace: bool | None = None
    ) -> Receipt:
        """Keep any file in the store that ``write:`` names; see `Store.upload_file`."""
        return self._member().upload_file(path, name, replace=replace)

    def versions(self, identifier: str, *, assembly_prefix: str | None = None) -> list[Version]:
        """Return the versions in all members, newest first; the same bytes once, as the first member has them."""
        found: dict[Any, Version] = {}
        for versions in self._each(lambda member: member.versions(identifier, assembly_prefix=assembly_prefix)):
            for version in versions:
                found.setdefault(version.sha256 or version, version)
        return sorted(found.values(), key=lambda version: version.created or _EARLY, reverse=True)

    def identifiers(self, *, assembly_prefix: str | None = None) -> list[str]:
        """Return the identifiers in all members that can be listed, sorted."""
        return self._union(lambda member: member.identifiers(assembly_prefix=assembly_prefix))

    def file_names(self, *, assembly_prefix: str | None = None) -> list[str]:
        """Return the names of all other files in all members that can be listed, sorted."""
        return self._union(lambda member: member.file_names(assembly_prefix=assembly_prefix))

    def publish(self, identifier: str, *, version_id: str | None = None, assembly_prefix: str | None = None) -> Receipt:
        """Make one version readable by everybody, copied into the member whose ``visibility`` is public.

        Without such a member, the one that uploads go to opens it in its place. See `Store.publish`.
        """
        public = self._public()
        if public is None:
            return self._member().publish(identifier, version_id=version_id, assembly_prefix=assembly_prefix)
        prefix = self.settings.assembly_prefix if assembly_prefix is None else assembly_prefix
        if version_id:  # the same number may mean another one in each member: begin where uploads go
            names = dict.fromkeys(filter(None, [self._write, *self._names]))
            cached = self._first(lambda member: member._one(identifier, version_id, prefix)[2], names)
        else:
            _, cached = self._verified(
                identifier, version_id=None, sha1=None, sha256=None, assembly_prefix=prefix, newest=True
            )
        copy = public.upload(cached.path, identifier, assembly_prefix=prefix)
        return public.publish(identifier, version_id=copy.version_id, assembly_prefix=prefix)

    def unpublish(self, identifier: str, *, version_id: str | None = None, assembly_prefix: str | None = None) -> None:
        """Make it private again in the member that `publish` opens it in; see `Store.unpublish`."""
        member = self._public() or self._member()
        member.unpublish(identifier, version_id=version_id, assembly_prefix=assembly_prefix)

    def share(
        self,
        identifier: str,
        *,
        expires: str | int | timedelta = "7d",
        version_id: str | None = None,
        assembly_prefix: str | None = None,
    ) -> str:
        """Return a link to one version for some time, from the first member that has it; see `Store.share`."""
        return self._first(
            lambda member: member.share(
                identifier, expires=expires, version_id=version_id, assembly_prefix=assembly_prefix
            )
        )

    def fetch(
        self,
        name: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        newest: bool = False,
    ) -> Path:
        """Return the path of a verified local copy of a file; see `Store.fetch`."""

        def fetch(member: FileStore, target: str | Receipt, **pin: Any) -> Path:
            return member.fetch(target, **pin)

        def newest_of(member: FileStore) -> Version | None:
            return answers.newest(member.files, str(name))

        key = name.key if isinstance(name, Receipt) else name
        return self._found(fetch, newest_of, name, key, None, Pin(version_id, sha1, sha256), newest)

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
        def verified(member: FileStore, target: str | Receipt, **pin: Any) -> tuple[str, Cached]:
            given = {"version_id": None, "sha1": None, "sha256": None, "newest": False, **pin}
            return member._verified(target, assembly_prefix=assembly_prefix, **given)

        def newest_of(member: FileStore) -> Version | None:
            return next(iter(member.versions(str(identifier), assembly_prefix=prefix)), None)

        prefix = self.settings.assembly_prefix if assembly_prefix is None else assembly_prefix
        key = identifier.key if isinstance(identifier, Receipt) else assembly_key(identifier, prefix)
        name = None if isinstance(identifier, Receipt) else identifier
        return self._found(verified, newest_of, identifier, key, name, Pin(version_id, sha1, sha256), newest)

    def _found(
        self,
        load: Callable[..., T],
        newest_of: Callable[[FileStore], Version | None],
        target: str | Receipt,
        key: str,
        identifier: str | None,
        pin: Pin,
        newest: bool,
    ) -> T:
        """Return what the first member has; without a pin, of the newest receipt, else of the newest version of all."""
        given = {"version_id": pin.version_id, "sha1": pin.sha1, "sha256": pin.sha256}
        if isinstance(target, Receipt) or pin != Pin():
            return self._first(lambda member: load(member, target, **given))
        if not newest:
            for entry in self._receipts.latest(key, identifier):
                pinned = functools.partial(load, target=target, sha1=entry.sha1, sha256=entry.sha256)
                return self._first(pinned)
        found: list[tuple[datetime, FileStore]] = []
        self._each(lambda member: found.extend((v.created or _EARLY, member) for v in [newest_of(member)] if v))
        if not found:
            return self._first(lambda member: load(member, target, newest=True))  # which says why
        return load(max(found, key=lambda place: place[0])[1], target, newest=True)

    def _first(self, attempt: Callable[[FileStore], T], names: Iterable[str] | None = None) -> T:
        """Return what the first member gives that has an answer; else raise what says most."""
        errors: list[StorageError] = []
        for name in names or self._names:
            try:
                return attempt(self._member(name))
            except StorageError as error:
                _log.info("Store %r of the group %r: %s", name, self.name, error.message)
                errors.append(error)
        raise min(errors, key=_rank)

    def _each(self, attempt: Callable[[FileStore], T]) -> list[T]:
        """Return what each member gives, but for those that cannot; raise if none can."""
        answers: list[T] = []
        errors: list[StorageError] = []
        for name in self._names:
            try:
                answers.append(attempt(self._member(name)))
            except StorageError as error:
                _log.info("Store %r of the group %r: %s", name, self.name, error.message)
                errors.append(error)
        if not answers:
            raise min(errors, key=_rank)
        return answers

    def _union(self, names: Callable[[FileStore], list[str]]) -> list[str]:
        return sorted({name for found in self._each(names) for name in found})

    def _public(self) -> FileStore | None:
        """Return the first member whose uploads are to be public."""
        names = dict.fromkeys(filter(None, [*self._names, self._write]))
        members = (self._member(name) for name in names)
        return next((member for member in members if member.settings.visibility == "public"), None)

    def _member(self, name: str | None = None) -> FileStore:
        """Return a member, opened at its first use; None: the one that uploads go to."""
        name = name or self._write
        if name is None:
            raise NotSupported(f"The group {self.name!r} is for reading", hint="Say where uploads go: write: NAME.")
        if name not in self._members:
            member = self._open(name)
            if not isinstance(member, FileStore):
                raise NotSupported(
                    f"Store {name!r} does not consist of files, and cannot be in the group {self.name!r}"
                )
            self._members[name] = member
        member = self._members[name]
        member.progress = self.progress
        return member


def _rank(error: StorageError) -> int:
    """Order errors by how much they say: refusal, damage or other bytes, anything else, absence.

    What was refused may be the very bytes that others do not have.
    """
    kinds = (AccessDenied, IntegrityError, AssemblyNotFound)
    return {0: 0, 1: 1, 2: 3}.get(next((n for n, kind in enumerate(kinds) if isinstance(error, kind)), 9), 2)
