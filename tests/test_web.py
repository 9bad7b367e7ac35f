"""Links: one file behind a web address, loaded and verified."""

import base64
import contextlib
import hashlib
import http.server
import pickle
import shutil
import ssl
import subprocess
import threading

import pytest
import xarray as xr
from conftest import make_assembly
from proxy import Answer, Proxy

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AssemblyNotFound,
    ConfigError,
    IntegrityError,
    InvalidPin,
    NotSupported,
    StorageError,
    StoreUnavailable,
)


@pytest.fixture
def link(open_lab, proxy: Proxy) -> str:
    store = open_lab(endpoint_url=proxy.url)
    store.upload(make_assembly(), "X")
    link = store.share("X")
    proxy.requests.clear()
    proxy.headers.clear()
    return link


def test_a_link_is_asked_for_once_and_then_comes_from_the_cache(link, proxy, new_cache):
    new_cache()
    for _ in range(2):
        xr.testing.assert_identical(storage_plugins.load(link), make_assembly())
    assert [request.split()[0] for request in proxy.requests] == ["GET"]
    assert "Authorization" not in proxy.headers[0]


def test_a_link_that_breaks_is_taken_up_where_it_broke(link, proxy, new_cache, monkeypatch):
    new_cache()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    left = [5000]
    proxy.change = lambda method, path, body: body[: left.pop()] if left else body
    xr.testing.assert_identical(storage_plugins.load(link), make_assembly())
    assert proxy.headers[1]["Range"] == "bytes=5000-"
    assert proxy.headers[1]["If-Match"]


def test_lazily_too(link, new_cache):
    pytest.importorskip("dask")
    new_cache()
    xr.testing.assert_identical(storage_plugins.load(link, chunks={}).compute(), make_assembly())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((403, "AccessDenied"), AccessDenied),
        ((404, "NoSuchKey"), AssemblyNotFound),
        ((429, "SlowDown"), storage_plugins.RateLimited),
        ((503, "Busy"), StoreUnavailable),
    ],
)
def test_refusals_are_typed_and_do_not_show_what_opens_the_link(link, proxy, new_cache, monkeypatch, answer, error):
    new_cache()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    proxy.refuse = lambda method, path: answer
    with pytest.raises(error) as caught:
        storage_plugins.load(link)
    assert "X-Amz" not in str(caught.value)


def test_another_file_than_the_link_promises_is_refused(link, proxy, new_cache):
    new_cache()
    proxy.change = lambda method, path, body: bytes(len(body))
    with pytest.raises(IntegrityError):
        storage_plugins.load(link)


def test_a_dead_host(new_cache, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        storage_plugins.load("http://127.0.0.1:9/assy_X.nc#sha256=" + "0" * 64)


@pytest.mark.parametrize("address", ["https:///x", "https://user:secret@host/x"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InvalidPin):
        storage_plugins.load(address + "#sha256=" + "0" * 64)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/x", "https:///x", "https://user:secret@host/x"])
def test_only_web_addresses_are_taken_and_a_refused_one_is_not_shown(url):
    config = {"default": "link", "stores": {"link": {"backend": "web", "url": url}}}
    with pytest.raises(ConfigError, match="must be an http") as caught:
        storage_plugins.open_store(config=config)
    assert url not in str(caught.value)


def test_a_link_is_shown_and_pickled_without_what_opens_it(link):
    config = {"default": "link", "stores": {"link": {"backend": "web", "url": link.partition("#")[0]}}}
    store = storage_plugins.open_store(config=config)
    shown = repr(store) + store.address + repr(store.settings) + pickle.dumps(store).decode("latin-1")
    assert "X-Amz" not in shown
    with pytest.raises(TypeError, match="a link is a secret"):
        pickle.dumps(store.files)
    with pytest.raises(NotSupported):
        store.upload(make_assembly(), "X")
    with pytest.raises(NotSupported):
        store.identifiers()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve answers over TLS, under a certificate that this process trusts: ``answers`` maps paths to them."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl here")
    names = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-subj", "/CN=localhost"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*make, "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    answers: dict[str, Answer] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers[self.path.partition("?")[0]]
            self.send_response_only(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    yield f"https://localhost:{server.server_address[1]}", answers
    server.shutdown()
    server.server_close()


def linked(url: str):
    config = {"default": "link", "stores": {"link": {"backend": "web", "url": url}}}
    return storage_plugins.open_store(config=config).files


def test_a_redirect_stays_with_https_and_follows_nothing_else(served, proxy):
    url, answers = served
    answers["/there"] = Answer(200, {}, b"data")
    answers["/good"] = Answer(302, {"Location": f"{url}/there"}, b"")
    with linked(f"{url}/good").read("f") as content:
        assert b"".join(content.blocks) == b"data"
    for target in (f"{proxy.url}/X?secret", "ftp://host/X"):
        answers["/bad"] = Answer(302, {"Location": target}, b"")
        with pytest.raises(StorageError, match=r"redirects to .*not encrypted") as caught:
            linked(f"{url}/bad?X-Amz-Signature=SECRET").read("f")
        assert "secret" not in str(caught.value).lower()
    assert proxy.requests == []


def read(url: str, **wanted):
    """Read a link; return the bytes and what came with them."""
    with linked(url).read("f", **wanted) as content:
        return b"".join(content.blocks), content


def test_any_part_of_a_linked_file_can_be_read(link, new_cache):
    data, content = read(link.partition("#")[0])
    for start, stop in [(0, 1), (5, 10), (7, None), (0, len(data))]:
        got, part = read(link.partition("#")[0], start=start, stop=stop)
        assert got == data[start:stop]
        assert (part.version.size, part.version.etag, part.whole) == (len(data), content.version.etag, False)
    assert content.version.etag
    assert content.private


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (3, None), (3, 5), (9, 10)])
def test_a_part_of_a_file_from_a_server_that_ignores_ranges_is_the_right_one(served, start, stop):
    url, answers = served
    answers["/f"] = Answer(200, {}, b"0123456789")
    got, content = read(f"{url}/f", start=start, stop=stop)
    assert got == b"0123456789"[start:stop]
    assert (content.version.size, content.whole) == (10, True)


