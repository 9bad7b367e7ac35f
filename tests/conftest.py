"""What tests share: a home of their own, small assemblies, and stores on real servers."""

import gc
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import xarray as xr
from botocore.loaders import JSONFileLoader
from links import Link
from memory_files import MemoryFiles
from osf_host import Node
from osf_server import OSFServer
from proxy import Proxy
from s3_servers import S3Server, served_ceph, served_moto
from sftp_server import SSHD, SftpServer

import storage_plugins
from storage_plugins._config.config import StoreEntry
from storage_plugins._copies.cache import Cache
from storage_plugins._store.file_store import FileStore
from storage_plugins.testing._assemblies import make_assembly

_numbers = itertools.count()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


# botocore reads its two megabytes of JSON again for each store that is opened, a tenth of a second of CPU
_read_json = cache(JSONFileLoader().load_file)
JSONFileLoader.load_file = lambda _, path: _read_json(path)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, nothing of the caller's AWS or storage settings, and an empty folder to stand in."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "STORAGE_PLUGINS_", "XDG_", "BRAINIO_", "SSH_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    (tmp_path / "here").mkdir()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path / "here")
    return home


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, which tmp_path is not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def assembly() -> xr.DataArray:
    return make_assembly()


ON_CEPH = os.environ.get("STORAGE_PLUGINS_TEST_S3") == "ceph"  # read before tests begin to clear such variables


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto, or with STORAGE_PLUGINS_TEST_S3=ceph a real server."""
    if ON_CEPH:
        with served_ceph(tmp_path_factory.mktemp("ceph")) as server:
            yield server
    else:
        with served_moto() as server:
            yield server


@pytest.fixture
def endpoint(s3_server: S3Server) -> str:
    """The address of the S3 server."""
    return s3_server.url


@pytest.fixture
def s3_client(s3_server: S3Server) -> object:
    """A client of the buckets' owner that goes round the store."""
    return s3_server.client()


def write_credentials(home: Path, user: tuple[str, str]) -> None:
    """Write the credentials file as AWS documents it."""
    (home / ".aws").mkdir(exist_ok=True)
    text = f"[default]\naws_access_key_id = {user[0]}\naws_secret_access_key = {user[1]}\n"
    (home / ".aws" / "credentials").write_text(text)


@pytest.fixture
def aws_credentials(home: Path, s3_server: S3Server) -> None:
    """The credentials of the buckets' owner."""
    write_credentials(home, s3_server.owner)


@pytest.fixture
def new_bucket(s3_client, aws_credentials) -> Callable[..., str]:
    """Make buckets, versioned or not."""

    def make(versioned: bool = True) -> str:
        name = f"lab-{uuid.uuid4().hex[:12]}"
        s3_client.create_bucket(Bucket=name)
        if versioned:
            s3_client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    return make


@pytest.fixture
def bucket(new_bucket) -> str:
    """A new versioned bucket."""
    return new_bucket()


OSF_TOKEN = "PAT-k3ep-th1s-t0-y0urself"


@pytest.fixture(scope="session")
def osf_service() -> Iterator[OSFServer]:
    """A stand-in for OSF."""
    with OSFServer() as server:
        yield server


@pytest.fixture
def osf(osf_service: OSFServer) -> Iterator[OSFServer]:
    """The stand-in, with nothing of an earlier test switched on."""
    osf_service.forget()
    yield osf_service
    osf_service.forget()


@pytest.fixture
def project(osf: OSFServer) -> Node:
    """A new private project, which the token may write to."""
    return osf.host.node(roles={OSF_TOKEN: "write"})


@pytest.fixture
def open_osf(tmp_path: Path, osf: OSFServer, project: Node) -> Callable[..., FileStore]:
    """Open the store of the project, with settings of one's own; each time as on a new machine."""

    def open_osf(**settings):
        folder = tmp_path / f"osf-machine-{next(_numbers)}"
        folder.mkdir()
        store = {"backend": "osf", "project": project.id, "token": OSF_TOKEN, "api_url": osf.api_url, **settings}
        store = {name: value for name, value in store.items() if value is not None}
        store = storage_plugins.open_store(config=write_yaml(folder, store))
        store.cache = Cache([folder / "cache"])
        return store

    return open_osf


@pytest.fixture(scope="session")
def sftp_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """An OpenSSH server."""
    if SSHD is None:
        pytest.skip("there is no sshd here: install openssh-server")
    pytest.importorskip("paramiko")
    server = SftpServer(tmp_path_factory.mktemp("sshd"))
    yield server
    server.kill()


@pytest.fixture
def sftp(sftp_service: SftpServer, home: Path) -> SftpServer:
    """The server, running; it and the user know each other."""
    sftp_service.start()
    (home / ".ssh").mkdir(mode=0o700)
    shutil.copy(sftp_service.key, home / ".ssh" / "id_ed25519")
    (home / ".ssh" / "known_hosts").write_text(sftp_service.known_hosts())
    return sftp_service


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of the time tests wait, for disks, for servers and for repeats."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was imported: half a million objects that stay."""
    gc.collect()
    gc.freeze()


