"""A small picture of an assembly's data, of a few of its tiles: for a terminal, or as a PNG file."""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from .. import codec

_SHADES = " ░▒▓█"
_NOTHING = "·"  # not a number
_WIDTH, _HEIGHT = 60, 10  # characters
_PIXELS = (400, 800)
Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Picture:
    """The first two dimensions of an assembly's data, at the first place of the others.

    Attributes:
        values: float64, shape (rows, columns): from the tiles that were read, evenly spread over the data.
        caption: what they are.
    """

    values: Array
    caption: str

    def text(self) -> str:
        """Return it in block characters: low values are blank, high ones full."""
        levels = self._levels(_HEIGHT, _WIDTH)
        shades = np.where(
            np.isnan(levels), len(_SHADES), np.minimum(np.nan_to_num(levels) * len(_SHADES), len(_SHADES) - 1)
        )
        rows = ["".join((_SHADES + _NOTHING)[shade] for shade in row) for row in shades.astype(int)]
        return "\n".join([*(f"|{row}|" for row in rows), self.caption])

    def png(self) -> bytes:
        """Return it as a PNG file in shades of grey; what is not a number is transparent."""
        levels = self._levels(*_PIXELS)
        pixels = np.zeros((*levels.shape, 2), np.uint8)
        pixels[..., 0] = np.nan_to_num(levels) * 255
        pixels[..., 1] = np.where(np.isnan(levels), 0, 255)
        lines = b"".join(b"\0" + row.tobytes() for row in pixels)
        header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 8, 4, 0, 0, 0)  # 8 bits of grey and alpha
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )

    def _levels(self, rows: int, columns: int) -> Array:
        """Return values between 0 and 1, of at most so many rows and columns."""
        values = self.values
        places = [
            np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
            for n, most in zip(values.shape, (rows, columns), strict=True)
        ]
        values = values[np.ix_(*places)]
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, [2, 98]) if finite.size else (0.0, 0.0)
        with np.errstate(invalid="ignore", over="ignore"):
            levels = np.clip((values - low) / (high - low), 0, 1) if high > low else values * 0 + 0.5
        return np.where(np.isfinite(values), levels, np.where(np.isnan(values), np.nan, (values > 0) * 1.0))


def picture_of(parts: codec.Parts, most: int) -> Picture | None:
    """Return a picture of data of which at most ``most`` bytes, and at least one tile, are read.

    None: the data are not numbers in tiles.
    """
    tiles = parts.tiles()
    if tiles is None or tiles.dtype.kind not in "biufc" or 0 in tiles.shape:
        return None
    stored, plane = parts.stored_size(None), tiles.layout.tile[:2]
    each = max(1, stored * math.prod(tiles.layout.tile) // math.prod(tiles.shape))
    chosen = _spread(tiles.shape[:2], plane, max(1, most // each))
    return _picture(tiles, parts.description["dims"], chosen)


def picture_of_array(assembly: xr.DataArray) -> Picture | None:
    """Return a picture of data that are here; None: they are not numbers."""
    if assembly.dtype.kind not in "biufc" or 0 in assembly.shape or not assembly.ndim:
        return None
    shape = assembly.shape[:2]
    variable = assembly.variable

    class Data:
        shape = assembly.shape

        def __getitem__(self, key: Any) -> Any:
            return variable[key].values

    return _picture(Data(), list(map(str, assembly.dims)), _spread(shape, shape, 1))


def _picture(data: Any, dims: list[str], chosen: list[Array]) -> Picture:
    key: tuple[Any, ...] = (*chosen, *([0] * (len(data.shape) - len(chosen))))
    values = np.asarray(data[key])
    values = (np.abs(values) if values.dtype.kind == "c" else values).astype(float)
    names = [dim if dim.isprintable() else repr(dim) for dim in dims]
    shown = [f"{name} {_span(places, size)}" for name, places, size in zip(names, chosen, data.shape, strict=False)]
    # rows are the first dimension; a single dimension is one row
    return Picture(values.reshape(1, -1) if values.ndim == 1 else values, " x ".join(shown))


def _spread(shape: tuple[int, ...], tile: tuple[int, ...], number: int) -> list[Array]:
    """Return places along each axis that lie in at most ``number`` tiles, evenly spread, and enough for a picture."""
    grid = [math.ceil(size / step) for size, step in zip(shape, tile, strict=True)]
    taken = [1] * len(grid)
    while True:  # one more along the axis of which least is shown
        axes = [axis for axis in range(len(grid)) if taken[axis] < grid[axis]]
        axes = [axis for axis in axes if math.prod(taken) // taken[axis] * (taken[axis] + 1) <= number]
        if not axes:
            break
        taken[min(axes, key=lambda axis: taken[axis] / grid[axis])] += 1
    chosen = []
    for size, step, count, all_of_them, most in zip(shape, tile, taken, grid, _PIXELS, strict=False):
        numbers = np.unique(np.linspace(0, all_of_them - 1, count).astype(int))
        places = np.concatenate([np.arange(at * step, min((at + 1) * step, size)) for at in numbers])
        chosen.append(places[np.unique(np.linspace(0, len(places) - 1, min(len(places), most)).astype(int))])
    return chosen


def _span(places: Array, size: int) -> str:
    """Say which places of an axis are shown."""
    if places[-1] - places[0] + 1 == size:
        return f"0:{size}"
    return f"{places[0]}:{places[-1] + 1} of {size}"
