"""Removing a version for good: what must not be there, such as a participant's data."""

from __future__ import annotations

import dataclasses
import getpass
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .._backend.host import Nowhere
from .._records import Digests, Pin, Withdrawal
from .._store.copies import stores_at
from .._store.replaced import replaced_key, replaced_versions
from .._store.withdrawn import ever_withdrawn, meant, merged, refuse, withdrawn_from, write_tombstone
from ..errors import AccessDenied, AlreadyExists, AssemblyNotFound, NotSupported, PluginError, StorageError
from ..protocol import Version

if TYPE_CHECKING:
    from .._store.file_store import FileStore

_log = logging.getLogger(__name__)
_LONGEST_REASON = 1000
_ATTEMPTS = 5  # to write a tombstone that others write at the same time


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithdrawReport:
    """What was withdrawn.

    Attributes:
        withdrawn: what each store's tombstone says now.
        failed: why copies in other stores are still there, by the stores' names.
    """

    withdrawn: tuple[Withdrawal, ...]
    failed: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return dataclasses.asdict(self)


def withdraw(store: FileStore, name: str, pin: Pin, *, reason: str, confirm: str, all_copies: bool) -> WithdrawReport:
    """Remove one version; see `Store.withdraw`."""
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= _LONGEST_REASON:
        raise StorageError(f"The reason must have 1 to {_LONGEST_REASON} characters. Nothing was removed")
    if not pin.names_version:
        raise StorageError("Nothing was removed: it was not said which version", hint="Give version_id or a hash.")
    if confirm != name:
        raise StorageError(
            f"Nothing was removed. This would remove {name}, {pin}, from {store.address} for good",
            hint=f"If you want that, confirm it with the name: withdraw(…, confirm={name!r}).",
        )
    with store.explained():
        key, digests, identifier = _found(store, name, pin)
        done = [_Removal(store, key, identifier, digests, reason).run(pin.version_id)]
    failed: dict[str, str] = {}
    for other in _with_copies(store, key, digests) if all_copies else ():
        try:
            with other.explained():
                done.append(_Removal(other, key, identifier, digests, reason).run(None))
        except StorageError as error:
            failed[other.name] = str(error)
    return WithdrawReport(withdrawn=tuple(done), failed=failed)


def _found(store: FileStore, name: str, pin: Pin) -> tuple[str, Digests, str]:
    """Return the key of a version, what its bytes are, and its identifier."""
    for key in store.keys_of(name, pin.assembly_prefix):
        for version in [*store.host.versions(key), *replaced_versions(store.host, key)]:
            fits = pin.fits(version) and pin.version_id in (None, version.version_id)
            if fits and version.answers_to(name):
                return key, _digests(store, key, version), version.identifier or name
        one = meant(withdrawn_from(store.host, key), pin)  # an earlier attempt may have been interrupted
        if one is not None:
            return key, Digests(one.sha1, one.sha256, one.size), one.identifier
    raise AssemblyNotFound(f"There is no {name}, {pin}, in {store.address}. Nothing was removed")


def _digests(store: FileStore, key: str, version: Version) -> Digests:
    if version.digests is not None:
        return version.digests
    replaced = version.version_id is None and version.sha256 is not None and store.host.replaces()
    place = replaced_key(key, str(version.sha256)) if replaced else key
    digests = store.host.download(place, version.version_id, Nowhere()).digests
    assert digests is not None  # noqa: S101  all bytes were wanted
    return digests


def _with_copies(store: FileStore, key: str, digests: Digests) -> Iterator[FileStore]:
    """Return the other configured stores that have a copy by the receipts."""
    addresses = {receipt.address for receipt in store.receipts.of(key) if receipt.sha256 == digests.sha256}
    return stores_at(store, addresses)


class _Removal:
    """The removal of one content from one store."""

    def __init__(self, store: FileStore, key: str, identifier: str, digests: Digests, reason: str) -> None:
        self._store, self._host, self._key = store, store.host, key
        self._identifier, self._digests, self._reason = identifier, digests, reason

    def run(self, version_id: str | None) -> Withdrawal:
        """Write the tombstone, remove every version with these bytes, and let cache and receipts know.

        The tombstone comes first, so that an interruption leaves no version that is missing without a reason. If
        nothing can be removed, it is undone.
        """
        earlier = withdrawn_from(self._host, self._key)
        versions = self._host.versions(self._key)
        unwanted = [version for version in versions if self._is_meant(version, version_id)]
        known = next((one for one in earlier if one.sha256 == self._digests.sha256), None)
        withdrawal = known or self._withdrawal(versions, unwanted, version_id)
        if known is None:
            self._note(withdrawal)
        removed = 0
        try:
            for version in unwanted:
                self._unpublish(version)
                self._remove(version)
                removed += 1
            self._remove_replaced()
        except (NotSupported, AccessDenied):
            if known is None and not removed:
                write_tombstone(self._store.parts, self._key, earlier)
            raise
        self._note(withdrawal)  # another withdrawal may have replaced the tombstone meanwhile
        self._store.receipts.withdraw(withdrawal)
        refuse(self._store.cache, withdrawal)  # the cache forgets the bytes
        _log.info("Withdrew %s, version %s, from %s", self._identifier, withdrawal.version_id, self._host.address)
        return withdrawal

    def _remove(self, version: Version) -> None:
        """Remove a version; others that disappear meanwhile must have been withdrawn, too."""
        lost = self._host.remove(self._key, version.version_id)
        withdrawn = ever_withdrawn(self._host, self._key) if lost else set()
        also = ", ".join(str(other.version_id) for other in lost if other.sha256 not in withdrawn)
        if also:
            raise PluginError(
                f"Removing version {version.version_id} of {self._key} from {self._host.address} also removed {also}"
            )

    def _note(self, withdrawal: Withdrawal) -> None:
        """Write a withdrawal into the tombstone, until it is there beside those of others."""
        for left in reversed(range(_ATTEMPTS)):
            there = withdrawn_from(self._host, self._key)
            if any(one.sha256 == withdrawal.sha256 for one in there):
                return
            try:
                write_tombstone(self._store.parts, self._key, merged([withdrawal], there))
            except AlreadyExists:
                if not left:
                    raise

    def _is_meant(self, version: Version, version_id: str | None) -> bool:
        if version_id is not None and version.version_id == version_id:
            return True
        return Pin.of(self._digests).fits(version) if version.sha256 else version.sha1 == self._digests.sha1

    def _withdrawal(self, versions: list[Version], unwanted: list[Version], version_id: str | None) -> Withdrawal:
        left = [version for version in versions if version not in unwanted]
        newest = bool(unwanted) and versions[0] in unwanted
        return Withdrawal(
            identifier=self._identifier,
            address=self._host.address,
            key=self._key,
            version_id=version_id or (unwanted[0].version_id if unwanted else None),
            sha1=self._digests.sha1,
            sha256=self._digests.sha256,
            size=self._digests.size,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            by=_user(),
            reason=self._reason,
            newest=newest,
            older=left[0].version_id if newest and left else None,
        )

    def _unpublish(self, version: Version) -> None:
        """Remove the public copy, where publishing made one."""
        try:
            self._host.unpublish(self._key, version.version_id)
        except StorageError as error:
            _log.info("%s was not made private first (%s)", self._key, error.message)

    def _remove_replaced(self) -> None:
        """Remove the bytes where an upload put them when it replaced them."""
        if self._host.replaces():
            key = replaced_key(self._key, self._digests.sha256)
            for version in self._host.versions(key):
                self._host.remove(key, version.version_id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without names
        return "unknown"
