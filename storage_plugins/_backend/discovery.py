"""Backends come from plugins: one hook, found through entry points, each loaded on its own.

A plugin is a module in the entry-point group ``storage_plugins`` with one function::

    @storage_plugins.hookimpl
    def storage_plugins_backend():
        return storage_plugins.Backend(name="dict", settings=DictSettings, files=DictFiles)

A plugin that fails is reported, with how to fix it, and never stops another one.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib.metadata
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

import pluggy

from ..errors import InvalidPin, PluginError
from .hints import DESCRIPTION, HOOK, IMPORT, see
from .known import how_to_install

if TYPE_CHECKING:
    from ..protocol import AssemblyStore
    from .operations import FileOperations
    from .settings import StoreSettings

T = TypeVar("T")
GROUP = "storage_plugins"
API = 1  # what backends may rely on; docs/compatibility.md says how it changes
NAME = re.compile(r"[a-z][a-z0-9_-]*")  # of a backend
_spec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Location(NamedTuple):
    """Where a URI points: settings that open its store, and the version there."""

    settings: Mapping[str, Any]
    key: str
    version_id: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backend:
    """A kind of store, described without importing its SDK.

    Exactly one of ``files`` and ``store`` makes the thing itself.

    Attributes:
        name: what ``backend:`` says in the YAML.
        settings: the model of its settings.
        files: makes the file operations from settings; the core does everything else. A callable, or the
            place of one, such as ``"package.module:Class"``, which is imported when a store is opened.
        store: makes a whole `AssemblyStore` from settings, for a store that does not consist of files; likewise.
        requires: modules of its SDK, and ``install`` the pip requirement that brings them.
        schemes: URI schemes that ``locate`` understands.
        locate: takes a URI of these schemes apart; raises ValueError where it is malformed.
        summary: one line for people.
        api: the version of the API that the backend was written for; see ``docs/compatibility.md``.
    """

    name: str
    settings: type[StoreSettings]
    files: Callable[[Any], FileOperations] | str | None = None
    store: Callable[[Any], AssemblyStore] | str | None = None
    requires: tuple[str, ...] = ()
    install: str = ""
    schemes: tuple[str, ...] = ()
    locate: Callable[[str], Location] | None = None
    summary: str = ""
    api: int = 1

    def missing(self) -> list[str]:
        """Return the modules of its SDK that are not installed."""
        return [module for module in self.requires if not _is_installed(module)]


class Hooks:
    """What a plugin may implement."""

    @_spec
    def storage_plugins_backend(self) -> Backend:  # type: ignore[empty-body]
        """Return the description of one backend. Must not import its SDK."""


@dataclasses.dataclass(frozen=True)
class Plugin:
    """One entry point of the group, and whether it can be used.

    Attributes:
        name: the entry point's name, or the backend's where there is one.
        distribution, version: the package that contains it.
        backend: None where it cannot be used.
        problem: what is wrong with it, None if nothing.
        remedy: what to do about that.
        module: the module of its hook.
    """

    name: str
    distribution: str
    version: str
    backend: Backend | None = None
    problem: str | None = None
    remedy: str | None = None
    module: str = ""

    @property
    def title(self) -> str:
        """Its name and its package, for messages."""
        return f"The backend {self.name!r} of {self.distribution} {self.version}"


@functools.lru_cache(maxsize=1)
def installed() -> tuple[Plugin, ...]:
    """Return every backend plugin of this environment, usable or not, sorted by name."""
    return discover(importlib.metadata.entry_points(group=GROUP))


def discover(entry_points: Iterable[importlib.metadata.EntryPoint]) -> tuple[Plugin, ...]:
    """Load each entry point on its own, and settle which one has which name."""
    unique = {(_distribution(point), point.name, point.value): point for point in entry_points}
    plugins = [_load(point) for point in unique.values()]
    owners: dict[str, list[Plugin]] = {}
    for plugin in plugins:
        if plugin.backend is not None:
            owners.setdefault(plugin.backend.name, []).append(plugin)
    settled = [_settle(plugin, owners) for plugin in plugins]
    return tuple(sorted(settled, key=lambda plugin: (plugin.name, plugin.distribution)))


def find_backend(name: str) -> Backend:
    """Return the usable backend named ``name``.

    Raises:
        PluginError: there is none, it is broken, two claim the name, or its SDK is missing.
    """
    plugins = installed()
    named = [plugin for plugin in plugins if plugin.name == name]
    usable = [plugin.backend for plugin in named if plugin.backend is not None and plugin.problem is None]
    if usable:
        return usable[0]
    if named:
        problems = "; ".join(dict.fromkeys(f"{plugin.problem}" for plugin in named))
        who = " and ".join(plugin.distribution for plugin in named)
        raise PluginError(f"The backend {name!r} of {who} cannot be used: {problems}", hint=named[0].remedy)
    names = sorted({plugin.name for plugin in plugins})
    close = difflib.get_close_matches(name, names, n=1)
    near = f"Did you mean {close[0]!r}?" if close else f"Installed are: {', '.join(names) or 'none'}."
    raise PluginError(f"There is no backend {name!r}", hint=how_to_install(name) or near)


def _backend_for_uri(scheme: str) -> tuple[Backend, Callable[[str], Location]]:
    """Return the backend that claims URIs of ``scheme``, and its ``locate``; else raise PluginError."""
    claims = [plugin for plugin in installed() if plugin.backend is not None and scheme in plugin.backend.schemes]
    usable = [plugin.backend for plugin in claims if plugin.backend is not None and plugin.problem is None]
    if len(usable) > 1:
        names = " and ".join(repr(backend.name) for backend in usable)
        raise PluginError(f"The backends {names} both claim {scheme}: addresses", hint="Uninstall one of them.")
    if usable and usable[0].locate is not None:
        return usable[0], usable[0].locate
    if claims:
        find_backend(claims[0].name)  # says what is wrong with it
    raise PluginError(f"No installed backend understands {scheme}: addresses", hint=how_to_install(scheme))


def locate(uri: str) -> tuple[Backend, Location]:
    """Return the backend that understands a URI without its hash, and where the URI points.

    A backend without ``locate`` understands the URIs that `FileOperations.uri` makes by itself, if its
    name is their scheme and its store needs no settings.

    Raises:
        InvalidPin: the URI is malformed.
        PluginError: no usable backend understands it.
    """
    scheme = uri.partition(":")[0]
    plain = _at_default_address(scheme, uri)
    if plain is not None:
        return plain
    backend, take_apart = _backend_for_uri(scheme)
    try:
        return backend, take_apart(uri)
    except ValueError as error:
        raise InvalidPin(f"{uri} is not an address of the backend {backend.name}: {error}") from error


def is_understood(uri: str) -> bool:
    """Whether an installed backend can take a URI apart, so that it leads back to a version."""
    try:
        locate(uri)
    except Exception:  # whatever an author's function raises
        return False
    return True


def made_by(factory: Callable[[Any], T] | str, settings: StoreSettings) -> T:
    """Return what a `Backend`'s ``files`` or ``store`` makes from settings."""
    make: Callable[[Any], T] = pkgutil.resolve_name(factory) if isinstance(factory, str) else factory
    return make(settings)


