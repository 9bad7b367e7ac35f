"""What `verify` returns: the state of each version, and of the whole."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

State = Literal["whole", "missing", "damaged", "changed", "unreachable", "denied"]
STATES: tuple[State, ...] = ("whole", "missing", "damaged", "changed", "unreachable", "denied")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verified:
    """The state of one version in one store.

    Attributes:
        store, address: where it should be.
        identifier: the assembly's name, or the file's name for other files.
        key: file name in the store.
        version_id: the host's name for this version.
        sha1, sha256, size: of its bytes, as far as they are known.
        state: ``whole``; ``missing``: it is not there; ``damaged``: its bytes are not those that were uploaded;
            ``changed``: something else has its name, or its record is lost; ``unreachable``: the store does not
            answer; ``denied``: these credentials may not see it.
        read: whether every byte was read.
        reason: why it is not whole, or what else to know about it; None otherwise.
    """

    store: str
    address: str
    identifier: str
    key: str
    version_id: str | None = None
    sha1: str | None = None
    sha256: str | None = None
    size: int | None = None
    state: State
    read: bool = False
    reason: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
        full: whether every byte was to be read.
        versions: the state of each version, by store and name.
        problems: why stores could not be opened or listed, by their names.
        bytes_read: bytes that were read and hashed.
        resumed: versions that an interrupted run had read already.
    """

    full: bool
    versions: tuple[Verified, ...]
    problems: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bytes_read: int = 0
    resumed: int = 0

    @property
    def ok(self) -> bool:
        """Whether there was something to verify, and all of it is whole."""
        return bool(self.versions) and not self.problems and not self.not_whole

    @property
    def not_whole(self) -> tuple[Verified, ...]:
        """The versions that are missing, damaged, changed, out of reach or denied."""
        return tuple(version for version in self.versions if version.state != "whole")

    @property
    def counts(self) -> dict[State, int]:
        """The number of versions in each state."""
        found = Counter(version.state for version in self.versions)
        return {state: found[state] for state in STATES}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**dataclasses.asdict(self), "ok": self.ok, "counts": self.counts}
