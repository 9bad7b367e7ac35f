"""How much memory a file may take: what all its variables together can hold, and a little more."""

from __future__ import annotations

from ._tiles import DEFLATE

_MORE = (
    64 << 20
)  # bytes that a file may declare without holding them: parts that were never written are read as fill values
_EMPTY_CHUNKS = 50_000  # chunks that were never written; HDF5 looks for each of them, some 20 microseconds
_FILL = frozenset({"_FillValue", "missing_value", "scale_factor", "add_offset"})
_FILL_VALUES = 64  # of one variable; each is compared with all of its values
_OBJECT = 256  # bytes of an array of its own, or of a date that numpy does not have, and of what refers to it
_DECODED = 8  # bytes that readers may make of one byte: a float64


class Unsound(Exception):
    """The file contradicts itself: it is damaged, or was made to harm."""


class Refused(Exception):
    """The file has something that no file with an assembly may have. The message begins with its name."""


class Bounds:
    """What the variables of one file declare and what the file holds of it, summed up.

    Args:
        size: of the file in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._missing = self._stored = self._strings = self._empty = 0

    def declare(self, name: str, nbytes: int, held: int, itemsize: int) -> None:
        """Add a variable.

        Args:
            name: for the message.
            nbytes: of the whole array.
            held: bytes of it that the file can hold, compression included.
            itemsize: bytes of an element.

        Raises:
            Refused: the variables so far are larger than the file can hold.
        """
        self._missing += max(0, nbytes - held) * max(1, _DECODED // max(1, itemsize))
        if self._missing > _MORE:
            raise Refused(f"{name} declares {nbytes:,} bytes, of which a file of {self.size:,} bytes holds {held:,}")

    def add_objects(self, name: str, count: int, held: int, what: str) -> None:
        """Add elements of one variable, of which so many are held, that are read as Python objects. Raises Refused."""
        self._missing += max(0, count - held) * _OBJECT
        if self._missing > _MORE:
            raise Refused(f"{name} declares {count:,} {what}, of which the file holds {held:,}")

    def add_chunks(self, name: str, declared: int, stored: int) -> None:
        """Add the chunks of one variable. Raises Refused if a small file declares very many."""
        self._empty += max(0, declared - stored)
        if self._empty > _EMPTY_CHUNKS:
            raise Refused(f"{name} declares {declared:,} chunks, of which the file holds {stored:,}")

    def store(self, name: str, nbytes: int) -> None:
        """Add bytes of the file that one variable uses. Raises Unsound if several variables use the same."""
        self._stored += nbytes
        if self._stored > self.size:
            raise Unsound(f"{name} takes bytes beyond the file's end or of other variables")

    def add_strings(self, name: str, nbytes: int) -> None:
        """Add bytes of strings, which HDF5 stores one by one. Raises Unsound if they are longer than the file."""
        self._strings += nbytes
        if self._strings > self.size:
            raise Unsound(f"{name} has strings that are longer than the file")


def deflated_at_most(stored: int) -> int:
    """Return the bytes that so many bytes can hold if they are compressed."""
    return DEFLATE * stored


def look_at_fill(attribute: str, variable: str, count: int, *, is_text: bool) -> None:
    """Refuse attributes by which xarray decodes numbers, if they are text: it would make text of each number.

    Args:
        attribute, variable: the names; other attributes are not looked at.
        count: how many values the attribute has.
        is_text: whether it is text, and the variable is not.

    Raises:
        Refused
    """
    if attribute in _FILL and (is_text or count > _FILL_VALUES):
        how = "text, and the values are numbers" if is_text else f"a list of {count:,} values"
        raise Refused(f"attribute {attribute!r} of {variable!r} is {how}")
