"""The live self-test of a configured store: what it promises, tried on the place itself and told in words."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .._store.file_store import FileStore
from .._store.store import Store
from ..errors import ConfigError, NotSupported, PluginError, StorageError, StoreUnavailable
from .trials import FileTrials, Finding, Left, PlainTrials


class Check:
    """A self-test of one store. Within its ``with`` block, iterating over it runs one check after the other.

    Its end deletes what the checks made, where the host can do that.

    Args:
        store: an open store.
        read_only: whether to change nothing, and only try reading.

    Attributes:
        not_tried: checks that were skipped because another one failed.
        left: after the block, what it could not delete.
        earlier: names of files that another check left, or is using now.
    """

    def __init__(self, store: Store, *, read_only: bool = False) -> None:
        self.store, self.read_only = store, read_only
        self.not_tried: list[str] = []
        self.left: list[Left] = []
        self.earlier: list[str] = []

    def __enter__(self) -> Check:
        self._scratch = tempfile.TemporaryDirectory(prefix="storage-plugins-", ignore_cleanup_errors=True)
        self._trials = (
            FileTrials(self.store, Path(self._scratch.name))
            if isinstance(self.store, FileStore)
            else PlainTrials(self.store)
        )
        return self

    def __exit__(self, *_: object) -> None:
        with self._scratch:
            self.earlier = self._trials.earlier
            self.left = self._trials.clean_up()

    def __iter__(self) -> Iterator[Finding]:
        trials = self._trials.reading() if self.read_only else self._trials.all()
        for number, (name, trial) in enumerate(trials.items(), 1):
            finding = self._tried(name, trial)
            yield finding
            if finding.ok is False and (name == "writing" or finding.error in (StoreUnavailable, ConfigError)):
                self.not_tried = list(trials)[number:]
                return

    def _tried(self, name: str, trial: Callable[[], Finding]) -> Finding:
        try:
            with self.store.explained() if isinstance(self.store, FileStore) else contextlib.nullcontext():
                return trial()
        except NotSupported as error:
            return Finding(name, None, error.message, error.hint)
        except StorageError as error:
            return Finding(name, False, error.message, error.hint, type(error))
        except Exception as error:
            text = f"the backend raised an undeclared error: {type(error).__name__}: {error}"
            return Finding(name, False, text, "Report it to the author of the backend.", PluginError)
