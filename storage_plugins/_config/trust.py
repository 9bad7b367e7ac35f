"""What a ``storage.yaml`` that was found may send where: only what the user agreed to once.

A file that comes with a cloned repository could send any environment variable, or requests signed with the user's
keys, to any server. So that which leaves for a server other than the backend's own needs the user's word: naming the
file, or `remember`, which ``storage-plugins trust`` calls. What was agreed to is remembered as pairs of secret and
server for each file, without any value of a secret.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .._backend.discovery import find_backend
from .._backend.settings import StoreSettings, secret_fields
from .._user_folders import user_folder
from ..errors import ConfigError, StorageError
from .config import GROUP
from .finding import why_unsafe
from .secrets import hosts_of, refuse_unencrypted, secrets_of, warn_of_literals

if TYPE_CHECKING:
    from .._backend.discovery import Backend
    from .config import Config, StoreEntry

_FILE_NAME = "trusted.json"
_LARGEST = 1 << 20  # bytes


class Sending(NamedTuple):
    """One secret that a store sends to one server."""

    store: str
    setting: str
    secret: str
    host: str


class Untrusted(ConfigError):
    """The user has not agreed yet to what a file that was found would send.

    Attributes:
        path: the file.
        sendings: everything that its store would send.
    """

    def __init__(self, message: str, path: Path, sendings: list[Sending], hint: str) -> None:
        super().__init__(message, hint=hint)
        self.path, self.sendings = path, sendings


def check_secrets(entry: StoreEntry, backend: Backend, settings: StoreSettings) -> None:
    """Hold a store to the rules about secrets, before anything of it is opened.

    Raises:
        Untrusted: the file was found, and the user has not agreed to what it sends.
        ConfigError: a secret would be sent unencrypted.
    """
    if entry.given == "address":  # it comes without secrets
        return
    warn_of_literals(entry, backend)
    refuse_unencrypted(entry, backend, settings, hosts_of(entry, settings) or ())
    if entry.given != "found" or entry.path is None:
        return
    sendings = sendings_of(entry, backend, settings, only_set=True)
    trusted = _read().get(str(entry.path.resolve()), {})
    if all(sending.secret in trusted.get(sending.host, ()) for sending in sendings):
        return
    listed = "; ".join(f"{sending.secret} to {sending.host}" for sending in sendings)
    raise Untrusted(
        entry.error(f"it would send {listed}. This file was found, not named by you").message,
        entry.path,
        sendings_of(entry, backend, settings),
        f"If you trust it: storage-plugins trust {entry.path}\n  Or name it: with config= or -c, or in "
        "STORAGE_PLUGINS_CONFIG.",
    )


def sendings_of(
    entry: StoreEntry, backend: Backend, settings: StoreSettings, *, only_set: bool = False
) -> list[Sending]:
    """Return what a store sends to servers that are not its backend's own.

    Where a backend does not declare its servers, all that its settings say stands for them.
    """
    hosts = hosts_of(entry, settings)
    secrets = [secret for secret in secrets_of(entry, backend) if not only_set or secret.is_set()]
    sent = [(secret.name, f"${{{variable}}}") for secret in secrets for variable in secret.variables]
    if hosts is None:
        hosts = [_described(entry, backend)]
    elif credentials := settings.implicit_credentials():
        sent.append(("", credentials))
    return [Sending(entry.name, setting, secret, host) for host in hosts for setting, secret in sent]


def _described(entry: StoreEntry, backend: Backend) -> str:
    own = sorted(entry.raw.keys() - StoreSettings.model_fields.keys() - secret_fields(backend.settings))
    settings = ", ".join(f"{name}: {entry.raw[name]!r}" for name in own)
    return f"backend {backend.name}" + (f" ({settings})" if settings else "")


def sendings_in(config: Config) -> tuple[list[Sending], dict[str, str]]:
    """Return what all stores of a configuration send; and the problem of each store whose settings have one."""
    sendings, problems = list[Sending](), dict[str, str]()
    for entry in config.stores.values():
        if entry.backend == GROUP:  # its members are stores of the same file
            continue
        try:
            backend = find_backend(entry.backend)
            sendings += sendings_of(entry, backend, entry.settings(backend)[0])
        except StorageError as error:
            problems[entry.name] = error.message
    return sendings, problems


def remember(path: Path, sendings: Iterable[Sending]) -> None:
    """Write down that the user agrees to what a file sends, in place of what was agreed to before.

    Raises:
        StorageError: it cannot be written down.
    """
    from ..atomic import atomic_file, disk_errors

    agreed: dict[str, list[str]] = {}
    for sending in sendings:
        agreed.setdefault(sending.host, []).append(sending.secret)
    record = _path()
    with disk_errors(f"write {record}"):
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = {**_read(), str(path.resolve()): {host: sorted({*sent}) for host, sent in agreed.items()}}
        with atomic_file(record) as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), stat.S_IRUSR | stat.S_IWUSR)
            file.write(f"{json.dumps(known, indent=2, sort_keys=True)}\n".encode())
        reason = why_unsafe(record)
    if reason is not None:
        raise ConfigError(f"Trusted files are not read from {record}: {reason}", hint="Change the owner or mode.")


def _read() -> dict[str, dict[str, list[str]]]:
    """Return what is trusted: by file, which secrets each host may get. Nothing if the record is not the user's."""
    try:
        record = _path()
        if why_unsafe(record) is not None:
            return {}
        with record.open("rb") as file:
            known = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError, ConfigError):
        return {}
    by_file = known.items() if isinstance(known, dict) else ()
    return {
        path: {host: sent for host, sent in hosts.items() if isinstance(sent, list)}
        for path, hosts in by_file
        if isinstance(hosts, dict)
    }


def _path() -> Path:
    return user_folder("config", "Set HOME, so that trusted files can be remembered.") / _FILE_NAME
