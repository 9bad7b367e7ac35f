"""Arrays of any type as numbers or text, which netCDF can hold, and back exactly.

What is not of the array's own type (None, NaN or pd.NA among text, say) is *marked*: a number for each element
says which of a few special values is there; 0: none.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ._texts import Texts
from ._tiles import Array, factorized
from ._values import Unkeepable, dtype_of, from_json, to_json

_SPECIALS = 255  # different ones in an array: with more, all of it is stored as JSON
_LIKE_NAN = {"float": "nan"}
_NULLABLE = {
    "Int8": "i1",
    "Int16": "i2",
    "Int32": "i4",
    "Int64": "i8",
    "UInt8": "u1",
    "UInt16": "u2",
    "UInt32": "u4",
    "UInt64": "u8",
    "Float32": "f4",
    "Float64": "f8",
    "boolean": "?",
}


@dataclasses.dataclass
class Elements:
    """The elements of one array.

    Attributes:
        type: what they are, as in ``docs/format.md``.
        values: an array of numbers (bool, complex, dates and bytes too), or text; a dask array is not computed.
        marks: which special value each element is, dtype u1, shape (elements,); None: there are none.
        special: the JSON forms of the special values.
    """

    type: dict[str, Any]
    values: Any
    marks: Array | None = None
    special: list[Any] = dataclasses.field(default_factory=list)


def analysed(values: Any) -> Elements:
    """Return the elements of an array: of numpy, of pandas, or a dask array of numbers.

    Raises:
        Unkeepable: some have no exact form.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.api.extensions.ExtensionDtype):
        return _of_pandas(values)
    if dtype.kind == "O":
        return _of_objects(np.asarray(values).reshape(-1))
    if dtype.kind == "U":
        return Elements({"dtype": dtype.str}, Texts.of(np.asarray(values)))
    return Elements({"dtype": dtype_name(dtype)}, values)


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the type string of a dtype that can be stored; raises Unkeepable."""
    try:
        if dtype.metadata:
            raise ValueError
        dtype_of(dtype.str)
    except ValueError:
        raise Unkeepable(f"is of type {dtype}", _advice(dtype)) from None
    return dtype.str


def _advice(dtype: np.dtype[Any]) -> str | None:
    """Say what to convert an array of this dtype to."""
    if dtype.names:
        field = f"xarray.DataArray(assembly.values[{dtype.names[0]!r}], dims=assembly.dims)"
        return f"Make an array of each field: {field}."
    if dtype.kind == "T":  # numpy's StringDType
        return "Convert it to Python text: .astype(object)."
    if dtype.char == "g":
        return "Convert it to float64, which has fewer digits: .astype(float)."
    if dtype.char == "G":
        return "Convert it to complex128, which has fewer digits: .astype(complex)."
    if dtype.metadata:
        return f"Convert it to the same type without metadata: .astype({dtype.str!r})."
    return None


def dtype_to_json(dtype: Any) -> Any:
    """Return the JSON form of the dtype that xarray shows for a level."""
    if isinstance(dtype, pd.CategoricalDtype):
        return {"categories": to_json(np.asarray(dtype.categories)), "ordered": bool(dtype.ordered)}
    return dtype.str if isinstance(dtype, np.dtype) else {"pandas": str(dtype)}


def dtype_from_json(form: Any) -> Any:
    """Return the dtype of such a form; ValueError for anything else."""
    if isinstance(form, str):
        return np.dtype(object) if form == "|O" else dtype_of(form)
    if "pandas" in form:
        return (
            pd.StringDtype()
            if form["pandas"] == "string"
            else pd.api.types.pandas_dtype({name: name for name in _NULLABLE}[form["pandas"]])
        )
    return _category_dtype(form)


def of_level(level: pd.Index[Any], codes: Array) -> Elements:
    """Return the elements of one level of a MultiIndex. Missing elements (code -1) are marked."""
    missing = codes < 0
    if isinstance(level.dtype, pd.CategoricalDtype):
        own = np.append(np.asarray(level.array.codes), -1)  # code -1 takes the last
        return _of_pandas(pd.Categorical.from_codes(own[codes], dtype=level.dtype))
    if isinstance(level.dtype, pd.api.extensions.ExtensionDtype) and not _is_text(level.dtype):
        return _of_pandas(level.array.take(codes, allow_fill=True))
    values = np.asarray(level)
    if _is_text(level.dtype) or (values.dtype == object and _are_text(values, codes)):
        if missing.any():
            codes, values = _with_empty(codes, values.astype(object))
        texts = Texts.of_levels(codes, values)
        kind = {"object": "text"}
        return _marked(kind, texts, missing) if missing.any() else Elements(kind, texts)
    if not len(values):
        values = np.zeros(1, values.dtype)
    if values.dtype.kind == "O":
        taken = values[codes]
        taken[missing] = np.nan
        return _of_objects(taken)
    elements = Elements({"dtype": dtype_name(values.dtype)}, values[codes])
    if missing.any():
        elements.values[missing] = np.zeros(1, values.dtype)
        return _marked(elements.type, elements.values, missing)
    return elements


def _are_text(values: Array, codes: Array) -> bool:
    """Whether all values that occur are text."""
    if set(map(type, values)) <= {str}:
        return True
    return set(map(type, values[np.unique(codes[codes >= 0])])) <= {str}


def _with_empty(codes: Array, values: Array) -> tuple[Array, Array]:
    """Give missing elements the code of "", which is added to the values."""
    empty = [position for position, value in enumerate(values) if isinstance(value, str) and not value] or [len(values)]
    return np.where(codes < 0, empty[0], codes.astype(np.intp)), np.append(values, np.array([""], dtype=object))


def _marked(kind: dict[str, Any], values: Any, missing: Array) -> Elements:
    return Elements(kind, values, missing.astype(np.uint8), [_LIKE_NAN])


def _is_text(dtype: Any) -> bool:
    """Whether this is pandas' own type for text with NaN, which counts as object text."""
    return isinstance(dtype, pd.StringDtype) and dtype.na_value is not pd.NA


