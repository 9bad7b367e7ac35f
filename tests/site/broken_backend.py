"""Backends that each break one rule, as authors do. `MUTATIONS` says how, and which test of the kit is to see it."""

import concurrent.futures
import contextlib
import dataclasses
import fnmatch
import functools
import logging
import os
import re
import shutil
import tempfile
import threading
from datetime import UTC, datetime
from typing import NamedTuple

from folder_backend import BLOCK, Client, FolderFiles, FolderSettings, locate

import storage_plugins
from storage_plugins import AccessDenied, AlreadyExists, AssemblyNotFound, Content, StorageError, StoreUnavailable


class Mutation(NamedTuple):
    does: str
    files: type[FolderFiles]
    seen_by: str  # the kit's test
    versions: bool


MUTATIONS: dict[str, Mutation] = {}
PART, PAGE = 700_000, 50


def mutation(does: str, seen_by: str, *, versions: bool = True):
    def register(files):
        MUTATIONS[files.__name__] = Mutation(does, files, seen_by, versions)
        return files

    return register


class BrokenSettings(FolderSettings):
    mutation: str = ""


def make(settings: BrokenSettings) -> FolderFiles:
    return MUTATIONS[settings.mutation].files(settings) if settings.mutation else FolderFiles(settings)


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    return storage_plugins.Backend(
        name="broken", settings=BrokenSettings, files=make, schemes=("folder",), locate=locate
    )


# writing


@mutation("writes in place, without a rename", "test_an_upload_that_breaks_in_the_middle_changes_nothing")
class WritesInPlace(FolderFiles):
    def claim(self, key, source, metadata, only=None):
        number = max(self.numbers(key), default=0) + 1
        if only == 1 and number != 1:
            raise AlreadyExists(f"there is a {key}")
        folder = self.folder(key) / f"{number:06d}"
        folder.mkdir(parents=True)
        self.write(folder, source, metadata)
        return number


@mutation("stores the part that was sent before a failure", "test_an_upload_that_breaks_in_the_middle_changes_nothing")
class KeepsHalves(FolderFiles):
    def write(self, folder, source, metadata):
        with (folder / "data").open("wb") as file, contextlib.suppress(BaseException):
            for block in source.blocks(1024):
                file.write(block)
        self.describe(folder, metadata)


@mutation(
    "leaves a temporary file behind after a failure", "test_an_upload_that_breaks_in_the_middle_leaves_nothing_behind"
)
class LeaksTemporary(FolderFiles):
    def write(self, folder, source, metadata):
        with (self.root / f"{folder.name}.part").open("wb") as file:
            for block in source.blocks():
                file.write(block)
        (self.root / f"{folder.name}.part").rename(folder / "data")
        self.describe(folder, metadata)


@mutation("leaves a temporary file behind after each upload", "test_an_upload_leaves_nothing_unfinished_behind")
class LeaksAlways(FolderFiles):
    def put(self, key, source, **options):
        for number in range(9):
            (self.root / f"{source.sha256}{number}{id(source)}.part").touch()
        return super().put(key, source, **options)

    def ask(self):
        self.root.mkdir(exist_ok=True)
        super().ask()


@mutation(
    "ignores the error for a file that changed during the upload", "test_a_file_changed_while_it_is_uploaded_is_refused"
)
class SwallowsErrors(FolderFiles):
    def write(self, folder, source, metadata):
        (folder / "data").write_bytes(source.path.read_bytes())
        with contextlib.suppress(StorageError):
            super().write(folder, source, metadata)
        self.describe(folder, metadata)


@mutation("stores only the first MiB", "test_files_of_any_size_come_back")
class Truncates(FolderFiles):
    def write(self, folder, source, metadata):
        super().write(folder, source, metadata)
        with (folder / "data").open("r+b") as file:
            file.truncate(min(source.size, BLOCK))


@mutation("stores the parts in the order in which threads finish", "test_files_of_any_size_come_back")
class SwapsParts(FolderFiles):
    def write(self, folder, source, metadata):
        last = threading.Event()
        blocks = list(source.blocks())

        def send(number):
            if number < len(blocks) - 1:
                last.wait(10)
            with (folder / "data").open("ab") as file:
                file.write(blocks[number])
            last.set()

        (folder / "data").touch()
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            list(pool.map(send, range(len(blocks))))
        self.describe(folder, metadata)


