"""Making one version of an object public: by a tag that the bucket policy allows, by its ACL, or by a copy.

Amazon's rules: "Policy actions and context keys" and "Blocking public access" in the Amazon S3 user guide.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator
from typing import Any

from storage_plugins import AccessDenied, NotSupported, StorageError

from .bucket import Bucket
from .settings import S3Settings

TAG = {"Key": "storage-plugins", "Value": "public"}
_SID = "StoragePluginsPublic"


def policy(settings: S3Settings) -> dict[str, Any]:
    """Return the statement that the bucket policy needs once, so that `open_to_all` has an effect."""
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


def open_to_all(bucket: Bucket, settings: S3Settings, key: str, version_id: str | None) -> str | None:
    """Open one version; return its id for readers without credentials."""
    named = _object(settings.folder + key, version_id)
    if settings.publish_by == "tag":
        _retag(bucket, settings, key, named, [TAG])
    elif settings.publish_by == "acl":
        with _for_the_owner(settings, "put-object-acl", named, "--acl public-read"):
            bucket.call("put_object_acl", key, ACL="public-read", **named)
    else:
        source = {"Bucket": settings.bucket_name, **named}
        with _for_the_owner(settings, "copy-object", {"Key": settings.public_folder + key}, _copied_from(source)):
            answer = bucket.call("copy_object", key, Key=settings.public_folder + key, CopySource=source)
        copied = answer.get("VersionId")
        return str(copied) if copied else None
    return version_id


def close_to_all(bucket: Bucket, settings: S3Settings, key: str, version_id: str | None) -> None:
    """Close one version again."""
    named = _object(settings.folder + key, version_id)
    if settings.publish_by == "tag":
        _retag(bucket, settings, key, named, [])
    elif settings.publish_by == "acl":
        with _for_the_owner(settings, "put-object-acl", named, "--acl private"):
            bucket.call("put_object_acl", key, ACL="private", **named)
    else:
        held = bucket.call("head_object", key, **named)
        for copy in bucket.versions(settings.public_folder + key):
            if copy.size is None:  # a delete marker
                continue
            there = _object(settings.public_folder + key, copy.version_id)
            if _same(bucket.call("head_object", key, **there), held):
                with _for_the_owner(settings, "delete-object", there, ""):
                    bucket.call("delete_object", key, **there)


def what_is_missing(bucket: Bucket, settings: S3Settings) -> str:
    """Return what the bucket's owner has to do where a published version still cannot be read."""
    blocked: dict[str, Any] = {}
    with contextlib.suppress(StorageError):  # forbidden, or a server that has none
        answer = bucket.call("get_public_access_block", "the bucket's settings")
        blocked = answer.get("PublicAccessBlockConfiguration", {})
    blocking = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    lines = []
    if any(blocked.get(name) for name in (blocking[:2] if settings.publish_by == "acl" else blocking[2:])):
        options = ",".join(f"{name}=false" for name in blocking)
        lines.append("Block Public Access is on for the bucket. Its owner can turn it off:")
        command = _command(settings, "put-public-access-block", {})
        lines.append(f"    {command} --public-access-block-configuration {options}")
    if settings.publish_by != "acl":
        statements: list[Any] = []
        known = True
        try:
            statements = _statements(bucket.call("get_bucket_policy", "the bucket's policy").get("Policy"))
        except (AccessDenied, ValueError):
            known = False
        except StorageError:
            pass  # there is none
        whole = {
            "Version": "2012-10-17",
            "Statement": [each for each in statements if each.get("Sid") != _SID] + [policy(settings)],
        }
        lines.append("The bucket policy must allow it, once. The owner of the bucket runs:")
        command = _command(settings, "put-bucket-policy", {})
        lines.append(f"    {command} --policy {shlex.quote(json.dumps(whole))}")
        if not known:
            lines.append(
                "If the bucket already has a policy, which these credentials cannot read, add this statement to it."
            )
    lines.append("Then publish again.")
    return "\n  ".join(lines)


def _statements(policy: Any) -> list[Any]:
    """Return the statements of a bucket's policy, of which one alone may be without a list. Raises ValueError."""
    try:
        found = json.loads(policy)["Statement"]
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("not a policy") from error
    statements = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) for each in statements):
        raise ValueError("not a policy")
    return statements


def _retag(bucket: Bucket, settings: S3Settings, key: str, named: dict[str, str], added: list[dict[str, str]]) -> None:
    """Add our tag to a version, or remove it; other tags stay."""
    with _for_the_owner(settings, "get-object-tagging", named, ""):
        tags = bucket.call("get_object_tagging", key, **named).get("TagSet", [])
    wanted = [tag for tag in tags if tag.get("Key") != TAG["Key"]] + added
    if wanted != tags:
        tagging = {"TagSet": wanted}
        with _for_the_owner(settings, "put-object-tagging", named, f"--tagging {shlex.quote(json.dumps(tagging))}"):
            bucket.call("put_object_tagging", key, Tagging=tagging, **named)


def _object(key: str, version_id: str | None) -> dict[str, str]:
    return {"Key": key} if version_id is None else {"Key": key, "VersionId": version_id}


def _same(copy: dict[str, Any], held: dict[str, Any]) -> bool:
    """Whether a copy has the bytes of a version: by the hash recorded at the upload, else by ETag."""
    recorded = copy.get("Metadata", {}).get("sha256"), held.get("Metadata", {}).get("sha256")
    return bool(recorded[0] == recorded[1] if all(recorded) else copy.get("ETag") == held.get("ETag") is not None)


def _copied_from(source: dict[str, str]) -> str:
    version = f"?versionId={source['VersionId']}" if "VersionId" in source else ""
    return f"--copy-source {shlex.quote(source['Bucket'] + '/' + source['Key'] + version)}"


def _command(settings: S3Settings, name: str, named: dict[str, str]) -> str:
    """Return a line for the AWS command-line tool."""
    parts = ["aws", "s3api", name, "--bucket", settings.bucket_name]
    for option, value in (("--key", named.get("Key")), ("--version-id", named.get("VersionId"))):
        parts += [option, value] if value else []
    parts += ["--endpoint-url", settings.endpoint] if settings.endpoint else []
    return shlex.join(parts)


@contextlib.contextmanager
def _for_the_owner(settings: S3Settings, name: str, named: dict[str, str], options: str) -> Iterator[None]:
    """Add to a refusal the command that the owner of the bucket can run."""
    try:
        yield
    except AccessDenied as error:
        command = f"{_command(settings, name, named)} {options}".rstrip()
        error.hint = f"These credentials are not allowed to do it. The owner of the bucket can run:\n    {command}"
        raise
    except NotSupported as error:
        if "AccessControlListNotSupported" in error.message:
            error.hint = "ACLs are turned off for this bucket: set publish_by: tag for this store in storage.yaml."
        raise
