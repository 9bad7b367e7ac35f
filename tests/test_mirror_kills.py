"""A mirror to OSF that is killed, in small; the evidence at full size is a command, see mirror_kills.py."""

import os

import mirror_kills
import pytest


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_mirror_to_osf_goes_on_and_sends_nothing_twice_that_had_arrived(tmp_path):
    source = {"backend": "local", "root": str(tmp_path / "lab")}
    figures = mirror_kills.run(tmp_path, source, assemblies=8, versions=3, kills=3, seed=1)
    assert figures.kills == 3
    assert figures.whole == 24
