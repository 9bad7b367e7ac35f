"""Tests of files in use by several threads and processes at once."""

from __future__ import annotations

import concurrent.futures
import functools
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from storage_plugins import AssemblyNotFound

from . import _children as children
from ._base import Kit
from ._hosts import Host
from ._lab import Lab, keep, outcome, read
from ._sources import Crash, CrashingSource

DATA = random.Random(11).randbytes(5000)  # noqa: S311
PATIENCE = 0.5  # seconds that a broken upload, and a reader, wait for the others


class SimultaneousTests(Kit):
    """Simultaneous calls do not affect each other."""

    def test_uploads_that_break_do_not_affect_simultaneous_uploads(self, lab: Lab) -> None:
        files = lab.files_machine().files
        versioned = files.keeps_versions()
        keys = ["shared.bin" if versioned else f"{number}.bin" for number in range(4)]
        sources = [lab.source(b"%d" % number * 999) for number in range(len(keys))]
        others_stored = threading.Event()

        def wait_and_break() -> None:
            others_stored.wait(PATIENCE)

        broken = [_interrupted(lab, wait_and_break) for _ in range(3)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            failing = [pool.submit(keep, files, "broken.bin", source, if_absent=not versioned) for source in broken]
            storing = [
                pool.submit(keep, files, key, source, if_absent=not versioned)
                for key, source in zip(keys, sources, strict=True)
            ]
            ids = [each.result() for each in storing]
            others_stored.set()
        assert all(each.exception() is not None for each in failing), "an upload that broke returned a version id"
        reader = lab.files_machine().files
        for key, version_id, source in zip(keys, ids, sources, strict=True):
            got = outcome(functools.partial(read, reader, key, version_id))
            assert got == source.path.read_bytes(), f"an upload was lost when another one broke: {got!r:.200}"
        assert sorted(reader.keys()) == sorted(set(keys)), "wrong names are listed"
        listed = [version.version_id for key in set(keys) for version in reader.versions(key)]
        assert sorted(map(str, listed)) == sorted(map(str, ids)), "wrong versions are listed"

    def test_readers_never_see_an_upload_before_it_is_complete(self, lab: Lab) -> None:
        files, reader = lab.files_machine().files, lab.files_machine().files
        versioned = files.keeps_versions()
        seen: list[concurrent.futures.Future[Any]] = []

        def answers() -> dict[str, object]:
            calls: dict[str, Callable[[], object]] = {
                "keys": lambda: sorted(reader.keys()),
                "versions": lambda: [version.version_id for version in reader.versions("file.bin")],
                "newest": lambda: (newest := reader.newest("file.bin")) and newest.version_id,
                "read": lambda: read(reader, "file.bin"),
            }
            return {operation: outcome(call) for operation, call in calls.items()}

        with concurrent.futures.ThreadPoolExecutor(1) as pool:

            def look() -> None:  # a host that makes readers wait may do so
                seen.append(pool.submit(answers))
                concurrent.futures.wait(seen, timeout=PATIENCE)

            for earlier in (False, True)[: 1 + versioned]:
                first = keep(files, "file.bin", lab.source(b"earlier")) if earlier else None
                with pytest.raises(BaseException) as raised:  # noqa: PT011
                    keep(files, "file.bin", _interrupted(lab, look), if_absent=not earlier)
                if not seen:  # it failed before it read the source
                    raise raised.value
                got = seen.pop().result()
                if earlier:
                    expected = {"keys": ["file.bin"], "versions": [first], "newest": first, "read": b"earlier"}
                    assert got == expected, "during an upload, not the earlier version was found"
                else:
                    assert isinstance(got.pop("read"), AssemblyNotFound), "an unfinished upload was read"
                    assert got == {"keys": [], "versions": [], "newest": None}, "an unfinished upload was listed"

    def test_forked_children_and_their_parent_read_at_once(self, lab: Lab, host: Host) -> None:
        if not host.across_processes:
            pytest.skip(f"{type(host).__name__} has across_processes = False")
        files = lab.files_machine().files
        wanted = []
        for number in range(3):
            data = random.Random(number).randbytes(200_000)  # noqa: S311
            wanted.append((f"{number}.bin", keep(files, f"{number}.bin", lab.source(data), if_absent=True), data))
        assert children.read_many(files, wanted, 1) == []  # now the client is connected
        mine: list[str] = []
        work = [(files, wanted, 5), (files, wanted[::-1], 5)]
        wrong = children.in_children(
            "fork", children.read_many, work, lambda: mine.extend(children.read_many(files, wanted, 5))
        )
        assert [*wrong, mine] == [[], [], []], "reads in forked processes and their parent affect each other"


def _interrupted(lab: Lab, call: Callable[[], object]) -> CrashingSource:
    """Return a source that breaks in the middle of the upload, after ``call``."""

    def crash(text: str) -> Crash:
        call()
        return Crash(text)

    error: Any = crash
    return CrashingSource(**vars(lab.source(DATA)), after=3000, error=error)
