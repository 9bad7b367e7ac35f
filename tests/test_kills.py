"""Operations that are killed, at a few points each; the evidence at full size is a command, see kills.py."""

import os

import kills
import pytest


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize(("store", "operations"), [("local", 5), ("s3", 6)])
def test_what_is_killed_leaves_the_old_state_or_the_new_one_and_the_next_run_heals_it(store, operations):
    killed = kills.play(store, points=4, seed=1).killed
    assert len({operation for operation, _ in killed}) == operations
    assert killed.total() > 2 * operations  # the others had ended before they were killed
