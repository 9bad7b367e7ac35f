"""Going through sources: which calls stand in them, and with what they are made."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .parsed import (
    FUNCTIONS,
    Arguments,
    Builtin,
    Class,
    Code,
    Module,
    NotKnown,
    Partial,
    Scope,
    Wanted,
    decorated,
    visible,
)
from .values import TooMuch, Values, not_given

MOST_BYTES = 5_000_000  # of one source
MOST_FOLLOWED = 8  # calls in each other
_LOOPS = (ast.For, ast.AsyncFor)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)


@dataclasses.dataclass
class FoundCall:
    """One call, as often as it is made with other arguments. Values that cannot be had are `NotKnown`.

    Attributes:
        name: the function's name, one of those looked for.
        path, line, column: where the call stands.
        arguments, keywords: what it is given.
        others: why there may be further arguments (``**settings``), or None.
        partial: whether it is a ``functools.partial`` of the function instead.
        completed: whether a call of that ``partial`` was found too.
    """

    name: str
    path: Path
    line: int
    column: int
    arguments: list[Any]
    keywords: dict[str, Any]
    others: NotKnown | None
    partial: bool = False
    completed: bool = False


@dataclasses.dataclass(frozen=True)
class Unread:
    """Something that could not be read, in words. ``line`` is 0 for a file as a whole."""

    path: Path
    line: int
    reason: str


def find_calls(paths: Iterable[Path], functions: Mapping[str, str]) -> tuple[list[FoundCall], list[Unread]]:
    """Return the calls of ``functions`` in Python files and in folders of them, and what could not be read.

    Args:
        paths: files, and folders, whose ``.py`` files at any depth are read; links to folders and names that
            begin with a dot are passed over.
        functions: names, each with a parameter that the function itself has: a definition of that name
            without this parameter is taken for somebody's own, and followed.
    """
    reader = _Reader(functions)
    words = reader.words(list(_files(paths)))
    for _ in range(MOST_FOLLOWED):
        reader.start()
        asked = set(reader.asked)
        for path in [path for path, there in words.items() if there & (asked | set(functions))]:
            reader.read(path)
        if reader.asks() == asked:
            break
    return reader.found()


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py") and name[0] != ".")


class _Reader(Values):
    """Reads sources, one after the other, and keeps what was found."""

    def __init__(self, functions: Mapping[str, str]) -> None:
        super().__init__(functions)
        self.asked: set[str] = set()  # names of functions whose callers say what a call is given
        self._texts: dict[Path, bytes | None] = {}
        self._modules: dict[Path, Module | None] = {}
        self._unread: dict[Unread, None] = {}
        self.start()

    def start(self) -> None:
        """Begin anew, to look into the functions that were asked for too."""
        self._calls: list[tuple[FoundCall, ast.AST]] = []
        self._completed: set[int] = set()  # ids of nodes; their modules are kept
        self._agenda: list[tuple[ast.AST, Scope]] = []
        self.steps = 0

    def asks(self) -> set[str]:
        """Return the names of the functions whose callers are to be looked for, those of this round too."""
        for call, _ in self._calls:
            values = [*call.arguments, *call.keywords.values(), call.others]
            self.asked |= {value.function for value in values if isinstance(value, NotKnown) and value.function}
        return self.asked

    def found(self) -> tuple[list[FoundCall], list[Unread]]:
        """Return all calls and all that could not be read, in the order of files and lines."""
        for call, node in self._calls:
            call.completed = id(node) in self._completed
        calls = sorted((call for call, _ in self._calls), key=lambda call: (call.path, call.line, call.column))
        return calls, sorted(self._unread, key=lambda unread: (unread.path, unread.line))

    # files

    def words(self, paths: Sequence[Path]) -> dict[Path, frozenset[str]]:
        """Return the names that stand in files, those that can be read."""
        texts = [(path, self.text(path)) for path in paths]
        return {
            path: frozenset(word.decode() for word in re.findall(rb"[A-Za-z_][A-Za-z0-9_]*", text))
            for path, text in texts
            if text is not None
        }

    def text(self, path: Path) -> bytes | None:
        """Return a file's bytes; None, and noted, if it cannot be read."""
        real = Path(os.path.realpath(path))
        if real not in self._texts:
            self._texts[real] = None
            try:
                if not real.is_file():
                    self._note(path, 0, "no file that can be read")
                elif real.stat().st_size > MOST_BYTES:
                    self._note(path, 0, f"larger than {MOST_BYTES} bytes; nothing in it was read")
                else:
                    self._texts[real] = real.read_bytes()
            except OSError as error:
                self._note(path, 0, f"cannot be read: {error.strerror or error}")
        return self._texts[real]

    def module(self, path: Path) -> Module | None:
        """Return a file parsed; None, and noted, if it is no Python of a version that this one knows."""
        real = Path(os.path.realpath(path))
        if real not in self._modules:
            self._modules[real] = None
            text = self.text(path)
            if text is not None:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # odd escapes and the like are its author's affair
                        self._modules[real] = Module(path, ast.parse(text))
                except SyntaxError as error:
                    self._note(path, error.lineno or 0, f"no Python that can be read here: {error.msg}")
                except (ValueError, RecursionError, MemoryError) as error:
                    self._note(path, 0, f"no Python that can be read here: {str(error) or 'nested too deeply'}")
        return self._modules[real]

    def _note(self, path: Path, line: int, reason: str) -> None:
        self._unread[Unread(path, line, reason)] = None

    # going through a source

    def read(self, path: Path) -> None:
        """Find the calls in one file."""
        module = self.module(path)
        if module is None:
            return
        self.steps = 0
        self._agenda = [(module.tree, module.scope)]
        try:
            while self._agenda:
                self.step()
                self._look_at(*self._agenda.pop())
        except TooMuch:
            self._note(path, 0, "too much to work out; what was found until then is kept")

    def _add(self, nodes: Iterable[ast.AST], scope: Scope) -> None:
        self._agenda += [(node, scope) for node in nodes]

    def _look_at(self, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.Call):
            self._look_at_call(node, scope)
        elif isinstance(node, FUNCTIONS):
            code = Code(node, scope)
            self._add(_around(node), scope)
            if self.is_wanted(code):
                return  # the very function that is looked for
            self._enter(code, self._alone(code, scope), scope.depth)
        elif isinstance(node, ast.ClassDef):
            self._add([*node.decorator_list, *node.bases, *node.keywords], scope)
            self._add(node.body, Scope(scope.module, node, scope, depth=scope.depth))
        elif isinstance(node, _LOOPS):
            self._add([node.iter], scope)
            for inner in self.runs(node.target, node.iter, node, scope):
                self._add([*node.body, *node.orelse], inner)
        elif isinstance(node, _COMPREHENSIONS):
            self._add((generator.iter for generator in node.generators), scope)
            parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
            for inner in self.comprehended(node, scope, whole=True):
                self._add(parts, inner)
        elif isinstance(node, ast.If):
            self._add([node.test], scope)
            test = self.held(node.test, scope)
            # by itself, everything that stands there is looked at
            if isinstance(test, NotKnown) or not scope.depth:
                self._add([*node.body, *node.orelse], scope)
            else:
                self._add(node.body if test else node.orelse, scope)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            self._look_at_name(node, scope)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Name):
            pass  # a further name; calls by it are seen
        else:
            self._add(ast.iter_child_nodes(node), scope)

    def _look_at_name(self, node: ast.Name | ast.Attribute, scope: Scope) -> None:
        name = node.id if isinstance(node, ast.Name) else node.attr
        if name in self.functions and isinstance(self.or_none(node, scope), Wanted):
            self._note(scope.module.path, node.lineno, f"{name} is handed on; what is called then cannot be seen")
        elif isinstance(node, ast.Attribute):
            self._add([node.value], scope)

    def _look_at_call(self, node: ast.Call, scope: Scope) -> None:
        function = self.or_none(node.func, scope)
        partial = isinstance(function, Builtin) and function.name == "partial"
        self._add([*node.args[partial:], *node.keywords], scope)
        if isinstance(node.func, ast.Attribute):
            self._add([node.func.value], scope)
        elif not isinstance(node.func, ast.Name):  # what is called on the spot: (lambda: …)()
            self._add([node.func], scope)
        if partial:
            function, arguments = self.or_none(node, scope), Arguments([], {})
        else:
            arguments = self.arguments(node, scope)
        while isinstance(function, Partial):
            if function.site is not None and function.site is not node:
                self._completed.add(id(function.site))
            function, arguments = function.function, function.arguments.then(arguments)
        if isinstance(function, Wanted):
            call = FoundCall(
                function.name,
                scope.module.path,
                node.lineno,
                node.col_offset,
                arguments.positional,
                arguments.keywords,
                arguments.others,
                partial,
            )
            self._calls.append((call, node))
        else:
            self._follow(function, arguments, scope)

    def _follow(self, function: object, arguments: Arguments, scope: Scope) -> None:
        """Look into a function that is called, with what it is called with, if somebody asked for it."""
        if isinstance(function, Class) and not function.instance:
            made = self._made(function)
            function, arguments = made.function, made.arguments.then(arguments)
        if not isinstance(function, Code) or function.name not in self.asked or scope.depth >= MOST_FOLLOWED:
            return
        values = self.bound(function, arguments)
        if not all(isinstance(value, NotKnown) for value in values.values()):
            self._enter(function, values, scope.depth + 1)

    def _made(self, cls: Class) -> Partial:
        """Return the call that makes an object of a class, but for its arguments."""
        try:
            method = self.member(dataclasses.replace(cls, instance=True), "__init__")
        except NotKnown:
            method = None
        return method if isinstance(method, Partial) else Partial(None, Arguments([], {}), None)

    def _enter(self, code: Code, values: dict[str, Any], depth: int) -> None:
        inner = Scope(code.scope.module, code.node, visible(code.scope), values, depth)
        self._add(code.node.body if isinstance(code.node.body, list) else [code.node.body], inner)

    def _alone(self, code: Code, scope: Scope) -> dict[str, Any]:
        """Return what a function's parameters are when it is looked at by itself.

        What can be called with nothing, such as what is put into a registry, is: by its defaults.
        """
        given: list[Any] = []
        if isinstance(scope.block, ast.ClassDef) and not decorated(code.node, "staticmethod"):
            given = [Class(scope.block, scope.outer or scope, instance=True)]
        values = self.bound(code, Arguments(given, {}))
        if any(isinstance(value, NotKnown) and value.function == code.name for value in values.values()):
            return self.bound(code, Arguments(given, {}, not_given("an argument", code.name)))
        return values


def _around(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[ast.AST]:
    """Return what of a function is worked out where it is defined."""
    defaults = [default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None]
    return [*defaults, *getattr(node, "decorator_list", [])]
