"""The fsspec backend where nothing can be claimed: its layout, its settings, and other people's filesystems."""

import concurrent.futures
import errno
import json
import pickle
import threading
import uuid
from typing import ClassVar

import pytest
import xarray as xr
from conftest import make_assembly, write_yaml

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    IntegrityError,
    InvalidPin,
    NotSupported,
    QuotaExceeded,
    RateLimited,
    StorageError,
    StoreUnavailable,
)
from storage_plugins._copies.cache import Cache
from storage_plugins._store.open import portable

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402

fs = MemoryFileSystem()  # which goes round the store


@pytest.fixture
def root():
    return f"/{uuid.uuid4().hex}/brain"


@pytest.fixture
def open_fsspec(tmp_path, root):
    """Open the store at ``root``, each time as on a new machine."""
    count = 0

    def open_fsspec(url=f"memory:/{root}", **settings):
        nonlocal count
        count += 1
        folder = tmp_path / f"machine-{count}"
        folder.mkdir()
        store = storage_plugins.open_store(config=write_yaml(folder, {"backend": "fsspec", "url": url, **settings}))
        store.cache = Cache([folder / "cache"])
        return store

    return open_fsspec


@pytest.fixture
def store(open_fsspec):
    return open_fsspec()


def test_what_a_failed_upload_left_is_no_name(store, root):
    left = f"{root}/.versions/assy_X.nc/000001-0123456789ab-01234567"
    fs.makedirs(left)
    fs.pipe(f"{left}/data.nc", b"data")
    fs.pipe(f"{left}/receipt.json", b"")  # its writing failed, and so did its removal
    assert store.identifiers() == []
    assert store.versions("X") == []
    store.upload(make_assembly(), "X")
    assert store.identifiers() == ["X"]


def test_the_layout_is_the_documented_one(store, root):
    receipts = [store.upload(make_assembly(seed), "a.b") for seed in (1, 2)]
    folder = f"{root}/.versions/assy_a_b.nc"
    names = sorted(entry["name"].rpartition("/")[2] for entry in fs.ls(folder))
    assert [name[:6] for name in names] == ["000001", "000002"]
    for number, (name, receipt) in enumerate(zip(names, receipts, strict=True), 1):
        assert receipt.version_id == f"{number}-{name[7:]}"
        assert name[7:19] == receipt.sha256[:12]
        assert fs.cat_file(f"{folder}/{name}/data.nc") == store.fetch(receipt).read_bytes()
        record = json.loads(fs.cat_file(f"{folder}/{name}/receipt.json"))
        assert (record["identifier"], record["sha256"]) == ("a.b", receipt.sha256)


def test_a_version_without_its_whole_record_is_not_there_yet(store, root):
    first = store.upload(make_assembly(1), "X")
    folder = f"{root}/.versions/assy_X.nc"
    fs.pipe_file(f"{folder}/000002-86009cd83379-00000000/data.nc", b"half")
    fs.pipe_file(f"{folder}/000003-86009cd83379-00000000/data.nc", b"half")
    fs.pipe_file(f"{folder}/000003-86009cd83379-00000000/receipt.json", b'{"sha256": "86009c')
    fs.pipe_file(f"{root}/.versions/assy_Y.nc/000001-86009cd83379-00000000/data.nc", b"half")
    assert [version.version_id for version in store.versions("X")] == [first.version_id]
    assert store.identifiers() == ["X"]
    for name, pin in (("Y", {}), ("X", {"version_id": "2-86009cd83379-00000000"})):
        with pytest.raises(AssemblyNotFound):
            store.load(name, **pin)
    assert store.upload(make_assembly(2), "X").version_id.startswith("4-")
    assert store.upload(make_assembly(2), "Y").version_id.startswith("2-")


