"""What fsspec's many filesystems raise, as this project's errors."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from .settings import FsspecSettings

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_AWAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EIO, errno.EBADF)
_CLIENTS = ("aiohttp", "httpx", "httpcore", "requests", "urllib3", "paramiko")  # whose other errors are the network's
_FULL_HINT = "Free some space there, or ask its administrators for more; nothing was stored."
_AWAY_HINT = "Check the network, and url: in storage.yaml."
_ODD = (ValueError, LookupError, TypeError, AttributeError, SyntaxError)  # SyntaxError: of XML too
_SIGN_IN = "Check the user's name and key, or password, in options: and secrets: in storage.yaml."


def translated(error: Exception, doing: str, settings: FsspecSettings, *, made: bool, alive: bool) -> StorageError:
    """Return this project's error for ``error``, with secrets removed from both.

    ``doing`` completes the sentence "Cannot …"; ``made`` is whether there was a connection, and ``alive``
    whether it is still open.
    """
    for secret in (field.get_secret_value() for field in settings.secrets.values()):
        if secret and secret in str(error):  # changed in place, as it is shown as the cause
            error.args = tuple(str(part).replace(secret, "…") for part in error.args)
            if isinstance(error, OSError) and error.strerror:
                error.strerror = error.strerror.replace(secret, "…")
    message = " ".join(str(error).split()) or type(error).__name__
    if not made and isinstance(error, ImportError | TypeError | ValueError | FileNotFoundError):
        hint = "Check url:, options: and secrets: in storage.yaml."
        if isinstance(error, ImportError):
            hint = "Install the package that the message names; for sftp://, storage-plugins[fsspec]."
        return ConfigError(f"{settings.address} cannot be reached through fsspec: {message}", hint=hint)
    return _error(error, f"Cannot {doing} in {settings.address}: {message}", alive)


def _error(error: Exception, said: str, alive: bool) -> StorageError:
    number = error.errno if isinstance(error, OSError) else None
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "AuthenticationException" in kinds or "No authentication methods" in said:
        return AccessDenied(f"{said}: the server does not accept this user", hint=_SIGN_IN)
    if not alive or isinstance(error, ConnectionError | TimeoutError | EOFError | socket.gaierror) or number in _AWAY:
        return StoreUnavailable(said, hint=_AWAY_HINT)
    if isinstance(error, FileNotFoundError):
        return AssemblyNotFound(said)
    if isinstance(error, PermissionError) or number in _DENIED:
        return AccessDenied(said)
    if isinstance(error, FileExistsError):
        return AlreadyExists(said)
    if number in _FULL:
        return QuotaExceeded(said, hint=_FULL_HINT)
    if isinstance(error, NotImplementedError):
        return NotSupported(said)
    status = _status(error)
    if status in (401, 403):
        return AccessDenied(said)
    if status in (404, 410):
        return AssemblyNotFound(said)
    if status in (413, 507):
        return QuotaExceeded(said, hint=_FULL_HINT)
    if status == 429:
        return RateLimited(said)
    if status >= 500 or (not status and type(error).__module__.partition(".")[0] in _CLIENTS):
        return StoreUnavailable(said, hint=_AWAY_HINT)
    if isinstance(error, _ODD):
        return StoreUnavailable(f"{said}: the answer is not what this protocol defines", hint=_AWAY_HINT)
    return StorageError(said)


def _status(error: Exception) -> int:
    """Return the HTTP status of a web client's error, 0 if it has none."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return 0


def refused_write(said: str, doing: str, address: str) -> QuotaExceeded:
    """Return the error for a write that SFTP refused with its general failure, which may mean a full disk."""
    return QuotaExceeded(
        f"Cannot {doing} in {address}: the server refuses further bytes ({said}), as it does when its disk is full",
        hint=_FULL_HINT,
    )
