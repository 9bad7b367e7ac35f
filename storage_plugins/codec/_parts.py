"""A file of this package that need not be on this computer: its description is read first, then tiles as needed.

HDF5 only looks for the description, one attribute of the root, in bytes that have arrived. All else is read by the
places that the description gives, and verified by its hashes. So nothing in such a file can lead to another one.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from ..atomic import disk_errors, open_regular
from ..errors import EncodingError, IntegrityError, NotSupported, StorageError
from ._bounds import deflated_at_most
from ._content import Json, put_together
from ._elements import restored
from ._guard_hdf5 import SIGNATURE, has_wide_addresses
from ._layout import ATTRIBUTE, Layout, label, logical_dtype
from ._lazy import Tile, Tiles, dask_array
from ._library import h5py, library
from ._reading import Damaged, Opened, Unfit, bound, description, element, laid_out, read_elements, tile_of
from ._tiles import Array, in_threads, offsets, region, tile_count

_AHEAD = 64 << 10  # bytes read at least where HDF5 asks for some
_BEFORE = 256 << 10  # bytes before those: coordinates are written there, just before the description
_MOST_LOOKS = 64  # requests until the description is found; a file of this package needs two
_TOGETHER = 8 << 20  # bytes of one request at most
_GAP = 32 << 10  # bytes that are read for nothing rather than in a request of their own
_HELD = 32 << 20  # bytes of chunks that are held for the next reader of the same tile
Piece = tuple[int, int]  # offset and size in bytes


class Source(Protocol):
    """A file from which parts are read; it never changes."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""


@dataclasses.dataclass
class LocalSource:
    """A file of this computer.

    Attributes:
        path: where it is.
        refetch: returns where it is on another machine, or once it was removed here.
        size: bytes.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from storage_plugins import codec
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "rates.nc")
        >>> _ = path.write_bytes(b"CDF")
        >>> codec.LocalSource(path).read(1, 3)
        b'DF'
        >>> folder.cleanup()
    """

    path: Path
    refetch: Callable[[], Path] | None = None
    size: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.path = self.path.absolute()
        with disk_errors(f"read {self.path.name}"):
            self.size = self.path.stat().st_size

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""
        with disk_errors(f"read {self.path.name}"):
            try:
                file = open_regular(self.path, follow=True)
            except FileNotFoundError:
                if self.refetch is None:
                    raise
                self.path = self.refetch()
                file = open_regular(self.path, follow=True)
            with file:
                file.seek(start)
                return file.read(stop - start)


class _Near:
    """A file of which some blocks were read already."""

    def __init__(self, source: Source, blocks: list[tuple[int, bytes]]) -> None:
        self._source, self._blocks = source, blocks
        self.name, self.size = source.name, source.size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""
        for offset, block in self._blocks:
            if offset <= start and stop <= offset + len(block):
                return block[start - offset : stop - offset]
        return self._source.read(start, stop)


