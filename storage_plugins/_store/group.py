"""Several stores behind one name: each is read in turn, the hash decides; uploads go to one of them."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from .._backend.settings import StoreSettings
from .._copies.receipts import Receipts
from .._identifiers import assembly_key
from .._records import Cached, Pin, UploadOptions
from ..errors import AccessDenied, AssemblyNotFound, AssemblyWithdrawn, IntegrityError, NotSupported, StorageError
from ..protocol import Receipt, Version
from .cite import Citation
from .file_store import FileStore
from .store import Store

if TYPE_CHECKING:
    import xarray as xr

    from .._audit.withdraw import WithdrawReport
    from .._config.config import StoreEntry

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

    def file_stores(self, what: str) -> list[FileStore]:
        """Return the stores of files that it consists of, in the order of `members`."""
        return [self._member(name) for name in self.members()]

    def promises(self) -> str:
        """Return what the store that uploads go to does with a name that is uploaded again."""
        if self._write is None:
            return "is read-only"
        return f"uploads go to {self._write!r}: {self._member().promises()}"

    def _upload(self, assembly: xr.DataArray | str | os.PathLike[str], identifier: str, how: UploadOptions) -> Receipt:
        return self._member()._upload(assembly, identifier, how)

    def _upload_file(self, path: str | os.PathLike[str], name: str | None, replace: bool | None) -> Receipt:
        return self._member()._upload_file(path, name, replace)

    def _withdraw(self, identifier: str, pin: Pin, reason: str, confirm: str, all_copies: bool) -> WithdrawReport:
        """Withdraw a version from the store that uploads go to."""
        return self._member()._withdraw(identifier, pin, reason, confirm, all_copies)

    # looking

    def _versions(self, identifier: str, assembly_prefix: str | None) -> list[Version]:
        """Return the versions in all members, newest first; the same bytes once, as the first member has them."""
        found: dict[Any, Version] = {}
        for versions in self._each(lambda member: member._versions(identifier, assembly_prefix)):
            for version in versions:
                found.setdefault(version.sha256 or version, version)
        return sorted(found.values(), key=lambda version: version.created or _EARLY, reverse=True)

    def _identifiers(self, assembly_prefix: str | None) -> list[str]:
        return self._union(lambda member: member._identifiers(assembly_prefix))

    def _file_names(self, assembly_prefix: str | None) -> list[str]:
        return self._union(lambda member: member._file_names(assembly_prefix))

    # who may read

    def _publish(self, identifier: str, pin: Pin) -> Receipt:
        """Publish a copy in the member whose ``visibility`` is public.

        Without such a member, the one that uploads go to publishes it.
        """
        public = self._public()
        if public is None:
            return self._member()._publish(identifier, pin)
        pin = dataclasses.replace(pin, assembly_prefix=self._prefix(pin))
        if pin.names_version:  # the same number may mean another one in each member: begin where uploads go
            names = dict.fromkeys(filter(None, [self._write, *self._names]))
            cached = self._first(lambda member: member.one_version(identifier, pin)[2], names)
        else:
            _, cached = self._verified(identifier, dataclasses.replace(pin, newest=True))
        copy = public.upload(cached.path, identifier, assembly_prefix=pin.assembly_prefix)
        return public._publish(identifier, Pin(copy.version_id, assembly_prefix=pin.assembly_prefix))

    def _unpublish(self, identifier: str, pin: Pin) -> None:
        (self._public() or self._member())._unpublish(identifier, pin)

    def _share(self, identifier: str, pin: Pin, seconds: int) -> str:
        """Return a link from the first member that has it."""
        return self._first(lambda member: member._share(identifier, pin, seconds))

    def _cite(self, identifier: str | Receipt, pin: Pin, authors: Sequence[str] | str) -> Citation:
        """Return the citation of the first member that has that version; without a pin, of the newest."""
        if isinstance(identifier, Receipt):
            return super()._cite(identifier, pin, authors)
        return self._found(
            lambda member, pin: member._cite(identifier, pin, authors),
            lambda member: next(iter(member._versions(identifier, self._prefix(pin))), None),
            assembly_key(identifier, self._prefix(pin)),
            identifier,
            pin,
        )

    # loading

    def _fetch(self, name: str | Receipt, pin: Pin) -> Cached:
        if isinstance(name, Receipt):
            return self._first(lambda member: member._fetch(name, pin))
        return self._found(
            lambda member, pin: member._fetch(name, pin), lambda member: member.host.newest(name), name, None, pin
        )

    def _verified(self, identifier: str | Receipt, pin: Pin) -> tuple[str, Cached]:
        if isinstance(identifier, Receipt):
            return self._first(lambda member: member._verified(identifier, pin))
        return self._found(
            lambda member, pin: member._verified(identifier, pin),
            lambda member: next(iter(member._versions(identifier, self._prefix(pin))), None),
            assembly_key(identifier, self._prefix(pin)),
            identifier,
            pin,
        )

    def _receipts_of(self, key: str) -> list[Receipt]:
        return self._receipts.of(key)

    def _in_parts(self, identifier: str | Receipt, pin: Pin) -> tuple[str, Cached]:
        if isinstance(identifier, Receipt):
            return self._first(lambda member: member._in_parts(identifier, pin))
        return self._found(
            lambda member, pin: member._in_parts(identifier, pin),
            lambda member: next(iter(member._versions(identifier, self._prefix(pin))), None),
            assembly_key(identifier, self._prefix(pin)),
            identifier,
            pin,
        )

    def _found(
        self,
        load: Callable[[FileStore, Pin], T],
        newest_of: Callable[[FileStore], Version | None],
        key: str,
        identifier: str | None,
        pin: Pin,
    ) -> T:
        """Return what the first member has; without a pin, of the newest receipt, else of the newest version of all."""
        if pin.names_version:
            return self._first(lambda member: load(member, pin))
        if not pin.newest:
            for entry in self._receipts.latest(key, identifier):
                known = dataclasses.replace(pin, sha1=entry.sha1, sha256=entry.sha256)
                return self._first(lambda member: load(member, known))  # noqa: B023
        newest = dataclasses.replace(pin, newest=True)
        found: list[tuple[datetime, FileStore]] = []
        self._each(lambda member: found.extend((v.created or _EARLY, member) for v in [newest_of(member)] if v))
        if not found:
            return self._first(lambda member: load(member, newest))  # which says why
        return load(max(found, key=lambda place: place[0])[1], newest)

    def _prefix(self, pin: Pin) -> str:
        return self.settings.assembly_prefix if pin.assembly_prefix is None else pin.assembly_prefix

    def _first(self, attempt: Callable[[FileStore], T], names: Iterable[str] | None = None) -> T:
        """Return what the first member gives that has an answer; else raise what says most."""
        errors: list[StorageError] = []
        for name in names or self._names:
            try:
                return attempt(self._member(name))
            except AssemblyWithdrawn as error:
                if name == (self._write or self._names[0]):
                    raise  # a copy that another member still has is not meant to be loaded
                _log.warning("%s", error.message)  # somebody else's store does not withdraw what others have
                errors.append(error)
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
            raise NotSupported(f"The group {self.name!r} is read-only", hint="Set where uploads go: write: NAME.")
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
    """Order errors by how much they say: withdrawal, refusal, damage or other bytes, anything else, absence.

    What was refused may be the very bytes that others do not have.
    """
    kinds = (AssemblyWithdrawn, AccessDenied, IntegrityError)
    absent = len(kinds) + isinstance(error, AssemblyNotFound)
    return next((n for n, kind in enumerate(kinds) if isinstance(error, kind)), absent)
