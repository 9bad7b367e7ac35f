"""What a few harmless built-in functions and methods return, within bounds."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from .parsed import Arguments, NotKnown, given_value, names_set

Sized = TypeVar("Sized", str, list[Any], dict[Any, Any], tuple[Any, ...])

MOST_ITEMS = 10_000  # of one list, and characters of one text that is put together
BUILTINS = frozenset(("dict", "list", "tuple", "sorted", "zip", "enumerate", "range", "str"))


def short(value: Sized) -> Sized:
    """Return ``value``, a text or container, if it is not too long."""
    if len(value) > MOST_ITEMS:
        raise NotKnown("too long")
    return value


def key_value(value: Any) -> Any:
    """Return ``value`` if it can be a key of a dict."""
    if not isinstance(value, str | int | float | None):
        raise NotKnown("a key that is neither text nor number")
    return value


def plain_text(value: Any) -> str:
    """Return ``value``, a text or a number, as text."""
    if not isinstance(value, str | int | None) or (isinstance(value, int) and abs(value) > 1 << 64):
        raise NotKnown("text made of something else")
    return str(value)


def listed(value: Any) -> list[Any]:
    """Return the items of a list, or the keys of a dict."""
    if not isinstance(value, list | tuple | dict):
        raise NotKnown("a loop over something that is no list and no dict")
    return list(value)


def unpacked(target: ast.expr, item: Any) -> dict[str, Any]:
    """Return what the names of a loop's target are in one run."""
    if isinstance(target, ast.Name):
        return {target.id: item}
    unknown = item if isinstance(item, NotKnown) else NotKnown("a loop that takes its items apart in another way")
    if isinstance(target, ast.Tuple | ast.List) and isinstance(item, list | tuple) and len(target.elts) == len(item):
        values: dict[str, Any] = {}
        for part, value in zip(target.elts, item, strict=True):
            values |= unpacked(part, value)
        return values
    return dict.fromkeys(names_set(target), unknown)


def method_result(owner: Any, name: str, given: Arguments) -> Any:
    """Return what one of a few harmless methods of a text or a dict returns."""
    arguments = [given_value(argument) for argument in given.positional]
    if isinstance(owner, dict) and not given.keywords and given.others is None:
        if name in ("items", "keys", "values") and not arguments:
            return [list(pair) if name == "items" else pair for pair in getattr(owner, name)()]
        if name == "get" and arguments:
            return owner.get(key_value(arguments[0]), *arguments[1:2])
    if isinstance(owner, str) and given.others is None:
        if name in ("lower", "upper", "strip") and not arguments:
            return getattr(owner, name)()
        if name == "split" and len(arguments) == 1 and isinstance(arguments[0], str) and arguments[0]:
            return short(owner.split(arguments[0]))
        if name == "replace" and len(arguments) == 2 and all(isinstance(argument, str) for argument in arguments):
            if len(owner) * (len(arguments[1]) + 1) > 10 * MOST_ITEMS:
                raise NotKnown("too long")
            return owner.replace(*arguments)
        if name == "join" and len(arguments) == 1:
            parts = [plain_text(given_value(part)) for part in listed(arguments[0])]
            if sum(map(len, parts)) + len(owner) * len(parts) > 2 * MOST_ITEMS:
                raise NotKnown("too long")
            return short(owner.join(parts))
        if name == "format":
            return _filled(owner, arguments, given.keywords)
    raise NotKnown(f"what .{name}() returns")


def _filled(template: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> str:
    """Fill ``{}``, ``{0}`` and ``{name}``; nothing else that ``format`` can do."""
    numbers = iter(range(len(template)))

    def fill(match: re.Match[str]) -> str:
        name = match[1] or str(next(numbers))
        values = dict(enumerate(arguments)) if name.isdigit() else keywords
        key: Any = int(name) if name.isdigit() else name
        if key not in values:
            raise NotKnown("a text with a format")
        return plain_text(given_value(values[key]))

    if re.search(r"[{}]", re.sub(r"\{(?:[0-9]{0,4}|[A-Za-z_]\w{0,60})\}", "", template)):
        raise NotKnown("a text with a format")
    return short(re.sub(r"\{([0-9]{0,4}|[A-Za-z_]\w{0,60})\}", fill, template))


def builtin_result(name: str, given: Arguments) -> Any:
    """Return what one of a few harmless built-in functions returns."""
    arguments = [given_value(argument) for argument in given.positional]
    if given.others is not None:
        raise given.others
    if name == "dict" and len(arguments) <= 1 and all(isinstance(argument, dict) for argument in arguments):
        return short({**(arguments[0] if arguments else {}), **given.keywords})
    if given.keywords or not arguments:
        raise NotKnown(f"what {name}() returns")
    if name == "str" and len(arguments) == 1:
        return plain_text(arguments[0])
    if name == "range" and all(isinstance(argument, int) for argument in arguments) and len(arguments) <= 3:
        if len(arguments) == 3 and arguments[2] == 0:
            raise NotKnown("a range without steps")
        numbers = range(*arguments)
        return list(numbers[: MOST_ITEMS + 1]) if not numbers[MOST_ITEMS:] else given_value(NotKnown("too long"))
    if name == "zip" and len(arguments) < 10:
        return [list(items) for items in zip(*map(listed, arguments), strict=False)]
    if len(arguments) != 1:
        raise NotKnown(f"what {name}() returns")
    items = listed(arguments[0])
    if name == "enumerate":
        return [[number, item] for number, item in enumerate(items)]
    if name == "sorted":
        if not all(isinstance(item, str) for item in items):
            raise NotKnown("what sorted() returns")
        return sorted(items)
    if name in ("list", "tuple"):
        return tuple(items) if name == "tuple" else items
    raise NotKnown(f"what {name}() returns")
