"""Copying all of a store into another one: every file, every version, so that changing ``default:`` is the switch.

Not named after its function: a submodule called ``mirror`` would take the place of ``storage_plugins.mirror``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from .._identifiers import assembly_key
from .._store.file_store import FileStore
from .._store.open import open_store
from .._store.store import Store
from .._store.upload import visible_as_asked
from .._store.withdrawn import keys_with_tombstones
from .._visible import error_in_words, html_table, visible
from .._waiting import each
from ..errors import AccessDenied, AssemblyNotFound, IdentifierCollision, InvalidIdentifier, NotSupported, StorageError
from .history import AnotherHistory, Copy, HistoryCopy, Plan, Stopped

_log = logging.getLogger(__name__)
_KEYS_AT_ONCE = 4  # each holds one file on disk, and what the backends hold of it in memory
_LOOKS_AT_ONCE = 16  # each a request for the versions of one file
_SHARES = 4  # at most, for each worker of a cluster, so that all end at about the same time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mirrored:
    """What became of one file.

    Attributes:
        key: its name.
        outcome: ``copied``: the target lacked versions and has them now; ``there``: it had them all;
            ``left alone``: it has another history; ``failed``: see ``reason``.
        versions_copied, versions_there: numbers of versions, equal neighbours counted as one. Of a file
            that failed, those copied stand, and are not sent again.
        bytes_sent: of the versions copied.
        reason: why it was left alone or failed, or what else is to be known; None otherwise.
    """

    key: str
    outcome: Literal["copied", "there", "left alone", "failed"]
    versions_copied: int = 0
    versions_there: int = 0
    bytes_sent: int = 0
    reason: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MirrorReport:
    """What a mirror did.

    Attributes:
        source, target: the addresses.
        files: what became of each file, by name.
    """

    source: str
    target: str
    files: tuple[Mirrored, ...]

    @property
    def complete(self) -> bool:
        """Whether the target now has all that was asked for."""
        return not self.left_alone and not self.failed

    @property
    def copied(self) -> tuple[Mirrored, ...]:
        """The files of which versions were sent."""
        return self._of("copied")

    @property
    def there(self) -> tuple[Mirrored, ...]:
        """The files whose versions were all there."""
        return self._of("there")

    @property
    def left_alone(self) -> tuple[Mirrored, ...]:
        """The files of which the target has another history."""
        return self._of("left alone")

    @property
    def failed(self) -> tuple[Mirrored, ...]:
        """The files that could not be copied, or not all of their versions."""
        return self._of("failed")

    @property
    def bytes_sent(self) -> int:
        """Bytes of all versions sent."""
        return sum(file.bytes_sent for file in self.files)

    def __repr__(self) -> str:
        return visible(f"<storage_plugins mirror: {self._summary()}>", one_line=True)

    def _repr_html_(self) -> str:
        rows = [[file.key, file.outcome, file.reason or ""] for file in (*self.failed, *self.left_alone)]
        return html_table(f"Mirror: {self._summary()}", ["file", "outcome", "reason"], rows)

    def _summary(self) -> str:
        counts = [f"{len(self.copied)} copied", f"{len(self.there)} there already"]
        counts += [f"{len(files)} {title}" for title, files in self._wrong() if files]
        return f"{self.source} to {self.target}, {', '.join(counts)}, {self.bytes_sent} bytes sent"

    def _wrong(self) -> list[tuple[str, tuple[Mirrored, ...]]]:
        return [("left alone", self.left_alone), ("failed", self.failed)]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**dataclasses.asdict(self), "complete": self.complete, "bytes_sent": self.bytes_sent}

    def _of(self, outcome: str) -> tuple[Mirrored, ...]:
        return tuple(file for file in self.files if file.outcome == outcome)


def mirror(
    source: Store | str,
    target: Store | str,
    identifiers: Iterable[str] | None = None,
    *,
    append: bool = False,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    client: Any = None,
) -> MirrorReport:
    """Copy every file of a store, with all its versions, byte for byte, into another store.

    The versions of a file go one after the other, oldest first; several files go side by side. What the
    target has is not sent again, so a mirror that was interrupted is finished by running it again. Receipts of the
    copies are written once a file's history is whole; afterwards changing ``default:`` is the whole switch.
    The stores' ``progress`` is called from several threads.

    Args:
        source, target: opened stores, or their names in the configuration.
        identifiers: of the assemblies to copy, under the source's ``assembly_prefix``, or names of files;
            None: every file, of any kind and prefix.
        append: where the target has other versions of a file, put what it lacks after them; otherwise
            such a file is reported and left alone.
        config: as in `open_store`, for stores given by name.
        client: a ``dask.distributed.Client`` whose workers copy the files, each with its own credentials and cache.
            This process then looks whether the copies are there, copies what they could not, and writes the receipts.

    Returns:
        what became of each file. One that fails does not stop the others.

    Raises:
        NotSupported: a store that does not consist of files, or one into itself.
        ConfigError: a store cannot be opened; or the target is public, and its settings do not ask for that.
        AccessDenied, StoreUnavailable: a store cannot be listed.

    Example:
        >>> import storage_plugins, tempfile, xarray as xr
        >>> stores = {name: {"backend": "local", "root": tempfile.mkdtemp()} for name in ("lab", "ours")}
        >>> lab = storage_plugins.open_store("lab", config={"stores": stores})
        >>> receipt = lab.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
        >>> storage_plugins.mirror("lab", "ours", config={"stores": stores}).complete
        True
    """
    origin, place = (_files_of(store, config) for store in (source, target))
    if origin.address == place.address:
        raise NotSupported(f"{origin.name!r} and {place.name!r} are one place, {place.address}: nothing to mirror")
    keys, missing = _wanted(origin, [identifiers] if isinstance(identifiers, str) else identifiers)
    work = _Work(origin, place, append)
    if identifiers is None:
        keys |= work.plan.withdrawn
    files = [_failed(name, AssemblyNotFound(f"There is no {name} in {origin.address}")) for name in missing]
    by_workers = {} if client is None else work.share(client, sorted(keys))
    done = {  # files with tombstones are looked at again below: this process must see the tombstone too
        key: file
        for key, file in by_workers.items()
        if file.outcome in ("copied", "there") and key not in work.plan.withdrawn
    }
    files += done.values()
    pool = concurrent.futures.ThreadPoolExecutor(_KEYS_AT_ONCE, thread_name_prefix="mirror")
    try:
        rest = sorted(keys - done.keys())
        files += (_together(by_workers.get(file.key), file) for file in each(pool, work.copy, rest))
    finally:  # on ctrl-C, what is on its way is taken back
        work.plan.stop.set()
        pool.shutdown(cancel_futures=True)
    report = MirrorReport(
        source=origin.address, target=place.address, files=tuple(sorted(files, key=lambda file: file.key))
    )
    _log.info("Mirrored %s to %s: %d bytes sent", origin.address, place.address, report.bytes_sent)
    return report


class _Work:
    """What the copying of one file needs to know of the whole."""

    def __init__(self, source: FileStore, target: FileStore, append: bool) -> None:
        with target.explained():
            visible_as_asked(target.parts, f"all of {source.address}")
            versioned = target.host.keeps_versions()
        withdrawn, withdrawn_here = (frozenset(keys_with_tombstones(store.host)) for store in (source, target))
        self.plan = Plan(source, target, append, versioned, withdrawn, withdrawn_here)
        self._names = _Names(_listed(target) or [])

    def share(self, client: Any, keys: Sequence[str]) -> dict[str, Mirrored]:
        """Let the workers of a cluster copy files; return what became of each, without those of workers that failed."""
        histories: dict[str, HistoryCopy] = {}
        for key in filter(self._names.is_free, keys):
            history = HistoryCopy(self.plan, key)
            with contextlib.suppress(StorageError):  # the copy from this process below reports the error
                history.read_receipts()
                histories[key] = history
        workers = max(1, len(client.scheduler_info()["workers"]))
        count = workers * min(_SHARES, -(-len(histories) // (workers * _KEYS_AT_ONCE)))
        shares = [[*histories.values()][first::count] for first in range(count)]
        futures = client.map(_copied, shares, pure=False)
        try:
            done = list(itertools.chain.from_iterable(client.gather(futures, errors="skip")))
        except BaseException:
            client.cancel(futures)
            raise
        with concurrent.futures.ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="mirror") as pool:
            return {file.key: file for file in each(pool, lambda one: self._seen(histories[one[0].key], *one), done)}

    def copy(self, key: str) -> Mirrored:
        """Copy one file, and return its outcome."""
        history = HistoryCopy(self.plan, key)
        claim = functools.partial(self._names.claim, key, self.plan.target.address)
        return _outcome(history, claim, history.read_receipts, history.copy, history.write_receipts)

    def _seen(self, history: HistoryCopy, file: Mirrored, copies: list[Copy]) -> Mirrored:
        """Check that a worker's copies are visible here, and write their receipts; the result is "failed" if not."""

        def look() -> None:
            with self.plan.target.explained():
                seen = {one.version_id or "null": one.sha256 for one in self.plan.target.host.versions(history.key)}
            if not all(seen.get(copy.version_id or "null", "") in (None, copy.digests.sha256) for copy in copies):
                history.copied = history.there = history.sent = 0
                raise AssemblyNotFound(f"{self.plan.target.address} is another place for a worker than it is here")

        if file.outcome not in ("copied", "there"):
            return file
        history.copies, history.note = copies, file.reason
        history.copied, history.there, history.sent = file.versions_copied, file.versions_there, file.bytes_sent
        return _outcome(history, look, history.write_receipts)


