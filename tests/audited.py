"""Stores in which somebody damaged, removed, replaced or hid single files, going round the store."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from osf_host import FileVersion
from osf_server import Fault

from storage_plugins import Receipt
from storage_plugins._backend.operations import Source
from storage_plugins._store.file_store import FileStore

# what happened to a file, and the state that a full verification finds it in
EVENTS = {
    "deleted": "missing",
    "damaged": "damaged",
    "replaced": "changed",
    "denied": "denied",
    "renamed": "missing",
    "cut": "damaged",
    "unrecorded": "changed",
}
OTHER = b"another file" * 700


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


class LocalFolder:
    """A local store. ``quick``: what a quick verification finds in another state than a full one."""

    quick = {"damaged": "whole"}  # noqa: RUF012

    def __init__(self, store: FileStore) -> None:
        self.root = Path(store.files.root)

    def version(self, receipt: Receipt) -> Path:
        return self.root / ".versions" / receipt.key / "000001"

    def write(self, receipt: Receipt, data: bytes) -> None:
        path = self.version(receipt) / "data.nc"
        path.unlink()
        path.write_bytes(data)

    def deleted(self, receipt: Receipt) -> None:
        shutil.rmtree(self.root / ".versions" / receipt.key)
        (self.root / receipt.key).unlink()

    def damaged(self, receipt: Receipt) -> None:
        self.write(receipt, flipped((self.version(receipt) / "data.nc").read_bytes()))

    def replaced(self, receipt: Receipt) -> None:
        self.write(receipt, OTHER)
        other = Source.of(self.version(receipt) / "data.nc")
        self.unrecorded(receipt)
        (self.version(receipt) / "receipt.json").write_text(json.dumps({"sha1": other.sha1, "sha256": other.sha256}))

    def denied(self, receipt: Receipt) -> None:
        (self.root / ".versions" / receipt.key).chmod(0)

    def renamed(self, receipt: Receipt) -> None:
        for folder in (self.root, self.root / ".versions"):
            (folder / receipt.key).rename(folder / f"old-{receipt.key}")

    def cut(self, receipt: Receipt) -> None:
        self.write(receipt, (self.version(receipt) / "data.nc").read_bytes()[:1000])

    def unrecorded(self, receipt: Receipt) -> None:
        (self.version(receipt) / "receipt.json").unlink()

    @contextlib.contextmanager
    def as_reader(self) -> Iterator[None]:
        """Be somebody who may not do everything, as root may."""
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(54321)
        try:
            yield
        finally:
            os.seteuid(0)


class Bucket:
    """A versioned bucket."""

    # with the metadata of the old object, other bytes of the same size look like it
    quick = {"damaged": "whole"}  # noqa: RUF012

    def __init__(self, client, bucket: str, folder: str, proxy) -> None:
        self.client, self.bucket, self.folder, self.proxy = client, bucket, folder, proxy

    def put(self, receipt: Receipt, data: bytes, *, key: str = "", recorded: bool = True) -> None:
        """Put other bytes in place of the version: S3 cannot change one."""
        named = {"Bucket": self.bucket, "Key": self.folder + receipt.key}
        metadata = self.client.head_object(**named)["Metadata"] if recorded else {}
        self.client.delete_object(**named, VersionId=receipt.version_id)
        self.client.put_object(**{**named, "Key": self.folder + (key or receipt.key)}, Body=data, Metadata=metadata)

    def data(self, receipt: Receipt) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=self.folder + receipt.key)["Body"].read()

    def deleted(self, receipt: Receipt) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self.folder + receipt.key, VersionId=receipt.version_id)

    def damaged(self, receipt: Receipt) -> None:
        self.put(receipt, flipped(self.data(receipt)))

    def replaced(self, receipt: Receipt) -> None:
        self.put(receipt, OTHER, recorded=False)

    def denied(self, receipt: Receipt) -> None:
        self.proxy.refuse = lambda method, path: (403, "AccessDenied") if f"{receipt.key}" in path else None

    def renamed(self, receipt: Receipt) -> None:
        self.put(receipt, self.data(receipt), key=f"old-{receipt.key}")

    def cut(self, receipt: Receipt) -> None:
        self.put(receipt, self.data(receipt)[:1000])

    def unrecorded(self, receipt: Receipt) -> None:
        self.put(receipt, self.data(receipt), recorded=False)

    as_reader = staticmethod(contextlib.nullcontext)


class Project:
    """A project on OSF, which reports hashes and sizes as they were uploaded, whatever became of the bytes."""

    quick = {"damaged": "whole", "cut": "whole"}  # noqa: RUF012

    def __init__(self, osf, node, folder: str = "brain/") -> None:
        self.osf, self.node, self.folder = osf, node, folder

    def file(self, receipt: Receipt):
        return self.osf.host.get(self.node, f"{self.folder}{receipt.key}")[0]

    def rot(self, receipt: Receipt, data: bytes) -> None:
        """Change bytes without OSF knowing."""
        version = self.file(receipt).versions.pop()
        rotten = FileVersion(version.number, data, version.created)
        rotten.__dict__["hashes"] = version.hashes
        self.file(receipt).versions.append(rotten)

    def deleted(self, receipt: Receipt) -> None:
        self.osf.host.delete(self.file(receipt))

    def damaged(self, receipt: Receipt) -> None:
        self.rot(receipt, flipped(self.file(receipt).newest.data))

    def replaced(self, receipt: Receipt) -> None:
        self.deleted(receipt)
        self.osf.host.put(self.node, f"{self.folder}{receipt.key}", OTHER)

    def denied(self, receipt: Receipt) -> None:
        file_id = self.file(receipt).id
        refusal = Fault(answer=(403, {"Content-Type": "application/json"}, b"{}"))
        self.osf.fault = lambda request: refusal if file_id in request.path else None

    def renamed(self, receipt: Receipt) -> None:
        file = self.file(receipt)
        self.osf.host.move(file, file.parent, f"old-{receipt.key}")

    def cut(self, receipt: Receipt) -> None:
        self.rot(receipt, self.file(receipt).newest.data[:1000])

    def unrecorded(self, receipt: Receipt) -> None:
        records = next(f for f in self.file(receipt).parent.children if f.name == ".storage-plugins")
        folder = next(f for f in records.children if f.name == f"assy_@{receipt.identifier}")
        self.osf.host.delete(folder)

    as_reader = staticmethod(contextlib.nullcontext)
