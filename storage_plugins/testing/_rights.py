"""Tests of what users without rights get."""

from __future__ import annotations

from collections.abc import Callable

from storage_plugins import AccessDenied, NotSupported, StorageError

from ._assemblies import make_assembly
from ._base import Kit
from ._hosts import Host
from ._lab import Lab, keep, outcome, read


class RightsTests(Kit):
    """A user without rights gets AccessDenied. What was refused is not reported as done."""

    def test_reads_without_rights_are_refused(self, lab: Lab, host: Host) -> None:
        denied = lab.files_machine(host.denied()).files
        receipt = lab.files_machine().upload(make_assembly(), "X")
        calls: dict[str, Callable[[], object]] = {
            "read": lambda: read(denied, receipt.key, receipt.version_id),
            "read of the newest": lambda: read(denied, receipt.key),
            "read of a part": lambda: read(denied, receipt.key, receipt.version_id, start=10, stop=20),
        }
        for operation, call in calls.items():
            got = outcome(call)
            assert isinstance(got, AccessDenied), f"expected AccessDenied from {operation}, got {got!r:.200}"

    def test_changes_without_rights_are_refused(self, lab: Lab, host: Host) -> None:
        store = lab.files_machine()
        files, denied = store.files, lab.files_machine(host.denied()).files
        receipt = store.upload(make_assembly(), "X")
        key, version_id = receipt.key, receipt.version_id
        stored = read(files, key, version_id)

        def is_there() -> bool:
            return outcome(lambda: read(files, key, version_id)) == stored

        def is_public() -> bool:
            readers = files.anonymous()
            return readers is not None and outcome(lambda: read(readers, key, version_id)) == stored

        calls: dict[str, tuple[Callable[[], object], Callable[[], bool]]] = {
            "put": (
                lambda: keep(denied, "new.bin", lab.source(b"new"), if_absent=True),
                lambda: outcome(lambda: read(files, "new.bin")) == b"new",
            ),
            "publish": (lambda: denied.publish(key, version_id), is_public),
            "unpublish": (lambda: denied.unpublish(key, version_id), lambda: not is_public()),
            "remove": (lambda: denied.remove(key, version_id), lambda: not is_there()),
            "discard": (lambda: denied.discard(key), lambda: not is_there()),
        }
        for operation, (call, is_done) in calls.items():
            if operation == "unpublish" and isinstance(outcome(lambda: files.publish(key, version_id)), StorageError):
                continue
            if operation in ("remove", "discard") and not is_there():
                break
            got = outcome(call)
            if isinstance(got, BaseException):
                expected = AccessDenied if operation == "put" else (AccessDenied, NotSupported)
                assert isinstance(got, expected), f"expected AccessDenied from {operation}, got {got!r}"
            else:  # this user may do more than read
                assert is_done(), f"{operation} reported success to a user without rights, and did nothing"
