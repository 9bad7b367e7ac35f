"""What OSF stores, for the stand-in: nodes, tokens, folders, files and their versions, and OSF's rules for them.

Each write is one database transaction without a lock or a unique key: it looks, and some time later it commits.
What two transactions saw before either committed is what both go by, so they make twins, or two versions of one
number. `Host.window` is the time between; `Host.collide` makes two uploads wait for each other there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

MAX_BODY = 5_261_334_937  # WaterButler's default: 4.9 GiB
ROLES = ("none", "read", "write", "admin")
CHECKED_OUT = "File cannot be updated due to checkout status."
ARCHIVE = "Archive of OSF Storage"


class Refused(Exception):
    """An answer that is not 2xx.

    Attributes:
        status: its status.
        text: what it says.
        taken: for a taken name, what has it; the files host found it.
        reason: what OSF says itself, as the files host passes it on.
        page: whether the text is a web page.
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        taken: File | Folder | None = None,
        reason: str | None = None,
        page: bool = False,
    ) -> None:
        super().__init__(text)
        self.status, self.text, self.taken, self.reason, self.page = status, text, taken, reason, page


@dataclasses.dataclass(frozen=True)
class FileVersion:
    """One version: ``number`` is the stored one, the count of versions and one at the moment of the look."""

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

    def folders(self, name: str) -> list[Folder]:
        return [child for child in self.children if isinstance(child, Folder) and child.name == name]

    def folder(self, name: str) -> Folder | None:
        return min(self.folders(name), key=lambda folder: folder.id, default=None)


@dataclasses.dataclass(eq=False)
class File:
    id: str
    name: str
    parent: Folder
    versions: list[FileVersion] = dataclasses.field(default_factory=list)  # oldest first
    checkout: str | None = None  # the user who has checked it out
    downloads: int = 0  # what the owner's statistics show

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
    """A project, component or registration.

    Attributes:
        roles: what each user may: "read", "write" or "admin".
        view_only: keys of its view-only links; those in ``anonymous`` hide who did what.
        quota: bytes, tested before an upload against ``counted``, the total that OSF keeps.
        count_at_once: whether that total follows each upload; otherwise it lags until somebody sets it.
        registration: whether it is one: its files are below `ARCHIVE`, and it takes no writes.
        doi: its DOI, which an administrator has made.
    """

    id: str
    root: Folder
    public: bool = False
    deleted: bool = False
    title: str = "A project"
    created: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))
    roles: dict[str, str] = dataclasses.field(default_factory=dict)
    view_only: set[str] = dataclasses.field(default_factory=set)
    anonymous: set[str] = dataclasses.field(default_factory=set)
    quota: int = 5 * 10**9
    counted: int = 0
    count_at_once: bool = True
    registration: bool = False
    doi: str | None = None


