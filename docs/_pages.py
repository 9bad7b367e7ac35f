"""What the site makes of the Markdown files here that Sphinx itself does not.

- A page of ``FROM_THE_ROOT`` is the file of that name in the root of the repository.
- ``reference/commands.md`` gets every command, from the code of the command line. It is the manual page, too.
- A picture is put into the page itself, so that it takes the colours of the page, light or dark.
- The keyboard reaches code that is wider than the screen, and a screen reader can tell the parts of a page apart.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from docutils import nodes

from storage_plugins.cli import cli

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent

FROM_THE_ROOT = {
    "project/changelog": "CHANGELOG.md",
    "project/contributing": "CONTRIBUTING.md",
    "project/security": "SECURITY.md",
    "project/postgres-example": "examples/storage-plugins-postgres/README.md",
    "project/webdav-example": "examples/storage-plugins-webdav/README.md",
}

ACCESSIBLE = {
    "<pre>": '<pre tabindex="0">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="On this page">',
    '<aside class="toc-drawer no-toc">': '<aside class="toc-drawer no-toc" aria-label="On this page">',
    '<th class="head"><p></p></th>': "<td></td>",  # the corner of a table is no heading
    '<div id="search-results"></div>': '<h1>Search</h1><div id="search-results" role="status"></div>',
    'docutils container">\n<table': 'docutils container" tabindex="0">\n<table',
}

ENVIRONMENT = {
    "STORAGE_PLUGINS_CONFIG": "The storage.yaml to use.",
    "STORAGE_PLUGINS_STORE": "The default store.",
    "STORAGE_PLUGINS_CACHE": "The cache: a folder, or several with a colon between them.",
    "STORAGE_PLUGINS_OFFLINE": "1: ask no server for anything.",
}

_PAGES = {path: f"/{page}.md" for page, path in FROM_THE_ROOT.items()} | {"README.md": "/index.md"}


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    """Give a page its text."""
    path = ROOT / FROM_THE_ROOT.get(page, f"docs/{page}.md")
    text = path.read_text("utf-8") if page in FROM_THE_ROOT else source[0]
    if page == "reference/commands":
        text = "\n".join(manual() if app.builder.name == "man" else [text, *commands()])
    source[0] = re.sub(r"(\]\()([^)#:]+\.\w+)", lambda link: link[1] + _target(path.parent, link[2]), text)


def _target(folder: Path, link: str) -> str:
    """Return a link to a file of the repository as the site has it."""
    path = (folder / link).resolve().relative_to(ROOT).as_posix()
    if path in _PAGES:
        return _PAGES[path]
    return f"/{path.removeprefix('docs/')}" if path.startswith("docs/") else link


def manual() -> Iterator[str]:
    """Yield the Markdown of the manual page: what its sections are is written in man-pages(7)."""
    yield "# storage-plugins\n\n## Synopsis\n\n`storage-plugins` [`-v`] *COMMAND* [*OPTIONS*] [*ARGUMENTS*]\n"
    yield f"## Description\n\n{' '.join((cli.help or '').split())}\n"
    yield from _list(_options(cli, click.Context(cli)))
    yield "## Commands\n"
    for line in commands(as_list=True):
        yield re.sub("^## ", "### ", line)
    text = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    codes = text.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    yield "## Exit status\n"
    yield from _list(re.findall(r"^\| (\d.*?) \| (.*?) \|$", codes, re.M))
    yield "## Environment\n"
    yield from _list(ENVIRONMENT.items())


def commands(
    group: click.Group = cli, words: tuple[str, ...] = ("storage-plugins",), *, as_list: bool = False
) -> Iterator[str]:
    """Yield the Markdown that describes each command of a group; its options in a table, or as a list."""
    parent = click.Context(group, info_name=" ".join(words))
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name), as_list=as_list)
        else:
            yield from _described(command, click.Context(command, info_name=name, parent=parent), as_list)


def _described(command: click.Command, context: click.Context, as_list: bool) -> Iterator[str]:
    yield f"## `{context.command_path}`\n"
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    for paragraph in re.sub(r"\f.*", "", command.help or "", flags=re.S).split("\n\n"):
        yield " ".join(paragraph.split()).replace("<", "\\<") + "\n"
    options = _options(command, context)
    if as_list:
        yield from _list(options)
    elif options:
        yield "| option | meaning |\n|---|---|"
        yield from (f"| `{flags}` | {_cell(meaning)} |" for flags, meaning in options)
    example = (command.epilog or "").partition("Example:\n")[2]
    yield f"\nExample:\n\n```text\n{re.sub('^  ', '', example, flags=re.M)}\n```\n"


def _options(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    return [record for one in command.params if (record := one.get_help_record(context))]


def _list(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from (f"`{term}`\n: {' '.join(meaning.split()).replace('<', '&lt;')}\n" for term, meaning in rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


def _inline(app: Sphinx, document: nodes.document, page: str) -> None:
    """Replace each SVG of the page by its source, in the colours of the page."""
    if app.builder.format != "html":
        return
    for image in list(document.findall(nodes.image)):
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".svg" and not image["uri"].startswith("http"):
            svg = re.sub(r"<style>.*?</style>", "", path.read_text("utf-8"), flags=re.S)
            label = html.escape(image["alt"], quote=True)
            svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
            image.replace_self(nodes.raw("", f'<div class="picture">{svg}</div>', format="html"))


def _accessible(app: Sphinx, failed: Exception | None) -> None:
    """Correct what the theme's pages lack."""
    if failed or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = before = path.read_text("utf-8")
        for written, better in ACCESSIBLE.items():
            text = text.replace(written, better)
        if text != before:
            path.write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("source-read", _read)
    app.connect("doctree-resolved", _inline)
    app.connect("build-finished", _accessible)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
