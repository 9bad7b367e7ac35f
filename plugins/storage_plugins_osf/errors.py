"""Errors of OSF and of requests, as this project's errors."""

from __future__ import annotations

import contextlib
import email.utils
import html
import re
import time
from collections.abc import Iterator
from typing import Any

import requests
import urllib3

from storage_plugins import (
    AccessDenied,
    AlreadyExists,
    AssemblyNotFound,
    ConfigError,
    NotSupported,
    QuotaExceeded,
    RateLimited,
    StorageError,
    StoreUnavailable,
)

_EPOCH = 1e9  # above it, a number is a date and not a duration


@contextlib.contextmanager
def translated(what: str, address: str, *, secret: str | None = None) -> Iterator[None]:
    """Raise this project's error for whatever requests raises in this block.

    ``what`` names the thing asked for. ``secret`` travels in URLs: a cause that contains it is chained with the secret
    replaced.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        shown = " ".join(str(error).split())
        if secret and secret in shown:
            shown = shown.replace(secret, "…")
            cause: Exception = type(error)(shown) if isinstance(error, requests.RequestException) else OSError(shown)
        else:
            cause = error
        raise _error(error, f"{type(error).__name__}: {shown}", what, address) from cause


def _error(error: Exception, shown: str, what: str, address: str) -> StorageError:
    wrong = requests.exceptions.InvalidURL | requests.exceptions.MissingSchema | requests.exceptions.InvalidSchema
    if isinstance(error, wrong):
        return ConfigError(f"{address}: {shown}", hint="Check api_url: in storage.yaml.")
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
        return StoreUnavailable(
            f"{what} in {address}: OSF cannot be reached, or the connection broke ({shown})",
            hint="Check the network, and api_url: in storage.yaml if there is one.",
        )
    return StorageError(f"{what} in {address}: {shown}")


def refusal(response: Any, what: str, address: str, *, of_project: bool = False) -> StorageError:
    """Return the error that an answer means. ``of_project``: the project itself was asked for."""
    status, reason = response.status_code, _reason(response)
    shown = f"{status} {reason}".strip()
    if status == 429:
        return RateLimited(f"{address} asks to slow down ({shown})", retry_after=_retry_after(response, reason))
    if status in (401, 403):
        return _denied(response, what, address, reason, shown)
    if status == 410 or (status == 404 and of_project):
        return ConfigError(
            f"There is no project at {address}, or no longer ({shown})",
            hint="Check project: (or registration:) in storage.yaml.",
        )
    if status == 404:
        return AssemblyNotFound(f"There is no {what} in {address}")
    if status in (413, 507) or (status == 400 and not response.content):  # a bare 400: the body is too large
        return QuotaExceeded(
            f"{what} does not fit into {address} ({shown})",
            hint="A project has a quota, and a file a limit of 5 GB. Use another component, or a smaller file.",
        )
    if status == 409:
        return AlreadyExists(f"{what} already exists in {address} ({shown})")
    if status == 501:
        return NotSupported(f"{what}: {address} does not support this request ({shown})")
    if status >= 500 or status < 400:  # also a success that has nothing of what was asked for
        return StoreUnavailable(f"{what} in {address}: OSF failed to answer ({shown})")
    return StorageError(f"{what} in {address} was refused ({shown})")


def _denied(response: Any, what: str, address: str, reason: str, shown: str) -> AccessDenied:
    """Return the error of a refused reader or writer, with OSF's own reason."""
    if "checkout" in reason.lower() or "checked out" in reason.lower():
        return AccessDenied(
            f"{what} in {address} cannot be changed: it is checked out by someone else ({shown})",
            hint="Ask the other contributors to check the file in again at osf.io, or upload under another name.",
        )
    method = getattr(getattr(response, "request", None), "method", "GET")
    if method in ("PUT", "POST", "PATCH", "DELETE"):
        return AccessDenied(f"{what} in {address} is private or missing, or you may only read it ({shown})")
    return AccessDenied(f"{what} in {address} is private or missing ({shown})")


def _reason(response: Any) -> str:
    """Return the reason that an answer gives for people, in any of OSF's shapes; nothing of a web page."""
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return ""
    if not isinstance(content, dict):
        return ""
    errors = content.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        content = errors[0]
    for name in ("detail", "message_long", "message", "message_short", "error", "response"):
        text = _plain(content.get(name))
        if text:
            return text
    return ""


def _plain(text: object) -> str:
    """Return a text without its HTML tags, on one line; nothing of a whole web page.

    Example:
        >>> _plain("Please <a href='x'>write to us</a>.")
        'Please write to us.'
    """
    if not isinstance(text, str) or re.search(r"<\s*(!doctype|html|head|body)\b", text, re.IGNORECASE):
        return ""
    return " ".join(html.unescape(re.sub(r"<[^<>]*>?", "", text)).split())[:300]


def _retry_after(response: Any, reason: str) -> float | None:
    """Return the seconds to wait, given as a number, a date or a sentence; None if there are none."""
    value = str(response.headers.get("Retry-After", "")).strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        number = float(value)
        return max(0.0, number - time.time()) if number > _EPOCH else number
    with contextlib.suppress(ValueError, TypeError, OverflowError, OSError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    match = re.search(r"available in (\d+) second", reason)
    return float(match[1]) if match else None
