"""A small campaign of faults; the large ones are a command, see campaign.py."""

import campaign
import pytest


@pytest.mark.slow
def test_nothing_false_and_nothing_lost_under_a_hundred_and_fifty_faults():
    tally = campaign.run("osf", faults=150, seed=20)
    assert tally.fired >= 150
    assert len({kind for _, kind in tally.overcome}) > 10
