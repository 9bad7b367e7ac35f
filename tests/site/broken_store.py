"""Stores with their own ``upload`` and ``load`` that each break one rule. `MUTATIONS` is as in broken_backend."""

import contextlib
import dataclasses
import json
import pickle
import threading
from typing import NamedTuple

from pickle_backend import PickleSettings, PickleStore

import storage_plugins
from storage_plugins import AssemblyNotFound, IntegrityError


class Mutation(NamedTuple):
    does: str
    store: type[PickleStore]
    seen_by: str  # the kit's test


MUTATIONS: dict[str, Mutation] = {}


def mutation(does: str, seen_by: str):
    def register(store):
        MUTATIONS[store.__name__] = Mutation(does, store, seen_by)
        return store

    return register


class BrokenSettings(PickleSettings):
    mutation: str = ""


def make(settings: BrokenSettings) -> PickleStore:
    return MUTATIONS[settings.mutation].store(settings) if settings.mutation else PickleStore(settings)


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    return storage_plugins.Backend(name="broken-store", settings=BrokenSettings, store=make)


@mutation("has its own `load` and does not check hashes", "test_damaged_assemblies_are_not_loaded")
class StoreTrustsItsDisk(PickleStore):
    def verified(self, path, record):
        return path.read_bytes().partition(b"\n")[2]


@mutation("has its own `load` and checks only the file format", "test_bytes_of_another_assembly_are_not_loaded")
class StoreChecksTheFormat(PickleStore):
    def verified(self, path, record):
        data = path.read_bytes().partition(b"\n")[2]
        try:
            loaded = pickle.loads(data)
        except Exception as error:
            raise IntegrityError(f"{path} is damaged") from error
        if pickle.dumps(loaded) != data:
            raise IntegrityError(f"{path} is damaged")
        return data


@mutation("has its own `load` and finds versions by ID alone", "test_pins_of_another_assembly_load_nothing")
class StoreFindsIdsAnywhere(PickleStore):
    def write(self, path, record, data):
        count = len(list(path.parent.parent.glob("*/v*")))
        super().write(path.with_name(f"v{count + 1}"), record, data)

    def upload(self, assembly, identifier, **options):
        receipt = super().upload(assembly, identifier, **options)
        paths = self.paths(self.settings.root / receipt.key)
        (found,) = [path for path in paths if self.record(path)["sha256"] == receipt.sha256]
        return dataclasses.replace(receipt, version_id=found.name)

    def load(self, identifier, *, version_id=None, sha1=None, sha256=None, **options):
        paths = self.settings.root.glob(f"*/{version_id}")
        if path := version_id and not sha1 and not sha256 and next(paths, None):
            return pickle.loads(self.verified(path, self.record(path)))
        return super().load(identifier, version_id=version_id, sha1=sha1, sha256=sha256, **options)


@mutation("has its own `load` and prefers the version ID to the hash", "test_a_hash_decides_whatever_the_version_id_is")
class StorePrefersIds(PickleStore):
    def load(self, identifier, *, version_id=None, sha1=None, sha256=None, **options):
        hashes = {} if version_id else {"sha1": sha1, "sha256": sha256}
        loaded = super().load(identifier, version_id=version_id, **hashes, **options)
        if version_id and (sha1 or sha256):
            super().load(identifier, sha1=sha1, sha256=sha256, **options)
        return loaded


@mutation("has its own `load` and uses only one of two hashes", "test_hashes_of_two_versions_load_neither")
class StoreUsesOneHash(PickleStore):
    def load(self, identifier, *, sha1=None, sha256=None, **options):
        return super().load(identifier, sha1=sha1, sha256=None if sha1 else sha256, **options)


@mutation("has its own `upload` and mixes up `a.b` and `a_b`", "test_similar_identifiers_are_refused_or_not_mixed_up")
class StoreMixesUpNames(PickleStore):
    def upload(self, assembly, identifier, **options):
        receipt = super().upload(assembly, identifier.replace(".", "_"), **options)
        return dataclasses.replace(receipt, identifier=identifier)

    def load(self, identifier, **options):
        if isinstance(identifier, str):
            return super().load(identifier.replace(".", "_"), **options)
        return super().load(
            dataclasses.replace(identifier, identifier=identifier.identifier.replace(".", "_")), **options
        )


