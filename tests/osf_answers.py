"""The stand-in's answers: which request of which origin gets what, in OSF's own shapes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from osf_host import ROLES, File, FileVersion, Folder, Node, Refused

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
    return {"api": _api, "files": _files, "storage": _storage}[request.origin](server, request, body)


# the API


def _api(server: OSFServer, request: Request, body: Body) -> Answer:
    try:
        if not request.path.endswith("/"):
            return Answer(301, {"Location": request.path + "/"})
        for pattern, respond in _API:
            match = re.fullmatch(pattern, request.path)
            if match:
                return respond(server, request, body, *match.groups())
        raise Refused(404, "Not found.")
    except Refused as refusal:
        errors = [{"detail": refusal.text}]
        content = {"errors": errors, "meta": {"version": "2.20"}}
        headers = {"WWW-Authenticate": 'Documentation realm="api"'} if refusal.status == 401 else {}
        return Answer.json(refusal.status, content, **headers)


def _api_node(server: OSFServer, request: Request, guid: str, need: str = "read") -> Node:
    node = server.host.nodes.get(guid)
    if request.token is not None and request.token not in server.host.tokens:
        raise Refused(401, "User provided an invalid OAuth2 access token")
    if request.token in server.host.unscoped:
        raise Refused(403, "The user has not authorized access to this view.")
    if node is None:
        raise Refused(404, "Not found.")
    if node.deleted:
        raise Refused(410, "The requested node is no longer available.")
    role = server.host.role(node, request.token, request.query.get("view_only"))
    if ROLES.index(role) < ROLES.index(need):
        if request.token is None:
            raise Refused(401, "Authentication credentials were not provided.")
        raise Refused(403, "You do not have permission to perform this action.")
    return node


def _node(server: OSFServer, request: Request, body: Body, guid: str) -> Answer:
    node = _api_node(server, request, guid, "read" if request.method == "GET" else "admin")
    if request.method == "PATCH":
        node.public = bool(json.loads(body.read())["data"]["attributes"]["public"])
    elif request.method == "DELETE":
        node.deleted = True
        return Answer(204, {})
    role = server.host.role(node, request.token, None)
    files = f"{server.api_url}nodes/{guid}/files/"
    return _document(
        {
            "id": guid,
            "type": "nodes",
            "attributes": {
                "title": node.title,
                "description": "",
                "category": "data",
                "date_created": _date(node),
                "date_modified": _date(node),
                "public": node.public,
                "current_user_permissions": list(ROLES[1 : ROLES.index(role) + 1]),
            },
            "relationships": {"files": {"links": {"related": {"href": files}}}},
            "links": {"self": f"{server.api_url}nodes/{guid}/"},
        }
    )


def _providers(server: OSFServer, request: Request, body: Body, guid: str) -> Answer:
    node = _api_node(server, request, guid)
    related = f"{server.api_url}nodes/{guid}/files/osfstorage/"
    url = _url(server, node, node.root, request)
    row = {
        "id": f"{guid}:osfstorage",
        "type": "files",
        "attributes": {"provider": "osfstorage", "name": "osfstorage", "kind": "folder", "path": "/", "node": guid},
        "links": {"upload": url, "new_folder": _with(url, kind="folder")},
        "relationships": {"files": {"links": {"related": {"href": related}}}},
    }
    return _document([row], links={"next": None}, meta={"total": 1, "per_page": 10, "version": "2.20"})


def _listing(server: OSFServer, request: Request, body: Body, guid: str, folder_id: str = "") -> Answer:
    node = _api_node(server, request, guid)
    folder = server.host.find(node, folder_id)
    if not isinstance(folder, Folder):
        raise Refused(404, "Not found.")
    rows = [_api_entity(server, node, child, request) for child in folder.children]
    wanted = request.query.get("filter[name][eq]")
    if wanted is not None:
        rows = [row for row in rows if row["attributes"]["name"] == wanted]
    return _page(server, request, rows)


def _page(server: OSFServer, request: Request, rows: list[Any]) -> Answer:
    size = min(int(request.query.get("page[size]", server.behaviour.page_size)), 100)
    number, total = int(request.query.get("page", 1)), len(rows)
    if request.query.get("sort") == "id":
        rows = sorted(rows, key=lambda row: row["id"])
    elif not server.behaviour.sound_pages and total > size:
        rows = random.Random(number).sample(rows, total)
    following = None
    if number * size < total:
        following = f"{server.api_url[:-4]}{request.path}?page[size]={size}&page={number + 1}"
    meta = {"total": total, "per_page": size, "version": "2.20"}
    return _document(rows[(number - 1) * size : number * size], links={"next": following}, meta=meta)


def _api_file(server: OSFServer, request: Request, file_id: str) -> tuple[Node, File]:
    for node in server.host.nodes.values():
        found = server.host.find(node, file_id)
        if isinstance(found, File):
            return _api_node(server, request, node.id), found
    raise Refused(410, "The requested file is no longer available.")


def _file(server: OSFServer, request: Request, body: Body, file_id: str) -> Answer:
    return _document(_api_entity(server, *_api_file(server, request, file_id), request))


def _file_versions(server: OSFServer, request: Request, body: Body, file_id: str) -> Answer:
    """With sizes, without hashes."""
    _, file = _api_file(server, request, file_id)
    rows = [
        {
            "id": str(version.number),
            "type": "file-versions",
            "attributes": {"size": len(version.data), "date_created": _date(version), "name": file.name},
        }
        for version in reversed(file.versions)
    ]
    return _page(server, request, rows)


def _usage(server: OSFServer, request: Request, body: Body, guid: str) -> Answer:
    node = _api_node(server, request, guid, "write")
    status = "OVER_PRIVATE" if node.counted >= node.quota else "DEFAULT"
    return _document({"id": guid, "attributes": {"storage_usage": str(node.counted), "storage_limit_status": status}})


def _guid(server: OSFServer, request: Request, body: Body, guid: str) -> Answer:
    if guid not in server.host.nodes:
        raise Refused(404, "Not found.")
    if request.query.get("resolve") == "false":
        return _document({"id": guid, "type": "guids"})
    return Answer(302, {"Location": f"{server.api_url}nodes/{guid}/"})


def _web_download(server: OSFServer, request: Request, body: Body, file_id: str) -> Answer:
    try:
        node, file = _api_file(server, request, file_id)
    except Refused:
        return Answer(*HTML)  # the login page
    revision = request.query.get("revision")
    return Answer(
        302, {"Location": _with(_url(server, node, file, request), **({"version": revision} if revision else {}))}
    )


_API: list[tuple[str, Callable[..., Answer]]] = [
    (r"/v2/nodes/(\w+)/", _node),
    (r"/v2/nodes/(\w+)/files/", _providers),
    (r"/v2/nodes/(\w+)/files/osfstorage/", _listing),
    (r"/v2/nodes/(\w+)/files/osfstorage/(\w+)/", _listing),
    (r"/v2/nodes/(\w+)/storage/", _usage),
    (r"/v2/files/(\w+)/", _file),
    (r"/v2/files/(\w+)/versions/", _file_versions),
    (r"/v2/guids/(\w+)/", _guid),
    (r"/download/(\w+)/", _web_download),
]


def _document(data: object, **more: object) -> Answer:
    return Answer.json(200, {"data": data, "meta": {"version": "2.20"}, **more})


def _api_entity(server: OSFServer, node: Node, item: File | Folder, request: Request) -> dict[str, Any]:
    url = _url(server, node, item, request)
    attributes: dict[str, Any] = {
        "name": item.name,
        "kind": "folder",
        "path": item.path,
        "size": None,
        "provider": "osfstorage",
        "materialized_path": item.materialized,
        "date_created": None,
        "date_modified": None,
        "extra": {"hashes": {"md5": None, "sha256": None}},
    }
    links = {"upload": url, "move": url, "delete": url, "self": f"{server.api_url}files/{item.id}/"}
    relationships = {}
    if isinstance(item, File):
        attributes |= {
            "guid": None,
            "kind": "file",
            "size": len(item.newest.data),
            "current_version": len(item.versions),
            "date_created": _date(item.versions[0]),
            "date_modified": _date(item.newest),
            "extra": {"hashes": item.newest.hashes, "downloads": 0},
        }
        links["download"] = f"{server.api_url[:-4]}/download/{item.id}/"
        links["html"] = f"{server.api_url[:-4]}/{node.id}/files/osfstorage/{item.id}"
    else:
        links["new_folder"] = _with(url, kind="folder")
        related = f"{server.api_url}nodes/{node.id}/files/osfstorage/{item.id}/"
        relationships = {"files": {"links": {"related": {"href": related}}}}
    return {
        "id": item.id,
        "type": "files",
        "attributes": attributes,
        "links": links,
        "relationships": relationships,
    }


# the files host


def _files(server: OSFServer, request: Request, body: Body) -> Answer:
    try:
        match = re.fullmatch(r"/v1/resources/(\w+)/providers/osfstorage(/.*)", request.path)
        if not match:
            raise Refused(404, "Could not retrieve file or directory")
        node = _files_node(server, request, match[1], "read" if request.method in ("GET", "HEAD") else "write")
        folder = match[2].endswith("/")
        item = server.host.find(node, match[2].strip("/"))
        if item is None or isinstance(item, Folder) != folder:
            return Answer.json(404, {"code": 404, "message": f"Could not retrieve file or directory {match[2]}"})
        return {"GET": _get, "HEAD": _head, "PUT": _put, "DELETE": _delete}[request.method](
            server, request, body, node, item
        )
    except Refused as refusal:
        if refusal.status == 409:
            data = _entity(server, node, refusal.taken, request) if isinstance(refusal.taken, File) else {}
            return Answer.json(409, {"message": refusal.text, "data": data})
        if refusal.status in (403, 404, 410) or request.query.get("version"):
            content: dict[str, Any] = {"message_short": refusal.text, "message_long": "", "referrer": None}
            return Answer.json(refusal.status, {"code": refusal.status, **content})
        return Answer.json(refusal.status, {"code": refusal.status, "message": refusal.text})


def _files_node(server: OSFServer, request: Request, guid: str, need: str) -> Node:
    node = server.host.nodes.get(guid)
    if node is None:
        raise Refused(404, "Page not found")
    if node.deleted:
        raise Refused(410, "Resource deleted")
    role = server.host.role(node, request.token, request.query.get("view_only"))
    if ROLES.index(role) < ROLES.index(need):
        raise Refused(403, "Forbidden")  # whatever the reason
    return node


def _get(server: OSFServer, request: Request, body: Body, node: Node, item: File | Folder) -> Answer:
    query = request.query
    if isinstance(item, Folder):
        return Answer.json(200, {"data": [_entity(server, node, child, request) for child in item.children]})
    if "versions" in query or "revisions" in query:
        return Answer.json(200, {"data": [_row(version) for version in reversed(item.versions)]})
    if "meta" in query:  # whatever version= says
        return Answer.json(200, {"data": _entity(server, node, item, request)})
    version = _asked_for(server, item, query)
    if server.behaviour.redirect:
        expires = time.time() + server.behaviour.link_lifetime
        place = f"{node.id}/{item.id}/{item.versions.index(version)}"
        name = quote(f'attachment; filename="{item.name}"')
        signed = f"response-content-disposition={name}&Expires={expires:.3f}&Signature={_signature(place, expires)}"
        return Answer(302, {"Location": f"{server.storage_url}/{place}?{signed}"})
    return _ranged(server, request, version.data, item.name, open_ranges=False)


def _asked_for(server: OSFServer, file: File, query: dict[str, str]) -> FileVersion:
    wanted = query.get("version", query.get("revision"))
    if wanted is None:
        return file.newest
    for version in reversed(file.versions):
        if str(version.number) == wanted:
            return version
    raise Refused(server.behaviour.unknown_version, "Bad request")


def _head(server: OSFServer, request: Request, body: Body, node: Node, item: File | Folder) -> Answer:
    if isinstance(item, Folder):
        raise Refused(501, "Not implemented")
    metadata = json.dumps(_entity(server, node, item, request))
    return Answer(200, {"Content-Length": str(len(item.newest.data)), "X-Waterbutler-Metadata": metadata})


def _put(server: OSFServer, request: Request, body: Body, node: Node, item: File | Folder) -> Answer:
    query, host = request.query, server.host
    if query.get("kind") == "folder":
        if body.length:
            raise Refused(413, "Folder creation requests may not have a body")
        made = host.make_folder(item, query.get("name", "")) if isinstance(item, Folder) else None
        if made is None:
            raise Refused(400, "not a folder")
        return Answer.json(201, {"data": _entity(server, node, made, request)})
    if "content-length" not in request.headers:
        raise Refused(411, "Content-Length is required for file uploads")
    if body.length > server.behaviour.max_body:
        return Answer(400, {"Connection": "close"})
    if isinstance(item, Folder):
        host.refuse_taken(item, query.get("name", ""))
        file, new = host.create(node, item, query["name"], body.read())
        return Answer.json(201 if new else 200, {"data": _entity(server, node, file, request)})
    if "name" in query:
        raise Refused(400, "'name' parameter doesn't apply to actions on files")
    host.update(node, item, body.read())
    return Answer.json(200, {"data": _entity(server, node, item, request)})


def _delete(server: OSFServer, request: Request, body: Body, node: Node, item: File | Folder) -> Answer:
    if item is node.root:
        raise Refused(400, "confirm_delete=1 is required")
    server.host.delete(item)
    return Answer(204, {})


def _entity(server: OSFServer, node: Node, item: File | Folder, request: Request) -> dict[str, Any]:
    url = _url(server, node, item, request)
    attributes: dict[str, Any] = {
        "extra": {},
        "kind": "folder",
        "name": item.name,
        "path": item.path,
        "provider": "osfstorage",
        "materialized": item.materialized,
        "size": None,
        "sizeInt": None,
        "resource": node.id,
    }
    links = {"move": url, "upload": _with(url, kind="file"), "delete": url, "new_folder": _with(url, kind="folder")}
    if isinstance(item, File):
        newest = item.newest
        etag = hashlib.sha256(f"osfstorage::{len(item.versions)}::{item.path}".encode()).hexdigest()
        attributes |= {
            "extra": {"guid": None, "version": newest.number, "downloads": 0, "hashes": newest.hashes},
            "kind": "file",
            "etag": etag,
            "modified_utc": _date(newest),
            "size": len(newest.data),
            "sizeInt": len(newest.data),
        }
        del links["new_folder"]
        links["download"] = url
    return {"id": f"osfstorage{item.path}", "type": "files", "attributes": attributes, "links": links}


def _row(version: FileVersion) -> dict[str, Any]:
    """With hashes, without size."""
    attributes = {
        "version": str(version.number),
        "versionIdentifier": "version",
        "modified_utc": _date(version),
        "extra": {"user": None, "downloads": 0, "hashes": version.hashes},
    }
    return {"id": str(version.number), "type": "file_versions", "attributes": attributes}


# the storage host


def _storage(server: OSFServer, request: Request, body: Body) -> Answer:
    node_id, file_id, index = request.path.strip("/").split("/")
    node = server.host.nodes[node_id]
    expires = float(request.query.get("Expires", 0))
    if "authorization" in request.headers or "content-type" in request.headers:
        return Answer(400, {"Content-Type": "application/xml"}, b"<Error><Code>InvalidArgument</Code></Error>")
    if request.query.get("Signature") != _signature(request.path.strip("/"), expires):
        return Answer(403, {"Content-Type": "application/xml"}, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
    if time.time() >= expires:
        return Answer(400, {"Content-Type": "application/xml"}, b"<Error><Code>ExpiredToken</Code></Error>")
    file = server.host.find(node, file_id)
    if not isinstance(file, File):
        return Answer(404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>")
    return _ranged(server, request, file.versions[int(index)].data, file.name, open_ranges=True)


def _ranged(server: OSFServer, request: Request, data: bytes, name: str, *, open_ranges: bool) -> Answer:
    headers = {"Content-Type": "application/octet-stream", "Content-Disposition": f'attachment; filename="{name}"'}
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not match or not server.behaviour.honours_ranges or (not match[2] and not open_ranges):
        return Answer(200, headers, data)
    start, stop = int(match[1]), int(match[2] or len(data) - 1) + 1
    if start >= len(data):
        return Answer(416, {"Content-Range": f"bytes */{len(data)}"}) if open_ranges else Answer(200, headers, data)
    if stop > len(data) and not open_ranges:  # what WaterButler does: the length is a lie
        return Answer(206, {**headers, "Content-Length": str(stop - start)}, data[start:])
    stop = min(stop, len(data))
    return Answer(206, {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}, data[start:stop])


def _signature(place: str, expires: float) -> str:
    return hashlib.sha256(f"{place} {expires:.3f} signed".encode()).hexdigest()


def _url(server: OSFServer, node: Node, item: File | Folder, request: Request) -> str:
    """A link to the files host, with the view-only key that the request came with."""
    url = f"{server.files_url}/v1/resources/{node.id}/providers/osfstorage{item.path}"
    key = request.query.get("view_only")
    return _with(url, view_only=key) if key and request.origin == "api" else url


def _with(url: str, **query: str) -> str:
    given = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    return f"{url}{'&' if '?' in url else '?'}{given}" if given else url


def _date(made: FileVersion | Node) -> str:
    return made.created.isoformat()
