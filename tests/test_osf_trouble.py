"""What goes wrong with OSF: cut and reset connections, lost answers, refusals in every shape, races, leaks."""

import hashlib
import io
import logging
import pickle
import random
import time
import traceback

import pytest
import requests
import xarray as xr
from conftest import OSF_TOKEN, make_assembly
from osf_answers import HTML
from osf_server import Fault

import storage_plugins
from storage_plugins import (
    AccessDenied,
    IntegrityError,
    QuotaExceeded,
    RateLimited,
    StorageError,
    StoreUnavailable,
)

pytestmark = pytest.mark.slow

KEY = "assy_X.nc"


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """How long the code would have waited; nobody waits."""
    waits = []
    real = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: waits.append(seconds) if seconds > 0.02 else real(seconds))
    return waits


def once(osf, matches, fault):
    """Let the next request that ``matches`` go wrong, and return what tells whether it did."""
    left = [fault]

    def ask(request):
        return left.pop() if left and matches(request) else None

    osf.fault = ask
    return left


def is_upload(request):
    return request.method == "PUT" and request.query.get("kind") == "file" and request.query.get("name", KEY) == KEY


def is_download(request):
    return request.origin == "files" and "version" in request.query


UPLOAD_FAULTS = {
    "reset": Fault(reset=True),
    "cut body": Fault(cut_request=3000),
    "lost answer": Fault(lose_answer=True),
    "cut answer": Fault(cut_answer=40),
    "too long": Fault(length=50),
    "too short": Fault(length=-50),
    "500": Fault(answer=(500, {}, b"")),
    "502": Fault(answer=(502, {"Content-Type": "text/html"}, b"<html>Bad gateway</html>")),
    "503": Fault(answer=(503, {}, b"{}")),
    "504": Fault(answer=(504, {}, b"")),
    "429": Fault(answer=(429, {"Retry-After": "7"}, b'{"error": "rate-limiting active", "headers": {}}')),
    "html": Fault(answer=HTML),
    "nonsense": Fault(answer=(200, {}, b'{"data": {"attributes": []}}')),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UPLOAD_FAULTS)
