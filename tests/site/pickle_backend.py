"""A right store without files, with ``upload`` and ``load`` of its own: each version is one file with a pickle.

``root/<prefix><identifier>/v1``, ``v2``, …: a record in one line of JSON, then the pickle. broken_store.py derives the
wrong ones from it.
"""

import hashlib
import json
import pickle
from datetime import UTC, datetime
from pathlib import Path

import xarray as xr

import storage_plugins
from storage_plugins import AssemblyNotFound, EncodingError, IntegrityError, NotSupported, Receipt, codec
from storage_plugins.atomic import atomic_file


class PickleSettings(storage_plugins.StoreSettings):
    root: storage_plugins.ConfigFolder


class PickleStore:
    def __init__(self, settings):
        self.settings = settings

    def upload(self, assembly, identifier, *, extras=None, assembly_prefix=None, drop_attrs=(), replace=None):
        if extras:
            raise NotSupported("only single assemblies can be pickled")
        if not isinstance(assembly, xr.DataArray):
            assembly = codec.decode(Path(assembly))
        folder, data = self.folder(identifier, assembly_prefix), pickle.dumps(self.checked(assembly, drop_attrs))
        record = {"sha1": hashlib.sha1(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
        record |= {"identifier": identifier, "created": datetime.now(UTC).isoformat()}
        while True:
            paths = self.paths(folder)
            if paths and self.same(newest := self.record(paths[-1]), record):
                path, record = paths[-1], newest
                break
            path = folder / f"v{len(paths) + 1}"
            try:
                self.write(path, json.dumps(record).encode() + b"\n", data)
                break
            except FileExistsError:
                continue  # another upload has taken the number
        return Receipt(
            identifier=identifier,
            store="",
            address="",
            key=folder.name,
            version_id=path.name,
            sha1=record["sha1"],
            sha256=record["sha256"],
            size=len(data),
            content_digest=None,
            created=datetime.fromisoformat(record["created"]),
            uri=f"pickles:{path}#sha256={record['sha256']}",
        )

    def load(self, identifier, *, version_id=None, sha1=None, sha256=None, cls=None, chunks=None, **options):
        if isinstance(identifier, Receipt):
            folder, sha256, identifier = self.settings.root / identifier.key, identifier.sha256, identifier.identifier
        else:
            folder = self.folder(identifier, options.get("assembly_prefix"))
        for path in self.paths(folder)[::-1]:
            record = self.record(path)
            hashes = {"sha1": sha1, "sha256": sha256}
            fits = all(record[name] == wanted.lower() for name, wanted in hashes.items() if wanted)
            fits &= bool(sha1 or sha256) or version_id in (None, "", path.name)
            if fits and record["identifier"] == identifier:
                loaded = pickle.loads(self.verified(path, record))
                loaded = loaded if chunks is None else loaded.chunk(chunks)
                return cls(loaded) if cls else loaded
        raise AssemblyNotFound(f"there is no such version in {folder}")

    # how it is done

    def folder(self, identifier, prefix):
        prefix = self.settings.assembly_prefix if prefix is None else prefix
        return self.settings.root / f"{prefix}{identifier.replace('.', '_')}.nc"

    def same(self, one, other):
        return (one["identifier"], one["sha256"]) == (other["identifier"], other["sha256"])

    def checked(self, assembly, drop_attrs):
        assembly = assembly.copy()
        assembly.attrs = {name: value for name, value in assembly.attrs.items() if name not in drop_attrs}
        for name, value in assembly.attrs.items():
            if isinstance(value, xr.DataArray):
                raise EncodingError(f"the attribute {name!r} is an assembly itself", hint="Use drop_attrs.")
        arrays = [assembly.variable, *(coord.variable for coord in assembly.coords.values())]
        if not all(getattr(array.dtype, "isnative", True) for array in arrays):
            raise EncodingError("a pickle does not store the byte order")
        return assembly.compute()

    def write(self, path, record, data):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, exclusive=True, durable=False) as file:
            file.write(record + data)

    def paths(self, folder):
        return sorted(folder.glob("v*"), key=lambda path: int(path.name[1:]))

    def record(self, path):
        return json.loads(path.read_bytes().partition(b"\n")[0])

    def verified(self, path, record):
        data = path.read_bytes().partition(b"\n")[2]
        if hashlib.sha256(data).hexdigest() != record["sha256"]:
            raise IntegrityError(f"{path} is damaged")
        return data


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    return storage_plugins.Backend(name="pickles", settings=PickleSettings, store=PickleStore)