@mutation("refuses empty files", "test_files_of_any_size_come_back")
class RefusesEmpty(FolderFiles):
    def put(self, key, source, **options):
        if not source.size:
            raise StorageError("nothing to upload")
        return super().put(key, source, **options)


@mutation("reads a whole upload into memory", "test_a_large_file_needs_little_memory")
class UploadsInMemory(FolderFiles):
    def write(self, folder, source, metadata):
        (folder / "data").write_bytes(b"".join(source.blocks()))
        self.describe(folder, metadata)


@mutation("reads a whole download into memory", "test_a_large_file_needs_little_memory")
class DownloadsInMemory(FolderFiles):
    def blocks(self, path, start, stop):
        yield path.read_bytes()[start:stop]


@mutation("stores uploads in its own process and sends nothing", "test_every_version_stays_unchanged")
class SendsNothing(FolderFiles):
    def folder(self, key):
        return super().folder(key).parent / f"{id(self)}" / key


# versions


@mutation("overwrites the existing version", "test_every_version_stays_unchanged")
class Overwrites(FolderFiles):
    def claim(self, key, source, metadata, only=None):
        if only == 1 or not self.numbers(key):
            return super().claim(key, source, metadata, only=1)
        self.write(self.folder(key) / "000001", source, metadata)
        return 1


@mutation("reports versioning, but has none", "test_every_version_stays_unchanged")
class SaysItKeepsVersions(FolderFiles):
    def claim(self, key, source, metadata, only=None):
        number = super().claim(key, source, metadata, only)
        for older in self.numbers(key):
            if older < number:
                self.data(key, older).parent.rename(self.root / "unfinished" / f"{key}{older}")
        return number


@mutation("reads the newest version for every version ID", "test_every_version_stays_unchanged")
class ReadsTheNewest(FolderFiles):
    def find(self, key, version_id):
        super().find(key, version_id)
        return super().find(key, None)


@mutation("reads the newest version for an unknown version ID", "test_an_unknown_version_is_not_found")
class ReadsTheNewestIfUnknown(FolderFiles):
    def find(self, key, version_id):
        try:
            return super().find(key, version_id)
        except AssemblyNotFound:
            return super().find(key, None)


@mutation(
    "reads the newest version and labels it as the requested one",
    "test_a_read_describes_the_requested_version",
)
class DescribesTheNewest(FolderFiles):
    def read(self, key, version_id=None, **options):
        content = super().read(key, version_id, **options)
        return Content(self.newest(key), content.blocks)


@mutation(
    "looks up the version ID after the write",
    "test_simultaneous_uploads_from_threads_get_the_ids_of_their_own_bytes",
)
class LooksLater(FolderFiles):
    def put(self, key, source, **options):
        super().put(key, source, **options)
        threading.Event().wait(0.01)  # what a network takes
        return self.newest(key).version_id


@mutation(
    "finds a free number, then takes it, without a lock",
    "test_simultaneous_uploads_from_threads_get_the_ids_of_their_own_bytes",
)
class NumbersByLooking(FolderFiles):
    def claim(self, key, source, metadata, only=None):
        number = max(self.numbers(key), default=0) + 1
        if only == 1 and number != 1:
            raise AlreadyExists(f"there is a {key}")
        threading.Event().wait(float(os.environ.get("BROKEN_BACKEND_WAITS", "0.01")))  # what a network takes
        folder = self.folder(key) / f"{number:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        self.write(folder, source, metadata)
        return number


@mutation("counts versions in its own process", "test_what_another_writer_did_is_seen_at_once")
class CountsForItself(FolderFiles):
    def claim(self, key, source, metadata, only=None):
        self.counts = getattr(self, "counts", {})
        number = self.counts[key] = self.counts.get(key, 0) + 1
        folder = self.folder(key) / f"{number:06d}"
        if only == 1 and folder.exists():
            raise AlreadyExists(f"there is a {key}")
        folder.mkdir(parents=True, exist_ok=True)
        self.write(folder, source, metadata)
        return number


@mutation("lists versions oldest first", "test_versions_are_listed_newest_first_with_their_records")
class OldestFirst(FolderFiles):
    def versions(self, key):
        return super().versions(key)[::-1]


@mutation("sorts versions as text: v10 before v2", "test_a_long_history_is_complete")
class OrdersAsWords(FolderFiles):
    def versions(self, key):
        return sorted(super().versions(key), key=lambda version: version.version_id, reverse=True)