@pytest.mark.parametrize("which", ["first", "second", "back"])
def test_what_became_of_an_upload_is_looked_up_not_guessed(open_osf, osf, project, name, which):
    store = open_osf()
    seeds = {"first": [1], "second": [1, 2], "back": [1, 2, 1]}[which]
    for seed in seeds[:-1]:
        store.upload(make_assembly(seed), "X")
    left = once(osf, is_upload, UPLOAD_FAULTS[name])
    receipt = store.upload(make_assembly(seeds[-1]), "X")
    assert left == []
    (file,) = osf.host.get(project, KEY)
    assert len(file.versions) == len(seeds)
    assert (file.newest.hashes["sha256"], str(file.newest.number)) == (receipt.sha256, receipt.version_id)
    xr.testing.assert_identical(open_osf().load(receipt), make_assembly(seeds[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in UPLOAD_FAULTS if name not in ("too long", "lost answer")])
def test_trouble_with_any_request_of_an_upload_is_overcome(open_osf, osf, project, name):
    """Each request of a first upload in turn goes wrong once."""
    place = 0
    while True:
        osf.requests.clear()
        left = once(osf, lambda request, place=place: len(osf.requests) == place + 1, UPLOAD_FAULTS[name])
        store = open_osf(folder=f"f{place}")
        receipt = store.upload(make_assembly(), "X")
        (file,) = osf.host.get(project, f"f{place}/{KEY}")
        assert [(v.number, v.hashes["sha256"]) for v in file.versions] == [(1, receipt.sha256)]
        assert open_osf(folder=f"f{place}").versions("X")[0].sha1 == receipt.sha1
        if left:
            break
        place += 1
    assert place >= 8


def test_a_lost_answer_is_told_from_an_earlier_version_with_the_same_bytes(open_osf, osf, project):
    store = open_osf()
    for seed in (1, 2):
        store.upload(make_assembly(seed), "X")
    once(osf, is_upload, Fault(reset=True))  # nothing arrived; version 1 has these bytes and is not the answer
    assert store.upload(make_assembly(1), "X").version_id == "3"


def test_before_anything_was_sent_no_earlier_version_is_the_answer(open_osf, osf, project, tmp_path):
    for data in (b"1", b"2"):
        osf.host.put(project, "f", data)
    (tmp_path / "f").write_bytes(b"1")
    left = once(osf, lambda request: request.query.get("name", "").endswith(".json"), Fault(reset=True))
    assert open_osf().upload_file(tmp_path / "f").version_id == "3"
    assert left == []


def test_a_lost_answer_is_found_below_what_somebody_else_uploaded_since(open_osf, osf, project):
    store = open_osf()
    store.upload(make_assembly(1), "X")
    osf.requests.clear()
    left = [Fault(lose_answer=True)]

    def ask(request):
        if is_upload(request) and left:
            return left.pop()
        if not left and len(osf.host.get(project, KEY)[0].versions) == 2:
            osf.host.put(project, KEY, b"theirs")  # before anything else is asked
        return None

    osf.fault = ask
    assert store.upload(make_assembly(2), "X").version_id == "2"
    assert len(osf.host.get(project, KEY)[0].versions) == 3
    assert len([request for request in osf.requests if is_upload(request)]) == 1  # nothing was sent again


def test_a_file_deleted_while_it_is_uploaded_is_made_anew(open_osf, osf, project):
    store = open_osf()
    store.upload(make_assembly(1), "X")
    left = [osf.host.get(project, KEY)[0]]
    osf.fault = lambda request: osf.host.delete(left.pop()) if left and is_upload(request) else None
    receipt = store.upload(make_assembly(2), "X")
    (file,) = osf.host.get(project, KEY)
    assert [version.hashes["sha256"] for version in file.versions] == [receipt.sha256]
    assert receipt.version_id == "1"


def test_an_upload_that_nobody_answers_ends_with_a_typed_error_and_no_receipt(open_osf, osf):
    store = open_osf()
    osf.fault = lambda request: Fault(reset=True) if request.method == "PUT" else None
    with pytest.raises(StoreUnavailable):
        store.upload(make_assembly(), "X")
    assert store.receipts.of(KEY) == []
    assert sum(request.method == "PUT" for request in osf.requests) <= 4


@pytest.mark.parametrize("matches", [is_upload, lambda request: request.method == "PUT" and not is_upload(request)])
def test_an_upload_whose_answer_never_ends_does_not_block_the_next_one_to_the_name(open_osf, osf, matches):
    store = open_osf(timeout=2.5)
    left = once(osf, matches, Fault(trickle=True))
    with pytest.raises(StoreUnavailable, match="no answer within"):
        store.upload(make_assembly(1), "X")
    assert left == []
    for again in (store, open_osf(timeout=2.5)):
        assert again.upload(make_assembly(2), "X").version_id
    assert xr.testing.assert_identical(open_osf().load("X"), make_assembly(2)) is None


def test_a_meanwhile_taken_name_becomes_its_next_version(open_osf, osf, project):
    for early in (False, True):
        osf.behaviour.early_refusals = early
        store = open_osf()
        looked = store.files.newest
        name = f"X{early}"

        def somebody_else_is_first(key, looked=looked):
            answer = looked(key)
            osf.host.put(project, key, b"theirs")
            return answer

        store.files.newest = somebody_else_is_first
        assert store.upload(make_assembly(), name).version_id == "2"
        del store.files.newest
        assert open_osf().versions(name)[0].version_id == "2"


@pytest.mark.parametrize("early", [False, True])
def test_a_name_taken_at_the_last_moment_is_updated_by_what_the_refusal_says(open_osf, osf, project, early):
    osf.behaviour.early_refusals = early
    others = [b"theirs"]
    osf.fault = lambda request: (
        osf.host.put(project, KEY, others.pop()) and None if others and is_upload(request) else None
    )
    assert open_osf().upload(make_assembly(), "X").version_id == "2"
    sent = [number for number, request in enumerate(osf.requests) if is_upload(request)]
    assert sent == [sent[0], sent[0] + 2]  # between them, a look for records of whoever was first


def test_a_record_that_is_there_already_is_left_as_it_is(open_osf, osf, project):
    left = once(osf, lambda request: request.query.get("name", "").endswith(".json"), Fault(lose_answer=True))
    receipt = open_osf().upload(make_assembly(), "X")
    assert left == []
    (record,) = project.root.folder(".storage-plugins").folder("assy_@X").children
    assert len(record.versions) == 1
    assert open_osf().versions("X")[0].sha1 == receipt.sha1


@pytest.mark.parametrize(("name", "path"), [(KEY, "brain"), (".json", "brain/.storage-plugins/assy_@X")])
def test_a_folder_deleted_while_a_file_is_put_into_it_is_made_anew(open_osf, osf, project, name, path):
    deleted = []

    def ask(request):
        if request.query.get("name", "").endswith(name) and not deleted:
            folder = project.root
            for part in path.split("/"):
                folder = folder.folder(part)
            deleted.append(folder)
            osf.host.delete(folder)

    osf.fault = ask
    store = open_osf(folder="brain")
    receipt = store.upload(make_assembly(), "X")
    assert deleted
    assert receipt.version_id == "1"
    xr.testing.assert_identical(open_osf(folder="brain").load(receipt), make_assembly())


def test_a_folder_made_by_somebody_else_meanwhile_is_used(open_osf, osf, project):
    def somebody_else_is_first(request):
        if request.query.get("kind") == "folder" and request.query["name"] == "brain":
            osf.host.put(project, "brain/other", b"x")

    osf.fault = somebody_else_is_first
    open_osf(folder="brain").upload(make_assembly(), "X")
    assert osf.host.get(project, f"brain/{KEY}")
    assert [child.name for child in project.root.children] == ["brain"]


# loading


@pytest.mark.parametrize(
    "fault",
    [
        Fault(reset=True),
        Fault(cut_answer=1),
        Fault(cut_answer=3000),
        Fault(length=500),
        Fault(length=-500),
        Fault(answer=(500, {}, b"")),
        Fault(answer=(503, {}, b"<html>")),
        Fault(answer=HTML),
        Fault(answer=(400, {}, b"<Error><Code>ExpiredToken</Code></Error>")),
    ],
)
@pytest.mark.parametrize("origin", ["storage", "files"])
def test_a_download_is_taken_up_or_begun_again(open_osf, osf, project, origin, fault):
    if origin == "files" and fault.answer is not None and fault.answer[0] == 400:
        pytest.skip("a 400 of OSF itself means that there is no such version")
    receipt = open_osf().upload(make_assembly(), "X")
    osf.behaviour.redirect = origin == "storage"
    left = once(
        osf,
        lambda request: (
            request.origin == origin
            and request.path.count("/") >= 3
            and request.method == "GET"
            and ("version" in request.query or origin == "storage")
        ),
        fault,
    )
    xr.testing.assert_identical(open_osf().load(receipt), make_assembly())
    assert left == []


def test_a_resumed_download_asks_for_the_rest_only(open_osf, osf, project):
    osf.host.put(project, "f", bytes(5 << 20))
    once(osf, lambda request: request.origin == "storage", Fault(cut_answer=3 << 20))
    open_osf().fetch("f")
    assert osf.requests[-1].headers["range"] == f"bytes={3 << 20}-{(5 << 20) - 1}"


@pytest.mark.parametrize("length", [500, -500])
@pytest.mark.parametrize("redirect", [True, False])
def test_a_length_that_was_wrong_once_is_not_believed_for_ever(open_osf, osf, project, length, redirect):
    osf.behaviour.redirect = redirect
    for number in range(2):
        osf.host.put(project, "f", bytes([number]) * 5000)
    store = open_osf()
    once(
        osf,
        lambda request: request.origin == "storage" or (is_download(request) and not redirect),
        Fault(length=length),
    )
    for _ in range(3):
        try:
            fetched = store.fetch("f", version_id="1", sha1=hashlib.sha1(bytes(5000)).hexdigest())
        except (IntegrityError, StoreUnavailable):
            continue
        break
    assert fetched.read_bytes() == bytes(5000)


@pytest.mark.parametrize("length", [50, -50])
def test_a_length_that_an_answer_claimed_is_not_told_as_a_versions_size(open_osf, osf, project, length):
    for number in range(2):
        osf.host.put(project, "f", bytes([number]) * 5000)
    files = open_osf().files
    left = once(osf, lambda request: request.origin == "storage", Fault(length=length))
    with files.read("f", "1"):
        assert left == []
    assert {version.size for version in files.versions("f")} <= {5000, None}  # OSF does not tell it


@pytest.mark.parametrize("length", [500, -500])
@pytest.mark.parametrize("version_id", ["1", "2", "3"])
def test_a_version_asked_for_by_its_id_alone_is_not_given_out_in_a_wrong_length(
    open_osf, osf, project, length, version_id
):
    for number in (1, 2, 3):
        osf.host.put(project, "f", bytes([number]) * 5000)
    osf.fault = lambda request: Fault(length=length) if request.origin == "storage" else None
    with pytest.raises((IntegrityError, StoreUnavailable)):
        open_osf().fetch("f", version_id=version_id)
    osf.fault = lambda request: None
    assert open_osf().fetch("f", version_id=version_id).read_bytes() == bytes([int(version_id)]) * 5000


@pytest.mark.parametrize("status", [200, 201, 202, 204, 302, 304])
@pytest.mark.parametrize("what", ["meta", "revisions"])
def test_a_success_without_content_is_repeated_not_taken_for_a_refusal(open_osf, osf, project, status, what):
    osf.host.put(project, KEY, b"data")
    files = open_osf().files
    list(files.keys())
    osf.fault = lambda request: Fault(answer=(status, {}, b"")) if what in request.query else None
    with pytest.raises(StoreUnavailable):
        list(files.versions(KEY)) if what == "revisions" else files.newest(KEY)


@pytest.mark.parametrize("status", [200, 204])
def test_a_version_asked_for_by_its_id_is_not_taken_for_empty_while_its_hash_cannot_be_looked_up(
    open_osf, osf, project, status
):
    osf.host.put(project, "f", b"data")
    empty = Fault(answer=(200, {}, b""))

    def ask(request):
        return (
            Fault(answer=(status, {}, b"")) if "revisions" in request.query else empty if is_download(request) else None
        )

    osf.fault = ask
    with pytest.raises(StoreUnavailable):
        open_osf().fetch("f", version_id="1")


def test_a_range_that_ends_too_early_is_not_taken_for_whole(open_osf, osf, project):
    osf.host.put(project, "f", bytes(5000))
    files = open_osf().files
    osf.fault = lambda request: Fault(length=-5) if request.origin == "storage" else None
    with files.read("f", start=100, stop=200) as content, pytest.raises(StoreUnavailable, match="5 bytes too early"):
        list(content.blocks)


def test_a_link_that_expired_is_asked_for_again(open_osf, osf):
    receipt = open_osf().upload(make_assembly(), "X")
    osf.behaviour.link_lifetime = -1.0

    def mend(request):
        if sum(request.origin == "storage" for request in osf.requests) > 1:
            osf.behaviour.link_lifetime = 60.0

    osf.fault = mend
    xr.testing.assert_identical(open_osf().load(receipt), make_assembly())
    osf.fault = lambda request: None
    osf.behaviour.link_lifetime = -1.0
    with pytest.raises(StoreUnavailable, match="storage host answered 400"):
        open_osf().load(receipt)


def test_a_page_to_sign_in_is_never_taken_for_data(open_osf, osf, project):
    osf.host.put(project, "f", HTML[2])
    assert open_osf().fetch("f").read_bytes() == HTML[2]  # a file that is a web page is one
    store = open_osf()
    osf.fault = lambda request: Fault(answer=HTML)
    for call in (
        lambda: store.fetch("f", newest=True),
        lambda: store.files.versions("f"),
        lambda: store.file_names(),
        lambda: store.upload(make_assembly(), "X"),
        lambda: open_osf().files.newest("f"),
    ):
        with pytest.raises(StoreUnavailable):
            call()
    osf.fault = lambda request: Fault(answer=HTML) if is_download(request) else None
    with pytest.raises(StoreUnavailable, match="a web page instead of the file"):
        open_osf().fetch("f", version_id="1")


def test_bytes_changed_on_the_way_are_never_given_out(open_osf, osf, project, tmp_path):
    store = open_osf()
    receipts = [store.upload(make_assembly(seed), "X") for seed in (1, 2)]
    (file,) = osf.host.get(project, KEY)
    data = file.versions[1].data
    damaged = data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]
    answer = (200, {"Content-Disposition": "attachment"}, damaged)
    osf.fault = lambda request: Fault(answer=answer) if is_download(request) else None
    for pin in ({"sha1": receipts[1].sha1}, {"version_id": "2"}, {"newest": True}, {}):
        with pytest.raises(IntegrityError):
            open_osf().load("X", **pin)


