"""Uploads: a record, the bytes in one request, and a look that proves the version; repeated as far as that is safe.

OSF has no compare-and-swap and may lose an answer. So nothing is guessed: after anything unclear the versions
are looked up, and their sha256 shows what became of the upload.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from storage_plugins import RateLimited, Source, StoreUnavailable

from .folders import Folders
from .project import Project
from .records import Records
from .sending import Contested, Sending
from .tree import Tree
from .turns import pause, rest, turn
from .versions import Rows

_FAILURES = 4  # of requests
_CONTESTS = 12  # with uploads of someone else to the same name
_ALONE = 3  # of these, after which no one else is expected to heal a wedged file
_LONGEST_WAIT = 60.0
_BUSY = 20.0  # seconds for which uploads to a name are queued after someone else uploaded to it


class Uploads:
    """Uploads to one store. Those to one name take turns within a process, whatever the number of stores."""

    def __init__(self, tree: Tree, folders: Folders, records: Records, rows: Rows, project: Project) -> None:
        self._tree, self._folders, self._records, self._rows = tree, folders, records, rows
        self._project = project
        self._busy: dict[str, float] = {}  # when someone else was last seen uploading to a name

    def put(self, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str:
        """Store ``source`` as a new version and return its id. Its record is written first, so each version has one."""
        with turn(self._tree.connection.address, key):
            sending = Sending(self._tree, self._folders, self._records, self._rows, key, source, metadata, if_absent)
            if if_absent and self._rows.newest(self._tree.look(), key) is not None:
                raise sending.taken()
            sending.queue = time.monotonic() - self._busy.get(key, -_BUSY) < _BUSY
            try:
                return self._put(sending)
            finally:
                if sending.contested:
                    self._busy[key] = time.monotonic()
                sending.withdraw()

    def _put(self, sending: Sending) -> str:
        failures = contests = 0
        problem: StoreUnavailable | None = None
        while True:
            try:
                if problem is not None:
                    found = sending.landed()
                    if found is not None:
                        return found.version_id
                    if isinstance(problem, Contested):
                        sending.meet()
                    elif failures == 1:
                        self._project.refuse_without_permission()
                    if sending.stuck and contests >= _ALONE:
                        sending.unblock()
                self._tree.refuse_if_read_only()
                return sending.send().version_id
            except Contested as error:
                contests += 1
                if contests == _CONTESTS:
                    raise StoreUnavailable(error.message, hint=error.hint) from error
                pause(contests)
                problem = error
            except StoreUnavailable as error:
                failures += 1
                if failures == _FAILURES:
                    raise
                _heed(error, failures)
                problem = error


def _heed(error: StoreUnavailable, failures: int) -> None:
    asked = error.retry_after if isinstance(error, RateLimited) else None
    if asked is None:
        pause(failures)
    elif asked > _LONGEST_WAIT:
        raise error
    else:
        rest(asked)
