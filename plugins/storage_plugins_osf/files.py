"""Files of an OSF project as versioned files: transfers, versions and listing are our own, osfclient has the session.

A version id is OSF's number of the version, from the answer to the upload itself. Where two files of one
name exist ("twins"), the one with the lowest id is written to, and its numbers stand alone; a version of
another one is called ``<number>@<file id>``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

from storage_plugins import AssemblyNotFound, Content, FileOperations, IntegrityError, Source, Version

from . import settings as addresses
from .connection import Connection
from .download import Download
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
        self._records = Records(self._tree)
        self._rows = Rows(self._tree)
        self._project = Project(self._connection, self._tree)
        self._uploads = Uploads(self._tree, self._records, self._rows)

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
        """Upload in one request; the number of the version comes from its answer and is confirmed by a look."""
        self._project.refuse_without_room(key, source.size)
        return self._uploads.put(key, source, metadata=metadata, if_absent=if_absent)

    def anonymous(self) -> OsfFiles:
        """Return the same files as somebody without token or view-only link sees them."""
        return OsfFiles(self._settings.without_secrets())

    def place_is_public(self) -> bool:
        """Whether the project is public: OSF opens projects and components, nothing smaller."""
        return self._project.is_public()

    def publish_place(self) -> None:
        """Make the project public, which its administrators may."""
        self._project.open()

    def describe_place(self) -> str:
        """Say what else is in the project."""
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
        """Read one version. The newest is looked for first, then asked for by its number."""
        look = self._tree.look()
        if version_id is None:
            row = self._rows.newest(look, key)
            if row is None:
                raise AssemblyNotFound(f"There is no {key} in {self.address}")
            described = self._described(row, self._record(look, key, row))
            return self._content(key, row, described, start, stop, if_match, at_once=False)
        match = _VERSION_ID.fullmatch(version_id)
        for fresh in (False, True):
            known = self._tree.ids.files.get(key)
            ids = look.file_ids(key)
            if match is None:
                break  # another host's id, as in pins from before a move: no second look finds it
            file_id = match[2] or (ids[0] if ids else None)
            if file_id in ids:
                row = self._rows.known(look, str(file_id), int(match[1]), main=file_id == ids[0])
                version = dataclasses.replace(self._described(row, {}), version_id=version_id)
                try:
                    return self._content(key, row, version, start, stop, if_match, at_once=True)
                except AssemblyNotFound:
                    if fresh or known is None:
                        raise  # else the file may have been deleted and made again
            if known is not None:
                self._tree.ids.files.pop(key, None)
        raise AssemblyNotFound(f"There is no {key}, version {version_id}, in {self.address}")

    def versions(self, key: str) -> Iterable[Version]:
        """Return the versions, newest first, those of twins among each other by their dates."""
        look = self._tree.look()
        ids = look.file_ids(key)
        rows = self._rows.of(look, key, ids)
        if ids and not rows:  # deleted since its id was seen, and perhaps made again
            self._tree.ids.files.pop(key, None)
            rows = self._rows.of(look, key, look.file_ids(key))
        records = self._records.of(look, key, [row.sha256 for row in rows])
        return [self._described(row, records.get(row.sha256 or "", {})) for row in rows]

    def newest(self, key: str) -> Version | None:
        """Ask for the newest version's description alone."""
        look = self._tree.look()
        row = self._rows.newest(look, key)
        return None if row is None else self._described(row, self._record(look, key, row))

    def differing_in_case(self, key: str) -> Iterable[str]:
        """Look in the listing of the folder in which `newest` did not find ``key``, rather than list it again."""
        return [other for other in self._tree.ids.files if other != key and other.casefold() == key.casefold()]

    def keys(self, prefix: str = "") -> Iterable[str]:
        """Return the files directly in the folder; the files host lists them all at once."""
        names = (entry.name for entry in self._tree.look().children(self._tree.folder) or [] if not entry.is_folder)
        return [name for name in dict.fromkeys(names) if name.startswith(prefix) and not name.startswith(".")]

    def discard(self, key: str) -> None:
        """Delete the file, and with it all its versions, and the folder of its records."""
        look = self._tree.look()
        for entry in look.file_entries(key):
            self._tree.delete(self._tree.url(entry.id), key)
        self._tree.ids.files.pop(key, None)
        self._records.discard(look, key)

    def free_space(self) -> int | None:
        """Nothing fits into a project over its quota; else OSF tells what is used, and not of how much."""
        return None if self._project.over_quota() is None else 0

    def _record(self, look: Look, key: str, row: Row) -> Mapping[str, str]:
        return self._records.of(look, key, [row.sha256]).get(row.sha256 or "", {})

    def _described(self, row: Row, record: Mapping[str, str]) -> Version:
        """Describe a version: OSF's own sha256, and what the record adds to it; a size OSF does not tell too."""
        size = row.size
        if size is None and record:
            size = int(record["size"])
        told = {**record, "sha256": row.sha256} if row.sha256 else record
        return Version.described(
            told, version_id=row.version_id, size=size, created=row.modified, etag=f"{row.file_id}-{row.number}"
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
        """Return the bytes on their way. Where the description is whole already, they are asked for when wanted."""
        if if_match not in (None, version.etag):
            raise IntegrityError(
                f"{key}, version {version.version_id}, was replaced in {self.address} while it was read"
            )
        what = f"{key}, version {version.version_id},"
        download = Download(
            self._connection,
            self._tree.url(row.file_id),
            what,
            row.number,
            size=row.size,
            start=start,
            stop=stop,
            doubted=lambda: self._rows.forget_size(row.file_id, row.number),
        )
        if at_once or version.size is None:
            version = dataclasses.replace(version, size=download.begin())
            if version.size is not None:
                self._rows.keep_claim(row.file_id, row.number, version.size)
        return Content(version, download, private=self._connection.private)
