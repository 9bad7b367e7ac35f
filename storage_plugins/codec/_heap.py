"""HDF5's global heap, where it stores strings of any length, and what refers to it.

It is the one structure of a file without a checksum or a signature at each end (HDF5 File Format Specification 3.0,
III.E). Damage there keeps the netCDF library from ever returning, or crashes it; and a reference says how long its
string is, which the library believes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import numpy as np

from ._bounds import Unsound
from ._library import pread

REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])  # of a string or another sequence
_HEAP = b"GCOL\x01\0\0\0"  # signature, version 1, reserved
_SIZE = struct.Struct("<Q")
_OBJECT = struct.Struct("<H6xQ")  # index, references, size
_WINDOW = 1 << 20  # bytes


def look_through(file: int, arrays: Iterable[tuple[int, int]], size: int) -> None:
    """Walk through each heap of a file.

    Args:
        file: descriptor.
        arrays: offset and size of each piece of an array: no heap is there, and most of a file is.
        size: of the file.

    Raises:
        Unsound: a heap is damaged.
    """
    for start, stop in _between(arrays, size):
        for at in _signatures(file, start, stop):
            _walk(file, at, size)


def _between(pieces: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Yield the start and stop of what is left of a file without these pieces."""
    start = 0
    for offset, length in sorted(piece for piece in pieces if sum(piece) <= size):
        if start < offset:
            yield start, offset
        start = max(start, offset + length)
    if start < size:
        yield start, size


def _signatures(file: int, start: int, stop: int) -> Iterator[int]:
    for at in range(start, stop, _WINDOW):
        window = pread(file, min(_WINDOW + len(_HEAP) - 1, stop - at), at)
        found = -1
        while (found := window.find(_HEAP, found + 1)) >= 0:
            yield at + found


def _walk(file: int, start: int, size: int) -> None:
    """Go from object to object as the library does, which never gets past one of length zero."""
    header = pread(file, 16, start)
    if len(header) < 16:
        return
    length = _SIZE.unpack_from(header, 8)[0]
    if start + length > size:
        raise Unsound("its global heap is larger than the file")
    data = pread(file, length, start)
    at = 16
    while at + _OBJECT.size <= length:
        index, nbytes = _OBJECT.unpack_from(data, at)
        taken = nbytes if index == 0 else _OBJECT.size + (nbytes + 7 & ~7)  # object 0 is the free space
        if not 0 < taken <= length - at:
            raise Unsound(f"an object of its global heap takes {taken} bytes")
        at += taken


def total_length(references: bytes) -> int:
    """Return how many elements the references in some bytes claim, all together."""
    whole = len(references) // REFERENCE.itemsize
    return int(np.frombuffer(references, REFERENCE, whole)["length"].sum(dtype=np.uint64))
