"""The stand-in's files host, WaterButler, and the storage host that it redirects downloads to."""

from __future__ import annotations

import hashlib
import json
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from osf_answers import Answer, Request, date_of, signature, url_of, with_query
from osf_host import ROLES, File, FileVersion, Folder, Node, Refused

if TYPE_CHECKING:
    from osf_server import Body, OSFServer


def answer(server: OSFServer, request: Request, body: Body) -> Answer:
    try:
        match = re.fullmatch(r"/v1/resources/(\w+)/providers/osfstorage(/.*)", request.path)
        if not match:
            raise Refused(404, "Could not retrieve file or directory")
        node = _files_node(server, request, match[1], "read" if request.method in ("GET", "HEAD") else "write")
        folder = match[2].endswith("/")
        item = server.host.find(node, match[2].strip("/"))
        if item is None or isinstance(item, Folder) != folder:
            return Answer.json(404, {"code": 404, "message": f"Could not retrieve file or directory {match[2]}"})
        if isinstance(item, File):
            _asked_for(server, item, request.query)
        return {"GET": _get, "HEAD": _head, "PUT": _put, "POST": _post, "DELETE": _delete}[request.method](
            server, request, body, node, item
        )
    except Refused as refusal:
        if refusal.page:
            return Answer.json(refusal.status, {"response": refusal.text})
        if refusal.taken is not None:
            data = _entity(server, node, refusal.taken, request) if isinstance(refusal.taken, File) else {}
            return Answer.json(409, {"message": refusal.text, "data": data})
        if refusal.reason is not None or refusal.status in (403, 404, 410):
            content: dict[str, Any] = {"message_short": refusal.text, "message_long": refusal.reason or ""}
            return Answer.json(refusal.status, {"code": refusal.status, **content, "referrer": None})
        return Answer.json(refusal.status, {"code": refusal.status, "message": refusal.text})


def _files_node(server: OSFServer, request: Request, guid: str, need: str) -> Node:
    node = server.host.nodes.get(guid)
    if node is None:
        raise Refused(404, "Page not found")
    if node.deleted:
        raise Refused(410, "Resource deleted")
    role = server.host.role(node, request.token, request.query.get("view_only"))
    if ROLES.index(role) < ROLES.index(need):
        reason = 'You do not have permission. Please report it to <a href="mailto:support@osf.io">support@osf.io</a>.'
        raise Refused(403, "Forbidden", reason=reason)  # whatever the reason
    if node.registration and need == "write" and request.method != "PUT":
        raise Refused(400, "Bad request", reason="Registrations cannot be changed.")
    return node


def _get(server: OSFServer, request: Request, body: Body, node: Node, item: File | Folder) -> Answer:
    query = request.query
    if isinstance(item, Folder):
        children = [_entity(server, node, child, request, newest_size=True) for child in list(item.children)]
        return Answer.json(200, {"data": children})
    contributor = server.host.tokens.get(request.token or "") in node.roles
    if "meta" not in query and "revisions" not in query and not contributor:
        item.downloads += 1
    if "versions" in query or "revisions" in query:
        return Answer.json(200, {"data": _rows(item, hide=query.get("view_only") in node.anonymous)})
    if "meta" in query:  # whatever version= says
        return Answer.json(200, {"data": _entity(server, node, item, request)})
    version = _asked_for(server, item, query)
    if server.behaviour.redirect:
        expires = time.time() + server.behaviour.link_lifetime
        place = f"{node.id}/{item.id}/{item.versions.index(version)}"
        name = quote(f'attachment; filename="{item.name}"')
        signed = f"response-content-disposition={name}&Expires={expires:.3f}&Signature={signature(place, expires)}"
        return Answer(302, {"Location": f"{server.storage_url}/{place}?{signed}"})
    return _ranged(server, request, version.data, item.name, open_ranges=False)


def _asked_for(server: OSFServer, file: File, query: dict[str, str]) -> FileVersion:
    """Look up the one version whose stored number is asked for, else the count, as each request to a file does."""
    wanted = query.get("version", query.get("revision", str(len(file.versions))))
    found = [version for version in file.versions if str(version.number) == wanted]
    if not found:
        raise Refused(server.behaviour.unknown_version, "Bad request", reason="The version was not found.")
    if len(found) > 1:
        raise Refused(500, "<html><h1>Server Error</h1>MultipleObjectsReturned</html>", page=True)
    return found[0]


def _head(server: OSFServer, request: Request, body: Body, node: Node, item: File | Folder) -> Answer:
    if isinstance(item, Folder):
        raise Refused(501, "Not implemented")
    metadata = json.dumps(_entity(server, node, item, request))
    return Answer(200, {"Content-Length": str(len(item.versions[0].data)), "X-Waterbutler-Metadata": metadata})


