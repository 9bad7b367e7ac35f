"""Calls of some functions in Python sources, with the arguments that can be read there; nothing is imported or run.

Followed are constants, lists, dicts, f-strings and ``+``; names, also of neighbouring sources; loops over lists and
dicts; and one call of a function which makes the call looked for. All else is `Unknown`.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import warnings
from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

_MOST_BYTES = 5_000_000  # of one source
_MOST_STEPS = 500_000  # for one source: two or three seconds
_MOST_NESTED = 50  # functions, loops and conditions in each other
_MOST_ITEMS = 10_000  # of one list, and characters of one text
_FILE, _CALLER, _ALONE, _CHANGED = "<file>", "<caller>", "<alone>", "<changed>"  # facts beside the names of a source
_CHANGING = ("append", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault", "sort", "update")
_BUILTINS: dict[str, Callable[..., Any]] = {"dict": dict, "enumerate": enumerate, "zip": zip}
_Names = ChainMap[str, Any]  # those of the innermost function, loop or condition first, of the module last
Arguments = dict[str | int, Any]  # by place or name; under "**" an Unknown if there may be more
Unread = tuple[Path, int, str]  # a file, a line or 0, and why something there could not be read


class Unknown(Exception):
    """A value that cannot be read from the source, and why."""


_UNCLEAR = Unknown("it is assigned more than once, in a loop or under a condition")
_UNSET = Unknown("it is used before it is assigned")


class Call(NamedTuple):
    """A call of one of the functions looked for."""

    name: str
    path: Path
    line: int
    given: Arguments
    given_at: tuple[Path, int]  # the call that gives the arguments: this one, or that of the function around it
    repeated: bool = False  # what is unknown here is given in another record of the call


class _Wanted(NamedTuple):
    name: str


class _Function(NamedTuple):
    node: Any  # ast.FunctionDef, ast.AsyncFunctionDef or ast.Lambda
    names: _Names


class Reader:
    """Reads sources; ``unread`` is what it could not follow."""

    def __init__(self, wanted: dict[str, str]) -> None:
        self.unread: set[Unread] = set()
        self._wanted = wanted  # functions, each with a parameter by which its own definition is known
        self._paths: dict[str, Path] = {}  # of the sources given, by their real paths
        self._modules: dict[str, _Names] = {}
        self._steps = Counter[Path]()
        self._importing: set[tuple[ast.ImportFrom, str]] = set()
        self._agenda: list[tuple[_Function, dict[str, Any]]] = []
        self._calls: list[tuple[Call, object]] = []
        self._followed = set[object]()  # functions whose calls were found

    def calls(self, paths: Iterable[Path]) -> list[Call]:
        """Return the calls in files and in folders of them, but for names that begin with a dot."""
        self._paths = {os.path.realpath(path): path for path in self._sources(paths)}
        wanted = "|".join(self._wanted)
        for _ in range(2):  # first for these functions, then for those that call them
            for path in self._paths.values():
                if re.search(rf"\b({wanted})\b".encode(), self._text(path)):
                    self._module(path)
            found = (name for names in self._modules.values() for name in names if self._calls_wanted(names[name]))
            wanted = "|".join(found) or "(?!)"
        for (node, names), values in self._agenda:  # it grows meanwhile
            body = node.body if isinstance(node.body, list) else [ast.copy_location(ast.Expr(node.body), node)]
            self._block(body, names.new_child(_stored(node, _UNSET) | values))
        self.unread = {one for one in self.unread if one[0].is_symlink() or os.path.realpath(one[0]) in self._paths}
        return [call._replace(repeated=alone in self._followed) for call, alone in self._calls]

    def _sources(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Yield the sources. Links that lead out of a folder, perhaps to the reader's own files, are passed over."""
        for path in paths:
            if not path.is_dir():
                yield path
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in sorted(names):
                    source = Path(folder, name)
                    if not name.endswith(".py") or name.startswith("."):
                        continue
                    if source.is_symlink() and not source.resolve().is_relative_to(path.resolve()):
                        self.unread.add((source, 0, "it is a link that leads out of the folder"))
                    else:
                        yield source

    def _text(self, path: Path) -> bytes:
        try:
            if path.is_file() and path.stat().st_size <= _MOST_BYTES:
                return path.read_bytes()
            self.unread.add(
                (path, 0, f"it is larger than {_MOST_BYTES} bytes" if path.is_file() else "it is not a file")
            )
        except OSError as error:
            self.unread.add((path, 0, f"it cannot be read: {error.strerror or error}"))
        return b""

    def _module(self, path: Path) -> _Names:
        """Return the names of a source."""
        real = os.path.realpath(path)
        if real in self._modules:
            return self._modules[real]
        names = self._modules[real] = _Names({_FILE: self._paths.get(real, path), _CHANGED: set()})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as those of odd escapes
                tree = ast.parse(self._text(path))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = f"it is not Python that can be read here: {getattr(error, 'msg', error) or 'nested too deeply'}"
            self.unread.add((names[_FILE], getattr(error, "lineno", None) or 0, reason))
        else:
            names[_CHANGED] = _names_changed(tree)
            self._block(tree.body, names)
        return names

    def _block(self, statements: Iterable[ast.stmt], names: _Names) -> None:
        for statement in statements:
            parts = [*ast.walk(statement)] if hasattr(statement, "body") else []
            try:
                self._step(names, len(parts) // 10)
                self._statement(statement, names)
            except RecursionError:
                self.unread.add((names[_FILE], statement.lineno, "it is nested too deeply, or takes too long to read"))
            if self._steps[names[_FILE]] > _MOST_STEPS:
                return
            if any(isinstance(part, ast.Return | ast.Break | ast.Continue) for part in parts):
                names = _under_condition(parts, names)

    def _statement(self, node: ast.AST, names: _Names) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                names[node.name] = self._function(node, names)
            case ast.ClassDef():
                inside = names.new_child()
                self._block(node.body, inside)
                inside.clear()  # its methods do not see them
            case ast.ImportFrom():
                for one in node.names:
                    names[one.asname or one.name] = functools.partial(self._imported, names[_FILE], node, name=one.name)
            case ast.Assign() | ast.AnnAssign() if node.value:
                value = self._value(node.value, names)
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    _assign(target, value, names)
            case ast.For() | ast.AsyncFor():
                for inner in self._rounds(node, names):
                    self._block(node.body, inner)
                names.update(_stored(node))
                self._block(node.orelse, names)
            case _:
                inside = _under_condition([node], names)
                for part in ast.iter_child_nodes(node):
                    if isinstance(part, ast.expr):
                        self._value(part, inside)
                    elif not isinstance(part, ast.stmt):
                        self._statement(part, inside)
                for _, field in ast.iter_fields(node):
                    if isinstance(field, list) and field and isinstance(field[0], ast.stmt):
                        inside.update(_stored(node, _UNSET))
                        self._block(field, inside)
                if not isinstance(node, ast.With | ast.AsyncWith | ast.Expr):
                    names.update(_stored(node))

    def _rounds(self, loop: Any, names: _Names) -> Iterator[_Names]:
        """Yield the names in each round of a loop; in a single one if its items are unknown."""
        rows = self._value(loop.iter, names)
        for row in rows if isinstance(rows, list | dict) else [_why(rows, "it depends on a loop")]:
            self._step(names)
            inner = names.new_child(_stored(loop, _UNSET))
            _assign(loop.target, row, inner)
            yield inner

    def _function(self, node: Any, names: _Names) -> _Function | _Wanted:
        """Return a function. It is read by itself too: with its defaults, or not knowing its parameters."""
        function, name = _Function(node, names), getattr(node, "name", "a lambda")
        unknown = Unknown(f"it is a parameter of {name}, and no call that gives it could be read")
        values = self._parameters(function, {"**": unknown})
        if self._wanted.get(name) in values:
            return _Wanted(name)
        defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        values = self._parameters(function, {}) if len(defaults) == len(values) else values
        self._agenda.append((function, values | ({_ALONE: node} if values else {})))
        return function

    def _step(self, names: _Names, steps: int = 1) -> None:
        self._steps[names[_FILE]] += steps
        if self._steps[names[_FILE]] > _MOST_STEPS or len(names.maps) > _MOST_NESTED:
            raise RecursionError

    def _value(self, node: ast.AST, names: _Names) -> Any:
        """Return the value of an expression, or an `Unknown`; note the calls in it."""
        self._step(names)
        try:
            value = self._worked_out(node, names)
        except Unknown as unknown:
            return unknown
        except (LookupError, TypeError, ValueError):
            return Unknown(f"its {type(node).__name__} cannot be worked out")
        if isinstance(value, str | list | dict):
            self._step(names, len(value) // 20)
            return value if len(value) <= _MOST_ITEMS else Unknown("it is too long")
        return value

    def _known(self, names: _Names, *nodes: ast.AST | None) -> list[Any]:
        """Return the values of expressions; raise the first `Unknown`."""
        values = [self._value(node, names) for node in nodes if node]
        if unknown := next((value for value in values if isinstance(value, Unknown)), None):
            raise Unknown(*unknown.args)
        return values

    def _worked_out(self, node: ast.AST, names: _Names) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._named(node.id, names)
            case ast.Attribute():
                owner = self._value(node.value, names)
                if isinstance(owner, ChainMap):  # the names of a module
                    return self._named(node.attr, owner)
                if node.attr in self._wanted:  # s3.load_from_s3
                    return _Wanted(node.attr)
            case ast.Lambda():
                return self._function(node, names)
            case ast.List() | ast.Tuple() | ast.Set():
                return [value for part in node.elts for value in self._listed(part, names)]
            case ast.Dict():
                table: dict[Any, Any] = {}
                for key, value in zip(node.keys, [self._value(item, names) for item in node.values], strict=True):
                    table |= {self._value(key, names): value} if key else value
                return table
            case ast.Subscript():
                owner, key = self._known(names, node.value, node.slice)
                if isinstance(owner, list | dict):
                    return owner[key]
            case ast.JoinedStr():
                return "".join(self._known(names, *node.values))
            case ast.FormattedValue(conversion=-1):
                value, *form = self._known(names, node.value, node.format_spec)
                if isinstance(value, str | int) and len("".join(form)) < 4:
                    return format(value, *form)
            case ast.BinOp(op=ast.Add()):
                left, right = self._known(names, node.left, node.right)
                return left + right
            case ast.Call():
                return self._called(node, names)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                rounds = [names]
                for loop in node.generators:
                    rounds = [inner for outer in rounds for inner in self._rounds(loop, outer)]
                    rounds = [_under_condition([loop], inner) for inner in rounds]
                for inner in rounds:
                    self._known(inner, *(getattr(node, field, None) for field in ("elt", "key", "value")))
            case _:
                self._known(_under_condition([node], names), *ast.iter_child_nodes(node))
        raise Unknown(f"it is an expression of the kind {type(node).__name__}")

    def _listed(self, node: ast.expr, names: _Names) -> list[Any]:
        return [*self._known(names, node.value)[0]] if isinstance(node, ast.Starred) else [self._value(node, names)]

    def _named(self, name: str, names: _Names) -> Any:
        if name not in names and name in self._wanted:
            return _Wanted(name)
        value = names.get(name, Unknown(f"{name} is not defined in this source"))
        value = value() if isinstance(value, functools.partial) else value
        changed = isinstance(value, str | list | dict) and name in names[_CHANGED]
        return Unknown(f"{name} is changed after it is assigned") if changed else value

    def _imported(self, path: Path, node: ast.ImportFrom, name: str) -> Any:
        """Return what a name means that is imported, perhaps from a source in the same tree of folders."""
        if (node, name) in self._importing:
            return Unknown(f"{name} is imported in a circle")
        self._importing.add((node, name))
        try:
            return self._found_in_sources(path, node, name)
        finally:
            self._importing.remove((node, name))

    def _found_in_sources(self, path: Path, node: ast.ImportFrom, name: str) -> Any:
        parts, parents = node.module.split(".") if node.module else [], path.absolute().parents
        roots = (parent.parent for parent in parents if parts and parent.name == parts[0])
        folder = parents[min(node.level, len(parents)) - 1] if node.level else next(roots, path)
        unknown: Unknown | None = None
        for target, member in ((folder.joinpath(*parts), name), (folder.joinpath(*parts, name), "")):
            for source in (target / "__init__.py", target.with_suffix(".py")):
                found = self._module(source) if self._may_read(source, folder) else _Names()
                if found and not member:
                    return found
                if member in found:
                    value = self._named(member, found)
                    if not isinstance(value, Unknown):
                        return value
                    unknown = unknown or value  # perhaps it is a source of its own, which the package imports
        return unknown or (_Wanted(name) if name in self._wanted else Unknown(f"{name} is imported from elsewhere"))

    def _may_read(self, source: Path, folder: Path) -> bool:
        """Whether a source is there, and is not reached by a link below the folder above ``folder``."""
        real = os.path.realpath(source)
        linked = real != os.path.join(os.path.realpath(folder.parent), source.relative_to(folder.parent))  # noqa: PTH118
        try:
            return source.is_file() and (not linked or real in self._paths)
        except OSError:  # a name that is longer than any file has
            return False

    def _called(self, node: ast.Call, names: _Names) -> Any:
        function, given = self._value(node.func, names), self._arguments(node, names)
        name, at = getattr(node.func, "attr", getattr(node.func, "id", "a call")), (names[_FILE], node.lineno)
        if name == "partial" and 0 in given:
            function = given.pop(0)
            given = {key - 1 if isinstance(key, int) else key: value for key, value in given.items()}
        if any(isinstance(value, _Wanted) for value in given.values()):
            self.unread.add((*at, "a loading function is handed on; its calls cannot be followed"))
        caller = names.get(_CALLER, at)
        match function:
            case _Wanted() if os.path.realpath(caller[0]) in self._paths:
                self._calls.append((Call(function.name, *at, given, caller), names.get(_ALONE)))
            case _Function() if self._calls_wanted(function) and _CALLER in names:
                self.unread.add((*caller, f"{name}() is called in the function called; only one call is followed"))
            case _Function() if self._calls_wanted(function):
                self._followed.add(function.node)
                facts = {_CALLER: at, _ALONE: names.get(_ALONE)}
                self._agenda.append((function, self._parameters(function, given) | facts))
            case Unknown() if name in self._wanted:
                self.unread.add((*at, f"{name}: {function}"))
            case Unknown() if name in _BUILTINS and name not in names and not given.keys() & {"**", 9}:
                places = [given[key] for key in sorted(key for key in given if isinstance(key, int))]
                named = {key: value for key, value in given.items() if isinstance(key, str)}
                result = _BUILTINS[name](*places, **named)
                return result if isinstance(result, dict) else [list(pair) for pair in result]
            case Unknown() if name in ("items", "keys", "values") and isinstance(node.func, ast.Attribute):
                (owner,) = self._known(names, node.func.value)
                if isinstance(owner, dict):
                    return [list(item) if name == "items" else item for item in getattr(owner, name)()]
        raise Unknown(f"it is the result of {name}()")

    def _calls_wanted(self, value: object) -> bool:
        """Return whether a value is a function with parameters that mentions one of those looked for."""
        found = isinstance(value, _Function) and any(vars(value.node.args).values()) and _names_in(value.node)[0]
        return bool(found and found & self._wanted.keys())

    def _arguments(self, node: ast.Call, names: _Names) -> Arguments:
        given: Arguments = {}
        for keyword in node.keywords:
            value = self._value(keyword.value, names)
            if keyword.arg is None and not isinstance(value, dict):
                given["**"] = _why(value, "it is not a dict")
            else:
                given |= {keyword.arg: value} if keyword.arg else value
        try:
            given |= enumerate(value for part in node.args for value in self._listed(part, names))
        except Unknown as unknown:
            given["**"] = unknown
        return given

    def _parameters(self, function: _Function, given: Arguments) -> dict[str, Any]:
        """Return what the parameters of a function are in one call."""
        spec = function.node.args
        ordered = [one.arg for one in (*spec.posonlyargs, *spec.args)]
        names = [*ordered, *(one.arg for one in spec.kwonlyargs)]
        defaults = [*[None] * (len(ordered) - len(spec.defaults)), *spec.defaults, *spec.kw_defaults]
        values: dict[str, Any] = dict.fromkeys(names, given.get("**", Unknown("the call does not give it")))
        for name, default in zip(names, defaults, strict=True):
            if default and "**" not in given:
                values[name] = self._value(default, function.names)
        places = [value for place, value in given.items() if isinstance(place, int)]
        values.update(zip(ordered, places, strict=False))
        values.update((name, given[name]) for name in names if name in given)
        rest = {name: value for name, value in given.items() if isinstance(name, str) and name not in names}
        for one, more in ((spec.vararg, places[len(ordered) :]), (spec.kwarg, rest)):
            values.update({one.arg: given.get("**", more)} if one else {})
        return values


def _assign(target: ast.expr, value: Any, names: _Names) -> None:
    if isinstance(target, ast.Name):
        names[target.id] = value if names.maps[0].get(target.id, _UNSET) is _UNSET else _UNCLEAR
    elif isinstance(target, ast.Tuple | ast.List):
        fits = isinstance(value, list) and len(value) == len(target.elts)
        for number, part in enumerate(target.elts):
            _assign(part, value[number] if fits else _why(value, "it is taken apart"), names)


def _why(value: Any, reason: str) -> Unknown:
    return value if isinstance(value, Unknown) else Unknown(reason)


@functools.lru_cache(5000)
def _names_in(node: ast.AST) -> tuple[set[str], set[str]]:
    """Return the names that a node mentions, and of them those that it assigns."""
    parts = [part for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute)]
    stored = {part.id for part in parts if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)}
    return {part.id if isinstance(part, ast.Name) else part.attr for part in parts}, stored


