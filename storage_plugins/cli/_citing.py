"""``cite``: how one version is cited, and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ._opening import near_names, on_store
from ._options import example, prefix_option, version_options
from ._output import print_json, say

if TYPE_CHECKING:
    from .._store.store import Store


@click.command(
    epilog=example(
        "storage-plugins cite Lab2026.rates",
        "storage-plugins cite Lab2026.rates --author 'Doe, Jane' --author 'Roe, Richard' --format bibtex",
        "storage-plugins cite Lab2026.rates --format python",
    )
)
@click.argument("name")
@version_options
@prefix_option
@click.option("--author", "authors", multiple=True, metavar="NAME", help="Such as 'Doe, Jane'; can be given again.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "bibtex", "cff", "python"]),
    default="text",
    show_default=True,
    help="A sentence, BibTeX, CITATION.cff, or Python that loads it.",
)
@on_store
def cite(store: Store, name: str, authors: tuple[str, ...], form: str, as_json: bool, **version: Any) -> None:
    """Print how one version is cited, and loaded.

    NAME is an assembly's identifier, or the name of another file. Without a version it is that of the newest receipt,
    else the newest in the store.
    """
    with near_names(store, name):
        citation = store.cite(name, authors=authors, **version)
    if as_json:
        print_json(citation.to_dict())
    else:
        say(getattr(citation, form))
