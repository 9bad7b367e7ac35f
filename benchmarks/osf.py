"""Time and requests to bring assemblies to OSF and back: ours, osfclient and plain requests, in turn, in one run.

    python benchmarks/osf.py [--files 20] [--rounds 3] [--folder brain] [--round-trip 0.03] [--peers requests,osfclient]

Each file is uploaded as a new assembly, then as a second version, then that is downloaded to an empty cache: three
processes, one after the other, in a project of the peer's own. The server is the stand-in for OSF of the test suite,
whose folder is put on sys.path here; it runs in this process. Every request is delayed by one round trip, and every new
connection by one more, for each peer; bytes are not slowed down. Unlike OSF's, its listings lose no rows between pages:
otherwise osfclient would not find its files. Results are compared after each transfer, outside the measured time.

Files of about 200 kB are written beforehand, uploaded as files and loaded as files, so that transfers are measured and
not how fast arrays are encoded and decoded. Ours does everything it does for users: it looks for existing versions,
writes a record of each version, confirms the version afterwards and writes a receipt; a load, by version id and sha1,
is verified.

- requests: the same requests as ours, written by hand on one requests.Session; the run stops if they differ.
- osfclient: as released, with its pause of a second between requests; project and storage are requested once.
- osfclient_each: the same, but project and storage are requested again for each file, as its command line does. It
  takes seven minutes a round, so it only runs if named.
"""

import argparse
import collections
import dataclasses
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from osf_answers import Request
from osf_host import Node
from osf_server import OSFServer

TOKEN = "the-benchmarks-token"
ACTIONS = {"new": "new assemblies", "again": "second versions", "load": "downloads"}
VERSIONS = {"new": 1, "again": 2}


@dataclasses.dataclass(frozen=True)
class Job:
    """What one process does: an action with so many files, in a folder of a project, from or to the folder ``work``."""

    peer: str
    action: str
    files: int
    project: str
    folder: str
    api: str
    work: str

    def sources(self) -> Iterator[tuple[str, str, Path]]:
        """Yield identifier, file name and local file of each assembly."""
        version = VERSIONS.get(self.action, max(VERSIONS.values()))
        for number in range(self.files):
            yield f"Lab2026.n{number}", f"assy_Lab2026_n{number}.nc", Path(self.work) / f"{number}-{version}.nc"

    def target(self, name: str) -> Path:
        """Return where a download goes."""
        return Path(self.work) / self.peer / name


def write_files(work: Path, files: int) -> None:
    """Write the assemblies to be uploaded, 200 kB of noise in each."""
    from storage_plugins import codec

    for number in range(files):
        for version in VERSIONS.values():
            values = np.random.default_rng([number, version]).standard_normal((50, 500))
            made = xr.DataArray(values, dims=("presentation", "neuroid"), name="rates")
            path = work / f"{number}-{version}.nc"
            digest = codec.encode(made, path, identifier=f"Lab2026.n{number}", extras={}, drop_attrs=())
            path.with_suffix(".digest").write_text(digest)  # goes into the records


def ours(job: Job) -> None:
    """Upload and load as a user does, but for the opening of what was loaded."""
    store = our_store(job)
    for identifier, _, path in job.sources():
        if job.action == "load":
            store.load_file(identifier, version_id="2", sha1=hashlib.sha1(path.read_bytes()).hexdigest())
        else:
            store.upload(path, identifier)


def our_store(job: Job) -> Any:
    """Return the store of the project's folder, of which nothing was asked yet; receipts are written to the disk."""
    import storage_plugins

    settings = {"backend": "osf", "project": job.project, "folder": job.folder, "token": TOKEN, "api_url": job.api}
    receipts = f"{job.work}/receipts-{job.project}-{job.action}"
    return storage_plugins.open_store(config={"receipts": receipts, "stores": {"lab": settings}})


def osfclient(job: Job) -> None:
    """Do it by osfclient's own methods; ``force`` is how they make a second version."""
    paths = {f"{job.folder}/{name}".lstrip("/"): path for _, name, path in job.sources()}
    storage = osfclient_storage(job)
    if job.action == "load":
        for file in storage.files:
            with job.target(file.name).open("wb") as target:
                file.write_to(target)
        return
    for name, path in paths.items():
        with path.open("rb") as source:
            storage.create_file(name, source, force=job.action == "again")


def osfclient_each(job: Job) -> None:
    """Do it file by file as osfclient's command line does."""
    for _, name, path in job.sources():
        storage, whole = osfclient_storage(job), f"{job.folder}/{name}".lstrip("/")
        if job.action == "load":
            file = next(file for file in storage.files if file.path.lstrip("/") == whole)
            with job.target(name).open("wb") as target:
                file.write_to(target)
        else:
            with path.open("rb") as source:
                storage.create_file(whole, source, force=job.action == "again")


