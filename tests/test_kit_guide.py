"""The guide for authors, followed: its backend is installed, and its lines of test run the whole kit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parent.parent / "docs" / "write-a-backend.md"


@pytest.mark.skipif(not GUIDE.exists(), reason="no checkout around the tests")
def test_the_guides_backend_passes_the_kit_by_the_guides_own_lines(tmp_path):
    def block(language: str) -> str:
        return re.search(rf"^```{language}\n(.*?)^```", GUIDE.read_text("utf-8"), re.S | re.M)[1]

    information = tmp_path / "my_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    entry_points = block("toml").replace("[project.entry-points.storage_plugins]", "[storage_plugins]").replace('"', "")
    (information / "entry_points.txt").write_text(entry_points)
    (tmp_path / "my_package.py").write_text(block("python"))
    (tmp_path / "test_my_package.py").write_text(block("py"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "test_my_package.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 60
    assert "DictHost has no damage(): not tested is damage to the bytes at rest" in done.stdout
