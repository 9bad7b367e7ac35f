"""The requests that an OSF store makes are those in the table of docs/stores.md."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_assembly

DOCUMENT = Path(__file__).parent.parent / "docs" / "stores.md"
BEFORE = {  # what the same operations took when uploads were not yet protected from each other
    "upload of a new version by a process that knows the file": 4,
    "the same by a process that does not": 6,
    "upload of what is the newest already": 1,
    "first upload of a name": 5,
    "first upload to an empty project": 8,
    "load by hash with a receipt, not in the cache": 3,
    "load by hash with nothing but the YAML line": 6,
    "load by version id with nothing but the YAML line": 6,
    "load without pin or receipt": 5,
    "load by hash, in the cache": 0,
    "list the files of a folder": 1,
}


@pytest.fixture
def documented():
    section = re.search(r"^## osf\n(.*?)^## ", DOCUMENT.read_text("utf-8"), re.S | re.M)[1]
    rows = re.findall(r"^\| ([^|]+) \| (\d+)\b[^|]*\|$", section, re.M)
    return {operation: int(number) for operation, number in rows}


def test_the_table_of_requests_is_true(open_osf, osf, documented):
    def count(call):
        osf.requests.clear()
        call()
        # whether the project is public is asked once a minute, and numbers only of versions that are close in time
        return len([r for r in osf.requests if not re.fullmatch(r"/v2/(nodes/\w+|files/\w+/versions)/", r.path)])

    store = open_osf()
    counted = {"first upload to an empty project": count(lambda: store.upload(make_assembly(1), "V"))}
    counted["first upload of a name"] = count(lambda: store.upload(make_assembly(1), "W"))
    first = store.upload(make_assembly(1), "X")
    cold = open_osf()
    counted["the same by a process that does not"] = count(lambda: cold.upload(make_assembly(2), "W"))
    assert count(lambda: cold.upload(make_assembly(2), "V")) == 6  # for each further file
    assert count(lambda: open_osf().upload(make_assembly(3), "W")) == 8  # a file with several versions
    counted["upload of a new version by a process that knows the file"] = count(
        lambda: store.upload(make_assembly(2), "X")
    )
    counted["upload of what is the newest already"] = count(lambda: store.upload(make_assembly(2), "X"))
    warm = open_osf()
    counted["load by hash with a receipt, not in the cache"] = count(lambda: warm.load(first))
    counted["load by hash, in the cache"] = count(lambda: warm.load("X", sha1=first.sha1))
    counted["load by hash with nothing but the YAML line"] = count(lambda: open_osf().load("X", sha1=first.sha1))
    counted["load by version id with nothing but the YAML line"] = count(lambda: open_osf().load("X", version_id="1"))
    counted["load without pin or receipt"] = count(lambda: open_osf().load("X"))
    counted["list the files of a folder"] = count(lambda: open_osf().file_names())
    assert counted == documented
    assert {operation for operation, number in counted.items() if number > BEFORE[operation] + 1} == set()


@pytest.mark.slow
def test_the_benchmark_sends_plain_requests_that_are_those_of_ours():
    script = DOCUMENT.parent.parent / "benchmarks" / "osf.py"
    options = ["--files", "2", "--rounds", "1", "--round-trip", "0", "--peers", "storage_plugins,requests"]
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("| storage_plugins |") == 3
