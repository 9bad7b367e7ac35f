"""The kit on a backend in memory that counts its calls, run by test_kit_calls.py."""

import collections
import json
import os
import time
import uuid
from pathlib import Path

import pytest
from memory_backend import PLACES
from memory_files import MemoryFiles
from test_kit import MemoryHost

from storage_plugins.testing import BackendTests

CALLS: collections.Counter[str] = collections.Counter()


def counted(name):
    def call(self, *arguments, **options):
        CALLS[name] += 1
        return getattr(super(CountedFiles, self), name)(*arguments, **options)

    return call


class CountedFiles(MemoryFiles):
    put, read, discard = counted("put"), counted("read"), counted("discard")
    versions, newest, keys = counted("versions"), counted("newest"), counted("keys")


class CountedHost(MemoryHost):
    def __init__(self):
        self.settings = {"backend": "memory", "place": uuid.uuid4().hex}
        self.files = PLACES[self.settings["place"]] = CountedFiles(f"memory:{self.settings['place']}")


@pytest.fixture(scope="session", autouse=True)
def report():
    yield
    Path(os.environ["KIT_CALLS"]).write_text(json.dumps({"calls": CALLS, "cpu": time.process_time()}))


class TestCounted(BackendTests):
    @pytest.fixture
    def host(self):
        return CountedHost()
