"""Failures raise this package's errors, and secrets are never shown."""

from __future__ import annotations

import functools
import io
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storage_plugins import AccessDenied, AlreadyExists, FileOperations, StorageError, StoreUnavailable

from ._assemblies import make_assembly
from ._base import Kit
from ._comparison import differences
from ._hosts import Host
from ._lab import Lab, keep, outcome, read


class TroubleTests(Kit):
    """Errors are typed, secrets stay secret, and files work in other processes."""

    @pytest.fixture
    def everything_logged(self) -> Iterator[io.StringIO]:
        """Everything that is logged at DEBUG, with tracebacks."""
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
            "read of a missing key": lambda: read(files, "none.bin"),
            "read of a missing version": lambda: read(files, "there.bin", "no-such-version"),
            "read of a part of a missing key": lambda: read(files, "none.bin", start=7),
        }
        for what, call in calls.items():
            error = outcome(call)
            assert isinstance(error, StorageError), f"{what}: {error!r}"

    def test_every_file_operation_reports_a_host_that_does_not_answer(self, lab: Lab, host: Host) -> None:
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

    def test_an_address_is_the_same_for_all_users(self, lab: Lab, host: Host) -> None:
        one, other = lab.files_elsewhere(), lab.files_machine()
        assert one.address == other.address, "one location has two addresses"
        assert ":" in one.address, "an address must begin with a scheme"
        uri = one.upload(make_assembly(), "X").uri
        assert not uri or uri.split("#")[1].startswith("sha256="), "a receipt's URI must end in the hash"

    def test_files_survive_a_pickle(self, lab: Lab) -> None:
        files = lab.files_machine().files
        version_id = keep(files, "file.bin", lab.source(b"bytes"))
        again: FileOperations = pickle.loads(pickle.dumps(files))
        assert again.address == files.address
        if not isinstance(
            outcome(lambda: read(again, "file.bin", version_id)), StorageError
        ):  # the pickle drops secrets
            assert read(again, "file.bin", version_id) == b"bytes"

    def test_a_pickle_answers_like_the_original_or_raises(self, lab: Lab) -> None:
        files = lab.files_machine().files
        version_id = keep(files, "file.bin", lab.source(b"bytes"))
        again: FileOperations = pickle.loads(pickle.dumps(files))
        calls: dict[str, tuple[Callable[[], object], object]] = {
            "read": (lambda: read(again, "file.bin", version_id), b"bytes"),
            "versions": (lambda: [version.version_id for version in again.versions("file.bin")], [version_id]),
            "keys": (lambda: list(again.keys()), ["file.bin"]),
            "newest": (lambda: (newest := again.newest("file.bin")) and newest.size, 5),
        }
        for operation, (call, wanted) in calls.items():
            got = outcome(call)  # a pickle drops secrets, so that the host may refuse
            assert got == wanted or isinstance(got, StorageError), f"after a pickle, {operation} gave {got!r}"

    def test_listings_without_read_access_are_refused(self, lab: Lab, host: Host) -> None:
        denied = lab.files_machine(host.denied()).files
        receipt = lab.files_machine().upload(make_assembly(), "X")
        calls: dict[str, Callable[[], object]] = {
            "versions": lambda: list(denied.versions(receipt.key)),
            "newest": lambda: denied.newest(receipt.key),
            "keys": lambda: list(denied.keys()),
        }
        for operation, call in calls.items():
            got = outcome(call)
            assert isinstance(got, AccessDenied), f"expected AccessDenied from {operation}, got {got!r}"

    @pytest.mark.parametrize("trouble", ["unreachable", "denied", "silent"])
    def test_errors_show_no_secrets(
        self, trouble: str, lab: Lab, host: Host, silent_port: int, everything_logged: io.StringIO
    ) -> None:
        if not host.secrets:
            pytest.skip(f"{type(host).__name__} has no secrets")
        settings = dict(host.silent(silent_port) if trouble == "silent" else getattr(host, trouble)())
        if trouble != "denied":  # the error is the same sooner
            settings["timeout"] = 0.4
        store = lab.files_machine(settings)
        calls: dict[str, Callable[[], Any]] = {
            "upload": lambda: store.upload(make_assembly(), "X"),
            "load": lambda: store.load("X"),
            "versions": lambda: store.versions("X"),
            "identifiers": store.identifiers,
            "publish": lambda: store.publish("X"),
            "share": lambda: store.share("X", expires=60),
        }
        shown = {}
        for operation, call in calls.items():
            error = outcome(call)
            if isinstance(error, BaseException):
                shown[f"the error of {operation}"] = "".join(traceback.format_exception(error)) + repr(error)
        shown["the log"] = everything_logged.getvalue()
        for secret in host.secrets:
            assert [where for where, text in shown.items() if secret in text] == [], "a secret is shown"

    def test_secrets_are_shown_nowhere(self, lab: Lab, host: Host, everything_logged: io.StringIO) -> None:
        if not host.secrets:
            pytest.skip(f"{type(host).__name__} has no secrets")
        store = lab.files_machine()
        receipt = store.upload(make_assembly(), "X")
        lab.elsewhere().load(receipt)
        store.versions("X"), store.identifiers(), store.promises()
        shown = {"the store's repr": repr(store), "its settings": repr(store.settings), "its files": repr(store.files)}
        shown["the receipt"], shown["its YAML entry"] = repr(receipt), repr(store._entry)
        shown["its URI"] = receipt.uri
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
            assert [where for where, text in shown.items() if secret in text] == [], "a secret is shown"


