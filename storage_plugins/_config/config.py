"""``storage.yaml``: where it is found, what may stand in it, and errors that name its line.

Only the top level is checked when it is read. A store's own settings are checked when that store is
opened, so that one store's mistake, or missing plugin, never stops another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .._user_folders import user_folder
from ..atomic import expanded
from ..errors import ConfigError

if TYPE_CHECKING:
    import yaml

    from .._backend.discovery import Backend
    from .._backend.settings import StoreSettings

FILE_NAME = "storage.yaml"
_TOP = ("brainscore", "default", "receipts", "stores")
STORE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
BUCKETS = re.compile(r"\*|[^/*\s]+(/[^/*\s]+)*(/\*)?")  # bucket, bucket/folder, either with all below it, or all
_Lines = Mapping[tuple[str, ...], int]


@dataclasses.dataclass(frozen=True)
class StoreEntry:
    """One entry under ``stores:``, not checked beyond its backend's name.

    Attributes:
        name: the store's name; ``backend``: its kind.
        raw: its settings as written; may hold secrets, so it is not shown.
        path: the YAML file, None for a mapping or the built-in default.
        folder: what relative paths are relative to.
        receipts: the folder of receipts, None for none.
        implicit: where a YAML file was looked for in vain, for the store nobody configured.
        others: all entries of the same configuration, for a group's members.
    """

    name: str
    backend: str
    raw: Mapping[str, Any] = dataclasses.field(repr=False)
    path: Path | None
    folder: Path
    receipts: Path | None
    lines: _Lines = dataclasses.field(default_factory=dict, repr=False)
    implicit: Path | None = None
    others: Mapping[str, StoreEntry] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def origin(self) -> str:
        """Where this entry stands, for messages."""
        if self.implicit is not None:
            return f"no {FILE_NAME} found from {self.implicit} upwards"
        return str(self.path) if self.path else "the given mapping"

    def settings(self, backend: Backend) -> tuple[StoreSettings, tuple[str, ...]]:
        """Return the checked settings, and the environment variables that were named but not set.

        A secret whose variable is not set counts as not given.

        Raises:
            ConfigError: names file, line, and the nearest right name of a misspelt key.
        """
        from pydantic import ValidationError

        from .._backend.settings import secret_fields

        secret, values, unset = secret_fields(backend.settings), dict[str, Any](), list[str]()
        for name, value in self.raw.items():
            if name not in secret:
                if isinstance(value, str) and VARIABLE.search(value):
                    raise self.error(
                        f"{name}: ${{…}} is replaced in secret settings only"
                        + (f" ({', '.join(sorted(secret))})" if secret else f", and {self.backend} has none"),
                        name,
                    )
                values[name] = value
                continue
            missing = _unset(value)
            unset += missing
            if isinstance(value, Mapping):
                values[name] = {part: _resolved(text) for part, text in value.items() if not _unset(text)}
            elif not missing:
                values[name] = _resolved(value)
        try:
            checked = backend.settings.model_validate(values, context={"folder": self.folder})
        except ValidationError as error:
            raise self._told(error, backend, unset) from None  # its cause would show the values
        return checked, tuple(unset)

    def error(self, message: str, *path: str, hint: str | None = None) -> ConfigError:
        """Return a ConfigError about this entry, naming file and line."""
        line = self.lines.get(("stores", self.name, *path)) or self.lines.get(("stores", self.name))
        where = f"{self.path}:{line}: " if self.path and line else ""
        return ConfigError(f"{where}store {self.name!r}: {message}", hint=hint)

    def _told(self, error: Any, backend: Backend, unset: list[str]) -> ConfigError:
        told = error.errors(include_url=False, include_input=False, include_context=False)
        # a misspelt key is often the missing one, so it is the one to tell
        first = next((one for one in told if one["type"] == "extra_forbidden"), told[0])
        field = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            return self.error(
                f"unknown setting {field!r} for backend {self.backend}",
                field,
                hint=nearest(field, [*backend.settings.model_fields, "backend"]),
            )
        if first["type"] == "missing" and field not in self.raw:
            return self.error(f"backend {self.backend} needs the setting {field!r}")
        if first["type"] == "missing" and unset:
            return self.error(f"{field}: the environment variable {unset[0]} is not set", field)
        return self.error(f"{field}: {first['msg']}", field)


@dataclasses.dataclass(frozen=True)
class Config:
    """The stores somebody configured.

    Attributes:
        default: name of the default store.
        stores: the entries by name.
        path: the file they stand in, if it is one.
        buckets: of Brain-Score's buckets, which store takes the place of which: ``brainscore: {buckets: …}``.
    """

    default: str | None
    stores: Mapping[str, StoreEntry]
    path: Path | None
    buckets: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Self:
        """Return the configuration of a path or mapping; for None, the one that is found.

        Looked for in this order: STORAGE_PLUGINS_CONFIG; ``storage.yaml`` here or in a parent, up to
        the home folder or the root of a repository; the user's config folder. Without any, there is
        one local store in the user's data folder.
        """
        if isinstance(config, Mapping):
            return cls._checked(dict(config), {}, None, Path.cwd())
        if config is not None:
            return cls._read(expanded(config))
        named = os.environ.get("STORAGE_PLUGINS_CONFIG")
        if named:
            return cls._read(expanded(named))
        found = find()
        return cls._read(found) if found else cls.embedded()

    def entry(self, name: str | None = None) -> StoreEntry:
        """Return the entry called ``name``; None: STORAGE_PLUGINS_STORE, ``default:``, or the only one."""
        asked = name or os.environ.get("STORAGE_PLUGINS_STORE") or self.default
        if asked is None and len(self.stores) == 1:
            return next(iter(self.stores.values()))
        where = str(self.path) if self.path else "the configuration"
        if asked is None:
            raise ConfigError(f"{where} has no default:", hint=f"Say which store: {', '.join(self.stores)}.")
        if asked not in self.stores:
            hint = nearest(asked, list(self.stores)) or f"There are: {', '.join(self.stores) or 'none'}."
            raise ConfigError(f"{where} has no store {asked!r}", hint=hint)
        return self.stores[asked]

    @classmethod
    def embedded(cls) -> Self:
        """Return the configuration that applies where there is none: a local store in the user's data folder."""
        folder = user_folder("data", f"Write a {FILE_NAME}, or set HOME.")
        entry = StoreEntry(
            name="local",
            backend="local",
            raw={"root": str(folder / "assemblies")},
            path=None,
            folder=folder,
            receipts=folder / "receipts",
            implicit=Path.cwd(),
        )
        return cls(default="local", stores={"local": entry}, path=None)

    @classmethod
    def _read(cls, path: Path) -> Self:
        import yaml

        path = path.absolute()
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            raise ConfigError(
                f"There is no {path}",
                hint="`storage-plugins init` writes one; STORAGE_PLUGINS_CONFIG names one.",
            ) from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            lines: dict[tuple[str, ...], int] = {}
            if node is not None:
                _number_lines(node, (), lines, path)
            values = yaml.safe_load(text)
        except ConfigError:
            raise
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(f"{path}:{line}: {error.problem}") from None
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f"{path}: not YAML: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            # a value that is not what its form promises, such as the 45th of a month; it may be a secret
            raise ConfigError(f"{path}: a date or number in it is none", hint="Put text into quotes.") from None
        if not isinstance(values, dict):
            raise ConfigError(f"{path} is not a mapping", hint="It begins with `default: …` and `stores:`.")
        return cls._checked(values, lines, path, path.parent)

    @classmethod
    def _checked(cls, values: dict[str, Any], lines: _Lines, path: Path | None, folder: Path) -> Self:
        def fail(message: str, *keys: str, hint: str | None = None) -> ConfigError:
            where = f"{path}:{lines.get(keys, 1)}: " if path else ""
            return ConfigError(f"{where}{message}", hint=hint)

        for key in values:
            if key not in _TOP:
                raise fail(f"unknown key {key!r}", str(key), hint=nearest(str(key), list(_TOP)))
        stores = values.get("stores")
        if not isinstance(stores, dict) or not stores:
            raise fail("stores: is not a mapping of store names to their settings", "stores")
        receipts = _receipts_folder(values.get("receipts"), path, folder, fail)
        entries: dict[str, StoreEntry] = {}
        for name, raw in stores.items():
            if not isinstance(name, str) or not STORE_NAME.fullmatch(name):
                raise fail(f"{name!r} cannot be a store's name", "stores", str(name))
            if not isinstance(raw, dict):
                raise fail(f"store {name!r} is not a mapping of settings", "stores", name)
            if not isinstance(raw.get("backend"), str):
                hint = nearest("backend", [str(key) for key in raw], "Is {!r} meant?") if raw else None
                raise fail(f"store {name!r} does not say its backend:", "stores", name, hint=hint)
            if odd := [key for key in raw if not isinstance(key, str)]:
                raise fail(f"store {name!r}: unknown setting {odd[0]!r}", "stores", name, str(odd[0]))
            settings = {key: value for key, value in raw.items() if key != "backend"}
            entries[name] = StoreEntry(name, raw["backend"], settings, path, folder, receipts, lines, others=entries)
        default = values.get("default")
        if default is not None and (not isinstance(default, str) or default not in entries):
            hint = nearest(str(default), list(entries)) or f"There are: {', '.join(entries)}."
            raise fail(f"default: {default!r} is none of the stores", "default", hint=hint)
        return cls(
            default=default, stores=entries, path=path, buckets=_buckets(values.get("brainscore"), entries, fail)
        )