class Host:
    """All nodes, and the tokens of users.

    Attributes:
        tokens: user of each token; a token that is not here is a bad one.
        bodies: name and sha256 of every body that arrived whole and was taken.
        window: seconds from a transaction's look to its commit.
        twins: the path of each file or folder that was made beside one of its name.
        collisions: the path of each file that got two versions of one number, once for each.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.tokens: dict[str, str] = {}
        self.unscoped: set[str] = set()
        self.bodies: list[tuple[str, str]] = []
        self.window = 0.0
        self.twins: list[str] = []
        self.collisions: list[str] = []
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

    def register(self, node: Node, *, public: bool = True) -> Node:
        """Make a registration of a node: all files are copied, with their versions, under new ids."""
        made = self.node(public=public)
        made.roles, made.registration = dict(node.roles), True
        archive = self.make_folder(made.root, ARCHIVE)
        for child in node.root.children:
            self._copy(child, archive, child.name)
        return made

    def role(self, node: Node, token: str | None, view_only: str | None) -> str:
        """Return what the bearer of a token may do with a node."""
        user = self.tokens.get(token or "")
        role = node.roles.get(user, "none") if user and token not in self.unscoped else "none"
        if role == "none" and (node.public or view_only in node.view_only | node.anonymous):
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

    # writes: a look, the window, a commit

    def make_folder(self, parent: Folder, name: str) -> Folder:
        """Make a folder, beside another one of its name if that came after the look."""
        with self._transaction(name) as commit:
            there = parent.folders(name)
            if there:
                raise Refused(409, "Unable to resolve", reason=f'Cannot create folder "{name}", because it exists')
            with commit:
                self._note_twin(parent, parent.folders(name), name)
                made = Folder(self._id(), name, parent)
                parent.children.append(made)
        return made

    def refuse_taken(self, parent: Folder, name: str, *, folder: bool = False) -> None:
        """Do what the files host does before it reads a body or makes a folder: look for the name."""
        if not name or "/" in name:
            raise Refused(400, "Missing required parameter 'name'")
        there = parent.folders(name) if folder else parent.files(name)
        if there:
            raise Refused(409, _taken(name), taken=there[0])

    def upload(self, node: Node, parent: Folder, name: str, data: bytes, user: str | None = None) -> tuple[File, bool]:
        """Store a file, or a new version of the one of that name. Return it as it is then, and whether it is new.

        The files host sends name and folder, never an id, also for an upload to an id.
        """
        if node.registration:
            raise Refused(400, "Bad request", reason="Registrations cannot be changed.")
        with self._transaction(name) as commit:
            there = parent.files(name)
            if len(there) > 1:
                raise Refused(500, "<html><h1>Server Error</h1>MultipleObjectsReturned</html>", page=True)
            file = there[0] if there else File(self._id(), name, parent)
            if file.checkout not in (None, user):
                raise Refused(403, "Forbidden", reason=CHECKED_OUT)
            if node.counted >= node.quota:
                raise Refused(507, "The quota on this osfstorage project has been exceeded")
            equal = file.newest if file.versions and file.newest.data == data else None
            number = len(file.versions) + 1
            with commit:
                self.bodies.append((name, hashlib.sha256(data).hexdigest()))
                if not there:
                    self._note_twin(parent, parent.files(name), name)
                    parent.children.append(file)
                if equal is None:
                    if number in [version.number for version in file.versions]:
                        self.collisions.append(file.materialized)
                    file.versions.append(FileVersion(number, data, datetime.now(UTC)))
                    node.counted += len(data) if node.count_at_once else 0
                ours = equal or file.newest  # the answer has the count, and the hashes of what was received
                others = [version for version in file.versions if version is not ours]
                seen = dataclasses.replace(file, versions=[*others, ours])
        return seen, not there

    def move(self, item: File | Folder, parent: Folder, name: str) -> None:
        """Move or rename; the id stays."""
        if isinstance(item, File) and item.checkout:
            raise Refused(405, "Method not allowed")
        with self._transaction(name) as commit:
            there = parent.files(name) if isinstance(item, File) else parent.folders(name)
            if there:
                raise Refused(409, _taken(name), taken=there[0])
            with commit:
                if item.parent is None or item not in item.parent.children:
                    raise Refused(404, "Page not found")
                item.parent.children.remove(item)
                item.parent, item.name = parent, name
                self._note_twin(parent, there, name)
                parent.children.append(item)

    def delete(self, item: File | Folder, user: str | None = None) -> None:
        """Delete a file with its versions, or a folder with all that is in it."""
        with self._lock:
            if isinstance(item, File) and item.checkout not in (None, user):
                raise Refused(403, "Forbidden", reason="")
            if item.parent is not None and item in item.parent.children:
                item.parent.children.remove(item)

    # round every request

    def put(self, node: Node, path: str, data: bytes) -> File:
        """Store bytes under a path: folders are made, a file gets a new version."""
        *folders, name = path.split("/")
        folder = node.root
        for part in folders:
            folder = folder.folder(part) or self.make_folder(folder, part)
        made, _ = self.upload(node, folder, name, data)
        return next(file for file in folder.files(name) if file.id == made.id)

    def twin(self, node: Node, path: str, data: bytes) -> File:
        """Make another file of a name that may be there."""
        *folders, name = path.split("/")
        folder = node.root
        for part in folders:
            folder = folder.folder(part) or self.make_folder(folder, part)
        file = File(self._id(), name, folder, [FileVersion(1, data, datetime.now(UTC))])
        folder.children.append(file)
        return file

    def twin_folder(self, node: Node, path: str) -> Folder:
        """Make another folder of a name that may be there."""
        parent, _, name = path.rpartition("/")
        folder = node.root
        for part in filter(None, parent.split("/")):
            folder = folder.folder(part) or self.make_folder(folder, part)
        made = Folder(self._id(), name, folder)
        folder.children.append(made)
        return made

    def add_version(self, file: File, data: bytes, number: int | None = None) -> None:
        """Add a version, whose stored number may be one that is there."""
        file.versions.append(FileVersion(number or len(file.versions) + 1, data, datetime.now(UTC)))

    def get(self, node: Node, path: str) -> list[File]:
        """Return the files of that path, more than one if there are twins."""
        *folders, name = path.split("/")
        found = [node.root]
        for part in folders:
            found = [child for folder in found for child in folder.folders(part)]
        return [file for folder in found for file in folder.files(name)]

    def _copy(self, item: File | Folder, parent: Folder, name: str) -> None:
        if isinstance(item, File):
            parent.children.append(File(self._id(), name, parent, list(item.versions)))
            return
        made = Folder(self._id(), name, parent)
        parent.children.append(made)
        for child in item.children:
            self._copy(child, made, child.name)

    def _note_twin(self, parent: Folder, there: list[File] | list[Folder], name: str) -> None:
        if there:
            self.twins.append(f"{parent.materialized}{name}")

    @contextlib.contextmanager
    def _transaction(self, name: str) -> Iterator[contextlib.AbstractContextManager[object]]:
        """Give out what is entered to commit, after the window. The block before it is the look."""
        met = self._meeting(name)
        at_once = not met and not self.window
        with self._lock if at_once else contextlib.nullcontext():
            yield self._lock if at_once else self._later(met)
        if met is not None:
            met.wait(10)  # both are written before either is answered

    @contextlib.contextmanager
    def _later(self, met: threading.Barrier | None) -> Iterator[None]:
        if met is not None:
            met.wait(10)
        threading.Event().wait(self.window)
        with self._lock:
            yield

    def _meeting(self, name: str) -> threading.Barrier | None:
        with self._lock:
            return self._colliding.pop()[1] if self._colliding and self._colliding[-1][0] == name else None

    def _id(self) -> str:
        return f"{next(self._ids):024x}"


def _taken(name: str) -> str:
    return f'Cannot complete action: file or folder "{name}" already exists in this location'
