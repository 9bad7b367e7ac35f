"""The guide for authors, followed: what it begins with says what is missing, and what it ends with passes the kit."""

import ast
import difflib
import io
import os
import re
import subprocess
import sys
import tokenize
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from new_package import FILES, GUIDE, TESTS, blocks, fill_in, write

pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason="no checkout around the tests")


def run_kit(package: Path) -> tuple[subprocess.CompletedProcess[str], ElementTree.Element]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "--junit-xml=results.xml"],
        cwd=package,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(package / "src"), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, ElementTree.parse(package / "results.xml").getroot()


@pytest.mark.slow
def test_as_written_all_that_fails_in_the_kit_is_what_is_not_written(tmp_path):
    _, results = run_kit(write(tmp_path / "package"))
    failures = [failure.text for failure in results.iter("failure")]
    assert len(failures) >= 40
    assert list(results.iter("error")) == []
    told = [re.search(r"NotImplementedError: (\w+) is not written yet: ", text or "") for text in failures]
    assert [text for text, found in zip(failures, told, strict=True) if not found] == []
    assert {found[1] for found in told if found} == {"put", "read", "versions", "keys"}


@pytest.mark.slow
def test_filled_in_with_less_than_sixty_lines_it_passes_the_kit(tmp_path):
    package = write(tmp_path / "package")
    before = [(package / path).read_text("utf-8").splitlines() for path in (FILES, TESTS)]
    fill_in(package)
    written = [
        line
        for old, path in zip(before, (FILES, TESTS), strict=True)
        for line in difflib.ndiff(old, (package / path).read_text("utf-8").splitlines())
        if re.match(r"\+ .*\S", line)
    ]
    assert len(written) < 60
    done, results = run_kit(package)
    assert done.returncode == 0, done.stdout
    assert int(next(results.iter("testsuite")).attrib["tests"]) >= 80
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 60
    assert "DictHost has no damage(); not tested: damage to stored bytes" in done.stdout


def code_lines(path: Path) -> int:
    """Count the lines that are not blank, a comment or a docstring."""
    text, docstrings = path.read_text("utf-8"), set[int]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstrings |= {*range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    empty = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in empty]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - docstrings)


ROWS = re.findall(
    r"^\|.*\| `(\S+/\S+)` \| (\d+) \| (\d+) \|$", GUIDE.read_text("utf-8") if GUIDE.exists() else "", re.M
)


@pytest.mark.parametrize(("folder", "lines", "code"), ROWS)
def test_the_lengths_that_the_guide_tells_are_right(folder, lines, code):
    checkout = GUIDE.parent.parent
    if not (checkout / "plugins").is_dir():
        pytest.skip("no checkout around the tests")
    files = list((checkout / folder).rglob("*.py"))
    assert files
    assert int(lines) == pytest.approx(sum(len(path.read_text("utf-8").splitlines()) for path in files), rel=0.1)
    assert int(code) == pytest.approx(sum(map(code_lines, files)), rel=0.1)


def test_the_guide_tells_the_length_of_every_backend():
    assert {"local", "s3", "osf", "fsspec"} <= {folder.rpartition("_")[2] for folder, _, _ in ROWS}


def test_the_guide_quotes_what_an_unwritten_operation_says(tmp_path):
    quoted = blocks("text")[0].splitlines()[0].removesuffix("…").removeprefix("NotImplementedError: ")
    written = (write(tmp_path / "package") / FILES).read_text("utf-8")
    assert quoted.strip() in written.replace('"\n            "', "")
