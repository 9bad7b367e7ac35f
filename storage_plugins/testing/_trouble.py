"""What goes wrong is told in this package's errors, and secrets are told nowhere."""

from __future__ import annotations

import io
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storage_plugins import AlreadyExists, FileOperations, StorageError, StoreUnavailable

from ._assemblies import make_assembly
from ._base import Kit
from ._comparison import differences
from ._hosts import Host
from ._lab import Lab, keep, outcome, read


class TroubleTests(Kit):
    """Errors are typed, private things stay private, and files work elsewhere."""

    @pytest.fixture
    def everything_logged(self) -> Iterator[io.StringIO]:
        """All that anybody logs at DEBUG, with tracebacks."""
        stream, root = io.StringIO(), logging.getLogger()
        handler, level = logging.StreamHandler(stream), root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        yield stream
        root.removeHandler(handler)
        root.setLevel(level)

    def test_only_errors_of_this_package_come_out_of_a_backend(self, lab: Lab) -> None:
        files = lab.files_machine().files
        keep(files, "there.bin", lab.source(b"there"))
        calls: dict[str, Callable[[], Any]] = {
            "read of what is not there": lambda: read(files, "none.bin"),
            "read of a version that is not there": lambda: read(files, "there.bin", "no-such-version"),
            "read of a part of what is not there": lambda: read(files, "none.bin", start=7),
        }
        for what, call in calls.items():
            error = outcome(call)
            assert isinstance(error, StorageError), f"{what}: {error!r}"

    def test_every_file_operation_tells_that_the_host_does_not_answer(self, lab: Lab, host: Host) -> None:
        files = lab.files_machine(host.unreachable()).files
        calls: dict[str, Callable[[], Any]] = {
            "put": lambda: keep(files, "file.bin", lab.source(b"x")),
            "read": lambda: read(files, "file.bin"),
            "versions": lambda: list(files.versions("file.bin")),
            "keys": lambda: list(files.keys()),
            "newest": lambda: files.newest("file.bin"),
        }
        for what, call in calls.items():
            error = outcome(call)
            assert isinstance(error, StoreUnavailable), f"{what}: {error!r}"

    def test_an_address_names_the_place_for_everybody(self, lab: Lab, host: Host) -> None:
        one, other = lab.files_elsewhere(), lab.files_machine()
        assert one.address == other.address, "one place has two addresses"
        assert ":" in one.address, "an address begins with a scheme"
        uri = one.upload(make_assembly(), "X").uri
        assert not uri or uri.split("#")[1].startswith("sha256="), "a receipt's URI ends in the hash"

    def test_files_survive_a_pickle(self, lab: Lab) -> None:
        files = lab.files_machine().files
        version_id = keep(files, "file.bin", lab.source(b"bytes"))
        again: FileOperations = pickle.loads(pickle.dumps(files))
        assert again.address == files.address
        if not isinstance(outcome(lambda: read(again, "file.bin", version_id)), StorageError):  # a secret stays behind
            assert read(again, "file.bin", version_id) == b"bytes"

    def test_secrets_are_shown_nowhere(self, lab: Lab, host: Host, everything_logged: io.StringIO) -> None:
        if not host.secrets:
            pytest.skip(f"{type(host).__name__} names no secrets")
        store = lab.files_machine()
        receipt = store.upload(make_assembly(), "X")
        lab.elsewhere().load(receipt)
        store.versions("X"), store.identifiers(), store.promises()
        shown = {"the store's repr": repr(store), "its settings": repr(store.settings), "its files": repr(store.files)}
        shown["the receipt"], shown["its YAML entry"] = repr(receipt), repr(store._entry)
        for what, call in (
            ("a missing name", lambda: store.load("Missing")),
            ("a missing version", lambda: store.load("X", version_id="no-such-version")),
            ("a missing key", lambda: read(store.files, "none.bin")),
            ("a refused upload", lambda: keep(store.files, receipt.key, lab.source(b"x"), if_absent=True)),
        ):
            error = outcome(call)
            if isinstance(error, BaseException):
                shown[f"the error of {what}"] = "".join(traceback.format_exception(error)) + repr(error)
        shown["a pickle of the store"] = pickle.dumps(store).decode("latin-1")
        shown["a pickle of the files"] = pickle.dumps(store.files).decode("latin-1")
        shown["the log"] = everything_logged.getvalue()
        for secret in host.secrets:
            assert [where for where, text in shown.items() if secret in text] == [], "a secret is shown there"