def osfclient_storage(job: Job) -> Any:
    """Return the project's storage."""
    from osfclient import OSF

    osf = OSF(token=TOKEN)
    osf.session.base_url = job.api
    return osf.project(job.project).storage("osfstorage")


class Plain:
    """The requests of ours, without the thoughts between them."""

    def __init__(self, job: Job) -> None:
        import requests

        self._job = job
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {TOKEN}"
        self._root = ""

    def run(self) -> None:
        """Send them all."""
        {"new": self._new, "again": self._again, "load": self._load}[self._job.action]()

    def _new(self) -> None:
        api = f"{self._job.api}nodes/{self._job.project}/files/"
        self._ask("GET", f"{api}osfstorage/", {"page[size]": "100"})  # of an empty project, without the files host
        self._root = self._ask("GET", api)[0]["links"]["upload"]
        self._visibility()
        folders = [self._root]
        for part in filter(None, [*self._job.folder.split("/"), ".storage-plugins"]):
            folders.append(self._make(folders[-1], part))
            self._ask("GET", folders[-2])  # whether somebody else has made one at the same time
        folder, records = folders[-2:]
        for number, (identifier, name, path) in enumerate(self._job.sources()):
            if number:
                self._ask("GET", folder)
            self._record(self._make(records, f"assy_@{identifier}"), identifier, name, path)
            self._put(folder, path, name=name)
            for parent in [] if number else folders[:-2]:
                self._ask("GET", parent)
            self._ask("GET", folder)

    def _again(self) -> None:
        there = self._folder()
        records: dict[str, str] = {}
        for identifier, name, path in self._job.sources():
            if records:
                self._ask("GET", there[name], {"meta": ""})
            else:
                records = self._urls(self._ask("GET", there[".storage-plugins"]))
            self._ask("GET", records[f"assy_@{identifier}"])
            if identifier == "Lab2026.n0":
                self._visibility()
            self._record(records[f"assy_@{identifier}"], identifier, name, path)
            self._put(there[name], path)
            self._ask("GET", there[name], {"revisions": "", "version": "2"})
            self._ask("GET", records[f"assy_@{identifier}"])

    def _load(self) -> None:
        there = self._folder()
        for _, name, _ in self._job.sources():
            with self._session.get(there[name], params={"version": "2"}, stream=True, timeout=60) as response:
                response.raise_for_status()
                with self._job.target(name).open("wb") as target:
                    for block in response.iter_content(1 << 20):
                        target.write(block)

    def _visibility(self) -> None:
        """Ask whether the project is public, which ours does once a minute."""
        self._ask("GET", f"{self._job.api}nodes/{self._job.project}/")

    def _folder(self) -> dict[str, str]:
        api = f"{self._job.api}nodes/{self._job.project}/files/osfstorage/"
        rows = self._ask("GET", api, {"page[size]": "100"})
        self._root = rows[0]["links"]["upload"].removesuffix(rows[0]["attributes"]["path"]) + "/"
        there = self._urls(rows)
        for part in filter(None, self._job.folder.split("/")):
            there = self._urls(self._ask("GET", there[part]))
        return there

    def _make(self, folder: str, name: str) -> str:
        made = self._ask("PUT", folder, {"kind": "folder", "name": name})
        return self._urls([made])[name]

    def _record(self, folder: str, identifier: str, key: str, path: Path) -> None:
        data = path.read_bytes()
        sha1, sha256, size = hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest(), f"{len(data)}"
        digest = path.with_suffix(".digest").read_text()
        record = {"identifier": identifier, "assembly-prefix": "assy_", "sha1": sha1, "sha256": sha256, "size": size}
        record["content-digest"] = digest
        body = json.dumps({**record, "key": key}, indent=1).encode()
        self._ask(
            "PUT", folder, {"kind": "file", "name": f"{sha256}-{sha1}-{size}-{digest.replace(':', '-')}.json"}, body
        )

    def _put(self, url: str, path: Path, **name: str) -> None:
        with path.open("rb") as file:
            self._ask("PUT", url, {"kind": "file", **name}, file)

    def _ask(self, method: str, url: str, query: dict[str, str] | None = None, body: Any = None) -> Any:
        response = self._session.request(method, url, params=query, data=body, timeout=60)
        response.raise_for_status()
        return response.json()["data"]

    def _urls(self, rows: Any) -> dict[str, str]:
        return {row["attributes"]["name"]: self._root + row["attributes"]["path"][1:] for row in rows}


PEERS = {
    "storage_plugins": ours,
    "requests": lambda job: Plain(job).run(),
    "osfclient": osfclient,
    "osfclient_each": osfclient_each,
}


