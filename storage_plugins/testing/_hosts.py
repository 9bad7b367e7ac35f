"""What the author of a backend tells the kit of the host: how to configure a store there, and ways round the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pytest


class Host:
    """A fresh, empty place on a host, and raw access to it that goes round the store.

    ``settings`` is all that is needed. Each further power makes the tests that need it run; without it they
    are skipped, and pytest's summary says what was not tested. What the oracle does must not go
    through the backend's own code: use the SDK, the server's memory, or the files themselves.

    Attributes:
        settings: of a store at this place, as under ``stores:`` in ``storage.yaml``, with ``backend``.
            Folders are absolute paths; values are what YAML has.
        secrets: values that must be shown nowhere, such as the token among the settings.
        across_processes: whether other processes of this computer reach the same place.
    """

    settings: Mapping[str, Any]
    secrets: Sequence[str] = ()
    across_processes: bool = True

    def get(self, key: str) -> list[bytes]:
        """Return the bytes of every version of ``key``, oldest first; none for an unknown key."""
        self._lacks("get", "what the host really holds")

    def put(self, key: str, data: bytes) -> None:
        """Put a file there as somebody without this package would, by the host's own tools. A new version, if it can.

        Called a thousand times for the listing.
        """
        self._lacks("put", "files that others put there, and long listings")

    def damage(self, key: str, number: int, data: bytes) -> None:
        """Let ``data`` stand where the bytes of version ``number`` (0: the oldest) were; nothing else changes.

        What the host recorded of the version, such as its own checksum, stays, as with a failing disk.
        """
        self._lacks("damage", "damage to the bytes at rest")

    def names(self) -> Sequence[str]:
        """Return the raw names of everything there, also of what is temporary, unfinished or hidden.

        Leave out folders, and what by design means nothing without its file, such as a record.
        """
        self._lacks("names", "whether failed uploads leave something behind")

    def unreachable(self) -> Mapping[str, Any]:
        """Return settings of a store on a host of this kind that does not answer, such as a closed port."""
        self._lacks("unreachable", "what is told when the host cannot be reached")

    def denied(self) -> Mapping[str, Any]:
        """Return settings of this place for somebody who may not read what is there."""
        self._lacks("denied", "what is told to those who may not read")

    def _lacks(self, power: str, untested: str) -> NoReturn:
        pytest.skip(f"{type(self).__name__} has no {power}(): not tested is {untested}")
