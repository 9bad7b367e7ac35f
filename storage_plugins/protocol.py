"""What a store is to its users: the ``AssemblyStore`` protocol, and the records that it returns."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from ._records import Digests
from ._visible import date_in_words, html_fields, size_in_words, visible

if TYPE_CHECKING:
    import xarray as xr

# metadata key -> field of Version, and what its value must look like; the size comes from the host
_RECORD = {
    "identifier": ("identifier", re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,239}")),
    "assembly-prefix": ("assembly_prefix", re.compile(r"[A-Za-z0-9_+-]{0,30}")),
    "sha1": ("sha1", re.compile(r"[0-9a-f]{40}")),
    "sha256": ("sha256", re.compile(r"[0-9a-f]{64}")),
    "content-digest": ("content_digest", re.compile(r"[a-z0-9]{1,16}:[0-9a-f]{64}")),
}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Version:
    """One immutable upload of a key, as its host describes it.

    Hashes, ``identifier`` and ``assembly_prefix`` are what the uploader recorded beside the bytes: a
    hint that helps to find a version, None where there is no record. Loaded bytes are always hashed.

    Attributes:
        version_id: the host's name for this version; None where the host has none.
        size: bytes.
        created: when the host stored it, with its time zone.
        sha1, sha256: lower-case hex digests of the file.
        md5: lower-case hex MD5 of the file, where the host itself computed it.
        content_digest: hash of the data, independent of the file's encoding, as ``rule:hex``.
        etag: the host's tag for these very bytes, for conditional requests; not a hash to rely on.
    """

    version_id: str | None
    size: int | None = None
    created: datetime | None = None
    sha1: str | None = None
    sha256: str | None = None
    md5: str | None = None
    content_digest: str | None = None
    identifier: str | None = None
    assembly_prefix: str | None = None
    etag: str | None = None

    def __repr__(self) -> str:
        return _short(self)

    def _repr_html_(self) -> str:
        shown = ("size", "created", "identifier", "sha1", "sha256", "content_digest")
        return html_fields(f"Version {self.version_id or ''}", _fields(self, shown))

    @property
    def digests(self) -> Digests | None:
        """The recorded identity of the bytes, None unless it is complete."""
        if self.sha1 and self.sha256 and self.size is not None:
            return Digests(self.sha1, self.sha256, self.size)
        return None

    def answers_to(self, identifier: str) -> bool:
        """Whether it may be loaded as ``identifier``: no record says that it is another assembly."""
        return self.identifier in (None, identifier) or self.assembly_prefix is None

    @classmethod
    def described(
        cls,
        metadata: Mapping[str, str],
        *,
        version_id: str | None,
        size: int | None = None,
        created: datetime | str | None = None,
        md5: str | None = None,
        etag: str | None = None,
    ) -> Self:
        """Return a version from what its host says and the ``metadata`` that was stored with it.

        Metadata comes from outside: what does not look as it should is left out. ``created`` may be text in
        ISO 8601; without a time zone it is UTC.
        """
        return cls(
            version_id=version_id,
            size=size,
            created=date_from(created),
            md5=md5,
            etag=etag,
            **{
                field: metadata[key]
                for key, (field, shape) in _RECORD.items()
                if isinstance(metadata.get(key), str) and shape.fullmatch(metadata[key])
            },
        )


def record(
    identifier: str | None, assembly_prefix: str | None, digests: Digests, content_digest: str | None
) -> dict[str, str]:
    """Return the metadata that lets a version describe itself; `Version.described` reads it."""
    values = {
        "identifier": identifier,
        "assembly-prefix": assembly_prefix,
        "sha1": digests.sha1,
        "sha256": digests.sha256,
        "size": str(digests.size),
        "content-digest": content_digest,
    }
    return {key: value for key, value in values.items() if value is not None}


def date_from(value: datetime | str | None) -> datetime | None:
    """Return a date with a time zone, UTC where none is given; None for text that is not a date."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if value is not None and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Receipt:
    """What an upload returns: everything needed to cite the bytes and to load them again, anywhere.

    Attributes:
        identifier: the assembly's name, or the file's name for other files.
        store: name of the store in ``storage.yaml``.
        address: the location, such as ``s3://bucket/prefix``.
        key: file name in the store.
        version_id: the host's name for this version; None where the host has none.
        sha1, sha256: lower-case hex digests of the file.
        size: bytes.
        content_digest: hash of the data as ``rule:hex``, or None.
        created: when it was uploaded, UTC.
        uri: loads these bytes without any configuration: ``storage_plugins.load(uri)``. Empty where the
            backend has no URIs.
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

    def __repr__(self) -> str:
        return _short(self)

    def _repr_html_(self) -> str:
        shown = ("store", "address", "version_id", "size", "created", "sha1", "sha256", "content_digest", "uri")
        return html_fields(f"Receipt of {self.identifier}", _fields(self, shown))

    @property
    def digests(self) -> Digests:
        """The identity of the bytes."""
        return Digests(self.sha1, self.sha256, self.size)

    def pin(self) -> str:
        """Return the three lines that load these bytes in a Brain-Score plugin, ready to paste."""
        return (
            f"load_from_s3(identifier={_literal(self.identifier)},\n"
            f"             version_id={_literal(self.version_id or '')},\n"
            f"             sha1={_literal(self.sha1)})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as plain values, ``created`` in ISO 8601."""
        return {**dataclasses.asdict(self), "created": self.created.isoformat()}


def _short(one: Version | Receipt) -> str:
    """Return a representation with what is known alone, and the beginnings of hashes."""
    hidden = ("key", "uri", "assembly_prefix", "etag", "content_digest")
    values = {field.name: getattr(one, field.name) for field in dataclasses.fields(one) if field.name not in hidden}
    shown = []
    for name, value in values.items():
        if value is None or (name == "sha1" and values["sha256"]):
            continue
        if isinstance(value, str):
            value = f"{value[:12]}…" if name in ("sha1", "sha256", "md5") else value
        shown.append(f"{name}={value.isoformat(timespec='seconds') if isinstance(value, datetime) else repr(value)}")
    return visible(f"{type(one).__name__}({', '.join(shown)})", one_line=True)


def _fields(one: Version | Receipt, names: Sequence[str]) -> dict[str, object]:
    words = {"size": size_in_words(one.size), "created": date_in_words(one.created)}
    return {name: words[name] if name in words else getattr(one, name) for name in names}


def _literal(text: str) -> str:
    """Return Python source for a text, in double quotes where that is simple."""
    return f'"{text}"' if text.isprintable() and not set('"\\') & set(text) else repr(text)


@runtime_checkable
class AssemblyStore(Protocol):
    """Stores assemblies, and returns them exactly as they were."""

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
        """Store ``assembly`` (or a netCDF file, byte for byte) as a new version of ``identifier``."""
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