@mutation("has its own `upload` and ignores `assembly_prefix`", "test_prefixes_separate_assemblies_with_one_identifier")
class StoreIgnoresPrefixes(PickleStore):
    def folder(self, identifier, prefix):
        return super().folder(identifier, None)


@mutation("has its own `upload` and ignores `extras`", "test_extras_are_refused")
class StoreIgnoresExtras(PickleStore):
    def upload(self, assembly, identifier, *, extras=None, **options):
        return super().upload(assembly, identifier, **options)


@mutation("has its own `load` and ignores `chunks`", "test_chunks_are_honoured_or_not_supported")
class StoreIgnoresChunks(PickleStore):
    def load(self, identifier, *, chunks=None, **options):
        return super().load(identifier, **options)


@mutation("has its own `upload` and fails at paths", "test_a_netcdf_file_can_be_uploaded_or_is_not_supported")
class StoreFailsAtPaths(PickleStore):
    def upload(self, assembly, identifier, **options):
        assembly.dims  # noqa: B018  an AttributeError for a path
        return super().upload(assembly, identifier, **options)


@mutation(
    "has its own `upload` and raises OSError in simultaneous uploads",
    "test_simultaneous_uploads_of_one_name_lose_nothing",
)
class StoreRaisesInRaces(PickleStore):
    def write(self, path, record, data):
        try:
            super().write(path, record, data)
        except FileExistsError:
            raise OSError(39, "Directory not empty") from None


@mutation(
    "has its own `upload` and overwrites simultaneous uploads", "test_simultaneous_uploads_from_processes_lose_nothing"
)
class StoreOverwritesInRaces(PickleStore):
    def write(self, path, record, data):
        part = path.with_name(f".{json.loads(record)['sha256']}")
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(record + data)
        threading.Event().wait(0.05)  # what a network takes
        part.replace(path)


@mutation("has its own `upload` and writes in place", "test_readers_never_see_an_unfinished_upload")
class StoreWritesInPlace(PickleStore):
    def write(self, path, record, data):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(record)
            for at in range(0, len(data), 100):
                file.write(data[at : at + 100])
                file.flush()
                threading.Event().wait(0.001)  # what a network takes


@mutation("has its own `upload` and leaves an unfinished version behind", "test_an_upload_that_breaks_changes_nothing")
class StoreLeavesUnfinished(PickleStore):
    def upload(self, assembly, identifier, **options):
        folder = self.folder(identifier, None)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{id(assembly)}"
        part.touch()
        try:
            receipt = super().upload(assembly, identifier, **options)
        except storage_plugins.StorageError:
            part.unlink()
            raise
        part.unlink()
        return receipt


@mutation(
    "has its own `upload` and leaves a file behind after a refusal",
    "test_refused_and_repeated_uploads_leave_nothing_behind",
)
class StoreLeavesRefused(PickleStore):
    def upload(self, assembly, identifier, **options):
        part = self.settings.root / f".{identifier}"
        self.settings.root.mkdir(exist_ok=True)
        try:
            return super().upload(assembly, identifier, **options)
        except storage_plugins.EncodingError:
            part.touch()
            raise


@mutation(
    "has its own `upload` and needs a lock file that a killed upload leaves behind",
    "test_an_upload_whose_process_is_killed_changes_nothing",
)
class StoreLeavesLocks(PickleStore):
    def upload(self, assembly, identifier, **options):
        self.settings.root.mkdir(exist_ok=True)
        lock = self.settings.root / f".lock-{identifier}"
        for _ in range(200):
            with contextlib.suppress(FileExistsError):
                lock.touch(exist_ok=False)
                break
            threading.Event().wait(0.01)
        else:
            raise storage_plugins.StoreUnavailable(f"{identifier} is locked")
        try:
            threading.Event().wait(0.2)  # so that a kill meets it on a busy machine, too
            return super().upload(assembly, identifier, **options)
        finally:
            lock.unlink()


@mutation("has its own `load` and raises KeyError for a missing assembly", "test_what_is_not_there_is_not_found")
class StoreRaisesKeyError(PickleStore):
    def load(self, identifier, **options):
        try:
            return super().load(identifier, **options)
        except AssemblyNotFound:
            raise KeyError(identifier) from None
