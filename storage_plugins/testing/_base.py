"""The fixtures of all tests of the kit: a host, which the author provides, and machines that open its location."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_plugins import Store

from ._hosts import Host
from ._lab import Lab


class Kit:
    """The fixtures."""

    @pytest.fixture
    def host(self) -> Host:
        """Return a new, empty location. The author overrides this."""
        pytest.fail("The class needs a fixture called host that returns a Host; see docs/test-kit.md", pytrace=False)

    @pytest.fixture
    def lab(self, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
        """Machines that open the location."""
        return Lab(tmp_path / "lab", host, monkeypatch)

    @pytest.fixture
    def silent_port(self) -> Iterator[int]:
        """A port of 127.0.0.1 that accepts connections and never answers."""
        with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
            yield server.getsockname()[1]

    @pytest.fixture
    def store(self, lab: Lab) -> Store:
        """The location, opened on a machine."""
        return lab.machine()
