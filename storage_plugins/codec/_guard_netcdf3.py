"""The header of a netCDF-3 file, read with care: the netCDF library believes every number in it.

The format is that of the NetCDF Classic Format Specification (CDF-1, CDF-2 and CDF-5).
"""

from __future__ import annotations

import math
from typing import BinaryIO

from ._bounds import Bounds, Unsound, look_at_fill

_ITEMSIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_CHAR = 2
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 10, 11, 12
_MOST = 1 << 16  # dimensions, variables, or attributes of one variable


class _Header:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        file.seek(3)
        self.version = file.read(1)[0]
        if self.version not in (1, 2, 5):
            raise Unsound(f"netCDF has no version {self.version}")

    def integer(self, width: int) -> int:
        data = self.file.read(width)
        if len(data) < width:
            raise Unsound("its header is cut off")
        return int.from_bytes(data, "big")

    def count(self) -> int:
        return self.integer(8 if self.version == 5 else 4)

    def offset(self) -> int:
        return self.integer(4 if self.version == 1 else 8)

    def listed(self, tag: int) -> int:
        """Return the number of items in the list that begins here."""
        found, count = self.integer(4), self.count()
        if count and (found != tag or count > min(_MOST, (self.size - self.file.tell()) // 8)):
            raise Unsound("its header lists more than the file holds")
        return count

    def skip(self, nbytes: int) -> None:
        end = self.file.tell() + -(-nbytes // 4) * 4
        if end > self.size:
            raise Unsound("its header declares more than the file holds")
        self.file.seek(end)

    def name(self) -> str:
        length = self.count()
        name = self.ahead(min(length, 256)).decode("utf-8", "replace")
        self.skip(length)
        return name

    def type(self) -> int:
        kind = self.integer(4)
        if kind not in _ITEMSIZES:
            raise Unsound(f"netCDF has no type {kind}")
        return kind

    def attributes(self) -> list[tuple[str, int, int, bytes]]:
        """Return name, type, length and first bytes of each attribute in the list that begins here."""
        found = []
        for _ in range(self.listed(_ATTRIBUTES)):
            name, kind, count = self.name(), self.type(), self.count()
            value = self.ahead(min(_ITEMSIZES[kind] * count, 1024))
            self.skip(_ITEMSIZES[kind] * count)
            found.append((name, kind, count, value))
        return found

    def ahead(self, nbytes: int) -> bytes:
        """Return the next bytes without going on."""
        start = self.file.tell()
        data = self.file.read(nbytes)
        self.file.seek(start)
        return data


def look_through(file: BinaryIO, bounds: Bounds) -> None:
    """Raise unless a netCDF-3 file holds what its header declares.

    Raises:
        Unsound, Refused
    """
    header = _Header(file, bounds.size)
    records = header.count()
    lengths = []
    for _ in range(header.listed(_DIMENSIONS)):
        header.name()
        lengths.append(header.count())
    header.attributes()
    variables = []
    for _ in range(header.listed(_VARIABLES)):
        name = header.name()
        count = header.count()
        if count > min(1024, len(lengths) * 1024):
            raise Unsound(f"variable {name!r} has {count} dimensions")
        dims = [header.count() for _ in range(count)]
        if any(dim >= len(lengths) for dim in dims):
            raise Unsound(f"variable {name!r} has a dimension that is not there")
        attributes, kind = header.attributes(), header.type()
        for attribute, its_kind, many, _ in attributes:
            if its_kind != _CHAR or kind != _CHAR:
                look_at_fill(attribute, name, many, is_text=its_kind == _CHAR)
        header.count()  # its size, which readers compute again
        are_dates = kind != _CHAR and any(one[0] == "units" and b"since" in one[3] for one in attributes)
        variables.append((name, [lengths[dim] for dim in dims], _ITEMSIZES[kind], header.offset(), are_dates))
    per_record = sum(math.prod(shape[1:]) * size for _, shape, size, _, _ in variables if shape and not shape[0])
    if records == (1 << 64) - 1 or (header.version != 5 and records == (1 << 32) - 1):  # still being written
        records = bounds.size // max(1, per_record)
    for name, shape, itemsize, start, are_dates in variables:
        if shape and not shape[0]:
            shape = [records, *shape[1:]]
        nbytes = math.prod(shape) * itemsize
        held = max(0, min(nbytes, bounds.size - start))
        bounds.declare(f"variable {name!r}", nbytes, held, itemsize)
        bounds.store(f"variable {name!r}", held)
        if are_dates:
            bounds.add_objects(f"variable {name!r}", nbytes // itemsize, held // itemsize, "dates")
