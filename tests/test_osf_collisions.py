"""Two uploads to OSF at the same moment: versions of one number, wedged files, twin files and twin folders."""

import hashlib
import os
import threading

import pytest
import requests
import xarray as xr
from conftest import OSF_TOKEN, make_assembly

import storage_plugins
from storage_plugins import AssemblyNotFound, Source, StoreUnavailable

pytestmark = pytest.mark.slow

KEY = "assy_X.nc"


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """How long the code would have waited; nobody waits."""
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


class Somebody:
    """Another machine, without this package: it uploads by plain requests and looks at nothing afterwards."""

    def __init__(self, osf, project):
        self._osf, self._project = osf, project
        self._headers = {"Authorization": f"Bearer {OSF_TOKEN}"}

    def url(self, path=""):
        return f"{self._osf.files_url}/v1/resources/{self._project.id}/providers/osfstorage/{path}"

    def ask(self, method, path, data=None, **query):
        return requests.request(
            method, self.url(path), params=query, data=data, headers=self._headers, allow_redirects=False, timeout=30
        )

    def puts(self, name, data):
        there = self._osf.host.get(self._project, name)
        if there:
            return self.ask("PUT", there[0].id, data, kind="file")
        return self.ask("PUT", "", data, kind="file", name=name)


@pytest.fixture
def somebody(osf, project):
    return Somebody(osf, project)


def at_once(osf, name, *calls):
    """Let uploads to ``name`` look before either has written, and return what they returned or raised."""
    osf.host.collide(name)
    results = [None] * len(calls)

    def work(place):
        try:
            results[place] = calls[place]()
        except storage_plugins.StorageError as error:
            results[place] = error

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def wedge(osf, project, name, *data):
    """Make a file whose two newest versions have one number."""
    for one in data[:-1]:
        osf.host.put(project, name, one)
    (file,) = osf.host.get(project, name)
    osf.host.add_version(file, data[-1], number=len(file.versions))
    return file


def numbers(file):
    return [version.number for version in file.versions]


# the stand-in itself


def test_a_collision_looks_as_it_does_at_osf(osf, project, somebody):
    osf.host.put(project, "f", b"one")
    answers = at_once(osf, "f", lambda: somebody.puts("f", b"second"), lambda: somebody.puts("f", b"other second"))
    counts = sorted(answer.json()["data"]["attributes"]["extra"]["version"] for answer in answers)
    assert counts == [2, 3]
    (file,) = osf.host.get(project, "f")
    assert numbers(file) == [1, 2, 2]
    newest = file.newest.data
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert somebody.ask(method, file.id, kind="file").status_code == 400
    assert [somebody.ask("GET", file.id, version=n).status_code for n in "123"] == [302, 500, 400]
    assert "<html>" in somebody.ask("GET", file.id, version="2").json()["response"]
    listed = somebody.ask("GET", file.id, revisions="", version="1").json()["data"]
    assert [row["id"] for row in listed] == ["3", "2", "1"]
    stored = requests.get(
        f"{osf.api_url}files/{file.id}/versions/",
        headers={"Authorization": f"Bearer {OSF_TOKEN}"},
        timeout=10,
    ).json()["data"]
    assert sorted(row["id"] for row in stored) == ["1", "2", "2"]
    assert somebody.ask("PUT", file.id, newest, kind="file", version="1").status_code == 200
    assert somebody.ask("GET", file.id, meta="").status_code == 400  # equal to the newest: nothing was stored
    assert (
        somebody.ask("PUT", file.id, b"third", kind="file", version="1").json()["data"]["attributes"]["extra"][
            "version"
        ]
        == 4
    )
    assert [somebody.ask("GET", file.id, version=n).status_code for n in "1234"] == [302, 500, 400, 302]


def test_twin_files_look_as_they_do_at_osf(osf, project, somebody):
    answers = at_once(osf, "f", lambda: somebody.puts("f", b"mine"), lambda: somebody.puts("f", b"yours"))
    assert [answer.status_code for answer in answers] == [201, 201]
    one, other = osf.host.get(project, "f")
    assert somebody.ask("PUT", "", b"x", kind="file", name="f").status_code == 409
    assert [somebody.ask("PUT", file.id, b"x", kind="file").status_code for file in (one, other)] == [500, 500]
    assert somebody.ask("DELETE", other.id).status_code == 204
    assert somebody.ask("PUT", one.id, b"x", kind="file").status_code == 200


