"""``storage.yaml``: which one applies, its stores, and errors that name file and line.

Only the top level is checked when the file is read. The settings of a store are checked when that store is opened,
so that a mistake in one store, or a missing plugin, never stops another.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from .._user_folders import user_folder
from ..atomic import expanded
from ..errors import ConfigError
from .finding import FILE_NAME, find, users_file, why_unsafe
from .reading import LARGEST, QUOTES, parse

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from .._backend.discovery import Backend
    from .._backend.settings import StoreSettings

_TOP = ("brainscore", "default", "receipts", "stores")
STORE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
BUCKETS = re.compile(r"\*|[^/*\s]+(/[^/*\s]+)*(/\*)?")  # bucket, bucket/folder, either with all below it, or all
UNBRACED = re.compile(r"(^|[/\\])\$[A-Za-z_]")  # $HOME as a part of a path, as shells write it
_PERCENT = re.compile(r"(^|[/\\])%[A-Za-z_]\w*%")  # %USERPROFILE%
_NOT_TEXT = ("path_type", "string_type")  # pydantic's words
_Lines = Mapping[tuple[str, ...], int]
Given = Literal["named", "found", "address"]


GROUP = "group"  # what a store that consists of others gives as its backend


@dataclasses.dataclass(frozen=True)
class StoreEntry:
    """One entry under ``stores:``, not checked beyond its backend's name.

    Attributes:
        name: the store's name.
        backend: its kind.
        raw: its settings as written; may contain secrets, so it is not shown.
        path: the YAML file, None for a mapping or the built-in default.
        folder: what relative paths are relative to.
        receipts: the folder of receipts, None for none.
        implicit: the folder from which no YAML file was found, for the built-in default.
        others: all entries of the same configuration, for the members of a group.
        given: where it comes from: a file or mapping that the caller named, a file that was found, or the address in
            a URI alone, which gets no credentials.
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
    given: Given = "named"

    @property
    def origin(self) -> str:
        """Where this entry was configured, for messages."""
        if self.implicit is not None:
            return f"no {FILE_NAME} found from {self.implicit} upwards"
        return str(self.path) if self.path else "the given mapping"

    def settings(self, backend: Backend) -> tuple[StoreSettings, tuple[str, ...]]:
        """Return the checked settings, and the environment variables that were named but not set.

        A secret whose variable is not set counts as not given.

        Raises:
            ConfigError: names file, line, and the nearest valid name of a misspelt key.
        """
        from pydantic import ValidationError

        from .._backend.settings import secret_fields
        from .secrets import resolved, unset_in

        secret, values, unset = secret_fields(backend.settings), dict[str, Any](), list[str]()
        for name, value in self.raw.items():
            if name not in secret:
                self._refuse_variables(name, value, backend, secret)
                values[name] = value
                continue
            self._refuse_variable_hosts(name, value)
            missing = unset_in(value)
            unset += missing
            if isinstance(value, Mapping):
                values[name] = {part: resolved(text) for part, text in value.items() if not unset_in(text)}
            elif not missing:
                values[name] = resolved(value)
        try:
            checked = backend.settings.model_validate(values, context={"folder": self.folder})
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False)
            raise self._problem(details, backend, unset) from None  # its cause would show the values
        return checked, tuple(unset)

    def error(self, message: str, *path: str, hint: str | None = None) -> ConfigError:
        """Return a ConfigError about this entry, naming file and line."""
        ends = range(len(path), -1, -1)
        line = next(filter(None, (self.lines.get(("stores", self.name, *path[:end])) for end in ends)), None)
        where = f"{self.path}:{line}: " if self.path and line else ""
        return ConfigError(f"{where}store {self.name!r}: {message}", hint=hint)

    def _refuse_variables(self, name: str, value: object, backend: Backend, secret: frozenset[str]) -> None:
        """Raise ConfigError for a variable in a setting that is not a secret."""
        from .._backend.settings import VARIABLE

        if not isinstance(value, str) or self.given == "address":
            return
        if VARIABLE.search(value):
            where = f"secret settings ({', '.join(sorted(secret))})" if secret else "secrets; this backend has none"
            raise self.error(f"{name}: ${{…}} is replaced only in {where}", name, hint=_INSTEAD)
        if UNBRACED.search(value) or (backend.name == "local" and _PERCENT.search(value)):
            raise self.error(f"{name}: environment variables are not replaced here", name, hint=_INSTEAD)

    def _refuse_variable_hosts(self, name: str, value: object) -> None:
        """Raise ConfigError for a variable in the part of an address that errors show and that says where it leads."""
        if isinstance(value, str) and "://" in value and "${" in re.split(r"[?#]", value, maxsplit=1)[0]:
            raise self.error(
                f"{name}: an address can contain ${{…}} only after its ?",
                name,
                hint="Write the rest of the address as it is, or put the whole address in one variable.",
            )

    def _problem(self, details: list[ErrorDetails], backend: Backend, unset: list[str]) -> ConfigError:
        # a misspelt key is often the missing one, so it comes first
        first = next((one for one in details if one["type"] == "extra_forbidden"), details[0])
        path = tuple(str(part) for part in first["loc"]) or ("",)
        field = path[0]
        if first["type"] == "extra_forbidden":
            return self.error(
                f"unknown setting {field!r} for backend {self.backend}",
                *path,
                hint=nearest(field, [*backend.settings.model_fields, "backend"]),
            )
        if first["type"] == "missing" and field not in self.raw:
            return self.error(f"backend {self.backend} needs the setting {field!r}")
        if first["type"] == "missing" and unset:
            return self.error(f"{field}: the environment variable {unset[0]} is not set", field)
        if first["type"] in _NOT_TEXT and not isinstance(first["input"], str | list | dict):
            given = "has no value" if first["input"] is None else "must be text, not a number, date or yes/no"
            return self.error(f"{field}: {given}", *path, hint=QUOTES)
        return self.error(f"{field}: {first['msg']}", *path)


