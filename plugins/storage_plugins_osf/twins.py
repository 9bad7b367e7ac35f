"""Two files of one name, which OSF makes if two uploads look before either is stored.

OSF then refuses uploads to the name until one of them is renamed or deleted. The one that comes first by `Entry.rank`
stays. A renamed file keeps its versions, which are read together with those of the other one.
"""

from __future__ import annotations

from .entries import Entry, retired_name
from .folders import Folders
from .tree import Look, Tree
from .turns import pause
from .versions import Rows

_LOOKS = 8  # until whoever made the other file has removed it


class Twins:
    """Brings the files of a name down to one."""

    def __init__(self, tree: Tree, folders: Folders, rows: Rows) -> None:
        self._tree, self._folders, self._rows = tree, folders, rows

    def there(self, look: Look, key: str) -> list[Entry]:
        """Return the files that have the name itself, the one that stays first."""
        return [entry for entry in look.file_entries(key) if not entry.retired]

    def settle(self, key: str, ours: str, there: list[Entry]) -> bool:
        """Wait until whoever made the other file has removed it, or remove ours. Whether ours is left alone.

        Ours is removed if it does not come first, and also if the other one stays: its upload may have been confirmed
        before there were two.
        """
        look = self._tree.look()
        for attempt in range(_LOOKS):
            if not there or there[0].id != ours or len(there) == 1:
                break
            pause(attempt)
            look.again(self._tree.folder)
            there = self.there(look, key)
        if [entry.id for entry in there] == [ours]:
            return True
        for entry in there:
            if entry.id == ours and entry.count == 1:
                self._remove(key, entry)
        return False

    def wait_for_one(self, key: str) -> bool:
        """Wait until there is one file of the name; if others stay, rename them. Whether there were any."""
        look = self._tree.look()
        there = self.there(look, key)
        if len(there) < 2:
            return False
        for attempt in range(_LOOKS):
            pause(attempt)
            look.again(self._tree.folder)
            there = self.there(look, key)
            if len(there) < 2:
                return True
        for twin in there[1:]:
            self._folders.rename(twin, retired_name(twin), version=self._rows.wedged(twin.id))
        look.again(self._tree.folder)
        return True

    def _remove(self, key: str, ours: Entry) -> None:
        """Remove the file that we made: renamed first, so that no one uploads to it, then deleted if no one has."""
        self._tree.ids.files.pop(key, None)
        if not self._folders.rename(ours, retired_name(ours)):
            return
        seen = self._rows.described(ours.id, key)
        if isinstance(seen, Entry) and (seen.count, seen.sha256) == (1, ours.sha256):
            self._tree.delete(self._tree.url(ours.id), key)
