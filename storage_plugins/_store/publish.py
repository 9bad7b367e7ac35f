"""Publishing, proved by reading as an anonymous reader; and links that expire.

Some hosts publish whole locations only, such as OSF's projects: `Host.place_is_public` is not None there.
"""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta

from .._backend.host import Host, Nowhere
from .._records import Digests
from ..errors import AccessDenied, AssemblyNotFound, NotSupported, StorageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_WORDS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def seconds_of(expires: str | int | timedelta) -> int:
    """Return a time span in seconds: of ``"7d"``, ``"12h"``, ``"30m"``, ``"90s"``, a number, or a timedelta."""
    if isinstance(expires, timedelta):
        seconds = int(expires.total_seconds())
    elif isinstance(expires, str):
        found = re.fullmatch(r"\s*([0-9]{1,9})\s*([smhdw]?)\s*", expires)
        if found is None:
            raise ValueError(f"expires must be a time span such as 7d, 12h, 30m or seconds, got {expires!r}")
        seconds = int(found[1]) * _UNITS.get(found[2], 1)
    else:
        seconds = int(expires)
    if seconds < 1:
        raise ValueError(f"expires must be at least one second, got {expires!r}")
    return seconds


def check_link_lasts(host: Host, seconds: int) -> None:
    """Raise NotSupported if the host's links cannot be valid for so long."""
    longest = host.longest_link()
    if longest is not None and seconds > longest:
        (most, unit), (asked, unit_asked) = _in_largest_unit(longest), _in_largest_unit(seconds)
        raise NotSupported(
            f"A link to a file in {host.address} is valid for at most {most} {_WORDS[unit]}, and "
            f"{asked} {_WORDS[unit_asked]} were asked for",
            hint=f"Ask for {most}{unit} or less.",
        )


def _in_largest_unit(seconds: int) -> tuple[int, str]:
    """Return a time span as a whole number of the largest unit that gives one."""
    unit = next(unit for unit in _WORDS if seconds % _UNITS[unit] == 0)
    return seconds // _UNITS[unit], unit


def publish(host: Host, key: str, version_id: str | None, digests: Digests) -> tuple[Host, str | None]:
    """Make one version public; return the host as anonymous readers see it, and the version id there.

    Raises:
        AccessDenied: it cannot be published, or not be read although it was; it was made private again.
        NotSupported: not in this kind of store.
    """
    readers, public = readers_of(host), host.place_is_public()
    there = version_id if public else host.publish(key, version_id)
    try:
        if _read_by(readers, key, there) != digests:
            raise AccessDenied(
                f"Anonymous readers still cannot read {key} in {host.address}; it was left private",
                hint=host.why_still_private(key),
            )
    except BaseException:
        if not public:
            with contextlib.suppress(StorageError):
                host.unpublish(key, version_id)
        raise
    return readers, there


def publish_place(host: Host, confirm: str) -> None:
    """Make the whole location public.

    Raises:
        NotSupported: this host publishes each file alone, or cannot publish at all.
        StorageError: ``confirm`` is not the address; says what would become public.
        AccessDenied: it cannot be published, or is still private afterwards.
    """
    readers = readers_of(host)
    public = host.place_is_public()
    if public is None:
        raise NotSupported(f"{host.address} is published file by file", hint="Use publish, for each identifier.")
    if confirm != host.address:
        raise StorageError(
            f"Nothing was changed. Publishing {host.address} makes public: {host.describe_place()}",
            hint=f"If you want that, confirm it with the address: publish_store(confirm={host.address!r}), or "
            f"storage-plugins publish-store --confirm {host.address}",
        )
    if not public:
        host.publish_place()
    key = next(iter(host.keys()), None)
    if not readers.place_is_public() or (key is not None and readers.newest(key) is None):
        raise AccessDenied(f"Anonymous readers still cannot read {host.address}", hint=host.why_still_private(""))


def unpublish(host: Host, key: str, version_id: str | None) -> None:
    """Make one version private.

    Raises:
        StorageError: anyone can read it all the same.
    """
    readers, public = readers_of(host), host.place_is_public()
    if public:
        raise NotSupported(
            f"{host.address} is public as a whole: {key} alone cannot be made private",
            hint="Its owner can make all of it private on the host's own pages.",
        )
    if public is None:
        host.unpublish(key, version_id)
    if _read_by(readers, key, version_id) is not None:
        raise StorageError(
            f"Anyone can still read {key} in {host.address}, for another reason than publish",
            hint="Look at the location's policy and access lists: they may make more public than this file.",
        )


def check_publishes_alone(host: Host, what: str) -> None:
    """Raise NotSupported where one version cannot be published, or not without everything else there."""
    readers_of(host)
    if host.place_is_public() is False:
        raise NotSupported(
            f"{host.address} is published as a whole or not at all: {what} alone cannot be published",
            hint=f"publish_store makes public: {host.describe_place()} Or store what is public at another location, "
            "and name both in a group.",
        )


def readers_of(host: Host) -> Host:
    """Return the host as anonymous readers see it; raise NotSupported where there is no such access."""
    readers = host.anonymous()
    if readers is None:
        raise NotSupported(f"{host.address} cannot be published: it has no anonymous access")
    return readers


def _read_by(readers: Host, key: str, version_id: str | None) -> Digests | None:
    """Return what an anonymous reader gets of one version; None: nothing.

    Some servers refuse to name a version without credentials, yet give the newest with its id.
    """
    for wanted in dict.fromkeys((version_id, None)):
        with contextlib.suppress(AccessDenied, AssemblyNotFound):
            got = readers.download(key, wanted, Nowhere())
            if version_id is None or got.version.version_id == version_id:
                return got.digests
    return None
