"""How much the kit asks of a backend: the documents give the number of calls, and a minute of CPU is enough."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "test-kit.md"


@pytest.mark.slow
@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
def test_the_kit_makes_the_documented_number_of_calls_within_a_minute_of_cpu(tmp_path):
    path = os.pathsep.join([*(str(TESTS / folder) for folder in (".", "site")), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "KIT_CALLS": str(tmp_path / "calls.json")}
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tmp'}"]
    command.append("kit_in_memory.py::TestCounted")
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "calls.json").read_text())
    assert report["cpu"] < 60
    rows = re.findall(r"^\| `(\w+)` \| ([0-9,]+) \|$", DOCUMENT.read_text("utf-8"), re.M)
    documented = {operation: int(count.replace(",", "")) for operation, count in rows}
    # threads and Hypothesis's own version change the numbers a little
    assert documented == pytest.approx(report["calls"], rel=0.15), report