def test_two_writers_who_saw_the_same_lose_nothing(open_fsspec, root, tmp_path):
    """Both make their version the second one, as when they look at the same moment."""
    store = open_fsspec()
    receipts = [store.upload(make_assembly(1), "X")]
    receipts.append(store.upload(make_assembly(2), "X"))
    after = {name: fs.cat_file(name) for name in fs.find(root)}
    (folder,) = fs.glob(f"{root}/.versions/assy_X.nc/000002-*")
    fs.rm(folder, recursive=True)
    receipts.append(store.upload(make_assembly(3), "X"))
    for name, data in after.items():  # the other one's arrive now
        fs.pipe_file(name, data)
    reader = open_fsspec()
    assert {version.version_id for version in reader.versions("X")} == {receipt.version_id for receipt in receipts}
    for seed, receipt in enumerate(receipts, 1):
        xr.testing.assert_identical(reader.load("X", version_id=receipt.version_id), make_assembly(seed))
        xr.testing.assert_identical(open_fsspec().load("X", sha1=receipt.sha1), make_assembly(seed))
    assert store.upload(make_assembly(4), "X").version_id.startswith("3-")


def test_a_file_put_there_by_hand_is_one_version_and_stays_one(open_fsspec, root, tmp_path):
    store = open_fsspec()
    plain = make_assembly(7).reset_index(["presentation", "neuroid"])
    plain.to_netcdf(tmp_path / "x.nc", engine="netcdf4")
    data = (tmp_path / "x.nc").read_bytes()
    fs.pipe_file(f"{root}/assy_X.nc", data)
    (version,) = store.versions("X")
    assert (version.version_id, version.size) == (None, len(data))
    assert store.identifiers() == ["X"]
    xr.testing.assert_identical(store.load("X"), xr.open_dataarray(tmp_path / "x.nc", engine="netcdf4").load())
    receipt = store.upload(make_assembly(8), "X")
    newest, adopted = store.versions("X")
    assert (newest.version_id, adopted.version_id[:2]) == (receipt.version_id, "1-")
    assert open_fsspec().fetch("assy_X.nc", sha1=adopted.sha1).read_bytes() == data
    xr.testing.assert_identical(open_fsspec().load("X", newest=True), make_assembly(8))


def test_a_file_put_there_by_hand_and_changed_while_it_is_read_is_refused(store, root):
    fs.pipe_file(f"{root}/stimuli.zip", b"a" * 5_000_000)
    with store.files.read("stimuli.zip") as content:
        blocks = iter(content.blocks)
        next(blocks)
        fs.pipe_file(f"{root}/stimuli.zip", b"b" * 5_000_000)
        with pytest.raises(IntegrityError, match="changed while it was read"):
            list(blocks)


def test_damage_is_reported_with_what_was_expected(open_fsspec, root):
    receipt = open_fsspec().upload(make_assembly(), "X")
    (name,) = fs.glob(f"{root}/.versions/assy_X.nc/*/data.nc")
    data = fs.cat_file(name)
    for damaged in (data[:-1], data[:100] + bytes([data[100] ^ 1]) + data[101:], b""):
        fs.pipe_file(name, damaged)
        for pin in ({"sha1": receipt.sha1}, {"version_id": receipt.version_id}, {"newest": True}):
            with pytest.raises(IntegrityError, match=receipt.sha256):
                open_fsspec().load("X", **pin)


def test_a_first_upload_that_has_to_be_the_first_is_refused_as_a_second(store, tmp_path):
    (tmp_path / "f").write_bytes(b"first")
    source = storage_plugins.Source.of(tmp_path / "f")
    store.files.put("f", source, metadata={}, if_absent=True)
    with pytest.raises(AlreadyExists):
        store.files.put("f", source, metadata={}, if_absent=True)


def test_it_says_what_it_promises(store):
    assert store.promises() == "keeps every version"


