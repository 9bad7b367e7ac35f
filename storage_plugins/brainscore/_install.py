"""`install` and `uninstall`: let Brain-Score's unmodified code use the stores. Fast to import."""

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
    """Our function that replaces one of theirs."""

    module: str
    name: str
    everywhere: bool  # in all modules that have imported it, or only in one


# (module, function) of BrainIO: every download goes through the first, every upload through the second. The third is
# replaced only where stimulus sets are loaded: `fetch.unzip` still unpacks other archives, in their own folders.
_REPLACED = {
    (f"{_BRAINIO}.fetch", "fetch_file"): _Ours("_files", "fetch_file", True),
    (f"{_BRAINIO}.packaging", "upload_to_s3"): _Ours("_files", "upload_to_s3", True),
    (f"{_BRAINIO}.s3", "unzip"): _Ours("_stimulus_sets", "unzip", False),
}
_MODULES = frozenset(module for module, _ in _REPLACED)
_MARK = "_storage_plugins"  # an attribute of the functions that replace theirs


def install() -> None:
    """Make Brain-Score's unmodified code read and write through the stores of ``storage.yaml``.

    Replaces BrainIO's ``fetch_file``, ``upload_to_s3`` and the unpacking of stimulus sets in every module that has
    imported them. Modules that are imported later are changed then, so this can be in ``sitecustomize``; it does not
    import them itself. A second call changes nothing.

    Model weights (``load_weight_file``, ``load_file``, ``BotoFetcher``) still come from S3.

    Example:
        >>> install()
        >>> uninstall()
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name in _MODULES:
        if name in sys.modules:
            _replace(sys.modules[name])


def uninstall() -> None:
    """Restore Brain-Score's own functions in every module."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for module, name, function in _functions():
        if hasattr(function, _MARK):
            setattr(module, name, function.__wrapped__)  # type: ignore[attr-defined]


def _replace(module: types.ModuleType) -> None:
    """Replace functions of a module by ours, there and in every module that has imported them."""
    for (home, name), ours in _REPLACED.items():
        if home != module.__name__:
            continue
        if name not in vars(module):
            _log.warning(
                "This release of brainscore_core has no %s.%s, so calls of it do not use the stores", home, name
            )
            continue
        for other, bound_as, function in _functions() if ours.everywhere else [(module, name, vars(module)[name])]:
            # compare where it was defined: its own module may have replaced it by now
            if hasattr(function, "__wrapped__") or (ours.everywhere and _origin(function) != (home, name)):
                continue
            setattr(other, bound_as, _replacement(function, ours))


def _origin(function: types.FunctionType) -> tuple[str, str]:
    return function.__module__, function.__qualname__


@functools.cache  # one object for each, as pickle requires
def _replacement(original: Callable[..., Any], ours: _Ours) -> Callable[..., Any]:
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
    """Finds BrainIO's modules when they are imported."""

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
    """Loads a module with its own loader, then replaces its functions."""

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
        _replace(module)
