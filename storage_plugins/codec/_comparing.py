"""How two assemblies differ: in their dimensions, coordinates, attributes and values, whatever wrote their files.

Data are compared region by region, so memory stays flat. Where both files are of this package, the hashes of their
tiles say which regions differ, and only those are read.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ._layout import from_stored
from ._parts import Parts
from ._summary import plain
from ._tiles import Array, offsets, region
from ._values import Unkeepable, canonical, from_json, to_json

_REGION = 16 << 20  # bytes of data that are compared at a time
_BATCH = 8  # tiles that are read at a time
_FIRST = 5  # places that are listed
_UNNAMED = ("data", "__xarray_dataarray_variable__")  # what other programs call data without a name
_TEXT = "OUST"


@dataclasses.dataclass
class Comparison:
    """How two assemblies differ; ``print`` shows it.

    Attributes:
        differences: of content; each has ``what``, and what else there is to say of it.
        notes: other forms of the same content, such as coordinates that are levels of a MultiIndex in one of them.
        digests: the content digest of each, where it is known.
    """

    differences: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    digests: tuple[str | None, str | None] = (None, None)

    @property
    def same(self) -> bool:
        """Whether the content is the same."""
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values that have a JSON form; see docs/command-line.md."""
        return {
            "same": self.same,
            "differences": self.differences,
            "notes": self.notes,
            "content_digests": list(self.digests),
        }

    def __str__(self) -> str:
        if self.same:
            known = f": {self.digests[0]}" if self.digests[0] is not None and not self.notes else ""
            lines = [f"Same content{known}"]
        else:
            lines = ["Different content", *(f"  {_line(one)}" for one in self.differences)]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def _line(difference: Mapping[str, Any]) -> str:
    """Return a difference in words."""
    what = difference["what"]
    if "values" not in difference:
        return f"{what}: {difference['a']!r} and {difference['b']!r}"
    line = f"{what}: {difference['values']:,} of {difference['of']:,} values differ"
    if difference["largest"] is not None:
        line += f", by up to {difference['largest']:g}"
    for one in difference["first"]:
        names = [dim if dim.isprintable() else repr(dim) for dim in difference["dims"]]
        where = ", ".join(f"{name} {place}" for name, place in zip(names, one["place"], strict=True))
        line += f"\n    {where or 'value'}: {one['a']!r} and {one['b']!r}"
    return line


def compare(a: Parts | xr.DataArray, b: Parts | xr.DataArray) -> Comparison:
    """Return how two assemblies differ.

    Text counts as the same whether it is of fixed width or objects, and coordinates whether or not they are levels of a
    MultiIndex, since other programs cannot store those: `Comparison.notes` says so.

    Example:
        >>> import xarray
        >>> from storage_plugins import codec
        >>> one, other = (xarray.DataArray([1.0, value], dims="neuroid") for value in (2.0, 2.5))
        >>> print(codec.compare(one, other))
        Different content
          data: 1 of 2 values differ, by up to 0.5
            neuroid 1: 2.0 and 2.5
    """
    digests = tuple(each.digest if isinstance(each, Parts) else None for each in (a, b))
    found = Comparison(digests=(digests[0], digests[1]))
    if digests[0] is not None and digests[0] == digests[1]:
        return found
    views = (_View(a), _View(b))
    _compare_names(found, *views)
    _compare_attrs(found, "attribute", views[0].attrs, views[1].attrs)
    _compare_coords(found, *views)
    _compare_data(found, *views)
    for name in sorted({*views[0].extras, *views[1].extras}):
        _differ(found, f"extra {name!r}", *(view.extras.get(name) for view in views))
    return found


@dataclasses.dataclass
class _Coord:
    dims: tuple[str, ...]
    attrs: Mapping[str, Any]
    values: Any


