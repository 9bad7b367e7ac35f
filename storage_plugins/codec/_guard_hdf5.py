"""An HDF5 file, looked through with h5py's low-level calls, which read no data."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import _headers, _heap
from ._bounds import Bounds, Refused, Unsound, deflated_at_most, look_at_fill
from ._library import h5py, hdf5, library, pread

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DEPTH = 64  # groups within groups
_DEFLATE, _SHUFFLE, _FLETCHER32, _SZIP, _NBIT, _SCALEOFFSET = range(1, 7)
_BUILT_IN = (_DEFLATE, _SHUFFLE, _FLETCHER32, _SZIP, _NBIT, _SCALEOFFSET)
_BLOCK = 16 << 16  # bytes of references read at a time


@dataclasses.dataclass
class _Object:
    """A group, dataset or named type of a file."""

    name: str
    item: Any
    address: int


@dataclasses.dataclass
class _Stored:
    """How a dataset is stored: offset and size in bytes of each piece, the size of all, and what they can hold."""

    pieces: list[tuple[int, int]]
    size: int
    held: int


def look_through(path: Path, file: int, start: bytes, bounds: Bounds) -> None:
    """Raise unless the netCDF library can safely open an HDF5 file.

    Args:
        file: descriptor of the same file.
        start: its first 16 bytes.

    Raises:
        Refused, Unsound
        OSError, RuntimeError, ValueError, KeyError: h5py's errors for other damage.
    """
    if not has_wide_addresses(start):
        raise Refused("the file has addresses of another size than 8 bytes")
    with library(), hdf5(path) as opened:
        objects = list(_objects(opened.id, file))
        distinct = {each.address: each for each in objects}
        datasets = {address: each for address, each in distinct.items() if isinstance(each.item, h5py.h5d.DatasetID)}
        pieces = {address: _pieces(each.item) for address, each in datasets.items()}
        _heap.look_through(file, itertools.chain(*pieces.values()), bounds.size)
        for each in datasets.values():  # before the creation properties, of which the fill value is one
            _look_at_fill_value(each, file, bounds)
        for each in datasets.values():
            _refuse_outside(each)
            _refuse_without_shape(each)
        for each in distinct.values():
            if isinstance(each.item, h5py.h5t.TypeID):
                _sequence(each.item, f"type {each.name!r}")
        stored = {address: _stored(each.item, pieces[address]) for address, each in datasets.items()}
        for address, found in stored.items():
            bounds.store(f"variable {datasets[address].name!r}", found.size)
        named = set()
        for each in objects:
            if each.address in datasets:
                held = 0 if each.address in named else stored[each.address].held
                named.add(each.address)
                _declare(each, held, len(pieces[each.address]), bounds)
        for address, each in datasets.items():
            _look_at_strings(each, stored[address], file, bounds)
        for address, each in distinct.items():
            _look_at_attributes(each, stored.get(address), file, bounds)


def has_wide_addresses(start: bytes) -> bool:
    """Return whether a file that begins like this has addresses of 8 bytes, as all that are read here."""
    version = start[8:9]
    return (start[9:11] if version > b"\x01" else start[13:15]) == b"\x08\x08"


# links


def _objects(root: Any, file: int) -> Iterator[_Object]:
    """Yield the objects of a file by their names: a group has one, a dataset may have several.

    Raises:
        Refused: a link leads out of the file, or groups may form a circle.
    """
    address = h5py.h5o.get_info(root).addr
    groups, waiting, soft = {address}, [("", root, 0)], []
    yield _Object("/", h5py.h5o.open(root, b"/"), address)
    while waiting:
        above, group, depth = waiting.pop()
        links: list[tuple[bytes, Any, Any]] = []
        group.links.iterate(lambda name, info, links=links: links.append((name, info.type, info.u)), info=True)
        for link, kind, place in links:
            name = f"{above}/{link.decode('utf-8', 'replace')}"
            if kind == h5py.h5l.TYPE_SOFT:
                soft.append((name, group, link))
                continue
            if kind != h5py.h5l.TYPE_HARD:
                raise Refused(f"{name!r} is a link to another file")
            if _headers.is_virtual(_headers.messages(file, place)):  # HDF5 reads its list of files to open it
                raise Refused(f"variable {name!r} takes its data from other files (HDF5 virtual dataset)")
            item = h5py.h5o.open(group, link)
            address = h5py.h5o.get_info(item).addr
            if isinstance(item, h5py.h5g.GroupID):
                if address in groups:
                    raise Refused(f"the group {name!r} has several names, so that groups may form a circle")
                if depth == _DEPTH:
                    raise Refused(f"the group {name!r} is more than {_DEPTH} deep")
                groups.add(address)
                waiting.append((name, item, depth + 1))
            yield _Object(name, item, address)
    for name, group, link in soft:  # followed only now that no link leads out of the file
        try:
            item = h5py.h5o.open(group, link)
        except (KeyError, RuntimeError, ValueError, OSError) as error:
            raise Refused(f"the link {name!r} leads nowhere") from error
        if not isinstance(item, h5py.h5d.DatasetID):
            raise Refused(f"the link {name!r} leads to a group, so that groups may form a circle")
        yield _Object(name, item, h5py.h5o.get_info(item).addr)


# datasets


def _refuse_outside(dataset: _Object) -> None:
    """Raise if a dataset's data are in other files, or need a plugin."""
    created = dataset.item.get_create_plist()
    if created.get_external_count():
        raise Refused(f"variable {dataset.name!r} stores its data in another file (HDF5 external storage)")
    for number in range(created.get_nfilters()):
        code, _, _, name = created.get_filter(number)
        if code not in _BUILT_IN:
            called = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
            raise Refused(f"variable {dataset.name!r} needs the HDF5 filter plugin {code} {called!r}")