# refusals

V2_429 = (429, {}, b'{"errors": [{"detail": "Request was throttled. Expected available in 5 seconds."}]}')
WB_429 = (429, {"Retry-After": "5"}, b'{"error": "API rate-limiting active due to too many requests", "headers": {}}')


@pytest.mark.parametrize("answer", [V2_429, WB_429])
def test_being_asked_to_slow_down_is_heeded(open_osf, osf, slept, answer):
    receipt = open_osf().upload(make_assembly(), "X")
    for origin in ("api", "files", "storage"):
        slept.clear()
        once(osf, lambda request, origin=origin: request.origin == origin, Fault(answer=answer))
        xr.testing.assert_identical(open_osf().load(receipt), make_assembly())
        assert slept == [5.0]
    once(osf, is_upload, Fault(answer=answer))
    store = open_osf()
    slept.clear()
    assert store.upload(make_assembly(2), "X").version_id == "2"
    assert slept == [5.0]


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("3000", 3000, 3000),
        (lambda: f"{time.time() + 500:.0f}", 490, 510),
        (lambda: time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 500)), 490, 510),
    ],
)
def test_a_long_wait_is_told_instead(open_osf, osf, slept, value, low, high):
    store = open_osf()
    headers = {"Retry-After": value if isinstance(value, str) else value()}
    osf.fault = lambda request: Fault(answer=(429, headers, b"{}"))
    for call in (lambda: store.load("X", newest=True), lambda: store.upload(make_assembly(), "X")):
        with pytest.raises(RateLimited) as caught:
            call()
        assert low <= caught.value.retry_after <= high
    assert slept == []


