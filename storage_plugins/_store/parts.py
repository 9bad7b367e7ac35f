"""What an open store of files consists of, as uploading, loading, publishing and mirroring use it."""

from __future__ import annotations

import contextvars
import dataclasses
import threading
from collections.abc import Callable
from datetime import datetime

from .._backend.host import Host
from .._backend.settings import StoreSettings
from .._copies.cache import Cache
from .._copies.receipts import Receipts
from .._records import Digests
from ..protocol import Receipt

# set in the threads of `many`, and in those that they use: ends transfers at their next block
STOP: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("STOP", default=None)


class Stopped(BaseException):
    """Ends a transfer that is no longer wanted; not an Exception, so that no client takes it for a failure."""


def stop_if_asked() -> None:
    """Raise Stopped if what this thread does is no longer wanted."""
    stop = STOP.get()
    if stop is not None and stop.is_set():
        raise Stopped


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of one open store.

    Attributes:
        name: its name in ``storage.yaml``.
        host: the way to its backend.
        settings: its checked settings.
        cache, receipts: what this computer has.
        origin: where it was configured, for messages.
        implicit: whether nobody configured it.
        progress: called with a file's name, bytes done and bytes in all.
    """

    name: str
    host: Host
    settings: StoreSettings
    cache: Cache
    receipts: Receipts
    origin: str
    implicit: bool = False
    progress: Callable[[str, int, int | None], None] | None = None

    def prefix(self, assembly_prefix: str | None) -> str:
        """Return what assemblies' file names begin with: as the caller says, else as the settings say."""
        return self.settings.assembly_prefix if assembly_prefix is None else assembly_prefix

    def named(self, key: str) -> str:
        """Return a file's name with its store and address, for messages."""
        return f"{key} in store {self.name!r} ({self.host.address})"

    def reporting(self, key: str) -> Callable[[int, int | None], None]:
        """Return what is called with the bytes done of one file. It ends the transfer if that is no longer wanted.

        It may be called in any thread: backends have threads of their own.
        """
        context = contextvars.copy_context()

        def report(done: int, size: int | None) -> None:
            stop = context.get(STOP)
            if stop is not None and stop.is_set():
                raise Stopped
            if self.progress is not None:
                self.progress(key, done, size)

        stop_if_asked()
        return report

    def receipt(
        self,
        key: str,
        identifier: str,
        version_id: str | None,
        digests: Digests,
        content_digest: str | None,
        created: datetime,
    ) -> Receipt:
        """Return the receipt of one version in this store."""
        return Receipt(
            identifier=identifier,
            store=self.name,
            address=self.host.address,
            key=key,
            version_id=version_id,
            sha1=digests.sha1,
            sha256=digests.sha256,
            size=digests.size,
            content_digest=content_digest,
            created=created,
            uri=self.host.cited(key, version_id, digests.sha256),
        )
