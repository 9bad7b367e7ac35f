"""From a configuration, or a URI, to an open store; and how an open store is pickled."""

from __future__ import annotations

import copyreg
import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urldefrag, urlsplit

from .._backend.discovery import Backend, find_backend, locate, made_by, title_of
from .._backend.hints import OPENING, see
from .._backend.operations import FileOperations
from .._backend.settings import StoreSettings, without_secrets
from .._config.config import GROUP, Config, StoreEntry, nearest
from .._config.secrets import refuse_shown_secrets
from .._config.trust import check_secrets
from .._copies.cache import Cache
from .._records import Cached, Pin, is_text
from .._visible import visible
from ..errors import ConfigError, InvalidPin, NotSupported, PluginError, StorageError
from ..protocol import AssemblyStore, Receipt
from .file_store import FileStore
from .group import Group, GroupSettings
from .in_parts import parts_of
from .store import PlainStore, Store

if TYPE_CHECKING:
    import xarray as xr

    from .. import codec

_log = logging.getLogger(__name__)


def open_store(name: str | None = None, *, config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Store:
    """Open a configured store. No request is made yet.

    Args:
        name: its name under ``stores:``; None: STORAGE_PLUGINS_STORE, else the default.
        config: path of a ``storage.yaml``, or a mapping of the same shape; None: the one that is found.

    Raises:
        ConfigError: no such store, or wrong settings; names file, line and the nearest valid name.
        PluginError: its backend is missing or broken; says how to fix that.

    Example:
        >>> import storage_plugins, tempfile
        >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
        >>> storage_plugins.open_store("lab", config={"stores": stores}).identifiers()
        []
    """
    return open_entry(Config.open(config).entry(name))


def load(
    uri: str | Receipt,
    *,
    cls: type | None = None,
    chunks: Mapping[Any, Any] | int | str | None = None,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    download: bool = True,
) -> xr.DataArray:
    """Load the assembly that a receipt's ``uri`` names; no configuration is needed.

    A configured store of the same address is used where there is one, with its credentials. A server that only the
    URI names gets no credentials.

    Args:
        uri: such as ``s3://bucket/key?versionId=…#sha256=…``; ``sha1=`` is understood too. Or a receipt.
        cls, chunks, download: as in ``Store.load``.
        config: as in `open_store`.

    Raises:
        InvalidPin: the URI is malformed.
        PluginError: no installed backend understands it.
        and what ``Store.load`` raises.

    Example:
        >>> import storage_plugins, tempfile, xarray as xr
        >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
        >>> store = storage_plugins.open_store(config={"stores": stores})
        >>> receipt = store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
        >>> storage_plugins.load(receipt.uri).values
        array([1.5, 2. ])
    """
    from .. import codec

    named = found_at(uri, config)
    if not download:
        try:
            return named.parts().assembly(cls, chunks)
        except NotSupported as error:
            _log.warning("%s. It is downloaded whole", error.message)
    return codec.decode(named.fetch(), cls=cls, chunks=chunks, refetch=named.fetch)


@dataclasses.dataclass(frozen=True)
class Named:
    """A version that a URI names.

    Attributes:
        store: where it is.
        key: name of the file.
        pin: which version.
        receipt: that the caller gave, if any.
    """

    store: Store
    key: str
    pin: Pin
    receipt: Receipt | None = None

    def fetch(self) -> Path:
        """Return the verified file."""
        return self.store.fetch(self.key, version_id=self.pin.version_id, sha1=self.pin.sha1, sha256=self.pin.sha256)

    def found(self) -> Cached:
        """Return where the version is, not downloaded."""
        if not isinstance(self.store, FileStore):
            raise NotSupported(f"Store {self.store.name!r} does not support download=False")
        return self.store.file_in_parts(self.key, self.pin, receipt=self.receipt)

    def parts(self) -> codec.Parts:
        """Return the assembly, of which only the description was read; errors as of `parts_of`."""
        return parts_of(self.found(), self.fetch)


def found_at(uri: str | Receipt, config: str | os.PathLike[str] | Mapping[str, Any] | None) -> Named:
    """Return what a URI, or a receipt's, names; errors as `load`. No request is made yet."""
    receipt = uri if isinstance(uri, Receipt) else None
    uri = uri.uri if isinstance(uri, Receipt) else uri
    if not is_text(uri):
        raise InvalidPin(f"{uri!r} is not a URI: it has characters that are not Unicode text")
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise InvalidPin(f"{uri!r} is not a URI: {error}") from error
    if not parts.scheme:
        raise InvalidPin(f"{uri!r} is not a URI: it has no scheme such as s3:")
    hashes = {name: values[0] for name, values in parse_qs(parts.fragment).items() if name in ("sha1", "sha256")}
    if parts.fragment and not hashes:
        raise InvalidPin(f"The part after # of {uri} is not a hash", hint="Copy the whole URI: …#sha256=…")
    backend, location = locate(urldefrag(uri).url)
    if parts.scheme in ("http", "https") and not hashes:
        link = visible(parts._replace(query="").geturl(), one_line=True)
        _log.warning("%s was not verified: the link has no hash (#sha256=…)", link)
    entry = StoreEntry(backend.name, backend.name, location.settings, None, Path.cwd(), None, given="address")
    store = store_at(entry, Config.open(config))
    return Named(store, location.key, Pin(location.version_id, hashes.get("sha1"), hashes.get("sha256")), receipt)


def _reduced(store: Store) -> tuple[Any, ...]:
    return reopen, (portable(store._entry),)


for _kind in (FileStore, Group, PlainStore):
    copyreg.pickle(_kind, _reduced)


def portable(entry: StoreEntry) -> dict[str, Any]:
    """Return what reopens a store in another process, without any secret value."""
    if entry.backend == GROUP:
        members = {*entry.raw["read"], *filter(None, [entry.raw.get("write")])}
        return {"group": dataclasses.replace(entry, others={}), "members": [portable(entry.others[m]) for m in members]}
    backend = find_backend(entry.backend)
    return {
        "name": entry.name,
        "backend": entry.backend,
        "raw": without_secrets(backend.settings, entry.raw),
        "literal_secrets": sorted(entry.raw.keys() - without_secrets(backend.settings, entry.raw).keys()),
        "path": entry.path,
        "folder": entry.folder,
        "receipts": entry.receipts,
        "implicit": entry.implicit,
        "given": "address" if entry.given == "address" else "named",  # an open store was trusted already
    }


def reopen(state: dict[str, Any]) -> Store:
    """Open a store again from `portable`. Secrets written out in the YAML are read from there again."""
    state = dict(state)
    if "group" in state:
        members = {member["name"]: _entry_of(member) for member in state["members"]}
        return open_entry(dataclasses.replace(state["group"], others=members))
    return open_entry(_entry_of(state))


def _entry_of(state: dict[str, Any]) -> StoreEntry:
    state = dict(state)
    if state.pop("literal_secrets") and state["path"] is not None and state["path"].is_file():
        return Config.open(state["path"]).entry(state["name"])
    return StoreEntry(**state)


def open_entry(entry: StoreEntry) -> Store:
    """Open the store of one entry; errors as `open_store`."""
    store = _opened(entry)
    store._opener = open_entry
    return store


def _opened(entry: StoreEntry) -> Store:
    if entry.backend == GROUP:
        return _open_group(entry)
    try:
        backend = find_backend(entry.backend)
    except PluginError as error:
        raise PluginError(f"{entry.origin}, store {entry.name!r}: {error.message}", hint=error.hint) from error
    settings, unset = entry.settings(backend)
    try:
        check_secrets(entry, backend, settings)
        if backend.files is not None:
            files = _checked_files(made_by(backend.files, settings))
            if entry.given == "address":
                files = _without_credentials(files, settings)
            refuse_shown_secrets(entry, backend, files.address)
            if settings.visibility == "public" and files.anonymous() is None:
                raise _cannot_open(entry)
            return FileStore(entry, settings, files, cache=Cache.from_environment(), unset=unset)
        if backend.store is not None:
            if settings.visibility == "public":
                raise _cannot_open(entry)
            return PlainStore(entry, settings, _checked_store(made_by(backend.store, settings)))
    except StorageError:
        raise
    except Exception as error:
        raise PluginError(
            f"{title_of(backend)} failed to open: {type(error).__name__}: {error}",
            hint=see(OPENING),
        ) from error
    raise PluginError(f"The backend {backend.name!r} makes neither files nor a store")


def _checked_files(files: FileOperations) -> FileOperations:
    if not isinstance(files, FileOperations):
        raise TypeError(f"files= returned {type(files).__name__}, expected FileOperations")
    if not isinstance(files.address, str):
        raise TypeError(f"address is {type(files.address).__name__}, expected str; it is a property")
    return files


def _without_credentials(files: FileOperations, settings: StoreSettings) -> FileOperations:
    """Return the files as readers without credentials see them, unless their server is the backend's own."""
    hosts = settings.credential_hosts()
    if hosts is not None and not [*hosts]:
        return files
    anonymous = files.anonymous()
    credentials = settings.implicit_credentials()
    if anonymous is None and credentials:
        raise NotSupported(
            f"{files.address} can be read only with {credentials}, which a server that is named by a URI does not get",
            hint="Configure it as a store in storage.yaml.",
        )
    return anonymous or files


def _checked_store(store: AssemblyStore) -> AssemblyStore:
    if not isinstance(store, AssemblyStore):
        raise TypeError(f"store= returned {type(store).__name__}, which does not have both upload and load")
    return store


def _open_group(entry: StoreEntry) -> Group:
    """Open a group; its members are opened at their first use."""
    settings, _ = entry.settings(Backend(name=GROUP, settings=GroupSettings))
    assert isinstance(settings, GroupSettings)  # noqa: S101  for mypy
    for name in settings.read + [name for name in [settings.write] if name is not None]:
        if name not in entry.others:
            raise entry.error(
                f"the group names the store {name!r}, which does not exist", hint=nearest(name, list(entry.others))
            )
        if entry.others[name].backend == GROUP:
            raise entry.error(f"{name!r} is a group itself", hint="Name its members instead.")
    return Group(entry, settings, lambda name: open_entry(entry.others[name]))


def _cannot_open(entry: StoreEntry) -> NotSupported:
    return NotSupported(
        f"{entry.origin}, store {entry.name!r}: backend {entry.backend} cannot make uploads public",
        hint="Remove visibility:, and make the location public with the host's own tools.",
    )


def store_at(entry: StoreEntry, config: Config) -> Store:
    """Return the configured store with the address of ``entry``; without one, the store of ``entry`` itself."""
    wanted = open_entry(entry)
    for candidate in config.stores.values():
        if candidate.backend != entry.backend:
            continue
        try:
            store = open_entry(candidate)
        except (ConfigError, NotSupported, PluginError) as error:
            _log.info("%s", error.message)  # a problem of that entry alone
            continue
        if store.address == wanted.address:
            return store
    return wanted
