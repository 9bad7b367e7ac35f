"""The connections of a process to one server, each lent to one thread at a time."""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from storage_plugins import StorageError, StoreUnavailable

from .errors import translated
from .host import Host
from .settings import parse

if TYPE_CHECKING:
    from .settings import FsspecSettings

_IDLE = 4  # connections that stay open for later


class Hosts:
    """Connections to one server, made when needed, and never used in a forked process."""

    def __init__(self, settings: FsspecSettings) -> None:
        self._settings = settings
        self._pools: dict[int, _Pool] = {}

    @contextlib.contextmanager
    def lease(self, doing: str) -> Iterator[Host]:
        """Lend a connection to the block, and turn errors in it into this project's errors.

        ``doing`` completes the sentence "Cannot …". A connection that failed, or that was left in the middle
        of a transfer, is not used again.
        """
        pool = self._pools.setdefault(os.getpid(), _Pool())
        host = None
        whole = False
        try:
            host = pool.take(self._settings)
            yield host
            whole = True
        except StorageError as error:
            whole = not isinstance(error, StoreUnavailable)
            raise
        except Exception as error:
            alive = host is None or host.alive()
            translation = translated(error, doing, self._settings, made=host is not None, alive=alive)
            whole = not isinstance(translation, StoreUnavailable)
            raise translation from error
        finally:
            if host is not None:
                pool.give_back(host, whole)


class _Pool:
    """The connections of one process."""

    def __init__(self) -> None:
        self._idle: collections.deque[Host] = collections.deque()
        self._connecting = threading.Lock()  # one after the other: servers limit simultaneous attempts
        weakref.finalize(self, _close_all, self._idle, os.getpid())

    def take(self, settings: FsspecSettings) -> Host:
        with contextlib.suppress(IndexError):
            while True:
                host = self._idle.pop()
                if host.alive():
                    return host
                host.close()
        with self._connecting:
            return _connect(settings)

    def give_back(self, host: Host, whole: bool) -> None:
        if whole and len(self._idle) < _IDLE:
            self._idle.append(host)
        else:
            host.close()


def _connect(settings: FsspecSettings) -> Host:
    if parse(settings.url).protocol == "sftp":
        from .sftp import SftpHost

        return SftpHost(settings)
    return Host(settings)


def _close_all(idle: collections.deque[Host], process: int) -> None:
    if os.getpid() == process:
        for host in idle:
            host.close()
