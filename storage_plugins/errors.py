"""The errors of this package: one tree, grouped by what a caller would do about them.

Each error is also the builtin that a caller without knowledge of this package would catch, so
``except FileNotFoundError`` works. ``hint`` says what to do; it is part of the message.
"""

from __future__ import annotations


class StorageError(Exception):
    """Anything that went wrong between an assembly and the place where it is kept.

    ``hint`` is one sentence that says what to do about it, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.__dict__)


def _rebuild(cls: type[StorageError], message: str, hint: str | None, state: dict[str, object]) -> StorageError:
    """Restore an error from a pickle, so that it crosses process boundaries whole."""
    error = cls.__new__(cls, message)
    StorageError.__init__(error, message, hint=hint)
    error.__dict__.update(state)
    return error


class AssemblyNotFound(StorageError, FileNotFoundError):
    """The store can be reached and holds nothing of that name, version or hash."""


class AccessDenied(StorageError, PermissionError):
    """The store refused: private, or missing where missing looks the same."""


class IntegrityError(StorageError):
    """Bytes are not the ones they should be. Nothing of them was kept under the wanted name."""


class AlreadyExists(StorageError, FileExistsError):
    """Something else is already there, and it was left as it is."""


class QuotaExceeded(StorageError, OSError):
    """No room: a full disk, a quota, or a file over the host's size limit."""


class StoreUnavailable(StorageError, ConnectionError):
    """The store cannot be reached, or does not answer as it should, for now."""


class RateLimited(StoreUnavailable):
    """The host asks to slow down.

    ``retry_after`` is how long it wants us to wait, in seconds, or None where it does not say.
    """

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class InvalidIdentifier(StorageError, ValueError):
    """A name that cannot be used in any store."""


class IdentifierCollision(AlreadyExists, InvalidIdentifier):
    """A name that would share its file with another name's assembly, or differs from it only in case."""


class InvalidPin(StorageError, ValueError):
    """A hash that is no hash, or a version id that names different bytes in two stores."""


class EncodingError(StorageError, TypeError):
    """An assembly that the file format cannot carry unchanged, or a file that is no assembly."""


class NotSupported(StorageError, NotImplementedError):
    """Not something this kind of store can do."""


class ConfigError(StorageError, ValueError):
    """``storage.yaml``, or a setting that overrides it, is wrong: a misspelt key, a bucket that does not exist."""


class PluginError(StorageError):
    """A backend plugin is missing, broken, or claims a name that another one claims too."""
