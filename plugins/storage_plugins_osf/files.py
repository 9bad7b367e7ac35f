"""Files of an OSF project as versioned files. The session is osfclient's; transfers, versions and listing are our own.

A version id is the number that OSF stored the version under. Where two files of one name exist ("twins"), uploads go
to one of them, and its numbers are used alone; a version of another one is called ``<number>@<file id>``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

from storage_plugins import (
    AssemblyNotFound,
    Content,
    FileOperations,
    IntegrityError,
    NotSupported,
    Source,
    StoreUnavailable,
    Version,
)

from . import settings as addresses
from .connection import Connection
from .download import Download
from .entries import Entry
from .folders import Folders
from .project import Project
from .records import Records
from .settings import OsfSettings
from .tree import Look, Tree
from .upload import Uploads
from .versions import Row, Rows

_VERSION_ID = re.compile(r"([1-9]\d{0,8})(?:@([0-9a-f]{24}))?")


class OsfFiles(FileOperations):
    """The files in one folder of a project."""

    def __init__(self, settings: OsfSettings) -> None:
        self._settings = settings
        self._connection = Connection(settings)
        self._tree = Tree(self._connection)
        self._folders = Folders(self._tree)
        self._records = Records(self._tree, self._folders)
        self._rows = Rows(self._tree)
        self._project = Project(self._connection, self._tree)
        self._uploads = Uploads(self._tree, self._folders, self._records, self._rows, self._project)

    def __getstate__(self) -> dict[str, OsfSettings]:
        return {"settings": self._settings}

    def __setstate__(self, state: dict[str, OsfSettings]) -> None:
        self.__init__(state["settings"])  # type: ignore[misc]

    @property
    def address(self) -> str:
        """The project and folder as an ``osf:`` address."""
        return self._settings.address

    def uri(self, key: str, version_id: str | None) -> str:
        """Return the ``osf:`` address of one version."""
        return addresses.uri(self._settings, key, version_id)

    def keeps_versions(self) -> bool:
        """OSF keeps every version of a file."""
        return True

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
        """Upload in one request. The version's number is confirmed by a look afterwards."""
        self._project.refuse_too_large(key, source.size)
        return self._uploads.put(key, source, metadata=metadata, if_absent=if_absent)

    def anonymous(self) -> OsfFiles:
        """Return the same files without token and view-only link."""
        return OsfFiles(self._settings.without_secrets())

    def place_is_public(self) -> bool:
        """Whether the project is public: OSF publishes projects and components, nothing smaller."""
        return self._project.is_public()

    def publish_place(self) -> None:
        """Make the project public, which its administrators may."""
        self._tree.refuse_if_read_only()
        self._project.open()

    def describe_place(self) -> str:
        """Describe what else is in the project."""
        return self._project.description()

    def read(
        self,
        key: str,
        version_id: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
    ) -> Content:
        """Read one version. The newest is looked up first, then requested by its number."""
        look = self._tree.look()
        if version_id is None:
            return self._read_newest(look, key, start, stop, if_match)
        match = _VERSION_ID.fullmatch(version_id)
        for fresh in (False, True):
            known = self._tree.ids.files.get(key)
            ids = look.file_ids(key)
            if match is None:
                break  # another host's id, as in pins from before a move: a second look does not find it
            file_id = match[2] or (ids[0] if ids else None)
            if file_id in ids:
                row = self._rows.known(look, str(file_id), int(match[1]), main=file_id == ids[0])
                version = dataclasses.replace(self._described(row, {}), version_id=version_id)
                try:
                    return self._content(key, row, version, start, stop, if_match, at_once=True)
                except AssemblyNotFound:
                    if fresh or known is None:
                        raise  # else the file may have been deleted and made again
                except StoreUnavailable as error:
                    if self._rows.unreadable(row.file_id, row.number, key):
                        raise self._collided(key, version_id) from error
                    raise
            if known is not None:
                self._tree.ids.files.pop(key, None)
        raise AssemblyNotFound(f"There is no {key}, version {version_id}, in {self.address}")

    def versions(self, key: str) -> Iterable[Version]:
        """Return the versions that can be read, newest first, those of twins among them by their dates."""
        look = self._tree.look()
        ids = look.file_ids(key)
        rows = self._rows.of(look, key, ids)
        if ids and not rows:  # deleted since its id was seen, and perhaps made again
            self._tree.ids.files.pop(key, None)
            rows = self._rows.of(look, key, look.file_ids(key))
        records = self._records.of(look, key, [row.sha256 for row in rows])
        return [self._described(row, records.get(row.sha256 or "", {})) for row in rows]

    def newest(self, key: str) -> Version | None:
        """Ask for the description of the newest version that can be read."""
        look = self._tree.look()
        row = self._rows.newest(look, key)
        if row is not None:
            row = self._rows.readable(row, key)
        return None if row is None else self._described(row, self._record(look, key, row))

    def newest_of_all(self, prefix: str = "") -> Iterable[tuple[str, Version]] | None:
        """Return each key with its newest version and the identifier it is recorded under, by two listings.

        A newest version that cannot be read, because uploads of it collided, is listed all the same. Its sha1 and
        content digest are not looked up.
        """
        look = self._tree.look()
        newest: dict[str, list[Entry]] = {}
        for entry in look.children(self._tree.folder) or []:
            if not entry.is_folder and entry.key.startswith(prefix) and not entry.key.startswith("."):
                newest.setdefault(entry.key, []).append(entry)
        names = self._records.names(look)
        found = []
        for key, entries in newest.items():
            ordered = sorted(entries, key=lambda entry: entry.rank)
            rows = [Row.newest_of(entry, main=not place) for place, entry in enumerate(ordered)]
            row = max(rows, key=lambda row: (row.modified is not None, row.modified, row.main))
            found.append((key, self._described(row, names.get(key, {}))))
        return found

    def differing_in_case(self, key: str) -> Iterable[str]:
        """Look in the listing of the folder in which `newest` did not find ``key``, rather than list it again."""
        return [other for other in self._tree.ids.files if other != key and other.casefold() == key.casefold()]

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return the files directly in the folder; the files host lists them all at once."""
        names = (entry.key for entry in self._tree.look().children(self._tree.folder) or [] if not entry.is_folder)
        hidden = not prefix.startswith(".")
        return [key for key in dict.fromkeys(names) if key.startswith(prefix) and not (hidden and key.startswith("."))]

    def discard(self, key: str) -> None:
        """Delete the file with all its versions, and the folder of its records."""
        self._tree.refuse_if_read_only()
        look = self._tree.look()
        for entry in look.file_entries(key):
            seen = self._rows.described(entry.id, key) if entry.count > 1 else None
            if isinstance(seen, int):
                self._rows.of_file(key, entry.id)  # finds the number by which the file can be addressed
            self._tree.delete(self._tree.url(entry.id), key, self._rows.wedged(entry.id))
        self._tree.ids.files.pop(key, None)
        self._records.discard(look, key)

    def remove(self, key: str, version_id: str | None) -> None:
        """Delete a file whose only version it is: OSF deletes no single versions."""
        versions = list(self.versions(key))
        if version_id is not None and version_id not in [version.version_id for version in versions]:
            raise AssemblyNotFound(f"There is no {key}, version {version_id}, in {self.address}")
        if len(versions) > 1:
            raise NotSupported(
                f"OSF cannot delete version {version_id} of {key} alone: the file has {len(versions)} versions",
                hint="Copy the other versions to another project with mirror; then somebody with write access can "
                "delete the file at osf.io.",
            )
        self.discard(key)

    def free_space(self) -> int | None:
        """Return 0 for a project over its quota; otherwise OSF does not report the limit."""
        if self._connection.registration:
            return 0
        return None if self._project.over_quota() is None else 0

    def doi(self) -> str | None:
        """Return the DOI of the project or registration."""
        return self._project.doi()

    def _read_newest(self, look: Look, key: str, start: int, stop: int | None, if_match: str | None) -> Content:
        row = self._rows.newest(look, key)
        if row is None:
            raise AssemblyNotFound(f"There is no {key} in {self.address}")
        described = self._described(row, self._record(look, key, row))
        try:
            return self._content(key, row, described, start, stop, if_match, at_once=not row.sure)
        except AssemblyNotFound:
            readable = self._rows.readable(row, key)
            if readable is None or readable.number == row.number:
                raise
        described = self._described(readable, self._record(look, key, readable))
        return self._content(key, readable, described, start, stop, if_match, at_once=True)

    def _collided(self, key: str, version_id: str) -> AssemblyNotFound:
        return AssemblyNotFound(
            f"{key}, version {version_id}, in {self.address} cannot be read: two uploads at the same moment got this "
            "number at OSF",
            hint="Upload its bytes again. Uploads to one name should come from one person at a time.",
        )

    def _record(self, look: Look, key: str, row: Row) -> Mapping[str, str]:
        return self._records.of(look, key, [row.sha256]).get(row.sha256 or "", {})

    def _described(self, row: Row, record: Mapping[str, str]) -> Version:
        """Describe a version: OSF's own sha256, and what the record adds to it, also a size that OSF does not give."""
        size = row.size
        if size is None and "size" in record:
            size = int(record["size"])
        metadata = {**record, "sha256": row.sha256} if row.sha256 else record
        return Version.described(
            metadata, version_id=row.version_id, size=size, created=row.modified, etag=f"{row.file_id}-{row.number}"
        )

    def _content(
        self,
        key: str,
        row: Row,
        version: Version,
        start: int,
        stop: int | None,
        if_match: str | None,
        *,
        at_once: bool,
    ) -> Content:
        """Return the bytes on their way. Where the description is complete, they are requested when they are needed."""
        if if_match not in (None, version.etag):
            raise IntegrityError(
                f"{key}, version {version.version_id}, was replaced in {self.address} while it was read"
            )
        download = Download(
            self._connection,
            self._tree.url(row.file_id),
            f"{key}, version {version.version_id},",
            row.number,
            size=row.size,
            start=start,
            stop=stop,
            doubted=lambda: self._rows.forget_size(row.file_id, row.number),
        )
        if at_once or version.size is None:
            version = dataclasses.replace(version, size=download.begin())
            if version.size is not None:
                self._rows.remember_claim(row.file_id, row.number, version.size)
        return Content(version, download, private=self._connection.private)
