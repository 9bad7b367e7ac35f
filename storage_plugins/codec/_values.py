"""Python values as JSON and back, exactly: attributes, and special values in arrays.

``docs/format.md`` specifies the forms. Text, bool, None, int, finite float and list are JSON's own; anything else is an
object with one key, which names its type.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

_DEPTH = 64  # lists within lists
_KINDS = "biufcmMUS"  # of arrays that are stored as their bytes
_FORBIDDEN = ("g", "G")  # long doubles differ from machine to machine


class Unkeepable(Exception):
    """A value that has no exact form in a file. ``hint`` says what to do instead."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def to_json(value: Any, depth: int = 0) -> Any:
    """Return the JSON form of a value.

    Raises:
        Unkeepable: it has no JSON form.
    """
    if depth > _DEPTH:
        raise Unkeepable(f"is nested more than {_DEPTH} deep")
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        if value.bit_length() > 4096:
            raise Unkeepable("is an int of more than 4096 bits")
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind is list:
        return [to_json(item, depth + 1) for item in value]
    if kind is tuple:
        return {"tuple": [to_json(item, depth + 1) for item in value]}
    if kind is dict:
        return {"dict": [[to_json(key, depth + 1), to_json(item, depth + 1)] for key, item in value.items()]}
    if kind is np.ndarray:
        return {"array": _array_to_json(value, depth)}
    if kind in _SIMPLE:
        name, write = _SIMPLE[kind]
        return {name: write(value)}
    if value is pd.NA:
        return {"NA": None}
    if value is pd.NaT:
        return {"NaT": None}
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS and value.dtype.char not in _FORBIDDEN:
        return {"scalar": [value.dtype.str, _text(value.tobytes())]}
    raise Unkeepable(f"is a {kind.__module__}.{kind.__qualname__}".replace("builtins.", ""), _ADVICE.get(kind.__name__))


def from_json(node: Any) -> Any:
    """Return the value of a JSON form.

    Raises:
        ValueError: it is not such a form.
    """
    if node is None or isinstance(node, bool | str | int | float):
        return node
    if isinstance(node, list):
        return [from_json(item) for item in node]
    if not isinstance(node, dict) or len(node) != 1:
        raise ValueError("not the form of a value")
    ((name, inner),) = node.items()
    try:
        return _READERS[name](inner)
    except (KeyError, TypeError, AttributeError, OverflowError, ArithmeticError) as error:
        raise ValueError(f"not the form of a value: {name!r}") from error


def canonical(node: Any) -> bytes:
    """Return the one text of a JSON form that is hashed: keys sorted, no spaces, ASCII.

    Scalars of int64, float64 and numpy's str count as Python's: netCDF does not distinguish them.
    """
    return json.dumps(_plain(node), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if isinstance(node, dict):
        if len(node) == 1:
            ((name, inner),) = node.items()
            if name in ("int64", "float64", "numpy str"):
                return {"float": inner} if name == "float64" and isinstance(inner, str) else inner
        return {name: _plain(inner) for name, inner in node.items()}
    return node


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _array_to_json(array: np.ndarray[Any, Any], depth: int) -> dict[str, Any]:
    form: dict[str, Any] = {"dtype": array.dtype.str, "shape": list(array.shape)}
    if array.dtype.kind == "O":
        return {**form, "values": [to_json(item, depth + 1) for item in array.ravel().tolist()]}
    if array.dtype.kind not in _KINDS or array.dtype.char in _FORBIDDEN or array.dtype.metadata:
        raise Unkeepable(f"is an array of {array.dtype}")
    return {**form, "data": _text(array.tobytes())}


def _array_from_json(form: dict[str, Any]) -> np.ndarray[Any, Any]:
    shape = tuple(map(int, form["shape"]))
    if form["dtype"] == "|O":
        values = form["values"]
        array = np.empty(len(values), dtype=object)
        for position, item in enumerate(values):
            array[position] = from_json(item)
        return array.reshape(shape)
    dtype, data = dtype_of(form["dtype"]), _bytes(form["data"])
    if dtype.itemsize == 0:
        if math.prod(shape) > 1 << 20:
            raise ValueError("too many empty values")
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape).copy()


