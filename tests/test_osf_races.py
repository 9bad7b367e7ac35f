"""Several processes upload to one project of OSF at once, with transactions that take some time to commit."""

import dataclasses
import hashlib
import multiprocessing
import os
import random
import time

import osf_machine
import pytest
from conftest import OSF_TOKEN, make_assembly
from osf_host import Folder

import storage_plugins
from storage_plugins._copies.cache import Cache

# STORAGE_PLUGINS_SEEDS=20 tries so many seeds with every length of OSF's transactions; that takes hours
SEEDS = int(os.environ.get("STORAGE_PLUGINS_SEEDS", "1"))
WINDOWS = [0.0, 0.01, 0.05, 0.1, 0.25] if SEEDS > 1 else [0.05]
VERSIONS = 10 if SEEDS > 1 else 3  # by each of eight processes; they take turns, one upload after the other


@pytest.fixture(scope="module")
def machines():
    """Processes that have imported everything; a job runs in a fork of one that has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["osf_machine", "storage_plugins_osf.files", "requests", "osfclient"])

    def run(jobs):
        with context.Pool(len(jobs)) as pool:
            return [outcome for outcomes in pool.map(osf_machine.run, jobs, chunksize=1) for outcome in outcomes]

    return run


@dataclasses.dataclass
class Tally:
    uploads: int
    refused: int
    twins: int
    collisions: int
    left: int


def folders(folder, path=""):
    """Yield each folder that has anything in it, with its path."""
    for child in folder.children:
        if isinstance(child, Folder):
            place = f"{path}/{child.name}"
            if child.children:
                yield place
            yield from folders(child, place)


def names(folder, path=""):
    """Yield the path of each folder and file."""
    for child in folder.children:
        yield f"{path}/{child.name}"
        if isinstance(child, Folder):
            yield from names(child, f"{path}/{child.name}")


def race(machines, osf, project, open_osf, tmp_path, plans, folder, seed=0):
    """Let each plan be done by a process of its own; check every receipt from a cold machine; return the figures."""
    settings = {"backend": "osf", "project": project.id, "token": OSF_TOKEN, "api_url": osf.api_url, "folder": folder}
    start = time.time() + 0.3
    jobs = [
        osf_machine.Job(settings, plan, str(tmp_path), start, seed * 1000 + place) for place, plan in enumerate(plans)
    ]
    outcomes = machines(jobs)
    osf.host.window = 0.0
    done = [outcome for outcome in outcomes if outcome.error is None]
    problems = []
    for outcome in done:
        problems += osf_machine.read(open_osf(folder=folder), outcome)
    assert problems == []
    cold = open_osf(folder=folder)
    assert cold.identifiers() == sorted({outcome.identifier for outcome in done})
    used = list(folders(project.root))
    assert len(used) == len(set(used)), "two folders of one name have files in them"
    paths = list(names(project.root))
    left = len(paths) - len(set(paths))
    tally = Tally(len(outcomes), len(outcomes) - len(done), len(osf.host.twins), len(osf.host.collisions), left)
    print(f"\n{tally}", *{outcome.error for outcome in outcomes if outcome.error}, sep="\n")
    return tally


def different_names(processes, each):
    return [
        [(f"p{one}n{number}", f"{one} {number}".encode() * 50) for number in range(each)] for one in range(processes)
    ]


def one_name(processes, each):
    return [[("X", f"{one} {number}".encode() * 50) for number in range(each)] for one in range(processes)]


@pytest.mark.slow
@pytest.mark.parametrize("window", [0.0, 0.05])
def test_processes_that_upload_other_names_into_a_fresh_folder_are_all_found(
    machines, osf, project, open_osf, tmp_path, window
):
    osf.host.window = window
    tally = race(machines, osf, project, open_osf, tmp_path, different_names(3, 2), "brain")
    assert (tally.refused, tally.left) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("window", [0.0, 0.02])
def test_processes_that_upload_one_name_get_receipts_that_load(machines, osf, project, open_osf, tmp_path, window):
    osf.host.window = window
    tally = race(machines, osf, project, open_osf, tmp_path, one_name(3, 2), "")
    assert tally.refused < tally.uploads
    assert tally.left == 0


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_eight_processes_upload_ten_names_each(machines, osf, project, open_osf, tmp_path, window, seed):
    osf.host.window = window
    tally = race(machines, osf, project, open_osf, tmp_path, different_names(8, 10), "brain", seed)
    assert tally.refused == 0


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_eight_processes_upload_versions_of_one_name(machines, osf, project, open_osf, tmp_path, window, seed):
    osf.host.window = window
    race(machines, osf, project, open_osf, tmp_path, one_name(8, VERSIONS), "", seed)


@pytest.fixture(scope="module")
def forty_files(tmp_path_factory):
    """The settings of a local store with forty files of three versions each, encoded once for all mirrors."""
    settings = {"backend": "local", "root": str(tmp_path_factory.mktemp("forty") / "lab")}
    source = storage_plugins.open_store(config={"stores": {"lab": settings}})
    for number in range(40):
        for version in range(3):
            source.upload(make_assembly(10 * number + version), f"Lab.n{number}")
    return settings


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_mirror_of_forty_files_with_three_versions(forty_files, osf, project, open_osf, tmp_path, window, seed):
    random.seed(seed)  # of the pauses
    source = storage_plugins.open_store(config={"stores": {"lab": forty_files}})
    osf.host.window = window
    assert storage_plugins.mirror(source, open_osf(folder="brain")).complete
    osf.host.window = 0.0
    print(f"\n{Tally(120, 0, len(osf.host.twins), len(osf.host.collisions), 0)}")
    assert osf.host.twins == osf.host.collisions == []
    cold = open_osf(folder="brain")
    assert cold.identifiers() == source.identifiers()
    for identifier in source.identifiers():
        theirs, ours = source.versions(identifier), cold.versions(identifier)
        assert [version.sha1 for version in ours] == [version.sha1 for version in theirs]
        machine = open_osf(folder="brain")
        for version in ours:
            for pin in ("version_id", "sha1", "sha256"):
                machine.cache = Cache([tmp_path / f"cold-{identifier}-{version.version_id}-{pin}"])
                path = machine.load_file(identifier, **{pin: getattr(version, pin)})
                assert hashlib.sha256(path.read_bytes()).hexdigest() == version.sha256
    assert all(file.downloads == 0 for file in project.root.folder("brain").children if not isinstance(file, Folder))
