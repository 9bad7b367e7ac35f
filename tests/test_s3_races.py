"""Eight processes, ten versions each, of one key: every receipt is of its own bytes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from children import child, context
from conftest import write_yaml

import storage_plugins
from storage_plugins._copies.cache import Cache

PROCESSES, VERSIONS = 8, 10


def content(writer: int, number: int, size: int) -> bytes:
    return np.random.default_rng([writer, number]).bytes(1000) + bytes(size)


def write(config: Path, folder: Path, writer: int, size: int, start, results) -> None:
    store = storage_plugins.open_store(config=config)
    store.cache = Cache([folder / f"cache-{writer}"])
    path = folder / f"file-{writer}"
    start.wait(60)
    for number in range(VERSIONS):
        path.write_bytes(content(writer, number, size))
        results.put((writer, number, store.upload_file(path, "shared.bin")))


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 17 << 20], ids=["in one request", "in parts"])
def test_many_writers_of_one_key(s3_server, bucket, endpoint, tmp_path, size):
    if s3_server.kind == "moto":
        pytest.skip("moto loses versions that are put at the same moment; see STORAGE_PLUGINS_TEST_S3")
    config = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint})
    start, results = context().Barrier(PROCESSES), context().Queue()
    arguments = (size, start, results)
    processes = [child(write, config, tmp_path, writer, *arguments) for writer in range(PROCESSES)]
    for process in processes:
        process.start()
    receipts = {
        tuple(told): receipt for *told, receipt in (results.get(timeout=300) for _ in range(PROCESSES * VERSIONS))
    }
    for process in processes:
        process.join()
    client = s3_server.client()
    assert len({receipt.version_id for receipt in receipts.values()}) == PROCESSES * VERSIONS
    for (writer, number), receipt in receipts.items():
        body = client.get_object(Bucket=bucket, Key="shared.bin", VersionId=receipt.version_id)["Body"].read()
        assert body == content(writer, number, size)
        assert receipt.sha256 == hashlib.sha256(body).hexdigest()
