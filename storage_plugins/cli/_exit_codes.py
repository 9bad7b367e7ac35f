"""The exit codes of the command line, by kind of error. ``docs/command-line.md`` lists them for users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import errors

if TYPE_CHECKING:
    from .._store.many import ManyReport

OTHER = 1  # 2 is a wrong command line
INTERRUPTED = 130  # as shells report it: 128 + the signal's number
_CODES: dict[type[errors.StorageError], int] = {  # the first that fits
    errors.AssemblyNotFound: 3,
    errors.AccessDenied: 4,
    errors.IntegrityError: 5,
    errors.AlreadyExists: 6,
    errors.StoreUnavailable: 7,
    errors.QuotaExceeded: 8,
    errors.ConfigError: 9,
    errors.PluginError: 10,
    errors.NotSupported: 11,
    errors.EncodingError: 12,
    errors.InvalidIdentifier: 13,
    errors.InvalidPin: 14,
}


def exit_code(error: Exception | type[Exception]) -> int:
    """Return the exit code of an error, or of a class of errors."""
    kind = error if isinstance(error, type) else type(error)
    return next((code for known, code in _CODES.items() if issubclass(kind, known)), OTHER)


def exit_code_of_first(report: ManyReport[Any]) -> int:
    """Return the exit code of the first failure of many, 0 if there is none."""
    return next((exit_code(error) for error in report.failed.values()), 0)
