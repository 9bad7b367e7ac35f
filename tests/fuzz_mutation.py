"""Damage for the fuzzer: of bytes, of texts by their words, and of plain values as in JSON. All from one `Random`."""

import copy
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

NASTY = [
    *(
        "",
        " ",
        "\0",
        "\x1b]52;c;ZXZpbA==\x07",
        "\x1b[2J",
        "\x9b31m",
        "\r\n",
        "\n",
        "\u202e",
        "\u2028",
        "\ud800",
        "\ufeff",
    ),
    *(
        "../../outside/secret",
        "/etc/passwd",
        "..",
        ".",
        "/",
        "\\",
        "~",
        "~root",
        "-rf",
        "$HOME",
        "${AWS_SECRET_ACCESS_KEY}",
    ),
    *(
        "a" * 300,
        "é" * 200,
        "x" * 7000,
        "%s%n{0}",
        "%2e%2e%2f",
        "%00",
        "%",
        "[]",
        "[::1",
        "#",
        "?",
        "&",
        "'",
        '"',
        "`",
        "!",
    ),
    *(
        "null",
        "true",
        "NaN",
        "-1",
        "0",
        "1e999",
        "9" * 25,
        "1" + "0" * 400,
        "9" * 5000,
        "١٢",
        "²",
        "0x10",
        "1_000",
        "1:30",
    ),
    *(
        "2026-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "*a",
        "&a",
        "!!python/name:os.system",
    ),
    *(
        "<",
        ">",
        "<!DOCTYPE a>",
        "]]>",
        "&#x1b;",
        "<Error><Code>NoSuchKey</Code></Error>",
        "http://127.0.0.1:1/",
        "file:///",
    ),
]
NUMBERS = [0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 1000, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
WIDE = [*NUMBERS, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
_WORD = re.compile(r"\w+|\s+|.", re.S)


def damaged(chance: Random, data: bytes, others: Sequence[bytes], places: Callable[[bytes], list[int]]) -> bytes:
    """Change some bytes of a file; half of the time near one of its ``places``, where its own structures begin."""
    found = places(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            return data
        near = bool(found) and chance.random() < 0.5
        at = min(len(data) - 1, chance.choice(found) + chance.randrange(64)) if near else chance.randrange(len(data))
        size, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
        number = chance.choice(WIDE) % (1 << 8 * size)
        end = min(len(data), at + chance.choice((1, 4, 8, 40, 512, len(data))))
        match chance.randrange(8):
            case 0:
                data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at] + number.to_bytes(size, order) + data[at + size :]
            case 2:
                data = data[:at] + chance.randbytes(size) + data[at + size :]
            case 3:
                data = data[:at] + bytes(end - at) + data[end:]
            case 4:
                data = data[:at] + data[end:]
            case 5:
                data = data[:end] + data[at:]
            case 6:
                data = data[:at]
            case 7:
                data = _spliced(chance, data, at, chance.choice(others))
        data = data[: 4 << 20]
    return data


def _spliced(chance: Random, data: bytes, at: int, other: bytes) -> bytes:
    begin = chance.randrange(max(1, len(other)))
    piece = other[begin : begin + chance.choice((8, 64, 512, 4096))]
    return data[:at] + piece + data[at + len(piece) :]


def reworded(chance: Random, text: str, words: Sequence[str]) -> str:
    """Change a text by its words: drop, double, swap, replace and repeat some."""
    parts = _WORD.findall(text)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(parts) + 1)
        end = min(len(parts), at + chance.choice((1, 1, 2, 5, 20)))
        word = chance.choice([*words, *NASTY]) if chance.random() < 0.9 else chance.choice(parts or [""])
        old = parts[at:end]
        match chance.randrange(7):
            case 0 | 1:
                parts[at:end] = [word]
            case 2:
                parts[at:end] = [word, *old]
            case 3:
                del parts[at:end]
            case 4:
                parts[at:end] = old * 2
            case 5:
                parts[at:end] = old[::-1]
            case 6:
                times = chance.choice((5, 5, 50, 3000))
                parts[at:end] = old * min(times, (2 << 20) // max(1, sum(map(len, old))))
    return "".join(parts)[: chance.choice((20_000,) * 30 + (2 << 20,))]


def encoded(chance: Random, text: str) -> bytes:
    """Return a text as bytes, now and then of another encoding, or damaged."""
    data = text.encode(chance.choice(("utf-8",) * 8 + ("utf-16", "utf-8-sig")), "surrogatepass")
    return damaged(chance, data, [data], lambda data: []) if chance.random() < 0.1 else data


def any_value(chance: Random, depth: int = 3) -> Any:
    """Return a value such as JSON and YAML have."""
    if depth and chance.random() < 0.3:
        many = chance.choice((0, 1, 2, 3, 40))
        if chance.random() < 0.5:
            return [any_value(chance, depth - 1) for _ in range(many)]
        return {chance.choice(NASTY): any_value(chance, depth - 1) for _ in range(many)}
    if chance.random() < 0.05:
        return nested(chance.choice((30, 300)))
    return chance.choice([None, True, False, 1.5, float("inf"), -1, *WIDE, *NASTY])


def nested(depth: int) -> list[Any]:
    """Return lists within lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def revalued(chance: Random, value: Any) -> Any:
    """Return a copy of a plain value in which some parts are others, gone, or twice there."""
    holder = [copy.deepcopy(value)]
    for _ in range(chance.choice((1, 1, 2, 4))):
        places = [(holder, 0), *_places(holder[0])]
        parent, key = chance.choice(places)
        new: Any = any_value(chance)
        if isinstance(parent[key], str) and chance.random() < 0.5:
            new = reworded(chance, parent[key], [])
        elif isinstance(parent[key], int) and chance.random() < 0.5:
            new = parent[key] + chance.choice((-1, 1, 1000))
        elif chance.random() < 0.2 and parent is not holder:
            del parent[key]
            continue
        elif isinstance(parent, list) and chance.random() < 0.3:
            other, at = chance.choice(places) if chance.random() < 0.1 else (parent, key)
            parent.append(copy.deepcopy(other[at]))
            continue
        parent[key] = new
    return holder[0]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every part of a value as the container that it is in, and its key there."""
    found: list[tuple[Any, Any]] = []
    left = [value]
    while left:
        one = left.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            found.append((one, key))
            left.append(one[key])
    return found
