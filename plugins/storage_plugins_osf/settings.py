"""Settings of an ``osf`` store, and the ``osf:`` addresses made of them. Imports no SDK."""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from storage_plugins import Location, StoreSettings

_API = "https://api.osf.io/v2/"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_GUID = re.compile(r"[a-z0-9]{5,12}")


class OsfSettings(StoreSettings):
    """Settings of an ``osf`` store. A public project is read without a token."""

    project: str = Field("", description="letters and digits after osf.io/ in the address of the project or component")
    registration: str = Field("", description="the same of a registration, in place of project; read only")
    folder: str = Field("", description="folder within the project (default: its root)")
    token: SecretStr | None = Field(None, description="personal access token, written ${OSF_TOKEN}")
    view_only: SecretStr | None = Field(None, description="key of a view-only link, to read a private project")
    api_url: str = Field(_API, description="address of the API, for OSF services other than osf.io")

    @field_validator("project", "registration")
    @classmethod
    def _is_guid(cls, value: str) -> str:
        guid = value.strip("/").lower()
        if guid and not _GUID.fullmatch(guid):
            raise ValueError(f"{value!r} is not a project: write only the letters and digits after osf.io/")
        return guid

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if bool(self.project) == bool(self.registration):
            raise ValueError("needs one of project and registration: the letters and digits after osf.io/")
        return self

    @field_validator("folder")
    @classmethod
    def _no_odd_folders(cls, value: str) -> str:
        folders = [part for part in value.strip("/").split("/") if part]
        if any(part.startswith(".") or not part.isprintable() for part in folders):
            raise ValueError(f"{value!r} has a folder whose name begins with a dot or has unprintable characters")
        return "/".join(folders)

    @field_validator("token", "view_only")
    @classmethod
    def _is_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        text = value.get_secret_value().strip()  # a variable read from a file ends in a newline
        if not re.fullmatch(r"[!-~]*", text):
            raise ValueError("has characters that are not allowed in a token")
        return SecretStr(text) if text else None

    @field_validator("api_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an https:// address")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must be an address without user, password or query")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("must be https://: a token would be sent unencrypted")
        return value.rstrip("/") + "/"

    def credential_hosts(self) -> list[str]:
        """Return the API, if it is not osf.io's."""
        return [] if self.api_url == _API else [self.api_url]

    def without_secrets(self) -> OsfSettings:
        """Return the settings without credentials."""
        return self.model_copy(update={"token": None, "view_only": None})

    @property
    def guid(self) -> str:
        """The letters and digits that name the project or registration."""
        return self.project or self.registration

    @property
    def is_registration(self) -> bool:
        """Whether the settings say that it is a registration."""
        return bool(self.registration)

    @property
    def address(self) -> str:
        """The location; it names the API if that is not osf.io's."""
        return uri(self, "", None)


def uri(settings: OsfSettings, key: str, version_id: str | None) -> str:
    """Return the address of one version of ``key``; of the location itself for the empty key."""
    path = "/".join(part for part in (settings.guid, settings.folder, key) if part)
    query = {"versionId": version_id, "api_url": None if settings.api_url == _API else settings.api_url}
    given = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in query.items() if value)
    return f"osf:{quote(path)}{'?' if given else ''}{given}"


def locate(address: str) -> Location:
    """Split such an address into settings, key and version id. It holds no token, so an API named in it gets none.

    Example:
        >>> locate("osf:abc12/brain/assy_X.nc?versionId=2").version_id
        '2'
    """
    parts = urlsplit(address)
    project, _, path = unquote(f"{parts.netloc}{parts.path}").strip("/").partition("/")
    folder, _, key = path.rpartition("/")
    if not project or not key:
        raise ValueError("an osf: address needs a project and a file, such as osf:abc12/file.nc")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    settings = {"project": project, "folder": folder}
    if "api_url" in query:
        settings["api_url"] = query["api_url"]
    return Location(settings, key, query.get("versionId"))
