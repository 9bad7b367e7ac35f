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
_ROOM = "Free some space there, or ask whoever looks after it for more; nothing was kept."
_SIGN_IN = "Check the user's name and key, or password, in options: and secrets: in storage.yaml."


def translated(error: Exception, doing: str, settings: FsspecSettings, *, made: bool, alive: bool) -> StorageError:
    """Return this project's error for ``error``, out of which secrets are taken.

    ``doing`` completes the sentence "Cannot …"; ``made`` is whether there was a connection, and ``alive``
    whether it still stands.
    """
    for secret in (field.get_secret_value() for field in settings.secrets.values()):
        if secret and secret in str(error):  # changed where it is: it stays this one's context whatever is its cause
            error.args = tuple(str(part).replace(secret, "…") for part in error.args)
            if isinstance(error, OSError) and error.strerror:
                error.strerror = error.strerror.replace(secret, "…")
    told = " ".join(str(error).split()) or type(error).__name__
    if not made and isinstance(error, ImportError | TypeError | ValueError | FileNotFoundError):
        hint = "Check url:, options: and secrets: in storage.yaml."
        if isinstance(error, ImportError):
            hint = "Install what the message names; for sftp://, storage-plugins[fsspec]."
        return ConfigError(f"{settings.address} cannot be reached through fsspec: {told}", hint=hint)
    return _error(error, f"Cannot {doing} in {settings.address}: {told}", alive)


def _error(error: Exception, said: str, alive: bool) -> StorageError:
    number = error.errno if isinstance(error, OSError) else None
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "AuthenticationException" in kinds or "No authentication methods" in said:
        return AccessDenied(f"{said}: this user is not let in", hint=_SIGN_IN)
    if not alive or isinstance(error, ConnectionError | TimeoutError | EOFError | socket.gaierror) or number in _AWAY:
        return StoreUnavailable(said, hint="Check the network, and url: in storage.yaml.")
    if isinstance(error, FileNotFoundError):
        return AssemblyNotFound(said)
    if isinstance(error, PermissionError) or number in _DENIED:
        return AccessDenied(said)
    if isinstance(error, FileExistsError):
        return AlreadyExists(said)
    if number in _FULL:
        return QuotaExceeded(said, hint=_ROOM)
    if isinstance(error, NotImplementedError):
        return NotSupported(said)
    status = _status(error)
    if status in (401, 403):
        return AccessDenied(said)
    if status in (404, 410):
        return AssemblyNotFound(said)
    if status in (413, 507):
        return QuotaExceeded(said, hint=_ROOM)
    if status == 429:
        return RateLimited(said)
    if status >= 500 or (not status and type(error).__module__.partition(".")[0] in _CLIENTS):
        return StoreUnavailable(said, hint="Check the network, and url: in storage.yaml.")
    return StorageError(said)


def _status(error: Exception) -> int:
    """Return the HTTP status that an error of a web client carries, 0 if none."""
    for place in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(place, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return 0


def refused_write(said: str, doing: str, address: str) -> QuotaExceeded:
    """Return the error for a write that SFTP refused in its one word for everything that has no other."""
    return QuotaExceeded(
        f"Cannot {doing} in {address}: the server refuses further bytes ({said}), as it does when its disk is full",
        hint=_ROOM,
    )