def _at_default_address(scheme: str, uri: str) -> tuple[Backend, Location] | None:
    """Return a backend named ``scheme``, without ``locate``, if its store without settings has the address of a URI."""
    named = (p.backend for p in installed() if p.name == scheme and p.problem is None and p.backend is not None)
    backend = next(named, None)
    if backend is None or backend.locate is not None or backend.files is None:
        return None
    try:
        address = made_by(backend.files, backend.settings()).address
    except Exception:  # it needs settings
        return None
    if not uri.startswith(f"{address}/"):
        return None
    key, _, query = uri.removeprefix(f"{address}/").partition("?")
    return backend, Location({}, key, next(iter(parse_qs(query).get("versionId", [])), None))


def title_of(backend: Backend) -> str:
    """Return a backend's name and its package, for messages."""
    titles = (plugin.title for plugin in installed() if plugin.backend is backend)
    return next(titles, f"The backend {backend.name!r}")


def title_by_package(files: object) -> str:
    """Return the title of the backend that an object's class is of: the only one with its hook in that package."""
    package = type(files).__module__.partition(".")[0]
    owners = [plugin for plugin in installed() if plugin.module.partition(".")[0] == package]
    return owners[0].title if len(owners) == 1 else f"{type(files).__module__}.{type(files).__qualname__}"


