"""How fast files reach S3 and come back, beside other clients: one command, one run, in turn.

    python benchmarks/transfer.py [--quick] [--rounds 5] [--only PEER,…] [--jobs JOB,…] [--large] [-o transfer.md]

The server is a Ceph gateway in memory where its Debian packages are installed, else moto (whose own speed then limits
all alike). The links: loopback; 25 MB/s a connection and 20 ms there and back ("slow"); and one that cuts a connection
at 2 % of the MiB that pass ("faulty").

Every transfer is a process of its own, timed without imports, after a small one that opens connections. curl's
time is that of its process; of 1 MiB, curl says it for each of several files in one process. Ours verifies sha1 and
sha256 on the way down, hashes before it sends, and stores records and receipts. It and BrainIO's code are given the pin
of a file, as in Brain-Score's plugins: version id and sha1, or sha1. The peers verify nothing, except BrainIO's code
(sha1 on the way down). CPU is user and system time, memory the peak over what was used before.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

BUCKET = "benchmark"
MIB = 1 << 20
THREADS = 10
UPLOADED = "up-"  # what the names of uploads begin with
COMMANDS = ("curl", "rclone")  # peers that are commands


@dataclasses.dataclass(frozen=True)
class Job:
    """What is measured: so many files of one size, one after the other or by ten threads, over one link."""

    name: str
    up: bool
    size: int
    files: int = 1
    link: str = "loopback"
    again: bool = False

    @property
    def parallel(self) -> bool:
        """Whether ten threads do it."""
        return self.files > 20

    @property
    def names(self) -> list[str]:
        """Names of the files, here and in the bucket."""
        return [f"{self.size}-{number}.bin" for number in range(self.files)]


JOBS = {
    job.name: job
    for job in (
        Job("get-1", False, MIB, 10),
        Job("get-64", False, 64 * MIB),
        Job("get-512", False, 512 * MIB),
        Job("put-1", True, MIB, 10),
        Job("put-64", True, 64 * MIB),
        Job("put-512", True, 512 * MIB),
        Job("get-many", False, 256 << 10, 200),
        Job("put-many", True, 256 << 10, 200),
        Job("put-many-again", True, 256 << 10, 200, again=True),
        Job("get-128-slow", False, 128 * MIB, link="slow"),
        Job("put-128-slow", True, 128 * MIB, link="slow"),
        Job("get-64-faulty", False, 64 * MIB, link="faulty"),
        Job("put-64-faulty", True, 64 * MIB, link="faulty"),
        Job("get-4096", False, 4096 * MIB),
        Job("put-4096", True, 4096 * MIB),
    )
}
LINKS = {"slow": ["--rate", "25e6", "--delay", "0.02"], "faulty": ["--cuts", "0.02"]}
LARGE = ("get-4096", "put-4096")
QUICK = ("get-1", "get-64", "put-1", "put-64", "get-many", "put-many", "get-64-faulty", "put-64-faulty")


# what is measured


class Peer:
    """A client.

    Attributes:
        needs: the package that has to be installed.
    """

    needs = ""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.endpoint, self.folder = endpoint, folder

    def get(self, name: str) -> None:
        """Download one file."""
        raise NotImplementedError

    def put(self, path: Path, name: str) -> None:
        """Upload one file."""
        raise NotImplementedError

    def target(self, name: str) -> Path:
        """Return where a download goes."""
        return self.folder / f"got-{name}"

    def run(self, job: Job, names: list[str], paths: list[Path]) -> float:
        """Do the job; return the seconds of the whole, or the median of a file where they came one by one."""
        work = self.put if job.up else self.get

        def one(number: int) -> float:
            began = time.perf_counter()
            work(paths[number], names[number]) if job.up else work(names[number])
            return time.perf_counter() - began

        if not job.parallel:
            return statistics.median(map(one, range(job.files)))
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            began = time.perf_counter()
            list(pool.map(one, range(job.files)))
            return time.perf_counter() - began


class Ours(Peer):
    """Everything that a user's ``upload_file`` and ``fetch`` do."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        super().__init__(endpoint, folder)
        import storage_plugins

        os.environ["STORAGE_PLUGINS_CACHE"] = str(folder / "cache")
        settings = {"backend": "s3", "bucket": BUCKET, "endpoint_url": endpoint}
        self.store = storage_plugins.open_store(config={"stores": {"a": settings}})
        pins = folder.parent / "pins.json"
        self.pins = json.loads(pins.read_text()) if pins.exists() else {}

    def get(self, name: str) -> None:  # noqa: D102
        self.store.fetch(name, **self.pins[name])

    def put(self, path: Path, name: str) -> None:  # noqa: D102
        self.store.upload_file(path, name)