def _stored(node: ast.AST, value: Unknown = _UNCLEAR) -> dict[str, Any]:
    """Return every name that is assigned in a node, as unknown."""
    return dict.fromkeys(_names_in(node)[1], value)


def _names_changed(tree: ast.AST) -> set[str]:
    """Return the names of a source that functions assign, and those of lists and dicts that change."""
    changed: set[str] = set()
    for node in [*ast.walk(tree)] * 2:  # once more for further names of what changes
        match node:
            case ast.Global() | ast.Nonlocal():
                changed.update(node.names)
            case ast.NamedExpr(target=part) | ast.Subscript(value=part, ctx=ast.Store() | ast.Del()):
                changed.add(_container(part))
            case ast.Call(func=ast.Attribute(attr=name, value=part)) if name in _CHANGING:
                changed.add(_container(part))
            case ast.Assign(targets=[part], value=value) | ast.For(target=part, iter=value):
                changed |= {_container(value)} if changed & _names_in(part)[1] else set()
    return changed


def _container(node: Any) -> str:
    """Return the name that items are taken of, or "": of ``PINS["X"]`` and ``PINS.items()``, PINS."""
    while node is not None and not isinstance(node, ast.Name):
        node = getattr(node, "func" if isinstance(node, ast.Call) else "value", None)
    return node.id if node else ""


def _under_condition(nodes: Iterable[ast.AST], names: _Names) -> _Names:
    """Return the names where a condition holds: if it depends on a function or loop, theirs are unknown."""
    varying = {name for scope in names.maps[:-1] for name in scope if name.isidentifier()}
    tests = [getattr(node, field, None) for node in nodes for field in ("test", "subject", "guard")]
    tests += [test for node in nodes for test in getattr(node, "ifs", [node] if isinstance(node, ast.BoolOp) else [])]
    if any(test and varying & _names_in(test)[0] for test in tests):
        return names.new_child(dict.fromkeys(varying, Unknown("it depends on a condition")))
    return names