@dataclasses.dataclass(frozen=True)
class Config:
    """The configured stores.

    Attributes:
        default: name of the default store.
        stores: the entries by name.
        path: the file that they are in, if it is one.
        buckets: which store is used for which of Brain-Score's buckets: ``brainscore: {buckets: …}``.
    """

    default: str | None
    stores: Mapping[str, StoreEntry]
    path: Path | None
    buckets: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Self:
        """Return the configuration of a path or mapping; for None, the one that is found.

        The first of these: STORAGE_PLUGINS_CONFIG; ``storage.yaml`` here or in a parent, up to the home folder or
        the root of a repository; the one in the user's config folder; one local store in the user's data folder.

        Raises:
            ConfigError: it cannot be read, has a mistake, or was found and could have been written by another user.
        """
        if isinstance(config, Mapping):
            return cls._checked(dict(config), {}, None, Path.cwd())
        if config is not None:
            return cls._read(expanded(config))
        named = os.environ.get("STORAGE_PLUGINS_CONFIG")
        if named:
            return cls._read(expanded(named))
        found = find()
        return cls._read(found, found=True) if found else cls.embedded()

    def entry(self, name: str | None = None) -> StoreEntry:
        """Return the entry with this name; None: STORAGE_PLUGINS_STORE, ``default:``, or the only one."""
        asked = name or os.environ.get("STORAGE_PLUGINS_STORE") or self.default
        if asked is None and len(self.stores) == 1:
            return next(iter(self.stores.values()))
        where = str(self.path) if self.path else "the configuration"
        if asked is None:
            raise ConfigError(f"{where} has no default:", hint=f"Name a store: {', '.join(self.stores)}.")
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
    def _read(cls, path: Path, *, found: bool = False) -> Self:
        path = path.absolute()
        try:
            with path.open("rb") as file:
                reason = why_unsafe(path, os.fstat(file.fileno())) if found else None
                data = b"" if reason else file.read(LARGEST + 1)
        except FileNotFoundError:
            raise ConfigError(
                f"There is no {path}",
                hint="`storage-plugins init` writes one; STORAGE_PLUGINS_CONFIG names one.",
            ) from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        if reason:
            raise ConfigError(
                f"{path} was found, but not used: {reason}",
                hint=f"If you trust it, name it: -c {path}, config= or STORAGE_PLUGINS_CONFIG.",
            )
        document = parse(data, path)
        own = not found or path == users_file()  # nobody brings a file into the user's config folder
        return cls._checked(document.values, document.lines, path, path.parent, given="named" if own else "found")

    @classmethod
    def _checked(
        cls, values: dict[str, Any], lines: _Lines, path: Path | None, folder: Path, *, given: Given = "named"
    ) -> Self:
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
                raise fail(f"{name!r} is not a valid store name", "stores", str(name), hint=_quotes(name))
            if not isinstance(raw, dict):
                raise fail(f"store {name!r} is not a mapping of settings", "stores", name)
            if not isinstance(raw.get("backend"), str):
                hint = nearest("backend", [str(key) for key in raw], "Did you mean {!r}?") if raw else None
                raise fail(f"store {name!r} has no backend:", "stores", name, hint=hint)
            if odd := [key for key in raw if not isinstance(key, str)]:
                raise fail(f"store {name!r}: unknown setting {odd[0]!r}", "stores", name, str(odd[0]))
            settings = {key: value for key, value in raw.items() if key != "backend"}
            entries[name] = StoreEntry(
                name, raw["backend"], settings, path, folder, receipts, lines, others=entries, given=given
            )
        default = values.get("default")
        if default is not None and (not isinstance(default, str) or default not in entries):
            hint = _quotes(default) or nearest(str(default), list(entries)) or f"There are: {', '.join(entries)}."
            raise fail(f"default: there is no store {default!r}", "default", hint=hint)
        return cls(
            default=default, stores=entries, path=path, buckets=_buckets(values.get("brainscore"), entries, fail)
        )