class Parts:
    """An assembly in a file, its description read and verified, its arrays not yet.

    Args:
        source: the file.
        content_digest: what it must contain; None: what its description says.

    Attributes:
        digest: the content digest.
        description: of the content; see ``docs/format.md``.

    Raises:
        NotSupported: the file cannot be read in parts; says why.
        IntegrityError: it is damaged, or contains something else. Later also for a tile, when it is read.
        EncodingError: it is of a newer format.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import xarray
        >>> from storage_plugins import codec
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "rates.nc")
        >>> digest = codec.encode(xarray.DataArray([1.0, 2.0], dims="neuroid"), path, identifier="Lab2026.rates")
        >>> codec.Parts(codec.LocalSource(path), digest).assembly()[1].item()
        2.0
        >>> folder.cleanup()
    """

    HEAD = 64 << 10  # bytes that are read first; HDF5's superblock and root are there

    def __init__(self, source: Source, content_digest: str | None = None) -> None:
        self.source = source
        with _damage(source):
            found, blocks = _attribute(source)
            if found is None:
                if content_digest is not None:
                    raise Damaged("its description is missing")
                raise NotSupported(f"{source.name} was written by another program, whose files are not read in parts")
            parsed = description(found, source.name)
            self.digest: str = parsed["digest"]
            if content_digest not in (None, self.digest):
                raise Damaged(f"it contains {self.digest}, not {content_digest}")
            try:
                self._opened = _placed(source, parsed)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise Damaged(f"its description contradicts itself ({error})") from error
        self.description: Json = self._opened.description
        self._near = _Near(source, blocks)

    @property
    def layouts(self) -> dict[str | None, Layout]:
        """How the data, under None, and each coordinate are stored."""
        return self._opened.layouts

    def stored_size(self, name: str | None) -> int:
        """Return the bytes that the data, or a coordinate, take in the file."""
        return sum(size for _, size in self._opened.chunks[name] or [])

    def assembly(self, cls: type | None = None, chunks: Any = None) -> xr.DataArray:
        """Return the assembly; of its data, tiles are read when they are used.

        Args:
            cls: as in `decode`; it gets dask-backed data, since classes take plain ones at once.
            chunks: as in `decode`; None: lazy data as ``xarray.open_dataarray`` gives them.
        """
        has_dask = importlib.util.find_spec("dask") is not None
        if chunks is not None and not has_dask:
            raise NotSupported("chunks= needs dask, which is not installed", hint="pip install 'storage-plugins[dask]'")
        if chunks is None and cls is not None and has_dask:
            chunks = {}
        with _damage(self.source):
            made = self._assembly(chunks)
        if cls is None:
            return made
        wrapped: xr.DataArray = cls(made)
        return wrapped

    def coordinates(self, most: float = math.inf) -> dict[str, Any]:
        """Return the elements of coordinates, verified: as many, the smallest first, as take ``most`` bytes."""
        found, names, total = self._opened, list[str | None](), 0
        for name in sorted(filter(None, found.layouts), key=self.stored_size):
            total += self.stored_size(name)
            if total > most:
                break
            names.append(name)
        with _damage(self.source):
            held = _held(self._near, [piece for name in names for piece in found.chunks[name] or []])
            _add_whole(found, names, held)
            return {
                name: restored(element(found, name, held.__getitem__), found.layouts[name].shape)
                for name in names
                if name is not None
            }

    def verify(self) -> None:
        """Read everything, in flat memory. Raises IntegrityError if something is not what the description says."""
        self.coordinates()
        tiles = self.tiles()
        if tiles is None:
            self.assembly()
        else:
            for _ in tiles.read([*enumerate(offsets(tiles.shape, tiles.layout.tile))]):
                pass

    def tiles(self) -> Tiles | None:
        """Return the data as tiles; None: they are not numbers in tiles, but text, or a single value."""
        entry, place = self._opened.description["data"], self._opened.layouts[None]
        dtype = logical_dtype(entry["type"])
        if "dtype" not in entry["type"] or dtype is None or not place.chunk:
            return None
        return _TilesOfSource(place, entry["tiles"], dtype, self.source, self._opened.chunks[None] or [])

    def _assembly(self, chunks: Any) -> xr.DataArray:
        found, tiles = self._opened, self.tiles()
        names = [name for name in found.layouts if name is not None or tiles is None]
        held = _held(self._near, [piece for name in names for piece in found.chunks[name] or []])
        _add_whole(found, names, held)
        values: dict[str | None, Any] = dict(read_elements(found, held.__getitem__, skip_data=tiles is not None))
        if tiles is None:
            values[None] = restored(values[None], found.layouts[None].shape)
        elif chunks is None:
            values[None] = np.broadcast_to(np.zeros((), tiles.dtype), tiles.shape)  # takes no memory
        else:
            values[None] = dask_array(tiles, chunks, tuple(found.description["dims"]), found.layouts[None].tile)
        shown_as = {name: note["dtype"] for name, note in found.notes.items() if name is not None and "dtype" in note}
        try:
            made = put_together(found.description, values, shown_as)
        except StorageError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise Damaged(f"its description contradicts itself ({error})") from error
        if tiles is None or chunks is not None:
            return made
        made = made.copy(deep=False, data=_lazily(tiles))
        made.encoding["preferred_chunks"] = dict(zip(found.description["dims"], found.layouts[None].tile, strict=True))
        return made


def digest_of_file(path: Path) -> str | None:
    """Return the content digest of a file of this package, all of whose bytes were verified; None for other files.

    Files with extras, and those that cannot be read in parts, count as others.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import xarray
        >>> from storage_plugins import codec
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "rates.nc")
        >>> digest = codec.encode(xarray.DataArray([1.0, 2.0], dims="neuroid"), path, identifier="Lab2026.rates")
        >>> codec.digest_of_file(path) == digest
        True
        >>> folder.cleanup()
    """
    try:
        parts = Parts(LocalSource(path))
        parts.verify()
    except (IntegrityError, NotSupported, EncodingError):  # what is wrong with it, whoever reads it learns
        return None
    return None if parts.description.get("extras") else parts.digest


def as_encoded(path: Path, content_digest: str) -> Opened | None:
    """Look at a file whose bytes were verified as those that `encode` wrote; None: it has to be looked through.

    Nothing in it is hashed again, and HDF5 reads no more of it than the description.
    """
    source = LocalSource(path)
    try:
        found = Parts(source, content_digest)._opened
        single = [name for name, place in found.layouts.items() if not place.chunk]
        _add_whole(found, single, _held(source, [piece for name in single for piece in found.chunks[name] or []]))
    except (StorageError, Damaged):  # whoever reads it with more care says what is wrong
        return None
    found.path, found.trusted = path, True
    return found


