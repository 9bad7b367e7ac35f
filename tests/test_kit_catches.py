"""The kit sees what is wrong with a backend: each broken one fails, in the test that is named for it."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import broken_backend
import broken_store
import pytest

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "test-kit.md"
SUITE = "kit_on_broken_backends.py"
MUTATIONS = {**broken_backend.MUTATIONS, **broken_store.MUTATIONS}


def run(tmp_path: Path, *arguments: str) -> dict[tuple[str, str], set[str]]:
    """Run tests of the kit in two processes; return what became of each: {"passed"}, {"failure"}, …"""
    path = os.pathsep.join([*(str(TESTS / folder) for folder in (".", "site")), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    running, reports = [], []
    for number in range(2):
        reports.append(tmp_path / f"report-{number}.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "-m", "", "--tb=line", "-p", "no:cacheprovider"]
        command += [f"--junitxml={reports[-1]}", f"--basetemp={tmp_path / str(number)}", *arguments[number::2]]
        running.append(subprocess.Popen(command, cwd=TESTS, env=environment, stdout=subprocess.PIPE, text=True))
    try:
        told = [process.communicate(timeout=550)[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    outcomes: dict[tuple[str, str], set[str]] = {}
    for report, text in zip(reports, told, strict=True):
        assert report.exists(), text
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.attrib["classname"].rpartition(".")[2], case.attrib["name"].partition("[")[0]
            found = {part.tag for part in case if part.tag in ("failure", "error", "skipped")}
            outcomes.setdefault(name, set()).update(found or {"passed"})
    return outcomes


@pytest.mark.slow
def test_every_broken_backend_fails_in_the_test_that_is_named_for_it(tmp_path):
    wanted = [f"{SUITE}::Test{name}::{mutation.seen_by}" for name, mutation in MUTATIONS.items()]
    outcomes = run(tmp_path, *wanted)
    missed = [
        f"{name}: {mutation.does}"
        for name, mutation in MUTATIONS.items()
        if "failure" not in outcomes.get((f"Test{name}", mutation.seen_by), set())
    ]
    assert missed == []
    assert len(MUTATIONS) >= 120


@pytest.mark.slow
def test_the_right_backend_that_they_are_derived_from_passes(tmp_path):
    outcomes = run(
        tmp_path, f"{SUITE}::TestHealthy", f"{SUITE}::TestHealthyWithoutVersions", f"{SUITE}::TestHealthyStore"
    )
    wrong = {name: what for name, what in outcomes.items() if what & {"failure", "error"}}
    assert wrong == {}
    seen_by = {mutation.seen_by for mutation in MUTATIONS.values()}
    passed = {test for (_, test), what in outcomes.items() if "passed" in what}
    assert seen_by <= passed  # each has something to see, and none of it is skipped


@pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout around the tests")
def test_the_table_in_the_documents_is_the_one_that_was_run():
    rows = "".join(f"| {mutation.does} | `{mutation.seen_by}` |\n" for mutation in MUTATIONS.values())
    assert rows in DOCUMENT.read_text("utf-8"), f"docs/test-kit.md should have\n{rows}"
