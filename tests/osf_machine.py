"""What one machine does while others do the same: uploads to a project of the stand-in, and what became of each."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import time
from pathlib import Path
from typing import Any

import storage_plugins
from storage_plugins import Source, StorageError


@dataclasses.dataclass(frozen=True)
class Job:
    """Uploads of one process.

    Attributes:
        store: settings of the store.
        uploads: identifier and bytes of each, in order.
        folder: an empty folder of this computer.
        start: the moment at which all begin, in seconds since the epoch.
    """

    store: dict[str, Any]
    uploads: list[tuple[str, bytes]]
    folder: str
    start: float
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one upload: its version id, or what was wrong."""

    identifier: str
    data: bytes
    version_id: str | None
    error: str | None

    @property
    def key(self) -> str:
        return f"assy_{self.identifier}.nc"


def run(job: Job) -> list[Outcome]:
    """Do the uploads, without the format of assemblies: what is raced is the transport."""
    random.seed(job.seed)
    store = storage_plugins.open_store(config={"stores": {"lab": job.store}})
    time.sleep(max(0.0, job.start - time.time()))
    outcomes = []
    for number, (identifier, data) in enumerate(job.uploads):
        path = Path(job.folder) / f"{job.seed}-{number}"
        path.write_bytes(data)
        source = Source.of(path)
        metadata = {"identifier": identifier, "assembly-prefix": "assy_", "sha1": source.sha1}
        metadata |= {"sha256": source.sha256, "size": f"{source.size}"}
        key = f"assy_{identifier}.nc"
        try:
            store.files.newest(key)
            version_id = store.files.put(key, source, metadata=metadata, if_absent=False)
            outcomes.append(Outcome(identifier, data, version_id, None))
        except StorageError as error:
            outcomes.append(Outcome(identifier, data, None, f"{type(error).__name__}: {error}"))
    return outcomes


def read(store: storage_plugins.Store, outcome: Outcome) -> list[str]:
    """Load what was uploaded by each pin, as a machine that knows nothing else; return what was wrong."""
    sha1, sha256 = (hashlib.new(rule, outcome.data).hexdigest() for rule in ("sha1", "sha256"))
    wrong = []
    for pin in ({"version_id": outcome.version_id}, {"sha1": sha1}, {"sha256": sha256}):
        try:
            if store.fetch(outcome.key, **pin).read_bytes() != outcome.data:
                wrong.append(f"{outcome.key} by {pin}: other bytes")
        except StorageError as error:
            wrong.append(f"{outcome.key} by {pin}: {error}")
    return wrong
