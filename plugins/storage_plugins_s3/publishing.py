"""Opening one version of an object to everybody: by a tag that the bucket's policy knows, by ACL, or by a copy.

Amazon's rules: "Policy actions and context keys" and "Blocking public access" in the Amazon S3 user guide.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from storage_plugins import AccessDenied, NotSupported, StorageError

from .settings import S3Settings

TAG = {"Key": "storage-plugins", "Value": "public"}
_SID = "StoragePluginsPublic"
Call = Callable[..., dict[str, Any]]
"""A request to the bucket: its name, what it is about, and its parameters."""


def policy(settings: S3Settings) -> dict[str, Any]:
    """Return the statement that the bucket's policy needs once, so that `open_to_all` has an effect."""
    folder = settings.public_folder if settings.publish_by == "prefix" else settings.folder
    statement: dict[str, Any] = {
        "Sid": _SID,
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": f"arn:aws:s3:::{settings.bucket_name}/{folder}*",
    }
    if settings.publish_by == "tag":
        statement["Condition"] = {"StringEquals": {f"s3:ExistingObjectTag/{TAG['Key']}": TAG["Value"]}}
    return statement


def open_to_all(call: Call, settings: S3Settings, key: str, version_id: str | None) -> str | None:
    """Open one version; return its id for readers without credentials."""
    place = _place(settings.folder + key, version_id)
    if settings.publish_by == "tag":
        _retag(call, settings, key, place, [TAG])
    elif settings.publish_by == "acl":
        with _for_the_owner(settings, "put-object-acl", place, "--acl public-read"):
            call("put_object_acl", key, ACL="public-read", **place)
    else:
        source = {"Bucket": settings.bucket_name, **place}
        with _for_the_owner(settings, "copy-object", {"Key": settings.public_folder + key}, _copied_from(source)):
            answer = call("copy_object", key, Key=settings.public_folder + key, CopySource=source)
        copied = answer.get("VersionId")
        return str(copied) if copied else None
    return version_id


def close_to_all(call: Call, settings: S3Settings, key: str, version_id: str | None) -> None:
    """Close one version again."""
    place = _place(settings.folder + key, version_id)
    if settings.publish_by == "tag":
        _retag(call, settings, key, place, [])
    elif settings.publish_by == "acl":
        with _for_the_owner(settings, "put-object-acl", place, "--acl private"):
            call("put_object_acl", key, ACL="private", **place)
    else:
        held = call("head_object", key, **place)
        copies = call("list_object_versions", key, Prefix=settings.public_folder + key).get("Versions", [])
        for copy in copies:
            there = _place(settings.public_folder + key, copy["VersionId"])
            if copy["Key"] == there["Key"] and _same(call("head_object", key, **there), held):
                with _for_the_owner(settings, "delete-object", there, ""):
                    call("delete_object", key, **there)


def what_is_missing(call: Call, settings: S3Settings) -> str:
    """Return what whoever looks after the bucket has to do, where an opened version still cannot be read."""
    blocked: dict[str, Any] = {}
    with contextlib.suppress(StorageError):  # forbidden, or a server that has none
        blocked = call("get_public_access_block", "the bucket's settings").get("PublicAccessBlockConfiguration", {})
    hindering = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    lines = []
    if any(blocked.get(name) for name in (hindering[:2] if settings.publish_by == "acl" else hindering[2:])):
        options = ",".join(f"{name}=false" for name in hindering)
        lines.append("Block Public Access is on for the bucket. Whoever looks after it can turn it off:")
        command = _command(settings, "put-public-access-block", {})
        lines.append(f"    {command} --public-access-block-configuration {options}")
    if settings.publish_by != "acl":
        statements: list[Any] = []
        known = True
        try:
            statements = json.loads(call("get_bucket_policy", "the bucket's policy")["Policy"])["Statement"]
        except AccessDenied:
            known = False
        except (StorageError, KeyError, ValueError):
            pass  # there is none
        whole = {
            "Version": "2012-10-17",
            "Statement": [each for each in statements if each.get("Sid") != _SID] + [policy(settings)],
        }
        lines.append("The bucket's policy must allow it, once. Whoever looks after the bucket runs:")
        command = _command(settings, "put-bucket-policy", {})
        lines.append(f"    {command} --policy {shlex.quote(json.dumps(whole))}")
        if not known:
            lines.append(
                "If the bucket has a policy already, which cannot be seen from here, add this statement to it."
            )
    lines.append("Then publish again.")
    return "\n  ".join(lines)


def _retag(call: Call, settings: S3Settings, key: str, place: dict[str, str], added: list[dict[str, str]]) -> None:
    """Give a version our tag or take it away; other tags stay."""
    with _for_the_owner(settings, "get-object-tagging", place, ""):
        tags = call("get_object_tagging", key, **place).get("TagSet", [])
    wanted = [tag for tag in tags if tag["Key"] != TAG["Key"]] + added
    if wanted != tags:
        tagging = {"TagSet": wanted}
        with _for_the_owner(settings, "put-object-tagging", place, f"--tagging {shlex.quote(json.dumps(tagging))}"):
            call("put_object_tagging", key, Tagging=tagging, **place)


def _place(key: str, version_id: str | None) -> dict[str, str]:
    return {"Key": key} if version_id is None else {"Key": key, "VersionId": version_id}


def _same(copy: dict[str, Any], held: dict[str, Any]) -> bool:
    """Whether a copy has the bytes of a version: by the hash recorded at the upload, else by the server's tag."""
    recorded = copy.get("Metadata", {}).get("sha256"), held.get("Metadata", {}).get("sha256")
    return bool(recorded[0] == recorded[1] if all(recorded) else copy["ETag"] == held["ETag"])


def _copied_from(source: dict[str, str]) -> str:
    version = f"?versionId={source['VersionId']}" if "VersionId" in source else ""
    return f"--copy-source {shlex.quote(source['Bucket'] + '/' + source['Key'] + version)}"


def _command(settings: S3Settings, name: str, place: dict[str, str]) -> str:
    """Return a line for the AWS command-line tool."""
    parts = ["aws", "s3api", name, "--bucket", settings.bucket_name]
    for option, value in (("--key", place.get("Key")), ("--version-id", place.get("VersionId"))):
        parts += [option, value] if value else []
    parts += ["--endpoint-url", settings.endpoint] if settings.endpoint else []
    return shlex.join(parts)


@contextlib.contextmanager
def _for_the_owner(settings: S3Settings, name: str, place: dict[str, str], options: str) -> Iterator[None]:
    """Say, where these credentials may not, which command somebody who may has to run."""
    try:
        yield
    except AccessDenied as error:
        command = f"{_command(settings, name, place)} {options}".rstrip()
        error.hint = f"These credentials may not do it. Somebody who may can run:\n    {command}"
        raise
    except NotSupported as error:
        if "AccessControlListNotSupported" in error.message:
            error.hint = "ACLs are turned off for this bucket: set publish_by: tag for this store in storage.yaml."
        raise