class Boto3(Peer):
    """Its managed transfers."""

    needs = "boto3"

    def __init__(self, endpoint: str, folder: Path) -> None:
        super().__init__(endpoint, folder)
        self.s3 = client(endpoint)

    def get(self, name: str) -> None:  # noqa: D102
        self.s3.download_file(BUCKET, name, str(self.target(name)))

    def put(self, path: Path, name: str) -> None:  # noqa: D102
        self.s3.upload_file(str(path), BUCKET, name)


class S3fs(Peer):
    """``put_file`` and ``get_file``, as they are set by default."""

    needs = "s3fs"

    def __init__(self, endpoint: str, folder: Path) -> None:
        super().__init__(endpoint, folder)
        import s3fs

        self.files = s3fs.S3FileSystem(endpoint_url=endpoint)

    def get(self, name: str) -> None:  # noqa: D102
        self.files.get_file(f"{BUCKET}/{name}", str(self.target(name)))

    def put(self, path: Path, name: str) -> None:  # noqa: D102
        self.files.put_file(str(path), f"{BUCKET}/{name}")


class Obstore(Peer):
    """A stream down, ``put`` up."""

    needs = "obstore"

    def __init__(self, endpoint: str, folder: Path) -> None:
        super().__init__(endpoint, folder)
        import obstore
        import obstore.store

        self.obstore = obstore
        self.store = obstore.store.S3Store(
            BUCKET,
            endpoint=endpoint,
            region="us-east-1",
            access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
            secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )

    def get(self, name: str) -> None:  # noqa: D102
        with self.target(name).open("wb") as file:
            for block in self.obstore.get(self.store, name).stream(min_chunk_size=MIB):
                file.write(block)

    def put(self, path: Path, name: str) -> None:  # noqa: D102
        self.obstore.put(self.store, name, path)


class Crt(Peer):
    """boto3's transfers by Amazon's client in C. Its uploads send a checksum after the body, which Ceph 16 refuses."""

    needs = "awscrt"

    def __init__(self, endpoint: str, folder: Path) -> None:
        super().__init__(endpoint, folder)
        import botocore.session
        from s3transfer import crt

        session = botocore.session.Session()
        keys = crt.BotocoreCRTCredentialsWrapper(session.get_credentials()).to_crt_credentials_provider()
        where = {"endpoint_url": endpoint, "region_name": "us-east-1"}
        self.transfers = crt.CRTTransferManager(
            crt.create_s3_crt_client("us-east-1", keys, use_ssl=False),
            crt.BotocoreCRTRequestSerializer(session, where),
        )

    def get(self, name: str) -> None:  # noqa: D102
        self.transfers.download(BUCKET, name, str(self.target(name))).result()

    def put(self, path: Path, name: str) -> None:  # noqa: D102
        self.transfers.upload(str(path), BUCKET, name).result()


class BrainIO(Peer):
    """BrainIO's own functions."""

    needs = "brainscore_core"

    def __init__(self, endpoint: str, folder: Path) -> None:
        super().__init__(endpoint, folder)
        os.environ |= {"AWS_ENDPOINT_URL": endpoint, "BRAINIO_HOME": str(folder / "brainio")}
        from brainscore_core.supported_data_standards.brainio import fetch, packaging

        packaging.get_user_info = lambda sts: ("account", "user")  # there is no such service here
        self.fetch, self.packaging = fetch, packaging
        self.pins = json.loads((folder.parent / "pins.json").read_text())

    def get(self, name: str) -> None:  # noqa: D102
        self.fetch.fetch_file("S3", f"https://{BUCKET}.s3.amazonaws.com/{name}", self.pins[name]["sha1"])

    def put(self, path: Path, name: str) -> None:  # noqa: D102
        self.packaging.upload_to_s3(path, BUCKET, name)


