"""An assembly's data, of which tiles are read when they are needed: as a dask array, or as xarray's lazy arrays."""

from __future__ import annotations

import abc
import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import disk_errors
from ..errors import IntegrityError
from ._layout import Layout, from_stored
from ._library import pread
from ._reading import Damaged, Opened, Unfit, through_library, tile_of
from ._tiles import Array, region

Tile = tuple[int, tuple[int, ...]]  # its number in row-major order, and where it begins
_Overlap = tuple[int, Any, Any]  # along one axis: number of the tile, places in the tile, places in the result


@dataclasses.dataclass
class Tiles(abc.ABC):
    """An array in a file, from which parts are read; each tile is verified by its hash.

    Holds no open file, so that threads share it and it can be pickled.

    Attributes:
        layout: how it is stored.
        proofs: the hash of each tile.
        dtype: of the array.
    """

    layout: Layout
    proofs: list[str]
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.layout.shape

    @property
    def ndim(self) -> int:
        """Number of its dimensions."""
        return len(self.layout.shape)

    @abc.abstractmethod
    def read(self, tiles: Sequence[Tile]) -> Iterator[Array]:
        """Yield tiles as they are stored, in that order, each verified."""

    def __getitem__(self, key: Any) -> Array:
        """Return a part: an int, a slice, or an array of places for each dimension, each on its own."""
        key = key if isinstance(key, tuple) else (key,)
        axes = [_overlaps(part, size, step) for part, size, step in zip(key, self.shape, self.layout.tile, strict=True)]
        lengths = [length for length, _ in axes]
        inner = () if self.layout.inner is None else (self.layout.inner,)
        out = np.empty((*lengths, *inner), self.layout.dtype)
        grid = [math.ceil(size / step) for size, step in zip(self.shape, self.layout.tile, strict=True)]
        touched = [*itertools.product(*(overlaps for _, overlaps in axes))]
        tiles = []
        for overlap in touched:
            steps = tuple(number for number, _, _ in overlap)
            number = int(np.ravel_multi_index(steps, grid)) if grid else 0
            tiles.append((number, tuple(at * step for at, step in zip(steps, self.layout.tile, strict=True))))
        for overlap, tile in zip(touched, self.read(tiles), strict=True):
            out[_together([target for _, _, target in overlap])] = tile[_together([source for _, source, _ in overlap])]
        scalars = tuple(0 if isinstance(part, int | np.integer) else slice(None) for part in key)
        return from_stored(out, self.dtype)[(*scalars, ...)]  # an array even without dimensions


def _overlaps(part: Any, size: int, step: int) -> tuple[int, list[_Overlap]]:
    """Return how many places of an axis are wanted, and in which tiles they are."""
    if isinstance(part, slice) and part.indices(size)[2] == 1:
        start, stop, _ = part.indices(size)
        if stop <= start:
            return 0, []
        found: list[_Overlap] = []
        for number in range(start // step, math.ceil(stop / step)):
            first, last = max(start, number * step), min(stop, (number + 1) * step)
            found.append(
                (number, slice(first - number * step, last - number * step), slice(first - start, last - start))
            )
        return stop - start, found
    places = np.arange(*part.indices(size)) if isinstance(part, slice) else np.atleast_1d(np.asarray(part))
    places = np.where(places < 0, places + size, places)
    numbers = places // step
    return len(places), [
        (int(number), places[chosen] - int(number) * step, chosen)
        for number in np.unique(numbers)
        for chosen in [np.flatnonzero(numbers == number)]
    ]


def _together(parts: list[Any]) -> tuple[Any, ...]:
    """Return an index that takes its part of each axis on its own."""
    if len(parts) < 2 or all(isinstance(part, slice) for part in parts):
        return tuple(parts)
    return np.ix_(*(np.arange(part.start, part.stop) if isinstance(part, slice) else part for part in parts))


@dataclasses.dataclass
class TilesOfFile(Tiles):
    """An array in a file of this computer.

    Attributes:
        path: of the file on the machine where it was opened.
        size: of the file in bytes.
        chunks: where its chunks are; None: it is read through netCDF4.
        refetch: gets the file, where there is none at ``path``: on another machine.
    """

    path: Path
    size: int
    group: str | None
    chunks: list[tuple[int, int]] | None
    refetch: Callable[[], Path] | None

    def read(self, tiles: Sequence[Tile]) -> Iterator[Array]:
        """Yield tiles of the file."""
        with disk_errors(f"read {self.path.name}"):
            path = self._present()
            file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                for number, offset in tiles:
                    proof = self.proofs[number]
                    if self.chunks is None:
                        whole = region(offset, self.layout.tile, self.shape)
                        yield through_library(path, self.group, self.layout, whole, proof)
                    else:
                        at, size = self.chunks[number]
                        yield tile_of(pread(file, size, at), self.layout, offset, proof)
            except (Damaged, Unfit) as error:
                raise IntegrityError(
                    f"{path.name} was changed since it was opened: {error}", hint="Load the assembly again."
                ) from error
            finally:
                os.close(file)

    def _present(self) -> Path:
        """Return the path of the file on this machine."""
        try:
            if self.path.stat().st_size == self.size:
                return self.path
        except OSError:
            if self.refetch is None:
                raise
        if self.refetch is not None:
            self.path = self.refetch()
        return self.path


def as_dask(found: Opened, dtype: np.dtype[Any], chunks: Any, refetch: Callable[[], Path] | None) -> Any:
    """Return the data as a dask array.

    ``chunks``: as in ``xarray.open_dataset``. A mapping gives sizes by dimension, and the file's own tiles serve
    for those not named.
    """
    place = found.layouts[None]
    tiles = TilesOfFile(
        place,
        found.description["data"]["tiles"],
        dtype,
        found.path.absolute(),
        found.path.stat().st_size,
        found.group,
        found.chunks[None],
        refetch,
    )
    return dask_array(tiles, chunks, tuple(found.description["dims"]), place.tile)


def dask_array(source: Any, chunks: Any, dims: tuple[str, ...], tile: tuple[int, ...]) -> Any:
    """Return a dask array over something that has shape, dtype and slices."""
    import dask.array

    from_array: Any = dask.array.from_array  # untyped
    if isinstance(chunks, Mapping):
        chunks = tuple(chunks.get(dim, size or -1) for dim, size in zip(dims, tile, strict=True))
    meta = np.empty((0,) * len(source.shape), source.dtype)
    return from_array(source, chunks=chunks, asarray=False, lock=False, meta=meta)
