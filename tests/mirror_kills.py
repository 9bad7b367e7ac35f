"""A mirror to OSF whose process is killed again and again, and what it sent in all.

    python tests/mirror_kills.py --source local --kills 20 --seed 1
    python tests/mirror_kills.py --source s3

Forty assemblies with three versions are mirrored from a folder, of 1 MB each, or from a served bucket, of 32 kB each
(moto's memory grows with each byte it hands out), to the stand-in for OSF by a process that SIGKILL ends at moments
drawn by the seed: so many uploads and requests after its start, and up to 5 ms later. Then it is let run to its end.
The stand-in counts the bodies that began to arrive and those that arrived whole. Demanded: all is there, in order; each
version arrived whole once; a body that was begun again was cut off by a kill, of which four are on their way at most;
and each receipt loads its bytes from a cold cache.
"""

import argparse
import collections
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import xarray as xr
import yaml
from conftest import OSF_TOKEN
from osf_answers import Request
from osf_server import OSFServer
from s3_servers import served_moto
from test_mirror import history

from storage_plugins import open_store
from storage_plugins._copies.cache import Cache

AT_ONCE = 4  # files that a mirror copies side by side


@dataclasses.dataclass
class Figures:
    """What happened.

    Attributes:
        kills: how often the process was killed.
        versions: that were to be mirrored.
        begun: uploads of which the first bytes arrived.
        whole: uploads that arrived whole.
        requests: all that the stand-in got.
    """

    kills: int = 0
    versions: int = 0
    begun: int = 0
    whole: int = 0
    requests: int = 0


class Moment:
    """When to kill: after so many uploads were begun, so many requests later, and some time after that one."""

    def __init__(self, chance: random.Random, most_uploads: int) -> None:
        self._uploads = chance.randrange(most_uploads)
        self._requests = 1 + chance.choice((0, chance.randrange(8)))
        self._delay = chance.choice((0, chance.uniform(0, 0.005)))
        self._lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.started = threading.Event()

    def notice(self, request: Request) -> None:
        self.started.wait(10)
        with self._lock:
            self._uploads -= is_upload(request)
            self._requests -= self._uploads <= 0
            due = self._requests == 0
        if due and self.process is not None:
            if self._delay:
                threading.Timer(self._delay, self.process.kill).start()
            else:
                self.process.kill()


def is_upload(request: Request) -> bool:
    return (
        request.method == "PUT"
        and request.query.get("kind") == "file"
        and not request.query.get("name", "").endswith(".json")  # the record of a version
    )


def run(folder: Path, source: dict[str, Any], *, assemblies: int, versions: int, kills: int, seed: int) -> Figures:
    """Fill the source, mirror it under kills, look at all that came of it, and return the figures.

    Raises:
        AssertionError: something was lost, out of order, sent again without need, or has a false receipt.
    """
    chance = random.Random(seed)
    figures = Figures(versions=assemblies * versions)
    config = folder / "storage.yaml"
    with OSFServer() as osf:
        project = osf.host.node(roles={OSF_TOKEN: "write"})
        ours = {"backend": "osf", "project": project.id, "token": OSF_TOKEN, "api_url": osf.api_url}
        config.write_text(yaml.safe_dump({"default": "lab", "stores": {"lab": source, "ours": ours}}))
        lab = open_store("lab", config=config)
        values, columns = np.random.default_rng(seed), 16 if source["backend"] == "s3" else 512
        for version in range(versions):
            for number in range(assemblies):
                lab.upload(xr.DataArray(values.normal(size=(256, columns)), name=f"rates {version}"), f"Lab.a{number}")
        command = [sys.executable, "-m", "storage_plugins", "mirror", "lab", "ours", "--json", "--config", str(config)]
        while True:
            moment = Moment(chance, max(1, figures.versions // kills)) if figures.kills < kills else None
            osf.fault = moment.notice if moment else lambda request: None  # type: ignore[assignment]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            if moment:
                moment.process = process
                moment.started.set()
            told, _ = process.communicate(timeout=300)
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, told
            figures.kills += 1
        assert json.loads(told)["complete"]
        figures.begun, figures.requests = sum(map(is_upload, osf.requests)), len(osf.requests)
        bodies = collections.Counter(body for body in osf.host.bodies if not body[0].endswith(".json"))
        figures.whole = bodies.total()
        again = {body: count for body, count in bodies.items() if count > 1}
        assert not again, f"arrived whole more than once: {again}"
        assert figures.whole == figures.versions
        assert figures.begun - figures.whole <= AT_ONCE * figures.kills
        look_round(folder, config, assemblies, versions, set(bodies))
    return figures


def look_round(folder: Path, config: Path, assemblies: int, versions: int, bodies: set[tuple[str, str]]) -> None:
    """Compare both histories, and load each receipt of a copy."""
    lab, ours = (open_store(name, config=config) for name in ("lab", "ours"))
    ours.cache = Cache([folder / "cold"])
    assert ours.identifiers() == lab.identifiers()
    assert len(ours.identifiers()) == assemblies
    for identifier in ours.identifiers():
        key = f"assy_{identifier.replace('.', '_')}.nc"
        copied = history(ours, key)
        assert copied == history(lab, key), f"{key} is not as in the source"
        hashes = [hashlib.sha256(data).hexdigest() for data in copied]
        assert {(key, sha256) for sha256 in hashes} <= bodies
        receipts = [receipt for receipt in reversed(ours.receipts.of(key)) if receipt.address == ours.address]
        assert [receipt.sha256 for receipt in receipts] == hashes
        assert [receipt.version_id for receipt in receipts] == [f"{number + 1}" for number in range(versions)]
        for receipt, data in zip(receipts, copied, strict=True):
            assert ours.load_file(receipt).read_bytes() == data
        xr.testing.assert_identical(ours.load(identifier), lab.load(identifier))


@contextlib.contextmanager
def source_of(kind: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Give out the settings of an empty store to mirror from."""
    if kind == "local":
        yield {"backend": "local", "root": str(folder / "lab")}
        return
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # which tells of each request
    with served_moto() as server:
        client = server.client()
        client.create_bucket(Bucket="lab")
        client.put_bucket_versioning(Bucket="lab", VersioningConfiguration={"Status": "Enabled"})
        key, secret = server.owner
        with mock.patch.dict(os.environ, AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret):
            yield {"backend": "s3", "bucket": "lab", "endpoint_url": server.url}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", choices=("local", "s3"), default="local")
    parser.add_argument("--assemblies", type=int, default=40)
    parser.add_argument("--versions", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mirror-kills-") as name, source_of(given.source, Path(name)) as source:
        options = {"assemblies": given.assemblies, "versions": given.versions, "kills": given.kills}
        figures = run(Path(name), source, **options, seed=given.seed)
    print(
        f"{given.source} to osf, seed {given.seed}: killed {figures.kills} times; {figures.versions} versions, each "
        f"arrived whole once; {figures.begun - figures.whole} uploads cut off by kills and sent again; "
        f"{figures.requests} requests; histories equal, each receipt loads; {time.monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
