"""Proof that a file's strings and references are sound, before the netCDF library trusts them.

HDF5 keeps these in its global heap, the one structure of a file without a checksum or a signature at each end (HDF5
File Format Specification 3.0, III.E). Damage there keeps the netCDF library from ever returning, or crashes it.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .library import h5py, library

_HEAP = b"GCOL\x01\0\0\0"  # signature, version 1, reserved
_SIZE = struct.Struct("<Q")
_OBJECT = struct.Struct("<H6xQ")  # index, references, size


class Unsound(Exception):
    """The heap, or what refers to it, is damaged."""


def prove(path: Path) -> None:
    """Raise unless the netCDF library can be let near the file. Where h5py is not there, nothing is proved.

    Raises:
        Unsound: the global heap is damaged.
        OSError, RuntimeError, ValueError, KeyError: so h5py says of other damage.
    """
    if h5py is None or not h5py.is_hdf5(path):
        return
    with library(), h5py.File(path, "r") as file, path.open("rb") as opened:
        objects = [file.id]
        h5py.h5o.visit(file.id, lambda name: objects.append(h5py.h5o.open(file.id, name)))
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for start, stop in _between(_arrays(objects), len(data)):
                _prove_heaps(data, start, stop)
        for item in objects:
            _read_attributes(item)


def _arrays(objects: list[Any]) -> Iterator[tuple[int, int]]:
    """Yield the offset and size of each piece of an array: no heap lies there, and most of a file does."""
    for item in objects:
        if not isinstance(item, h5py.h5d.DatasetID):
            continue
        if item.get_offset() is not None:
            yield item.get_offset(), item.get_storage_size()
            continue
        found: list[tuple[int, int]] = []
        with contextlib.suppress(RuntimeError, ValueError, OSError):  # to ask for its layout would read the heap
            item.chunk_iter(lambda chunk, found=found: found.append((chunk.byte_offset, chunk.size)))
        yield from found


def _between(pieces: Iterator[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Yield the start and stop of what is left of a file without these pieces."""
    start = 0
    for offset, length in sorted(piece for piece in pieces if sum(piece) <= size):
        if start < offset:
            yield start, offset
        start = max(start, offset + length)
    if start < size:
        yield start, size


def _prove_heaps(data: mmap.mmap, start: int, stop: int) -> None:
    """Walk through the objects of each heap, as the library does; it never comes past one that takes no room."""
    at = start - 1
    while (at := data.find(_HEAP, at + 1, stop)) >= 0 and at + 16 <= len(data):
        end = at + _SIZE.unpack_from(data, at + 8)[0]
        place = at + 16
        while place + _OBJECT.size <= end <= len(data):
            index, size = _OBJECT.unpack_from(data, place)
            room = size if index == 0 else _OBJECT.size + (size + 7 & ~7)  # object 0 is the room left
            if not 0 < room <= end - place:
                raise Unsound(f"an object of its global heap takes {room} bytes")
            place += room
        if end > len(data):
            raise Unsound("its global heap is larger than the file")


def _read_attributes(item: Any) -> None:
    """Read what refers to the heap through h5py, which says so where there is nothing: netCDF crashes."""
    for number in range(h5py.h5a.get_num_attrs(item)):
        attribute = h5py.h5a.open(item, index=number)
        kind = attribute.get_type()
        text = isinstance(kind, h5py.h5t.TypeStringID)
        if attribute.shape is not None and (kind.is_variable_str() if text else isinstance(kind, h5py.h5t.TypeVlenID)):
            with contextlib.suppress(TypeError):  # a type that numpy does not have
                attribute.read(np.zeros(attribute.shape, attribute.dtype))