def test_the_size_in_a_description_is_that_of_the_oldest_version(osf, project, somebody):
    for data in (b"short", b"much longer"):
        file = osf.host.put(project, "f", data)
    described = somebody.ask("GET", file.id, meta="").json()["data"]["attributes"]
    assert (described["size"], described["extra"]["version"]) == (5, 2)
    assert described["extra"]["hashes"]["sha256"] == hashlib.sha256(b"much longer").hexdigest()
    assert somebody.ask("HEAD", file.id).headers["Content-Length"] == "5"
    assert somebody.ask("GET", "").json()["data"][0]["attributes"]["size"] == 11


# versions of one number


@pytest.mark.parametrize("again", range(3))
def test_an_upload_that_collides_is_sent_again_and_its_receipt_can_be_read(open_osf, osf, project, somebody, again):
    store = open_osf()
    store.upload(make_assembly(9), "X")
    receipt, _ = at_once(
        osf, KEY, lambda: store.upload(make_assembly(1), "X"), lambda: somebody.puts(KEY, b"somebody else's")
    )
    (file,) = osf.host.get(project, KEY)
    assert len(set(numbers(file))) < len(numbers(file))  # it did come to that
    assert numbers(file).count(int(receipt.version_id)) == 1
    for pin in ({"version_id": receipt.version_id}, {"sha1": receipt.sha1}, {"sha256": receipt.sha256}):
        xr.testing.assert_identical(open_osf().load("X", **pin), make_assembly(1))
    assert store.upload(make_assembly(2), "X").version_id == f"{len(file.versions)}"


def test_a_wedged_file_is_healed_by_the_next_upload(open_osf, osf, project, tmp_path):
    file = wedge(osf, project, "f", b"one", b"two", b"other two")
    (tmp_path / "f").write_bytes(b"three")
    receipt = open_osf().upload_file(tmp_path / "f")
    assert (receipt.version_id, numbers(file)) == ("4", [1, 2, 2, 4])
    assert open_osf().fetch("f", version_id="4").read_bytes() == b"three"
    assert [version.version_id for version in open_osf().files.versions("f")] == ["4", "1"]
    for version in open_osf().files.versions("f"):
        open_osf().fetch("f", version_id=version.version_id)
    with pytest.raises(AssemblyNotFound, match="two uploads at the same moment"):
        open_osf().fetch("f", version_id="2")
    with pytest.raises(AssemblyNotFound):
        open_osf().fetch("f", version_id="3")


def test_a_wedged_file_whose_newest_bytes_are_ours_is_healed_too(open_osf, osf, project, tmp_path):
    """OSF stores nothing that equals the newest version, so the oldest is uploaded in between."""
    file = wedge(osf, project, "f", b"one", b"two", b"ours")
    (tmp_path / "f").write_bytes(b"ours")
    receipt = open_osf().upload_file(tmp_path / "f")
    assert [version.data for version in file.versions] == [b"one", b"two", b"ours", b"one", b"ours"]
    assert receipt.version_id == "5"
    assert open_osf().fetch("f", version_id="5").read_bytes() == b"ours"


def test_of_a_wedged_file_what_can_be_read_is_read(open_osf, osf, project, caplog):
    wedge(osf, project, "f", b"one", b"two", b"three", b"other three")
    for store in (open_osf(), open_osf()):
        assert store.fetch("f", newest=True).read_bytes() == b"two"
        assert store.files.newest("f").version_id == "2"
        assert [version.version_id for version in store.files.versions("f")] == ["2", "1"]
        assert store.fetch("f", sha1=hashlib.sha1(b"two").hexdigest()).read_bytes() == b"two"
    assert "2 versions of f" in caplog.text
    assert "cannot be read" in caplog.text


