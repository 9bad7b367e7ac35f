"""The stand-in's API v2, in OSF's own shapes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osf_answers import HTML, Answer, Request, date_of, url_of, with_query
from osf_host import ROLES, File, Folder, Node, Refused

if TYPE_CHECKING:
    from osf_server import Body, OSFServer


def answer(server: OSFServer, request: Request, body: Body) -> Answer:
    try:
        if not request.path.endswith("/"):
            return Answer(301, {"Location": request.path + "/"})
        if _is_throttled(server, request):
            raise Refused(429, "Request was throttled. Expected available in 3600 seconds.")
        for pattern, respond in _API:
            match = re.fullmatch(pattern, request.path)
            if match:
                return respond(server, request, body, *match.groups())
        raise Refused(404, "Not found.")
    except Refused as refusal:
        errors = [{"detail": refusal.text}]
        content = {"errors": errors, "meta": {"version": "2.20"}}
        headers = {401: {"WWW-Authenticate": 'Documentation realm="api"'}, 429: {"Retry-After": "3600"}}
        return Answer.json(refusal.status, content, **headers.get(refusal.status, {}))


def _is_throttled(server: OSFServer, request: Request) -> bool:
    limit = server.behaviour.anonymous_requests
    asked = [one for one in server.requests if one.origin == "api" and one.token is None]
    return limit is not None and request.token is None and len(asked) > limit


def _api_node(server: OSFServer, request: Request, guid: str, need: str = "read") -> Node:
    node = server.host.nodes.get(guid)
    if node is not None and node.registration != request.path.startswith("/v2/registrations/"):
        node = None if request.path.startswith(("/v2/nodes/", "/v2/registrations/")) else node
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
    kind = "registrations" if node.registration else "nodes"
    attributes: dict[str, Any] = {
        "title": node.title,
        "description": "",
        "category": "data",
        "date_created": date_of(node),
        "date_modified": date_of(node),
        "public": node.public,
        "registration": node.registration,
    }
    relationships = {}
    if request.query.get("view_only") not in node.anonymous:  # else they are left out
        attributes["current_user_permissions"] = list(ROLES[1 : ROLES.index(role) + 1])
        related = f"{server.api_url}{kind}/{guid}/files/"
        relationships = {"files": {"links": {"related": {"href": related}}}}
    links = {"self": f"{server.api_url}{kind}/{guid}/"}
    row = {"id": guid, "type": kind, "attributes": attributes, "relationships": relationships, "links": links}
    return _document(row)


def _providers(server: OSFServer, request: Request, body: Body, guid: str) -> Answer:
    node = _api_node(server, request, guid)
    related = f"{server.api_url}{'registrations' if node.registration else 'nodes'}/{guid}/files/osfstorage/"
    url = url_of(server, node, node.root, request)
    row = {
        "id": f"{guid}:osfstorage",
        "type": "files",
        "attributes": {"provider": "osfstorage", "name": "osfstorage", "kind": "folder", "path": "/", "node": guid},
        "links": {"upload": url, "new_folder": with_query(url, kind="folder")},
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
    elif request.query.get("sort") == "-date_created":
        rows = sorted(rows, key=lambda row: row["attributes"]["date_created"], reverse=True)
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
    """By stored number, with sizes, without hashes; whatever numbers there are."""
    _, file = _api_file(server, request, file_id)
    rows = [
        {
            "id": str(version.number),
            "type": "file-versions",
            "attributes": {"size": len(version.data), "date_created": date_of(version), "name": file.name},
        }
        for version in reversed(file.versions)
    ]
    return _page(server, request, rows)


def _usage(server: OSFServer, request: Request, body: Body, guid: str) -> Answer:
    node = _api_node(server, request, guid, "write")
    status = "OVER_PRIVATE" if node.counted >= node.quota else "DEFAULT"
    return _document({"id": guid, "attributes": {"storage_usage": str(node.counted), "storage_limit_status": status}})


def _identifiers(server: OSFServer, request: Request, body: Body, guid: str) -> Answer:
    node = _api_node(server, request, guid)
    rows = [{"type": "identifiers", "attributes": {"category": "ark", "value": "c7605/osf.io/abc"}}] if node.doi else []
    if node.doi:
        rows.append({"type": "identifiers", "attributes": {"category": "doi", "value": node.doi}})
    return _document(rows)


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
        302,
        {"Location": with_query(url_of(server, node, file, request), **({"version": revision} if revision else {}))},
    )


_API: list[tuple[str, Callable[..., Answer]]] = [
    (r"/v2/(?:nodes|registrations)/(\w+)/", _node),
    (r"/v2/(?:nodes|registrations)/(\w+)/files/", _providers),
    (r"/v2/(?:nodes|registrations)/(\w+)/files/osfstorage/", _listing),
    (r"/v2/(?:nodes|registrations)/(\w+)/files/osfstorage/(\w+)/", _listing),
    (r"/v2/(?:nodes|registrations)/(\w+)/identifiers/", _identifiers),
    (r"/v2/nodes/(\w+)/storage/", _usage),
    (r"/v2/files/(\w+)/", _file),
    (r"/v2/files/(\w+)/versions/", _file_versions),
    (r"/v2/guids/(\w+)/", _guid),
    (r"/download/(\w+)/", _web_download),
]


def _document(data: object, **more: object) -> Answer:
    return Answer.json(200, {"data": data, "meta": {"version": "2.20"}, **more})


def _api_entity(server: OSFServer, node: Node, item: File | Folder, request: Request) -> dict[str, Any]:
    url = url_of(server, node, item, request)
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
            "date_created": date_of(item.versions[0]),
            "date_modified": date_of(item.newest),
            "extra": {"hashes": item.newest.hashes, "downloads": item.downloads},
        }
        links["download"] = f"{server.api_url[:-4]}/download/{item.id}/"
        links["html"] = f"{server.api_url[:-4]}/{node.id}/files/osfstorage/{item.id}"
    else:
        links["new_folder"] = with_query(url, kind="folder")
        related = f"{server.api_url}nodes/{node.id}/files/osfstorage/{item.id}/"
        relationships = {"files": {"links": {"related": {"href": related}}}}
    return {
        "id": item.id,
        "type": "files",
        "attributes": attributes,
        "links": links,
        "relationships": relationships,
    }
