"""Time, size and memory of an assembly on its way to a file and back: ours and its peers in one run.

    python benchmarks/codec.py [--scale 0.01] [--only fmri,spikes] [--peers brainio,zarr] [--rounds 3] [--check]

Peers: BrainIO's code, xarray with netCDF4 ("xarray") and with h5netcdf, Zarr, and .npy. Those not installed are left
out.

Five made-up assemblies of the sizes labs have, each coordinate a level of its dimension's MultiIndex. A write ends with
fsync; ours and BrainIO's hash as well, as they do for users. A load ends with data and indexes in memory; .npy has the
data alone, a floor. "warm" is a user's load from a store of a file that was verified before; the peers verify nothing
and just load again. "neuroid" is the time to open the file and have one neuroid's values, read lazily; an assembly of
one dimension has no column to read. Each measurement is a process of its own in which the peer has written and read a
small assembly before, so imports do not count; files come from the page cache. Memory is the peak beyond what the
process held before, the assembly to be written included. The peers take turns, another one first in each round.

With --check, BrainIO's loader must give the same from our file as from its own; --rounds 0 leaves the measuring out.
"""

import argparse
import collections
import contextlib
import ctypes
import functools
import gc
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import pickle
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

Array = np.ndarray[Any, np.dtype[Any]]
COLUMN = 3  # the one neuroid
SLOW = 60.0  # seconds; a write that takes longer is repeated --slow-rounds times only
LEAST = (0, 0, 0, 0, 0, 1, 1)  # ratios of less than one MiB of memory say nothing


def extent(full: int, scale: float, dims: int = 2) -> int:
    """Return the length of one of ``dims`` dimensions when the whole assembly is scaled."""
    return max(8, int(full * scale ** (1 / dims)))


def texts(codes: Array, **patterns: str) -> dict[str, Array]:
    """Return columns of text: patterns filled with each code or its hash; equal codes share one str."""
    distinct, places = np.unique(codes, return_inverse=True)
    hashed = [(code, hashlib.sha1(b"%d" % code).hexdigest()) for code in distinct.tolist()]
    columns = {name: [pattern.format(code, hash=sha1) for code, sha1 in hashed] for name, pattern in patterns.items()}
    return {name: np.array(column, dtype=object)[places] for name, column in columns.items()}


def words(codes: Array, **choices: str) -> dict[str, Array]:
    """Return columns of text: for each code one of the choice's words."""
    listed = {name: np.array(choice.split(), dtype=object) for name, choice in choices.items()}
    return {name: choice[codes % len(choice)] for name, choice in listed.items()}


def indexed(data: Array, **columns: dict[str, Array]) -> xr.DataArray:
    """Return an assembly with one MultiIndex for each dimension, its levels the columns given for it."""
    coords = {name: (dim, values) for dim, levels in columns.items() for name, values in levels.items()}
    made = xr.DataArray(data, coords=coords, dims=tuple(columns), attrs={"stimulus_set_identifier": "benchmark"})
    return made.set_index({dim: tuple(levels) for dim, levels in columns.items()})


