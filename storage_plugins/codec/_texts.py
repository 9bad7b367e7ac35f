"""Text as a table of different values and a code for each element, and as fixed-width characters in a file."""

from __future__ import annotations

import functools
import hashlib
import json

import numpy as np
import pandas as pd

from ._tiles import Array, factorized

_WIDE = 4 << 20  # bytes: what costs less than this as fixed-width characters needs no second look
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: spreads what it multiplies


class Texts:
    """Text of any number of elements.

    Attributes:
        codes: for each element, in row-major order, the position of its value in ``table``; shape (elements,).
        table: the different values, in the order in which they first appear; str objects, shape (values,).
    """

    def __init__(self, codes: Array, table: Array, order: Array | None = None) -> None:
        self.codes = codes
        self.table = table
        self._order = order

    @classmethod
    def of(cls, values: Array) -> Texts:
        """Return the text of an array of str."""
        objects = values.astype(object).reshape(-1)
        listed = objects.tolist()
        if not _is_plain("".join(listed)):  # older pandas confuses such texts
            numbers: dict[str, int] = {}
            codes = np.array([numbers.setdefault(value, len(numbers)) for value in listed], np.intp)
            return cls(codes, _objects(list(numbers)))
        codes, table = factorized(objects)
        return cls(codes, _objects(table))

    @classmethod
    def of_levels(cls, codes: Array, values: Array) -> Texts:
        """Return the text of an index: ``codes`` into ``values`` in any order; not all need be used."""
        renumbered, used = factorized(codes)
        return cls(renumbered, _objects(values)[used])

    @functools.cached_property
    def utf8(self) -> tuple[Array, bytes]:
        """The length of each value of the table in bytes, dtype u4, and the values in UTF-8, one after another."""
        values = self.table.tolist()
        joined = "".join(values)
        if joined.isascii():
            return np.fromiter(map(len, values), "<u4", len(values)), joined.encode("ascii")
        parts = [value.encode("utf-8", "surrogatepass") for value in values]
        return np.fromiter(map(len, parts), "<u4", len(parts)), b"".join(parts)

    def hash(self) -> str:
        """Return the sha256 of the text, which does not depend on how it is stored (``docs/format.md``)."""
        lengths, joined = self.utf8
        sha256 = hashlib.sha256(len(lengths).to_bytes(8, "little"))
        sha256.update(lengths.data)
        sha256.update(joined)
        size = next(size for size in (1, 2, 4) if len(lengths) <= 1 << 8 * size)
        sha256.update(self.codes.astype(f"<u{size}").data)
        return sha256.hexdigest()

    def values(self) -> Array:
        """Return the str objects, one for each element; shape (elements,)."""
        taken: Array = self.table[self.codes]
        return taken

    def sorted(self) -> tuple[Array, Array]:
        """Return codes into the sorted table, and that table."""
        order = self._order
        if order is None:
            order = np.array(sorted(range(len(self.table)), key=self.table.__getitem__), np.intp)
        rank = np.empty(len(order), self.codes.dtype)
        rank[order] = np.arange(len(order))
        return rank[self.codes], self.table[order]

    def needs_escape(self) -> bool:
        """Whether a value holds a NUL or half a surrogate pair: netCDF text has neither."""
        return not _is_plain("".join(self.table.tolist()))

    def escaped(self) -> Texts:
        """Return the text with its values written as in JSON."""
        return Texts(self.codes, _objects([json.dumps(value)[1:-1] for value in self.table]))

    def unescaped(self) -> Texts:
        """Return the text whose values were written as in JSON."""
        return Texts(self.codes, _objects([json.loads(f'"{value}"') for value in self.table]))

    def is_wide(self) -> bool:
        """Whether fixed-width characters would take many times the space of the values themselves."""
        lengths, _ = self.utf8
        places = len(self.codes)
        if places == 0 or places * int(lengths.max()) <= _WIDE:
            return False
        return bool(places * int(lengths.max()) > 16 * (int(lengths[self.codes].sum(dtype=np.uint64)) + places))

    def characters(self) -> Array:
        """Return the table as UTF-8 padded with NUL, dtype u1, shape (values, bytes of the longest)."""
        lengths, joined = self.utf8
        width = int(lengths.max(initial=1))
        rows = np.zeros((len(lengths), width), np.uint8)
        rows[np.arange(width, dtype=np.uint32) < lengths[:, None]] = np.frombuffer(joined, np.uint8)
        return rows


def _is_plain(text: str) -> bool:
    """Whether a text has neither NUL nor half a surrogate pair."""
    if "\0" in text:
        return False
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True


def row_hashes(rows: Array) -> Array:
    """Return a number for each row of characters, dtype u1, shape (rows, width); equal rows have equal numbers."""
    count, width = rows.shape
    size = next(size for size in (8, 4, 2, 1) if size <= width)
    # the last word overlaps the one before it, so that no row need be padded
    starts = [*range(0, width - size, size), width - size]
    total = np.zeros(count, np.uint64)
    for start in starts:
        total ^= total >> np.uint64(32)
        total *= _ODD
        total += np.ndarray((count,), f"u{size}", rows, start, (width,))
    return total


def from_characters(rows: Array, hashes: Array) -> Texts:
    """Return the text of characters of shape (elements, width), dtype u1.

    ``hashes`` are their `row_hashes`. Rows with equal numbers are assumed to be equal: the caller checks the
    result against its hash, and uses `from_bytes` where it differs.

    Raises:
        UnicodeDecodeError: a value is not UTF-8.
    """
    codes, uniques = factorized(hashes)
    first = np.empty(len(uniques), np.intp)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    table = rows[first]
    values = table.view(f"S{rows.shape[1]}").reshape(-1)
    if table.size and table.max() < 128:
        text = values.astype(f"U{rows.shape[1]}").astype(object)
    else:
        text = _objects([value.decode() for value in values.tolist()])
    return Texts(codes, text, _sorting(table))


def from_bytes(values: list[bytes]) -> Texts:
    """Return the text of UTF-8 values, one for each element."""
    codes, table = pd.factorize(np.fromiter(values, object, len(values)))
    return Texts(codes, _objects([value.decode() for value in table.tolist()]))


def _sorting(table: Array) -> Array:
    """Return the positions of rows of characters in sorted order: that of UTF-8 bytes is that of code points."""
    if not table.size:
        return np.arange(len(table))
    differing = np.flatnonzero((table != table[0]).any(axis=0))
    if not differing.size:
        return np.arange(len(table))
    table = table[:, differing[0] :]  # many names begin alike
    width = -(-table.shape[1] // 8) * 8
    padded = np.zeros((len(table), width), np.uint8)
    padded[:, : table.shape[1]] = table
    words = padded.view(">u8").astype(np.uint64)
    order = np.argsort(words[:, 0])
    first = words[order, 0]
    if words.shape[1] > 1 and (first[1:] == first[:-1]).any():
        return np.lexsort(words.T[::-1])
    return order


def _objects(values: object) -> Array:
    """Return an array of the very objects."""
    return np.array(values, dtype=object) if len(values) else np.empty(0, dtype=object)  # type: ignore[arg-type]