KINDS = ["local", "s3", "osf", pytest.param("sftp", marks=pytest.mark.slow)]


@pytest.fixture(params=KINDS)
def yaml_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A storage.yaml whose default store is an empty one of each backend in turn."""
    return yaml_for(request.param, tmp_path, request)


def yaml_for(kind: str, folder: Path, request: pytest.FixtureRequest) -> Path:
    """Write a storage.yaml into ``folder`` whose default store is an empty one of that kind."""
    if kind == "local":
        return write_yaml(folder, {"backend": "local", "root": "./assemblies"})
    if kind == "osf":
        osf, node = request.getfixturevalue("osf"), request.getfixturevalue("project")
        node.public = True  # a receipt's URI is read without a token
        return write_yaml(
            folder,
            {
                "backend": "osf",
                "project": node.id,
                "folder": "brain",
                "token": OSF_TOKEN,
                "api_url": osf.api_url,
                "visibility": "public",
            },
        )
    if kind == "memory":
        return write_yaml(folder, {"backend": "fsspec", "url": f"memory://{uuid.uuid4().hex}/brain"})
    if kind == "sftp":
        sftp = request.getfixturevalue("sftp")
        return write_yaml(folder, {"backend": "fsspec", "url": sftp.url(folder / "server" / "brain")})
    bucket, endpoint = request.getfixturevalue("bucket"), request.getfixturevalue("endpoint")
    return write_yaml(folder, {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": endpoint})


def write_yaml(folder: Path, store: dict[str, object], **top: object) -> Path:
    """Write a storage.yaml with one store called "lab"."""
    import yaml

    path = folder / "storage.yaml"
    path.write_text(yaml.safe_dump({"default": "lab", "stores": {"lab": store}, **top}))
    return path


@pytest.fixture
def store(yaml_file: Path) -> storage_plugins.Store:
    return storage_plugins.open_store(config=yaml_file)


@pytest.fixture
def new_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Switch to an empty cache, as on another machine, for stores opened from now on."""

    def switch() -> Path:
        folder = tmp_path / f"cache-{next(_numbers)}"
        monkeypatch.setenv("STORAGE_PLUGINS_CACHE", str(folder))
        return folder

    return switch


@pytest.fixture
def memory_store(tmp_path: Path) -> Callable[..., FileStore]:
    """Make stores over files in memory, which can be made to refuse and to count."""

    def make(files: MemoryFiles, *, receipts: bool = True, cache: str = "cache", name: str = "lab") -> FileStore:
        from storage_plugins._backend.settings import StoreSettings

        entry = StoreEntry(name, "memory", {}, None, tmp_path, tmp_path / "receipts" if receipts else None)
        folder = tmp_path / cache
        return FileStore(entry, StoreSettings(), files, cache=Cache([folder]))

    return make


@pytest.fixture
def proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy before the S3 server that can be told to misbehave."""
    proxy = Proxy(endpoint)
    yield proxy
    proxy.close()


@pytest.fixture
def link(s3_server: S3Server) -> Iterator[Link]:
    """A link to the S3 server that can be slow, or cut."""
    link = Link(urlsplit(s3_server.url).port)
    link.port = link.serve()
    yield link
    link.close()


@pytest.fixture
def open_lab(tmp_path: Path, bucket: str, endpoint: str) -> Callable[..., FileStore]:
    """Open the store of the bucket, with settings of one's own; each time as on a new machine."""
    count = 0

    def open_lab(**settings):
        nonlocal count
        count += 1
        folder = tmp_path / f"machine-{count}"
        folder.mkdir()
        store = {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": endpoint, **settings}
        store = storage_plugins.open_store(config=write_yaml(folder, store))
        store.cache = Cache([folder / "cache"])
        return store

    return open_lab


# the command line


class Done(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


@pytest.fixture
def run(capsys):
    """Run a command in this process."""

    from storage_plugins.cli._main import run as run_command

    def run(*command, code=0):
        capsys.readouterr()
        got = run_command([str(word) for word in command])
        done = Done(*capsys.readouterr())
        assert got == code, done
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def run_process():
    """Run a command in a process of its own, as users do."""

    def run_process(*command, code=0, **options):
        done = subprocess.run(
            [sys.executable, "-m", "storage_plugins", *map(str, command)], capture_output=True, text=True, **options
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run_process


@pytest.fixture
def several(tmp_path):
    """Three files with different assemblies, a.nc, b.nc and c.nc, and a local store."""
    write_yaml(Path(), {"backend": "local", "root": "./lab"})
    for number, name in enumerate("abc"):
        make_assembly(number).reset_index(["presentation", "neuroid"]).to_netcdf(f"{name}.nc", engine="netcdf4")
    return [f"{name}.nc" for name in "abc"]