class Curl(Peer):
    """One process of curl, with signed links: it neither signs nor verifies anything."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        super().__init__(endpoint, folder)
        self.s3 = client(endpoint)

    def run(self, job: Job, names: list[str], paths: list[Path]) -> float:  # noqa: D102
        method = "put_object" if job.up else "get_object"
        lines = []
        for path, name in zip(paths, names, strict=True):
            link = self.s3.generate_presigned_url(method, {"Bucket": BUCKET, "Key": name})
            lines += [f'url = "{link}"', f'upload-file = "{path}"' if job.up else f'output = "{self.target(name)}"']
            lines += ['write-out = "%{time_total}\\n"', "fail", "silent", "next"]
        (self.folder / "curl.txt").write_text("\n".join(lines[:-1]))
        command = ["curl", "--config", str(self.folder / "curl.txt")]
        if job.parallel:
            command[1:1] = ["--parallel", "--parallel-immediate", "--parallel-max", str(THREADS)]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        return seconds if job.parallel or job.files == 1 else statistics.median(map(float, done.stdout.split()))


class Rclone(Peer):
    """One process of rclone, which compares MD5s afterwards."""

    def run(self, job: Job, names: list[str], paths: list[Path]) -> float:  # noqa: D102
        here = self.folder / "here"
        here.mkdir()
        (self.folder / "names.txt").write_text("\n".join(names))
        if job.up:
            for path, name in zip(paths, names, strict=True):
                (here / name).symlink_to(path)
        settings = {"type": "s3", "provider": "Ceph", "env_auth": "true", "endpoint": self.endpoint}
        environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}  # rclone fails
        environment |= {f"RCLONE_CONFIG_SERVER_{name.upper()}": value for name, value in settings.items()}
        places = [str(here), f"server:{BUCKET}"]
        command = ["rclone", "copy", *(places if job.up else reversed(places)), "--copy-links", "--no-traverse"]
        command += ["--files-from-raw", str(self.folder / "names.txt"), "--s3-no-check-bucket"]
        command += ["--config", os.devnull, "--transfers", str(THREADS if job.parallel else 1)]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        seconds = time.perf_counter() - began
        assert job.up or all((here / name).is_file() for name in names)
        return seconds if job.parallel else seconds / job.files


PEERS: dict[str, type[Peer]] = {
    "curl": Curl,
    "ours": Ours,
    "obstore": Obstore,
    "boto3": Boto3,
    "s3fs": S3fs,
    "crt": Crt,
    "rclone": Rclone,
    "brainio": BrainIO,
}


def client(endpoint: str) -> Any:
    """Return a boto3 client of the endpoint."""
    import boto3

    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")


def transfer(peer: str, name: str, endpoint: str, root: Path) -> None:
    """Do one job in this process; print seconds, CPU seconds and extra mebibytes."""
    job = JOBS[name]
    with tempfile.TemporaryDirectory(dir=root) as work:
        folder = Path(work)
        one = PEERS[peer](endpoint, folder)
        if peer not in COMMANDS:
            if job.up:
                one.put(root / "warm.bin", f"warm-{peer}.bin")
            one.get("warm.bin")
        names = job.names
        if job.up:
            names = [f"{UPLOADED}{time.time_ns()}-{each}" for each in names]
        paths = [root / f"{job.size}-{number}.bin" for number in range(job.files)]
        if job.again:
            for path, each in zip(paths[1:] + paths[:1], names, strict=True):
                client(endpoint).upload_file(str(path), BUCKET, each) if peer in COMMANDS else one.put(path, each)
        before, used = _peak(), _cpu()
        seconds = one.run(job, names, paths)
        print(json.dumps({"seconds": seconds, "cpu": _cpu() - used, "memory": _peak() - before}))


def _cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# the run


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """Start a server; yield what it is, and its address."""
    from s3_servers import ceph_is_installed, served_ceph, served_moto

    with served_ceph(folder / "ceph") if ceph_is_installed() else served_moto() as server:
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = server.owner
        yield server.kind, server.url


def fill(endpoint: str, folder: Path, jobs: list[Job]) -> None:
    """Make the files of all jobs, and upload those that are downloaded, with their records."""
    s3 = client(endpoint)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    sizes = {name: job.size for job in jobs for name in job.names}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        ours = Ours(endpoint, Path(work))
        pins = {}
        for name, size in {**sizes, "warm.bin": 1000}.items():
            with (folder / name).open("wb") as file:
                for begin in range(0, size, MIB):
                    file.write(os.urandom(min(MIB, size - begin)))
            if name == "warm.bin" or any(name in job.names for job in jobs if not job.up):
                receipt = ours.store.upload_file(folder / name, name)
                pins[name] = {"version_id": receipt.version_id, "sha1": receipt.sha1}
    (folder / "pins.json").write_text(json.dumps(pins))


def delete_uploads(endpoint: str) -> None:
    """Make space: the server is in memory."""
    s3 = client(endpoint)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET, Prefix=UPLOADED):
        objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in page.get("Versions", [])]
        if objects:
            s3.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})


class Link:
    """A process of `links.py` before the server."""

    def __init__(self, kind: str, endpoint: str) -> None:
        command = [sys.executable, str(TESTS / "links.py"), endpoint.rpartition(":")[2], *LINKS[kind]]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def passed(self) -> tuple[int, int, int]:
        """Return the bytes up and down, and the cut connections, since the last time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        up, down, cut = map(int, self._process.stdout.readline().split())
        return up, down, cut

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


