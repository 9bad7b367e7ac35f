"""The project as a whole: whether everybody can read it, opening it, and whether it has room."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

from storage_plugins import AccessDenied, QuotaExceeded, StorageError

from .connection import Connection
from .errors import refusal
from .tree import Tree, at

_BELIEVED = 60.0  # seconds
_LARGEST = 5_000_000_000  # bytes of a file; the files host itself stops at 4.9 GiB
_WORTH_ASKING = 4 << 20  # bytes: to send fewer takes no longer than to ask whether there is room
_SHOWN = 5


class Project:
    """One project or component. Its components and registrations have a visibility of their own."""

    def __init__(self, connection: Connection, tree: Tree) -> None:
        self._connection, self._tree = connection, tree
        self._url = f"{connection.settings.api_url}nodes/{connection.settings.project}/"
        self._asked: tuple[float, bool] | None = None

    def is_public(self) -> bool:
        """Whether everybody can read it, as OSF said within the last minute."""
        known = self._asked
        if known is None or time.monotonic() - known[0] > _BELIEVED:
            known = self._asked = (time.monotonic(), self._ask())
        return known[1]

    def open(self) -> None:
        """Make it public, which its administrators may."""
        project = self._connection.settings.project
        wanted = {"data": {"type": "nodes", "id": project, "attributes": {"public": True}}}
        response = self._connection.request(
            "PATCH", self._url, "the project", body=json.dumps(wanted).encode(), kind="application/vnd.api+json"
        )
        self._asked = None
        if response.status_code != 200:
            error = refusal(response, "the project", self._connection.settings.address, of_project=True)
            if isinstance(error, AccessDenied):
                error.hint = f"Only an administrator of the project may make it public: osf.io/{project}/contributors"
            raise error

    def description(self) -> str:
        """Say what opening it opens: this store's files, and all else that is in it."""
        look, folder = self._tree.look(), self._tree.folder
        ours = [entry for entry in look.children(folder) or [] if not entry.is_folder]
        top = folder.partition("/")[0] or ".storage-plugins"
        others = [
            f"{entry.name}/" if entry.is_folder else entry.name
            for entry in look.children("") or []
            if entry.name != top and entry not in ours
        ]
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        beside = f", beside them {', '.join(sorted(others)[:_SHOWN])}{more}" if others else ""
        return (
            f"the whole project {self._title()!r}: the {len(ours)} files of this store with all versions{beside}, "
            "and what else it holds, such as its wiki. Components keep their own visibility."
        )

    def refuse_without_room(self, key: str, size: int) -> None:
        """Refuse before anything is sent what is too large a file, or a larger one where the project is full.

        OSF counts late and takes one upload over the quota; its limits may be others than the usual ones.
        """
        if size > _LARGEST:
            raise QuotaExceeded(
                f"{key} has {size} bytes, and {self._connection.settings.address} takes at most {_LARGEST} in a file",
                hint="Store it in parts.",
            )
        used = self.over_quota() if size >= _WORTH_ASKING else None
        if used is not None:
            raise QuotaExceeded(
                f"{key} does not fit: {self._connection.settings.address} is over its quota ({used} bytes)",
                hint="Use a further component of the project, and read both through a group.",
            )

    def over_quota(self) -> str | None:
        """Return how many bytes are used where OSF says that it is too many; None where it does not."""
        told: Any = None
        with contextlib.suppress(StorageError):  # not told to these credentials, or not counted yet
            told = at(self._get(self._connection, "storage/"), "data", "attributes")
        over = ("OVER_PUBLIC",) if self.is_public() else ("OVER_PRIVATE", "OVER_PUBLIC")
        return str(at(told, "storage_usage")) if at(told, "storage_limit_status") in over else None

    def _ask(self) -> bool:
        """Ask with the token, and as everybody: a token for files alone may not ask."""
        for connection in (self._connection, Connection(self._connection.settings.without_secrets())):
            with contextlib.suppress(AccessDenied):
                return at(self._get(connection), "data", "attributes", "public") is True
        return False

    def _title(self) -> str:
        with contextlib.suppress(AccessDenied):
            return str(at(self._get(self._connection), "data", "attributes", "title"))
        return self._connection.settings.project

    def _get(self, connection: Connection, path: str = "") -> Any:
        response = connection.request("GET", self._url + path, "the project")
        if response.status_code != 200:
            raise refusal(response, "the project", connection.settings.address, of_project=True)
        return connection.json(response, "the project")