def fmri(scale: float) -> xr.DataArray:
    """Make language fMRI, 627 sentences x 13,000 voxels, float64: most of its text describes voxels."""
    rng = np.random.default_rng(1)
    row, column = np.arange(extent(627, scale)), np.arange(extent(13_000, scale))
    return indexed(
        rng.standard_normal((len(row), len(column))),
        presentation=texts(
            row, stimulus_id="384sentences.{}", sentence="The keeper of bridge {} found a lantern, {hash:.20}."
        )
        | texts(row // 4, passage_label="passage {}")
        | words(row * 2 // len(row), experiment="384sentences 243sentences")
        | {"stimulus_num": row},
        neuroid=texts(column, neuroid_id="voxel_{:06d}")
        | texts(column * 10 // len(column), subject="{:03d}", uid="FED_{:04d}", filename="sub-{:03d}_langloc.mat")
        | words(
            column // 37, roi="LH_IFGorb LH_IFG LH_MFG LH_AntTemp LH_PostTemp RH_IFG RH_MFG", hemisphere="left right"
        )
        | words(column // 53, atlas="language DMN MD", network="language default", filter_strategy="high low")
        | words(column // 97, contrast="S-N N-S", parcel="Fed2010 Lip2022")
        | {"indices_in_3d": rng.permutation(len(column)), "col_to_coord_1": column % 79, "col_to_coord_2": column % 95}
        | {"reliability": rng.random(len(column)), "noise_ceiling": rng.random(len(column))},
    )


def ephys(scale: float) -> xr.DataArray:
    """Make recorded responses, 148,000 presentations x 256 sites, float32: each presentation is described in text."""
    rng = np.random.default_rng(2)
    row, column = np.arange(extent(148_000, scale)), np.arange(extent(256, scale))
    stimulus = rng.integers(0, 3_200, len(row))
    return indexed(
        rng.standard_normal((len(row), len(column)), dtype=np.float32),
        presentation=texts(stimulus, stimulus_id="{hash}", filename="im{:05d}_{hash:.12}.png")
        | texts(stimulus % 64, object_name="object_{}", background_id="background_{hash:.24}")
        | words(stimulus, category_name="Animals Boats Cars Chairs Faces Fruits Planes Tables", variation="V0 V3 V6")
        | texts(
            row // 5_000, session="2021-{:03d}", recording="/data/recordings/session_{:03d}.h5", trial_table="{hash}"
        )
        | {"repetition": row // 3_200, "size": stimulus % 97 / 97, "rotation_xy": stimulus % 360 - 180.0},
        neuroid=texts(column, neuroid_id="Chabo_L_M_{:03d}")
        | words(column // 32, animal="Chabo Tito", region="V4 IT", array="A M P")
        | {"row": column % 10, "column": column // 10 % 10},
    )


def spikes(scale: float) -> xr.DataArray:
    """Make 1,000,000 spike times, sorted by neuroid: each event repeats all that is known of its neuroid."""
    rng = np.random.default_rng(3)
    events = extent(1_000_000, scale, 1)
    neuroid, times = np.sort(rng.integers(0, 300, events)), rng.uniform(0, 3_600, events)
    return indexed(
        times[np.lexsort((times, neuroid))],
        event=texts(neuroid, neuroid_id="A-{:03d}", project="benchmark")
        | {"datetime": np.datetime64("2021-02-16T11:41:55", "ns") + (neuroid // 100).astype("m8[D]")}
        | words(neuroid // 50, animal="testo solo", hemisphere="L R", region="V4 IT", subregion="V4 aIT cIT pIT")
        | texts(neuroid // 100 + 2_416, array="6250-{:06d}")
        | words(neuroid // 32, bank="A B C D")
        | texts(neuroid % 32 + 1, electrode="{:03d}")
        | {"column": neuroid % 10, "row": neuroid // 10 % 10}
        | texts(neuroid % 96 + 1, label="elec{}"),
    )


def behaviour(scale: float) -> xr.DataArray:
    """Make 500,000 trials of an online experiment, the choices as text: text is nearly all there is."""
    rng = np.random.default_rng(4)
    trial = np.arange(extent(500_000, scale, 1))
    objects = "bear elephant person car dog apple chair plane bird zebra"
    stimulus, right = rng.integers(0, 2_400, len(trial)), rng.random(len(trial)) < 0.8
    truth, distractor = stimulus % 10, (stimulus + rng.integers(1, 10, len(trial))) % 10
    return indexed(
        words(np.where(right, truth, distractor), choice=objects)["choice"].astype(str),
        presentation=texts(stimulus, stimulus_id="{hash}", filename="im{:05d}.png")
        | words(truth, sample_obj=objects)
        | words(distractor, dist_obj=objects)
        | texts(stimulus % 1_200, background_id="background_{:05d}")
        | texts(trial // 500, worker_id="A{hash:.13}")
        | texts(trial // 100, assignment_id="3{hash:.29}")
        | words(stimulus // 10, condition="upright inverted")
        | {"correct": right.astype(int), "trial": trial % 100, "reaction_time": rng.gamma(4, 0.2, len(trial))}
        | {"datetime": np.datetime64("2020-01-06T09:00:00", "ns") + trial.astype("m8[s]")},
    )


def features(scale: float) -> xr.DataArray:
    """Make model activations, 50,000 stimuli x 1,000 units, float32 after a ReLU: half are exactly zero."""
    rng = np.random.default_rng(5)
    row, column = np.arange(extent(50_000, scale)), np.arange(extent(1_000, scale))
    return indexed(
        np.maximum(rng.standard_normal((len(row), len(column)), dtype=np.float32), np.float32(0)),
        # two, for the only coordinate of a dimension loses its name before anything is written
        presentation=texts(row, stimulus_id="im{:06d}", stimulus_path="/stimuli/im{:06d}.png"),
        neuroid=texts(column * 5 // len(column), layer="features.{}")
        | {"channel": column % 200}
        | texts(column, neuroid_id="alexnet.features.{:04d}"),
    )


ASSEMBLIES = {"fmri": fmri, "ephys": ephys, "spikes": spikes, "behaviour": behaviour, "features": features}


class Peer(NamedTuple):
    """One way to keep an assembly in a file; the reading ways take the file and the assembly's name."""

    write: Callable[[xr.DataArray, Path], object]
    load: Callable[[Path, str], Any]
    neuroid: Callable[[Path, str], Any]
    prepare_warm: Callable[[Path, str], Callable[[], Any]] | None = None


def ours() -> Peer:
    """Measure with digest, flush and rename included."""
    import storage_plugins
    from storage_plugins import codec

    def prepare_warm(path: Path, case: str) -> Callable[[], Any]:
        root = path.parent / "stores" / path.name
        os.environ["STORAGE_PLUGINS_CACHE"] = str(path.parent / "cache")
        store = storage_plugins.open_store(config={"stores": {"a": {"backend": "local", "root": str(root)}}})
        pin = store.upload(path, "X").sha256
        store.load("X", sha256=pin)
        return lambda: store.load("X", sha256=pin).load()

    return Peer(
        lambda assembly, path: codec.encode(assembly, path, identifier="X", extras={}, drop_attrs=()),
        lambda path, case: codec.decode(path).load(),
        lambda path, case: codec.decode(path, chunks={})[:, COLUMN].values,
        prepare_warm,
    )


def brainio() -> Peer:
    """Take their writer, sha1 included, and their loader, which leaves the data in the file until asked."""
    from brainscore_core.supported_data_standards.brainio import assemblies, packaging

    def lazily(path: Path, case: str) -> Any:
        kind = {"spikes": "SpikeTimesAssembly", "behaviour": "BehavioralAssembly"}.get(case, "NeuroidAssembly")
        return assemblies.AssemblyLoader(getattr(assemblies, kind), path).load()

    return Peer(
        packaging.write_netcdf,
        lambda path, case: lazily(path, case).load(),
        lambda path, case: lazily(path, case).isel(neuroid=[COLUMN]).values,
    )


def _by_hand(write: Callable[[xr.Dataset, Path], object], open_: Callable[..., xr.Dataset]) -> Peer:
    """Do as people do by hand: indexes undone before writing, and set again."""

    def load(path: Path, case: str) -> Any:
        with open_(path) as file:
            loaded = file["data"].load()
        levels = {dim: [name for name, one in loaded.coords.items() if dim in one.dims] for dim in loaded.dims}
        return loaded.set_index(levels)

    def neuroid(path: Path, case: str) -> Any:
        with open_(path, chunks={}) as file:
            return file["data"][:, COLUMN].values

    def undone(assembly: xr.DataArray) -> xr.Dataset:
        return assembly.reset_index(list(assembly.dims)).to_dataset(name="data")

    return Peer(lambda assembly, path: write(undone(assembly), path), load, neuroid)


def plain_xarray(engine: str = "netcdf4") -> Peer:
    """Write netCDF, with zlib at its usual level."""
    encoding = {"data": {"zlib": True, "complevel": 4}}
    return _by_hand(
        lambda dataset, path: dataset.to_netcdf(path, engine=engine, encoding=encoding),
        functools.partial(xr.open_dataset, engine=engine),
    )


def h5netcdf() -> Peer:
    """Write the same by way of h5py."""
    return plain_xarray("h5netcdf")


def zarr() -> Peer:
    """Write a folder in Zarr's newest format, compressed as it is by default."""
    return _by_hand(
        lambda dataset, path: dataset.to_zarr(path, mode="w"), functools.partial(xr.open_dataset, engine="zarr")
    )


def npy() -> Peer:
    """Keep the data alone, without coordinates."""

    def write(assembly: xr.DataArray, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, assembly.values)

    return Peer(
        write,
        lambda path, case: np.load(path),
        lambda path, case: np.array(np.load(path, mmap_mode="r")[:, COLUMN]),
    )


PEERS = {
    "storage_plugins": ours,
    "brainio": brainio,
    "xarray": plain_xarray,
    "h5netcdf": h5netcdf,
    "zarr": zarr,
    "npy": npy,
}
PACKAGES = {name: name for name in PEERS} | {"brainio": "brainscore_core", "xarray": "netCDF4", "npy": "numpy"}
ACTIONS = ("write", "load", "warm", "neuroid")


def peak(*, reset: bool = False) -> float:
    """Return the most memory this process has held since the last reset, in MiB; nan where there is no /proc."""
    with contextlib.suppress(AttributeError, OSError):
        if reset:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # else memory that was freed before hides what is taken now
            Path("/proc/self/clear_refs").write_text("5")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return math.nan


def write(peer: Peer, assembly: xr.DataArray, path: Path) -> None:
    """Write, and see it onto the disk."""
    peer.write(assembly, path)
    for each in files(path):
        with each.open("rb+") as file:
            os.fsync(file.fileno())


def files(path: Path) -> list[Path]:
    """Return the files of an assembly: one, or those of a folder."""
    return [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]


def remove(path: Path) -> None:
    """Remove an assembly, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def measure(case: str, name: str, action: str, folder: Path) -> list[float]:
    """Do one measurement in this process; return seconds and extra mebibytes."""
    peer, path, small = PEERS[name](), folder / f"{case}.{name}", folder / f"small.{name}"
    remove(small)
    write(peer, ASSEMBLIES[case](0), small)
    work: Callable[[], Any]
    if action == "write":
        remove(path)
        work = functools.partial(write, peer, pickle.loads((folder / f"{case}.pickle").read_bytes()), path)
    elif action == "warm" and peer.prepare_warm:
        peer.prepare_warm(small, case)()
        work = peer.prepare_warm(path, case)
    else:
        read = peer.neuroid if action == "neuroid" else peer.load
        read(small, case)
        work = functools.partial(read, path, case)
    before = peak(reset=True)
    began = time.perf_counter()
    result = work()  # has a name, so that letting go of it is not measured
    seconds, extra = time.perf_counter() - began, peak() - before
    del result
    return [seconds, extra]


def alike(case: str, folder: Path) -> list[float]:
    """Return [1] if BrainIO's loader gives the same from our file as from its own, level names and types included."""
    mine, theirs = (brainio().load(folder / f"{case}.{name}", case) for name in ("storage_plugins", "brainio"))
    types = [[one.dtype, *((i.names, list(i.dtypes)) for i in map(one.get_index, one.dims))] for one in (mine, theirs)]
    return [float(type(mine) is type(theirs) and mine.identical(theirs) and types[0] == types[1])]


def run(case: str, name: str, action: str, folder: Path) -> list[float] | str:
    """Return what a process of its own measured, or its last words."""
    command = [sys.executable, __file__, "--run", case, name, action, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        result: list[float] = json.loads(done.stdout.splitlines()[-1])
        return result
    if action == "write":
        remove(folder / f"{case}.{name}")
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def compare(case: str, peers: list[str], folder: Path, options: argparse.Namespace) -> list[str]:
    """Measure all there is to measure on one assembly; print its rows, return remarks."""
    assembly = ASSEMBLIES[case](options.scale)
    with (folder / f"{case}.pickle").open("wb") as file:
        pickle.dump(assembly, file, protocol=5)
        os.fsync(file.fileno())  # or the writes that are measured wait for it
    actions = ACTIONS if assembly.ndim > 1 else ACTIONS[:-1]
    del assembly
    got: dict[tuple[str, str], list[list[float]]] = collections.defaultdict(list)
    remarks: dict[tuple[str, str], str] = {}
    for turn in range(options.rounds):
        first = turn % len(peers)
        for action, peer in itertools.product(actions, peers[first:] + peers[:first]):
            runs = got[peer, action]
            if action == "write" and len(runs) >= options.slow_rounds and runs[0][0] > SLOW:
                remarks[peer, "slow"] = f"{case}: {peer}'s write took over {SLOW:.0f} s and was measured {len(runs)}x"
            elif (peer, "write") not in remarks and (peer, action) not in remarks:
                result = run(case, peer, action, folder)
                if isinstance(result, str):
                    remarks[peer, action] = f"{case}: {peer} failed in {action}: {result}"
                else:
                    runs.append(result)
    figures: dict[str, list[float]] = {}
    for peer in peers * bool(options.rounds):
        path, taken = folder / f"{case}.{peer}", [got[peer, action] for action in ACTIONS]
        seconds, extra = (
            [statistics.median(x[i] for x in runs) if runs else math.nan for runs in taken] for i in (0, 1)
        )
        figures[peer] = [
            *seconds,
            sum(each.stat().st_size for each in files(path)) / 1e6 if path.exists() else math.nan,
            *extra[:2],
        ]
        show(case, peer, figures[peer])
    for one, other in (("brainio", "storage_plugins"), ("zarr", "storage_plugins"), ("storage_plugins", "npy")):
        if one in figures and other in figures:
            pairs = zip(figures[one], figures[other], LEAST, strict=True)
            ratios = [a / b if b > least else math.nan for a, b, least in pairs]
            show(case, f"*{one} / {other}*", ratios, "x")
    return list(remarks.values())


def show(case: str, what: str, figures: list[float], unit: str = "") -> None:
    """Print one row of the table, three digits to a figure."""
    cells = ["-" if math.isnan(x) else f"{x:.0f}{unit}" if x >= 100 else f"{x:#.3g}{unit}" for x in figures]
    print(f"| {case} | {what} | {' | '.join(cells)} |", flush=True)


def check(case: str, folder: Path) -> str:
    """Return whether BrainIO reads our file as its own, or why it cannot be said."""
    for name in ("storage_plugins", "brainio"):
        written = (folder / f"{case}.{name}").exists() or run(case, name, "write", folder)
        if isinstance(written, str):
            return f"no, {name} did not write it: {written}"
    result = run(case, "brainio", "alike", folder)
    return result if isinstance(result, str) else "yes" if result == [1] else "no"


def main() -> None:
    """Run all, print a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of values in each assembly")
    parser.add_argument("--only", default=",".join(ASSEMBLIES), help="assemblies, comma-separated")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow-rounds", type=int, default=1, help=f"for writes that take over {SLOW:.0f} seconds")
    parser.add_argument("--check", action="store_true", help="is our file to BrainIO's loader the same as its own?")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cases, peers = options.only.split(","), options.peers.split(",")
    if unknown := {*cases, *peers} - {*ASSEMBLIES, *PEERS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if options.run:
        case, name, action, at = options.run
        print(json.dumps(alike(case, Path(at)) if action == "alike" else measure(case, name, action, Path(at))))
        return
    missing = [name for name in PEERS if importlib.util.find_spec(PACKAGES[name]) is None]
    remarks = [f"{name} left out: {PACKAGES[name]} is not installed" for name in missing]
    peers = [name for name in peers if name not in missing]
    libraries = sorted({"pandas", "xarray", *(PACKAGES[name] for name in peers)})
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    print(f"Python {platform.python_version()}, {versions}; medians of {options.rounds}, scale {options.scale:g};")
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} before the start\n")
    print("| | | write s | load s | warm s | neuroid s | MB | write MiB | load MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        with tempfile.TemporaryDirectory() as at:
            remarks += compare(case, peers, Path(at), options)
            if options.check and "brainio" not in missing:
                remarks.append(f"{case}: BrainIO reads our file exactly as its own: {check(case, Path(at))}")
    print("", *remarks, sep="\n- ")


if __name__ == "__main__":
    main()
