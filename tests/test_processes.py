"""Many processes at once: nothing is lost, and each receipt is of its own bytes."""

import contextlib
import errno
import hashlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from children import child, context
from conftest import make_assembly, write_yaml

import storage_plugins


def upload_one(yaml_file: Path, number: int, start, results) -> None:
    store = storage_plugins.open_store(config=yaml_file)
    assembly = make_assembly(number)
    start.wait(60)
    results.put((number, store.upload(assembly, "X")))


SERVERS = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("s3", "osf", "sftp")]


@pytest.mark.slow
@pytest.mark.parametrize("yaml_file", ["local", *SERVERS], indirect=True)
def test_eight_processes_upload_to_one_identifier_at_once(yaml_file, new_cache):
    start, results = context().Barrier(8), context().Queue()
    processes = [child(upload_one, yaml_file, n, start, results) for n in range(8)]
    for process in processes:
        process.start()
    receipts = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    new_cache()
    store = storage_plugins.open_store(config=yaml_file)
    versions = store.versions("X")
    assert sorted(version.version_id for version in versions) == sorted(r.version_id for r in receipts.values())
    assert len(versions) == 8
    for number, receipt in receipts.items():
        path = store.fetch(receipt.key, version_id=receipt.version_id)
        assert hashlib.sha1(path.read_bytes()).hexdigest() == receipt.sha1
        assert store.load("X", version_id=receipt.version_id).identical(make_assembly(number))
    if store.address.startswith(("file:", "sftp:")):
        assert sorted(int(version.version_id.split("-")[0]) for version in versions) == list(range(1, 9))
    assert {receipt.sha1 for receipt in store.receipts.of("assy_X.nc")} == {r.sha1 for r in receipts.values()}


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def fetch_cold(yaml_file: Path, sha256: str, locks: bool, start, results) -> None:
    if not locks:
        import fcntl

        fcntl.flock = no_locks  # as on NFS without a lock daemon
    store = storage_plugins.open_store(config=yaml_file)
    start.wait(120)
    results.put(hashlib.sha256(store.fetch("large.bin", sha256=sha256).read_bytes()).hexdigest())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such locks")
@pytest.mark.parametrize("locks", [True, False])
def test_forty_cold_processes_download_a_file_once_where_files_can_be_locked(tmp_path, proxy, bucket, new_cache, locks):
    yaml_file = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": proxy.url})
    (tmp_path / "large.bin").write_bytes(os.urandom(3_000_000))
    receipt = storage_plugins.open_store(config=yaml_file).upload_file(tmp_path / "large.bin")
    new_cache()
    proxy.requests.clear()
    start, results = context().Barrier(40), context().Queue()
    processes = [child(fetch_cold, yaml_file, receipt.sha256, locks, start, results) for _ in range(40)]
    for process in processes:
        process.start()
    assert {results.get(timeout=120) for _ in processes} == {receipt.sha256}
    for process in processes:
        process.join()
    downloads = [request for request in proxy.requests if re.match(r"GET /[^?]*large\.bin", request)]
    assert len(downloads) <= 2 or not locks
    assert list(Path(os.environ["STORAGE_PLUGINS_CACHE"]).rglob(".tmp-*")) == []


def claim_many(root: Path, process: int) -> None:
    store = storage_plugins.open_store(config={"stores": {"a": {"backend": "local", "root": str(root)}}})
    for number in range(10):
        path = root.parent / f"{process}-{number}"
        path.write_bytes(f"{process} {number}".encode())
        store.upload_file(path, "shared.bin")


@pytest.mark.slow
def test_versions_of_many_writers_are_gapless(tmp_path):
    root = tmp_path / "root"
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=claim_many, args=(root, number)) for number in range(20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    folder = root / ".versions" / "shared.bin"
    assert sorted(path.name for path in folder.iterdir()) == [f"{number:06d}" for number in range(1, 201)]
    assert len({(path / "data.bin").read_bytes() for path in folder.iterdir()}) == 200


KILLED = """
import sys, storage_plugins
store = storage_plugins.open_store(config=sys.argv[1])
path = sys.argv[2]
print("ready", flush=True)
for number in range(100000):
    with open(path, "wb") as file:
        file.write(number.to_bytes(8, "big") * 250_000)
    store.upload_file(path, "shared.bin")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_writer_killed_at_any_moment_leaves_whole_versions_only(tmp_path):
    config = tmp_path / "storage.yaml"
    config.write_text("stores: {a: {backend: local, root: ./root}}")
    for round_ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(config), str(tmp_path / f"file-{round_}")], stdout=subprocess.PIPE
        )
        assert writer.stdout.readline() == b"ready\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            writer.wait(timeout=0.02 + 0.037 * round_)  # some moment in the middle of an upload
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    folder = tmp_path / "root" / ".versions" / "shared.bin"
    whole = [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert sorted(path.name for path in whole) == [f"{number:06d}" for number in range(1, len(whole) + 1)]
    for path in whole:
        data = (path / "data.bin").read_bytes()
        assert data == data[:8] * 250_000
        assert hashlib.sha256(data).hexdigest() in (path / "receipt.json").read_text()
    store = storage_plugins.open_store(config=config)
    assert store.fetch("shared.bin", newest=True).stat().st_size == 2_000_000


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"),
    [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)],
)
def test_a_signal_is_reported_in_a_line_and_leaves_nothing_half_done(tmp_path, proxy, bucket, s3_client, sent, code):
    config = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": proxy.url})
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(60 << 20)
    if signal.getsignal(getattr(signal, sent)) is signal.SIG_IGN:
        pytest.skip("whoever started the tests ignores this signal, as nohup does")
    sending, interrupted = threading.Event(), threading.Event()

    def hold(method, path):
        if "partNumber=3" in path:
            sending.set()
            interrupted.wait(60)

    proxy.refuse = hold
    process = subprocess.Popen(
        [sys.executable, "-m", "storage_plugins", "upload", tmp_path / "large.bin", "--config", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert sending.wait(60)
    process.send_signal(getattr(signal, sent))
    time.sleep(1)  # until it has arrived: the process does nothing but wait
    interrupted.set()
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert told.decode().strip().splitlines()[-1] == "Interrupted. Unfinished uploads were rolled back."
    assert storage_plugins.open_store(config=config).file_names() == []
    assert s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
