"""The options that several commands share, each defined once as a decorator."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import StorageError

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def example(*lines: str) -> str:
    """Return how a command's help ends: command lines to copy."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def together(*options: Decorator) -> Decorator:
    """Return one decorator for several options, shown in help in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def store_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the configured stores that a word may become, for completion in a shell."""
    from .._config.config import Config

    logging.getLogger("storage_plugins").setLevel(logging.CRITICAL)  # a warning would be amid what is being typed
    with contextlib.suppress(StorageError):
        return [name for name in Config.open(context.params.get("config")).stores if name.startswith(incomplete)]
    return []


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
config_option = click.option("-c", "--config", type=click.Path(path_type=Path), help="The storage.yaml to use.")
store_option = click.option(
    *("-s", "--store", "store_name"),
    metavar="STORE",
    shell_complete=store_names,
    help="Store (default: the default store).",
)
prefix_option = click.option("--assembly-prefix", metavar="TEXT", help="File name prefix (default: the store's).")
output_options = together(
    click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the file here."),
    click.option("--force", is_flag=True, help="Let --output replace an existing file."),
)
delivery_options = together(
    click.option("-o", "--output", metavar="PATH", help="Write it to this file, or into this folder: ends in /."),
    click.option("--force", is_flag=True, help="Let --output replace existing files."),
)
version_options = together(
    click.option("--version-id", metavar="ID", help="The version with this ID."),
    click.option("--sha1", metavar="HEX", help="The version with this SHA-1."),
    click.option("--sha256", metavar="HEX", help="The version with this SHA-256."),
)
pin_options = together(
    version_options,
    click.option("--newest", is_flag=True, help="Ask the store for its newest version; ignore receipts."),
)
