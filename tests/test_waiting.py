"""The system may give ctrl-C's signal to any thread: whoever waits for other threads notices it all the same."""

import concurrent.futures
import os
import signal
import threading
import time

import pytest
import xarray as xr
from memory_files import MemoryFiles

from storage_plugins._store import many
from storage_plugins._store.parts import stop_if_asked
from storage_plugins._waiting import each

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGINT to a thread")
unnoticed = []


def interrupted_here(goes_on) -> None:
    """Take the signal in this thread, and go on until ``goes_on`` raises."""
    time.sleep(0.3)  # until the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        goes_on()
        time.sleep(0.01)
    unnoticed.append(threading.current_thread())


class Interrupted(MemoryFiles):
    """Files in memory; the signal arrives while one is uploaded."""

    def put(self, key, source, *, metadata, if_absent):
        interrupted_here(lambda: source.progress(0))


@pytest.fixture(autouse=True)
def noticed():
    unnoticed.clear()
    yield
    assert not unnoticed


def test_one_upload(memory_store):
    with pytest.raises(KeyboardInterrupt):
        memory_store(Interrupted()).upload(xr.DataArray([1.0], dims="neuroid"), "Lab2026.rates")


def test_many_at_once():
    with pytest.raises(KeyboardInterrupt):
        many.run(range(4), lambda item: interrupted_here(stop_if_asked), at_once=4)


def test_each_of_a_pool():
    stop, begun = threading.Event(), []

    def goes_on():
        if stop.is_set():
            raise InterruptedError

    def work(item):
        begun.append(item)
        if item == 1:
            interrupted_here(goes_on)
        return item

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        results = each(pool, work, range(9))
        assert next(results) == 0
        with pytest.raises(KeyboardInterrupt):
            next(results)
        stop.set()
    assert begun == [0, 1]
