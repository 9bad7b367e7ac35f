"""Links: one file behind a web address, loaded and verified."""

import pickle

import pytest
import xarray as xr
from conftest import make_assembly
from proxy import Proxy

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AssemblyNotFound,
    ConfigError,
    IntegrityError,
    InvalidPin,
    NotSupported,
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
    with pytest.raises(NotSupported):
        store.upload(make_assembly(), "X")
    with pytest.raises(NotSupported):
        store.identifiers()