def test_a_full_project_is_told(open_osf, osf, project):
    store = open_osf()
    project.count_at_once = False
    store.upload(make_assembly(1), "X")  # the total lags behind
    project.quota = 5
    assert store.upload(make_assembly(2), "X").version_id == "2"
    project.counted = 10**6
    with pytest.raises(QuotaExceeded, match="507 The quota on this osfstorage project has been exceeded"):
        store.upload(make_assembly(3), "X")
    assert store.receipts.of(KEY)[0].version_id == "2"


def test_a_body_too_large_for_the_files_host_is_told(open_osf, osf, tmp_path):
    store = open_osf()
    (tmp_path / "f").write_bytes(bytes(200_000))
    osf.behaviour.max_body = 100_000
    with pytest.raises((QuotaExceeded, StoreUnavailable)):
        store.upload_file(tmp_path / "f")
    assert store.file_names() == []


def test_refusals_are_not_repeated(open_osf, osf, slept):
    store = open_osf()
    osf.fault = lambda request: Fault(answer=(403, {}, b'{"code": 403, "message_short": "Forbidden"}'))
    with pytest.raises(AccessDenied, match="403 Forbidden"):
        store.upload(make_assembly(), "X")
    assert {request.method for request in osf.requests} == {"GET"}
    assert slept == []


