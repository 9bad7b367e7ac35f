"""The example of a backend with ``upload`` and ``load`` alone, laid out as an installer would, passes the kit."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
EXAMPLE = TESTS.parent / "examples" / "sqlite_store.py"


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLE.exists(), reason="no checkout around the tests")
def test_two_methods_are_enough(tmp_path):
    information = tmp_path / "sqlite_store-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: sqlite-store\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[storage_plugins]\nsqlite = sqlite_store\n")
    shutil.copy(EXAMPLE, tmp_path)
    shutil.copy(TESTS / "kit_on_sqlite_example.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "kit_on_sqlite_example.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 20