@mutation("lists only the last 20 versions", "test_a_long_history_is_complete")
class ListsFewVersions(FolderFiles):
    def versions(self, key):
        return super().versions(key)[:20]


@mutation(
    "makes no new version of bytes that an older version has", "test_going_back_to_earlier_bytes_is_a_new_version"
)
class Deduplicates(FolderFiles):
    def put(self, key, source, **options):
        same = [version for version in self.versions(key) if version.sha256 == source.sha256]
        return same[0].version_id if same else super().put(key, source, **options)


@mutation("returns version IDs of 40 hexadecimal digits", "test_a_version_id_is_text_and_not_a_hash")
class IdsLikeHashes(FolderFiles):
    def id(self, key, number):
        return f"{number:040x}"

    def number(self, version_id):
        return int(version_id, 16) if version_id.isalnum() and len(version_id) == 40 else 0


@mutation("ignores `if_absent`", "test_a_put_if_absent_does_not_change_an_existing_file", versions=False)
class IgnoresIfAbsent(FolderFiles):
    def put(self, key, source, *, metadata, if_absent):
        return super().put(key, source, metadata=metadata, if_absent=False)


@mutation(
    "checks for the key before the write, and reports that as safe", "test_of_simultaneous_first_uploads_one_succeeds"
)
class LooksThenWrites(FolderFiles):
    def claim(self, key, source, metadata, only=None):
        if only == 1 and self.numbers(key):
            raise AlreadyExists(f"there is a {key}")
        threading.Event().wait(0.01)  # what a network takes
        return super().claim(key, source, metadata)


# records


@mutation("stores no metadata", "test_records_lead_to_the_version_with_a_hash_without_receipts")
class LosesMetadata(FolderFiles):
    def describe(self, folder, metadata):
        super().describe(folder, {})


@mutation("records a wrong sha256", "test_versions_are_listed_newest_first_with_their_records")
class WrongRecord(FolderFiles):
    def describe(self, folder, metadata):
        super().describe(folder, {**metadata, "sha256": metadata["sha256"][::-1]})


@mutation("converts metadata to lower case", "test_identifiers_are_listed_as_they_were_given")
class LowersMetadata(FolderFiles):
    def describe(self, folder, metadata):
        super().describe(folder, {key: value.lower() for key, value in metadata.items()})


@mutation("returns dates without a time zone", "test_versions_are_dated")
class NaiveDates(FolderFiles):
    def version(self, key, number):
        version = super().version(key, number)
        return dataclasses.replace(version, created=version.created and version.created.replace(tzinfo=None))


@mutation("returns no sizes", "test_any_history_is_reported_correctly")
class ForgetsSizes(FolderFiles):
    def version(self, key, number):
        return dataclasses.replace(super().version(key, number), size=None)


# reading


@mutation("ignores `start`", "test_any_part_of_a_file_can_be_read")
class IgnoresStart(FolderFiles):
    def blocks(self, path, start, stop):
        return super().blocks(path, 0, stop)


@mutation("ignores `stop`", "test_any_part_of_a_file_can_be_read")
class IgnoresStop(FolderFiles):
    def blocks(self, path, start, stop):
        return super().blocks(path, start, None)


@mutation("includes the byte at `stop`", "test_any_part_of_a_file_can_be_read")
class InclusiveStop(FolderFiles):
    def blocks(self, path, start, stop):
        return super().blocks(path, start, stop if stop is None else stop + 1)


@mutation("returns the size of the part as that of the file", "test_any_part_of_a_file_can_be_read")
class SizeOfThePart(FolderFiles):
    def read(self, key, version_id=None, *, start=0, stop=None, if_match=None):
        content = super().read(key, version_id, start=start, stop=stop, if_match=if_match)
        return Content(dataclasses.replace(content.version, size=content.version.size - start), content.blocks)


@mutation("shares one file handle between all reads", "test_an_abandoned_read_does_not_affect_other_reads")
class SharesHandles(FolderFiles):
    def blocks(self, path, start, stop):
        handles = vars(self).setdefault("handles", {})
        file = handles.setdefault(path, path.open("rb"))
        if not file.tell():
            file.seek(start)
        while block := file.read(BLOCK):
            yield block
        file.seek(0)

    def __getstate__(self):
        return {**super().__getstate__(), "handles": {}}


@mutation("ignores `if_match`", "test_a_part_of_bytes_that_were_replaced_is_refused", versions=False)
class IgnoresIfMatch(FolderFiles):
    def read(self, key, version_id=None, *, start=0, stop=None, if_match=None):
        return super().read(key, version_id, start=start, stop=stop)