def test_a_wedged_file_is_not_in_the_way_of_its_neighbours(open_osf, osf, project, tmp_path):
    store = open_osf()
    receipts = {f"n{number:02}": store.upload(make_assembly(number), f"n{number:02}") for number in range(20)}
    (path,) = [store.load_file("n00")]
    wedge(osf, project, "assy_W.nc", path.read_bytes(), b"two", b"other two")
    for opened in (open_osf(), store):
        assert opened.identifiers() == ["W", *receipts]
        for name, receipt in receipts.items():
            assert opened.versions(name)[0].sha256 == receipt.sha256
    for number, name in enumerate(receipts):
        xr.testing.assert_identical(open_osf().load(name), make_assembly(number))
    target = {"backend": "local", "root": str(tmp_path / "copy")}
    report = storage_plugins.mirror(open_osf(), storage_plugins.open_store(config={"stores": {"copy": target}}))
    assert report.complete
    assert len(report.files) == 21
    healed = store.upload(make_assembly(20), "W")
    for pin in ({"version_id": healed.version_id}, {"sha1": healed.sha1}, {"sha256": healed.sha256}):
        xr.testing.assert_identical(open_osf().load("W", **pin), make_assembly(20))


def test_a_wedged_file_can_be_discarded(open_osf, osf, project):
    for files in (open_osf().files, open_osf().files):
        wedge(osf, project, "f", b"one", b"two", b"other two")
        files.newest("f")
        files.discard("f")
        assert osf.host.get(project, "f") == []


def test_what_looks_like_the_newest_already_but_cannot_be_read_gets_no_receipt(open_osf, osf, project):
    receipt = open_osf().upload(make_assembly(1), "X")
    (file,) = osf.host.get(project, KEY)
    osf.host.add_version(file, b"two")
    osf.host.add_version(file, file.versions[0].data, number=2)  # wedged; its newest bytes have a record
    again = open_osf().upload(make_assembly(1), "X")
    assert again.version_id == receipt.version_id == "1"
    xr.testing.assert_identical(open_osf().load("X", version_id=again.version_id), make_assembly(1))


def test_an_upload_during_one_that_is_later_stored_under_its_number_is_not_taken_for_it(open_osf, osf, project):
    """Three uploads: the list shows ours third, and number 3 is stored, but it is somebody else's."""
    osf.host.put(project, "f", b"one")
    (file,) = osf.host.get(project, "f")
    osf.host.add_version(file, b"two")
    osf.host.add_version(file, b"ours", number=2)
    osf.host.add_version(file, b"theirs", number=3)
    osf.host.add_version(file, b"five", number=5)
    rows = open_osf().files.versions("f")
    assert {row.version_id: row.sha256 for row in rows} == {
        number: hashlib.sha256(data).hexdigest() for number, data in (("5", b"five"), ("3", b"theirs"), ("1", b"one"))
    }
    assert open_osf().fetch("f", version_id="3").read_bytes() == b"theirs"


def test_uploads_that_always_collide_end_with_an_error_and_no_receipt(open_osf, osf, project, somebody, tmp_path):
    file = osf.host.put(project, "f", b"one")
    (tmp_path / "f").write_bytes(b"ours")
    threads = []

    def collide(request):
        ours = "vnd.api+json" in request.headers.get("accept", "")
        if ours and request.method == "PUT" and request.path.endswith(file.id):
            osf.host.collide("f")
            data = f"theirs {len(threads)}".encode()
            asked = {"kind": "file", "version": "1"}
            threads.append(threading.Thread(target=lambda: somebody.ask("PUT", file.id, data, **asked)))
            threads[-1].start()

    osf.fault = collide
    store = open_osf()
    with pytest.raises(StoreUnavailable, match="could not be confirmed") as caught:
        store.upload_file(tmp_path / "f")
    for thread in threads:
        thread.join()
    assert "Upload again" in caught.value.hint
    assert store.receipts.of("f") == []
    assert len(threads) <= 15  # it ends
    osf.fault = lambda request: None
    osf.host.stop_colliding()
    assert open_osf().fetch("f", version_id=store.upload_file(tmp_path / "f").version_id).read_bytes() == b"ours"


# twin files