def _refuse_without_shape(dataset: _Object) -> None:
    """Raise if the netCDF library may take a dataset for a dimension that has no length, on which it crashes."""
    kind = dataset.item.get_space().get_simple_extent_type()
    if kind == h5py.h5s.NULL:
        raise Refused(f"variable {dataset.name!r} has no shape (HDF5 null dataspace)")
    if kind == h5py.h5s.SCALAR and h5py.h5a.exists(dataset.item, b"CLASS"):  # as dimension scales have
        raise Refused(f"variable {dataset.name!r} is a dimension without length")


def _pieces(item: Any) -> list[tuple[int, int]]:
    """Return where in the file a dataset is stored: offset and size of each piece. No heap is read."""
    offset = item.get_offset()
    if offset is not None:
        return [(offset, item.get_storage_size())]
    found: list[tuple[int, int]] = []
    with contextlib.suppress(RuntimeError, ValueError, OSError):  # it has no chunks, or a damaged list of them
        item.chunk_iter(lambda chunk: found.append((chunk.byte_offset, chunk.size)))
    return found


def _stored(item: Any, pieces: list[tuple[int, int]]) -> _Stored:
    created = item.get_create_plist()
    size = sum(size for _, size in pieces)
    if created.get_layout() == h5py.h5d.COMPACT:
        size = item.get_storage_size()
    if created.get_layout() != h5py.h5d.CHUNKED or not created.get_nfilters():
        return _Stored(pieces, size, size)
    chunk = math.prod(created.get_chunk()) * item.get_type().get_size()
    return _Stored(pieces, size, sum(min(chunk, deflated_at_most(size)) for _, size in pieces))


