"""What OSF and requests say, as this project's errors."""

from __future__ import annotations

import contextlib
import email.utils
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

_EPOCH = 1e9  # above it, a number is a moment and not a while


@contextlib.contextmanager
def translated(what: str, address: str, *, secret: str | None = None) -> Iterator[None]:
    """Raise this project's error for whatever the SDK raises in this block.

    ``what`` names the thing asked for. A cause that shows ``secret``, which travels in addresses, is
    chained without its words.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        told = " ".join(str(error).split())
        if secret and secret in told:
            told = told.replace(secret, "…")
            cause: Exception = type(error)(told) if isinstance(error, requests.RequestException) else OSError(told)
        else:
            cause = error
        raise _error(error, f"{type(error).__name__}: {told}", what, address) from cause


def _error(error: Exception, told: str, what: str, address: str) -> StorageError:
    wrong = requests.exceptions.InvalidURL | requests.exceptions.MissingSchema | requests.exceptions.InvalidSchema
    if isinstance(error, wrong):
        return ConfigError(f"{address}: {told}", hint="Check api_url: in storage.yaml.")
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
        return StoreUnavailable(
            f"{what} in {address}: OSF cannot be reached, or the connection broke ({told})",
            hint="Check the network, and api_url: in storage.yaml if there is one.",
        )
    return StorageError(f"{what} in {address}: {told}")


def refusal(response: Any, what: str, address: str, *, of_project: bool = False) -> StorageError:
    """Return the error that an answer stands for. ``of_project``: the project itself was asked for."""
    status, said = response.status_code, _said(response)
    told = f"{status} {said}".strip()
    if status == 429:
        return RateLimited(f"{address} asks to slow down ({told})", retry_after=_retry_after(response, said))
    if status in (401, 403):
        return AccessDenied(f"{what} in {address} is private or missing ({told})")
    if status == 410 or (status == 404 and of_project):
        return ConfigError(
            f"There is no project at {address}, or no longer ({told})", hint="Check project: in storage.yaml."
        )
    if status == 404:
        return AssemblyNotFound(f"There is no {what} in {address}")
    if status in (413, 507) or (status == 400 and not response.content):  # a bare 400: the body is too large
        return QuotaExceeded(
            f"{what} does not fit into {address} ({told})",
            hint="A project has a quota, and a file a limit of 5 GB: use a further component, or a smaller file.",
        )
    if status == 409:
        return AlreadyExists(f"{what} is in {address} already ({told})")
    if status == 501:
        return NotSupported(f"{what}: {address} has no such request ({told})")
    if status >= 500 or 300 <= status < 400:
        return StoreUnavailable(f"{address} does not answer as it should ({told})")
    return StorageError(f"{what} in {address} was refused ({told})")


def _said(response: Any) -> str:
    """Return what an answer says for people, in any of the shapes there are; nothing of a web page."""
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return ""
    if not isinstance(content, dict):
        return ""
    errors = content.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        content = errors[0]
    for name in ("detail", "message", "message_short", "error", "response"):
        if isinstance(content.get(name), str):
            return " ".join(content[name].split())[:200]
    return ""


def _retry_after(response: Any, said: str) -> float | None:
    """Return the seconds to wait: a number, a moment, or what the text says; None where nothing does."""
    value = str(response.headers.get("Retry-After", "")).strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        number = float(value)
        return max(0.0, number - time.time()) if number > _EPOCH else number
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    match = re.search(r"available in (\d+) second", said)
    return float(match[1]) if match else None
