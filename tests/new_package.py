"""The package of the guide for authors: what ``new-backend`` writes, filled in with the guide's own blocks."""

import re
import tomllib
from pathlib import Path

from click.testing import CliRunner

from storage_plugins.cli import cli

GUIDE = Path(__file__).parent.parent / "docs" / "write-a-backend.md"
MODULE = "storage_plugins_dict"
FILES, TESTS = f"src/{MODULE}/files.py", "tests/test_dict.py"


def write(folder: Path) -> Path:
    """Let ``new-backend`` write the package, and lay its distribution out as an editable install does."""
    done = CliRunner().invoke(cli, ["new-backend", "dict", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    information = folder / "src" / f"{MODULE}-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"]["storage_plugins"]
    (information / "entry_points.txt").write_text(
        "[storage_plugins]\n" + "".join(f"{name} = {module}\n" for name, module in points.items())
    )
    return folder


def fill_in(package: Path) -> None:
    """Write what the guide writes."""
    for path, text in zip((FILES, TESTS), blocks("py"), strict=True):
        (package / path).write_text(text, encoding="utf-8")


def blocks(language: str, text: str | None = None) -> list[str]:
    """Return the blocks of one language of the guide, or of a part of it."""
    return re.findall(rf"^```{language}\n(.*?)^```", text or GUIDE.read_text("utf-8"), re.S | re.M)