# settings and addresses


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "file:///srv/data"}, "backend: local"),
        ({"url": "s3://bucket/folder"}, "backend: s3"),
        ({"url": "https://lab.example/data"}, "can only be read"),
        ({"url": "simplecache::sftp://host/data"}, "one filesystem"),
        ({"url": "zip://data.zip"}, "made of other filesystems"),
        ({"url": "/srv/data"}, "not the address"),
        ({"url": "sftp://alice:s3cret@host/data"}, "secrets:"),
        ({"url": "sftp://host"}, "whole path"),
        ({"url": "sftp://host/~/data"}, "whole path"),
        ({"url": "sftp://host:0/data"}, "port"),
        ({"url": "sftp://host/a/../b"}, r"\.\."),
        ({"url": "sftp://host/d", "options": {"port": 2222}}, "in url"),
        ({"url": "sftp://host/d", "options": {"password": "s3cret"}}, "under secrets:"),
        ({"url": "sftp://host/d", "options": {"username": "${LAB_USER}"}}, "only under secrets:"),
        ({"url": "webdav://d", "options": {"base_url": "https://alice:s3cret@lab.example"}}, "under secrets:"),
        (
            {"url": "dav://d", "options": {"base_url": "http://lab.example"}, "secrets": {"password": "x"}},
            "unencrypted",
        ),
        (
            {
                "url": "gs://b/d",
                "options": {"client": {"base": "http://lab.example"}},
                "secrets": {"token": "x"},
            },
            "unencrypted",
        ),
        ({"url": "ftp://lab.example/d", "secrets": {"password": "x"}}, "unencrypted"),
        ({"url": "ftp://lab.example/d", "options": {"tls": "no"}, "secrets": {"password": "x"}}, "unencrypted"),
        ({"url": "webhdfs://lab.example:9870/d", "secrets": {"password": "x"}}, "unencrypted"),
        ({"url": "memory://d", "allow_unencrypted": "yes"}, "allow_unencrypted"),
        ({"url": "sftp://host/d", "options": {"host_key_policy": "auto_add"}}, "cannot be set"),
        ({"url": "sftp://host/d", "options": {"a": 1}, "secrets": {"a": "x"}}, "in options: and in secrets:"),
        ({"url": "memory://d", "host_keys": "any"}, "sftp:// addresses only"),
        ({"url": "sftp://host/d", "host_keys": "none"}, "host_keys"),
        ({"url": "sftp://host/d", "pasword": "x"}, "unknown setting"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, settings, told):
    with pytest.raises(ConfigError, match=told) as caught:
        storage_plugins.open_store(config=write_yaml(tmp_path, {"backend": "fsspec", **settings}))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "ftp://lab.example/d"},
        {"url": "ftp://localhost:2121/d", "secrets": {"password": "x"}},
        {"url": "webhdfs://127.0.0.1:9870/d", "secrets": {"password": "x"}},
        {"url": "ftp://lab.example/d", "options": {"tls": True}, "secrets": {"password": "x"}},
        {"url": "webhdfs://lab.example/d", "options": {"use_https": True}, "secrets": {"password": "x"}},
        {"url": "ftp://lab.example/d", "secrets": {"password": "x"}, "allow_unencrypted": True},
        {"url": "dav://d", "options": {"base_url": "http://localhost:80"}, "secrets": {"password": "x"}},
        {"url": "dav://d", "options": {"base_url": "https://lab.example"}, "secrets": {"password": "x"}},
    ],
)
def test_secrets_are_accepted_where_they_are_encrypted_or_stay_here_or_are_allowed_to_be_seen(tmp_path, settings):
    storage_plugins.open_store(config=write_yaml(tmp_path, {"backend": "fsspec", **settings}))


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"url": "sftp://alice@Lab.example:22/srv/data/"}, "sftp://lab.example/srv/data"),
        ({"url": "ssh://lab.example:2222/srv/my data"}, "sftp://lab.example:2222/srv/my%20data"),
        ({"url": "sftp://[::1]:2222/srv"}, "sftp://[::1]:2222/srv"),
        ({"url": "gs://bucket/folder"}, "gs://bucket/folder"),
        ({"url": "abfs://box@account.dfs.core.windows.net/f"}, "abfs://box@account.dfs.core.windows.net/f"),
        ({"url": "hf://datasets/lab/data"}, "hf://datasets/lab/data"),
        (
            {"url": "webdav://brain", "options": {"base_url": "https://cloud.lab.example/dav"}},
            "webdav://brain?base_url=https://cloud.lab.example/dav",
        ),
    ],
)
def test_an_address_is_the_same_for_all_users_and_can_be_split_again(tmp_path, settings, address):
    from storage_plugins_fsspec import locate

    store = storage_plugins.open_store(config=write_yaml(tmp_path, {"backend": "fsspec", **settings}))
    assert store.address == address
    location = locate(store.files.uri("assy_a+b.nc", "1-86009cd83379"))
    assert (location.key, location.version_id) == ("assy_a+b.nc", "1-86009cd83379")
    again = storage_plugins.open_store(config=write_yaml(tmp_path, {"backend": "fsspec", **location.settings}))
    assert again.address == address


@pytest.mark.parametrize(
    "uri", ["fsspec:file:///etc/passwd", "fsspec:memory://", "fsspec:x", "fsspec:sftp://eve@host/a/b", "fsspec:"]
)
def test_an_address_from_outside_chooses_nothing_but_the_location(uri):
    with pytest.raises(InvalidPin):
        storage_plugins.load(uri)


def test_a_filesystem_that_is_not_installed_is_named(open_fsspec):
    with pytest.raises(ConfigError, match="nonsense"):
        open_fsspec("nonsense://place").load("X")


def test_secrets_are_given_to_the_filesystem_and_shown_nowhere(open_fsspec, strange, monkeypatch, root):
    monkeypatch.setenv("LAB_PASSWORD", "s3cret-word")
    strange.wants = {"password": "Bearer s3cret-word", "user": "alice"}
    store = open_fsspec(
        f"strange:/{root}",
        options={"user": "alice"},
        secrets={"password": "Bearer ${LAB_PASSWORD}", "token": "${LAB_TOKEN}"},
    )
    store.upload(make_assembly(), "X")
    strange.raises = PermissionError(errno.EACCES, "no entry with s3cret-word and Bearer s3cret-word")
    with pytest.raises(AccessDenied, match="LAB_TOKEN") as caught:
        store.versions("X")
    shown = [repr(store), repr(store.settings), str(vars(store)), str(vars(store.files)), repr(caught.value)]
    shown += [repr(caught.value.__cause__), pickle.dumps(caught.value).decode("latin-1")]
    for pickled in (store, store.files, store.settings, portable(store._entry)):
        shown.append(pickle.dumps(pickled).decode("latin-1"))
    assert [text for text in shown if "Bearer s3cret" in text] == []


def test_secrets_that_are_variables_are_found_again_in_another_process(open_fsspec, strange, monkeypatch, root):
    monkeypatch.setenv("LAB_PASSWORD", "s3cret-word")
    strange.wants = {"password": "s3cret-word"}
    store = open_fsspec(f"strange:/{root}", secrets={"password": "${LAB_PASSWORD}"})
    pickled = pickle.dumps(store)
    assert b"s3cret-word" not in pickled
    receipt = store.upload(make_assembly(), "X")
    assert pickle.loads(pickled).load(receipt).identical(make_assembly())


# other people's filesystems


class StrangeFileSystem(MemoryFileSystem):
    """One that lists from a cache until it is told not to, and raises what it is told to."""

    protocol = "strange"
    cachable = True
    raises: Exception | None = None
    forgets = 0
    answers: ClassVar[dict[str, object]] = {}
    wants: ClassVar[dict[str, str]] = {}

    def __init__(self, **options):
        super().__init__(**options)
        for name, value in self.wants.items():
            assert options[name] == value

    def _open(self, path, mode="rb", **options):
        file = super()._open(path, mode, **options)
        if self.forgets and mode == "wb":
            write, keep = file.write, -self.forgets
            file.write = lambda data: write(data[:keep])
        return file

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("strange://"))

    def ls(self, path, detail=True, **options):
        if self.raises is not None:
            raise self.raises
        if "ls" in self.answers:
            return self.answers["ls"]
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True)
        return self.dircache[path] if detail else [entry["name"] for entry in self.dircache[path]]

    def info(self, path, **options):
        return self.answers["info"] if "info" in self.answers else super().info(path, **options)

    def cat_file(self, path, **options):
        return self.answers["cat_file"] if "cat_file" in self.answers else super().cat_file(path, **options)

    def find(self, path, **options):
        if "find" in self.answers:
            return self.answers["find"]
        found = super().find(path, detail=True)
        found = {name: entry for name, entry in found.items() if name not in self.dircache}
        return found if options.get("detail") else [*found]

    def invalidate_cache(self, path=None):
        self.dircache.clear()


