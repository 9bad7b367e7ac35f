"""The HTML of a catalogue. Every text from outside goes through `_text`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from .._store.cite import Citation
from .._visible import date_in_words, size_in_words, visible
from .content import Content, shape_in_words
from .listing import Held
from .metadata import Json, as_script, license_of, tags_of

_POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src 'self' file: data:; "
    "base-uri 'none'; form-action 'none'"
)
_ACCESS = {"public": "anyone", "private": "private", "unknown": "unknown", None: "-"}
_LONGEST = 300  # characters of a value in a table
_EXAMPLE = 60

# name, how it is sorted, whether narrow screens show it
_COLUMNS = (
    ("Identifier", "text", True),
    ("Data", "number", True),
    ("Size", "number", True),
    ("Versions", "number", False),
    ("Who can read it", "text", False),
    ("Stores", "text", False),
    ("Date", "text", True),
    ("Tags", "text", False),
)


def _text(value: object, longest: int | None = None) -> str:
    """Return a value as HTML: escaped, and with characters that do not show as escapes."""
    text = visible(str(value))
    if longest is not None and len(text) > longest:
        text = f"{text[: longest - 1]}…"
    return html.escape(text)


def _page(title: str, body: str, *, root: str = "", head: str = "") -> bytes:
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{_text(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{root}catalogue.css">
<script src="{root}catalogue.js" defer></script>
{head}</head>
<body>
{body}
</body>
</html>
"""
    return page.encode()


def index_page(title: str, rows: Sequence[Json], metadata: Json) -> bytes:
    """Return the page with the table of all assemblies."""
    heads = "".join(f'<th scope="col" data-sort="{kind}"{_wide(narrow)}>{name}</th>' for name, kind, narrow in _COLUMNS)
    count = f"{len(rows):,} {'assembly' if len(rows) == 1 else 'assemblies'}"
    body = f"""<header><h1>{_text(title)}</h1></header>
<main>
<div class="search" id="search" hidden>
<label for="query">Search names, coordinates and tags</label>
<input id="query" type="search" autocomplete="off" spellcheck="false">
</div>
<p id="count" role="status">{count}</p>
<div class="scroll" role="region" aria-label="Assemblies" tabindex="0">
<table id="assemblies">
<thead><tr>{heads}</tr></thead>
<tbody>
{"".join(map(_row, rows))}</tbody>
</table>
</div>
</main>"""
    return _page(title, body, head=f'<script type="application/ld+json">{as_script(metadata)}</script>\n')


def _wide(narrow: bool) -> str:
    return "" if narrow else ' class="wide"'


def _row(row: Json) -> str:
    name = _text(row["identifier"])
    if row["page"] is not None:
        name = f'<a href="{_text(row["page"])}">{name}</a>'
    if row["problem"]:
        name += f'<span class="problem">{_text(row["problem"], _LONGEST)}</span>'
    if row["ask"]:
        name += f'<span class="note">private: ask {_text(row["ask"])}</span>'
    shape = row["shape"] or "-"
    cells = (
        (name, None),
        (f'{_text(shape, 120)}<span class="note">{_text(row["dtype"] or "")}</span>', row["values"]),
        (f'<span class="short">{_text(size_in_words(row["size"]) or "-")}</span>', row["size"]),
        (_text(row["versions"] or "-"), row["versions"]),
        (_text(row["access"]), None),
        (_text(", ".join(row["stores"])), None),
        (
            f'<time datetime="{_text(row["created"])}">{_text(row["created"][:10])}</time>' if row["created"] else "-",
            None,
        ),
        ("".join(f'<span class="tag">{_text(tag, _EXAMPLE)}</span> ' for tag in row["tags"]), None),
    )
    words = f' data-words="{_text(" ".join(row["words"]), 2000)}"' if row["words"] else ""
    parts = []
    for number, ((cell, value), (_, kind, narrow)) in enumerate(zip(cells, _COLUMNS, strict=True)):
        sort = f' data-value="{_text(value or 0)}"' if kind == "number" else ""
        tag = 'th scope="row"' if number == 0 else "td"
        parts.append(f"<{tag}{_wide(narrow)}{sort}>{cell}</{tag[:2]}>")
    return f"<tr{words}>{''.join(parts)}</tr>\n"


def access_in_words(access: str | None) -> str:
    """Return who can read a version."""
    return _ACCESS[access]


def assembly_page(
    title: str,
    content: Content,
    citation: Citation,
    versions: Sequence[tuple[Held, ...]],
    changes: Sequence[str],
    metadata: Json,
    picture: str | None,
) -> bytes:
    """Return the page of one assembly, of its newest version."""
    receipt, newest = content.receipt, versions[0]
    sections = [_facts(content, citation, newest)]
    if content.problem:
        sections.insert(0, f'<p class="problem">Its content could not be read: {_text(content.problem, 2000)}</p>')
    if picture is not None:
        sections.append(
            f'<section><h2>Preview</h2><figure><img src="{_text(picture)}" '
            f'alt="The values of the data in shades of grey: {_text(content.caption)}">'
            f"<figcaption>{_text(content.caption)}</figcaption></figure></section>"
        )
    if content.summary is not None:
        sections += [_coordinates(content.summary), _attributes(content.summary)]
    sections.append(
        "<section><h2>Load this version</h2>"
        + _code("code-python", "Python", citation.python)
        + "</section>\n<section><h2>Cite this version</h2>"
        + _code("code-text", "Text", citation.text)
        + _code("code-bibtex", "BibTeX", citation.bibtex)
        + "</section>"
    )
    sections.append(_versions(versions, changes))
    body = f"""<header><nav aria-label="Catalogue"><a href="../index.html">{_text(title)}</a></nav>
<h1>{_text(receipt.identifier)}</h1></header>
<main>
{"".join(filter(None, sections))}
</main>"""
    head = f'<script type="application/ld+json">{as_script(metadata)}</script>\n'
    return _page(f"{receipt.identifier} - {title}", body, root="../", head=head)