def _of_pandas(values: Any) -> Elements:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes, categories = np.asarray(values.codes), np.asarray(dtype.categories)
        if isinstance(dtype.categories.dtype, pd.api.extensions.ExtensionDtype) and categories.dtype != object:
            raise Unkeepable(f"has categories of type {dtype.categories.dtype}")
        missing = codes < 0
        if len(categories):
            taken = categories[np.where(missing, 0, codes)]
        else:
            taken = np.zeros(len(codes), categories.dtype if categories.dtype.kind != "O" else "i1")
        elements = analysed(taken)
        if elements.marks is not None:  # categories of several types
            elements = _as_json(taken.tolist())
        kind = {"category": elements.type, "categories": to_json(categories), "ordered": bool(dtype.ordered)}
        return _marked(kind, elements.values, missing) if missing.any() else Elements(kind, elements.values)
    if isinstance(dtype, pd.StringDtype):
        elements = _of_objects(np.asarray(values.astype(object)))
        return elements if _is_text(dtype) else dataclasses.replace(elements, type={"pandas": "string"})
    if str(dtype) in _NULLABLE:
        missing = np.asarray(values.isna())
        numbers = values.to_numpy(dtype=_NULLABLE[str(dtype)], na_value=0)
        marks = missing.astype(np.uint8) if missing.any() else None
        return Elements({"pandas": str(dtype)}, numbers, marks, [] if marks is None else [{"NA": None}])
    hint = (
        "Convert it to UTC without zone, or to text."
        if isinstance(dtype, pd.DatetimeTZDtype)
        else "Convert it to text."
    )
    raise Unkeepable(f"is of type {dtype}", hint)


_BASES: dict[type, tuple[str, Callable[[list[Any]], Any]]] = {
    str: ("text", lambda values: Texts.of(np.array(values, dtype=object))),
    bool: ("bool", lambda values: np.array(values, dtype=bool)),
    int: ("int", lambda values: np.array(values, dtype=np.int64)),
    float: ("float", lambda values: np.array(values, dtype=np.float64)),
}
_EMPTY: Mapping[type, Any] = {str: "", bool: False, int: 0, float: 0.0}


def _of_objects(values: Array) -> Elements:
    """Return the elements of an object array of shape (elements,): the most frequent type; the others are marked."""
    objects = values.tolist()
    kinds = collections.Counter(map(type, objects))
    base = max((kind for kind in _BASES if kinds[kind]), key=kinds.__getitem__, default=str)
    name, array = _BASES[base]
    if kinds.total() == kinds[base]:
        try:
            return Elements({"object": name}, array(objects))
        except OverflowError:  # ints beyond 64 bits
            return _as_json(objects)
    marks = np.zeros(len(objects), np.uint8)
    numbers: dict[str, int] = {}
    for place, value in enumerate(objects):
        if type(value) is not base:
            number = numbers.setdefault(_json(value), len(numbers) + 1)
            if number > _SPECIALS:
                return _as_json(objects)
            marks[place] = number
            objects[place] = _EMPTY[base]
    try:
        special = [json.loads(text) for text in numbers]
        return Elements({"object": name}, array(objects), marks, special)
    except OverflowError:
        return _as_json(values.tolist())


def _json(value: Any) -> str:
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"))


def _as_json(objects: list[Any]) -> Elements:
    return Elements({"object": "json"}, Texts.of(np.array(list(map(_json, objects)), dtype=object)))


# back


