"""Replaced bytes: where a host without versions keeps them, before `replace` writes over them."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path, PurePosixPath

from .._backend.host import Host
from .._backend.operations import Source
from ..errors import AccessDenied, AlreadyExists, AssemblyNotFound, NotSupported
from ..protocol import Version, record

FOLDER = ".versions"


def replaced_key(key: str, sha256: str) -> str:
    """Return the key under which replaced bytes with that hash are stored: ``.versions/<key>/<sha256>.nc``."""
    return f"{FOLDER}/{key}/{sha256}{PurePosixPath(key).suffix}"


def replaced_versions(host: Host, key: str) -> list[Version]:
    """Return the versions that were replaced, the last one first; none where they may not be listed.

    They have no version id, but a sha256.
    """
    if not host.replaces():
        return []
    try:
        names = host.keys(f"{FOLDER}/{key}/")
    except (AccessDenied, NotSupported):
        return []
    found = []
    for name in names:
        sha256 = PurePosixPath(name).name.removesuffix(PurePosixPath(key).suffix)
        try:
            version = host.newest(name)
        except (AccessDenied, AssemblyNotFound):
            continue
        if version is not None and replaced_key(key, sha256) == name and len(sha256) == 64:
            found.append(dataclasses.replace(version, version_id=None, sha256=sha256))
    return sorted(found, key=lambda version: str(version.created), reverse=True)


def save_replaced(host: Host, key: str, version: Version, copy: Path) -> None:
    """Copy one version's bytes to where they stay, by way of the local file ``copy``.

    Raises:
        AlreadyExists: the host has another version by now.
        AccessDenied, StoreUnavailable: it cannot be read or written; nothing was changed.
    """
    with copy.open("wb", buffering=0) as file:
        got = host.download(key, version.version_id, file)
    if got.digests is None or got.version.etag != version.etag:
        raise AlreadyExists(
            f"{key} in {host.address} was changed in the meantime", hint="Look at it, and upload again."
        )
    content_digest = version.content_digest if version.sha256 == got.digests.sha256 else None
    metadata = record(version.identifier, version.assembly_prefix, got.digests, content_digest)
    with contextlib.suppress(AlreadyExists):  # these bytes were replaced before
        host.put(replaced_key(key, got.digests.sha256), Source(copy, got.digests), metadata=metadata, if_absent=True)
