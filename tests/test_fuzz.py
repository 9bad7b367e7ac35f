"""A short run of the fuzzer over everything that comes from outside. Longer ones: ``python tests/fuzz.py``."""

import os

import pytest
from fuzz import KINDS, fuzz, raw

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="needs signals and the fork server")]
SECONDS = 3.0  # for each kind, after its start


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_from_outside_crashes_hangs_escapes_or_raises_an_untyped_error(kind):
    tally = fuzz(kind, 1, range(300), SECONDS)
    assert tally.outcomes
    assert tally.findings == []


def test_what_controls_a_terminal_is_seen():
    assert raw("a\nb\té\u200d") is None
    assert raw("a\x1b[2J")
    assert raw("\u202e")