class _damage:  # noqa: N801  used as a function
    """Turn what is found wrong with a file into an IntegrityError that names it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Damaged | Unfit):
            raise _damaged(self._source, str(error)) from error


def _damaged(source: Source, how: str) -> IntegrityError:
    return IntegrityError(
        f"{source.name} is damaged: {how}",
        hint="Load it whole, without download=False, or load another copy; and inform the owner of the store.",
    )


# the description


class _Window(io.RawIOBase):
    """The bytes of a file that have arrived, as a file for HDF5. ``missing`` is what it asked for besides."""

    def __init__(self, blocks: list[tuple[int, bytes]], size: int) -> None:
        self._blocks, self._size, self._at = blocks, size, 0
        self.missing: Piece | None = None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        for start, block in self._blocks:
            if start <= self._at and self._at + wanted <= start + len(block):
                buffer[:] = block[self._at - start : self._at - start + wanted]
                return wanted
        if self._at + wanted <= self._size:
            self.missing = (self._at, wanted)
        raise OSError("these bytes are not here")


def _attribute(source: Source) -> tuple[str | None, list[tuple[int, bytes]]]:
    """Return the text of a file's description, and the parts of the file that were read to find it, with their places.

    None: it has none, as it is of another program.

    HDF5 gets to see bytes that are here already, so that its lock is never held while a server is waited for.
    """
    size = source.size
    blocks = [(0, source.read(0, min(size, Parts.HEAD)))]
    start = blocks[0][1][:16]
    if start[:8] != SIGNATURE or not has_wide_addresses(start):
        return None, blocks
    if h5py is None:
        raise NotSupported("h5py is not installed, and without it files are not read in parts")
    for _ in range(_MOST_LOOKS):
        window = _Window(blocks, size)
        try:
            with library(), h5py.File(window, "r") as file:
                return _text(file.id, size), blocks
        except Damaged:
            raise
        except Exception as error:
            if window.missing is None:
                raise Damaged(f"its description cannot be read ({error})") from error
        offset, count = window.missing
        begin = max(0, offset - _BEFORE)
        end = max(offset + count, offset + _AHEAD)
        end = size if size - end < _AHEAD else end
        blocks.append((begin, source.read(begin, end)))
    raise Damaged("its description cannot be found")


def _text(root: Any, size: int) -> str | None:
    name = ATTRIBUTE.encode()
    if not h5py.h5a.exists(root, name):
        return None
    attribute = h5py.h5a.open(root, name)
    kind = attribute.get_type()
    plain = isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str()  # others are stored elsewhere
    if not plain or attribute.shape not in ((), (1,)) or kind.get_size() > size:
        raise Damaged("its description is not text")
    text = np.empty(attribute.shape, f"S{kind.get_size()}")
    attribute.read(text)
    try:
        return bytes(text.item()).decode()
    except UnicodeDecodeError as error:
        raise Damaged("its description is not text") from error


def _placed(source: Source, parsed: Json) -> Opened:
    """Return where everything is, as the description says; memory stays bounded by what the file can hold."""
    entries, notes, layouts = laid_out(parsed)
    listed = parsed["file"].get("chunks")
    if listed is None:
        raise NotSupported(f"{source.name} does not say where its tiles are, so that it is not read in parts")
    chunks: dict[str | None, list[Piece] | None] = {}
    for name, place in layouts.items():
        if place.dtype is None:
            raise NotSupported(f"{source.name} has text of any length ({place.name!r}), which is not read in parts")
        pieces = [(offset, size) for offset, size in listed[label(name)]]
        if not all(type(number) is int and number >= 0 for piece in pieces for number in piece):
            raise ValueError("places are whole numbers")
        if len(pieces) != (tile_count(place.shape, place.tile) if place.chunk else 1):
            raise ValueError("a tile without a place")
        unit = math.prod(place.chunk or place.stored_shape) * place.dtype.itemsize
        if any(unit > (deflated_at_most(size) if place.chunk else size) for _, size in pieces):
            raise Damaged(f"variable {place.name!r} is larger than its bytes can hold")
        chunks[name] = pieces
    end = 0
    for offset, size in sorted(piece for pieces in chunks.values() for piece in pieces or []):
        if offset < end or offset + size > source.size:
            raise Damaged("tiles share bytes, or are beyond the end of the file")
        end = offset + size
    bound(((entries[name], place.shape) for name, place in layouts.items()), source.size)
    return Opened(Path(source.name), None, parsed["content"], layouts, chunks, {}, notes, parsed["digest"])


def _add_whole(found: Opened, names: Sequence[str | None], held: dict[Piece, bytes]) -> None:
    """Note the single values, which are stored without chunks."""
    for name in names:
        place, pieces = found.layouts[name], found.chunks[name]
        if not place.chunk and pieces and place.dtype is not None:
            count = max(1, math.prod(place.stored_shape))
            found.whole[name] = np.frombuffer(held[pieces[0]], place.dtype, count).reshape(place.stored_shape)


# the tiles


def _grouped(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yield pieces that are read in one request, since they are near one another."""
    group: list[Piece] = []
    for piece in sorted(set(pieces)):
        if group:
            end = sum(group[-1])
            if piece[0] - end > _GAP or sum(piece) - group[0][0] > _TOGETHER:
                yield group
                group = []
        group.append(piece)
    if group:
        yield group


