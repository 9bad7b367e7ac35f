"""Values of expressions, worked out from the source alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .harmless import BUILTINS, builtin_result, key_value, listed, method_result, plain_text, short, unpacked
from .parsed import (
    Arguments,
    Binding,
    Builtin,
    Class,
    Code,
    Module,
    NotKnown,
    Partial,
    Scope,
    Wanted,
    decorated,
    given_value,
    visible,
)

_MOST_STEPS = 300_000  # for one source, including all calls that are followed from it: a second or two
_MOST_NESTED = 60  # expressions in each other
_SPEC = re.compile(r"0?[0-9]{0,2}d?")


class TooMuch(Exception):
    """A source asks for more steps than are granted."""


class Values:
    """Works out expressions.

    Args:
        functions: the functions whose calls are looked for; see `find_calls`.
    """

    def __init__(self, functions: Mapping[str, str]) -> None:
        self.functions = functions
        self.steps = self._nested = 0

    def module(self, path: Path) -> Module | None:
        """Return a file parsed, None if that cannot be."""
        raise NotImplementedError

    def step(self) -> None:
        """Count one step, of which so many are granted."""
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise TooMuch

    # calls

    def arguments(self, node: ast.Call, scope: Scope) -> Arguments:
        """Return what a call is given."""
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        others: NotKnown | None = None
        for argument in node.args:
            if not isinstance(argument, ast.Starred):
                positional.append(self.held(argument, scope))
                continue
            try:
                positional = short([*positional, *listed(self.value(argument.value, scope))])
            except NotKnown as unknown:
                others = unknown
                break
        for keyword in node.keywords:
            value = self.held(keyword.value, scope)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            elif isinstance(value, dict) and all(isinstance(name, str) for name in value):
                keywords |= value
            else:
                others = value if isinstance(value, NotKnown) else NotKnown("** of something that is no dict")
        return Arguments(positional, keywords, others)

    def bound(self, code: Code, given: Arguments) -> dict[str, Any]:
        """Return the values of a function's parameters in one call."""
        spec, values = code.node.args, dict[str, Any]()
        names = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
        defaults = dict(zip(reversed(names), reversed(spec.defaults), strict=False))
        defaults |= {
            argument.arg: default
            for argument, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
            if default is not None
        }
        values.update(zip(names, given.positional, strict=False))
        if spec.vararg is not None:
            values[spec.vararg.arg] = given.others or tuple(given.positional[len(names) :])
        every = [*names, *(argument.arg for argument in spec.kwonlyargs)]
        values |= {name: value for name, value in given.keywords.items() if name in every}
        if spec.kwarg is not None:
            rest = {name: value for name, value in given.keywords.items() if name not in every}
            values[spec.kwarg.arg] = given.others or rest
        for name in every:
            if name in values:
                continue
            if given.others is not None:
                values[name] = given.others
            elif name in defaults:
                values[name] = self.held(defaults[name], code.scope)
            else:
                values[name] = not_given(name, code.name)
        return values

    def is_wanted(self, code: Code) -> bool:
        """Whether a definition is that of a function looked for, and not somebody's own of the same name."""
        mark = self.functions.get(code.name)
        spec = code.node.args
        return mark is not None and mark in {
            argument.arg for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)
        }

    # loops

    def runs(self, target: ast.expr, source: ast.expr, block: ast.AST, scope: Scope) -> Iterator[Scope]:
        """Yield a scope for each run of a loop; one where nothing is known of the items, if they are not known."""
        try:
            items = listed(self.value(source, scope))
        except NotKnown as unknown:
            items = [NotKnown(f"a loop over what is not known: {unknown.reason}", function=unknown.function)]
        for item in items:
            self.step()
            yield Scope(scope.module, block, scope, unpacked(target, item), scope.depth)

    def comprehended(self, node: ast.AST, scope: Scope, *, whole: bool) -> Iterator[Scope]:
        """Yield a scope for each run of a comprehension. ``whole``: also where a condition is not known."""
        scopes: Iterable[Scope] = [scope]
        for generator in node.generators:  # type: ignore[attr-defined]
            scopes = self._generated(generator, scopes, whole)
        yield from scopes

    def _generated(self, generator: ast.comprehension, scopes: Iterable[Scope], whole: bool) -> Iterator[Scope]:
        for outer in scopes:
            for inner in self.runs(generator.target, generator.iter, generator, outer):
                try:
                    if all(self.value(condition, inner) for condition in generator.ifs):
                        yield inner
                except NotKnown as unknown:
                    if not whole:
                        raise
                    values = dict.fromkeys(inner.values, unknown)
                    yield Scope(inner.module, generator, outer, values, inner.depth)

    # values

    def value(self, node: ast.AST, scope: Scope) -> Any:
        """Return the value of an expression.

        Raises:
            NotKnown: it cannot be had.
        """
        self.step()
        work_out: Callable[[Any, Scope], Any] | None = getattr(self, f"_{type(node).__name__}", None)
        if work_out is None:
            raise NotKnown(f"an expression of the kind {type(node).__name__}")
        if self._nested >= _MOST_NESTED:
            raise NotKnown("nested too deeply")
        self._nested += 1
        try:
            return given_value(work_out(node, scope))
        finally:
            self._nested -= 1

    def held(self, node: ast.AST, scope: Scope) -> Any:
        """Return the value of an expression, or the NotKnown."""
        try:
            return self.value(node, scope)
        except NotKnown as unknown:
            return unknown

    def or_none(self, node: ast.AST, scope: Scope) -> Any:
        """Return the value of an expression, None also if it cannot be had."""
        value = self.held(node, scope)
        return None if isinstance(value, NotKnown) else value

    def _Constant(self, node: ast.Constant, scope: Scope) -> Any:  # noqa: N802  named as in ast
        return node.value

    def _Name(self, node: ast.Name, scope: Scope) -> Any:  # noqa: N802
        return self._named(node.id, scope)

    def _named(self, name: str, scope: Scope | None) -> Any:
        where = scope
        while where is not None and name not in where.values and name not in where.bindings:
            where = visible(where.outer)
        if where is None:
            if name in self.functions:
                return Wanted(name)
            if name in BUILTINS:
                return Builtin(name)
            raise NotKnown(f"{name} is not set in the sources read")
        try:
            value = self._set(name, where)
        except NotKnown:
            if name in self.functions:  # imported from here or there, it is the one looked for
                return Wanted(name)
            raise
        return Wanted(name) if isinstance(value, Code) and self.is_wanted(value) else value

    def _set(self, name: str, scope: Scope) -> Any:
        """Return what a name that a scope sets stands for."""
        bindings = scope.bindings.get(name, [])
        if name in scope.module.changed:
            raise NotKnown(f"{name} is set from within a function or an expression")
        if name in scope.values:
            if bindings:
                raise NotKnown(f"{name} is set in several places")
            value = scope.values[name]
        else:
            if name not in scope.worked_out:
                scope.worked_out[name] = NotKnown(f"{name} is made of itself")
                try:
                    scope.worked_out[name] = self._bound_to(name, bindings, scope)
                except NotKnown as unknown:
                    scope.worked_out[name] = unknown
            value = scope.worked_out[name]
        if isinstance(value, dict | list) and name in scope.module.mutated:
            raise NotKnown(f"{name} is changed after it is set")
        return given_value(value)

    def _bound_to(self, name: str, bindings: Sequence[Binding], scope: Scope) -> Any:
        if len(bindings) != 1:
            raise NotKnown(f"{name} is set in several places")
        ((node, number),) = bindings
        if node is None:
            raise NotKnown(f"{name} is set in a loop, or by something that is not followed")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return Code(node, scope)
        if isinstance(node, ast.ClassDef):
            return Class(node, scope)
        if isinstance(node, ast.Import | ast.ImportFrom):
            return self._imported(node, node.names[number or 0], scope.module)
        value = self.value(node, scope)
        if number is None:
            return value
        items = listed(value)
        if number >= len(items):
            raise NotKnown(f"{name} is set to an item that is not there")
        return items[number]

    def _imported(self, node: ast.Import | ast.ImportFrom, alias: ast.alias, module: Module) -> Any:
        unknown = NotKnown(f"{alias.asname or alias.name} is imported from elsewhere")
        if isinstance(node, ast.ImportFrom) and (node.module, alias.name) == ("functools", "partial"):
            return Builtin("partial")
        if isinstance(node, ast.Import):
            found = self._neighbour(module, 0, alias.name.split(".")) if alias.asname else None
            if found is None:
                raise unknown
            return found
        parts = node.module.split(".") if node.module else []
        source = self._neighbour(module, node.level, parts)
        if source is not None and alias.name in source.scope.bindings:
            return self._named(alias.name, source.scope)
        if alias.name in self.functions:
            return Wanted(alias.name)
        found = self._neighbour(module, node.level, [*parts, alias.name])
        if found is None:
            raise unknown
        return found

    def _neighbour(self, module: Module, level: int, parts: Sequence[str]) -> Module | None:
        """Return the source that an import names, if it lies in the same tree of folders."""
        path = module.path.absolute()
        if level:
            folder = path.parents[min(level, len(path.parents)) - 1]
        else:
            root = next((parent for parent in path.parents if parts and parent.name == parts[0]), None)
            if root is None:
                return None
            folder = root.parent
        target = folder.joinpath(*parts)
        for candidate in (target / "__init__.py", target.with_name(f"{target.name}.py") if parts else None):
            if candidate is not None and candidate.is_file():
                return self.module(candidate)
        return None

    def _Attribute(self, node: ast.Attribute, scope: Scope) -> Any:  # noqa: N802
        if node.attr == "partial" and isinstance(node.value, ast.Name) and node.value.id == "functools":
            return Builtin("partial")
        try:
            return self.member(self.value(node.value, scope), node.attr)
        except NotKnown:
            if node.attr in self.functions:  # s3.load_from_s3
                return Wanted(node.attr)
            raise

    def member(self, owner: object, name: str) -> Any:
        """Return an attribute of a module, class or object; methods of an object come with it."""
        if isinstance(owner, Module):
            return self._named(name, owner.scope)
        if not isinstance(owner, Class) or name in owner.scope.module.attributes:
            raise NotKnown(f"an attribute .{name}")
        inside = Scope(owner.scope.module, owner.node, owner.scope)
        if name not in inside.bindings:
            raise NotKnown(f"an attribute .{name}")
        value = self._set(name, inside)
        if not isinstance(value, Code) or decorated(value.node, "staticmethod"):
            return value
        value = Code(value.node, inside)
        if owner.instance or decorated(value.node, "classmethod"):
            return Partial(value, Arguments([owner], {}), None)
        return value

    def _JoinedStr(self, node: ast.JoinedStr, scope: Scope) -> str:  # noqa: N802
        text = ""
        for part in node.values:
            text = short(text + self._formatted(part, scope))
        return text

    def _formatted(self, part: ast.expr, scope: Scope) -> str:
        if not isinstance(part, ast.FormattedValue):
            return plain_text(self.value(part, scope))
        spec = self.value(part.format_spec, scope) if part.format_spec else ""
        value = self.value(part.value, scope)
        if part.conversion not in (-1, ord("s")) or not _SPEC.fullmatch(spec):
            raise NotKnown("an f-string with a format")
        if spec and not isinstance(value, int):
            raise NotKnown("an f-string with a format")
        return format(value, spec) if spec else plain_text(value)

    def _BinOp(self, node: ast.BinOp, scope: Scope) -> Any:  # noqa: N802
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        if isinstance(node.op, ast.Add) and type(left) is type(right) and isinstance(left, str | list | tuple):
            return short(left + right)
        if isinstance(node.op, ast.BitOr) and isinstance(left, dict) and isinstance(right, dict):
            return short(left | right)
        raise NotKnown("a calculation")

    def _BoolOp(self, node: ast.BoolOp, scope: Scope) -> Any:  # noqa: N802
        value: Any = None
        for part in node.values:
            value = self.value(part, scope)
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value

    def _UnaryOp(self, node: ast.UnaryOp, scope: Scope) -> Any:  # noqa: N802
        value = self.value(node.operand, scope)
        if isinstance(node.op, ast.Not):
            return not value
        if isinstance(node.op, ast.USub) and isinstance(value, int):
            return -value
        raise NotKnown("a calculation")

    def _Compare(self, node: ast.Compare, scope: Scope) -> bool:  # noqa: N802
        left, right = self.value(node.left, scope), self.value(node.comparators[0], scope)
        plain = (str, int, float, bool, type(None))
        if len(node.ops) == 1 and isinstance(left, plain):
            if isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.Is | ast.IsNot) and isinstance(right, plain):
                return (left == right) is isinstance(node.ops[0], ast.Eq | ast.Is)
            if isinstance(node.ops[0], ast.In | ast.NotIn) and isinstance(right, list | tuple | dict):
                return (left in right) is isinstance(node.ops[0], ast.In)
        raise NotKnown("a comparison")

    def _IfExp(self, node: ast.IfExp, scope: Scope) -> Any:  # noqa: N802
        return self.value(node.body if self.value(node.test, scope) else node.orelse, scope)

    def _List(self, node: ast.List | ast.Set, scope: Scope) -> list[Any]:  # noqa: N802
        values: list[Any] = []
        for item in node.elts:
            if isinstance(item, ast.Starred):
                values = short([*values, *listed(self.value(item.value, scope))])
            else:
                values.append(self.held(item, scope))
        return short(values)

    _Set = _List

    def _Tuple(self, node: ast.Tuple, scope: Scope) -> tuple[Any, ...]:  # noqa: N802
        return tuple(self._List(node, scope))  # type: ignore[arg-type]

    def _Dict(self, node: ast.Dict, scope: Scope) -> dict[Any, Any]:  # noqa: N802
        values: dict[Any, Any] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            if key is None:
                inner = self.value(item, scope)
                if not isinstance(inner, dict):
                    raise NotKnown("** of something that is no dict")
                values = short(values | inner)
            else:
                values[key_value(self.value(key, scope))] = self.held(item, scope)
        return short(values)

    def _Lambda(self, node: ast.Lambda, scope: Scope) -> Code:  # noqa: N802
        return Code(node, scope)

    def _Subscript(self, node: ast.Subscript, scope: Scope) -> Any:  # noqa: N802
        owner, key = self.value(node.value, scope), self.value(node.slice, scope)
        try:
            if isinstance(owner, dict):
                return owner[key_value(key)]
            if isinstance(owner, list | tuple) and isinstance(key, int):
                return owner[key]
        except (KeyError, IndexError):
            raise NotKnown(f"there is no item {key!r:.40}") from None
        raise NotKnown("an item of something that is not known")

    def _ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, scope: Scope) -> list[Any]:  # noqa: N802
        return short([self.held(node.elt, inner) for inner in self.comprehended(node, scope, whole=False)])

    _SetComp = _GeneratorExp = _ListComp

    def _DictComp(self, node: ast.DictComp, scope: Scope) -> dict[Any, Any]:  # noqa: N802
        return short(
            {
                key_value(self.value(node.key, inner)): self.held(node.value, inner)
                for inner in self.comprehended(node, scope, whole=False)
            }
        )

    def _Call(self, node: ast.Call, scope: Scope) -> Any:  # noqa: N802
        if isinstance(node.func, ast.Attribute):
            owner = self.or_none(node.func.value, scope)
            if isinstance(owner, str | dict):
                return method_result(owner, node.func.attr, self.arguments(node, scope))
        function, arguments = self.held(node.func, scope), self.arguments(node, scope)
        if isinstance(function, NotKnown) and function.function is not None:
            raise function
        while isinstance(function, Partial):
            function, arguments = function.function, function.arguments.then(arguments)
        if isinstance(function, Builtin):
            if function.name == "partial" and arguments.positional:
                first = given_value(arguments.positional[0])
                rest = Arguments(arguments.positional[1:], arguments.keywords, arguments.others)
                return Partial(first, rest, node)
            return builtin_result(function.name, arguments)
        if isinstance(function, Code):
            code = function.node
            returned = code.body if isinstance(code, ast.Lambda) else _returned(code)
            if returned is not None:
                values, depth = self.bound(function, arguments), scope.depth + 1
                inner = Scope(function.scope.module, code, visible(function.scope), values, depth)
                return self.value(returned, inner)
        raise NotKnown(f"what {_called(node.func)}() returns")


def not_given(name: str, function: str) -> NotKnown:
    """Return why a parameter is not known in a function that nobody calls."""
    return NotKnown(f"{name} of {function}, and no call that gives it was found", function=function)


def _returned(code: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.expr | None:
    """Return the expression of a function that does nothing but return one."""
    *before, last = code.body
    documented = not before or (len(before) == 1 and ast.get_docstring(code) is not None)
    return last.value if documented and isinstance(last, ast.Return) else None


def _called(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else "a call"
