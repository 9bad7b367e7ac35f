"""How much faster a dask cluster mirrors a store than one process, where the link is the limit: one command, one run.

    python benchmarks/cluster.py [--assemblies 200] [--kilobytes 1000] [--rounds 3] [--workers 3]

Both stores are in one S3 server (Ceph in memory, else moto), behind a link of 25 MB/s a connection and 200 ms there and
back. A worker is a process with one thread. Every mirror goes to a new folder; in the end `verify` reads the last one
whole.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import transfer
import xarray as xr

import storage_plugins


def main() -> None:
    """Print the seconds of both, in turn, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assemblies", type=int, default=200)
    parser.add_argument("--kilobytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, transfer.served(Path(name)) as (kind, endpoint):
        os.environ |= {"HOME": name, "STORAGE_PLUGINS_CACHE": f"{name}/cache"}
        s3 = transfer.client(endpoint)
        s3.create_bucket(Bucket=transfer.BUCKET)
        s3.put_bucket_versioning(Bucket=transfer.BUCKET, VersioningConfiguration={"Status": "Enabled"})
        lab = store("lab", endpoint, Path(name))
        values = np.random.default_rng(1).random((options.kilobytes * 125,))
        many = {f"Lab2026.n{number}": xr.DataArray(values + number, dims="x") for number in range(options.assemblies)}
        lab.upload_many(many).check()
        print(f"{kind}: {options.assemblies} assemblies of {options.kilobytes} kB, {options.workers} workers")
        compare(endpoint, Path(name), options.rounds, options.workers)


def store(name: str, endpoint: str, folder: Path) -> Any:
    """Open a folder of the bucket."""
    settings = {"backend": "s3", "bucket": f"{transfer.BUCKET}/{name}", "endpoint_url": endpoint}
    return storage_plugins.open_store(config={"receipts": str(folder / "receipts"), "stores": {name: settings}})


def compare(endpoint: str, folder: Path, rounds: int, workers: int) -> None:
    """Mirror in turn by this process and by a cluster."""
    import distributed

    transfer.LINKS["far"] = ["--rate", "25e6", "--delay", "0.2"]
    link = transfer.Link("far", endpoint)
    seconds: dict[str, list[float]] = {"one process": [], "cluster": []}
    with (
        distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        for number in range(rounds):
            for how, given in (("one process", None), ("cluster", client)):
                source = store("lab", link.url, folder)
                target = store(f"{how.replace(' ', '-')}-{number}", link.url, folder)
                begin = time.perf_counter()
                report = storage_plugins.mirror(source, target, client=given)
                seconds[how].append(time.perf_counter() - begin)
                if not report.complete:
                    sys.exit(repr(report))
                print(f"{how}: {seconds[how][-1]:.1f} s", flush=True)
    if not target.verify(full=True).ok:
        sys.exit("the copies are not whole")
    medians = {how: statistics.median(each) for how, each in seconds.items()}
    print(f"medians: {medians}; {medians['one process'] / medians['cluster']:.2f} times as fast")
    link.close()


if __name__ == "__main__":
    main()
