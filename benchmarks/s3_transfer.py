"""Time and memory to bring one large file to S3 and back: ours, boto3 and s3fs, in turn, in one run.

    python benchmarks/s3_transfer.py [--mebibytes 512] [--rounds 3] [--endpoint-url URL]

Each transfer is a process of its own. Memory is the peak over what the imports took. Ours hashes the file twice on the
way up (once before, once while sending) and verifies sha1 and sha256 on the way down; the peers check nothing. Without
an endpoint a moto server is started; its own speed then limits all three alike, so look at the ratios.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

BUCKET = "benchmark"
PEERS = ("storage_plugins", "boto3", "s3fs")


def client(endpoint: str) -> Any:
    """Return a boto3 client of the endpoint."""
    import boto3

    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")


def transfer(peer: str, direction: str, endpoint: str, folder: Path) -> None:
    """Do one transfer in this process; print seconds and extra mebibytes."""
    source, target = folder / "large.bin", folder / f"back-{peer}.bin"
    if peer == "storage_plugins":
        import s3fs

        import storage_plugins

        os.environ["STORAGE_PLUGINS_CACHE"] = str(folder / f"cache-{time.time_ns()}")
        settings = {"backend": "s3", "bucket": BUCKET, "endpoint_url": endpoint}
        store = storage_plugins.open_store(config={"stores": {"a": settings}})
        work = {
            "up": lambda: store.upload_file(source, f"{peer}-{time.time_ns()}.bin"),
            "down": lambda: store.fetch("large.bin"),
        }[direction]
    elif peer == "boto3":
        s3 = client(endpoint)
        work = {
            "up": lambda: s3.upload_file(str(source), BUCKET, "boto3.bin"),
            "down": lambda: s3.download_file(BUCKET, "large.bin", str(target)),
        }[direction]
    else:
        import s3fs

        filesystem = s3fs.S3FileSystem(endpoint_url=endpoint)
        work = {
            "up": lambda: filesystem.put_file(str(source), f"{BUCKET}/s3fs.bin"),
            "down": lambda: filesystem.get_file(f"{BUCKET}/large.bin", str(target)),
        }[direction]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    """Run all, print a table of medians and ratios to boto3."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--endpoint-url")
    parser.add_argument("--transfer", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.transfer:
        peer, direction, endpoint, folder = options.transfer
        transfer(peer, direction, endpoint, Path(folder))
        return
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "alicekey")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "alicesecret")
    with tempfile.TemporaryDirectory() as name:
        folder, server = Path(name), None
        endpoint = options.endpoint_url
        if endpoint is None:
            endpoint = "http://127.0.0.1:5757"
            server = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-p", "5757", "-H", "127.0.0.1"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_for(endpoint)
        try:
            measure(endpoint, folder, options)
        finally:
            if server is not None:
                server.terminate()
                server.wait()


def wait_for(endpoint: str) -> None:
    """Return once the server answers."""
    for _ in range(100):
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("moto did not start")


def measure(endpoint: str, folder: Path, options: argparse.Namespace) -> None:
    """Fill the bucket, run every transfer in turn, print the table."""
    with (folder / "large.bin").open("wb") as file:
        for _ in range(options.mebibytes):
            file.write(os.urandom(1 << 20))
    s3 = client(endpoint)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.upload_file(str(folder / "large.bin"), BUCKET, "large.bin")
    got: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for direction in ("up", "down"):
            for peer in PEERS:
                command = [sys.executable, __file__, "--transfer", peer, direction, endpoint, str(folder)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds, extra = map(float, done.stdout.split())
                got.setdefault((direction, peer), []).append((seconds, extra))
    print(f"{options.mebibytes} MiB, medians of {options.rounds}\n")
    print("| | seconds | ratio to boto3 | extra MiB |\n|---|---|---|---|")
    for (direction, peer), runs in got.items():
        seconds = statistics.median(run[0] for run in runs)
        base = statistics.median(run[0] for run in got[direction, "boto3"])
        extra = max(run[1] for run in runs)
        print(f"| {direction} {peer} | {seconds:.2f} | {seconds / base:.2f} | {extra:.0f} |")


if __name__ == "__main__":
    main()