@pytest.mark.parametrize("again", range(3))
def test_of_two_files_made_at_once_ours_gives_way_if_the_other_stays(open_osf, osf, project, somebody, again):
    receipt, answer = at_once(
        osf, KEY, lambda: open_osf().upload(make_assembly(1), "X"), lambda: somebody.puts(KEY, b"somebody else's")
    )
    assert answer.status_code == 201
    (file,) = osf.host.get(project, KEY)  # the other one, which this package has not made
    assert [version.hashes["sha256"] for version in file.versions] == [
        hashlib.sha256(b"somebody else's").hexdigest(),
        receipt.sha256,
    ]
    assert receipt.version_id == "2"
    assert osf.host.twins == [f"/{KEY}"]
    for pin in ({"version_id": "2"}, {"sha1": receipt.sha1}):
        xr.testing.assert_identical(open_osf().load("X", **pin), make_assembly(1))


def test_a_version_that_somebody_added_to_the_file_that_gives_way_is_still_read(open_osf, osf, project, somebody):
    osf.host.collide(KEY)

    def ask(request):  # in the last moment, when its name is still ours
        if request.method == "POST":
            for file in osf.host.get(project, KEY):
                if file.newest.data != b"theirs":
                    osf.host.add_version(file, b"added")

    osf.fault = ask
    theirs = threading.Thread(target=lambda: somebody.puts(KEY, b"theirs"))
    theirs.start()
    receipt = open_osf().upload(make_assembly(), "X")
    theirs.join()
    osf.fault = lambda request: None
    for data in (b"added", b"theirs"):
        assert open_osf().fetch(KEY, sha1=hashlib.sha1(data).hexdigest()).read_bytes() == data
    xr.testing.assert_identical(open_osf().load("X", version_id=receipt.version_id), make_assembly())
    assert open_osf().identifiers() == ["X"]


def test_an_upload_that_finds_twins_is_written_all_the_same(open_osf, osf, project, tmp_path):
    store = open_osf()
    (tmp_path / "f").write_bytes(b"known")
    store.upload_file(tmp_path / "f")
    osf.host.twin(project, "f", b"its twin")
    (tmp_path / "f").write_bytes(b"ours")
    assert store.upload_file(tmp_path / "f").version_id == "2"  # knew only one of them
    for data in (b"known", b"its twin", b"ours"):
        assert open_osf().fetch("f", sha1=hashlib.sha1(data).hexdigest()).read_bytes() == data


# twin folders


