"""Settings of an ``fsspec`` store, and the ``fsspec:`` addresses made of them. Imports no SDK."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import parse_qs, quote, unquote

from pydantic import Field, SecretStr, field_validator, model_validator

from storage_plugins import Location, StoreSettings

SFTP = ("sftp", "ssh")
WEBDAV = ("webdav", "dav")
_PORT = 22
_USERS = (*SFTP, "ftp", "smb")  # protocols that write user@host; elsewhere an @ is part of a name
_SERVERS = dict.fromkeys(WEBDAV, "base_url")  # the option that names the server
_ENCRYPTED_BY = {"ftp": "tls", "webhdfs": "use_https"}  # options that make a protocol encrypt
_REFUSED = {
    "file": "write `backend: local` and root:, which does more",
    "local": "write `backend: local` and root:, which does more",
    "s3": "write `backend: s3` and bucket:, which does more",
    "s3a": "write `backend: s3` and bucket:, which does more",
    "http": "a web address can only be read: give it to storage_plugins.load",
    "https": "a web address can only be read: give it to storage_plugins.load",
}
# filesystems made of other filesystems: caches would hide changes, others would read other locations
_MADE_OF_OTHERS = (
    "async_wrapper",
    "blockcache",
    "cached",
    "dask",
    "data",
    "dir",
    "filecache",
    "generic",
    "git",
    "libarchive",
    "reference",
    "simplecache",
    "tar",
    "zip",
)
_IPV6 = re.compile(r"//([^/@]*@)?\[[0-9a-f:.]+\]", re.I)
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)", re.S)
_SECRET = re.compile(r"pass|secret|token|credential|pkey|(account|api|access|private)_?key$", re.I)
_OURS = (
    "asynchronous",
    "host",
    "host_key_policy",
    "loop",
    "protocol",
    "skip_instance_cache",
    "sock",
    "use_listings_cache",
)


# protocols whose addresses name no server: it is the service's own
_CLOUDS = ("abfs", "abfss", "adl", "az", "box", "dropbox", "gcs", "gdrive", "gs", "hf", "memory", "oss")
_NAMES_SERVER = re.compile(r"host|ur[li]|endpoint|prox|server|address|domain|connection", re.I)


def _addresses(options: Any, name: str = "") -> list[str]:
    """Return the texts among options that name a server."""
    if isinstance(options, dict):
        return [found for key, value in options.items() for found in _addresses(value, str(key))]
    if isinstance(options, list | tuple):
        return [found for value in options for found in _addresses(value, name)]
    is_address = isinstance(options, str) and ("://" in options or _NAMES_SERVER.search(name))
    return [options] if is_address else []


class Url(NamedTuple):
    """A location; ``user`` and ``port`` are None for protocols without them."""

    protocol: str
    user: str | None
    host: str
    port: int | None
    path: str


def parse(url: str) -> Url:
    """Split a URL as fsspec does, without decoding percent signs; raise ValueError for an invalid one."""
    match = _URL.fullmatch(url)
    if not match or "::" in _IPV6.sub("//", url):
        raise ValueError("is not the address of one filesystem, such as sftp://host/folder")
    protocol, rest = match.groups()
    if protocol in _REFUSED:
        raise ValueError(f"{protocol}:// is not for this backend: {_REFUSED[protocol]}")
    if protocol in _MADE_OF_OTHERS:
        raise ValueError(f"{protocol}:// is made of other filesystems: name the filesystem itself")
    host, _, path = rest.partition("/")
    before, at, after = host.rpartition("@")
    if ":" in before:
        raise ValueError("contains a password: write it as secrets: {password: ${VARIABLE}}")
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or not part.isprintable() for part in (host, *parts)):
        raise ValueError("has a folder named . or .., or with characters that cannot be printed")
    user, port = None, None
    if protocol in _USERS:
        user, host = before or None, after
        if at and not user:
            raise ValueError("has no user before the @")
        named, colon, number = host.rpartition(":")
        if colon and not host.endswith("]"):
            if not number.isdecimal() or not 0 < int(number) < 65536:
                raise ValueError(f"{number!r} is not a port number")
            host, port = named, int(number)
        host = host.strip("[]").lower()
    if protocol in SFTP:
        if not host or not parts or parts[0].startswith("~"):
            raise ValueError("must name a folder by its whole path, as in sftp://host/srv/data")
        protocol, port = "sftp", None if port == _PORT else port
    return Url(protocol, user, host, port, "/".join(parts))


class FsspecSettings(StoreSettings):
    """Settings of an ``fsspec`` store."""

    url: str = Field(description="the folder: sftp://host/srv/data, gs://bucket/folder, webdav://folder, …")
    options: dict[str, Any] = Field(
        {}, description="further options of fsspec's filesystem, such as username, key_filename, base_url"
    )
    secrets: dict[str, SecretStr] = Field(
        {}, description="options that are secret, such as password, each written ${VARIABLE}"
    )
    host_keys: Literal["known", "any"] = Field(
        "known", description="which SFTP servers to connect to: those in known_hosts, or any"
    )

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        parse(value)
        return value

    @field_validator("options")
    @classmethod
    def _is_plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, option in value.items():
            if _SECRET.search(name):
                raise ValueError(f"{name} may be a secret: write it under secrets: instead")
            if name in _OURS:
                raise ValueError(f"{name} cannot be set here")
            if "${" in str(option):
                raise ValueError(f"{name}: ${{…}} is replaced only under secrets:")
            if isinstance(option, str) and re.search(r"://[^/]*@", option):
                raise ValueError(f"{name} contains a user or password: write them separately, under secrets:")
        return value

    @model_validator(mode="after")
    def _fit(self) -> Self:
        place = parse(self.url)
        if place.protocol != "sftp" and "host_keys" in self.model_fields_set:
            raise ValueError("host_keys: is for sftp:// addresses only")
        if place.protocol == "sftp" and "port" in self.options:
            raise ValueError("write the port in url:, as in sftp://host:2222/srv/data")
        if twice := self.options.keys() & self.secrets.keys():
            raise ValueError(f"{min(twice)} is in options: and in secrets:")
        return self

    def credential_hosts(self) -> list[str]:
        """Return the server in ``url:``, unless it is a cloud's own, and servers in ``options:``."""
        place = parse(self.url)
        port = f":{place.port}" if place.port else ""
        host = f"[{place.host}]" if place.protocol in _USERS and ":" in place.host else place.host
        encrypted = self.options.get(_ENCRYPTED_BY.get(place.protocol, "")) is True
        scheme = f"{place.protocol}s" if encrypted else place.protocol
        named = [] if place.protocol in (*_CLOUDS, *WEBDAV) else [f"{scheme}://{host}{port}"]
        return [*named, *_addresses(self.options)]

    def implicit_credentials(self) -> str | None:
        """Return what fsspec finds itself. A known SFTP server proves its identity and gets no secret."""
        protocol = parse(self.url).protocol
        if protocol in SFTP:
            trusting = self.host_keys == "any" or any(name.startswith("gss") for name in self.options)
            return "your SSH sign-in" if trusting else None
        return None if protocol in ("ftp", "memory", *WEBDAV) else f"the credentials that fsspec finds for {protocol}"

    def given(self) -> dict[str, Any]:
        """Return the filesystem's options, with the values of the secret ones."""
        return {**self.options, **{name: secret.get_secret_value() for name, secret in self.secrets.items()}}

    @property
    def address(self) -> str:
        """The location, the same for every user."""
        return self._written("")

    def uri(self, key: str, version_id: str | None) -> str:
        """Return the address of one version of ``key``, for `locate`."""
        return f"fsspec:{self._written(key, version_id)}"

    def _written(self, key: str, version_id: str | None = None) -> str:
        place = parse(self.url)
        host = f"[{place.host}]" if place.protocol in _USERS and ":" in place.host else quote(place.host, safe="@:")
        path = quote("/".join(part for part in (place.path, key) if part))
        option = _SERVERS.get(place.protocol, "")
        query = {"versionId": version_id, option: self.options.get(option)}
        given = "&".join(f"{name}={quote(str(value), safe='/:')}" for name, value in query.items() if value)
        port = f":{place.port}" if place.port else ""
        return f"{place.protocol}://{host}{port}/{path}".rstrip("/") + (f"?{given}" if given else "")


def locate(address: str) -> Location:
    """Split such an address. It chooses the location, and no other option."""
    url, _, given = address.removeprefix("fsspec:").partition("?")
    folder, _, key = unquote(url).rpartition("/")
    place = parse(folder)
    if place.user or not key:
        raise ValueError("it does not name a folder and a file")
    query = {name: values[0] for name, values in parse_qs(given).items()}
    settings: dict[str, Any] = {"url": folder}
    option = _SERVERS.get(place.protocol)
    if option in query:
        settings["options"] = {option: query[option]}
    return Location(settings, key, query.get("versionId"))