class UnversionedTests(Kit):
    """A host that does not keep versions loses nothing either."""

    def test_a_put_if_absent_leaves_what_is_there(self, lab: Lab) -> None:
        files = lab.files_machine().files
        first = keep(files, "file.bin", lab.source(b"first"), if_absent=True)
        second = outcome(lambda: keep(files, "file.bin", lab.source(b"second"), if_absent=True))
        assert read(files, "file.bin", first) == b"first", "what was there is lost"
        if files.keeps_versions() and not isinstance(second, BaseException):
            pytest.skip("if_absent is ignored; as versions are kept, nothing is lost by that")
        assert isinstance(second, AlreadyExists), f"not refused as existing: {second!r}"

    def test_changed_bytes_are_refused_where_no_versions_are_kept(self, lab: Lab) -> None:
        store = lab.unversioned()
        first = store.upload(make_assembly(1), "X")
        with lab.left_as_it_was(store), pytest.raises(AlreadyExists):
            lab.machine().upload(make_assembly(2), "X")
        assert differences(lab.elsewhere().load("X", sha1=first.sha1), make_assembly(1)) == []

    def test_replaced_bytes_stay_loadable_by_their_hash(self, lab: Lab) -> None:
        store = lab.unversioned()
        if not store.files.replaces():
            pytest.skip("it does not say replaces(): replace=True is refused")
        receipts = [store.upload(make_assembly(seed), "X", replace=True) for seed in range(3)]
        for seed, receipt in enumerate(receipts):
            pins: list[dict[str, Any]] = [{"sha1": receipt.sha1}, {"sha256": receipt.sha256}]
            for pin in pins:
                assert differences(lab.elsewhere().load("X", **pin), make_assembly(seed)) == [], (
                    f"upload {seed} was lost"
                )
        assert differences(lab.elsewhere().load("X"), make_assembly(2)) == []
        assert lab.elsewhere().identifiers() == ["X"], "old bytes are listed as assemblies"

    def test_a_replacement_of_what_was_not_seen_is_refused(self, lab: Lab) -> None:
        files = lab.unversioned().files
        if not files.replaces():
            pytest.skip("it does not say replaces()")
        keep(files, "file.bin", lab.source(b"first"), if_absent=True)
        seen = files.newest("file.bin")
        assert seen is not None
        second, third = lab.source(b"second!"), lab.source(b"third")
        files.replace("file.bin", second, metadata={"sha256": second.sha256, "sha1": second.sha1}, seen=seen)
        with pytest.raises(AlreadyExists):
            files.replace("file.bin", third, metadata={"sha256": third.sha256, "sha1": third.sha1}, seen=seen)
        assert read(files, "file.bin") == b"second!"

    def test_a_part_of_other_bytes_by_now_is_refused(self, lab: Lab) -> None:
        files = lab.unversioned().files
        if not files.replaces():
            pytest.skip("it does not say replaces(): bytes never change")
        keep(files, "file.bin", lab.source(b"first"), if_absent=True)
        seen = files.newest("file.bin")
        assert seen is not None
        assert seen.etag, "a host whose bytes change tells them apart by a tag"
        second = lab.source(b"second!")
        files.replace("file.bin", second, metadata={"sha256": second.sha256}, seen=seen)
        got = outcome(lambda: read(files, "file.bin", seen.version_id, start=1, if_match=seen.etag))
        assert isinstance(got, StorageError), f"the rest of other bytes was given: {got!r}"


class PublishingTests(Kit):
    """Everybody sees what was published, and nothing else."""

    def test_readers_without_credentials_see_nothing_private(self, lab: Lab) -> None:
        store = lab.files_machine()
        readers = store.files.anonymous()
        if readers is None or store.files.place_is_public():
            pytest.skip("nobody reads there without credentials, or everybody reads all that is there")
        receipt = store.upload(make_assembly(), "X")
        got = outcome(lambda: read(readers, receipt.key, receipt.version_id))
        assert isinstance(got, StorageError), "everybody can read an upload that is private"

    def test_a_published_version_is_everybodys_until_it_is_taken_back(self, lab: Lab) -> None:
        store = lab.files_machine()
        private = store.upload(make_assembly(2), "Private")
        store.upload(make_assembly(1), "X")
        published = outcome(lambda: store.publish("X"))
        if isinstance(published, StorageError):
            pytest.skip(f"publish() is refused: {type(published).__name__}")
        assert not isinstance(published, BaseException), f"publish gave {published!r}"
        readers = store.files.anonymous()
        assert readers is not None
        with pytest.raises(StorageError):
            read(readers, private.key, private.version_id)
        store.unpublish("X")
        with pytest.raises(StorageError):
            read(readers, published.key, published.version_id)
        assert differences(lab.elsewhere().load("X"), make_assembly(1)) == [], "its owner cannot load it any more"
