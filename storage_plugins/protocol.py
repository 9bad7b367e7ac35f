"""What a store is to its users: the ``AssemblyStore`` protocol, and the records it hands out."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime

    import xarray as xr

# metadata key -> field of Version, and what its value must look like; size is the host's own to tell
_RECORD = {
    "identifier": ("identifier", re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,239}")),
    "assembly-prefix": ("assembly_prefix", re.compile(r"[A-Za-z0-9_+-]{0,30}")),
    "sha1": ("sha1", re.compile(r"[0-9a-f]{40}")),
    "sha256": ("sha256", re.compile(r"[0-9a-f]{64}")),
    "content-digest": ("content_digest", re.compile(r"[a-z0-9]{1,16}:[0-9a-f]{64}")),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Version:
    """One immutable upload of a key, as its host tells of it.

    Hashes, ``identifier`` and ``assembly_prefix`` are what the uploader recorded beside the bytes: a
    hint that helps to find a version, None where there is no record. Loaded bytes are always hashed.

    Attributes:
        version_id: the host's name for this version; None where the host has none.
        size: bytes.
        created: when the host took it in, with its time zone.
        sha1, sha256: lower-case hex digests of the file.
        content_digest: hash of the data, independent of the file's encoding, as ``rule:hex``.
        etag: the host's tag for these very bytes, for conditional requests; no hash to rely on.
        md5: MD5 of the bytes where the host vouches for one, lower-case hex.
    """

    version_id: str | None
    size: int | None = None
    created: datetime | None = None
    sha1: str | None = None
    sha256: str | None = None
    content_digest: str | None = None
    identifier: str | None = None
    assembly_prefix: str | None = None
    etag: str | None = None
    md5: str | None = None

    def answers_to(self, identifier: str) -> bool:
        """Whether it may be loaded as ``identifier``: nothing recorded says that it is another assembly."""
        return self.identifier in (None, identifier) or self.assembly_prefix is None

    @classmethod
    def described(
        cls,
        metadata: Mapping[str, str],
        *,
        version_id: str | None,
        size: int | None = None,
        created: datetime | None = None,
        etag: str | None = None,
        md5: str | None = None,
    ) -> Self:
        """Return a version from what its host says and the ``metadata`` kept beside it by `record`.

        Metadata comes from outside: what does not look as it should is left out.
        """
        return cls(
            version_id=version_id,
            size=size,
            created=created,
            etag=etag,
            md5=md5,
            **{
                field: metadata[key]
                for key, (field, shape) in _RECORD.items()
                if isinstance(metadata.get(key), str) and shape.fullmatch(metadata[key])
            },
        )


def record(
    *,
    identifier: str | None,
    assembly_prefix: str | None,
    sha1: str,
    sha256: str,
    size: int,
    content_digest: str | None,
) -> dict[str, str]:
    """Return the metadata that lets a version describe itself, read back by `Version.described`."""
    values = {
        "identifier": identifier,
        "assembly-prefix": assembly_prefix,
        "sha1": sha1,
        "sha256": sha256,
        "size": str(size),
        "content-digest": content_digest,
    }
    return {key: value for key, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Receipt:
    """What an upload returns: everything needed to cite the bytes and to load them again, anywhere.

    Attributes:
        identifier: the assembly's name, or the file's name for other files.
        store: name of the store in ``storage.yaml``.
        address: the place itself, such as ``s3://bucket/prefix``.
        key: file name in the store.
        version_id: the host's name for this version; None where the host has none.
        sha1, sha256: lower-case hex digests of the file.
        size: bytes.
        content_digest: hash of the data as ``rule:hex``, or None.
        created: when it was uploaded, UTC.
        uri: loads these bytes without any configuration: ``storage_plugins.load(uri)``.
    """

    identifier: str
    store: str
    address: str
    key: str
    version_id: str | None
    sha1: str
    sha256: str
    size: int
    content_digest: str | None
    created: datetime
    uri: str

    def pin(self) -> str:
        """Return the three lines that load these bytes in a Brain-Score plugin, ready to paste."""
        return (
            f'load_from_s3(identifier="{self.identifier}",\n'
            f'             version_id="{self.version_id or ""}",\n'
            f'             sha1="{self.sha1}")'
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as plain values, ``created`` in ISO 8601."""
        return {**dataclasses.asdict(self), "created": self.created.isoformat()}


@runtime_checkable
class AssemblyStore(Protocol):
    """A place that takes assemblies in and gives them back exactly as they were."""

    def upload(
        self,
        assembly: xr.DataArray | str | os.PathLike[str],
        identifier: str,
        *,
        extras: Mapping[str, xr.DataArray] | None = None,
        assembly_prefix: str | None = None,
        drop_attrs: Sequence[str] = (),
        replace: bool | None = None,
    ) -> Receipt:
        """Keep ``assembly`` (or a netCDF file, byte for byte) as a new version of ``identifier``."""
        ...

    def load(
        self,
        identifier: str | Receipt,
        *,
        version_id: str | None = None,
        sha1: str | None = None,
        sha256: str | None = None,
        cls: type | None = None,
        chunks: Mapping[Any, Any] | int | str | None = None,
        assembly_prefix: str | None = None,
        newest: bool = False,
    ) -> xr.DataArray:
        """Return the assembly, verified over every byte."""
        ...
