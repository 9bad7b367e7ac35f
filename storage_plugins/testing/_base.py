"""What all tests of the kit are given: a host, which the author brings, and machines that open its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_plugins import Store

from ._hosts import Host
from ._lab import Lab


class Kit:
    """The fixtures."""

    @pytest.fixture
    def host(self) -> Host:
        """Give a new, empty place. The author overrides this."""
        pytest.fail("The class needs a fixture called host that returns a Host; see docs/test-kit.md", pytrace=False)

    @pytest.fixture
    def lab(self, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
        """Machines that open the place."""
        return Lab(tmp_path / "lab", host, monkeypatch)

    @pytest.fixture
    def store(self, lab: Lab) -> Store:
        """The place, opened on a machine."""
        return lab.machine()
