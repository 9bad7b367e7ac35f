"""Settings of a ``webdav`` store, and its ``webdav:`` addresses."""

from __future__ import annotations

from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from storage_plugins import Location, StoreSettings

_THIS_COMPUTER = ("127.0.0.1", "::1", "localhost")


class WebDAVSettings(StoreSettings):
    """Settings of a ``webdav`` store."""

    url: str = Field(description="the folder, on Nextcloud https://cloud.example/remote.php/dav/files/me/brain")
    username: str | None = Field(None, description="the account that signs in")
    password: SecretStr | None = Field(None, description="its app password, written ${VARIABLE}")

    @field_validator("url")
    @classmethod
    def _is_folder(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an https:// address")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must have no user, password or query")
        return parts._replace(netloc=parts.netloc.lower(), path=quote(unquote(parts.path).rstrip("/"))).geturl()

    @model_validator(mode="after")
    def _can_sign_in(self) -> Self:
        if self.password and not self.username:
            raise ValueError("a password requires username: too")
        if self.password and self.url.startswith("http://") and urlsplit(self.url).hostname not in _THIS_COMPUTER:
            raise ValueError("the password would be sent unencrypted: write https:// in url:")
        return self

    @property
    def address(self) -> str:
        """The folder's address."""
        return f"webdav:{self.url}"


def locate(address: str) -> Location:
    """Split the address of a version. It has no password, so no password is sent to a server that it names."""
    url, _, query = address.removeprefix("webdav:").partition("?")
    folder, _, key = url.rpartition("/")
    if not folder or not key:
        raise ValueError("it must name a folder and a file")
    return Location({"url": folder}, key, parse_qs(query).get("versionId", [None])[0])
