"""Tests of what differs between computers: URIs that leave them, time zones, and connections that break."""

from __future__ import annotations

import functools
import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

import storage_plugins
from storage_plugins import StoreUnavailable
from storage_plugins._backend.discovery import locate, made_by

from ._assemblies import make_assembly
from ._base import Kit
from ._comparison import differences
from ._cutting import cutting
from ._hosts import Host
from ._lab import Lab, data_of, is_same, keep, outcome

ZONES = ("Etc/GMT-14", "Etc/GMT+12", "UTC")  # 14 hours before UTC, 12 after it
DATA = random.Random(13).randbytes(300_000)  # noqa: S311


class ElsewhereTests(Kit):
    """A version is the same from everywhere."""

    @pytest.fixture
    def zone(self) -> Iterator[None]:
        """Restore the time zone of this process afterwards."""
        if not hasattr(time, "tzset"):
            pytest.skip("this system cannot change the time zone of a process")
        before = os.environ.get("TZ")
        yield
        os.environ.pop("TZ", None)
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()

    def test_a_uri_leads_to_its_own_version(self, lab: Lab, host: Host) -> None:
        store = lab.files_machine()
        receipts = []
        for seed, name in enumerate(("a", "b+c-d.e", "a", "A.x_y")[: 4 if store.files.keeps_versions() else 2]):
            receipts.append((store.upload(make_assembly(seed), name), make_assembly(seed)))
        uris = [receipt.uri for receipt, _ in receipts]
        if not any(uris):
            pytest.skip("the receipts have no URIs, because Backend has no schemes= and locate=")
        assert len(set(uris)) == len(uris), "two versions have the same URI"
        for receipt, assembly in receipts:
            bare = receipt.uri.partition("#")[0]
            backend, location = locate(bare)
            assert (location.key, location.version_id) == (receipt.key, receipt.version_id), (
                f"{bare} leads to another version"
            )
            assert backend.files is not None
            there = made_by(backend.files, backend.settings.model_validate(dict(location.settings)))
            assert there.address == store.address, f"{bare} leads to another location"
            lab.elsewhere()  # an empty cache
            config = {"stores": {"lab": dict(host.settings)}}
            loaded = storage_plugins.load(receipt.uri, config=config)
            assert differences(loaded, assembly) == [], f"{receipt.uri} loads another assembly"

    def test_time_zones_change_neither_dates_nor_order(self, lab: Lab, zone: None) -> None:
        files, made = lab.files_machine().files, []
        for number, name in enumerate(ZONES[: 3 if files.keeps_versions() else 1]):
            os.environ["TZ"] = name
            time.tzset()
            made.append(keep(files, "file.bin", lab.source(b"%d" % number), if_absent=not number))
        for name in ZONES:
            os.environ["TZ"] = name
            time.tzset()
            versions = list(lab.files_machine().files.versions("file.bin"))
            assert [version.version_id for version in versions] == made[::-1], "time zones change the order"
            for version in versions:
                assert version.created is not None
                assert abs(version.created - datetime.now(UTC)) < timedelta(hours=1), (
                    f"with the time zone {name}, a version of this moment is dated {version.created}"
                )

    def test_versions_of_one_second_are_in_order(self, lab: Lab) -> None:
        files = lab.versioned().files
        sources = [lab.source(b"%d" % number) for number in range(12)]
        made = [keep(files, "file.bin", source) for source in sources]
        listed = [version.version_id for version in lab.files_machine().files.versions("file.bin")]
        assert listed == made[::-1], "versions of the same second are in another order than their uploads"
        newest = files.newest("file.bin")
        assert newest is not None
        assert newest.version_id == made[-1], "newest() is not the last of several versions of the same second"

    def test_a_read_that_the_host_cuts_is_resumed_or_fails(self, lab: Lab, host: Host) -> None:
        if host.server is None:
            pytest.skip(f"{type(host).__name__} has no server; not tested: connections that are cut in mid-read")
        receipt = lab.files_machine().upload_file(lab.file(DATA), "file.bin")
        with cutting(host.server) as between:
            for after, times in [(100_000, 1), (200_000, 1), (100_000, 1000)]:
                store = lab.machine({**host.through(between.port), "timeout": 5})
                between.after, between.left, between.cut = after, times, 0
                pin = {"version_id": receipt.version_id, "sha256": receipt.sha256}
                got = outcome(functools.partial(data_of, store, "file.bin", **pin))
                if between.cut == 1:
                    assert isinstance(got, bytes), f"a read was cut once, and not resumed: {got!r:.200}"
                expected = isinstance(got, StoreUnavailable) or (isinstance(got, bytes) and is_same(got, DATA))
                assert expected, f"after a read was cut: {got!r:.200}"
                assert between.cut, "the connection of the kit was not used"
