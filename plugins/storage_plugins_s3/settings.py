"""Settings of an ``s3`` store, and the ``s3:`` addresses made of them. Imports no SDK."""

from __future__ import annotations

import os
import re
from typing import Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pydantic import Field, StrictBool, field_validator

from storage_plugins import Location, StoreSettings

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_FOLDER = re.compile(r"[A-Za-z0-9!_.*'()+=,@ -]+")


class S3Settings(StoreSettings):
    """Settings of an ``s3`` store. Credentials come from the standard AWS chain, never from here."""

    bucket: str = Field(description="name of the bucket, or bucket/prefix")
    prefix: str = Field("", description="folder within the bucket")
    endpoint_url: str | None = Field(None, description="address of a server that is not Amazon's")
    region: str | None = Field(None, description="AWS region; else the profile's, else us-east-1")
    profile: str | None = Field(None, description="profile in the AWS credentials and config files")
    anonymous: Literal["auto", "always", "never"] = Field(
        "auto", description="auto: use credentials if there are any and they help"
    )
    requester_pays: StrictBool = Field(False, description="accept the bucket's charges for requests")
    publish_by: Literal["tag", "acl", "prefix"] = Field(
        "tag", description="how publish opens an object: a tag that the bucket's policy knows, its ACL, or a copy"
    )
    public_prefix: str = Field("public", description="folder below the store's for the copies of publish_by: prefix")

    @field_validator("bucket", "prefix", "public_prefix")
    @classmethod
    def _no_odd_folders(cls, value: str) -> str:
        if "://" in value:
            raise ValueError(f"{value!r} is an address: write it without s3://")
        folders = [part for part in value.strip("/").split("/") if part]
        if any(part in (".", "..") or not _FOLDER.fullmatch(part) for part in folders):
            raise ValueError(f"{value!r} has a folder that S3 or the web cannot name safely")
        return "/".join(folders)

    @field_validator("bucket")
    @classmethod
    def _is_bucket(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value.partition("/")[0]):
            raise ValueError(f"{value!r} does not begin with a bucket's name")
        return value

    @field_validator("endpoint_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is not an http:// or https:// address")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("is an address alone: no user, password or query")
        return value.rstrip("/")

    @property
    def bucket_name(self) -> str:
        """The bucket without a folder."""
        return self.bucket.partition("/")[0]

    def credential_hosts(self) -> list[str]:
        """Return the server in these settings; one in the user's own AWS configuration is not asked about."""
        own = self.model_copy(update={"endpoint_url": None}).endpoint
        stranger = self.endpoint_url and self.endpoint_url != own and self.anonymous != "always"
        return [self.endpoint_url] if self.endpoint_url and stranger else []

    def implicit_credentials(self) -> str:
        """Return what signs the requests, with the session token that they carry."""
        return "AWS credentials"

    @property
    def folder(self) -> str:
        """What every key begins with: empty, or ending in ``/``."""
        parts = [part for part in (self.bucket.partition("/")[2], self.prefix) if part]
        return "".join(f"{part}/" for part in parts)

    @property
    def public_folder(self) -> str:
        """Where the copies of ``publish_by: prefix`` go."""
        return f"{self.folder}{self.public_prefix}/"

    @property
    def endpoint(self) -> str | None:
        """The server, None for Amazon's: the setting, else the environment as the AWS tools read it."""
        if self.endpoint_url or os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            return self.endpoint_url
        named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return named.rstrip("/") if named else None

    @property
    def address(self) -> str:
        """The place itself; a server that is not Amazon's is named in it."""
        place = f"s3://{self.bucket_name}/{quote(self.folder)}".rstrip("/")
        return f"{place}?endpoint_url={quote(self.endpoint, safe='/:')}" if self.endpoint else place


def uri(settings: S3Settings, key: str, version_id: str | None) -> str:
    """Return the address of one version of ``key``."""
    query = {"versionId": version_id, "endpoint_url": settings.endpoint}
    given = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in query.items() if value)
    return f"s3://{settings.bucket_name}/{quote(settings.folder + key)}{'?' if given else ''}{given}"


def locate(address: str) -> Location:
    """Take such an address apart. A server named in it learns no secret: signatures hold for one host only."""
    parts = urlsplit(address)
    folder, _, key = unquote(parts.path).strip("/").rpartition("/")
    if not parts.netloc or not key:
        raise ValueError("it names no bucket and key")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    settings = {"bucket": f"{parts.netloc}/{folder}".rstrip("/")}
    if "endpoint_url" in query:
        settings["endpoint_url"] = query["endpoint_url"]
    return Location(settings, key, query.get("versionId"))
