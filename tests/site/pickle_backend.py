"""A store that is none of files: ``upload`` and ``load`` alone, each assembly a pickle in a folder of one's own."""

import hashlib
import pickle
from datetime import UTC, datetime

import xarray as xr

import storage_plugins
from storage_plugins import AssemblyNotFound, EncodingError, IntegrityError, Receipt


class PickleSettings(storage_plugins.StoreSettings):
    root: storage_plugins.ConfigFolder


class PickleStore:
    def __init__(self, settings):
        self.folder = settings.root

    def upload(self, assembly, identifier, *, assembly_prefix=None, drop_attrs=(), **options):
        assembly = assembly.copy()
        assembly.attrs = {name: value for name, value in assembly.attrs.items() if name not in drop_attrs}
        for name, value in assembly.attrs.items():
            if isinstance(value, xr.DataArray):
                raise EncodingError(f"the attribute {name!r} is an assembly itself", hint="Use drop_attrs.")
        arrays = [assembly.variable, *(coord.variable for coord in assembly.coords.values())]
        if not all(getattr(array.dtype, "isnative", True) for array in arrays):
            raise EncodingError("pickles lose the order of bytes")
        data = pickle.dumps(assembly)
        sha1, sha256 = hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest()
        names = self._names(identifier)
        version_id = f"v{len(names) + 1}"
        if names and names[-1].read_bytes() == data:
            version_id = names[-1].suffix[1:]
        path = self.folder / f"{identifier}.{version_id}"
        self.folder.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
        return Receipt(
            identifier=identifier,
            store="lab",
            address="pickles:lab",
            key=f"assy_{identifier.replace('.', '_')}.nc",
            version_id=version_id,
            sha1=sha1,
            sha256=sha256,
            size=len(data),
            content_digest=None,
            created=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            uri=f"pickles:{path}#sha256={sha256}",
        )

    def load(self, identifier, *, version_id=None, sha1=None, sha256=None, cls=None, **options):
        if isinstance(identifier, Receipt):
            identifier, sha256 = identifier.identifier, identifier.sha256
        names = self._names(identifier)
        if not names:
            raise AssemblyNotFound(f"there is no {identifier}")
        for path in names[::-1]:
            data = path.read_bytes()
            by_hash = (sha1 or "").lower() in ("", hashlib.sha1(data).hexdigest())
            by_hash &= (sha256 or "").lower() in ("", hashlib.sha256(data).hexdigest())
            if by_hash and (sha1 or sha256 or version_id in (None, "", path.suffix[1:])):
                loaded = pickle.loads(data)
                return cls(loaded) if cls else loaded
        if sha1 or sha256:
            raise IntegrityError(f"no version of {identifier} has that hash")
        raise AssemblyNotFound(f"there is no version {version_id} of {identifier}")

    def _names(self, identifier):
        return sorted(self.folder.glob(f"{identifier}.v*"), key=lambda path: int(path.suffix[2:]))


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    return storage_plugins.Backend(name="pickles", settings=PickleSettings, store=PickleStore)
