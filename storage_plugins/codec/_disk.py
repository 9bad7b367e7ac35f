"""Writing a file so that HDF5 never meets an error of the disk.

HDF5 cannot close a file that it could not write: it reports "HDF error", or crashes, now or when the process ends. So
it writes into memory, and this package writes the disk. The chunks, nearly all of a file, leave the memory at once.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..atomic import WRITTEN
from ..errors import StorageError
from ._library import close, h5py, library, pread

_BLOCK = 4 << 20  # bytes
_PAGE = mmap.ALLOCATIONGRANULARITY
_DESCRIPTORS = Path("/proc/self/fd")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class NewFile:
    """A file that HDF5 writes.

    Only Linux has files in memory; elsewhere HDF5 writes the disk itself. So it does without h5py, since netCDF4 alone
    would leave all chunks in memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._disk = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        self._memory: int | None = None
        self._moved: list[tuple[int, int]] = []
        if h5py is not None and hasattr(os, "memfd_create") and _DESCRIPTORS.is_dir():
            try:
                self._memory = os.memfd_create(path.name)
            except OSError:
                os.close(self._disk)
                raise

    def close(self) -> None:
        """Close it."""
        os.close(self._disk)
        if self._memory is not None:
            os.close(self._memory)

    @contextlib.contextmanager
    def opened(self, by: Callable[[Path], Any]) -> Iterator[Any]:
        """Let a library open the file and write to it.

        Args:
            by: opens the path, and returns what has a method ``close``.
        """
        with library():
            try:
                file = by(self.path)
            except Exception:
                self._raise_cause()
                raise
            self._into_memory()
        try:
            yield file
        finally:
            close(file)
        self._onto_disk()

    def moved(self, offset: int, data: bytes) -> None:
        """Write to the disk what HDF5 has written at ``offset`` and will not read again."""
        if self._memory is None:
            return
        _write(self._disk, data, offset)
        self._moved.append((offset, len(data)))
        start, stop = -(-offset // _PAGE) * _PAGE, (offset + len(data)) // _PAGE * _PAGE
        if start < stop:
            with mmap.mmap(self._memory, stop - start, offset=start) as pages:
                pages.madvise(mmap.MADV_REMOVE)

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        os.fsync(self._disk)

    def _raise_cause(self) -> None:
        """Raise the real error: the libraries report "Permission denied" for all of them."""
        refuse_without_locks(self.path)
        os.close(os.dup(self._disk))
        os.ftruncate(self._disk, os.fstat(self._disk).st_size)

    def _into_memory(self) -> None:
        """Exchange the file under each descriptor that HDF5 has just opened."""
        if self._memory is None:
            return
        if not os.fstat(self._memory).st_size:  # a new file, of which HDF5 may have written the first bytes
            _write(self._memory, pread(self._disk, os.fstat(self._disk).st_size, 0), 0)
        ours, exchanged = os.fstat(self._disk), False
        for descriptor in [int(path.name) for path in _DESCRIPTORS.iterdir()]:
            with contextlib.suppress(OSError):  # the folder's own is closed again
                if descriptor != self._disk and os.path.samestat(os.fstat(descriptor), ours):
                    os.dup2(self._memory, descriptor, inheritable=False)
                    exchanged = True
        if not exchanged:  # a file system where one file has several identities: HDF5 writes the disk itself
            os.close(self._memory)
            self._memory = None

    def _onto_disk(self) -> None:
        if self._memory is None:
            return
        size, at = os.fstat(self._memory).st_size, 0
        for offset, length in sorted([*self._moved, (size, 0)]):
            while at < offset:
                data = pread(self._memory, min(_BLOCK, offset - at), at)
                _write(self._disk, data, at)
                at += len(data)
            at = offset + length
        os.ftruncate(self._disk, size)


def _write(file: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest[:WRITTEN], offset)
        rest, offset = rest[written:], offset + written


def cause(path: Path) -> OSError | None:
    """Return the operating system's error where a library only reports that it failed; None: all can be read."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            at = 0
            while block := pread(file, _BLOCK, at):
                at += len(block)
        finally:
            os.close(file)
    except OSError as error:
        return error
    return None


def refuse_without_locks(path: Path) -> None:
    """Raise where HDF5 fails because there are no file locks: netCDF4 was imported before this package.

    Raises:
        StorageError
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    with contextlib.suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise StorageError(
                    f"HDF5 cannot lock {path.name}: the file system of {path.parent} has no file locks",
                    hint="Set HDF5_USE_FILE_LOCKING=FALSE in the environment before Python starts.",
                ) from error
