"""The errors of this package: one tree, grouped by what a caller would do about them.

Each error is also the builtin that a caller without knowledge of this package would catch, so
``except FileNotFoundError`` works. ``hint`` says what to do; it is part of the message::

    StorageError
      AssemblyNotFound       FileNotFoundError    check the name, the version or the store
        AssemblyWithdrawn                         use another version; the reason is in the message
      AccessDenied           PermissionError      ask for access
      IntegrityError                              load another copy
      AlreadyExists          FileExistsError      choose another name, or replace
        IdentifierCollision  and InvalidIdentifier
      QuotaExceeded          OSError              free some space
      StoreUnavailable       ConnectionError      try again later
        RateLimited                               after ``retry_after`` seconds
      InvalidIdentifier      ValueError           correct the name
      InvalidPin             ValueError           correct the hash or the version id
      EncodingError          TypeError            change the assembly
      NotSupported           NotImplementedError  use another kind of store
      ConfigError            ValueError           correct storage.yaml
      PluginError                                 install or update a backend
"""

from __future__ import annotations

from ._visible import visible


class StorageError(Exception):
    """The base of all errors of this package.

    ``hint`` is one sentence that says what to do about it, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = visible(message)  # it goes to logs as well
        self.hint = hint

    def __str__(self) -> str:
        return visible(f"{self.message}\n  {self.hint}" if self.hint else self.message)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.__dict__)


def _rebuild(cls: type[StorageError], message: str, hint: str | None, state: dict[str, object]) -> StorageError:
    """Restore an error from a pickle, so that it crosses process boundaries whole."""
    error = cls.__new__(cls, message)
    StorageError.__init__(error, message, hint=hint)
    error.__dict__.update(state)
    return error


class AssemblyNotFound(StorageError, FileNotFoundError):
    """The store was reached, and has nothing with that name, version or hash."""


class AssemblyWithdrawn(AssemblyNotFound):
    """The version was removed on purpose. The message says when, by whom and why."""


class AccessDenied(StorageError, PermissionError):
    """The store refused: private, or missing where missing looks the same."""


class IntegrityError(StorageError):
    """The bytes are not the expected ones. None of them were stored or returned under the requested name."""


class AlreadyExists(StorageError, FileExistsError):
    """The name is taken by something else, which was not changed."""


class QuotaExceeded(StorageError, OSError):
    """Not enough space: a full disk, a quota, or a file over the host's size limit."""


class StoreUnavailable(StorageError, ConnectionError):
    """The store cannot be reached at the moment, or does not answer as it should."""


class RateLimited(StoreUnavailable):
    """The host asks to slow down.

    ``retry_after`` is how long to wait, in seconds, or None where the host does not say.
    """

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class InvalidIdentifier(StorageError, ValueError):
    """A name that cannot be used in any store."""


class IdentifierCollision(AlreadyExists, InvalidIdentifier):
    """A name that would share its file with another name's assembly, or differs from it only in case."""


class InvalidPin(StorageError, ValueError):
    """An invalid hash, or an ambiguous version id: one that names different bytes in two stores."""


class EncodingError(StorageError, TypeError):
    """An assembly that the file format cannot store unchanged, or a file that is not an assembly."""


class NotSupported(StorageError, NotImplementedError):
    """Something that this kind of store cannot do."""


class ConfigError(StorageError, ValueError):
    """``storage.yaml``, or a setting that overrides it, is wrong: a misspelt key, a bucket that does not exist."""


class PluginError(StorageError):
    """A backend plugin is missing, broken, or claims a name that another one claims too."""