def test_a_forked_child_begins_with_no_turn_taken():
    from storage_plugins_osf.turns import turn

    with turn("osf:abc12", "f"):
        child = os.fork()
        if not child:
            with turn("osf:abc12", "f"):
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_two_stores_of_one_process_share_their_turns(open_osf, osf, project):
    osf.host.window = 0.02
    stores, errors = [open_osf(folder="brain") for _ in range(6)], []

    def work(number):
        try:
            stores[number].upload(make_assembly(number), "X" if number % 2 else f"n{number}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [path for path in osf.host.twins if path.count("/") < 3] == []
    assert open_osf(folder="brain").identifiers() == ["X", "n0", "n2", "n4"]
    assert len(open_osf(folder="brain").versions("X")) == 3


def test_a_plain_mirror_into_a_fresh_project_makes_no_twins(open_osf, osf, project, tmp_path):
    osf.host.window = 0.02
    source = storage_plugins.open_store(config={"stores": {"lab": {"backend": "local", "root": str(tmp_path / "lab")}}})
    for number in range(8):
        for version in range(2):
            source.upload(make_assembly(10 * number + version), f"Lab.n{number}")
    assert storage_plugins.mirror(source, open_osf(folder="brain")).complete
    assert osf.host.twins == []
    cold = open_osf(folder="brain")
    assert cold.identifiers() == [f"Lab.n{number}" for number in range(8)]
    assert all(version.sha1 for version in cold.versions("Lab.n3"))


@pytest.mark.parametrize("path", ["brain", "brain/.storage-plugins", "brain/.storage-plugins/assy_@X"])
def test_twin_folders_are_read_as_one_and_merged_by_the_next_upload(open_osf, osf, project, path):
    first = open_osf(folder="brain").upload(make_assembly(1), "X")
    twin = osf.host.twin_folder(project, path)
    (original,) = [folder for folder in twin.parent.folders(twin.name) if folder is not twin]
    for child in list(original.children):  # what somebody put into the twin
        original.children.remove(child)
        child.parent = twin
        twin.children.append(child)
    cold = open_osf(folder="brain")
    assert cold.identifiers() == ["X"]
    assert cold.versions("X")[0].sha1 == first.sha1
    xr.testing.assert_identical(open_osf(folder="brain").load("X", sha1=first.sha1), make_assembly(1))
    store = open_osf(folder="brain")
    store.versions("X")
    second = store.upload(make_assembly(2), "X")
    store.upload(make_assembly(3), "Y")
    assert twin.parent.folders(twin.name) == [original]
    cold = open_osf(folder="brain")
    assert cold.identifiers() == ["X", "Y"]
    assert [version.sha1 for version in cold.versions("X")] == [second.sha1, first.sha1]


def test_files_of_one_name_in_twin_folders_are_all_kept(open_osf, osf, project):
    osf.host.put(project, "brain/f", b"here")
    twin = osf.host.twin_folder(project, "brain")
    other = osf.host.put(project, "elsewhere/f", b"there")
    other.parent.children.remove(other)
    other.parent = twin
    twin.children.append(other)
    open_osf(folder="brain").upload(make_assembly(), "X")
    for data in (b"here", b"there"):
        fetched = open_osf(folder="brain").fetch("f", sha256=hashlib.sha256(data).hexdigest())
        assert fetched.read_bytes() == data
    assert len(project.root.folders("brain")) == 1


def test_a_folder_that_loses_a_race_at_osf_itself_is_found(open_osf, osf, project):
    """A 409 of OSF, which has another shape than the files host's own."""
    real = osf.host.refuse_taken

    def late(parent, name, *, folder=False):
        if folder and name == "brain":
            osf.host.refuse_taken = real
            osf.host.make_folder(parent, name)

    osf.host.refuse_taken = late
    try:
        open_osf(folder="brain").upload(make_assembly(), "X")
    finally:
        osf.host.refuse_taken = real
    assert len(project.root.folders("brain")) == 1


def test_a_name_that_must_be_new_is_refused_though_the_answer_is_lost(open_osf, osf, project, tmp_path):
    (tmp_path / "f").write_bytes(b"mine" * (1 << 20))
    source, files = Source.of(tmp_path / "f"), open_osf().files
    assert files.newest("f") is None
    osf.behaviour.reset_refusals = True
    osf.fault = lambda request: (
        osf.host.put(project, "f", b"theirs") and None
        if request.query == {"kind": "file", "name": "f"} and not osf.host.get(project, "f")
        else None
    )
    with pytest.raises(storage_plugins.AlreadyExists):
        files.put("f", source, metadata={}, if_absent=True)
    sent = [request for request in osf.requests if request.query.get("name") == "f"]
    assert [request.query["kind"] for request in sent] == ["folder", "file"]


def test_a_taken_name_whose_refusal_is_lost_becomes_a_version(open_osf, osf, project, tmp_path):
    (tmp_path / "f").write_bytes(b"mine" * (1 << 20))
    osf.behaviour.reset_refusals = True
    osf.fault = lambda request: (
        osf.host.put(project, "f", b"theirs") and None
        if request.query == {"kind": "file", "name": "f"} and not osf.host.get(project, "f")
        else None
    )
    assert open_osf().upload_file(tmp_path / "f").version_id == "2"


def test_a_reader_whose_refusal_is_lost_is_told_that_they_cannot_upload(open_osf, osf, project, tmp_path):
    osf.host.tokens["reader"] = "a reader"
    project.roles["a reader"] = "read"
    osf.host.put(project, "f", b"theirs")
    (tmp_path / "f").write_bytes(b"mine" * (1 << 20))
    osf.host.put(project, ".storage-plugins/f/x", b"")
    osf.behaviour.reset_refusals = True
    with pytest.raises(storage_plugins.AccessDenied):
        open_osf(token="reader").upload_file(tmp_path / "f")
    assert sum(request.method == "PUT" for request in osf.requests) <= 2