def dtype_of(text: Any) -> np.dtype[Any]:
    """Return the dtype of a numpy type string such as ``<f8``; ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError("a dtype is a str")
    try:
        dtype = np.dtype(text)
    except TypeError as error:
        raise ValueError(f"not a dtype: {text!r}") from error
    if dtype.kind not in _KINDS or dtype.str != text or dtype.char in _FORBIDDEN:
        raise ValueError(f"not a dtype of this format: {text!r}")
    return dtype


def _scalar(form: list[str]) -> Any:
    name, data = form
    dtype = dtype_of(name)
    return np.frombuffer(_bytes(data), dtype)[0] if dtype.itemsize else np.zeros(1, dtype)[0]


def _zoned(value: datetime.datetime | datetime.time) -> str:
    if value.tzinfo is not None and type(value.tzinfo) is not datetime.timezone:
        raise Unkeepable(f"has the time zone {value.tzinfo}", "Convert it to UTC.")
    if value.fold:
        raise Unkeepable("is the second of two equal times (fold=1)")
    return value.isoformat()


def _timestamp(value: pd.Timestamp) -> list[Any]:
    if value.tzinfo is not None:
        raise Unkeepable(f"has the time zone {value.tzinfo}", "Convert it to UTC without zone.")
    return [value.asm8.view("i8").item(), value.unit]


def _float(text: Any) -> float:
    if text not in ("nan", "inf", "-inf"):
        raise ValueError(f"not a float: {text!r}")
    return float(text)


def _checked(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"not of type {kind.__name__}: {value!r}")
    return value


_SIMPLE: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("bytes", _text),
    complex: ("complex", lambda value: [repr(value.real), repr(value.imag)]),
    datetime.date: ("date", lambda value: value.isoformat()),
    datetime.datetime: ("datetime", _zoned),
    datetime.time: ("time", _zoned),
    datetime.timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    pd.Timestamp: ("Timestamp", _timestamp),
    pd.Timedelta: ("Timedelta", lambda value: [value.asm8.view("i8").item(), value.unit]),
    np.int64: ("int64", int),
    np.float64: ("float64", lambda value: float(value) if math.isfinite(value) else str(float(value))),
    np.str_: ("numpy str", str),
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "float": _float,
    "tuple": lambda items: tuple(from_json(_checked(list, items))),
    "dict": lambda pairs: {from_json(key): from_json(item) for key, item in pairs},
    "array": _array_from_json,
    "scalar": _scalar,
    "NA": lambda _: pd.NA,
    "NaT": lambda _: pd.NaT,
    "bytes": _bytes,
    "complex": lambda parts: complex(*map(float, parts)),
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda parts: datetime.timedelta(*map(int, parts)),
    "Timestamp": lambda parts: pd.Timestamp(np.datetime64(int(parts[0]), parts[1])),
    "Timedelta": lambda parts: pd.Timedelta(np.timedelta64(int(parts[0]), parts[1])),
    "int64": lambda value: np.int64(_checked(int, value)),
    "float64": lambda value: np.float64(_float(value) if isinstance(value, str) else _checked(float, value)),
    "numpy str": lambda value: np.str_(_checked(str, value)),
}
_ADVICE = {
    "DataArray": "Upload it with the assembly: extras={…}.",
    "Dataset": "Upload its arrays with the assembly: extras={…}.",
    "DataFrame": "Upload it as a file of its own with upload_file.",
    "Series": "Convert it to an array: .to_numpy().",
    "set": "Convert it to a sorted list: sorted(…).",
    "frozenset": "Convert it to a sorted list: sorted(…).",
    "PosixPath": "Convert it to text: str(…).",
    "OrderedDict": "Convert it to a dict: dict(…).",
    "defaultdict": "Convert it to a dict: dict(…).",
}
