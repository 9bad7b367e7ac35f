"""Repair of a wedged file whose newest version, which cannot be read, has the very bytes that are to be uploaded.

OSF stores nothing that equals the newest version, and only a version that it stores makes the file readable. So
the oldest version, which can always be read, is uploaded once more in between.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile

from storage_plugins import StoreUnavailable

from .download import Download
from .tree import Tree
from .versions import Row, Rows

_log = logging.getLogger(__name__)


def repair(tree: Tree, rows: Rows, oldest: Row, key: str) -> None:
    """Upload the version ``oldest`` again, if the file is still wedged."""
    if rows.wedged(oldest.file_id) is None:
        return
    connection, url, what = tree.connection, tree.url(oldest.file_id), f"{key}, version {oldest.number},"
    download = Download(
        connection, url, what, oldest.number, size=oldest.size, start=0, stop=None, doubted=lambda: None
    )
    with tempfile.TemporaryFile() as copy:
        sha256 = hashlib.sha256()
        for block in download:
            sha256.update(block)
            copy.write(block)
        if oldest.sha256 not in (None, sha256.hexdigest()):
            raise StoreUnavailable(f"{what} in {connection.address} arrived damaged")
        copy.seek(0)
        query = {"kind": "file", "version": f"{oldest.number}"}
        tree.written(connection.request("PUT", url, key, query, copy), key)
    _log.warning("Uploaded the oldest version of %s in %s again, to make it readable", key, connection.address)
