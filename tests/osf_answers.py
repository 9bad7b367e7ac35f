"""Requests to the stand-in and its answers: what the API, the files host and the storage host have in common."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from osf_host import File, FileVersion, Folder, Node

if TYPE_CHECKING:
    from osf_server import Body, OSFServer


@dataclasses.dataclass(frozen=True)
class Request:
    """One request as it came: ``origin`` is "api", "files" or "storage"; header names are lower-case."""

    origin: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def token(self) -> str | None:
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        return value if kind == "Bearer" else None

    def __str__(self) -> str:
        return f"{self.origin} {self.method} {self.path}"


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""

    @classmethod
    def json(cls, status: int, content: object, **headers: str) -> Self:
        return cls(status, {"Content-Type": "application/json", **headers}, json.dumps(content).encode())


HTML = (200, {"Content-Type": "text/html; charset=utf-8"}, b"<!DOCTYPE html><html><body>Sign in</body></html>")


def answer(server: OSFServer, request: Request, body: Body) -> Answer:
    """Answer one request."""
    import osf_api
    import osf_files_host

    origins = {"api": osf_api.answer, "files": osf_files_host.answer, "storage": osf_files_host.answer_storage}
    return origins[request.origin](server, request, body)


def signature(place: str, expires: float) -> str:
    return hashlib.sha256(f"{place} {expires:.3f} signed".encode()).hexdigest()


def url_of(server: OSFServer, node: Node, item: File | Folder, request: Request) -> str:
    """A link to the files host, with the view-only key that the request came with."""
    url = f"{server.files_url}/v1/resources/{node.id}/providers/osfstorage{item.path}"
    key = request.query.get("view_only")
    return with_query(url, view_only=key) if key and request.origin == "api" else url


def with_query(url: str, **query: str) -> str:
    given = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    return f"{url}{'&' if '?' in url else '?'}{given}" if given else url


def date_of(made: FileVersion | Node) -> str:
    return made.created.isoformat()