Result = dict[str, float]


def measure(
    jobs: list[Job],
    peers: list[str],
    rounds: int,
    endpoint: str,
    folder: Path,
    done_with: Callable[[dict[str, dict[str, Any]]], object],
) -> dict[str, dict[str, Any]]:
    """Run every job in turn; return the results by job and peer. ``done_with`` gets those so far after each job."""
    links = {kind: Link(kind, endpoint) for kind in {job.link for job in jobs} - {"loopback"}}
    got: dict[str, dict[str, Any]] = {job.name: {peer: [] for peer in peers} for job in jobs}
    try:
        for job in jobs:
            for _ in range(rounds):
                for peer in peers:
                    if job.link == "faulty" and peer == "curl":
                        continue  # it does not try again
                    link = links.get(job.link)
                    if link:
                        link.passed()
                    url = link.url if link else endpoint
                    command = [sys.executable, __file__, "--transfer", peer, job.name, url, str(folder)]
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    if job.up:
                        delete_uploads(endpoint)
                    if done.returncode:
                        print(f"{job.name} {peer}: {done.stderr.strip()[-300:]}", file=sys.stderr)
                        got[job.name][peer].append(None)
                        continue
                    result = json.loads(done.stdout)
                    if link:
                        up, down, cut = link.passed()
                        result |= {"passed": up if job.up else down, "cut": cut}
                    got[job.name][peer].append(result)
            print(summary(job, got[job.name]), file=sys.stderr, flush=True)
            done_with(got)
    finally:
        for link in links.values():
            link.close()
    return got


def median(results: list[Result | None], field: str) -> float | None:
    """Return the median of the transfers that arrived."""
    values = [result[field] for result in results if result]
    return statistics.median(values) if values else None


def summary(job: Job, got: dict[str, list[Result | None]]) -> str:
    """Return one line for the terminal."""
    base = median(got.get("curl", []), "seconds")
    cells = []
    for peer, results in got.items():
        seconds = median(results, "seconds")
        if seconds is not None:
            ratio = f" ({seconds / base:.2f})" if base else ""
            cells.append(f"{peer} {seconds:.4g} s{ratio} cpu {median(results, 'cpu'):.3g}")
    return f"{job.name}: {', '.join(cells)}"


