"""A virtual environment with a built wheel, for tests that use it as a user does."""

import os
import subprocess
import sys
from pathlib import Path

WHEEL = os.environ.get("STORAGE_PLUGINS_TEST_WHEEL")  # read before tests begin to clear such variables


class Environment:
    """A virtual environment, and an empty folder that commands are run in."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        self.programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.folder = folder / "work"
        self.folder.mkdir()

    def run(self, program: str, *arguments: object, fails: bool = False) -> str:
        """Run a program of the environment, and return what it says."""
        done = subprocess.run(
            [self.programs / program, *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr
