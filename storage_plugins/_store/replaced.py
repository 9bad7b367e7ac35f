"""Where old bytes go on a host that keeps no versions, before `replace` writes over them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from pathlib import Path, PurePosixPath

from .._backend import answers
from .._backend.operations import FileOperations, Source
from .._backend.transfer import download, retrying
from ..errors import AccessDenied, AlreadyExists, AssemblyNotFound, NotSupported
from ..protocol import Version, record

FOLDER = ".versions"


def kept_key(key: str, sha256: str) -> str:
    """Return the key under which bytes with that hash are kept: ``.versions/<key>/<sha256>.nc``."""
    return f"{FOLDER}/{key}/{sha256}{PurePosixPath(key).suffix}"


def kept_versions(files: FileOperations, key: str) -> list[Version]:
    """Return the versions that were replaced, the one replaced last first; none where they may not be listed.

    They have no version id, but a sha256.
    """
    if not files.replaces():
        return []
    try:
        names = retrying(lambda: answers.keys(files, f"{FOLDER}/{key}/"))
    except (AccessDenied, NotSupported):
        return []
    found = []
    for name in names:
        sha256 = PurePosixPath(name).name.removesuffix(PurePosixPath(key).suffix)
        try:
            version = retrying(functools.partial(answers.newest, files, name))
        except (AccessDenied, AssemblyNotFound):
            continue
        if version is not None and kept_key(key, sha256) == name and len(sha256) == 64:
            found.append(dataclasses.replace(version, version_id=None, sha256=sha256))
    return sorted(found, key=lambda version: str(version.created), reverse=True)


def keep(files: FileOperations, key: str, version: Version, copy: Path) -> None:
    """Copy one version's bytes to where they stay, by way of the file ``copy``.

    Raises:
        AlreadyExists: by now the host has another version.
        AccessDenied, StoreUnavailable: it cannot be read, or not be written; nothing was changed.
    """
    with copy.open("wb", buffering=0) as file:
        got = download(files, key, version.version_id, file)
    if isinstance(got, Version) or got[0].etag != version.etag:
        raise AlreadyExists(f"{key} in {files.address} was changed meanwhile", hint="Look at it, and upload again.")
    _, hashes, _ = got
    source = Source(copy, hashes.size, hashes.sha1, hashes.sha256)
    metadata = record(
        identifier=version.identifier,
        assembly_prefix=version.assembly_prefix,
        sha1=hashes.sha1,
        sha256=hashes.sha256,
        size=hashes.size,
        content_digest=version.content_digest if version.sha256 == hashes.sha256 else None,
    )
    with contextlib.suppress(AlreadyExists):  # these bytes were replaced before
        answers.put(files, kept_key(key, hashes.sha256), source, metadata=metadata, if_absent=True)
