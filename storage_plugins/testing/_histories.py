"""Histories made up by Hypothesis: what a store tells after any of them is what a plain model tells."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import storage_plugins
from storage_plugins import AccessDenied, AlreadyExists, AssemblyNotFound, NotSupported, Receipt
from storage_plugins._store.file_store import FileStore

from ._assemblies import make_assembly
from ._base import Kit
from ._faults import Fault, FaultyFiles
from ._hosts import Host
from ._lab import Lab, data_of, keep, outcome, read
from ._sources import Crash, CrashingSource

NAMES = ["a.bin", "b.bin"]
contents = st.sampled_from([b"", b"one", b"two" * 500, bytes(range(256)) * 20])
names = st.sampled_from(NAMES)
writers = st.sampled_from([0, 1])
seeds = st.integers(0, 2)


@dataclasses.dataclass
class Upload:
    """A version as the model knows it; without a receipt where the answer was lost."""

    data: bytes
    receipt: Receipt | None


class History(RuleBasedStateMachine):
    """Two writers and any number of readers at one place, against lists of uploads.

    Args:
        lab: opens the place; each history has file names of its own there.
        number: of this history.
    """

    def __init__(self, lab: Lab, number: int) -> None:
        super().__init__()
        self.lab, self.number = lab, number
        self.told: dict[str, list[Upload]] = {name: [] for name in NAMES}
        self.assemblies: dict[int, Receipt] = {}
        self.public: set[int] = set()
        self.copies: FileStore | None = None
        self.writers = [lab.files_machine() for _ in range(2)]
        self.versioned = self.writers[0].files.keeps_versions()

    def key(self, name: str) -> str:
        """Return the name that this history has for a file."""
        return f"history{self.number}.{name}"

    @rule(name=names, data=contents, writer=writers)
    def upload(self, name: str, data: bytes, writer: int) -> None:
        """The same bytes are no new version; others are one, or refused where none are kept."""
        self._upload(name, data, self.writers[writer])

    def _upload(self, name: str, data: bytes, writer: FileStore) -> None:
        known = self.told[name]
        try:
            receipt = writer.upload_file(self.lab.file(data), self.key(name))
        except AlreadyExists:
            assert not self.versioned, "it keeps versions, and refused one"
            assert known, "there was nothing, and the upload was refused as existing"
            assert known[-1].data != data, "the same bytes were refused"
            return
        if known and known[-1].data == data:
            if known[-1].receipt is not None:
                assert receipt.version_id == known[-1].receipt.version_id, "the same bytes became a new version"
            known[-1].receipt = receipt
        else:
            assert self.versioned or not known, "bytes were replaced that nobody allowed to replace"
            known.append(Upload(data, receipt))

    @rule(name=names, data=contents)
    def upload_whose_answer_is_lost(self, name: str, data: bytes) -> None:
        """The version is there, and is found: the upload ends as one whose answer arrives."""
        store = self.writers[0]
        files = store.files
        store.files = FaultyFiles(files, lambda call: Fault(lose_answer=True) if call.operation == "put" else None)
        try:
            self._upload(name, data, store)
        finally:
            store.files = files

    @rule(name=names, data=contents.filter(len), after=st.sampled_from([0, 1, 1000]))
    def crash(self, name: str, data: bytes, after: int) -> None:
        """An upload that is ended in the middle changes nothing."""
        if self.told[name] and not self.versioned:
            return
        source = self.lab.source(data)
        crashing = CrashingSource(**vars(source), after=min(after, source.size - 1))
        with pytest.raises(Crash):
            keep(self.writers[0].files, self.key(name), crashing, if_absent=not self.versioned)

    @rule(name=names, which=st.integers(0, 9), pin=st.sampled_from(["version_id", "sha1", "sha256", "both", "receipt"]))
    def load(self, name: str, which: int, pin: str) -> None:
        """Each pin gives its bytes, on a machine that never saw the place."""
        known = [upload for upload in self.told[name] if upload.receipt is not None]
        if not known:
            return
        upload = known[which % len(known)]
        assert upload.receipt is not None
        receipt, reader = upload.receipt, self.lab.elsewhere()
        if pin == "receipt":
            assert reader.fetch(receipt).read_bytes() == upload.data
            return
        fields = {"both": ("version_id", "sha256")}.get(pin, (pin,))
        got = data_of(reader, self.key(name), **{field: getattr(receipt, field) for field in fields})
        if pin != "version_id" or receipt.version_id:
            assert got == upload.data, f"another version came by its {pin}"

    @rule(name=names)
    def load_newest(self, name: str) -> None:
        """Without a pin a new machine gets the newest."""
        known, reader = self.told[name], self.lab.elsewhere()
        if known:
            assert data_of(reader, self.key(name)) == known[-1].data, "not the newest was loaded"
        else:
            with pytest.raises(AssemblyNotFound):
                reader.fetch(self.key(name))

    @rule(seed=seeds, writer=writers)
    def upload_assembly(self, seed: int, writer: int) -> None:
        """An assembly goes and comes beside the files."""
        identifier = f"history{self.number}.{seed}"
        receipt = self.writers[writer].upload(make_assembly(seed), identifier)
        assert self.lab.elsewhere().load(receipt).identical(make_assembly(seed))
        assert identifier in self.writers[1 - writer].identifiers()
        self.assemblies[seed] = receipt

    @rule(seed=seeds, public=st.booleans())
    def publish(self, seed: int, public: bool) -> None:
        """Everybody reads what was published, until it is taken back, and nothing else."""
        store = self.writers[0]
        readers = store.files.anonymous()
        if readers is None or store.files.place_is_public():
            return
        for each in (seed, (seed + 1) % 3):  # one, and another that is not meant
            self.upload_assembly(each, 0)
        try:
            (store.publish if public else store.unpublish)(self.assemblies[seed].identifier)
        except (AccessDenied, NotSupported):
            return  # it is not this host's to open, or not these credentials'
        (self.public.add if public else self.public.discard)(seed)
        for each, receipt in self.assemblies.items():
            got = outcome(functools.partial(read, readers, receipt.key))
            assert isinstance(got, bytes) == (each in self.public), f"published {public}: everybody got {got!r:.200}"

    @rule()
    def mirror(self) -> None:
        """A mirror in a local store has the same bytes in the same order, however often it is made."""
        mine = [self.key(name) for name in NAMES if self.told[name]]
        if self.copies is None:
            folder = self.lab.file(b"").parent / "copies"
            self.copies = self.lab.files_machine({"backend": "local", "root": str(folder)})
        if not mine:
            return
        report = storage_plugins.mirror(self.lab.files_machine(), self.copies, mine)
        assert report.complete, f"not all was mirrored: {report}"
        for name in NAMES:
            copied = list(self.copies.files.versions(self.key(name)))[::-1]
            got = [data_of(self.copies, self.key(name), version_id=version.version_id) for version in copied]
            assert got == _without_repeats([upload.data for upload in self.told[name]]), (
                "the mirror has another history"
            )

    @invariant()
    def histories_are_those_of_the_model(self) -> None:
        """All versions are told, newest first, to either writer."""
        self.writers.reverse()  # the other one's turn
        for name, known in self.told.items():
            listed = list(self.writers[0].files.versions(self.key(name)))[::-1]
            assert len(listed) == len(known), f"{len(listed)} versions are listed, {len(known)} were made"
            for version, upload in zip(listed, known, strict=True):
                assert version.size == len(upload.data), "a version has another size, or the order is another"
                if upload.receipt is not None:
                    assert version.version_id == upload.receipt.version_id, "an id is another one by now"


class HistoryTests(Kit):
    """Any history is told right."""

    examples = 8
    steps = 12  # of each history
    shortest = True  # whether a history that went wrong is made as short as it can be

    def test_any_history_is_told_as_it_was(self, lab: Lab, host: Host) -> None:
        lab.files_machine()
        numbers = itertools.count()
        made: Any = lambda: History(lab, next(numbers))  # noqa: E731  stands for a class
        run_state_machine_as_test(
            made,
            settings=hypothesis.settings(
                max_examples=self.examples,
                stateful_step_count=self.steps,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink] if self.shortest else [Phase.generate],
                print_blob=False,
            ),
        )


def _without_repeats(made: list[bytes]) -> list[bytes]:
    return [data for data, _ in itertools.groupby(made)]
