"""A small campaign of faults for each kind of host; the large ones are a command, see campaign.py."""

import campaign
import campaign_bugs
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("backend", campaign.BACKENDS)
def test_nothing_false_and_nothing_lost_under_a_hundred_and_fifty_faults(backend):
    tally = campaign.run(backend, faults=campaign_bugs.FAULTS, seed=campaign_bugs.SEED)
    assert tally.fired >= campaign_bugs.FAULTS
    assert len({kind for _, kind in tally.overcome}) > 6


@pytest.mark.slow
@pytest.mark.parametrize("bug", campaign_bugs.BUGS)
def test_a_bug_that_was_put_in_is_found(bug):
    assert campaign_bugs.found(campaign_bugs.BUGS[bug])