@pytest.mark.parametrize("status", [300, 402, 404, 405, 406, 409, 410, 411, 413, 418, 422, 451, 501, 507, 599])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"errors": ["x"]}', b'{"message": 5}', b"\xff" * 9])
def test_any_other_answer_is_a_typed_error_without_the_pages_own_text(open_osf, osf, status, body):
    osf.fault = lambda request: Fault(answer=(status, {}, body))
    for call in (lambda store: store.fetch("f"), lambda store: store.files.newest("f")):
        with pytest.raises(StorageError) as caught:
            call(open_osf())
        assert "<html>" not in str(caught.value)


def test_a_dead_api_is_unavailable(open_osf):
    store = open_osf(api_url="http://127.0.0.1:9/v2/")
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        store.load("X", newest=True)
    assert isinstance(caught.value.__cause__, requests.RequestException)


def test_the_stand_in_refuses_a_body_of_unknown_length(osf, project):
    url = f"{osf.files_url}/v1/resources/{project.id}/providers/osfstorage/?kind=file&name=f"
    headers = {"Authorization": f"Bearer {OSF_TOKEN}"}
    answer = requests.put(url, data=iter([b"x"]), headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (411, 411)


# secrets


@pytest.fixture
def everything_logged():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def test_no_secret_is_shown_and_the_token_goes_to_osf_only(open_osf, osf, project, home, everything_logged):
    link = "l1nk-k3y-t0-y0urself"
    host = osf.api_url.split("/")[2].split(":")[0]
    (home / ".netrc").write_text(
        f"machine {host} login me password netrc-s3cret\ndefault login me password netrc-s3cret\n"
    )
    (home / ".netrc").chmod(0o600)
    store = open_osf(view_only=link)
    receipt = store.upload(make_assembly(), "X")
    loaded = open_osf(view_only=link)
    loaded.load("X")
    shown = [repr(store), repr(store.files), repr(store.settings), repr(receipt), str(vars(store)), receipt.uri]
    for fault in (Fault(reset=True), Fault(answer=(403, {}, b"{}")), Fault(answer=HTML), Fault(cut_answer=5)):
        osf.fault = lambda request, fault=fault: fault
        for call in (lambda: store.load("X", newest=True), lambda: store.upload(make_assembly(1), "X")):
            with pytest.raises(StorageError) as caught:
                call()
            shown += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    osf.fault = lambda request: None
    for thing in (store, store.settings, store.files):
        shown.append(pickle.dumps(thing).decode("latin-1"))
    logged = everything_logged.getvalue()
    assert "view_only=…" in logged
    assert "Signature=…" in logged
    for text in (*shown, logged):
        assert not any(secret in text for secret in (OSF_TOKEN, link, "netrc-s3cret"))
    to_storage = [request for request in osf.requests if request.origin == "storage"]
    assert to_storage
    for request in osf.requests:
        authorization = request.headers.get("authorization")
        assert authorization == (None if request.origin == "storage" else f"Bearer {OSF_TOKEN}")
        assert link not in str(request.headers)
    for request in to_storage:
        assert "view_only" not in request.query
        assert "content-type" not in request.headers


def test_a_key_that_travels_in_an_address_is_in_no_error_nor_in_what_it_came_from(open_osf):
    link = "l1nk-k3y-t0-y0urself"
    store = open_osf(token=None, view_only=link, api_url="http://127.0.0.1:9/v2/")
    with pytest.raises(StoreUnavailable) as caught:
        store.files.newest("f")
    assert "view_only=…" in str(caught.value)  # what is shown is what would show it
    error, chain = caught.value, []
    while error is not None:
        chain += [str(error), repr(error)]
        error = error.__cause__
    assert len(chain) == 4
    assert link not in "".join([*chain, *traceback.format_exception(caught.value)])


def test_netrc_is_not_read_without_a_token_either(open_osf, osf, project, home):
    project.public = True
    (home / ".netrc").write_text("default login me password netrc-s3cret\n")
    (home / ".netrc").chmod(0o600)
    open_osf(token=None).file_names()
    assert all("authorization" not in request.headers for request in osf.requests)


def test_a_host_that_an_answer_of_the_files_host_names_learns_no_token(open_osf, osf, project):
    receipt = open_osf().upload(make_assembly(), "X")
    elsewhere = f"{osf.storage_url}/v1/elsewhere/0"
    osf.fault = lambda request: Fault(answer=(302, {"Location": elsewhere}, b"")) if is_download(request) else None
    with pytest.raises(StorageError):
        open_osf().load(receipt)
    reached = [request for request in osf.requests if request.origin == "storage"]
    assert reached
    assert all("authorization" not in request.headers for request in reached)


def test_files_survive_a_pickle_and_a_store_reopens_with_its_variable(tmp_path, osf, project, monkeypatch):
    monkeypatch.setenv("OSF_TOKEN", OSF_TOKEN)
    settings = {"backend": "osf", "project": project.id, "token": "${OSF_TOKEN}", "api_url": osf.api_url}
    store = storage_plugins.open_store(config={"stores": {"lab": settings}})
    store.upload(make_assembly(), "X")
    pickled = pickle.dumps(store)
    assert OSF_TOKEN.encode() not in pickled
    assert pickle.loads(pickled).load("X", newest=True).identical(make_assembly())


# everything at once


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))])
def test_under_random_faults_nothing_false_comes_out(open_osf, osf, project, seed):
    """Whatever is answered is true: a receipt names its bytes, a load returns them, else a typed error."""
    chance = random.Random(seed)
    kinds = [*UPLOAD_FAULTS.values(), Fault(answer=V2_429), Fault(cut_answer=2000), Fault(cut_request=100)]
    osf.fault = lambda request: chance.choice(kinds) if chance.random() < 0.25 else None
    store, receipts = open_osf(), []
    for number in range(4):
        try:
            receipts.append((number, store.upload(make_assembly(number), "X")))
        except StorageError:
            continue
    for number, receipt in receipts:
        for pin in ({"sha1": receipt.sha1}, {"version_id": receipt.version_id}, {"sha256": receipt.sha256}):
            try:
                assert open_osf().load("X", **pin).identical(make_assembly(number))
            except StorageError:
                continue
    osf.fault = lambda request: None
    for number, receipt in receipts:
        assert open_osf().load("X", version_id=receipt.version_id).identical(make_assembly(number))
        assert open_osf().load("X", sha1=receipt.sha1).identical(make_assembly(number))
    assert len(osf.host.get(project, KEY)) <= 1