def _load(point: importlib.metadata.EntryPoint) -> Plugin:
    distribution, version = _distribution(point)
    plugin = Plugin(point.name, distribution, version, module=point.module)
    update = f"Update or remove {distribution}: pip install -U {distribution}."
    try:
        module = point.load()
    except ModuleNotFoundError as error:
        if f"{point.module}.".startswith(f"{error.name}."):
            problem, remedy = f"its entry point names the module {point.module}, which does not exist", update
        else:
            problem = f"importing {point.value} needs the module {error.name!r}, which is not installed"
            remedy = f"Install the package that contains {error.name!r}, or remove {distribution}."
        return dataclasses.replace(plugin, problem=problem, remedy=f"{remedy} {see(IMPORT)}")
    except (Exception, SystemExit) as error:
        problem = f"importing {point.value} failed: {_message(error)}"
        return dataclasses.replace(plugin, problem=problem, remedy=f"{update} {see(IMPORT)}")
    try:
        backend = _describe(module)
        missing = backend.missing()
    except Exception as error:
        section = (error.hint if isinstance(error, PluginError) else None) or see(DESCRIPTION)
        return dataclasses.replace(plugin, problem=_message(error), remedy=f"{update} {section}")
    if backend.api > API:
        return dataclasses.replace(
            plugin,
            name=backend.name,
            backend=backend,
            problem=f"was written for version {backend.api} of the API of backends, and this storage-plugins has "
            f"version {API}",
            remedy="Update storage-plugins: pip install -U storage-plugins.",
        )
    if missing:
        return dataclasses.replace(
            plugin,
            name=backend.name,
            backend=backend,
            problem=f"needs modules that are not installed: {', '.join(missing)}",
            remedy=f"pip install '{backend.install or ' '.join(missing)}'",
        )
    return dataclasses.replace(plugin, name=backend.name, backend=backend)


def _describe(module: object) -> Backend:
    """Ask one plugin, alone with a plugin manager of its own, so that its failure is only its own."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(module)
        manager.check_pending()  # raises for a hook whose name is misspelt
    except pluggy.PluginValidationError as error:
        details = " ".join(str(error).split())
        raise PluginError(f"its hook must be storage_plugins_backend(): {details}", hint=see(HOOK)) from error
    answers = manager.hook.storage_plugins_backend()
    if len(answers) != 1:
        raise PluginError(
            "has no function storage_plugins_backend marked with @storage_plugins.hookimpl", hint=see(HOOK)
        )
    backend = answers[0]
    if not isinstance(backend, Backend):
        raise PluginError(f"storage_plugins_backend returned {type(backend).__name__}, not a Backend")
    if not isinstance(backend.name, str) or not NAME.fullmatch(backend.name):
        raise PluginError(f"the backend's name must be lower-case letters, digits, - and _, got {backend.name!r}")
    _check_settings(backend)
    if (backend.files is None) == (backend.store is None):
        raise PluginError("a Backend needs either files= or store=")
    for field in ("requires", "schemes"):
        value = getattr(backend, field)
        if not isinstance(value, tuple) or not all(isinstance(part, str) for part in value):
            raise PluginError(f"a Backend's {field}= must be a tuple of str")
    if backend.schemes and backend.locate is None:
        raise PluginError("a Backend with schemes= needs a locate= for them")
    if not (isinstance(backend.summary, str) and isinstance(backend.install, str)):
        raise PluginError("a Backend's summary= and install= must be str")
    if not isinstance(backend.api, int) or isinstance(backend.api, bool) or backend.api < 1:
        raise PluginError(f"a Backend's api= must be a whole number from 1, got {backend.api!r}")
    return backend


def _check_settings(backend: Backend) -> None:
    from .settings import StoreSettings

    if not (isinstance(backend.settings, type) and issubclass(backend.settings, StoreSettings)):
        raise PluginError("the backend's settings must be a subclass of storage_plugins.StoreSettings")


def _settle(plugin: Plugin, owners: Mapping[str, list[Plugin]]) -> Plugin:
    claims = owners.get(plugin.backend.name, []) if plugin.backend else []
    if len(claims) < 2:
        return plugin
    who = " and ".join(sorted(claim.distribution for claim in claims))
    return dataclasses.replace(
        plugin,
        problem=f"{who} both claim the backend name {plugin.name!r}; neither is used",
        remedy="Uninstall the one you do not want.",
    )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that the module would be in
        return False


def _distribution(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    if point.dist is None:
        return "unknown", ""
    return point.dist.name, point.dist.version


def _message(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return error.message
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
