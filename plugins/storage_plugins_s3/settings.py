"""Settings of an ``s3`` store, and the ``s3:`` addresses made of them. Imports no SDK."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pydantic import Field, StrictBool, field_validator

from storage_plugins import Location, StoreSettings
from storage_plugins.atomic import expanded

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_FOLDER = re.compile(r"[A-Za-z0-9!_.*'()+=,@ -]+")


class S3Settings(StoreSettings):
    """Settings of an ``s3`` store. Credentials come from the standard AWS chain, never from here."""

    bucket: str = Field(description="name of the bucket, or bucket/folder")
    prefix: str = Field("", description="folder within the bucket")
    endpoint_url: str | None = Field(None, description="address of a server other than Amazon's")
    region: str | None = Field(None, description="AWS region (default: the profile's, else us-east-1)")
    profile: str | None = Field(None, description="profile in the AWS credentials and config files")
    anonymous: Literal["auto", "always", "never"] = Field(
        "auto", description="auto: with credentials if there are any, else without; always or never without"
    )
    requester_pays: StrictBool = Field(False, description="pay for requests and transfers")
    publish_by: Literal["tag", "acl", "prefix"] = Field(
        "tag",
        description="how publish opens an object: by a tag that the bucket policy allows, by its ACL, or by a copy",
    )
    public_prefix: str = Field("public", description="subfolder for the copies that publish_by: prefix makes")

    @field_validator("bucket", "prefix", "public_prefix")
    @classmethod
    def _no_odd_folders(cls, value: str) -> str:
        if "://" in value:
            raise ValueError(f"{value!r} is an address: write it without s3://")
        folders = [part for part in value.strip("/").split("/") if part]
        if any(part in (".", "..") or not _FOLDER.fullmatch(part) for part in folders):
            raise ValueError(f"{value!r} has a folder name with characters that are not safe in S3 keys")
        return "/".join(folders)

    @field_validator("bucket")
    @classmethod
    def _is_bucket(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value.partition("/")[0]):
            raise ValueError(f"{value!r} does not begin with a valid bucket's name")
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
            raise ValueError("must be an address alone: no user, password or query")
        return value.rstrip("/")

    @property
    def bucket_name(self) -> str:
        """The bucket without a folder."""
        return self.bucket.partition("/")[0]

    def credential_hosts(self) -> list[str]:
        """Return the server in these settings, unless the user's own AWS configuration names it.

        Nor is a server on this computer returned that gets signatures alone: they contain no secret. Temporary
        credentials send their session token with each.
        """
        if not self.endpoint_url or self.anonymous == "always":
            return []
        here = urlsplit(self.endpoint_url).hostname in ("127.0.0.1", "::1", "localhost")
        if (here and _has_lasting_keys(self.profile)) or self.endpoint_url == configured_endpoint(self.profile):
            return []
        return [self.endpoint_url]

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

    @functools.cached_property
    def endpoint(self) -> str | None:
        """The server, None for Amazon's: the setting, else what the AWS environment and config file name."""
        return self.endpoint_url or configured_endpoint(self.profile)

    @property
    def address(self) -> str:
        """The bucket and folder as an ``s3:`` address, with the server if it is not Amazon's."""
        location = f"s3://{self.bucket_name}/{quote(self.folder)}".rstrip("/")
        return f"{location}?endpoint_url={quote(self.endpoint, safe='/:')}" if self.endpoint else location


def uri(settings: S3Settings, key: str, version_id: str | None) -> str:
    """Return the address of one version of ``key``."""
    query = {"versionId": version_id, "endpoint_url": settings.endpoint}
    given = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in query.items() if value)
    return f"s3://{settings.bucket_name}/{quote(settings.folder + key)}{'?' if given else ''}{given}"


def configured_endpoint(profile: str | None) -> str | None:
    """Return the server that the AWS environment or config file names, None for Amazon's.

    In the order of the AWS SDKs and tools reference guide, "Service-specific endpoints".
    """
    ignored = os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
    named = None if ignored else os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not ignored and not named:
        named = _endpoint_in_files(profile, _state_of_files())
    return named.rstrip("/") if named else None


@functools.lru_cache(32)
def _endpoint_in_files(profile: str | None, _state: object) -> str | None:
    """Return the server that the AWS config file names. botocore takes a millisecond for it, and each receipt asks."""
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError:  # opening the store says so
        return None
    session = botocore.session.Session(profile=profile, include_builtin_handlers=False)
    with contextlib.suppress(botocore.exceptions.BotoCoreError):  # the first request says so
        return _endpoint_in_config(session.get_scoped_config(), session.full_config)
    return None


def _state_of_files() -> tuple[object, ...]:
    """Return what differs if the AWS files, or the profile in use, are others."""
    state: list[object] = [os.environ.get(name) for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")]
    for variable, name in (("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")):
        path = expanded(os.environ.get(variable, f"~/.aws/{name}"))
        state.append(path)
        with contextlib.suppress(OSError):
            status = path.stat()
            state += [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return tuple(state)


def _has_lasting_keys(profile: str | None) -> bool:
    """Whether requests are signed with keys that need no session token, as far as the environment and files show."""
    if profile is None and os.environ.get("AWS_ACCESS_KEY_ID"):
        return not (os.environ.get("AWS_SESSION_TOKEN") or os.environ.get("AWS_SECURITY_TOKEN"))
    try:
        import botocore.session
    except ImportError:  # opening the store says so
        return False
    session = botocore.session.Session(include_builtin_handlers=False)
    keys = session.full_config.get("profiles", {}).get(profile or session.profile or "default", {})
    return "aws_access_key_id" in keys and "aws_session_token" not in keys


def _endpoint_in_config(profile: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    if str(profile.get("ignore_configured_endpoint_urls", "")).lower() == "true":
        return None
    services = config.get("services", {}).get(profile.get("services"), {})
    service = services.get("s3")
    named = service.get("endpoint_url") if isinstance(service, dict) else None
    return named or profile.get("endpoint_url") or None


def locate(address: str) -> Location:
    """Take such an address apart.

    A server named in it is asked without credentials, unless it is the one that the AWS configuration names: the
    author of an address could pass signed requests on to the real server, and read what the reader may read.
    """
    parts = urlsplit(address)
    folder, _, key = unquote(parts.path).strip("/").rpartition("/")
    if not parts.netloc or not key:
        raise ValueError("it has no bucket or no key")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    settings = {"bucket": f"{parts.netloc}/{folder}".rstrip("/")}
    if "endpoint_url" in query:
        settings["endpoint_url"] = query["endpoint_url"]
        if query["endpoint_url"].rstrip("/") != configured_endpoint(None):
            settings["anonymous"] = "always"
    return Location(settings, key, query.get("versionId"))
