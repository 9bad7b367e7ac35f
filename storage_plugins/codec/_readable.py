"""Reading a file that may come from anyone: it is looked through first, and all errors are this package's."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from ..atomic import from_os_error
from ..errors import EncodingError, StorageError
from ._bounds import Refused, Unsound
from ._disk import cause, refuse_without_locks
from ._guard import NotNetCDF, look_through
from ._reading import Damaged

_OF_DAMAGE = (errno.EINVAL, errno.EOVERFLOW, errno.EFBIG)  # what a damaged offset gives


def identity(path: Path) -> tuple[int, ...]:
    """Return what differs once a file was written to or replaced."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@contextlib.contextmanager
def readable(path: Path, known: tuple[int, ...] | None = None) -> Iterator[None]:
    """Look through a file, and turn the errors of all who read it into this package's errors.

    ``known``: the `identity` of a file that was looked through before.
    """
    try:
        if known is None or known != identity(path):
            look_through(path)
        yield
    except StorageError:
        raise
    except Refused as error:
        raise EncodingError(
            f"{path.name} is not safe to open: {error}",
            hint="Write the assembly to a file of its own: xarray.load_dataset(…) where it is trusted, then upload.",
        ) from error
    except NotNetCDF as error:
        raise EncodingError(
            f"{path.name} is not a netCDF file: {error}",
            hint="Only netCDF files contain assemblies. Store other files with upload_file and fetch.",
        ) from error
    except (Damaged, Unsound) as error:
        raise EncodingError(
            f"{path.name} is damaged: {error}", hint="Load it again from the store, or from another copy."
        ) from error
    except MemoryError as error:
        raise StorageError(
            f"There is not enough memory to load {path.name}", hint="Load it in parts: chunks={}."
        ) from error
    except Exception as error:
        _raise_cause(path, error)
        raise EncodingError(
            f"{path.name} cannot be read as netCDF: {error}",
            hint="It may be damaged. Load it again from the store, or from another copy.",
        ) from error


def _raise_cause(path: Path, error: Exception) -> None:
    """Raise what the operating system has against reading a file, if anything: libraries only say that they failed."""
    if isinstance(error, OSError) and (error.errno or 0) > 0 and error.errno not in _OF_DAMAGE:
        found: OSError | None = error
    else:
        found = cause(path)
    if found is not None:
        refuse_without_locks(path)
        raise from_os_error(found, f"read {path.name}") from error
    refuse_without_locks(path)