@mutation(
    "replaces bytes that the caller has not seen",
    "test_a_replacement_of_a_version_that_was_not_seen_is_refused",
    versions=False,
)
class IgnoresSeen(FolderFiles):
    def replace(self, key, source, *, metadata, seen):
        super().replace(key, source, metadata=metadata, seen=self.newest(key))


@mutation(
    "does not store the bytes that were replaced", "test_replaced_bytes_stay_loadable_by_their_hash", versions=False
)
class LosesReplaced(FolderFiles):
    def put(self, key, source, *, metadata, if_absent):
        if "/" not in key:
            return super().put(key, source, metadata=metadata, if_absent=if_absent)
        return None


# names


@mutation("lists at most 100 names", "test_a_long_listing_is_complete")
class ListsFew(FolderFiles):
    def keys(self, prefix=""):
        return super().keys(prefix)[:100]


@mutation("repeats the last name of each page on the next page", "test_a_long_listing_is_complete")
class ListsTwice(FolderFiles):
    def keys(self, prefix=""):
        names = super().keys(prefix)
        return [name for at in range(0, len(names), 99) for name in names[at : at + 100]]


@mutation("lists a name once for each version", "test_keys_are_listed_once_and_by_prefix")
class ListsVersionsAsNames(FolderFiles):
    def keys(self, prefix=""):
        return [name for name in super().keys(prefix) for _ in self.numbers(name)]


@mutation("ignores the prefix", "test_keys_are_listed_once_and_by_prefix")
class IgnoresPrefix(FolderFiles):
    def keys(self, prefix=""):
        return super().keys("")


@mutation("caches a listing", "test_what_another_writer_did_is_seen_at_once")
class StaleListing(FolderFiles):
    def keys(self, prefix=""):
        known = vars(self).setdefault("known", {})
        if not known.get(prefix):
            known[prefix] = super().keys(prefix)
        return known[prefix]


@mutation("caches a list of versions", "test_what_another_writer_did_is_seen_at_once")
class StaleVersions(FolderFiles):
    def versions(self, key):
        known = vars(self).setdefault("known", {})
        if not known.get(key):
            known[key] = super().versions(key)
        return known[key]

    def put(self, key, source, **options):
        vars(self).setdefault("known", {}).pop(key, None)
        return super().put(key, source, **options)


@mutation("ignores case", "test_identifiers_are_listed_as_they_were_given")
class IgnoresCase(FolderFiles):
    def folder(self, key):
        return super().folder(key.lower())


@mutation("shortens long names", "test_files_of_all_allowed_names_are_stored_and_listed")
class CutsNames(FolderFiles):
    def folder(self, key):
        return super().folder(key[:200])


# errors


@mutation("raises KeyError for a missing file", "test_what_is_not_there_is_not_found")
class RaisesKeyError(FolderFiles):
    def find(self, key, version_id):
        try:
            return super().find(key, version_id)
        except AssemblyNotFound:
            raise KeyError(key) from None


@mutation("does not convert errors of the SDK", "test_every_file_operation_reports_a_host_that_does_not_answer")
class LetsErrorsOut(FolderFiles):
    def ask(self):
        if self.settings.host == "closed":
            raise ConnectionRefusedError(111, "Connection refused")
        super().ask()


@mutation("reports a server that does not answer as empty", "test_a_host_that_does_not_answer_is_unavailable")
class SilenceIsEmpty(FolderFiles):
    def keys(self, prefix=""):
        return [] if self.settings.host == "closed" else super().keys(prefix)


@mutation("reports forbidden files as missing", "test_an_access_error_names_the_contact")
class ForbiddenIsMissing(FolderFiles):
    def ask(self):
        try:
            super().ask()
        except AccessDenied:
            raise AssemblyNotFound("there is nothing of that name") from None


# secrets and people


@mutation("shows the token in its repr", "test_secrets_are_shown_nowhere")
class SecretInRepr(FolderFiles):
    def __repr__(self):
        return f"<files with {self.settings.token.get_secret_value()}>"


@mutation("shows the token in an error", "test_secrets_are_shown_nowhere")
class SecretInError(FolderFiles):
    def find(self, key, version_id):
        try:
            return super().find(key, version_id)
        except AssemblyNotFound as error:
            raise AssemblyNotFound(f"{error} (asked with {vars(self._client)})") from None