class UnversionedTests(Kit):
    """A host without versions loses nothing either."""

    def test_a_put_if_absent_does_not_change_an_existing_file(self, lab: Lab) -> None:
        files = lab.files_machine().files
        first = keep(files, "file.bin", lab.source(b"first"), if_absent=True)
        second = outcome(lambda: keep(files, "file.bin", lab.source(b"second"), if_absent=True))
        assert read(files, "file.bin", first) == b"first", "the existing file is lost"
        if files.keeps_versions() and not isinstance(second, BaseException):
            pytest.skip("if_absent is ignored, which loses nothing because versions are kept")
        assert isinstance(second, AlreadyExists), f"expected AlreadyExists, got {second!r}"

    def test_changed_bytes_are_refused_where_no_versions_are_kept(self, lab: Lab) -> None:
        store = lab.unversioned()
        first = store.upload(make_assembly(1), "X")
        with lab.left_as_it_was(store), pytest.raises(AlreadyExists):
            lab.machine().upload(make_assembly(2), "X")
        assert differences(lab.elsewhere().load("X", sha1=first.sha1), make_assembly(1)) == []

    def test_replaced_bytes_stay_loadable_by_their_hash(self, lab: Lab) -> None:
        store = lab.unversioned()
        if not store.files.replaces():
            pytest.skip("replaces() is not True: replace=True is refused")
        receipts = [store.upload(make_assembly(seed), "X", replace=True) for seed in range(3)]
        for seed, receipt in enumerate(receipts):
            pins: list[dict[str, Any]] = [{"sha1": receipt.sha1}, {"sha256": receipt.sha256}]
            for pin in pins:
                assert differences(lab.elsewhere().load("X", **pin), make_assembly(seed)) == [], (
                    f"upload {seed} was lost"
                )
        assert differences(lab.elsewhere().load("X"), make_assembly(2)) == []
        assert lab.elsewhere().identifiers() == ["X"], "replaced bytes are listed as assemblies"

    def test_a_replacement_of_a_version_that_was_not_seen_is_refused(self, lab: Lab) -> None:
        files = lab.unversioned().files
        if not files.replaces():
            pytest.skip("replaces() is not True")
        keep(files, "file.bin", lab.source(b"first"), if_absent=True)
        seen = files.newest("file.bin")
        assert seen is not None
        second, third = lab.source(b"second!"), lab.source(b"third")
        files.replace("file.bin", second, metadata={"sha256": second.sha256, "sha1": second.sha1}, seen=seen)
        with pytest.raises(AlreadyExists):
            files.replace("file.bin", third, metadata={"sha256": third.sha256, "sha1": third.sha1}, seen=seen)
        assert read(files, "file.bin") == b"second!"

    def test_a_part_of_bytes_that_were_replaced_is_refused(self, lab: Lab) -> None:
        files = lab.unversioned().files
        if not files.replaces():
            pytest.skip("replaces() is not True: bytes never change")
        keep(files, "file.bin", lab.source(b"first"), if_absent=True)
        seen = files.newest("file.bin")
        assert seen is not None
        assert seen.etag, "a host that replaces bytes must return an etag"
        second = lab.source(b"second!")
        files.replace("file.bin", second, metadata={"sha256": second.sha256}, seen=seen)
        got = outcome(lambda: read(files, "file.bin", seen.version_id, start=1, if_match=seen.etag))
        assert isinstance(got, StorageError), f"the rest of other bytes was returned: {got!r}"


class PublishingTests(Kit):
    """Anonymous readers see what was published, and nothing else."""

    def test_readers_without_credentials_see_nothing_private(self, lab: Lab) -> None:
        store = lab.files_machine()
        readers = store.files.anonymous()
        if readers is None or store.files.place_is_public():
            pytest.skip("there is no anonymous access, or everything there is public")
        receipt = store.upload(make_assembly(), "X")
        got = outcome(lambda: read(readers, receipt.key, receipt.version_id))
        assert isinstance(got, StorageError), "anonymous readers can read a private upload"

    def test_a_published_version_is_public_until_it_is_unpublished(self, lab: Lab) -> None:
        store = lab.files_machine()
        private = store.upload(make_assembly(2), "Private")
        store.upload(make_assembly(1), "X")
        published = outcome(lambda: store.publish("X"))
        if isinstance(published, StorageError):
            pytest.skip(f"publish() is refused: {type(published).__name__}")
        assert not isinstance(published, BaseException), f"publish() raised {published!r}"
        readers = store.files.anonymous()
        assert readers is not None
        with pytest.raises(StorageError):
            read(readers, private.key, private.version_id)
        store.unpublish("X")
        with pytest.raises(StorageError):
            read(readers, published.key, published.version_id)
        assert differences(lab.elsewhere().load("X"), make_assembly(1)) == [], "the owner can no longer load it"

    def test_publishing_one_of_several_versions_opens_only_that_one(self, lab: Lab) -> None:
        store = lab.versioned()
        readers = store.files.anonymous()
        if readers is None or store.files.place_is_public():
            pytest.skip("there is no anonymous access, or everything there is public")
        receipts = [store.upload(make_assembly(seed), "X") for seed in range(3)]
        published = outcome(lambda: store.publish("X", version_id=receipts[1].version_id))
        if isinstance(published, StorageError):
            pytest.skip(f"publish() is refused: {type(published).__name__}")

        def public() -> list[int]:
            got = [outcome(functools.partial(read, readers, each.key, each.version_id)) for each in receipts]
            return [number for number, each in enumerate(got) if isinstance(each, bytes)]

        assert public() == [1], "after one version was published, others are public too, or that one is not"
        store.publish("X", version_id=receipts[2].version_id)
        assert public() == [1, 2]
        store.unpublish("X", version_id=receipts[2].version_id)
        assert public() == [1], "after one version was unpublished, others are private too, or that one is not"
