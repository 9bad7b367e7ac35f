"""Loading an assembly that is on this computer already: BrainIO's own functions, the same over our stores, and ours.

    python benchmarks/brainscore.py [--mebibytes 150] [--rounds 5]

Needs brainscore_core. The assembly is made up (presentation by neuroid, each with three coordinates). Its file is
written by BrainIO (zlib 9) and, for the last row, by this package; it lies where BrainIO keeps what it has downloaded,
which is a layer of our cache, so nothing goes over a network. "lazy": until the assembly is there, dask-backed;
"computed": until its values are in memory too. Each load is a process of its own, with everything imported and our
hashes noted by a load before; the peers take turns. The least of the rounds is shown: other work only adds to it.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IDENTIFIER, BUCKET = "Lab2026.large", "some-bucket/data"
PEERS = ("BrainIO alone", "BrainIO, install()", "ours", "ours, our file")


def make(mebibytes: int) -> Any:
    """Return an assembly whose file has about that size: noise in doubles hardly compresses."""
    import numpy as np
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly

    presentations, neuroids = 2000, max(1, mebibytes * (1 << 20) // 2000 // 8)
    return NeuroidAssembly(
        np.random.default_rng(0).normal(size=(presentations, neuroids)),
        coords={
            "stimulus_id": ("presentation", [f"stimulus-{number // 4:05d}" for number in range(presentations)]),
            "repetition": ("presentation", np.arange(presentations) % 4),
            "object_name": ("presentation", [f"object-{number % 64}" for number in range(presentations)]),
            "neuroid_id": ("neuroid", [f"neuroid-{number:06d}" for number in range(neuroids)]),
            "subject": ("neuroid", [f"subject-{number % 10}" for number in range(neuroids)]),
            "region": ("neuroid", [("V1", "V2", "V4", "IT")[number % 4] for number in range(neuroids)]),
        },
        dims=["presentation", "neuroid"],
    )


def prepare(folder: Path, mebibytes: int) -> dict[str, str]:
    """Write both files to where BrainIO keeps downloads; return their sha1s."""
    from brainscore_core.supported_data_standards.brainio.packaging import write_netcdf

    from storage_plugins import codec

    assembly, name, sha1s = make(mebibytes), "assy_Lab2026_large.nc", {}
    for kind in ("theirs", "ours"):
        path = folder / kind / name
        path.parent.mkdir(parents=True)
        if kind == "theirs":
            write_netcdf(assembly, path)
        else:
            codec.encode(assembly, path, identifier=IDENTIFIER)
        sha1s[kind] = hashlib.sha1(path.read_bytes()).hexdigest()
        path.parent.rename(folder / sha1s[kind])
        print(f"file of {kind}: {(folder / sha1s[kind] / name).stat().st_size / (1 << 20):.0f} MiB")
    return sha1s


def load(peer: str, sha1: str) -> None:
    """Load twice in this process; print the seconds of the second time, lazy and computed."""
    from brainscore_core.supported_data_standards.brainio import s3
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly

    from storage_plugins import brainscore

    if peer == "BrainIO, install()":
        brainscore.install()
    function = brainscore.load_assembly_from_s3 if peer.startswith("ours") else s3.load_assembly_from_s3
    for _ in range(2):
        start = time.perf_counter()
        assembly = function(identifier=IDENTIFIER, version_id="null", sha1=sha1, bucket=BUCKET, cls=NeuroidAssembly)
        lazy = time.perf_counter() - start
        assert assembly.chunks
        assembly.values  # noqa: B018
        computed = time.perf_counter() - start
        del assembly
    print(lazy, computed)


def main() -> None:
    """Measure, or do one load for the measuring process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(*options.load)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sha1s = prepare(folder / "brainio", options.mebibytes)
        environment = {
            **os.environ,
            "BRAINIO_HOME": str(folder / "brainio"),
            "STORAGE_PLUGINS_CACHE": str(folder / "cache"),
        }
        seconds: dict[str, list[tuple[float, float]]] = {peer: [] for peer in PEERS}
        for number in range(options.rounds):
            for peer in PEERS[number % len(PEERS) :] + PEERS[: number % len(PEERS)]:
                sha1 = sha1s["ours" if peer == "ours, our file" else "theirs"]
                done = subprocess.run(
                    [sys.executable, __file__, "--load", peer, sha1],
                    env=environment,
                    cwd=folder,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                lazy, computed = map(float, done.stdout.split())
                seconds[peer].append((lazy, computed))
    base = [min(column) for column in zip(*seconds[PEERS[0]], strict=True)]
    print(f"{'':20} {'lazy, s':>9} {'ratio':>7} {'computed, s':>12} {'ratio':>7}")
    for peer, times in seconds.items():
        lazy, computed = (min(column) for column in zip(*times, strict=True))
        print(f"{peer:20} {lazy:9.3f} {base[0] / lazy:7.1f} {computed:12.3f} {base[1] / computed:7.1f}")


if __name__ == "__main__":
    main()
