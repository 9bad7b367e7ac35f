"""Numbers in tiles: the grid, the hash of each tile, and its deflated form in a file.

A tile is a chunk of the file, of about 1 MiB. It is hashed and compressed, or read and verified, on its own,
so that threads share the work in any order and memory stays flat.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import math
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import pandas as pd

_zlib: Any
try:
    from isal import isal_zlib as _zlib
except ImportError:  # no wheel for this machine: the same format, slower
    _zlib = zlib

_BYTES = 1 << 20  # of a tile: less costs requests, more costs those who read few neuroids
_ROWS = 1 << 14  # of a tile at most along the first of several dimensions
_REGION = 64 << 20  # bytes of a dask array that are computed at a time, where its own chunks are smaller
_SAMPLE = 1 << 14  # bytes
_BLOCK = 65_535  # bytes of one stored block of deflate (RFC 1951, 3.2.4)
DEFLATE = 1032  # bytes at most that one byte of deflate holds: 258 for each 2 bits (RFC 1951, 3.2.5)
THREADS = max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))
Array = np.ndarray[Any, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


def tile_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the shape of a tile of an array: many rows of the first dimension, few of the others.

    So that one neuroid of many is read without the others. Fixed by ``shape`` and the bytes of an element
    alone, since hashes depend on it; specified in ``docs/format.md``.
    """
    if not shape:
        return ()
    elements = max(1, _BYTES // max(1, itemsize))
    tile = [1] * len(shape)
    tile[0] = _even(shape[0], elements if len(shape) == 1 else min(_ROWS, elements))
    rest = max(1, elements // tile[0])
    for axis in range(len(shape) - 1, 0, -1):
        tile[axis] = _even(shape[axis], rest)
        rest = max(1, rest // tile[axis])
    return tuple(tile)


def _even(size: int, most: int) -> int:
    """Return the least length that needs no more pieces than ``most`` does."""
    return max(1, math.ceil(size / max(1, math.ceil(size / most))))


def tile_count(shape: tuple[int, ...], tile: tuple[int, ...]) -> int:
    """Return the number of tiles of an array."""
    return math.prod(math.ceil(size / step) for size, step in zip(shape, tile, strict=True))


def offsets(shape: tuple[int, ...], tile: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield where each tile begins, the last dimension fastest."""
    return itertools.product(*(range(0, size, step) for size, step in zip(shape, tile, strict=True)))


def region(offset: tuple[int, ...], tile: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the part of an array that a tile covers: at the far edges less than a whole tile."""
    return tuple(slice(at, min(at + step, size)) for at, step, size in zip(offset, tile, shape, strict=True))


def regions(array: Any, tile: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Compute a dask array part by part; yield each tile with where it begins.

    A part is of whole tiles and near the array's own chunks, so that little is computed twice.
    """
    steps = [
        max(step, -(-max(sizes, default=1) // step) * step) for sizes, step in zip(array.chunks, tile, strict=True)
    ]
    while math.prod(steps) * array.dtype.itemsize > _REGION and any(map(int.__gt__, steps, tile)):
        axis = max(range(len(steps)), key=lambda axis: steps[axis] // tile[axis])
        steps[axis] = max(1, steps[axis] // tile[axis] // 2) * tile[axis]
    for start in offsets(array.shape, tuple(steps)):
        part = np.asarray(array[region(start, tuple(steps), array.shape)].compute())
        for within in offsets(part.shape, tile):
            yield tuple(map(int.__add__, start, within)), part[region(within, tile, part.shape)]


def digest(values: Array) -> str:
    """Return the sha256 of an array's elements, row by row, as lower-case hex."""
    return hashlib.sha256(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data).hexdigest()


def deflated(values: Array, tile: tuple[int, ...], *, shuffle: bool, compress: bool) -> bytes:
    """Return the bytes of a chunk: padded to a whole tile, shuffled, and in zlib's format (RFC 1950).

    Once shuffled, the low bytes of measured numbers are noise. They are stored rather than deflated, within
    the same stream: not larger, and every reader is twice to three times as fast.

    ``compress=False`` stores everything; zlib's checksum still guards it.
    """
    if values.shape != tile:
        padded = np.zeros(tile, values.dtype)
        padded[tuple(map(slice, values.shape))] = values
        values = padded
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    planes = raw.reshape(1, -1)
    if shuffle and values.itemsize > 1:
        planes = np.ascontiguousarray(raw.reshape(-1, values.itemsize).T)
    raw = planes.reshape(-1)
    worth = [compress and _compresses(plane) for plane in planes]
    if all(worth):
        return _deflate(_zlib.compressobj(1), raw, zlib.Z_FINISH)
    parts: list[Any] = [b"\x78\x01"]
    for deflate, run in itertools.groupby(zip(worth, planes, strict=True), key=lambda pair: pair[0]):
        block = np.concatenate([plane for _, plane in run])
        if deflate:
            parts.append(_deflate(_zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS), block, zlib.Z_SYNC_FLUSH))
        else:
            for start in range(0, block.size, _BLOCK):
                piece = block[start : start + _BLOCK]
                parts += [struct.pack("<BHH", 0, piece.size, piece.size ^ 0xFFFF), piece.data]
    # an empty last block, and the checksum
    parts.append(b"\x01\x00\x00\xff\xff" + struct.pack(">I", _zlib.adler32(raw)))
    return b"".join(parts)


def _compresses(plane: Array) -> bool:
    """Whether deflate makes less of some bytes, judged by a sample of them."""
    middle = max(0, (plane.size - _SAMPLE) // 2)
    sample = plane[middle : middle + _SAMPLE]
    return len(_deflate(_zlib.compressobj(1), sample, zlib.Z_FINISH)) < 0.97 * sample.size


def _deflate(stream: Any, data: Array, end: int) -> bytes:
    """Return what a new stream makes of some bytes.

    isal's ``compress`` has its state in memory that held other data, and once in two hundred processes finds other
    matches in the same bytes; the state of its ``compressobj`` begins as zeros, so a stack always writes one file.
    """
    return bytes(stream.compress(data) + stream.flush(end))


def inflated(data: bytes, tile: tuple[int, ...], dtype: np.dtype[Any], *, shuffle: bool) -> Array:
    """Return the whole tile of a chunk's bytes.

    Raises:
        ValueError: they are damaged, or not of that size.
    """
    size = math.prod(tile) * dtype.itemsize
    try:
        raw = _inflate(data, size)
    except Exception as error:  # each library has an error of its own
        raise ValueError(f"a chunk is damaged: {error}") from error
    if len(raw) != size:
        raise ValueError("a chunk is damaged: it has another size")
    if shuffle and dtype.itemsize > 1:
        planes = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, -1)
        mixed = np.empty((planes.shape[1], dtype.itemsize), np.uint8)
        for position, plane in enumerate(planes):  # faster than a transposed copy
            mixed[:, position] = plane
        return mixed.reshape(-1).view(dtype).reshape(tile)
    return np.frombuffer(raw, dtype).reshape(tile)


def _inflate(data: bytes, size: int) -> bytes:
    """Inflate at most ``size`` bytes: damaged data must not fill the memory."""
    inflater = _zlib.decompressobj()
    raw: bytes = inflater.decompress(data, size + 1)
    if not inflater.eof:
        raise ValueError("it does not end")
    return raw


def factorized(values: Array) -> tuple[Array, Array]:
    """Return a code for each value and the different values, in the order in which they first appear.

    NaN and NaT have code -1; codes are of the smallest integer type. Runs of equal values, as in
    sorted data, are looked at once.
    """
    heads = np.flatnonzero(values[1:] != values[:-1]) + 1
    if 4 * len(heads) > len(values):
        codes, uniques = pd.factorize(values)
        return codes.astype(np.min_scalar_type(-len(uniques) - 1), copy=False), uniques
    starts = np.concatenate([[0], heads]) if len(values) else heads
    codes, uniques = pd.factorize(values[starts])
    codes = codes.astype(np.min_scalar_type(-len(uniques) - 1), copy=False)
    return np.repeat(codes, np.diff(starts, append=len(values))), uniques


def _submitted(
    pool: concurrent.futures.Executor, work: Callable[[Item], Result], item: Item
) -> concurrent.futures.Future[Result]:
    """Submit; or work in this thread, where the main thread has ended and Python starts no more of them."""
    try:
        return pool.submit(work, item)
    except RuntimeError:
        done = concurrent.futures.Future[Result]()
        done.set_result(work(item))
        return done


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``work(item)`` of each item in order; a few are worked on ahead, so memory stays flat."""
    items = iter(items)
    first = list(itertools.islice(items, 2))
    if len(first) < 2 or THREADS == 1:
        yield from map(work, itertools.chain(first, items))
        return
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        ahead: deque[concurrent.futures.Future[Result]] = deque()
        try:
            for item in itertools.chain(first, items):
                ahead.append(_submitted(pool, work, item))
                if len(ahead) > 2 * THREADS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