@mutation("logs the token", "test_secrets_are_shown_nowhere")
class SecretInLog(FolderFiles):
    def ask(self):
        super().ask()
        logging.getLogger("folder").debug("headers: Authorization: Bearer %s", self._client.token)


@mutation("pickles the token", "test_secrets_are_shown_nowhere")
class SecretInPickle(FolderFiles):
    def __getstate__(self):
        token = self.settings.token
        return {**vars(self), "_client": None, "token": token and token.get_secret_value()}


@mutation("has an address that is valid only in this process", "test_an_address_is_the_same_for_all_users")
class AddressOfItsOwn(FolderFiles):
    @functools.cached_property
    def address(self):
        return f"folder:{id(self)}"


@mutation("reads private data without credentials", "test_readers_without_credentials_see_nothing_private")
class AnonymousSeesAll(FolderFiles):
    def anonymous(self):
        return self


@mutation("publishes all files", "test_a_published_version_is_public_until_it_is_unpublished")
class PublishesAll(FolderFiles):
    def publish(self, key, version_id):
        for name in self.keys():
            super().publish(name, None)
        return version_id


@mutation("does not undo a publication", "test_a_published_version_is_public_until_it_is_unpublished")
class StaysPublic(FolderFiles):
    def unpublish(self, key, version_id):
        pass


@mutation("also discards names with the same beginning", "test_discard_deletes_one_key_with_all_its_versions")
class DiscardsMore(FolderFiles):
    def discard(self, key):
        for name in self.keys(key):
            super().discard(name)


@mutation("discards only the newest version", "test_discard_deletes_one_key_with_all_its_versions")
class DiscardsNewest(FolderFiles):
    def discard(self, key):
        for number in sorted(self.numbers(key))[-1:]:
            shutil.rmtree(self.data(key, number).parent)


@mutation("removes all versions instead of one", "test_remove_deletes_one_version_and_nothing_else")
class RemovesAll(FolderFiles):
    def remove(self, key, version_id):
        self.discard(key)


@mutation("removes the newest version instead of the one named", "test_remove_deletes_one_version_and_nothing_else")
class RemovesNewest(FolderFiles):
    def remove(self, key, version_id):
        super().remove(key, None)


# threads, processes, machines


@mutation("cannot be pickled", "test_files_survive_a_pickle")
class NotPicklable(FolderFiles):
    def __init__(self, settings, *, anonymous=False):
        super().__init__(settings, anonymous=anonymous)
        self.lock = threading.Lock()


@mutation("shares its client with a forked child", "test_a_store_in_use_works_in_a_child_process")
class SharesClient(FolderFiles):
    def ask(self):
        if self._client is None:
            self._client = Client(self.settings.token.get_secret_value())
        try:
            self._client.ask()
        except RuntimeError as error:
            raise storage_plugins.StoreUnavailable(str(error)) from error


@mutation("shares one buffer between threads", "test_threads_do_not_disturb_each_other")
class SharesBuffer(FolderFiles):
    def write(self, folder, source, metadata):
        self.buffer = []
        for block in source.blocks(1024):
            self.buffer.append(block)
            threading.Event().wait(0.001)  # what a network takes
        (folder / "data").write_bytes(b"".join(self.buffer))
        self.describe(folder, metadata)


@mutation(
    "undoes all uploads of a shared transaction when one breaks",
    "test_uploads_that_break_do_not_affect_simultaneous_uploads",
)
class SharesTransaction(FolderFiles):
    def put(self, key, source, **options):
        stored = vars(self).setdefault("stored", [])
        begun = len(stored)
        try:
            version_id = super().put(key, source, **options)
        except BaseException:
            for folder in stored[begun:]:
                shutil.rmtree(folder)
            raise
        stored.append(self.data(key, max(self.numbers(key))).parent)
        return version_id


@mutation("writes in place, and removes it after a failure", "test_readers_never_see_an_upload_before_it_is_complete")
class WritesInPlaceAndRemoves(FolderFiles):
    def claim(self, key, source, metadata, only=None):
        number = self.reserve(key, only)
        folder = self.folder(key) / f"{number:06d}"
        try:
            self.write(folder, source, metadata)
        except BaseException:
            shutil.rmtree(folder)
            raise
        return number

    def reserve(self, key, only):
        while True:
            number = only or max(self.numbers(key), default=0) + 1
            try:
                (self.folder(key) / f"{number:06d}").mkdir(parents=True)
                return number
            except FileExistsError:
                if only:
                    raise AlreadyExists(f"there is a {key}") from None


