"""The errors of an S3 server, and of botocore and urllib3, as this project's errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import botocore.exceptions
import urllib3.exceptions

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

# by S3's error codes; the answer to a HEAD has no body, so its code is the status
_NOT_FOUND = {"NoSuchKey", "NoSuchVersion", "404", "405", "MethodNotAllowed"}  # 405: a delete marker
_NOT_ALLOWED = {"AccessDenied", "AllAccessDisabled", "401", "403"}
_BAD_CREDENTIALS = {
    "ExpiredToken": "The credentials have expired: sign in again (for SSO: aws sso login).",
    "TokenRefreshRequired": "The credentials have expired: sign in again (for SSO: aws sso login).",
    "400": "The credentials may have expired: sign in again.",  # to HEAD, which has no body that says so
    "InvalidToken": "Sign in again, or check AWS_SESSION_TOKEN.",
    "InvalidAccessKeyId": "The server does not know the access key: check the profile, or AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "The secret key does not match the access key: check the profile, "
    "or AWS_SECRET_ACCESS_KEY.",
}
_SLOWER = {"SlowDown", "RequestLimitExceeded", "TooManyRequests", "429"}
_UNAVAILABLE = {"InternalError", "RequestTimeout", "ServiceUnavailable"}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_TOO_LARGE = {"QuotaExceeded", "EntityTooLarge"}
_OTHER_REGION = {
    "301",
    "307",
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_UNKNOWN_REQUEST = {"NotImplemented", "501", "AccessControlListNotSupported"}
_SKEW = timedelta(minutes=14)  # Amazon refuses requests from clocks that are 15 minutes off
_NOT_SENT = (
    botocore.exceptions.EndpointConnectionError,
    botocore.exceptions.ConnectTimeoutError,
    botocore.exceptions.ProxyConnectionError,
)


class Refusal(Exception):
    """An answer with an error status.

    Attributes:
        status: of HTTP.
        code: S3's error code; the status where the answer has none, which ``explained`` says.
        message: what the server says about it.
        headers: of the answer, names in lower case.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.headers = status, code or str(status), message, headers
        self.explained = bool(code)


class NotSent(OSError):
    """The connection broke before the whole body was sent, so that the request had no effect."""


class Interrupted(Exception):
    """Carries what a callback of the caller raised, which is passed on unchanged."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def translated(what: str, address: str) -> Iterator[None]:
    """Raise this project's error for whatever is raised in this block. ``what`` names the file or setting."""
    try:
        yield
    except StorageError:
        raise
    except Interrupted as interrupted:
        raise interrupted.error from None
    except Exception as error:
        raise _error(error, what, address) from error


def not_s3(address: str, why: str) -> StoreUnavailable:
    """Return the error for an answer that no S3 server gives."""
    return StoreUnavailable(
        f"{address} does not answer as an S3 server: {why}",
        hint="Check endpoint_url:, and whether the network asks for a sign-in. If neither, try again later.",
    )


def had_no_effect(error: StorageError) -> bool:
    """Whether a write that failed like this certainly changed nothing, and may be sent again later."""
    cause = error.__cause__
    if isinstance(cause, Refusal):
        return isinstance(error, StoreUnavailable) and cause.explained  # not the word of a proxy between
    return isinstance(cause, (*_NOT_SENT, NotSent))


def is_clock(error: StorageError) -> bool:
    """Whether a request was refused because this computer's clock is off, which says nothing of what was asked for."""
    cause = error.__cause__
    return isinstance(cause, Refusal) and (
        cause.code == "RequestTimeTooSkewed" or clock_error(cause.headers) is not None
    )


def clock_error(headers: Mapping[str, str]) -> timedelta | None:
    """Return by how much this computer's clock is ahead of the server's, None unless that matters."""
    try:
        ahead = datetime.now(UTC) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):  # TypeError: a date without a time zone, too
        return None
    return ahead if abs(ahead) > _SKEW else None