def _facts(content: Content, citation: Citation, newest: tuple[Held, ...]) -> str:
    receipt, summary, public = content.receipt, content.summary, newest[0].access == "public"
    facts: list[tuple[str, str]] = []
    if summary is not None:
        name = f"{summary['name']}: " if summary["name"] is not None else ""
        facts.append(("Data", _text(f"{name}{shape_in_words(summary)}, {summary['dtype']}")))
        facts.append(("In memory", _text(size_in_words(summary["nbytes"]))))
        terms = license_of(summary["attrs"])
        if isinstance(terms, str):
            facts.append(("Licence", f'<a href="{_text(terms)}" rel="noopener noreferrer">{_text(terms)}</a>'))
        elif terms is not None:
            facts.append(("Licence", _text(terms["name"], _LONGEST)))
        if tags := tags_of(content):
            facts.append(("Tags", "".join(f'<span class="tag">{_text(tag, _EXAMPLE)}</span> ' for tag in tags)))
        if summary["extras"]:
            facts.append(("Extras", _text(", ".join(summary["extras"]), _LONGEST)))
    facts += [
        ("File", _text(f"{receipt.key}, {size_in_words(receipt.size)}")),
        ("Version", _text(receipt.version_id or "without an ID")),
        ("Date", _text(date_in_words(receipt.created))),
        *([("Who can read it", _text(access_in_words(newest[0].access)))] if newest[0].access else []),
        ("Stores", "<br>".join(_place(held, newest[0]) for held in newest)),
        ("sha1", f"<code>{_text(receipt.sha1)}</code>"),
        ("sha256", f"<code>{_text(receipt.sha256)}</code>"),
    ]
    if receipt.content_digest:
        facts.append(("Content digest", f"<code>{_text(receipt.content_digest)}</code>"))
    if citation.doi:
        facts.append(("DOI", _text(citation.doi)))
    if citation.contact:
        facts.append(("Contact", _text(citation.contact)))
    if public and receipt.uri:
        facts.append(("URI", f"<code>{_text(receipt.uri)}</code>"))
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    return f"<section><h2>Facts</h2><dl>{rows}</dl></section>\n"


def _place(held: Held, first: Held) -> str:
    """Return a store and its address; beside one that anyone can read, of the others only their names."""
    if first.access == "public" != held.access:
        return _text(held.name)
    return f"{_text(held.name)} (<code>{_text(held.address)}</code>)"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>\n'
        for first, *rest in rows
    )
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<section><h2>{title}</h2><div class="scroll" role="region" aria-label="{title}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{lines}</tbody></table></div>{note}</section>\n"
    )


def _coordinates(summary: dict[str, Any]) -> str:
    rows = []
    for coord in summary["coords"]:
        dims = ", ".join(coord["dims"]) + (f" (level of {coord['index']})" if coord["index"] else "")
        examples = ", ".join(_text(repr(value), _EXAMPLE) for value in coord["examples"])
        more = ", …" if examples and (coord["distinct"] is None or coord["distinct"] > len(coord["examples"])) else ""
        count = "not counted" if coord["distinct"] is None else f"{coord['distinct']:,}"
        rows.append([_text(coord["name"]), _text(dims), _text(coord["dtype"]), count, examples + more])
    return _table("Coordinates", ("Name", "Dimensions", "Type", "Distinct values", "Examples"), rows)


def _attributes(summary: dict[str, Any]) -> str:
    rows = [[_text(name, _LONGEST), _text(value, 2000)] for name, value in summary["attrs"].items()]
    return _table("Attributes", ("Name", "Value"), rows)


def _versions(versions: Sequence[tuple[Held, ...]], changes: Sequence[str]) -> str:
    rows = []
    for each in versions:
        first = each[0].version
        rows.append(
            [
                _text(first.version_id or "-"),
                _text(date_in_words(first.created) or "-"),
                _text(size_in_words(first.size) or "-"),
                _text(", ".join(dict.fromkeys(held.name for held in each))),
                f"<code>{_text(first.sha256 or first.sha1 or '-')}</code>",
            ]
        )
    note = ""
    if changes:
        lines = "".join(f"<li>{_text(line, 500)}</li>" for line in changes)
        note = f"<h3>What changed in the newest version</h3><ul>{lines}</ul>"
    return _table("Versions", ("ID", "Date", "Size", "Stores", "Hash"), rows, note)


def _code(name: str, title: str, text: str) -> str:
    return (
        f'<figure class="code"><figcaption id="{name}-title">{title}</figcaption>'
        f'<pre id="{name}" tabindex="0" aria-labelledby="{name}-title">{_text(text)}</pre></figure>\n'
    )