@mutation("lists a name before its file is complete", "test_readers_never_see_an_upload_before_it_is_complete")
class ListsEarly(FolderFiles):
    def put(self, key, source, **options):
        announced = self.root / "announced" / key.replace("/", "@")
        announced.parent.mkdir(parents=True, exist_ok=True)
        announced.touch()
        try:
            return super().put(key, source, **options)
        finally:
            announced.unlink(missing_ok=True)

    def keys(self, prefix=""):
        announced = self.root / "announced"
        early = [path.name for path in announced.iterdir()] if announced.exists() else []
        return sorted({*super().keys(prefix), *(name for name in early if name.startswith(prefix))})


@mutation("shares the position in a file with a forked child", "test_forked_children_and_their_parent_read_at_once")
class SharesPosition(FolderFiles):
    def blocks(self, path, start, stop):
        lock, handles = vars(self).setdefault("shared", (threading.Lock(), {}))
        stop = path.stat().st_size if stop is None else stop
        while start < stop:
            with lock:
                handle = handles.get(path) or handles.setdefault(path, os.open(path, os.O_RDONLY))
                os.lseek(handle, start, os.SEEK_SET)
                if len(handles) < 9:  # what a network takes
                    threading.Event().wait(0.001)
                block = os.read(handle, min(20_000, stop - start))
            start += len(block)
            yield block

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "shared"}


# pages, parts, prefixes, rights


@mutation("finds versions by ID alone, and returns no record", "test_a_version_id_of_another_key_loads_nothing")
class FindsIdsAnywhere(FolderFiles):
    def read(self, key, version_id=None, **options):
        for other in [key, *self.keys()]:
            if version_id and version_id in [version.version_id for version in self.versions(other)]:
                content = super().read(other, version_id, **options)
                bare = {"identifier": None, "assembly_prefix": None} if other != key else {}
                return Content(dataclasses.replace(content.version, **bare), content.blocks)
        return super().read(key, version_id, **options)


@mutation("uses version IDs again after `discard`", "test_version_ids_are_not_used_again_after_discard")
class UsesIdsAgain(FolderFiles):
    def id(self, key, number):
        return f"v{number}"


@mutation("does not send the last part if it is full", "test_files_of_about_the_size_of_parts_come_back")
class DropsFullParts(FolderFiles):
    def write(self, folder, source, metadata):
        super().write(folder, source, metadata)
        if source.size and source.size % PART == 0:
            with (folder / "data").open("r+b") as file:
                file.truncate(source.size - PART)


@mutation("skips a part when a read begins at a part", "test_files_of_about_the_size_of_parts_come_back")
class SkipsParts(FolderFiles):
    def blocks(self, path, start, stop):
        return super().blocks(path, start + PART if start and start % PART == 0 else start, stop)


@mutation("leaves its copy in the temporary folder after a failure", "test_nothing_is_left_in_the_temporary_folder")
class LeavesSpools(FolderFiles):
    def write(self, folder, source, metadata):
        with tempfile.NamedTemporaryFile(delete=False) as spool:
            for block in source.blocks():
                spool.write(block)
        shutil.move(spool.name, folder / "data")
        self.describe(folder, metadata)


@mutation("leaves its copy in the temporary folder after a read", "test_nothing_is_left_in_the_temporary_folder")
class LeavesDownloads(FolderFiles):
    def blocks(self, path, start, stop):
        with tempfile.NamedTemporaryFile(delete=False) as copy:
            shutil.copy(path, copy.name)
        yield from super().blocks(path, start, stop)


@mutation("lists by SQL's LIKE, where `_` is any character", "test_a_prefix_is_text_and_not_a_pattern")
class ListsLikeSQL(FolderFiles):
    def keys(self, prefix=""):
        pattern = re.compile(re.escape(prefix).replace("_", ".").replace("%", ".*"))
        return [name for name in super().keys("") if pattern.match(name)]


@mutation("lists by a shell pattern", "test_a_prefix_is_text_and_not_a_pattern")
class ListsLikeShell(FolderFiles):
    def keys(self, prefix=""):
        return [name for name in super().keys("") if fnmatch.fnmatchcase(name, f"{prefix}*")]


@mutation("ignores case in a prefix", "test_a_prefix_is_text_and_not_a_pattern")
class ListsAnyCase(FolderFiles):
    def keys(self, prefix=""):
        return [name for name in super().keys("") if name.lower().startswith(prefix.lower())]


