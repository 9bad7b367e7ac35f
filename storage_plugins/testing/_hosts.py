"""What the author of a backend provides: how to configure a store on a host, and direct access that bypasses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pytest


class Host:
    """A new, empty location on a host, and direct access to it that does not go through the store.

    Only ``settings`` is required. Tests that need another member are skipped without it, and pytest's summary
    shows what was not tested. The methods must not use the backend's own code: use the SDK, the server's
    memory, or the files themselves.

    Attributes:
        settings: of a store at this location, as under ``stores:`` in ``storage.yaml``, with ``backend``.
            Folders are absolute paths; values are what YAML has.
        secrets: values that must never be shown, such as the token among the settings.
        across_processes: whether other processes on this computer can reach the same location.
        part_size: bytes of a block or part, if the backend stores or sends files in parts.
        server: host and port of the server, if the backend reaches it by TCP and ``through`` can name another one.
        page_size: entries in one page, if the host lists names or versions in pages.
    """

    settings: Mapping[str, Any]
    secrets: Sequence[str] = ()
    across_processes: bool = True
    part_size: int | None = None
    page_size: int | None = None
    server: tuple[str, int] | None = None

    def get(self, key: str) -> list[bytes]:
        """Return the bytes of every version of ``key``, oldest first; none for an unknown key."""
        self._lacks("get", "what the host really stores")

    def put(self, key: str, data: bytes) -> None:
        """Put a file there with the host's own tools, as a program without this package would.

        An existing key gets a new version, where the host can.

        Called a thousand times for the long listing.
        """
        self._lacks("put", "files from other programs, and long listings")

    def damage(self, key: str, number: int, data: bytes) -> None:
        """Replace the bytes of version ``number`` (0: the oldest) by ``data``; change nothing else.

        What the host recorded about the version, such as its own checksum, stays, as with a failing disk.
        """
        self._lacks("damage", "damage to stored bytes")

    def names(self) -> Sequence[str]:
        """Return the raw names of everything there, including temporary, unfinished and hidden files.

        Leave out folders, and what is meaningless without its file by design, such as a record.
        """
        self._lacks("names", "whether failed uploads leave files behind")

    def unreachable(self) -> Mapping[str, Any]:
        """Return settings of a store on a host of this kind that does not answer, such as a closed port."""
        self._lacks("unreachable", "the error for a host that cannot be reached")

    def silent(self, port: int) -> Mapping[str, Any]:
        """Return settings of a store on a host at 127.0.0.1:``port``, which accepts connections and never answers."""
        self._lacks("silent", "the error for a host that accepts connections and never answers")

    def through(self, port: int) -> Mapping[str, Any]:
        """Return settings of this location on a server at 127.0.0.1:``port``, where the kit forwards to ``server``."""
        self._lacks("through", "connections that are cut in mid-read")

    def denied(self) -> Mapping[str, Any]:
        """Return settings of this location for a user without read access."""
        self._lacks("denied", "the error for users without read access")

    def _lacks(self, power: str, untested: str) -> NoReturn:
        pytest.skip(f"{type(self).__name__} has no {power}(); not tested: {untested}")