def restored(elements: Elements, shape: tuple[int, ...]) -> Any:
    """Return the array: of numpy, or of pandas where it was one.

    Raises:
        ValueError: the format has no such type.
    """
    kind, values = elements.type, elements.values
    if "category" in kind:
        return _category(elements)
    if "pandas" in kind:
        if kind["pandas"] == "string":
            return pd.array(_objects(elements), dtype="string")
        missing = np.zeros(len(values), bool) if elements.marks is None else elements.marks > 0
        return _nullable(kind["pandas"], values, missing)
    if "object" in kind:
        return _objects(elements).reshape(shape)
    if isinstance(values, Texts):
        values = values.values().astype(dtype_of(kind["dtype"]))
    return values.reshape(shape)


def _nullable(name: str, values: Array, missing: Array) -> Any:
    if name not in _NULLABLE:
        raise ValueError(f"no type of this format: {name!r}")
    if name == "boolean":
        return pd.arrays.BooleanArray(values, missing)
    if name.startswith("Float"):
        return pd.arrays.FloatingArray(values, missing)
    return pd.arrays.IntegerArray(values, missing)


def _category_dtype(form: Mapping[str, Any]) -> pd.CategoricalDtype:
    categories, ordered = from_json(form["categories"]), form["ordered"]
    if not isinstance(categories, np.ndarray) or not isinstance(ordered, bool):
        raise ValueError("not the form of a category")
    return pd.CategoricalDtype(pd.Index(categories), ordered)


def _category(elements: Elements) -> pd.Categorical:
    dtype = _category_dtype(elements.type)
    if isinstance(elements.values, Texts):
        table = elements.values.table
        if elements.type["category"] == {"object": "json"}:
            table = _parsed(table)
        codes = dtype.categories.get_indexer(pd.Index(table, dtype=object))[elements.values.codes]
    else:
        codes = dtype.categories.get_indexer(pd.Index(np.asarray(elements.values)).astype(dtype.categories.dtype))
    if elements.marks is not None:
        codes = np.where(elements.marks > 0, -1, codes)
    return pd.Categorical.from_codes(codes, dtype=dtype)


def _objects(elements: Elements) -> Array:
    values = elements.values
    if isinstance(values, Texts):
        if elements.type.get("object") == "json":  # one object for each element: some may be lists
            return _parsed(values.values())
        objects = values.values()
    else:
        objects = np.asarray(values).astype(object).reshape(-1)
    if elements.marks is not None:
        for number, form in enumerate(elements.special, start=1):
            value = np.empty((), dtype=object)
            value[()] = from_json(form)
            objects[elements.marks == number] = value
    return objects


def _parsed(texts: Array) -> Array:
    parsed = np.empty(len(texts), dtype=object)
    for place, text in enumerate(texts):
        parsed[place] = from_json(json.loads(text))
    return parsed


def as_level(elements: Elements) -> tuple[Array, pd.Index[Any]]:
    """Return codes and values of one level of a MultiIndex: sorted, as pandas makes them; -1 where it is missing."""
    kind, values = elements.type, elements.values
    if "category" in kind:
        category = _category(elements)
        return np.asarray(category.codes), pd.CategoricalIndex(
            pd.Categorical(category.categories, dtype=category.dtype)
        )
    missing = None if elements.marks is None else elements.marks > 0
    if kind == {"object": "text"} and isinstance(values, Texts) and elements.special in ([], [_LIKE_NAN]):
        codes, table = values.sorted()
        if missing is not None:
            return _dropping(codes, table, missing)
        return codes, pd.Index(table)
    if "dtype" in kind and isinstance(values, np.ndarray):
        if missing is None:
            codes, uniques = factorized(values)
        else:
            present, uniques = factorized(values[~missing])
            codes = np.full(len(values), -1, present.dtype)
            codes[~missing] = present
        if (uniques[1:] > uniques[:-1]).all():
            return codes, pd.Index(uniques, dtype=uniques.dtype)
        order = np.argsort(uniques)
        rank = np.full(len(order) + 1, -1, codes.dtype)  # code -1 takes the last
        rank[order] = np.arange(len(order))
        return rank[codes], pd.Index(uniques[order], dtype=uniques.dtype)
    array = restored(elements, (-1,))
    if isinstance(array, np.ndarray) and array.dtype == object:
        codes, found = pd.factorize(array)
        return codes, pd.Index(found, dtype=object)
    codes, found = pd.factorize(array, sort=True)
    return codes, pd.Index(found)


def _dropping(codes: Array, table: Array, missing: Array) -> tuple[Array, pd.Index[Any]]:
    """Drop the values that only missing elements have."""
    codes = np.where(missing, -1, codes)
    used = np.zeros(len(table), bool)
    used[codes[~missing]] = True
    position = np.append(np.cumsum(used) - 1, -1).astype(codes.dtype)  # code -1 takes the last
    return position[codes], pd.Index(table[used])