class _Names:
    """The names in the target; of two that differ in case only, the second is refused."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = set(keys)
        self._folded = {key.casefold(): key for key in self._keys}
        self._lock = threading.Lock()

    def is_free(self, key: str) -> bool:
        """Whether a name can be taken; it is then."""
        try:
            self.claim(key, "")
        except IdentifierCollision:
            return False
        return True

    def claim(self, key: str, address: str) -> None:
        """Take a name, or raise IdentifierCollision."""
        with self._lock:
            other = self._folded.setdefault(key.casefold(), key)
        if other != key and key not in self._keys:
            raise IdentifierCollision(f"{key} differs from {other}, which is in {address}, in case only")


def _copied(histories: Sequence[HistoryCopy]) -> list[tuple[Mirrored, list[Copy]]]:
    """Copy files in a worker of a cluster; return what became of each, and its copies."""
    with concurrent.futures.ThreadPoolExecutor(_KEYS_AT_ONCE, thread_name_prefix="mirror") as pool:
        done = each(pool, lambda history: _outcome(history, history.copy), histories)
        return [(file, history.copies) for file, history in zip(done, histories, strict=True)]


def _outcome(history: HistoryCopy, *steps: Callable[[], None]) -> Mirrored:
    """Run steps of the copying of one file, and return its outcome."""
    try:
        for step in steps:
            step()
    except AnotherHistory as error:
        address = history.target.address
        return Mirrored(key=history.key, outcome="left alone", reason=f"{address} has another history: {error}")
    except Stopped:
        raise
    except Exception as error:  # a backend's mistake, too, is one file's trouble
        _log.debug("%s could not be mirrored", history.key, exc_info=error)
        result = _failed(history.key, error)
    else:
        result = Mirrored(key=history.key, outcome="copied" if history.copied else "there", reason=history.note)
    return dataclasses.replace(
        result, versions_copied=history.copied, versions_there=history.there, bytes_sent=history.sent
    )


def _together(first: Mirrored | None, then: Mirrored) -> Mirrored:
    """Return what became of a file that a worker copied before this process looked at it."""
    if first is None or not first.versions_copied:
        return then
    return dataclasses.replace(
        then,
        outcome="copied" if then.outcome == "there" else then.outcome,
        versions_copied=first.versions_copied + then.versions_copied,
        versions_there=max(0, then.versions_there - first.versions_copied),
        bytes_sent=first.bytes_sent + then.bytes_sent,
    )


def _files_of(store: Store | str, config: Any) -> FileStore:
    opened = open_store(store, config=config) if isinstance(store, str) else store
    if not isinstance(opened, FileStore):
        raise NotSupported(f"{opened!r} does not consist of files, so that nothing can be mirrored from or to it")
    return opened


def _wanted(source: FileStore, identifiers: Iterable[str] | None) -> tuple[set[str], list[str]]:
    """Return the keys to copy, and the names that nothing is known by."""
    listed = _listed(source, needed=identifiers is None)
    if identifiers is None:
        return set(listed or []), []
    keys, missing = set[str](), list[str]()
    for name in identifiers:
        found = {name}.intersection(listed or ())  # as in a report, though no store would take it
        try:
            key = assembly_key(name, source.settings.assembly_prefix)
        except InvalidIdentifier:
            if not found:
                raise
        else:
            found |= {key} if listed is None else {key}.intersection(listed)
        keys |= found
        if not found:
            missing.append(name)
    return keys, missing


def _listed(store: FileStore, *, needed: bool = False) -> list[str] | None:
    """Return all keys of a store; None where they may not be listed, unless they are needed."""
    try:
        with store.explained():
            return store.all_keys("")
    except (AccessDenied, NotSupported) as error:
        if needed:
            raise
        _log.info("The files in %s cannot be listed (%s)", store.address, error)
        return None


def _failed(key: str, error: Exception) -> Mirrored:
    return Mirrored(key=key, outcome="failed", reason=error_in_words(error))
