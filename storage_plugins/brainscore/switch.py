"""`install` and `uninstall`: unmodified Brain-Score code, over our stores. Imports nothing heavy."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import logging
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

_log = logging.getLogger(__name__)
_BRAINIO = "brainscore_core.supported_data_standards.brainio"


class _Ours(NamedTuple):
    """Where to find what takes a function's place."""

    module: str
    name: str
    everywhere: bool  # in all modules that have imported it, or only in the one


# (module, function) of BrainIO: every download goes through the first, every upload through the second. Only the
# loader of stimulus sets unpacks what was downloaded: with other people's archives, `fetch.unzip` stays what it is.
_REBOUND = {
    (f"{_BRAINIO}.fetch", "fetch_file"): _Ours("transport", "fetch_file", True),
    (f"{_BRAINIO}.packaging", "upload_to_s3"): _Ours("transport", "upload_to_s3", True),
    (f"{_BRAINIO}.s3", "unzip"): _Ours("stimuli", "unzip", False),
}
_MODULES = frozenset(module for module, _ in _REBOUND)
_MARK = "_storage_plugins"  # an attribute of the functions that stand for theirs


def install() -> None:
    """Let Brain-Score's code, unmodified, read and write through the stores of ``storage.yaml``.

    Rebinds BrainIO's functions of transport wherever they are bound: ``fetch_file``, ``upload_to_s3``, and the
    unpacking of stimulus sets. Modules that are not imported yet follow when they are, so this may stand in
    ``sitecustomize``; it imports neither them nor anything heavy itself. Once more does no harm.

    Model weights (``load_weight_file``, ``load_file``, ``BotoFetcher``) come from S3 as before.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name in _MODULES:
        if name in sys.modules:
            _rebind(sys.modules[name])


def uninstall() -> None:
    """Give Brain-Score's code its own functions back, wherever they are bound."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for module, name, function in _functions():
        if hasattr(function, _MARK):
            setattr(module, name, function.__wrapped__)  # type: ignore[attr-defined]


def _rebind(module: types.ModuleType) -> None:
    """Put ours in the place of a module's functions, there and in every module that has imported them."""
    for (home, name), ours in _REBOUND.items():
        if home != module.__name__:
            continue
        if name not in vars(module):
            _log.warning("This brainscore_core has no %s.%s: what goes through it stays as it is", home, name)
            continue
        for other, bound_as, function in _functions() if ours.everywhere else [(module, name, vars(module)[name])]:
            # by where it was written: by now another function, which calls it, may be bound in its home
            if hasattr(function, "__wrapped__") or (ours.everywhere and _origin(function) != (home, name)):
                continue
            setattr(other, bound_as, _standing_for(function, ours))


def _origin(function: types.FunctionType) -> tuple[str, str]:
    return function.__module__, function.__qualname__


@functools.cache  # one for each, so that it is found by its name when it is unpickled
def _standing_for(original: Callable[..., Any], ours: _Ours) -> Callable[..., Any]:
    @functools.wraps(original)
    def through_the_stores(*args: Any, **options: Any) -> Any:
        module = importlib.import_module(f".{ours.module}", __package__)
        return getattr(module, ours.name)(*args, **options)

    setattr(through_the_stores, _MARK, True)
    return through_the_stores


def _functions() -> list[tuple[types.ModuleType, str, types.FunctionType]]:
    """Return every function that is a global of a loaded module."""
    return [
        (module, name, value)
        for module in list(sys.modules.values())
        if isinstance(module, types.ModuleType)
        for name, value in list(vars(module).items())
        if type(value) is types.FunctionType
    ]


class _Finder(importlib.abc.MetaPathFinder):
    """Sees the modules come in."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _MODULES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads a module as its own loader does, then rebinds."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        made: types.ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _rebind(module)