def find(start: Path | None = None) -> Path | None:
    """Return the ``storage.yaml`` that applies in the folder ``start`` (None: here), or None."""
    here, home = Path(start or ".").absolute(), expanded("~").resolve()
    with contextlib.suppress(OSError):  # a folder that may not be looked into ends the search
        for folder in (here, *here.parents):
            if (folder / FILE_NAME).is_file():
                return folder / FILE_NAME
            if folder.resolve() == home or (folder / ".git").exists():
                break
    with contextlib.suppress(ConfigError):  # without a home folder there is no such file
        users = user_folder("config", "Set HOME.") / FILE_NAME
        return users if users.is_file() else None
    return None


def _receipts_folder(value: object, path: Path | None, folder: Path, fail: Any) -> Path | None:
    if value is None or value is True:
        return folder / "receipts" if path else None
    if value is False:
        return None
    if isinstance(value, str):
        return Path(folder, expanded(value))
    raise fail("receipts: is true, false or a folder", "receipts")


def _buckets(value: object, entries: Mapping[str, StoreEntry], fail: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise fail("brainscore: is not a mapping", "brainscore", hint="It says buckets: {bucket: store}.")
    for key in value:
        if key != "buckets":
            raise fail(f"brainscore: unknown key {key!r}", "brainscore", str(key), hint=nearest(str(key), ["buckets"]))
    buckets = value.get("buckets")
    if not isinstance(buckets, dict):
        raise fail("brainscore: buckets: is not a mapping of buckets to stores", "brainscore", "buckets")
    for bucket, store in buckets.items():
        if not isinstance(bucket, str) or not BUCKETS.fullmatch(bucket):
            raise fail(
                f"{bucket!r} is no bucket",
                *("brainscore", "buckets", str(bucket)),
                hint="Write bucket, bucket/folder, bucket/folder/* for all that is below it, or * for every bucket.",
            )
        if not isinstance(store, str) or store not in entries:
            hint = nearest(str(store), list(entries)) or f"There are: {', '.join(entries)}."
            raise fail(f"{store!r} is none of the stores", "brainscore", "buckets", bucket, hint=hint)
    return buckets


def _number_lines(node: yaml.Node, path: tuple[str, ...], lines: dict[tuple[str, ...], int], file: Path) -> None:
    """Note the line of every key, and refuse a key that stands twice; at most as deep as settings go."""
    import yaml

    if not isinstance(node, yaml.MappingNode) or len(path) > 3:
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{file}:{line}: a key is a plain word")
        if key.value in seen:
            where = f"lines {seen[key.value]} and {line}"
            raise ConfigError(f"{file}:{line}: {key.value!r} stands twice ({where})", hint="Keep one of them.")
        seen[key.value] = line
        lines[(*path, key.value)] = line
        _number_lines(value, (*path, key.value), lines, file)


def nearest(word: str, right: list[str], form: str = "Did you mean {!r}?") -> str | None:
    """Return a question about the nearest right word, None if none is near."""
    close = difflib.get_close_matches(word, right, n=1, cutoff=0.6)
    return form.format(close[0]) if close else None


def _unset(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [name for part in value.values() for name in _unset(part)]
    names = VARIABLE.findall(value) if isinstance(value, str) else []
    return [name for name in names if not os.environ.get(name)]


def _resolved(value: object) -> object:
    if not isinstance(value, str):
        return value
    return VARIABLE.sub(lambda match: os.environ[match.group(1)], value)
