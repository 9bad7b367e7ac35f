"""An assembly's data as a dask array that reads tiles of its file when they are needed, here or on another machine."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import disk_errors
from ..errors import IntegrityError
from ._layout import Layout, from_stored
from ._reading import Damaged, Opened, Unfit, read_tile, through_library
from ._tiles import Array, offsets, region


@dataclasses.dataclass
class Tiles:
    """An array in a file, from which slices are read; each tile is verified by its hash.

    Holds no open file, so that threads share it and it can be pickled.

    Attributes:
        path: of the file on the machine where it was opened.
        size: of the file in bytes.
        refetch: gets the file, where there is none at ``path``: on another machine.
    """

    path: Path
    size: int
    group: str | None
    layout: Layout
    chunks: list[tuple[int, int]] | None
    proofs: list[str]
    dtype: np.dtype[Any]
    refetch: Callable[[], Path] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.layout.shape

    @property
    def ndim(self) -> int:
        """Number of its dimensions."""
        return len(self.layout.shape)

    def __getitem__(self, key: Any) -> Array:
        key = key if isinstance(key, tuple) else (key,)
        wanted = [
            range(size)[part] if isinstance(part, slice) else range(part, part + 1)
            for part, size in zip(key, self.shape, strict=True)
        ]
        bounds = tuple(slice(min(part, default=0), max(part, default=-1) + 1) for part in wanted)
        with disk_errors(f"read {self.path.name}"):
            found = self._read(bounds)
        steps = (slice(None, None, part.step) if isinstance(part, slice) else 0 for part in key)
        return found[(*steps, ...)]  # an array even without dimensions

    def _read(self, bounds: tuple[slice, ...]) -> Array:
        """Return a part of the array, from the tiles that it touches."""
        place = self.layout
        inner = () if place.inner is None else (place.inner,)
        out = np.empty((*(bound.stop - bound.start for bound in bounds), *inner), place.dtype)
        grid = [math.ceil(size / step) for size, step in zip(self.shape, place.tile, strict=True)]
        first = tuple(bound.start // step * step for bound, step in zip(bounds, place.tile, strict=True))
        path = self._present()
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            for within in offsets(tuple(b.stop - at for b, at in zip(bounds, first, strict=True)), place.tile):
                offset = tuple(map(int.__add__, first, within))
                steps = tuple(at // step for at, step in zip(offset, place.tile, strict=True))
                number = int(np.ravel_multi_index(steps, grid)) if grid else 0
                whole = region(offset, place.tile, self.shape)
                proof = self.proofs[number]
                if self.chunks is None:
                    tile = through_library(path, self.group, place, whole, proof)
                else:
                    tile = read_tile(file, place, self.chunks[number], offset, proof)
                source, target = [], []
                for part, bound in zip(whole, bounds, strict=True):
                    start, stop = max(part.start, bound.start), min(part.stop, bound.stop)
                    source.append(slice(start - part.start, stop - part.start))
                    target.append(slice(start - bound.start, stop - bound.start))
                out[tuple(target)] = tile[tuple(source)]
        except (Damaged, Unfit) as error:
            raise IntegrityError(
                f"{path.name} was changed since it was opened: {error}", hint="Load the assembly again."
            ) from error
        finally:
            os.close(file)
        return from_stored(out, self.dtype)

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
    tiles = Tiles(
        found.path.absolute(),
        found.path.stat().st_size,
        found.group,
        place,
        found.chunks[None],
        found.description["data"]["tiles"],
        dtype,
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