def table(jobs: list[Job], peers: list[str], got: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the Markdown tables: time, CPU, memory, and what the faulty link cost."""
    plain = [job for job in jobs if job.link != "faulty"]

    def rows(title: str, field: str, show: Callable[[float, float | None], str]) -> Iterator[str]:
        yield f"\n{title}\n"
        yield f"| | {' | '.join(peers)} |"
        yield f"|---|{'---|' * len(peers)}"
        for job in plain:
            base = median(got[job.name].get("curl", []), field)
            values = [median(got[job.name][peer], field) for peer in peers]
            cells = ["-" if value is None else show(value, base) for value in values]
            yield f"| {job.name} | {' | '.join(cells)} |"

    def seconds(value: float, base: float | None) -> str:
        shown = f"{value:.3f} s" if value < 1 else f"{value:.2f} s"
        return f"**{value / base:.2f}** ({shown})" if base else shown

    yield from rows("Time, as a ratio to curl:", "seconds", seconds)
    yield from rows("CPU seconds (user and system) of the client:", "cpu", lambda value, _: f"{value:.2f}")
    yield from rows("Peak memory, MiB over what was used before:", "memory", lambda value, _: f"{value:.0f}")
    faulty = [job for job in jobs if job.link == "faulty"]
    if faulty:
        yield "\nThe faulty link: transfers that arrived, median seconds, cuts, bytes beyond the file's size:\n"
        yield "| | " + " | ".join(peer for peer in peers if peer != "curl") + " |"
        yield "|---|" + "---|" * (len(peers) - ("curl" in peers))
        for job in faulty:
            cells = []
            for peer in peers:
                if peer != "curl":
                    results = [result for result in got[job.name][peer] if result]
                    cell = f"{len(results)} of {len(got[job.name][peer])}"
                    if results:
                        more = sum(result["passed"] for result in results) / (len(results) * job.size * job.files) - 1
                        cuts = sum(result["cut"] for result in results)
                        cell += f", {median(results, 'seconds'):.2f} s, {cuts} cuts, {more:+.1%}"
                    cells.append(cell)
            yield f"| {job.name} | {' | '.join(cells)} |"


def machine(kind: str, peers: list[str]) -> str:
    """Return what was measured, and on what."""
    versions = [f"Python {platform.python_version()}"]
    for name in ("urllib3", "botocore", *(PEERS[peer].needs for peer in peers if PEERS[peer].needs)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name.replace('_', '-'))}")
    for command in sorted({*COMMANDS} & {*peers}):
        output = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
        versions.append(output.splitlines()[0].split(" (")[0])
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ": unknown")
    return (
        f"Server: {kind}, on the same machine. {os.cpu_count()} cores ({model.partition(': ')[2]}), "
        f"{platform.system()} {platform.release()}. {', '.join(dict.fromkeys(versions))}."
    )


def main() -> None:
    """Run all jobs with all peers that are installed; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer jobs, one round")
    parser.add_argument("--large", action="store_true", help="4 GiB too, for the memory that it takes")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", help=f"peers, of {', '.join(PEERS)}")
    parser.add_argument("--jobs", help=f"of {', '.join(JOBS)}")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file to write")
    parser.add_argument("--transfer", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.transfer:
        peer, name, endpoint, folder = options.transfer
        transfer(peer, name, endpoint, Path(folder))
        return
    installed = [
        peer
        for peer, kind in PEERS.items()
        if (shutil.which(peer) if peer in COMMANDS else not kind.needs or importlib.util.find_spec(kind.needs))
    ]
    peers = [peer for peer in installed if options.only is None or peer in options.only.split(",")]
    usual = QUICK if options.quick else [name for name in JOBS if options.large or name not in LARGE]
    jobs = [JOBS[name] for name in (options.jobs.split(",") if options.jobs else usual)]
    rounds = options.rounds or (1 if options.quick else 5)
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as (kind, endpoint):
        folder = Path(name) / "files"
        folder.mkdir()
        os.environ |= {"HOME": name, "XDG_CONFIG_HOME": name}
        fill(endpoint, folder, jobs)

        def written(got: dict[str, dict[str, Any]]) -> str:
            measured = [job for job in jobs if any(got[job.name].values())]
            lines = [f"Medians of {rounds}. {machine(kind, peers)}", *table(measured, peers, got)]
            if options.output:
                options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return "\n".join(lines)

        print(written(measure(jobs, peers, rounds, endpoint, folder, written)))


if __name__ == "__main__":
    main()
