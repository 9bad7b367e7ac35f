"""HDF5's object headers as bytes: what h5py cannot say without reading what it should not.

Only references to strings are looked for here: in values of attributes, in fill values, and in data that are stored
in the header (HDF5 File Format Specification 3.0, III.G, IV.A).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ._bounds import Unsound
from ._library import pread

LAYOUT, OLD_FILL_VALUE, FILL_VALUE, ATTRIBUTE, ATTRIBUTE_INFO = 0x08, 0x04, 0x05, 0x0C, 0x15
_CONTINUATION = 0x10
_VIRTUAL = b"\x03"  # class of a layout
_SHARED = 2  # a flag of a message: it is elsewhere
_UNDEFINED = (1 << 64) - 1
_MOST = 1 << 20  # bytes of one block of a header


class Message(NamedTuple):
    """One message of an object's header."""

    type: int
    data: bytes


def messages(file: int, address: int) -> list[Message]:
    """Return the messages of an object's header.

    Raises:
        Unsound: it cannot be followed.
    """
    start = pread(file, 64, address)
    if start[:4] == b"OHDR":
        flags, at = start[5], 6
        at += (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        blocks = [(address + at + width, int.from_bytes(start[at : at + width], "little"))]
        return list(_followed(file, blocks, 6 if flags & 4 else 4, 1))
    if start[:1] == b"\x01":
        return list(_followed(file, [(address + 16, int.from_bytes(start[8:12], "little"))], 8, 0))
    raise Unsound("an object has no header")


def _followed(file: int, blocks: list[tuple[int, int]], prefix: int, version: int) -> Iterator[Message]:
    """Yield the messages of a header's blocks, and of those that they continue in."""
    seen = set()
    for offset, size in blocks:  # grows meanwhile
        if offset in seen or size > _MOST:
            raise Unsound("an object's header is damaged")
        seen.add(offset)
        data, at = pread(file, size, offset), 0
        while at + prefix <= len(data):
            if version:
                kind, length, flags = struct.unpack_from("<BHB", data, at)
            else:
                kind, length, flags = struct.unpack_from("<HHB", data, at)
            content = data[at + prefix : at + prefix + length]
            at += prefix + length
            if kind == _CONTINUATION and len(content) >= 16:
                place, extent = struct.unpack_from("<QQ", content)
                blocks.append((place + 4, extent - 8) if version else (place, extent))
            elif not flags & _SHARED:
                yield Message(kind, content)


def attribute_values(file: int, found: list[Message], name: bytes) -> list[bytes]:
    """Return the bytes of each value that an attribute of that name may have, with what follows them."""
    values: list[bytes] = []
    for message in found:
        if message.type == ATTRIBUTE:
            values += _values(message.data, name)
        elif message.type == ATTRIBUTE_INFO:
            at = 4 if message.data[1] & 1 else 2
            address = int.from_bytes(message.data[at : at + 8], "little")
            if address != _UNDEFINED:
                for block in _heap_blocks(file, address):
                    values += _values(block, name)
    return values


def _values(data: bytes, name: bytes) -> Iterator[bytes]:
    """Yield what follows each header of an attribute of that name."""
    needle, at = name + b"\0", -1
    while (at := data.find(needle, at + 1)) >= 0:
        for version, before in ((1, 8), (2, 8), (3, 9)):
            start = at - before
            if start < 0 or data[start] != version:
                continue
            lengths = struct.unpack_from("<HHH", data, start + 2)
            if lengths[0] == len(needle):
                padded = [-(-length // 8) * 8 for length in lengths] if version == 1 else lengths
                yield data[at + sum(padded) :]


def _heap_blocks(file: int, address: int) -> Iterator[bytes]:
    """Yield the blocks of a fractal heap, where an object with many attributes stores them.

    Of a heap beyond half a megabyte only the first are found.
    """
    header = pread(file, 142, address)
    if len(header) < 142 or header[:4] != b"FRHP":
        raise Unsound("a list of attributes is damaged")
    width, first, largest, bits, _, root, rows = struct.unpack_from("<HQQHHQH", header, 110)
    if largest > _MOST or not 0 < first <= largest or width > 1 << 10 or bits > 64:
        raise Unsound("a list of attributes is damaged")
    if not rows:
        yield pread(file, first, root)
        return
    entries = pread(file, 8 * width * min(rows, 64), root + 13 + -(-bits // 8))
    for number in range(len(entries) // 8):
        row = number // width
        size = first << max(0, row - 1)
        block = int.from_bytes(entries[8 * number : 8 * number + 8], "little")
        if size > largest:
            return
        if block != _UNDEFINED:
            yield pread(file, size, block)


def fill_value(found: list[Message]) -> bytes:
    """Return the bytes of a dataset's fill value; empty: it has none."""
    for message in found:
        data = message.data
        if message.type == OLD_FILL_VALUE:
            return data[4:]
        if message.type == FILL_VALUE and data[:1] == b"\x03":
            return data[6:] if data[1] & 0x20 else b""
        if message.type == FILL_VALUE:
            return data[8:] if data[0] == 1 or data[3] else b""
    return b""


def is_virtual(found: list[Message]) -> bool:
    """Return whether a dataset takes its data from others, as a virtual one does."""
    return any(
        message.type == LAYOUT and message.data[:1] >= b"\x04" and message.data[1:2] == _VIRTUAL for message in found
    )


def compact_data(found: list[Message]) -> bytes:
    """Return the data of a dataset that has them in its header."""
    for message in found:
        if message.type == LAYOUT and message.data[:1] in (b"\x03", b"\x04"):
            return message.data[4:]
    raise Unsound("the data of a variable are not where its header says")
