"""What is there to use: ``stores`` and ``backends``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import StorageError
from ._opening import not_found
from ._options import config_option, example, json_option
from ._output import print_json, print_table, say

if TYPE_CHECKING:
    from .._config.config import Config


@click.command(epilog=example("storage-plugins stores --ask"))
@config_option
@click.option("--ask", is_flag=True, help="Ask each store what happens when an existing name is uploaded again.")
@json_option
def stores(config: Path | None, ask: bool, as_json: bool) -> None:
    """List the configured stores and their problems."""
    from .._config.config import Config

    found = Config.open(config)
    rows = _rows(found, ask)
    if as_json:
        print_json({"config": str(found.path) if found.path else None, "stores": rows})
        return
    lines = []
    for row in rows:
        first, *more = [row["address"]] if row["address"] else row["problem"].splitlines()
        lines.append(["*" if row["default"] else "", row["name"], row["backend"], first])
        lines += [["", "", "", line] for line in more]
        if "promises" in row:
            lines.append(["", "", "", row["promises"]])
    print_table(["", "store", "backend", "address"], lines)
    say(f"Configured in {found.path}." if found.path else not_found(next(iter(found.stores.values()))) or "")


def _rows(found: Config, ask: bool) -> list[dict[str, Any]]:
    from .._store.open import open_entry

    rows = []
    for name, entry in found.stores.items():
        row: dict[str, Any] = {"name": name, "backend": entry.backend, "default": name == found.default}
        try:
            store = open_entry(entry)
            row |= {"address": store.address, "problem": None}
            if ask:
                row["promises"] = store.promises()
        except StorageError as error:
            row |= {"address": None, "problem": str(error)}
        rows.append(row)
    return rows


@click.command(epilog=example("storage-plugins backends"))
@json_option
def backends(as_json: bool) -> None:
    """List the installed backends and their problems."""
    from .._backend.discovery import installed

    plugins = installed()
    if as_json:
        fields = ("name", "distribution", "version", "problem", "remedy")
        print_json([{field: getattr(plugin, field) for field in fields} for plugin in plugins])
        return
    rows = []
    for plugin in plugins:
        summary = plugin.backend.summary if plugin.backend else ""
        rows.append([plugin.name, f"{plugin.distribution} {plugin.version}", plugin.problem or summary])
        if plugin.problem and plugin.remedy:
            rows.append(["", "", f"to fix it: {plugin.remedy}"])
    print_table(["backend", "from", ""], rows)
