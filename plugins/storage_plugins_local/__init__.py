"""The ``local`` backend: a folder of this computer, or one mounted from a file server."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from pydantic import Field

import storage_plugins

from .files import LocalFiles


class LocalSettings(storage_plugins.StoreSettings):
    """Settings of a ``local`` store."""

    root: storage_plugins.ConfigFolder = Field(description="the folder; created by the first upload")


def _locate(uri: str) -> storage_plugins.Location:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise ValueError("a file: address begins with three slashes")
    folder, _, key = parts.path.rpartition("/")
    if not folder or not key:
        raise ValueError("it does not name a file")
    version_id = parse_qs(parts.query).get("versionId", [None])[0]
    root = url2pathname(folder) if os.name == "nt" else os.fsdecode(unquote_to_bytes(folder))  # need not be UTF-8
    return storage_plugins.Location({"root": root}, unquote(key), version_id)


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="local",
        settings=LocalSettings,
        files=lambda settings: LocalFiles(settings.root),
        schemes=("file",),
        locate=_locate,
        summary="a folder of this computer or of a mounted file server",
    )
