"""Local files that break while they are uploaded."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from typing import BinaryIO

from storage_plugins import Source
from storage_plugins._backend.operations import BLOCK


class Crash(BaseException):
    """Ends a program in the middle of something; not an Exception, so that no handler takes it for an error."""


@dataclasses.dataclass(frozen=True)
class CrashingSource(Source):
    """A file whose reading raises ``error`` after ``after`` bytes.

    ``CrashingSource(**vars(source), after=1000)`` is ``source`` that breaks.
    """

    after: int = 0
    error: type[BaseException] = Crash

    def open(self) -> BinaryIO:
        """Open the file; reading beyond ``after`` bytes raises."""
        return io.BufferedReader(_CrashingFile(super().open(), self), buffer_size=1024)

    def blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        """Yield blocks, and raise instead of the one that reaches beyond ``after`` bytes."""
        done = 0
        for block in super().blocks(size):
            done += len(block)
            if done > self.after:
                raise self.error("in the middle of an upload")
            yield block


class _CrashingFile(io.RawIOBase):
    def __init__(self, file: BinaryIO, source: CrashingSource) -> None:
        self._file, self._source = file, source

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        if self._file.tell() + len(view) > self._source.after:
            raise self._source.error("in the middle of an upload")
        data = self._file.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
