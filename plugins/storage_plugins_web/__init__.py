"""The ``web`` backend: one file at a web address, such as a link from a store's ``share``. It only reads."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

import storage_plugins

from .files import LinkedFile

__all__ = ["WebSettings", "storage_plugins_backend"]


class WebSettings(storage_plugins.StoreSettings):
    """Settings of a ``web`` store: usually made from a link."""

    url: SecretStr = Field(description="the link; anyone who has it can read the file")

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()  # a variable read from a file ends in a newline
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("must be an http:// or https:// address without user and password")
        if not re.fullmatch(r"[!-~]+", text):
            raise ValueError("has characters that must be percent-encoded in an address")
        return SecretStr(text)

    def credential_hosts(self) -> list[str]:
        """Return the server of the link."""
        parts = urlsplit(self.url.get_secret_value())
        return [f"{parts.scheme}://{parts.netloc}"]


def _files(settings: Any) -> LinkedFile:
    return LinkedFile(settings.url)


def _locate(address: str) -> storage_plugins.Location:
    """Take a link apart: the file is named by the last part of its path."""
    parts = urlsplit(address)
    if not parts.hostname or "@" in parts.netloc:
        raise ValueError("it must be a web address without user and password")
    name = re.sub(r"[^A-Za-z0-9._+-]", "_", unquote(parts.path).rpartition("/")[2]).lstrip("._+-")[:200]
    return storage_plugins.Location({"url": address}, name or "file", None)


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    """Describe this backend."""
    return storage_plugins.Backend(
        name="web",
        settings=WebSettings,
        files=_files,
        schemes=("https", "http"),
        locate=_locate,
        summary="one file behind a link, read-only",
    )