def _fetched(source: Source, group: list[Piece]) -> dict[Piece, bytes]:
    start, stop = group[0][0], sum(group[-1])
    data = source.read(start, stop)
    if len(data) != stop - start:
        raise Damaged("it is shorter than it was")
    return {(offset, size): data[offset - start : offset - start + size] for offset, size in group}


def _held(source: Source, pieces: Sequence[Piece]) -> dict[Piece, bytes]:
    """Return the bytes of all these pieces."""
    held: dict[Piece, bytes] = {}
    for found in in_threads(lambda group: _fetched(source, group), _grouped(pieces)):
        held |= found
    return held


@dataclasses.dataclass
class _TilesOfSource(Tiles):
    """An array in a file that is read in parts. Chunks that were read are held for a while."""

    source: Source
    chunks: list[Piece]

    def __post_init__(self) -> None:
        self._lock, self._recent, self._bytes = threading.Lock(), OrderedDict[Piece, bytes](), 0

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    def read(self, tiles: Sequence[Tile]) -> Iterator[Array]:
        """Yield tiles; those near one another in the file come in one request."""
        wanted = {self.chunks[number]: (number, offset) for number, offset in tiles}
        if len(wanted) != len(tiles):
            raise ValueError("each tile once")
        with self._lock:
            ready = {piece: self._recent[piece] for piece in wanted if piece in self._recent}
        rest = _grouped([piece for piece in wanted if piece not in ready])
        arriving = in_threads(lambda group: self._verified(group, wanted), rest)
        done: dict[Piece, Array] = {}
        for number, offset in tiles:
            piece = self.chunks[number]
            if piece in ready:
                yield self._tile(ready.pop(piece), number, offset)
                continue
            while piece not in done:
                done |= next(arriving)
            yield done.pop(piece)

    def _verified(self, group: list[Piece], wanted: dict[Piece, Tile]) -> dict[Piece, Array]:
        with _damage(self.source):
            fetched = _fetched(self.source, group)
        made = {}
        for piece, data in fetched.items():
            try:
                made[piece] = tile_of(data, self.layout, wanted[piece][1], self.proofs[wanted[piece][0]])
            except (Damaged, Unfit):  # on the way, perhaps
                with _damage(self.source):
                    data = _fetched(self.source, [piece])[piece]
                made[piece] = self._tile(data, *wanted[piece])
            self._keep(piece, data)
        return made

    def _tile(self, data: bytes, number: int, offset: tuple[int, ...]) -> Array:
        try:
            return tile_of(data, self.layout, offset, self.proofs[number])
        except (Damaged, Unfit) as error:
            parts = region(offset, self.layout.tile, self.shape)
            where = ", ".join(
                f"{dim} {part.start}:{part.stop}" for dim, part in zip(self.layout.dims, parts, strict=True)
            )
            raise _damaged(self.source, f"tile {number} of {self.layout.name!r} ({where}): {error}") from error

    def _keep(self, piece: Piece, data: bytes) -> None:
        with self._lock:
            if piece not in self._recent:
                self._recent[piece] = data
                self._bytes += len(data)
            while self._bytes > _HELD:
                self._bytes -= len(self._recent.popitem(last=False)[1])


class _Lazy(BackendArray):
    """Tiles as xarray reads them."""

    def __init__(self, tiles: Tiles) -> None:
        self.tiles, self.shape, self.dtype = tiles, tiles.shape, tiles.dtype

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, indexing.BasicIndexer | indexing.OuterIndexer):
            return self.tiles[key.tuple]  # older xarray takes slices with negative steps apart wrongly
        read: Any = indexing.explicit_indexing_adapter
        return read(key, self.shape, indexing.IndexingSupport.OUTER, self.tiles.__getitem__)


def _lazily(tiles: Tiles) -> Any:
    """Return the tiles as xarray has data of files: read once, when they are used, and free to be changed."""
    lazy: Any = indexing.LazilyIndexedArray(_Lazy(tiles))
    cached: Any = indexing.MemoryCachedArray  # untyped
    return cached(indexing.CopyOnWriteArray(lazy))