def measure(job: Job) -> float:
    """Do the job in this process and return its seconds. What is imported for it does not count, for any peer."""
    import osfclient as _  # noqa: F401  imports requests too

    from storage_plugins import codec

    our_store(job)
    codec.decode(next(job.sources())[2])
    began = time.perf_counter()
    PEERS[job.peer](job)
    return time.perf_counter() - began


def run(job: Job, server: OSFServer) -> tuple[float, list[str]]:
    """Let a process do the job; return its seconds and the requests that came."""
    server.requests.clear()
    with tempfile.TemporaryDirectory(dir=job.work) as cache:
        environment = {**os.environ, "STORAGE_PLUGINS_CACHE": cache}
        command = [sys.executable, __file__, "--job", json.dumps(dataclasses.asdict(job))]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{job.peer} failed in {job.action}:\n{done.stderr}")
    return float(done.stdout.splitlines()[-1]), [shape(request) for request in server.requests]


def shape(request: Request) -> str:
    """Return a request without what differs from project to project."""
    query = {name: value for name, value in request.query.items() if name not in ("Expires", "Signature")}
    length = request.headers.get("content-length", "0")
    path = re.sub(r"\bn\d{4}\b|[0-9a-f]{24}", "*", request.path)
    return f"{request.origin} {request.method} {path} {query} {length}"


def check(job: Job, server: OSFServer, node: Node) -> None:
    """Stop the run unless the right bytes are where they should be; a load of ours has verified its own."""
    for _, name, path in job.sources():
        if job.action in VERSIONS:
            (file,) = server.host.get(node, f"{job.folder}/{name}".lstrip("/"))
            sound = (len(file.versions), file.newest.data) == (VERSIONS[job.action], path.read_bytes())
        else:
            sound = job.peer == "storage_plugins" or job.target(name).read_bytes() == path.read_bytes()
        if not sound:
            raise SystemExit(f"{job.peer}: {name} is not what it should be after {job.action}")


def compare(server: OSFServer, work: Path, peers: list[str], options: argparse.Namespace) -> None:
    """Run every job in turn, another peer first in each round, and print the table."""
    seconds = collections.defaultdict[tuple[str, str], list[float]](list)
    asked: dict[tuple[str, str], list[str]] = {}
    for turn in range(options.rounds):
        first = turn % len(peers)
        nodes = {peer: server.host.node(roles={TOKEN: "write"}) for peer in peers}
        for action in ACTIONS:
            for peer in peers[first:] + peers[:first]:
                node = nodes[peer]
                (work / peer).mkdir(exist_ok=True)
                job = Job(peer, action, options.files, node.id, options.folder, server.api_url, str(work))
                took, asked[peer, action] = run(job, server)
                check(job, server, node)
                seconds[peer, action].append(took)
            if {"storage_plugins", "requests"} <= set(peers):
                both = itertools.zip_longest(asked["storage_plugins", action], asked["requests", action])
                if odd := next((pair for pair in both if pair[0] != pair[1]), None):
                    raise SystemExit(f"plain requests are not those of ours in {action}: {odd[0]}, but {odd[1]}")
    print("| | | seconds | ms a file | requests | time to ours | time to requests |\n|---|---|---|---|---|---|---|")
    for action, title in ACTIONS.items():
        medians = {peer: statistics.median(seconds[peer, action]) for peer in peers}
        for peer, took in medians.items():
            ratios = [f"{took / medians[x]:.2f}" if x in medians else "-" for x in ("storage_plugins", "requests")]
            cells = [f"{took:.2f}", f"{took / options.files * 1000:.0f}", f"{len(asked[peer, action])}", *ratios]
            print(f"| {title} | {peer} | {' | '.join(cells)} |")


def main() -> None:
    """Run all, print a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="brain", help="of the project; empty for its root")
    parser.add_argument("--round-trip", type=float, default=0.03, help="seconds")
    parser.add_argument("--peers", default="storage_plugins,requests,osfclient", help="comma-separated")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(measure(Job(**json.loads(options.job))))
        return
    peers = options.peers.split(",")
    if unknown := set(peers) - set(PEERS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("osfclient", "requests"))
    where = f"the folder {options.folder}" if options.folder else "the root"
    print(f"Python {platform.python_version()}, {versions}; {options.files} files in {where} of a project, medians of")
    print(
        f"{options.rounds}, round trip {options.round_trip * 1000:g} ms; load average {os.getloadavg()[0]:.1f} before\n"
    )
    with tempfile.TemporaryDirectory() as work, OSFServer() as server:
        server.behaviour.round_trip = options.round_trip
        server.behaviour.sound_pages = True  # else osfclient does not find all files again
        write_files(Path(work), options.files)
        compare(server, Path(work), peers, options)


if __name__ == "__main__":
    main()