@mutation("ends a listing before a full last page", "test_listings_of_full_pages_are_complete")
class DropsFullPages(FolderFiles):
    def keys(self, prefix=""):
        names = super().keys(prefix)
        return names[:-PAGE] if names and len(names) % PAGE == 0 else names


@mutation("ends a list of versions before a full last page", "test_histories_of_full_pages_are_complete")
class DropsFullHistories(FolderFiles):
    def versions(self, key):
        versions = super().versions(key)
        return versions[:-PAGE] if versions and len(versions) % PAGE == 0 else versions


@mutation("lists nothing after a pickle without the token", "test_a_pickle_answers_like_the_original_or_raises")
class ForgetsQuietly(FolderFiles):
    def keys(self, prefix=""):
        return [] if self.settings.token is None else super().keys(prefix)


@mutation("lists nothing to users without access", "test_listings_without_read_access_are_refused")
class ForbiddenIsEmpty(FolderFiles):
    def keys(self, prefix=""):
        try:
            return super().keys(prefix)
        except AccessDenied:
            return []


@mutation("shows the token when the server cannot be reached", "test_errors_show_no_secrets")
class SecretWhenUnreachable(FolderFiles):
    def ask(self):
        try:
            super().ask()
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error} (token {self.settings.token.get_secret_value()})") from None


@mutation("shows the token when access is denied", "test_errors_show_no_secrets")
class SecretWhenDenied(FolderFiles):
    def ask(self):
        try:
            super().ask()
        except AccessDenied:
            raise AccessDenied(f"the token {self._client.token} is not accepted") from None


@mutation("reports a silent server as empty", "test_a_host_that_never_answers_is_unavailable")
class SilentIsEmpty(FolderFiles):
    def versions(self, key):
        try:
            return super().versions(key)
        except StoreUnavailable:
            if self.settings.port is None:
                raise
            return []


@mutation("publishes all versions of a name", "test_publishing_one_of_several_versions_opens_only_that_one")
class PublishesAllVersions(FolderFiles):
    def publish(self, key, version_id):
        for version in self.versions(key):
            super().publish(key, version.version_id)
        return version_id


@mutation("unpublishes all versions of a name", "test_publishing_one_of_several_versions_opens_only_that_one")
class UnpublishesAllVersions(FolderFiles):
    def unpublish(self, key, version_id):
        for version in self.versions(key):
            super().unpublish(key, version.version_id)


# users without rights


@mutation("returns no bytes to users without access", "test_reads_without_rights_are_refused")
class ForbiddenReadsAreEmpty(FolderFiles):
    def read(self, key, version_id=None, **options):
        try:
            return super().read(key, version_id, **options)
        except AccessDenied:
            return Content(storage_plugins.Version(version_id=version_id, size=0), iter([]))


@mutation("checks access only for whole files", "test_reads_without_rights_are_refused")
class ForbiddenPartsAreRead(FolderFiles):
    def read(self, key, version_id=None, *, start=0, stop=None, if_match=None):
        if stop is None:
            return super().read(key, version_id, start=start, if_match=if_match)
        number = self.find(key, version_id)
        return Content(self.version(key, number), self.blocks(self.data(key, number), start, stop))


def ignores_refusals(operation):
    def call(files, *arguments, **options):
        with contextlib.suppress(AccessDenied):
            return getattr(FolderFiles, operation)(files, *arguments, **options)

    return call


REFUSED = "test_changes_without_rights_are_refused"


@mutation("reports success when a user may not upload", REFUSED)
class IgnoresRefusedPuts(FolderFiles):
    put = ignores_refusals("put")


@mutation("reports success when a user may not publish", REFUSED)
class IgnoresRefusedPublications(FolderFiles):
    publish = ignores_refusals("publish")


@mutation("reports success when a user may not unpublish", REFUSED)
class IgnoresRefusedWithdrawals(FolderFiles):
    unpublish = ignores_refusals("unpublish")


@mutation("reports success when a user may not remove a version", REFUSED)
class IgnoresRefusedRemovals(FolderFiles):
    remove = ignores_refusals("remove")


@mutation("reports success when a user may not discard", REFUSED)
class IgnoresRefusedDiscards(FolderFiles):
    discard = ignores_refusals("discard")


@mutation("reports a refused upload as a server that does not answer", REFUSED)
class RefusalIsSilence(FolderFiles):
    def put(self, key, source, **options):
        try:
            return super().put(key, source, **options)
        except AccessDenied as error:
            raise StoreUnavailable(str(error)) from error


