"""The secrets of a store as they are written in ``storage.yaml``: what they are, and two rules about them.

A secret that is written out in the file, which is meant to be shared, is a warning. A secret is sent unencrypted to
this computer only, unless the store says ``allow_unencrypted: true``.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from .._backend.settings import VARIABLE, secret_fields
from .._visible import visible

if TYPE_CHECKING:
    from .._backend.discovery import Backend
    from .._backend.settings import StoreSettings
    from .config import StoreEntry

_log = logging.getLogger(__name__)
_UNENCRYPTED = ("dav", "ftp", "http", "telnet", "webhdfs", "ws")
_HOST = re.compile(r"[\w.-]+|\[[0-9a-f:.]+\]", re.I)
_SHORTEST = 8  # characters of a value that is in an address by no accident
_warned: set[tuple[str, ...]] = set()


class Secret(NamedTuple):
    """One secret setting.

    Attributes:
        path: the keys that lead to it, such as ``("secrets", "password")``.
        variables: the environment variables that it names.
        literal: whether the secret itself is written in the file.
    """

    path: tuple[str, ...]
    variables: tuple[str, ...]
    literal: bool

    @property
    def name(self) -> str:
        """The setting, for messages."""
        name = ".".join(self.path)
        return name if name.isprintable() else repr(name)

    def is_set(self) -> bool:
        """Whether all its variables have a value: otherwise it counts as not given."""
        return all(os.environ.get(name) for name in self.variables)


def secrets_of(entry: StoreEntry, backend: Backend) -> Iterator[Secret]:
    """Yield the secrets of a store."""
    for field in sorted(secret_fields(backend.settings) & entry.raw.keys()):
        for path, value in _texts(entry.raw[field], (field,)):
            variables = tuple(dict.fromkeys(VARIABLE.findall(value)))
            yield Secret(path, variables, not variables and bool(value) and not _is_public_address(value))


def _texts(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(part, (*path, str(key)))
    elif isinstance(value, str):
        yield path, value


def _is_public_address(value: str) -> bool:
    """Whether a text is a web address that everybody may know: what opens a private link is its query."""
    return re.match(r"https?://[^?@]*$", value) is not None


def unset_in(value: object) -> list[str]:
    """Return the variables that a secret setting names and that are not set."""
    if isinstance(value, Mapping):
        return [name for part in value.values() for name in unset_in(part)]
    names = VARIABLE.findall(value) if isinstance(value, str) else []
    return [name for name in names if not os.environ.get(name)]


def resolved(value: object) -> object:
    """Return a secret setting with its variables replaced by their values."""
    if not isinstance(value, str):
        return value
    return VARIABLE.sub(lambda match: os.environ[match.group(1)], value)


def warn_of_literals(entry: StoreEntry, backend: Backend) -> None:
    """Log a warning for each secret that is written out in a file; once a process."""
    for secret in secrets_of(entry, backend):
        where = (str(entry.path), entry.name, *secret.path)
        if entry.path is None or not secret.literal or where in _warned:
            continue
        _warned.add(where)
        variable = re.sub(r"[^A-Z0-9]+", "_", f"{entry.name}_{secret.path[-1]}".upper())
        _log.warning(
            '%s. Put it in an environment variable, and write %s: "${%s}"',
            entry.error(f"{secret.name}: a secret is written in this file", *secret.path).message,
            visible(str(secret.path[-1])),
            variable if not variable[0].isdigit() else f"STORE_{variable}",
        )


def hosts_of(entry: StoreEntry, settings: StoreSettings) -> list[str] | None:
    """Return the servers, other than the backend's own, that would get credentials; None if that is not known.

    Raises:
        ConfigError: an address has no host, or one that could be read in two ways.
    """
    declared = settings.credential_hosts()
    return None if declared is None else list(dict.fromkeys(_origin(entry, address) for address in declared))


def _origin(entry: StoreEntry, address: str) -> str:
    if "://" not in address:
        return address if address.isprintable() else repr(address)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    host = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(host) or "@" in parts.netloc:
        raise entry.error("the address of a server in its settings is not valid")
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def refuse_unencrypted(entry: StoreEntry, backend: Backend, settings: StoreSettings, hosts: Iterable[str]) -> None:
    """Raise ConfigError if a secret would be sent unencrypted to another computer."""
    if settings.allow_unencrypted:
        return
    secrets = secrets_of(entry, backend)
    sent = [secret.name for secret in secrets if secret.literal or (secret.variables and secret.is_set())]
    sent += filter(None, [settings.implicit_credentials()])
    for host in hosts:
        if sent and urlsplit(host).scheme.partition("+")[0] in _UNENCRYPTED and not _is_this_computer(host):
            raise entry.error(
                f"{' and '.join(sent)} would be sent unencrypted to {host}",
                *_setting_with(entry, host),
                hint="Use https://, or write `allow_unencrypted: true` if you trust every network on the way.",
            )


def refuse_shown_secrets(entry: StoreEntry, backend: Backend, address: str) -> None:
    """Raise ConfigError if the address of a store, which is in messages and receipts, contains a secret variable."""
    for secret in secrets_of(entry, backend):
        values = [os.environ.get(name, "") for name in secret.variables]
        if any(len(value) >= _SHORTEST and value in address for value in values):
            raise entry.error(
                f"{secret.name}: messages and receipts would show the value of ${{{secret.variables[0]}}}",
                *secret.path,
                hint="Write an address that is not secret as it is, without a variable.",
            )


def _setting_with(entry: StoreEntry, host: str) -> tuple[str, ...]:
    """Return the setting that names a host, for its line."""
    name = (urlsplit(host).hostname or host).lower()
    return next(((key,) for key, value in entry.raw.items() if name in str(value).lower()), ())


def _is_this_computer(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
