"""How a command opens its store: options, progress, and what an error needs to say besides."""

from __future__ import annotations

import contextlib
import difflib
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AssemblyNotFound, AssemblyWithdrawn, ConfigError, StorageError
from ._options import config_option, json_option, store_option, together

_PATIENCE = 5.0  # seconds for a question that only helps

if TYPE_CHECKING:
    from .._config.config import Config, StoreEntry
    from .._store.store import Store


def on_store(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options -s, -c and --json, and call it with ``store`` and ``as_json``."""

    @functools.wraps(command)
    def with_store(*, store_name: str | None, config: Path | None, as_json: bool, **rest: Any) -> Any:
        with configured(config) as found:
            store = opened(found, store_name)
            with progress_of(as_json, store):
                return command(store=store, as_json=as_json, **rest)

    return together(store_option, config_option, json_option)(with_store)


@contextlib.contextmanager
def configured(path: Path | None) -> Iterator[Config]:
    """Give the configuration; where none was found, say so in the errors that this explains."""
    from .._config.config import Config

    found = Config.open(path)
    try:
        yield found
    except (AssemblyNotFound, ConfigError) as error:
        implicit = not_found(next(iter(found.stores.values())))
        if implicit and implicit not in str(error):
            error.hint = "\n  ".join(filter(None, [error.hint, implicit]))
        raise


def not_found(entry: StoreEntry) -> str | None:
    """Return a sentence for the store that nobody configured: no storage.yaml was found. None for any other."""
    if entry.implicit is None:
        return None
    return (
        f"No storage.yaml was found from {entry.implicit} upwards; without one, there is only the store "
        f"{entry.name!r} on this computer."
    )


def opened(config: Config, name: str | None) -> Store:
    """Open a store of a configuration, the default one for None."""
    from .._store.open import open_entry

    return open_entry(config.entry(name))


@contextlib.contextmanager
def progress_of(as_json: bool, *stores: Store) -> Iterator[None]:
    """Show a progress bar for each transfer on a terminal, unless JSON is printed.

    With two stores, as for a mirror, the bars say which way a file goes.
    """
    from .._progress import Bars

    if as_json or not sys.stderr.isatty():
        yield
        return
    endings = ["", *(f" to {store.name}" for store in stores[1:])]
    if len(stores) > 1:
        endings[0] = f" from {stores[0].name}"
    with Bars() as report:
        for store, ending in zip(stores, endings, strict=True):
            store.progress = functools.partial(_report, report, ending)
        yield


def _report(report: Callable[..., None], ending: str, name: str, done: int, size: int | None) -> None:
    report(f"{name}{ending}", done, size)


@contextlib.contextmanager
def near_names(store: Store, name: str, *, elsewhere: bool = True) -> Iterator[None]:
    """Suggest names that the store has, where ``name`` is not found in it and it can be listed.

    ``elsewhere``: suggest a copy from another store, too.
    """
    try:
        yield
    except AssemblyWithdrawn:
        raise
    except AssemblyNotFound as error:
        near = _nearest(store, name)
        question = f"Did you mean {' or '.join(near)}?" if near else None
        error.hint = (
            "\n  ".join(filter(None, [question, _elsewhere(store, name, error) if elsewhere else None, error.hint]))
            or None
        )
        raise


def _nearest(store: Store, name: str) -> list[str]:
    with contextlib.suppress(StorageError):
        names = [*store.identifiers(), *store.file_names()]
        if name in names:  # it lacks one version alone
            return []
        by_lower = {candidate.lower(): candidate for candidate in names}
        return [by_lower[close] for close in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.7)]
    return []


def _elsewhere(store: Store, name: str, error: AssemblyNotFound) -> str | None:
    """Return in which other store ``name`` is, unless the error says so by the receipts."""
    from .._audit.where import where_among
    from .._store.copies import COPY, copy_in

    others = [entry for entry in store._entry.others.values() if entry.name != store.name]
    if store.members() or COPY in str(error) or not others:
        return None
    with contextlib.suppress(StorageError):
        if store.versions(name):  # it lacks one version alone
            return None
        for answer in where_among(store._opener, others, name, patience=_PATIENCE):
            if answer.versions:
                return copy_in(answer.store, store.name, name)
    return None