@pytest.fixture
def strange(root):
    """A third party's filesystem, with something like a bucket in it."""
    fs.mkdir(root.rpartition("/")[0])
    fsspec.register_implementation("strange", StrangeFileSystem, clobber=True)
    yield StrangeFileSystem
    StrangeFileSystem.raises, StrangeFileSystem.forgets, StrangeFileSystem.wants = None, 0, {}
    StrangeFileSystem.answers = {}


def test_a_bucket_is_not_made(open_fsspec, strange):
    with pytest.raises(ConfigError, match="There is no /none-such"):
        open_fsspec("strange://none-such/brain").upload(make_assembly(), "X")
    assert not fs.exists("/none-such")


def test_what_another_machine_uploads_is_seen_at_once(open_fsspec, strange, root):
    here, there = open_fsspec(f"strange:/{root}"), open_fsspec(f"strange:/{root}")
    for seed in range(3):
        assert len(here.versions("X")) == seed
        there.upload(make_assembly(seed), "X")
    assert here.upload(make_assembly(9), "X").version_id.startswith("4-")


class AnsweredError(Exception):
    """As the clients of web servers raise them."""

    def __init__(self, status):
        super().__init__(f"answered {status}")
        self.status = status


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (PermissionError(errno.EACCES, "no"), AccessDenied),
        (OSError(errno.EROFS, "can only be read"), AccessDenied),
        (OSError(errno.ENOSPC, "full"), QuotaExceeded),
        (OSError(errno.EHOSTUNREACH, "no way"), StoreUnavailable),
        (ConnectionResetError("gone"), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
        (EOFError(), StoreUnavailable),
        (NotImplementedError("never"), NotSupported),
        (AnsweredError(403), AccessDenied),
        (AnsweredError(404), AssemblyNotFound),
        (AnsweredError(429), RateLimited),
        (AnsweredError(503), StoreUnavailable),
        (AnsweredError(507), QuotaExceeded),
        (AnsweredError(418), StorageError),
        (KeyError("name"), StoreUnavailable),
        (SyntaxError("no XML"), StoreUnavailable),
        (RuntimeError("no idea"), StorageError),
    ],
    ids=str,
)
def test_whatever_a_filesystem_raises_becomes_one_of_our_errors(open_fsspec, strange, root, raised, expected):
    store = open_fsspec(f"strange:/{root}")
    strange.raises = raised
    for call in (lambda: store.files.versions("X"), lambda: store.files.keys()):
        with pytest.raises(StorageError) as caught:
            call()
        assert type(caught.value) is expected
        assert caught.value.__cause__ is raised
        assert store.address in str(caught.value)


def test_an_upload_that_fails_leaves_nothing(open_fsspec, root, tmp_path):
    store = open_fsspec()
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    source = storage_plugins.Source.of(tmp_path / "f")
    (tmp_path / "f").write_bytes(b"y" * 3_000_000)
    with pytest.raises(IntegrityError):
        store.files.put("f", source, metadata={}, if_absent=False)
    assert fs.find(root) == []


def test_bytes_that_a_filesystem_lost_silently_are_noticed(open_fsspec, strange, root):
    store = open_fsspec(f"strange:/{root}")
    strange.forgets = 7
    with pytest.raises(IntegrityError, match="did not arrive whole"):
        store.upload(make_assembly(), "X")
    strange.forgets = 0
    assert fs.find(root) == []
    assert store.versions("X") == []


# a real server: WebDAV