def _put(server: OSFServer, request: Request, body: Body, node: Node, item: File | Folder) -> Answer:
    query, host = request.query, server.host
    user = host.tokens.get(request.token or "")
    if query.get("kind") == "folder":
        if body.length:
            raise Refused(413, "Folder creation requests may not have a body")
        if isinstance(item, File):
            raise Refused(400, "not a folder")
        if node.registration:
            raise Refused(400, "Bad request", reason="Registrations cannot be changed.")
        host.refuse_taken(item, query.get("name", ""), folder=True)
        made = host.make_folder(item, query["name"])
        return Answer.json(201, {"data": _entity(server, node, made, request)})
    if "content-length" not in request.headers:
        raise Refused(411, "Content-Length is required for file uploads")
    if body.length > server.behaviour.max_body:
        return Answer(400, {"Connection": "close"})
    if isinstance(item, Folder):
        host.refuse_taken(item, query.get("name", ""))
        file, new = host.upload(node, item, query["name"], body.read(), user)
        return Answer.json(201 if new else 200, {"data": _entity(server, node, file, request, newest_size=True)})
    if "name" in query:
        raise Refused(400, "'name' parameter doesn't apply to actions on files")
    file, _ = host.upload(node, item.parent, item.name, body.read(), user)
    return Answer.json(200, {"data": _entity(server, node, file, request, newest_size=True)})


def _post(server: OSFServer, request: Request, body: Body, node: Node, item: File | Folder) -> Answer:
    """Rename or move within the project."""
    wanted = json.loads(body.read())
    if wanted["action"] == "rename":
        target = item.parent
    elif wanted["action"] == "move" and str(wanted["path"]).endswith("/"):
        target = server.host.find(node, wanted["path"].strip("/"))
    else:
        raise Refused(400, "action must be copy, move or rename")
    if not isinstance(target, Folder) or item is node.root:
        raise Refused(404, "Could not retrieve file or directory")
    name = wanted.get("rename") or item.name
    server.host.refuse_taken(target, name, folder=isinstance(item, Folder))
    server.host.move(item, target, name)
    return Answer.json(201, {"data": _entity(server, node, item, request, newest_size=True)})


def _delete(server: OSFServer, request: Request, body: Body, node: Node, item: File | Folder) -> Answer:
    if item is node.root:
        raise Refused(400, "confirm_delete=1 is required")
    server.host.delete(item, server.host.tokens.get(request.token or ""))
    return Answer(204, {})


def _entity(
    server: OSFServer, node: Node, item: File | Folder, request: Request, *, newest_size: bool = False
) -> dict[str, Any]:
    """Describe an item: number and hashes of the newest version, and unless ``newest_size`` the oldest's size."""
    url = url_of(server, node, item, request)
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
    links = {
        "move": url,
        "upload": with_query(url, kind="file"),
        "delete": url,
        "new_folder": with_query(url, kind="folder"),
    }
    if isinstance(item, File):
        newest = item.newest
        size = len((newest if newest_size else item.versions[0]).data)
        etag = hashlib.sha256(f"osfstorage::{len(item.versions)}::{item.path}".encode()).hexdigest()
        attributes |= {
            "extra": {"guid": None, "version": len(item.versions), "downloads": 0, "hashes": newest.hashes},
            "kind": "file",
            "etag": etag,
            "modified_utc": date_of(newest),
            "size": size,
            "sizeInt": size,
        }
        del links["new_folder"]
        links["download"] = url
    return {"id": f"osfstorage{item.path}", "type": "files", "attributes": attributes, "links": links}


def _rows(file: File, *, hide: bool) -> list[dict[str, Any]]:
    """Newest first, numbered by position, with hashes, without size; of an anonymised link without the user."""
    rows = []
    for position, version in reversed(list(enumerate(file.versions, 1))):
        user = None if hide else {"name": "A Person", "url": "https://osf.io/user/"}
        attributes = {
            "version": str(position),
            "versionIdentifier": "version",
            "modified_utc": date_of(version),
            "extra": {"user": user, "downloads": 0, "hashes": version.hashes},
        }
        rows.append({"id": str(position), "type": "file_versions", "attributes": attributes})
    return rows


# the storage host


def answer_storage(server: OSFServer, request: Request, body: Body) -> Answer:
    node_id, file_id, index = request.path.strip("/").split("/")
    node = server.host.nodes[node_id]
    expires = float(request.query.get("Expires", 0))
    if "authorization" in request.headers or "content-type" in request.headers:
        return Answer(400, {"Content-Type": "application/xml"}, b"<Error><Code>InvalidArgument</Code></Error>")
    if request.query.get("Signature") != signature(request.path.strip("/"), expires):
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