def test_another_range_or_file_than_was_asked_for_is_an_error(served):
    url, answers = served
    answers["/f"] = Answer(206, {"Content-Range": "bytes 3-9/10", "ETag": '"now"'}, b"3456789")
    with pytest.raises(StoreUnavailable, match="asked for bytes from 2"):
        read(f"{url}/f", start=2)
    assert read(f"{url}/f", start=3, if_match='"now"')[0] == b"3456789"
    with pytest.raises(IntegrityError, match="was replaced"):
        read(f"{url}/f", start=3, if_match='"before"')


def test_a_server_that_asks_for_a_pause_is_heard(served):
    url, answers = served
    answers["/f"] = Answer(429, {"Retry-After": "7"}, b"")
    with pytest.raises(storage_plugins.RateLimited) as caught:
        read(f"{url}/f")
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("status", [202, 204])
def test_an_answer_that_is_no_file_is_an_error(served, status):
    url, answers = served
    answers["/f"] = Answer(status, {}, b"")
    with pytest.raises(StoreUnavailable, match="no file"):
        linked(f"{url}/f").read("f")


def test_hashes_that_the_host_names_are_given_to_the_core(served):
    url, answers = served
    md5, sha256 = hashlib.md5(b"data"), hashlib.sha256(b"data")
    plain, strong = (base64.b64encode(each.digest()).decode() for each in (md5, sha256))
    etag = {"ETag": f'"{md5.hexdigest()}"', "x-amz-request-id": "1"}
    for headers, expected in (
        ({"Content-MD5": plain}, (md5.hexdigest(), None)),
        ({"Digest": f"md5={plain},sha-256={strong}"}, (md5.hexdigest(), sha256.hexdigest())),
        ({"Repr-Digest": f"sha-256=:{strong}:"}, (None, sha256.hexdigest())),
        (etag, (md5.hexdigest(), None)),
        ({**etag, "x-amz-server-side-encryption": "aws:kms"}, (None, None)),
        ({"x-amz-meta-sha256": sha256.hexdigest()}, (None, sha256.hexdigest())),
        ({"Content-MD5": "nonsense", "ETag": '"abc"'}, (None, None)),
    ):
        answers["/f"] = Answer(200, headers, b"data")
        with linked(f"{url}/f").read("f") as content:
            assert (content.version.md5, content.version.sha256) == expected


def test_a_link_without_a_hash_warns_that_nothing_was_verified(link, new_cache, caplog):
    new_cache()
    storage_plugins.load(link)
    assert "not verified" not in caplog.text
    storage_plugins.load(link.partition("#")[0])
    assert "was not verified" in caplog.text
    assert "X-Amz" not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("storage"))


@pytest.mark.parametrize("header", ["content-length", "content-range", "retry-after"])
def test_a_number_of_thousands_of_digits_is_a_typed_error_or_passed_over(link, proxy, new_cache, monkeypatch, header):
    new_cache()
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def spoil(method: str, path: str, answer: Answer) -> None:
        answer.status = {"content-range": 206, "retry-after": 429}.get(header, 200)
        answer.headers[header] = "bytes 0-1/" * (header == "content-range") + "9" * 5000

    proxy.spoil = spoil
    proxy.send = with_headers_as_they_are
    with contextlib.suppress(StorageError):
        storage_plugins.load(link.partition("#")[0])


def with_headers_as_they_are(handler: http.server.BaseHTTPRequestHandler, answer: Answer, sent: bytes) -> None:
    handler.send_response_only(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(sent)
    handler.close_connection = True
