"""Large downloads in several ranges at a time: when, in which order, and what happens when some of them break."""

import hashlib
import itertools
import random
import threading
import time

import pytest
from memory_files import MemoryFiles

from storage_plugins import Content, IntegrityError, StoreUnavailable
from storage_plugins._backend import arriving
from storage_plugins._backend.host import Host, Nowhere

DATA = random.Random(1).randbytes(32 << 20)
BLOCK = 128 << 10
SLOW = 40 << 20  # bytes a second of one connection


class Ranges(MemoryFiles):
    """Each connection is slow or fast; what was requested is noted."""

    rate: float | None = SLOW
    at_once = 12

    def __init__(self, data: bytes = DATA) -> None:
        super().__init__()
        self.add("a.bin", data)
        self.asked: list[tuple[int, int | None]] = []
        self.conditions: set[tuple[str | None, str | None]] = set()
        self.open = self.most_open = 0
        self.lock = threading.Lock()

    def reads_at_once(self) -> int:
        return self.at_once

    def read(self, key, version_id=None, *, start=0, stop=None, if_match=None) -> Content:
        if start:
            self.conditions.add((version_id, if_match))
        with self.lock:
            self.asked.append((start, stop))
        content = super().read(key, version_id, start=start, stop=stop, if_match=if_match)
        content.blocks = self.slowly(start, stop)
        return content

    def slowly(self, start: int, stop: int | None):
        data = memoryview(self.held["a.bin"][0][1])[start:stop]
        with self.lock:
            self.open += 1
            self.most_open = max(self.open, self.most_open)
        try:
            for begin in range(0, len(data), BLOCK):
                if self.rate:
                    time.sleep(BLOCK / self.rate)
                yield bytes(self.spoilt(start, begin, data[begin : begin + BLOCK]))
        finally:
            with self.lock:
                self.open -= 1

    def spoilt(self, start: int, begin: int, block: memoryview) -> memoryview:
        return block


class Kept:
    """Where a download goes; unlike a file, it can be looked at."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, block: memoryview) -> int:
        self.data += block
        return len(block)

    def seek(self, offset: int) -> None:
        pass

    def truncate(self, size: int) -> None:
        del self.data[size:]


def test_a_slow_connection_gets_company_and_every_byte_its_place():
    files, kept = Ranges(), Kept()
    got = Host(files, 5).download("a.bin", None, kept)
    assert got.digests.sha256 == hashlib.sha256(DATA).hexdigest()
    assert kept.data == DATA
    assert 1 < files.most_open <= 12
    assert files.asked[0] == (0, None)
    assert files.conditions == {("v1", "ev1")}


def test_ranges_do_not_overlap_and_the_plain_request_ends_where_they_begin():
    files = Ranges()
    Host(files, 5).download("a.bin", None, Nowhere())
    ranges = sorted(files.asked[1:])
    assert ranges[-1][1] in (len(DATA), None)
    assert all(stop == following for (_, stop), (following, _) in itertools.pairwise(ranges))


@pytest.mark.parametrize(("size", "at_once"), [(15 << 20, 12), (32 << 20, 1)], ids=["small", "a host without ranges"])
def test_one_request_does_for_a_small_file_and_for_a_host_without_ranges(size, at_once):
    files = Ranges(DATA[:size])
    files.rate, files.at_once = SLOW * 2, at_once
    Host(files, 5).download("a.bin", None, Nowhere())
    assert files.asked == [(0, None)]


def test_where_all_connections_share_one_slow_link_every_byte_arrives_too():
    class Shared(Ranges):
        def spoilt(self, start, begin, block):
            with self.lock:  # one block at a time
                time.sleep(BLOCK / SLOW)
            return block

    files, kept = Shared(), Kept()
    files.rate = None
    Host(files, 5).download("a.bin", None, kept)
    assert kept.data == DATA


class Breaks(Ranges):
    """The ranges that begin at ``where`` break once, in the middle."""

    def __init__(self, where=lambda start: True) -> None:
        super().__init__()
        self.where, self.broken = where, set()

    def spoilt(self, start, begin, block):
        if begin >= 1 << 20 and start not in self.broken and self.where(start):
            self.broken.add(start)
            raise StoreUnavailable("the connection broke")
        return block


def test_a_range_that_breaks_is_asked_for_again_alone():
    files, kept = Breaks(lambda start: start in (0, 12 << 20) or start > (20 << 20)), Kept()
    got = Host(files, 5).download("a.bin", None, kept)
    assert kept.data == DATA
    assert got.contradiction is None
    assert len(files.broken) > 1
    asked_twice = len(files.asked) - len(set(files.asked))
    assert asked_twice == 0  # what had arrived is not asked for again


def test_a_server_that_sends_little_before_each_break_is_not_asked_without_a_pause():
    class Dribbles(Ranges):
        def slowly(self, start, stop):
            yield DATA[start : start + 100]
            if start + 100 < 400:
                raise StoreUnavailable("the connection broke")

    files, begun = Dribbles(DATA[:400]), time.monotonic()
    Host(files, 5).download("a.bin", None, Nowhere())
    assert len(files.asked) == 4
    assert time.monotonic() - begun > 3 * 0.1


def test_a_range_of_other_bytes_is_found_by_the_hash():
    class Flips(Ranges):
        def spoilt(self, start, begin, block):
            if not start or begin:
                return block
            return memoryview(bytes([block[0] ^ 1]) + bytes(block[1:]))

    files = Flips()
    version, data = files.held["a.bin"][0]
    files.held["a.bin"] = [(type(version)(**{**vars(version), "sha256": hashlib.sha256(DATA).hexdigest()}), data)]
    try:
        contradiction = Host(files, 5).download("a.bin", None, Kept()).contradiction
    except IntegrityError:
        return  # the second time the ranges were others
    assert "sha256" in contradiction


def test_memory_is_bounded_where_the_first_range_is_the_slowest():
    class SlowHead(Ranges):
        far = 0

        def spoilt(self, start, begin, block):
            if not start:
                time.sleep(BLOCK / SLOW)
            self.far = max(self.far, start)
            return block

    data = DATA * 4
    files = SlowHead(data)
    files.rate = SLOW * 4
    written = 0

    def progress(done: int, total: int | None) -> None:
        nonlocal written
        assert files.far - done <= 64 << 20
        written = done

    Host(files, 5).download("a.bin", None, Nowhere(), progress=progress)
    assert written == len(data)


def test_downloads_at_the_same_time_share_a_budget_of_connections():
    files = Ranges()
    threads = [threading.Thread(target=lambda: Host(files, 20).download("a.bin", None, Nowhere())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.most_open <= 6 + 32
    assert arriving._Budget.free == arriving._MOST  # all were given back