@pytest.fixture
def webdav(tmp_path):
    """A WebDAV server, and the folder that it serves to alice."""
    wsgidav = pytest.importorskip("wsgidav.wsgidav_app")
    wsgi = pytest.importorskip("cheroot.wsgi")
    pytest.importorskip("webdav4.fsspec")
    (tmp_path / "served").mkdir()
    users = {"*": {"alice": {"password": "s3cret-word"}}}
    config = {
        "provider_mapping": {"/": str(tmp_path / "served")},
        "simple_dc": {"user_mapping": users},
        "verbose": 0,
        "logging": {"enable": False},
    }
    server = wsgi.Server(("127.0.0.1", 0), wsgidav.WsgiDAVApp(config))
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield f"http://127.0.0.1:{server.bind_addr[1]}", tmp_path / "served"
    server.stop()
    thread.join()


@pytest.mark.slow
def test_a_webdav_server_stores_simultaneous_uploads(open_fsspec, webdav, tmp_path):
    base_url, served = webdav
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 40_000)

    def open_webdav():
        return open_fsspec(
            "webdav://brain", options={"base_url": base_url, "username": "alice"}, secrets={"password": "s3cret-word"}
        )

    with pytest.raises(AccessDenied):
        open_fsspec("webdav://brain", options={"base_url": base_url}).upload(make_assembly(), "X")
    writers = [open_webdav() for _ in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        receipts = list(pool.map(lambda seed: writers[seed].upload(make_assembly(seed), "X"), range(4)))
    assert {version.version_id for version in open_webdav().versions("X")} == {r.version_id for r in receipts}
    assert len(list((served / "brain" / ".versions" / "assy_X.nc").glob("00000?-*/receipt.json"))) == 4
    for seed, receipt in enumerate(receipts):
        assert open_webdav().load("X", version_id=receipt.version_id).identical(make_assembly(seed))
        assert open_webdav().load("X", sha1=receipt.sha1).identical(make_assembly(seed))
    receipt = open_webdav().upload_file(tmp_path / "large.bin")
    assert open_webdav().fetch(receipt).read_bytes() == (tmp_path / "large.bin").read_bytes()
    with open_webdav().files.read("large.bin", receipt.version_id, start=5_000_001, stop=9_999_999) as content:
        assert b"".join(content.blocks) == (tmp_path / "large.bin").read_bytes()[5_000_001:9_999_999]
    assert (open_webdav().identifiers(), open_webdav().file_names()) == (["X"], ["large.bin"])


@pytest.mark.parametrize(
    "answer", [None, "<html>", {7: {}}, 7, ["<html>"], [{}], [{"type": "file"}], [{"name": "a"}]], ids=str
)
@pytest.mark.parametrize("call", ["ls", "find"])
def test_what_is_not_a_listing_is_never_an_empty_store(open_fsspec, strange, root, monkeypatch, call, answer):
    store = open_fsspec(f"strange:/{root}")
    store.upload(make_assembly(), "X")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    strange.answers = {call: answer}
    calls = [store.identifiers] if call == "find" else [store.identifiers, lambda: store.versions("X")]
    for asked in calls:
        with pytest.raises(StoreUnavailable, match="instead of") as caught:
            asked()
        assert store.address in str(caught.value)


def test_a_listing_of_another_folder_is_refused(open_fsspec, strange, root):
    store = open_fsspec(f"strange:/{root}")
    strange.answers = {"ls": [{"name": "/elsewhere/assy_X.nc", "type": "file", "size": 7}]}
    with pytest.raises(StoreUnavailable, match="elsewhere"):
        store.files.keys()


@pytest.mark.parametrize(
    "answers",
    [
        {"info": None},
        {"info": {"type": "file"}},
        {"info": {"type": "file", "size": -1}},
        {"info": {"type": "file", "size": "7"}},
        {"cat_file": "text"},
        {"cat_file": None},
        {"cat_file": b"x" * (5 << 20)},
    ],
    ids=str,
)
def test_made_up_answers_about_a_file_are_refused(open_fsspec, strange, root, answers):
    store = open_fsspec(f"strange:/{root}")
    receipt = store.upload(make_assembly(), "X")
    strange.answers = answers
    with pytest.raises(StoreUnavailable, match="instead of"):
        list(store.files.read("assy_X.nc", receipt.version_id).blocks)
