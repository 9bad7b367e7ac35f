"""``cache``: look after the verified copies on this computer."""

from __future__ import annotations

import dataclasses
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from ..errors import IntegrityError
from ._exit_codes import exit_code
from ._options import example, json_option
from ._output import print_json, print_table, say

if TYPE_CHECKING:
    from .._copies.cache_tools import CacheEntry

_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_DAYS = {"d": 1, "w": 7}


def _bytes(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Return a number of bytes, of 500MB or 20GB."""
    found = re.fullmatch(r"([0-9]{1,15})\s*([KMGT]?)B?", (text or "0").upper())
    if found is None:
        raise click.BadParameter(f"{text!r} is not a size: write 500MB or 20GB.")
    return None if text is None else int(found[1]) * _BYTES[found[2]]


def _time_span(context: click.Context, option: click.Parameter, text: str | None) -> timedelta | None:
    """Return a time span, of 30d or 8w."""
    found = re.fullmatch(r"([0-9]{1,5})([dw])", text or "0d")
    if found is None:
        raise click.BadParameter(f"{text!r} is not a time span: write 30d or 8w.")
    return None if text is None else timedelta(days=int(found[1]) * _DAYS[found[2]])


_UNUSED = timedelta(days=90)


@click.group(epilog=example("storage-plugins cache size", "storage-plugins cache prune --max-size 20GB"))
def cache() -> None:
    """Look after the verified copies on this computer.

    Loads read from the cache instead of downloading again. It is in the folder that STORAGE_PLUGINS_CACHE names, else
    in the user's cache folder. What is removed from it is downloaded again when it is needed.
    """


@cache.command(epilog=example("storage-plugins cache path"))
@json_option
def path(as_json: bool) -> None:
    """Print the folder that copies are written to."""
    from .._copies.cache import Cache

    folder = Cache.from_environment().folders[0]
    if as_json:
        print_json({"path": str(folder)})
    else:
        say(folder)


@cache.command("list", epilog=example("storage-plugins cache list"))
@json_option
def list_entries(as_json: bool) -> None:
    """List what is cached, last used first."""
    found = _entries()
    if as_json:
        print_json([_document(entry) for entry in found])
        return
    rows = [
        [str(entry.size), entry.used.isoformat(sep=" ", timespec="minutes"), entry.sha256[:12], _names(entry)]
        for entry in found
    ]
    print_table(["bytes", "last used", "sha256", "name"], rows)


@cache.command(epilog=example("storage-plugins cache size"))
@json_option
def size(as_json: bool) -> None:
    """Print how much is cached."""
    found = _entries()
    total = sum(entry.size for entry in found)
    if as_json:
        print_json({"entries": len(found), "bytes": total})
    else:
        say(f"{len(found)} entries, {_readable(total)}")


@cache.command(epilog=example("storage-plugins cache verify"))
@json_option
def verify(as_json: bool) -> int:
    """Read every cached file and compare its hash.

    A damaged copy is never used: the next load downloads the file again. The exit code is 5 if there is one.
    """
    from .._copies.cache import Cache
    from .._copies.cache_tools import damaged

    found = list(damaged(Cache.from_environment()))
    if as_json:
        print_json({"damaged": [_document(entry) for entry in found]})
    else:
        for entry in found:
            say(f"{entry.path}: damaged: {_names(entry)}")
        say(f"{len(found)} damaged" if found else "Every cached file is as it was downloaded.")
    return exit_code(IntegrityError) if found else 0


@cache.command(epilog=example("storage-plugins cache prune --max-size 20GB --max-age 30d"))
@click.option("--max-size", metavar="SIZE", callback=_bytes, help="How much may stay, such as 20GB.")
@click.option("--max-age", metavar="TIME", callback=_time_span, help="Time since last use, such as 30d.")
@click.option("--yes", is_flag=True, help="Accepted as by clear; there is no question.")
@json_option
def prune(max_size: int | None, max_age: timedelta | None, yes: bool, as_json: bool) -> None:
    """Remove the copies that were used least recently.

    Without a limit, those that were not used for 90 days. Copies that were used within the last day stay, as they may
    be in use.
    """
    from .._copies import cache_tools
    from .._copies.cache import Cache

    if max_size is None and max_age is None:
        max_age = _UNUSED
    _print_removed(cache_tools.prune(Cache.from_environment(), max_size=max_size, max_age=max_age), as_json)


@cache.command(epilog=example("storage-plugins cache clear --yes"))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def clear(yes: bool, as_json: bool) -> None:
    """Remove all copies from the cache."""
    from .._copies import cache_tools
    from .._copies.cache import Cache

    found = Cache.from_environment()
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Give --yes to remove all copies.")
        total = _readable(sum(entry.size for entry in cache_tools.entries(found)))
        click.confirm(f"Remove all copies from the cache ({total})?", abort=True, err=True)
    _print_removed(cache_tools.clear(found), as_json)


def _entries() -> list[CacheEntry]:
    from .._copies.cache import Cache
    from .._copies.cache_tools import entries

    return entries(Cache.from_environment())


def _print_removed(removed: list[CacheEntry], as_json: bool) -> None:
    total = sum(entry.size for entry in removed)
    if as_json:
        print_json({"removed": [_document(entry) for entry in removed], "bytes": total})
    else:
        say(f"Removed {len(removed)} entries, {_readable(total)}")


def _document(entry: CacheEntry) -> dict[str, Any]:
    return {**dataclasses.asdict(entry), "path": str(entry.path)}


def _names(entry: CacheEntry) -> str:
    return ", ".join(entry.names) if entry.is_file else f"{len(entry.names)} unpacked files"


def _readable(size: int) -> str:
    unit, factor = next(((unit, factor) for unit, factor in reversed(_BYTES.items()) if size >= factor), ("", 1))
    return f"{size / factor:.1f} {unit}B" if unit else f"{size} bytes"