def _receipts_folder(value: object, path: Path | None, folder: Path, fail: Any) -> Path | None:
    if value is None or value is True:
        return folder / "receipts" if path else None
    if value is False:
        return None
    if not isinstance(value, str):
        raise fail("receipts: must be true, false or a folder", "receipts", hint=_quotes(value))
    if "${" in value or UNBRACED.search(value) or _PERCENT.search(value):
        raise fail("receipts: environment variables are not replaced here", "receipts", hint=_INSTEAD)
    return Path(folder, expanded(value))


def _buckets(value: object, entries: Mapping[str, StoreEntry], fail: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise fail("brainscore: is not a mapping", "brainscore", hint="Write buckets: {bucket: store}.")
    for key in value:
        if key != "buckets":
            raise fail(f"brainscore: unknown key {key!r}", "brainscore", str(key), hint=nearest(str(key), ["buckets"]))
    buckets = value.get("buckets")
    if not isinstance(buckets, dict):
        raise fail("brainscore: buckets: is not a mapping of buckets to stores", "brainscore", "buckets")
    for bucket, store in buckets.items():
        if not isinstance(bucket, str) or not BUCKETS.fullmatch(bucket):
            raise fail(
                f"{bucket!r} is not a bucket",
                *("brainscore", "buckets", str(bucket)),
                hint="Write bucket, bucket/folder, bucket/folder/* for everything below it, or * for every bucket.",
            )
        if not isinstance(store, str) or store not in entries:
            hint = nearest(str(store), list(entries)) or f"There are: {', '.join(entries)}."
            raise fail(f"there is no store {store!r}", "brainscore", "buckets", bucket, hint=hint)
    return buckets


def nearest(word: str, right: list[str], form: str = "Did you mean {!r}?") -> str | None:
    """Return a question that suggests the most similar valid word, None if none is similar."""
    close = difflib.get_close_matches(word, right, n=1, cutoff=0.6)
    return form.format(close[0]) if close else None


def _quotes(value: object) -> str | None:
    """Return the advice for a value that YAML does not read as text."""
    return None if isinstance(value, str | list | dict | None) else QUOTES


_INSTEAD = "Write a folder in full, or relative to this file; ~ is your home folder."
