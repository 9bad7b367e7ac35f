"""What botocore and aiohttp say, as this project's errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import botocore.exceptions

from storage_plugins import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    IntegrityError,
    NotSupported,
    QuotaExceeded,
    RateLimited,
    StorageError,
    StoreUnavailable,
)

# by S3's error codes; an answer to HEAD has no body, so its code is the status
_NOT_FOUND = {"NoSuchKey", "NoSuchVersion", "404", "405", "MethodNotAllowed"}  # 405: a delete marker
_DENIED = {
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "400",  # to HEAD: expired credentials, with no body to say so
    "401",
    "403",
}
_SLOWER = {"SlowDown", "RequestLimitExceeded", "TooManyRequests", "429"}
_AWAY = {"InternalError", "RequestTimeout", "ServiceUnavailable", "500", "502", "503", "504"}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_ROOM = {"QuotaExceeded", "EntityTooLarge"}

_HINTS = {
    "400": "The credentials may have expired: sign in again.",
    "ExpiredToken": "The credentials have expired: sign in again (for SSO: aws sso login).",
    "InvalidAccessKeyId": "The access key is not known there: check the profile, or AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "The secret key does not fit the access key: check the profile, or AWS_SECRET_ACCESS_KEY.",
    "RequestTimeTooSkewed": "This computer's clock is off: set it right.",
}


@contextlib.contextmanager
def translated(what: str, address: str) -> Iterator[None]:
    """Raise this project's error for whatever the SDK raises in this block. ``what`` names the thing asked for."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise _error(error, what, address) from error


def _error(error: Exception, what: str, address: str) -> StorageError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(
        cause, botocore.exceptions.ClientError | botocore.exceptions.BotoCoreError
    ):
        cause = cause.__cause__
    if isinstance(cause, botocore.exceptions.ClientError):
        return _answered(cause, what, address)
    if isinstance(cause, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
        return AccessDenied(
            f"{what} in {address} needs credentials, and there are none",
            hint="Set them up with `aws configure`, or name a profile: in storage.yaml.",
        )
    if isinstance(cause, botocore.exceptions.ProfileNotFound):
        return ConfigError(f"{address}: {cause}", hint="See `aws configure list-profiles`.")
    if isinstance(cause, botocore.exceptions.ParamValidationError | botocore.exceptions.InvalidRegionError):
        return ConfigError(f"{address}: {cause}")
    broken = botocore.exceptions.ConnectionError | botocore.exceptions.HTTPClientError
    if isinstance(cause, broken) or isinstance(error, OSError | TimeoutError):
        reason = " ".join(str(error).split()) or type(error).__name__
        return StoreUnavailable(f"{address} cannot be reached: {reason}", hint=_way_out(reason))
    if type(error).__module__.partition(".")[0] == "aiohttp":  # a connection that broke within a body
        return StoreUnavailable(f"{what} in {address}: the connection broke ({type(error).__name__})")
    return StorageError(f"{what} in {address}: {type(error).__name__}: {error}")


def _way_out(reason: str) -> str:
    """Return what to do where no connection came about."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "Nobody known has signed the server's certificate: name that of its signer in AWS_CA_BUNDLE."
    if "[SSL:" in reason:
        return "Check whether endpoint_url: begins with http: or https: as the server wants it."
    if "proxy" in reason.lower():
        return "Check the proxy named in HTTP_PROXY or HTTPS_PROXY; NO_PROXY lists hosts to reach without it."
    return "Check the network, and endpoint_url: in storage.yaml if there is one."


def _answered(error: botocore.exceptions.ClientError, what: str, address: str) -> StorageError:
    answer = error.response.get("Error", {})
    code, told = str(answer.get("Code") or ""), answer.get("Message") or ""  # Ceph sends empty ones
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{code}: {told}" if told else code
    if code == "NoSuchBucket":
        return ConfigError(f"There is no bucket at {address}", hint="Check bucket: and endpoint_url: in storage.yaml.")
    if code in _NOT_FOUND or (code == "InvalidArgument" and "version" in told.lower()):
        return AssemblyNotFound(f"There is no {what} in {address}")
    if code in _DENIED or code == "RequestTimeTooSkewed":
        return AccessDenied(f"{what} in {address} is private or missing ({said})", hint=_HINTS.get(code))
    if code in _SLOWER:
        return RateLimited(f"{address} asks to slow down ({said})", retry_after=_retry_after(error))
    if code in _DAMAGED:
        return IntegrityError(f"{what} did not arrive whole in {address} ({said}); nothing was kept", hint="Try again.")
    if code in _TAKEN:
        return AlreadyExists(f"{what} is in {address} already, or was changed meanwhile ({said})")
    if code in _ROOM:
        return QuotaExceeded(
            f"{what} does not fit into {address} ({said})", hint="Ask whoever looks after the bucket for room."
        )
    if code in (
        "301",
        "307",
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    ):
        return ConfigError(f"{address} is in another region ({said})", hint="Set region: in storage.yaml.")
    if code in ("NotImplemented", "501", "AccessControlListNotSupported"):
        return NotSupported(f"{what}: {address} has no such request ({said})")
    if code in _AWAY or status >= 500:
        return StoreUnavailable(f"{address} does not answer as it should ({said})", hint="Try again later.")
    if code == "InvalidObjectState":
        return StorageError(
            f"{what} in {address} is archived ({said})",
            hint="Somebody who may has to bring it back first: aws s3api restore-object.",
        )
    return StorageError(f"{what} in {address} was refused ({said})")


def _retry_after(error: botocore.exceptions.ClientError) -> float | None:
    value = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return float(value) if str(value).isdecimal() else None