def _error(error: Exception, what: str, address: str) -> StorageError:
    if isinstance(error, Refusal):
        return refused(error, what, address)
    if isinstance(error, botocore.exceptions.ClientError):
        told, answer = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        code, message = str(told.get("Code") or ""), str(told.get("Message") or "")
        refusal = Refusal(answer.get("HTTPStatusCode", 0), code, message, answer.get("HTTPHeaders", {}))
        return refused(refusal, what, address)
    if isinstance(error, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
        return AccessDenied(
            f"{what} in {address} needs credentials, and there are none",
            hint="Set them up with `aws configure`, or name a profile: in storage.yaml.",
        )
    if isinstance(error, botocore.exceptions.ProfileNotFound):
        return ConfigError(f"{address}: {error}", hint="See `aws configure list-profiles`.")
    wrong = (
        botocore.exceptions.ParamValidationError,
        botocore.exceptions.InvalidRegionError,
        botocore.exceptions.InvalidConfigError,
        botocore.exceptions.ConfigParseError,
    )
    if isinstance(error, wrong):
        return ConfigError(f"{address}: {error}")
    broken = (
        botocore.exceptions.ConnectionError,
        botocore.exceptions.HTTPClientError,
        urllib3.exceptions.HTTPError,
        OSError,
    )
    if isinstance(error, broken):
        reason = " ".join(str(error).split()) or type(error).__name__
        return StoreUnavailable(f"{address} cannot be reached: {reason}", hint=_advice(reason))
    return StorageError(f"{what} in {address}: {type(error).__name__}: {error}")


def _advice(reason: str) -> str:
    """Return what to do where no connection could be made."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return (
            "The server's certificate is not signed by a trusted authority: set AWS_CA_BUNDLE to that of its authority."
        )
    if "[SSL:" in reason:
        return "Check whether endpoint_url: should begin with http: or https:."
    if "proxy" in reason.lower():
        return "Check the proxy named in HTTP_PROXY or HTTPS_PROXY; NO_PROXY lists hosts to reach without it."
    return "Check the network, and endpoint_url: in storage.yaml if there is one."


def refused(refusal: Refusal, what: str, address: str) -> StorageError:
    """Return this project's error for an answer with an error status."""
    code, status = refusal.code, refusal.status
    reason = f"{code}: {refusal.message}" if refusal.message else code  # Ceph sends empty messages
    if code == "NoSuchBucket":
        return ConfigError(f"There is no bucket at {address}", hint="Check bucket: and endpoint_url: in storage.yaml.")
    if code in _NOT_FOUND or (code == "InvalidArgument" and "version" in refusal.message.lower()):
        return AssemblyNotFound(f"There is no {what} in {address}")
    ahead = clock_error(refusal.headers) if status in (400, 401, 403) else None
    if code == "RequestTimeTooSkewed" or (ahead is not None and code in (*_NOT_ALLOWED, *_BAD_CREDENTIALS)):
        by = f" by {abs(ahead) // timedelta(minutes=1)} minutes" if ahead else ""
        return StoreUnavailable(  # AccessDenied would say something of the file; callers do without what is refused
            f"{address} refused the request because this computer's clock is off{by} ({reason})",
            hint="Set this computer's clock, then try again.",
        )
    if code in _BAD_CREDENTIALS:
        return AccessDenied(f"{address} does not accept the credentials ({reason})", hint=_BAD_CREDENTIALS[code])
    if code in _NOT_ALLOWED:
        return AccessDenied(f"{what} in {address} is private or missing ({reason})")
    if code == "InvalidObjectState":
        return AccessDenied(
            f"{what} in {address} is archived and cannot be read now ({reason})",
            hint="The owner of the bucket can restore it: aws s3api restore-object.",
        )
    if code in _SLOWER:
        return RateLimited(f"{address} asks for fewer requests ({reason})", retry_after=_retry_after(refusal))
    if code in _DAMAGED:
        return IntegrityError(
            f"{what} was damaged on its way to {address} ({reason}); nothing was stored", hint="Try again."
        )
    if code in _TAKEN:
        return AlreadyExists(f"{what} already exists in {address}, or was changed at the same time ({reason})")
    if code in _TOO_LARGE:
        return QuotaExceeded(
            f"{what} is too large for {address} ({reason})", hint="Ask the owner of the bucket for more space."
        )
    if code in _OTHER_REGION:
        return ConfigError(f"{address} is in another region ({reason})", hint="Set region: in storage.yaml.")
    if code in _UNKNOWN_REQUEST:
        return NotSupported(f"{what}: {address} does not support this request ({reason})")
    if code in _UNAVAILABLE or status >= 500:
        return StoreUnavailable(f"{address} is not available ({reason})", hint="Try again later.")
    return StorageError(f"The request for {what} in {address} was refused ({reason})")


def _retry_after(refusal: Refusal) -> float | None:
    value = refusal.headers.get("retry-after", "")
    return float(value) if str(value).isdecimal() else None
