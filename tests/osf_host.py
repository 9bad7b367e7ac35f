"""What OSF holds, for the stand-in: nodes, tokens, folders, files and their versions, and its rules for them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import threading
from datetime import UTC, datetime

MAX_BODY = 5_261_334_937  # WaterButler's default: 4.9 GiB
ROLES = ("none", "read", "write", "admin")


class Refused(Exception):
    """An answer that is not 2xx: status, text, and for a taken name what is there."""

    def __init__(self, status: int, text: str, *, taken: File | Folder | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.taken = status, text, taken


@dataclasses.dataclass(frozen=True)
class FileVersion:
    number: int
    data: bytes
    created: datetime

    @functools.cached_property
    def hashes(self) -> dict[str, str]:
        return {"md5": hashlib.md5(self.data).hexdigest(), "sha256": hashlib.sha256(self.data).hexdigest()}


@dataclasses.dataclass(eq=False)
class Folder:
    id: str
    name: str
    parent: Folder | None
    children: list[File | Folder] = dataclasses.field(default_factory=list)

    @property
    def path(self) -> str:
        return "/" if self.parent is None else f"/{self.id}/"

    @property
    def materialized(self) -> str:
        return "/" if self.parent is None else f"{self.parent.materialized}{self.name}/"

    def files(self, name: str) -> list[File]:
        return [child for child in self.children if isinstance(child, File) and child.name == name]

    def folder(self, name: str) -> Folder | None:
        return next((child for child in self.children if isinstance(child, Folder) and child.name == name), None)


@dataclasses.dataclass(eq=False)
class File:
    id: str
    name: str
    parent: Folder
    versions: list[FileVersion] = dataclasses.field(default_factory=list)  # oldest first

    @property
    def path(self) -> str:
        return f"/{self.id}"

    @property
    def materialized(self) -> str:
        return f"{self.parent.materialized}{self.name}"

    @property
    def newest(self) -> FileVersion:
        return self.versions[-1]


@dataclasses.dataclass
class Node:
    """A project or component.

    Attributes:
        roles: what each user may: "read", "write" or "admin".
        view_only: keys of its view-only links.
        quota: bytes, tested before an upload against ``counted``, the total that OSF keeps.
        count_at_once: whether that total follows each upload; otherwise it lags until somebody sets it.
    """

    id: str
    root: Folder
    public: bool = False
    deleted: bool = False
    title: str = "A project"
    created: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))
    roles: dict[str, str] = dataclasses.field(default_factory=dict)
    view_only: set[str] = dataclasses.field(default_factory=set)
    quota: int = 5 * 10**9
    counted: int = 0
    count_at_once: bool = True


class Host:
    """All nodes, and the tokens of users. Methods change things as OSF does; each is one moment.

    Attributes:
        tokens: user of each token; a token that is not here is a bad one.
        bodies: name and sha256 of every body that arrived whole and was taken.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.tokens: dict[str, str] = {}
        self.unscoped: set[str] = set()
        self.bodies: list[tuple[str, str]] = []
        self._colliding: list[tuple[str, threading.Barrier]] = []
        self._lock = threading.RLock()
        self._ids = itertools.count(0x5F3C_0000)
        self._guids = itertools.count(1)

    def collide(self, name: str) -> None:
        """Let the next two uploads to ``name`` wait for each other after they looked, and again after they wrote.

        They then get the same version number, or make twin files of one name.
        """
        self._colliding = [(name, threading.Barrier(2))] * 2

    def stop_colliding(self) -> None:
        self._colliding = []

    def node(
        self, *, public: bool = False, roles: dict[str, str] | None = None, quota: int = 5 * 10**9, guid: str = ""
    ) -> Node:
        """Make a node; ``roles`` by token: each token becomes a user of its own."""
        for token in roles or {}:
            self.tokens.setdefault(token, f"user of {token[-4:]}")
        guid = guid or f"n{next(self._guids):04d}"
        by_user = {self.tokens[token]: role for token, role in (roles or {}).items()}
        self.nodes[guid] = Node(guid, Folder("", "", None), public=public, roles=by_user, quota=quota)
        return self.nodes[guid]

    def role(self, node: Node, token: str | None, view_only: str | None) -> str:
        """Return what the bearer of a token may do with a node."""
        user = self.tokens.get(token or "")
        role = node.roles.get(user, "none") if user and token not in self.unscoped else "none"
        if role == "none" and (node.public or view_only in node.view_only):
            return "read"
        return role

    def find(self, node: Node, identifier: str) -> File | Folder | None:
        def walk(folder: Folder) -> File | Folder | None:
            for child in list(folder.children):
                if child.id == identifier:
                    return child
                if isinstance(child, Folder) and (found := walk(child)):
                    return found
            return None

        return node.root if identifier == "" else walk(node.root)

    def make_folder(self, parent: Folder, name: str) -> Folder:
        with self._lock:
            there = parent.folder(name)
            if there is not None:
                raise Refused(409, _taken(name), taken=there)
            made = Folder(self._id(), name, parent)
            parent.children.append(made)
            return made

    def refuse_taken(self, parent: Folder, name: str) -> None:
        """What is looked at before the body of a new file is read."""
        if not name or "/" in name:
            raise Refused(400, "Missing required parameter 'name'")
        there = parent.files(name)
        if there:
            raise Refused(409, _taken(name), taken=there[0])

    def create(self, node: Node, parent: Folder, name: str, data: bytes) -> tuple[File, bool]:
        """Keep a new file; if another one came first meanwhile, a new version of that. Also whether it is new."""
        met = self._meeting(name)
        with self._lock:
            there = [] if met else parent.files(name)
            if there:
                return self._append(node, there[0], data, len(there[0].versions) + 1), False
            file = File(self._id(), name, parent)
            self._append(node, file, data, 1)
            parent.children.append(file)
        if met:
            met.wait(10)  # both are written before either is answered
        return file, True

    def update(self, node: Node, file: File, data: bytes) -> File:
        """Keep a new version; none for bytes equal to the newest. Its number is the count and one."""
        number = len(file.versions) + 1
        met = self._meeting(file.name)
        with self._lock:
            self._append(node, file, data, number if met else len(file.versions) + 1)
        if met:
            met.wait(10)
        return file

    def delete(self, item: File | Folder) -> None:
        with self._lock:
            if item.parent is not None:
                item.parent.children.remove(item)

    def put(self, node: Node, path: str, data: bytes) -> File:
        """Keep bytes under a path, going round every request: folders are made, a file gets a new version."""
        *folders, name = path.split("/")
        folder = node.root
        for part in folders:
            folder = folder.folder(part) or self.make_folder(folder, part)
        files = folder.files(name)
        return self.update(node, files[0], data) if files else self.create(node, folder, name, data)[0]

    def get(self, node: Node, path: str) -> list[File]:
        """Return the files of that path, more than one if there are twins."""
        *folders, name = path.split("/")
        folder: Folder | None = node.root
        for part in folders:
            folder = folder.folder(part) if folder else None
        return folder.files(name) if folder else []

    def _append(self, node: Node, file: File, data: bytes, number: int) -> File:
        if node.counted >= node.quota:
            raise Refused(507, "The quota on this osfstorage project has been exceeded")
        self.bodies.append((file.name, hashlib.sha256(data).hexdigest()))
        if not file.versions or file.newest.data != data:
            file.versions.append(FileVersion(number, data, datetime.now(UTC)))
            if node.count_at_once:
                node.counted += len(data)
        return file

    def _meeting(self, name: str) -> threading.Barrier | None:
        with self._lock:
            barrier = self._colliding.pop()[1] if self._colliding and self._colliding[-1][0] == name else None
        if barrier is not None:
            barrier.wait(10)
        return barrier

    def _id(self) -> str:
        return f"{next(self._ids):024x}"


def _taken(name: str) -> str:
    return f'Cannot complete action: file or folder "{name}" already exists in this location'