def _declare(dataset: _Object, held: int, pieces: int, bounds: Bounds) -> None:
    """Count the memory that a dataset takes, and its chunks; a reader needs a whole chunk at least."""
    item, created = dataset.item, dataset.item.get_create_plist()
    itemsize = item.get_type().get_size()
    nbytes = item.get_space().get_simple_extent_npoints() * itemsize
    if created.get_layout() == h5py.h5d.CHUNKED and nbytes:
        chunk = created.get_chunk()
        nbytes = max(nbytes, math.prod(chunk) * itemsize)
        chunks = math.prod(-(-size // of) for size, of in zip(item.get_space().shape, chunk, strict=True))
        bounds.add_chunks(f"variable {dataset.name!r}", chunks, pieces)
    bounds.declare(f"variable {dataset.name!r}", nbytes, held, itemsize)


# strings and other sequences of any length


def _sequence(kind: Any, what: str) -> int | None:
    """Return the bytes of an element where a type is of sequences of any length; None: it is of fixed size.

    Raises:
        Refused: netCDF does not know the type, sequences are within other things, or references may lead to another
            file.
    """
    match kind.get_class():
        case h5py.h5t.STRING:
            return 1 if kind.is_variable_str() else None
        case h5py.h5t.OPAQUE:
            return None
        case h5py.h5t.INTEGER | h5py.h5t.FLOAT if any(kind.equal(known) for known in _numbers()):
            return None
        case h5py.h5t.REFERENCE if kind.equal(h5py.h5t.STD_REF_OBJ):
            return None
        case h5py.h5t.REFERENCE:
            raise Refused(f"{what} has references that may lead to another file")
        case h5py.h5t.COMPOUND:
            parts = [kind.get_member_type(number) for number in range(kind.get_nmembers())]
        case h5py.h5t.ENUM | h5py.h5t.ARRAY | h5py.h5t.VLEN:
            parts = [kind.get_super()]
        case _:
            raise Refused(f"{what} has a type that netCDF does not know")
    if any(_sequence(part, what) is not None for part in parts):
        raise Refused(f"{what} has strings of any length within another type")
    return int(parts[0].get_size()) if kind.get_class() == h5py.h5t.VLEN else None


@functools.cache
def _numbers() -> list[Any]:
    """Return the numbers that netCDF knows; it writes beyond its memory where it reads others, such as float16."""
    integers = [f"STD_{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64)]
    return [
        getattr(h5py.h5t, f"{name}{order}") for name in (*integers, "IEEE_F32", "IEEE_F64") for order in ("LE", "BE")
    ]


def _look_at_fill_value(dataset: _Object, file: int, bounds: Bounds) -> None:
    """Add the length of a dataset's fill value."""
    what = f"variable {dataset.name!r}"
    base = _sequence(dataset.item.get_type(), what)
    if base is not None:
        bounds.add_strings(what, base * _fill_length(dataset, file))


def _fill_length(dataset: _Object, file: int) -> int:
    messages = _headers.messages(file, dataset.address)
    return _heap.total_length(_headers.fill_value(messages)[: _heap.REFERENCE.itemsize])


def _look_at_strings(dataset: _Object, found: _Stored, file: int, bounds: Bounds) -> None:
    """Add up how long a dataset's strings are by the references to them."""
    item, what = dataset.item, f"variable {dataset.name!r}"
    base = _sequence(item.get_type(), what)
    if base is None:
        return
    created = item.get_create_plist()
    layout, count = created.get_layout(), item.get_space().get_simple_extent_npoints()
    if item.get_type().get_class() == h5py.h5t.VLEN:  # a string without characters takes nothing, an array does
        bounds.add_objects(what, count, found.size // _heap.REFERENCE.itemsize, "sequences")
    if layout == h5py.h5d.COMPACT:
        data = _headers.compact_data(_headers.messages(file, dataset.address))
        bounds.add_strings(what, base * _heap.total_length(data))
    elif layout == h5py.h5d.CONTIGUOUS:
        for offset, size in found.pieces:
            for at in range(offset, offset + size, _BLOCK):
                references = pread(file, min(_BLOCK, offset + size - at), at)
                bounds.add_strings(what, base * _heap.total_length(references))
    else:
        nbytes = math.prod(created.get_chunk()) * _heap.REFERENCE.itemsize
        filters = [created.get_filter(number)[0] for number in range(created.get_nfilters())]
        for offset, size in found.pieces:
            references = _unfiltered(pread(file, size, offset), filters, nbytes, what)
            bounds.add_strings(what, base * _heap.total_length(references))
    if found.held < count * _heap.REFERENCE.itemsize:  # the rest is the fill value
        bounds.add_strings(what, base * count * _fill_length(dataset, file))


def _unfiltered(data: bytes, filters: list[int], nbytes: int, what: str) -> bytes:
    """Return a chunk of references as it was before HDF5's filters."""
    for code in reversed(filters):
        if code == _FLETCHER32:
            data = data[:-4]
        elif code == _DEFLATE:
            try:
                data = zlib.decompressobj().decompress(data, nbytes + 4)
            except zlib.error as error:
                raise Unsound(f"{what} has a damaged chunk") from error
        elif code == _SHUFFLE:
            width = _heap.REFERENCE.itemsize
            whole = len(data) // width * width
            data = np.frombuffer(data, np.uint8, whole).reshape(width, -1).T.tobytes()
        else:
            raise Refused(f"{what} has strings behind the HDF5 filter {code}")
    return data


def _look_at_attributes(each: _Object, found: _Stored | None, file: int, bounds: Bounds) -> None:
    """Check what attributes claim, then read those with references: netCDF crashes where one leads nowhere."""
    messages = None
    is_text = not isinstance(each.item, h5py.h5d.DatasetID) or each.item.get_type().get_class() == h5py.h5t.STRING
    for number in range(h5py.h5a.get_num_attrs(each.item)):
        attribute = h5py.h5a.open(each.item, index=number)
        name = attribute.name.decode("utf-8", "replace")
        what = f"attribute {name!r} of {each.name!r}"
        kind = attribute.get_type()
        base = _sequence(kind, what)
        count = attribute.get_space().get_simple_extent_npoints()
        nbytes = count * kind.get_size()
        look_at_fill(name, each.name, count, is_text=not is_text and kind.get_class() == h5py.h5t.STRING)
        if nbytes > bounds.size:
            raise Unsound(f"{what} is larger than the file")
        if base is None and name == "units" and found is not None:
            _look_at_dates(each, found, attribute, bounds)
        if base is None or not nbytes:
            continue
        if messages is None:
            messages = _headers.messages(file, each.address)
        values = _headers.attribute_values(file, messages, attribute.name)
        if not any(len(value) >= nbytes for value in values):
            raise Refused(f"{what} is stored in a way that cannot be checked")
        for value in values:
            bounds.add_strings(what, base * _heap.total_length(value[:nbytes]))
        with contextlib.suppress(TypeError):  # a type that numpy does not have
            attribute.read(np.zeros(attribute.shape, attribute.dtype))
            if name == "units" and found is not None:
                _look_at_dates(each, found, attribute, bounds)


def _look_at_dates(dataset: _Object, found: _Stored, units: Any, bounds: Bounds) -> None:
    """Count the elements that the units of a dataset make into dates."""
    with contextlib.suppress(TypeError):  # a type that numpy does not have
        text = np.zeros(units.shape, units.dtype)
        units.read(text)
        if "since" in str(text.tolist()):
            count, size = dataset.item.get_space().get_simple_extent_npoints(), dataset.item.get_type().get_size()
            bounds.add_objects(f"variable {dataset.name!r}", count, found.held // size, "dates")
