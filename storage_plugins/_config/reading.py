"""The text of a ``storage.yaml`` as plain values, with the line of each key.

The file may come from anybody, so its size, its depth and what its aliases expand to are bounded. Values that
YAML does not read as they are written, such as ``010`` (8) and ``1:30`` (90), are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError

if TYPE_CHECKING:
    import yaml

LARGEST = 256 << 10  # bytes; PyYAML reads some 200 KB a second
_MOST_VALUES = 50_000  # with each alias counted as what it expands to
_DEEPEST = 20
_LINES_TO = 4  # depth of settings within settings
_AMBIGUOUS = re.compile(r"[-+]?(0[0-9_]+|0[bx].*|.*[:_].*)", re.I)  # octal, binary, hexadecimal, base 60
_TAG = "tag:yaml.org,2002:"
QUOTES = 'Put text in quotes: "…".'


class Document(NamedTuple):
    """What a file contains: its values, and the line of each key by its path of keys."""

    values: dict[str, Any]
    lines: Mapping[tuple[str, ...], int]


def parse(data: bytes, path: Path) -> Document:
    """Return the content of a ``storage.yaml``.

    Raises:
        ConfigError: names the file, the line where there is one, and never a value, which may be a secret.
    """
    import yaml

    if len(data) > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST >> 10} KiB, the limit for a storage.yaml")
    try:
        loader = yaml.SafeLoader(data.decode("utf-8-sig"))
        node = loader.get_single_node()
        lines: dict[tuple[str, ...], int] = {}
        if node is not None:
            _Check(loader, path, lines).check(node)
        values = loader.construct_document(node) if node is not None else None
    except ConfigError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: {_problem(error)}", hint=_advice(error)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: it has characters that YAML does not allow") from error
    except RecursionError:
        raise _too_deep(path) from None
    except (ValueError, KeyError, TypeError, AttributeError):  # a value that does not fit its tag
        raise ConfigError(f"{path}: a value in it is not valid YAML", hint=QUOTES) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not a mapping", hint="It must begin with `default: …` and `stores:`.")
    return Document(values, lines)


class _Check:
    """Walks through the nodes once, before values are made of them."""

    def __init__(self, loader: yaml.SafeLoader, path: Path, lines: dict[tuple[str, ...], int]) -> None:
        self._loader, self._path, self._lines = loader, path, lines
        self._sizes: dict[int, int] = {}  # of nodes that were checked; None while one is being checked

    def check(self, node: yaml.Node, keys: tuple[str, ...] = (), depth: int = 1) -> int:
        """Return how many values a node expands to; note the lines of its keys."""
        import yaml

        if depth > _DEEPEST:
            raise _too_deep(self._path)
        known = self._sizes.get(id(node))
        if known is not None:  # an alias
            if known == 0:
                raise self._error(node, "an alias (*name) refers to a mapping or list that contains it")
            return known
        self._sizes[id(node)] = 0
        size = 1
        if isinstance(node, yaml.MappingNode):
            size += self._mapping(node, keys, depth)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(self.check(part, (*keys, "[]"), depth + 1) for part in node.value)
        elif isinstance(node, yaml.ScalarNode):
            self._scalar(node, keys)
        if size > _MOST_VALUES:
            raise self._error(node, f"its aliases (*name) expand to more than {_MOST_VALUES} values")
        self._sizes[id(node)] = size
        return size

    def _mapping(self, node: yaml.MappingNode, keys: tuple[str, ...], depth: int) -> int:
        import yaml

        seen: dict[str, int] = {}
        size = 0
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key must be a word")
            if key.value in seen:
                where = f"lines {seen[key.value]} and {line}"
                raise self._error(key, f"{key.value!r} is defined twice ({where})", "Remove one of them.")
            seen[key.value] = line
            if len(keys) < _LINES_TO:
                self._lines[(*keys, key.value)] = line
            size += 1 + self.check(value, (*keys, key.value), depth + 1)
        return size

    def _scalar(self, node: yaml.ScalarNode, keys: tuple[str, ...]) -> None:
        """Refuse a number that is not written as people write one, and text that does not fit its tag."""
        kind = node.tag.removeprefix(_TAG)
        if kind == "str" or node.style is not None:
            return
        name = f"{keys[-1]}: " if keys and keys[-1] != "[]" else ""
        if kind in ("int", "float") and _AMBIGUOUS.fullmatch(node.value):
            message = f"{name}YAML reads this value as a number other than the one that is written"
            raise self._error(node, message, f"{QUOTES} Write a number in plain decimal digits.")
        try:
            self._loader.construct_object(node)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._error(node, f"{name}the value is not a valid {_KINDS.get(kind, kind)}", QUOTES) from None

    def _error(self, node: yaml.Node, message: str, hint: str | None = None) -> ConfigError:
        return ConfigError(f"{self._path}:{node.start_mark.line + 1}: {message}", hint=hint)


_KINDS = {"timestamp": "date", "int": "number", "float": "number", "bool": "yes or no"}


def _problem(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong, without words of the file: text that begins with * or ! may be a password."""
    problem = str(error.problem)
    if "alias" in problem:
        return "a value begins with * or &, which YAML uses for aliases"
    if "tag" in problem:
        return "a value begins with !, which YAML uses for tags"
    return problem


def _advice(error: yaml.MarkedYAMLError) -> str | None:
    return QUOTES if any(word in str(error.problem) for word in ("alias", "anchor", "tag", "token")) else None


def _too_deep(path: Path) -> ConfigError:
    return ConfigError(f"{path} is nested more than {_DEEPEST} levels deep, the limit for a storage.yaml")