class _View:
    """An assembly, wherever it is, as it is compared: levels of a MultiIndex count as coordinates."""

    def __init__(self, what: Parts | xr.DataArray) -> None:
        self.coords: dict[str, _Coord] = {}
        self.indexes: dict[str, list[str]] = {}
        self.index_attrs: dict[str, Mapping[str, Any]] = {}
        self.extras: dict[str, str] = {}
        self.parts = what if isinstance(what, Parts) else None
        self.tiles = what.tiles() if isinstance(what, Parts) else None
        if isinstance(what, Parts):
            self._of_parts(what)
        else:
            self.data = what.variable
            self._of_assembly(what)

    def _of_parts(self, parts: Parts) -> None:
        description = parts.description
        self.name = from_json(description["name"])
        self.dims, self.shape = tuple(description["dims"]), parts.layouts[None].shape
        self.attrs = {name: from_json(form) for name, form in description["data"]["attrs"].items()}
        self.extras = description.get("extras", {})
        values = parts.coordinates()
        for name, entry in description["coords"].items():
            attrs = {attr: from_json(form) for attr, form in entry["attrs"].items()}
            if "levels" in entry:
                self.indexes[name], self.index_attrs[name] = entry["levels"], attrs
                continue
            self.coords[name] = _Coord(tuple(entry["dims"]), attrs, values[name])
        if self.tiles is None:
            self.data = parts.assembly().variable
        self.dtype: Any = self.data.dtype if self.tiles is None else self.tiles.dtype

    def _of_assembly(self, assembly: xr.DataArray) -> None:
        self.name, self.attrs, self.dtype = (
            assembly.name,
            {str(k): v for k, v in assembly.attrs.items()},
            assembly.dtype,
        )
        self.dims, self.shape = tuple(map(str, assembly.dims)), assembly.shape
        for name, coord in assembly.coords.items():
            index = assembly.indexes.get(name)
            dims, attrs = tuple(map(str, coord.dims)), {str(k): v for k, v in coord.attrs.items()}
            if not isinstance(index, pd.MultiIndex):
                self.coords[str(name)] = _Coord(dims, attrs, coord.values)
            elif name in index.names:
                self.coords[str(name)] = _Coord(dims, attrs, index.get_level_values(str(name)).values)
            else:
                self.indexes[str(name)], self.index_attrs[str(name)] = list(map(str, index.names)), attrs
                for level in self.indexes[str(name)]:  # older xarray does not list them
                    self.coords.setdefault(level, _Coord(dims, {}, index.get_level_values(level).values))

    def region(self, part: tuple[slice, ...]) -> Array:
        """Return a part of the data."""
        return self.tiles[part] if self.tiles is not None else np.asarray(self.data[part].values)


def _differ(found: Comparison, what: str, a: Any, b: Any) -> None:
    if not _same(a, b):
        found.differences.append({"what": what, "a": plain(a), "b": plain(b)})


def _same(a: Any, b: Any) -> bool:
    """Whether two attributes are the same; numbers of numpy and lists count as what they hold."""
    if type(a) is not type(b) and isinstance(a, np.ndarray | list | tuple) and isinstance(b, np.ndarray | list | tuple):
        return len(a) == len(b) and all(itertools.starmap(_same, zip(a, b, strict=True)))
    if isinstance(a, np.generic) or isinstance(b, np.generic):
        a, b = (each.item() if isinstance(each, np.generic) else each for each in (a, b))
    try:
        return canonical(to_json(a)) == canonical(to_json(b))
    except Unkeepable:  # of an assembly that was never stored
        return bool(a is b or repr(a) == repr(b))


def _compare_names(found: Comparison, a: _View, b: _View) -> None:
    lost = any(view.parts is None and view.name in _UNNAMED for view in (a, b))  # BrainIO stores no names
    if lost and a.name != b.name:
        found.notes.append(f"the name is {a.name!r} and {b.name!r}")
    elif not lost:
        _differ(found, "name", a.name, b.name)
    _differ(found, "dims", list(a.dims), list(b.dims))
    _differ(found, "shape", list(a.shape), list(b.shape))


