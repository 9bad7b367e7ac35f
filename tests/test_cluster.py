"""A dask.distributed cluster whose processes share nothing with the client: own home, own cache, own credentials."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
import yaml
from conftest import make_assembly, write_yaml

import storage_plugins

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow


@pytest.fixture
def workers(tmp_path, s3_server):
    """Connect a client to three workers, each in a process with an empty home, and return their homes."""
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    environment |= dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3_server.owner, strict=True))
    homes = [tmp_path / f"home-{number}" for number in range(3)]
    scheduler = distributed.LocalCluster(n_workers=0, dashboard_address=":0", local_directory=str(tmp_path / "dask"))
    processes = []
    for home in homes:
        home.mkdir()
        command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler.scheduler_address]
        options = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(home / "dask")]
        processes.append(
            subprocess.Popen(
                [*command, *options],
                env={**environment, "HOME": str(home)},
                cwd=home,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    with scheduler, distributed.Client(scheduler) as client:
        client.wait_for_workers(3, timeout=300)
        yield homes
    for process in processes:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("download", [True, False], ids=["its own copy of the file", "only the tiles it needs"])
def test_workers_compute_with_an_assembly_that_they_load_themselves(tmp_path, workers, bucket, endpoint, download):
    config = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint})
    made = xr.DataArray(
        np.random.default_rng(1).normal(size=(2000, 90)),
        dims=("presentation", "neuroid"),
        coords={"neuroid": [f"n{number}" for number in range(90)]},
    )
    receipt = storage_plugins.open_store(config=config).upload(made, "Lab2026.rates")
    store = storage_plugins.open_store(config=config)
    lazy = store.load(receipt, chunks={"neuroid": 10}, download=download)
    cache = store.cache.folders[0]
    shutil.rmtree(cache)  # the client's is not theirs
    mean = lazy.mean("presentation").compute()
    np.testing.assert_array_equal(mean.values, made.mean("presentation").values)
    assert mean.neuroid.identical(made.neuroid)
    copies = [path for home in workers for path in home.rglob("*.nc")]
    assert bool(copies) == download
    assert not cache.exists()


def test_workers_mirror_a_store_and_the_receipts_are_written_here(tmp_path, workers, bucket, endpoint):
    stores = {
        name: {"backend": "s3", "bucket": f"{bucket}/{name}", "endpoint_url": endpoint} for name in ("lab", "ours")
    }
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"stores": stores}))
    lab, ours = (storage_plugins.open_store(name, config=config) for name in stores)
    names = [f"Lab2026.n{number}" for number in range(12)]
    made = {name: [lab.upload(xr.DataArray([len(name), k]), name) for k in (0, 1)] for name in names}
    report = storage_plugins.mirror(lab, ours, client=distributed.default_client())
    assert report.complete
    assert {(file.outcome, file.versions_copied, file.versions_there) for file in report.files} == {("copied", 2, 0)}
    assert report.bytes_sent == sum(receipt.size for receipts in made.values() for receipt in receipts)
    assert all(list((home / ".cache").rglob("storage-plugins*")) for home in workers)
    for name, receipts in made.items():
        assert [version.sha256 for version in ours.versions(name)] == [one.sha256 for one in reversed(receipts)]
        assert {one.sha256 for one in ours.receipts.of(receipts[0].key) if one.address == ours.address} == {
            one.sha256 for one in receipts
        }
    again = storage_plugins.mirror(lab, ours, client=distributed.default_client())
    assert {(file.outcome, file.versions_there) for file in again.files} == {("there", 2)}


def test_what_workers_could_not_copy_is_copied_from_here(tmp_path, workers, bucket, endpoint):
    stores = {
        "lab": {"backend": "local", "root": str(tmp_path / "lab")},
        "ours": {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint},
    }
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"stores": stores}))
    lab, ours = (storage_plugins.open_store(name, config=config) for name in stores)
    lab.upload(make_assembly(), "X")
    distributed.default_client().run(lambda: os.environ.pop("AWS_SECRET_ACCESS_KEY"))
    report = storage_plugins.mirror(lab, ours, client=distributed.default_client())
    assert [(file.key, file.outcome) for file in report.files] == [("assy_X.nc", "copied")]
    xr.testing.assert_identical(ours.load("X"), make_assembly())


def test_what_a_worker_copied_to_another_place_than_this_process_sees_is_copied_from_here(tmp_path, workers):
    stores = {
        "lab": {"backend": "local", "root": str(tmp_path / "lab")},
        "ours": {"backend": "fsspec", "url": "memory://ours"},  # each process has its own
    }
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"stores": stores}))
    lab, ours = (storage_plugins.open_store(name, config=config) for name in stores)
    lab.upload_many({f"Lab2026.n{number}": make_assembly(number) for number in range(6)}).check()
    report = storage_plugins.mirror(lab, ours, client=distributed.default_client())
    assert report.complete
    assert {(file.outcome, file.versions_copied, file.versions_there) for file in report.files} == {("copied", 1, 0)}
    assert len(ours.identifiers()) == 6
    xr.testing.assert_identical(ours.load("Lab2026.n3"), make_assembly(3))


def test_what_was_withdrawn_here_is_not_copied_by_workers_that_do_not_know_it(tmp_path, workers, bucket, endpoint):
    stores = {
        name: {"backend": "s3", "bucket": f"{bucket}/{name}", "endpoint_url": endpoint} for name in ("lab", "ours")
    }
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"stores": stores}))
    lab, ours = (storage_plugins.open_store(name, config=config) for name in stores)
    wrong = lab.upload(make_assembly(1), "X")
    lab.upload(make_assembly(2), "X")
    storage_plugins.mirror(lab, ours)
    ours.withdraw("X", version_id=ours.versions("X")[-1].version_id, reason="wrong", confirm="X")
    for home in workers:
        assert not list(home.rglob("receipts"))
    storage_plugins.mirror(lab, ours, client=distributed.default_client())
    assert wrong.sha256 not in [version.sha256 for version in ours.versions("X")]


def test_the_report_is_the_same_for_a_bucket_that_keeps_no_versions(tmp_path, workers, s3_client, endpoint):
    s3_client.create_bucket(Bucket="plain")
    stores = {
        "lab": {"backend": "local", "root": str(tmp_path / "lab")},
        **{name: {"backend": "s3", "bucket": f"plain/{name}", "endpoint_url": endpoint} for name in ("one", "two")},
    }
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"stores": stores}))
    lab, one, two = (storage_plugins.open_store(name, config=config) for name in stores)
    lab.upload_many({f"Lab2026.n{number}": make_assembly(number) for number in range(3)}).check()
    reports = (
        storage_plugins.mirror(lab, one),
        storage_plugins.mirror(lab, two, client=distributed.default_client()),
    )
    assert reports[0].complete
    assert reports[0].files == reports[1].files


def test_a_tombstone_is_carried_although_a_worker_put_it_elsewhere(tmp_path, workers):
    stores = {
        "lab": {"backend": "local", "root": str(tmp_path / "lab")},
        "ours": {"backend": "fsspec", "url": "memory://tombs"},
    }
    config = tmp_path / "storage.yaml"
    config.write_text(yaml.safe_dump({"stores": stores}))
    lab, ours = (storage_plugins.open_store(name, config=config) for name in stores)
    receipt = lab.upload(make_assembly(), "X")
    lab.withdraw("X", version_id=receipt.version_id, reason="wrong", confirm="X")
    assert storage_plugins.mirror(lab, ours, client=distributed.default_client()).complete
    with pytest.raises(storage_plugins.AssemblyWithdrawn):
        ours.load("X", sha1=receipt.sha1)
