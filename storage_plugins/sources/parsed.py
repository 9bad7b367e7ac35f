"""A parsed source: what its names are set to, and what they can stand for besides plain values."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_CHANGING = frozenset(
    [
        "append",
        "extend",
        "insert",
        "remove",
        "pop",
        "popitem",
        "clear",
        "update",
        "setdefault",
        "sort",
        "reverse",
        "add",
        "discard",
    ]
)


class NotKnown(Exception):
    """The value of an expression cannot be had from the source.

    Attributes:
        reason: why, in words.
        function: where it is an argument that nobody gave, since a function was looked at by itself: the
            function's name, or that of the class which it makes.
    """

    def __init__(self, reason: str, *, function: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.function = function


def given_value(value: Any) -> Any:
    """Return ``value``, or raise it if it is NotKnown."""
    if isinstance(value, NotKnown):
        raise value
    return value


# what a name can stand for, besides plain values


@dataclasses.dataclass(frozen=True, eq=False)
class Wanted:
    """One of the functions looked for."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Builtin:
    """A built-in function that is understood."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Code:
    """A function, and where it is defined."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope

    @property
    def name(self) -> str:
        """What it is called by."""
        if isinstance(self.node, ast.Lambda):
            return "a lambda"
        made = self.node.name == "__init__" and isinstance(self.scope.block, ast.ClassDef)
        return self.scope.block.name if made else self.node.name  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True, eq=False)
class Class:
    """A class, or an object of it."""

    node: ast.ClassDef
    scope: Scope
    instance: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Partial:
    """A function with some of its arguments."""

    function: Any
    arguments: Arguments
    site: ast.AST | None  # None for a method of an object


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What a call is given; ``others``: why there may be more."""

    positional: list[Any]
    keywords: dict[str, Any]
    others: NotKnown | None = None

    def then(self, more: Arguments) -> Arguments:
        """Return these and ``more`` after them."""
        return Arguments(
            [*self.positional, *more.positional], {**self.keywords, **more.keywords}, self.others or more.others
        )


Binding = tuple[ast.AST | None, int | None]  # what a name is set to, None: unclear; and which item of it


class Module:
    """One parsed source, and what is changed anywhere in it.

    Attributes:
        changed: names that functions set from inside (``global``), or that ``:=`` sets.
        mutated: names of containers that something is put into or taken out of.
        attributes: names of attributes that are set.
    """

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self.path, self.tree = path, tree
        self.changed, self.mutated, self.attributes = set[str](), set[str](), set[str]()
        self._bindings: dict[int, dict[str, list[Binding]]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Global | ast.Nonlocal):
                self.changed.update(node.names)
            elif isinstance(node, ast.NamedExpr):
                self.changed.add(node.target.id)
            elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
                self.mutated.add(base_name(node))
            elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                self.attributes.add(node.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
                self.mutated.add(base_name(node.func.value))
        self.scope = Scope(self, tree)

    def bindings(self, node: ast.AST) -> dict[str, list[Binding]]:
        """Return what the statements of a block set, by name."""
        if id(node) not in self._bindings:
            found: dict[str, list[Binding]] = {}
            block = getattr(node, "body", None)
            if isinstance(block, list):
                _collect(block, found, looped=False)
            self._bindings[id(node)] = found
        return self._bindings[id(node)]


class Scope:
    """What names stand for in one run of a block: of a module, function, class or loop."""

    def __init__(
        self,
        module: Module,
        block: ast.AST,
        outer: Scope | None = None,
        values: dict[str, Any] | None = None,
        depth: int = 0,
    ) -> None:
        self.module, self.block, self.outer, self.depth = module, block, outer, depth
        self.values = values or {}
        self.bindings = module.bindings(block)
        self.worked_out: dict[str, Any] = {}


def base_name(node: ast.AST) -> str:
    """Return the name that items and attributes are taken of."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _collect(block: Sequence[ast.AST], found: dict[str, list[Binding]], looped: bool) -> None:
    """Note what statements set, those within ``if``, ``try`` and ``with`` too, as unclear within loops."""
    agenda = [(node, looped) for node in block]
    while agenda:
        node, looped = agenda.pop()
        for name, binding in _set_by(node):
            found.setdefault(name, []).append((None, None) if looped else binding)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            continue
        inside = looped or isinstance(node, ast.For | ast.AsyncFor | ast.While)
        agenda += [(child, inside) for child in ast.iter_child_nodes(node)]


def _set_by(node: ast.AST) -> Iterator[tuple[str, Binding]]:
    unclear: Binding = (None, None)
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, (node.value, None)
            elif isinstance(target, ast.Tuple | ast.List) and all(isinstance(item, ast.Name) for item in target.elts):
                for number, item in enumerate(target.elts):
                    assert isinstance(item, ast.Name)  # noqa: S101  told two lines up; for the type checker
                    yield item.id, (node.value, number)
            else:
                yield from ((name, unclear) for name in names_set(target))
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from ((name, (node.value, None)) for name in names_set(node.target))
    elif isinstance(node, ast.AugAssign | ast.For | ast.AsyncFor):
        yield from ((name, unclear) for name in names_set(node.target))
    elif isinstance(node, ast.Delete):
        yield from ((name, unclear) for target in node.targets for name in names_set(target))
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield from ((name, unclear) for name in names_set(node.optional_vars))
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name, (node, None)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for number, alias in enumerate(node.names):
            yield alias.asname or alias.name.partition(".")[0], (node, number)
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name, unclear
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest, unclear


def names_set(target: ast.AST) -> list[str]:
    """Return the names that an assignment to ``target`` sets."""
    names = (node for node in ast.walk(target) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
    return [node.id for node in names]


def visible(scope: Scope | None) -> Scope | None:
    """Return the scope where a function's free names are looked up: not the class around it."""
    while scope is not None and isinstance(scope.block, ast.ClassDef):
        scope = scope.outer
    return scope


def decorated(node: ast.AST, name: str) -> bool:
    """Whether a function has the decorator ``name``."""
    return any(isinstance(one, ast.Name) and one.id == name for one in getattr(node, "decorator_list", []))
