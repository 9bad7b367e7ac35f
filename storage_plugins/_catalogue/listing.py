"""Which assemblies a catalogue has, and which versions of them may be shown."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, get_args

from .._copies.receipts import Receipts
from .._identifiers import assembly_key
from .._store.file_store import FileStore
from .._store.show import anyone_can_read
from ..errors import InvalidIdentifier, StorageError
from ..protocol import Receipt, Version

Private = Literal["hide", "names", "full"]
PRIVATE: tuple[Private, ...] = get_args(Private)
# None: this kind of store has no anonymous access, such as a folder
Access = Literal["public", "private", "unknown"] | None

_MOST_VERSIONS = 20  # of each assembly that are listed
_EARLY = datetime.min.replace(tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Held:
    """One version in one store.

    Attributes:
        name, address: of the store.
        store: None if no store of the configuration has the address.
        version: as the store describes it, or a receipt.
        receipt: of it; None if its hashes are unknown.
        access: who can read it.
    """

    name: str
    address: str
    store: FileStore | None
    version: Version
    receipt: Receipt | None
    access: Access

    @property
    def identity(self) -> tuple[str, str | None]:
        """What equal versions have in common."""
        return ("", self.version.sha256) if self.version.sha256 else (self.address, self.version.version_id)


@dataclasses.dataclass(frozen=True)
class Listed:
    """An assembly, and what may be shown of it.

    Attributes:
        key: its file name in stores.
        identifier: its name.
        versions: those that may be shown, newest first; each with the stores that have it. Empty: only its name may be.
        problem: why its versions cannot be listed.
        visible: whether it appears in the catalogue.
        contact: whom to ask for it.
    """

    key: str
    identifier: str
    versions: tuple[tuple[Held, ...], ...] = ()
    problem: str | None = None
    visible: bool = True
    contact: str | None = None

    def state(self, *about: object) -> str:
        """Return a hash of all that its page depends on."""
        versions = [
            [[one.name, one.address, one.access, one.version.version_id, *one.identity, str(one.version.created)]]
            for each in self.versions
            for one in each
        ]
        text = json.dumps([*about, self.key, self.identifier, self.contact, versions])
        return hashlib.sha256(text.encode()).hexdigest()


def keys_in_store(store: FileStore) -> dict[str, str]:
    """Return the identifiers of a store's assemblies, by key."""
    prefix = store.settings.assembly_prefix
    return {_key(identifier, prefix): identifier for identifier in store.identifiers()}


def _key(identifier: str, prefix: str) -> str:
    try:
        return assembly_key(identifier, prefix)
    except InvalidIdentifier:  # a file that was put there by other means; listed with this error
        return f"{prefix}{identifier}.nc"


def in_store(store: FileStore, key: str, identifier: str, private: Private) -> list[Held]:
    """Return the versions of an assembly in a store that are listed, newest first."""
    versions = store.versions(identifier, assembly_prefix=store.settings.assembly_prefix)[:_MOST_VERSIONS]
    return [
        Held(
            name=store.name,
            address=store.address,
            store=store,
            version=version,
            receipt=store._described(key, identifier, version, version.digests) if version.digests else None,
            access=_access(store, key, version.version_id, newest=number == 0) if _asks(number, private) else "unknown",
        )
        for number, version in enumerate(versions)
    ]


def keys_in_receipts(receipts: Receipts) -> dict[str, str]:
    """Return the identifiers of the assemblies that have receipts, by key."""
    found: dict[str, str] = {}
    for key in receipts.all_keys():
        for receipt in receipts.of(key):
            if receipt.identifier != key:  # that of another file, such as a stimulus set
                found.setdefault(key, receipt.identifier)
    return found


def in_receipts(
    receipts: Receipts, key: str, stores: Mapping[str, FileStore], only: Collection[str] | None, private: Private
) -> list[Held]:
    """Return a receipt for each copy of each version, newest first; ``only``: at these addresses."""
    withdrawn = {each.sha256 for each in receipts.withdrawn(key)}
    found = [one for one in receipts.of(key) if one.sha256 not in withdrawn and (only is None or one.address in only)]
    held = []
    for number, receipt in enumerate(found[:_MOST_VERSIONS]):
        store = stores.get(receipt.address)
        access: Access = "unknown"
        if store is not None and _asks(number, private):
            access = _access(store, key, receipt.version_id, newest=number == 0)
        names = ("version_id", "size", "created", "sha1", "sha256", "content_digest", "identifier")
        version = Version(**{name: getattr(receipt, name) for name in names})
        held.append(Held(store.name if store else receipt.store, receipt.address, store, version, receipt, access))
    return held


def _asks(number: int, private: Private) -> bool:
    """Whether to ask who can read a version: the newest, and others where private ones are left out."""
    return number == 0 or private != "full"


def _access(store: FileStore, key: str, version_id: str | None, *, newest: bool) -> Access:
    try:
        if store.host.anonymous() is None:
            return None
        public = store.host.place_is_public()
    except StorageError:
        return "unknown"
    if public is None and newest:  # some servers give anonymous readers the newest version, and none by its ID
        public = anyone_can_read(store.host, key, version_id, True) or None
    if public is None:
        public = anyone_can_read(store.host, key, version_id, False)
    return "unknown" if public is None else "public" if public else "private"


def access_of(store: FileStore | None) -> Access:
    """Return who can read what cannot be listed."""
    try:
        if store is not None and store.host.anonymous() is None:
            return None
        return "public" if store is not None and store.host.place_is_public() else "unknown"
    except StorageError:
        return "unknown"


def listed(key: str, identifier: str, held: Iterable[Held], private: Private, contact: str | None) -> Listed:
    """Return what may be shown of an assembly.

    A version that anyone can read is shown, and one in a store that has no anonymous access. Others, and those of which
    it is unknown, only if ``private`` is "full".
    """
    by_content: dict[tuple[str, str | None], list[Held]] = {}
    shown = [one for one in held if private == "full" or one.access in ("public", None)]
    for one in shown:
        by_content.setdefault(one.identity, []).append(one)
    versions = [tuple(sorted(each, key=lambda one: one.access != "public")) for each in by_content.values()]
    if len({one.address for one in shown}) > 1:
        versions.sort(key=lambda each: each[0].version.created or _EARLY, reverse=True)
    return Listed(key, identifier, tuple(versions), None, bool(versions) or private == "names", contact)