def _compare_attrs(found: Comparison, what: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    for name in sorted({*a, *b}):
        if name in a and name in b:
            _differ(found, f"{what} {name!r}", a[name], b[name])
        else:
            there = ["there" if name in each else "missing" for each in (a, b)]
            found.differences.append({"what": f"{what} {name!r}", "a": there[0], "b": there[1]})


def _compare_coords(found: Comparison, a: _View, b: _View) -> None:
    for name in dict.fromkeys([*a.coords, *b.coords]):
        what = f"coordinate {name!r}"
        if name not in a.coords or name not in b.coords:
            there = ["there" if name in each.coords else "missing" for each in (a, b)]
            found.differences.append({"what": what, "a": there[0], "b": there[1]})
            continue
        one, other = a.coords[name], b.coords[name]
        _compare_attrs(found, f"{what}, attribute", one.attrs, other.attrs)
        _differ(found, f"{what}, dims", list(one.dims), list(other.dims))
        shapes = [np.shape(each.values) for each in (one, other)]
        if one.dims == other.dims and shapes[0] == shapes[1]:
            _compare_types(found, what, one.values.dtype, other.values.dtype)
            _Values(what, one.dims, shapes[0]).of([((0,) * len(shapes[0]), one.values, other.values)], found)
    for dim in dict.fromkeys([*a.indexes, *b.indexes]):
        attrs = [each.index_attrs.get(dim, {}) for each in (a, b)]
        _compare_attrs(found, f"coordinate {dim!r}, attribute", *attrs)
        levels = [each.indexes.get(dim) for each in (a, b)]
        if levels[0] != levels[1]:
            said = ["plain coordinates" if one is None else f"a MultiIndex of {', '.join(one)}" for one in levels]
            found.notes.append(f"{dim!r} has {said[0]} in the first, {said[1]} in the second")


def _compare_types(found: Comparison, what: str, a: Any, b: Any) -> None:
    a, b = (np.dtype(object) if isinstance(each, pd.StringDtype) else each for each in (a, b))  # pandas' own choice
    kinds = [getattr(each, "kind", "O") for each in (a, b)]
    if a == b:
        return
    if kinds[0] in _TEXT and kinds[1] in _TEXT:
        found.notes.append(f"{what} is of type {a} and {b}")
    else:
        found.differences.append({"what": f"{what}, type", "a": str(a), "b": str(b)})


def _compare_data(found: Comparison, a: _View, b: _View) -> None:
    _compare_types(found, "data", a.dtype, b.dtype)
    if a.dims == b.dims and a.shape == b.shape:
        _Values("data", a.dims, a.shape).of(_regions(a, b), found)


def _regions(a: _View, b: _View) -> Iterator[tuple[tuple[int, ...], Any, Any]]:
    """Yield the parts of the data that may differ: where each begins, and both."""
    if a.tiles is not None and b.tiles is not None and a.tiles.dtype == b.tiles.dtype:
        tile = a.tiles.layout.tile
        differing = [
            (number, offset)
            for number, offset in enumerate(offsets(a.shape, tile))
            if a.tiles.proofs[number] != b.tiles.proofs[number]
        ]
        for start in range(0, len(differing), _BATCH):
            batch = differing[start : start + _BATCH]
            for (_, offset), one, other in zip(batch, a.tiles.read(batch), b.tiles.read(batch), strict=True):
                yield offset, from_stored(one, a.tiles.dtype), from_stored(other, b.tiles.dtype)
        return
    steps = _steps(a, b)
    for offset in offsets(a.shape, steps):
        part = region(offset, steps, a.shape)
        yield offset, a.region(part), b.region(part)


def _steps(a: _View, b: _View) -> tuple[int, ...]:
    """Return the shape of a region: whole tiles, where there are some, and as many as fit."""
    tiles = a.tiles or b.tiles
    steps = list(tiles.layout.tile) if tiles is not None else [1] * len(a.shape)
    for axis in reversed(range(len(steps))):
        rest = math.prod(steps) * max(1, getattr(a.dtype, "itemsize", 8))
        steps[axis] = max(1, min(a.shape[axis], steps[axis] * max(1, _REGION // max(1, rest))))
    return tuple(steps)


class _Values:
    """Counts values that differ."""

    def __init__(self, what: str, dims: tuple[str, ...], shape: tuple[int, ...]) -> None:
        self._what, self._dims, self._shape = what, dims, shape
        self._count, self._largest = 0, math.nan
        self._first: list[tuple[tuple[int, ...], Any, Any]] = []

    def of(self, parts: Any, found: Comparison) -> None:
        """Compare parts of two arrays, and note a difference if there is one."""
        for offset, a, b in parts:
            self._add(offset, _as_array(a), _as_array(b))
        if self._count:
            first = [
                {"place": list(place), "a": plain(a), "b": plain(b)}
                for place, a, b in sorted(self._first, key=lambda one: one[0])
            ]
            found.differences.append(
                {
                    "what": self._what,
                    "values": self._count,
                    "of": math.prod(self._shape),
                    "largest": None if math.isnan(self._largest) else self._largest,
                    "dims": list(self._dims),
                    "first": first,
                }
            )

    def _add(self, offset: tuple[int, ...], a: Array, b: Array) -> None:
        differing = _differing(a, b)
        count = int(np.count_nonzero(differing))
        if not count:
            return
        self._count += count
        if a.dtype.kind in "biufc" and b.dtype.kind in "biufc":
            wide = "c16" if "c" in (a.dtype.kind, b.dtype.kind) else "f8"
            with np.errstate(invalid="ignore", over="ignore"):
                apart = np.abs(a[differing].astype(wide) - b[differing].astype(wide))
            apart = apart[np.isfinite(apart)]
            if apart.size:
                self._largest = float(np.nanmax([self._largest, apart.max()]))
        places = np.argwhere(differing)[:_FIRST]
        listed = [
            (tuple(int(at + start) for at, start in zip(place, offset, strict=True)), a[tuple(place)], b[tuple(place)])
            for place in places
        ]
        self._first = sorted([*self._first, *listed], key=lambda one: one[0])[:_FIRST]


def _as_array(values: Any) -> Array:
    return values if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)


def _differing(a: Array, b: Array) -> Array:
    """Return which elements differ. Numbers of one type are compared bit by bit; NaN is NaN."""
    if a.dtype == b.dtype and a.dtype.kind in "biufcmM":
        unequal = np.ascontiguousarray(a).reshape(-1).view(np.uint8).reshape(a.size, -1)
        other = np.ascontiguousarray(b).reshape(-1).view(np.uint8).reshape(a.size, -1)
        differing: Array = (unequal != other).any(axis=1).reshape(a.shape) if a.size else np.zeros(a.shape, bool)
        if a.dtype.kind in "fc":
            differing &= ~(np.isnan(a) & np.isnan(b))
        return differing
    if a.dtype.kind not in _TEXT and b.dtype.kind not in _TEXT:
        with np.errstate(invalid="ignore"):
            return np.asarray(a != b, bool) & ~(pd.isna(a) & pd.isna(b))
    pairs = zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True)
    return np.fromiter((not _equal(one, other) for one, other in pairs), bool, a.size).reshape(a.shape)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return a == b
    return _same(a, b)
