"""The project as a whole: whether it is public, making it public, permissions, and free space."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

from storage_plugins import AccessDenied, QuotaExceeded, StorageError

from .connection import Connection
from .entries import at
from .errors import refusal
from .tree import Tree

_BELIEVED = 60.0  # seconds
_LARGEST = 5_000_000_000  # bytes of a file; the files host itself stops at 4.9 GiB
_WORTH_ASKING = 4 << 20  # bytes: sending less takes no longer than asking whether it fits
_SHOWN = 5


class Project:
    """One project or component. Its components and registrations have a visibility of their own."""

    def __init__(self, connection: Connection, tree: Tree) -> None:
        self._connection, self._tree = connection, tree
        self._url = f"{connection.settings.api_url}nodes/{connection.settings.guid}/"
        self._asked: tuple[float, bool] | None = None

    def is_public(self) -> bool:
        """Whether anyone can read it, as OSF reported within the last minute."""
        known = self._asked
        if known is None or time.monotonic() - known[0] > _BELIEVED:
            known = self._asked = (time.monotonic(), self._ask())
        return known[1]

    def open(self) -> None:
        """Make it public, which its administrators may."""
        project = self._connection.settings.guid
        wanted = {"data": {"type": "nodes", "id": project, "attributes": {"public": True}}}
        response = self._connection.request(
            "PATCH", self._url, "the project", body=json.dumps(wanted).encode(), kind="application/vnd.api+json"
        )
        self._asked = None
        if response.status_code != 200:
            error = refusal(response, "the project", self._connection.address, of_project=True)
            if isinstance(error, AccessDenied):
                error.hint = f"Only administrators of the project can make it public: osf.io/{project}/contributors"
            raise error

    def description(self) -> str:
        """Describe what becomes public with it: this store's files, and everything else in it."""
        look, folder = self._tree.look(), self._tree.folder
        ours = [entry for entry in look.children(folder) or [] if not entry.is_folder]
        top = folder.partition("/")[0] or ".storage-plugins"
        others = [
            f"{entry.name}/" if entry.is_folder else entry.name
            for entry in look.children("") or []
            if entry.name != top and entry not in ours
        ]
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        beside = f", also {', '.join(sorted(others)[:_SHOWN])}{more}" if others else ""
        files = "the 1 file" if len(ours) == 1 else f"the {len(ours)} files"
        return (
            f"the whole project {self._title()!r}: {files} of this store with all versions{beside}, "
            "and everything else in it, such as its wiki. Components keep their own visibility."
        )

    def doi(self) -> str | None:
        """Return the DOI of the project or registration, None if it has none."""
        found = self._connection.project("identifiers/").get("data")
        rows = [at(row, "attributes") for row in found] if isinstance(found, list) else []
        values = [at(row, "value") for row in rows if at(row, "category") == "doi"]
        return next((value for value in values if isinstance(value, str)), None)

    def refuse_too_large(self, key: str, size: int) -> None:
        """Refuse, before anything is sent, a file that OSF cannot take, or a larger one if the project is full.

        OSF updates its count late and accepts one upload over the quota; its limits may differ from the usual ones.
        """
        address = self._connection.address
        if size > _LARGEST:
            raise QuotaExceeded(
                f"{key} has {size} bytes, and {address} takes at most {_LARGEST} in a file",
                hint="Store it in several files.",
            )
        used = self.over_quota() if size >= _WORTH_ASKING else None
        if used is not None:
            raise QuotaExceeded(
                f"{key} does not fit: {address} is over its quota ({used} bytes)",
                hint="Use another component of the project, and read both through a group.",
            )

    def refuse_without_permission(self) -> None:
        """Refuse to send a body again if OSF says that these credentials cannot write.

        OSF refuses before it reads the body; a client that is still sending may see only a broken connection.
        """
        permissions: Any = None
        with contextlib.suppress(StorageError):
            permissions = at(self._connection.project(""), "data", "attributes", "current_user_permissions")
        if isinstance(permissions, list) and "write" not in permissions:
            raise AccessDenied(f"{self._connection.address}: these credentials may read, but not upload")

    def over_quota(self) -> str | None:
        """Return how many bytes are used if OSF reports that it is too many, else None."""
        answer: Any = None
        with contextlib.suppress(StorageError):  # these credentials may not ask, or OSF has not counted yet
            answer = at(self._get(self._connection, "storage/"), "data", "attributes")
        # in rising order; uploads to a private project are refused from OVER_PRIVATE on
        over = ("OVER_PUBLIC",) if self.is_public() else ("OVER_PRIVATE", "APPROACHING_PUBLIC", "OVER_PUBLIC")
        return str(at(answer, "storage_usage")) if at(answer, "storage_limit_status") in over else None

    def _ask(self) -> bool:
        """Ask with the token, and without: a token with few rights may not be allowed to ask."""
        for connection in (self._connection, Connection(self._connection.settings.without_secrets())):
            with contextlib.suppress(AccessDenied):
                return at(self._get(connection), "data", "attributes", "public") is True
        return False

    def _title(self) -> str:
        with contextlib.suppress(AccessDenied):
            return str(at(self._get(self._connection), "data", "attributes", "title"))
        return self._connection.settings.guid

    def _get(self, connection: Connection, path: str = "") -> Any:
        if self._connection.registration:
            return connection.project(path)
        response = connection.request("GET", self._url + path, "the project")
        if response.status_code == 404 and not path:
            return connection.project("")  # a registration
        if response.status_code != 200:
            raise refusal(response, "the project", connection.address, of_project=True)
        return connection.json(response, "the project")