# other computers: clocks, URIs, broken connections


@mutation("orders versions by dates in whole seconds", "test_versions_of_one_second_are_in_order")
class OrdersBySeconds(FolderFiles):
    def versions(self, key):
        oldest_first = super().versions(key)[::-1]
        return sorted(oldest_first, key=lambda version: version.created.replace(microsecond=0), reverse=True)


@mutation("orders versions of one second by their random IDs", "test_versions_of_one_second_are_in_order")
class OrdersByTags(FolderFiles):
    def versions(self, key):
        def order(version):
            return version.created.replace(microsecond=0), version.version_id.partition("-")[2]

        return sorted(super().versions(key), key=order, reverse=True)


ZONES = "test_time_zones_change_neither_dates_nor_order"


@mutation("records local time as UTC", ZONES)
class RecordsLocalTime(FolderFiles):
    def version(self, key, number):
        recorded = self.record(key, number)["local"]
        created = datetime.fromisoformat(recorded).replace(tzinfo=UTC)
        return dataclasses.replace(super().version(key, number), created=created)

    def describe(self, folder, metadata):
        super().describe(folder, {**metadata, "local": datetime.now().isoformat()})


@mutation("reads UTC as local time", ZONES)
class ReadsLocalTime(FolderFiles):
    def version(self, key, number):
        version = super().version(key, number)
        return dataclasses.replace(version, created=version.created.replace(tzinfo=None).astimezone())


@mutation("orders versions by local time", ZONES)
class OrdersByLocalTime(FolderFiles):
    def versions(self, key):
        def order(version):
            return self.record(key, self.number(version.version_id))["local"]

        return sorted(super().versions(key), key=order, reverse=True)

    def describe(self, folder, metadata):
        super().describe(folder, {**metadata, "local": datetime.now().isoformat()})


@mutation("has URIs without the version", "test_a_uri_leads_to_its_own_version")
class UriWithoutVersion(FolderFiles):
    def uri(self, key, version_id):
        return super().uri(key, None)


@mutation("has URIs in lower case", "test_a_uri_leads_to_its_own_version")
class UriInLowerCase(FolderFiles):
    def uri(self, key, version_id):
        return super().uri(key.lower(), version_id)


@mutation("does not quote version IDs in URIs", "test_a_uri_leads_to_its_own_version")
class UriUnquoted(FolderFiles):
    def id(self, key, number):
        return super().id(key, number).replace("-", "+")

    def number(self, version_id):
        return super().number(version_id.replace("+", "-"))

    def uri(self, key, version_id):
        return f"{self.address}/{key}?versionId={version_id}"


@mutation("has URIs of another location", "test_a_uri_leads_to_its_own_version")
class UriOfTheParent(FolderFiles):
    def uri(self, key, version_id):
        return super().uri(key, version_id).replace(str(self.root), str(self.root.parent))


@mutation("shows the token in its URIs", "test_secrets_are_shown_nowhere")
class SecretInUri(FolderFiles):
    def uri(self, key, version_id):
        return f"{super().uri(key, version_id)}&token={self.settings.token.get_secret_value()}"


CUT = "test_a_read_that_the_host_cuts_is_resumed_or_fails"


@mutation("begins a read that was cut from its beginning again", CUT)
class BeginsAgain(FolderFiles):
    def download(self, path, start, stop):
        try:
            yield from super().download(path, start, stop)
        except StoreUnavailable:
            yield from super().download(path, start, stop)


@mutation("fills what is missing of a read that was cut with zeros", CUT)
class FillsWithZeros(FolderFiles):
    def download(self, path, start, stop):
        try:
            for block in super().download(path, start, stop):
                start += len(block)
                yield block
        except StoreUnavailable:
            yield bytes(stop - start)


@mutation("reports a read that was cut as damage", CUT)
class CutIsDamage(FolderFiles):
    def download(self, path, start, stop):
        try:
            yield from super().download(path, start, stop)
        except StoreUnavailable as error:
            raise storage_plugins.IntegrityError(f"{path} is damaged") from error


@mutation("reports a read that was cut as a missing file", CUT)
class CutIsMissing(FolderFiles):
    def download(self, path, start, stop):
        try:
            yield from super().download(path, start, stop)
        except StoreUnavailable as error:
            raise AssemblyNotFound(f"there is no {path}") from error
