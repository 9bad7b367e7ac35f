"""A dask.distributed cluster whose processes share nothing with the client: own home, own cache, own credentials."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from conftest import write_yaml

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
