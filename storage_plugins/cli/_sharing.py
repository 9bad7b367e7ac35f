"""Who can read: ``publish``, ``unpublish``, ``publish-store`` and ``share``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from ..errors import StorageError
from ._opening import near_names, on_store
from ._options import example, prefix_option, together, version_options
from ._output import print_json, say

if TYPE_CHECKING:
    from .._store.store import Store


def on_version(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command NAME and the options that choose a version; call it with ``name`` and ``version``.

    ``version`` are keyword arguments of `Store.publish`, `unpublish` and `share`.
    """

    @functools.wraps(command)
    def with_version(
        *,
        store: Store,
        name: str,
        version_id: str | None,
        sha1: str | None,
        sha256: str | None,
        assembly_prefix: str | None,
        **rest: Any,
    ) -> Any:
        version = {"version_id": version_id, "sha1": sha1, "sha256": sha256, "assembly_prefix": assembly_prefix}
        with near_names(store, name):
            return command(store=store, name=name, version=version, **rest)

    return together(click.argument("name"), version_options, prefix_option)(on_store(with_version))


@click.command(epilog=example("storage-plugins publish Lab2026.rates"))
@on_version
def publish(store: Store, name: str, version: Mapping[str, Any], as_json: bool) -> None:
    """Make one version readable by anyone.

    NAME is an assembly's identifier, or the name of another file. An anonymous read then proves that it works.
    """
    receipt = store.publish(name, **version)
    if as_json:
        print_json(receipt.to_dict())
    else:
        say(f"Anyone can load {name} now; an anonymous read has just succeeded:\n{receipt.uri}")


@click.command(epilog=example("storage-plugins unpublish Lab2026.rates"))
@on_version
def unpublish(store: Store, name: str, version: Mapping[str, Any], as_json: bool) -> None:
    """Make an assembly or file private again.

    All its versions, unless one is named. An anonymous read is then refused.
    """
    store.unpublish(name, **version)
    if as_json:
        print_json({"identifier": name, "private": True})
    else:
        say(f"{name} is private: an anonymous read has just been refused.")


@click.command("publish-store", epilog=example("storage-plugins publish-store --store ours --confirm osf:abc12"))
@click.option("--confirm", metavar="ADDRESS", help="The store's address, to confirm that all of it is opened.")
@on_store
def publish_store(store: Store, confirm: str | None, as_json: bool) -> None:
    """Make a whole store readable by anyone.

    For services that cannot open single files, such as OSF, which opens projects. Without --confirm, nothing is
    changed, and the message says what would be opened.
    """
    store.publish_store(confirm=confirm or "")
    if as_json:
        print_json({"address": store.address, "public": True})
    else:
        say(f"Anyone can read {store.address} now; an anonymous read has just succeeded.")


@click.command(epilog=example("storage-plugins share Lab2026.rates --expires 12h"))
@click.option("--expires", default="7d", show_default=True, help="Such as 7d, 12h, 30m. S3: at most 7d.")
@on_version
def share(store: Store, name: str, expires: str, version: Mapping[str, Any], as_json: bool) -> None:
    """Print a link to one version that works for some time.

    Anyone who has the link can load that version, without credentials.
    """
    try:
        link = store.share(name, expires=expires, **version)
    except ValueError as error:
        if isinstance(error, StorageError):
            raise
        raise click.BadParameter(str(error), param_hint="--expires") from error
    if as_json:
        print_json({"link": link})
    else:
        say(link)
