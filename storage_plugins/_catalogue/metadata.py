"""What search engines and archives read: JSON-LD with schema.org's Dataset, and RO-Crate 1.1.

The properties are those of https://developers.google.com/search/docs/appearance/structured-data/dataset and of
https://www.researchobject.org/ro-crate/specification/1.1/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

from .._store.cite import Citation
from .._visible import size_in_words, visible
from .content import Content, shape_in_words, text_of, texts_of

_NETCDF = "application/x-netcdf"
_DESCRIPTION = (50, 5000)  # characters that Google asks for
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,9}/\S+)")
_CRATE = "https://w3id.org/ro/crate/1.1"
_MOST_VARIABLES = 100
Json = dict[str, Any]


def as_script(values: Json) -> str:
    """Return JSON that is safe between the tags of a script, whatever texts are in it."""
    text = json.dumps(values, indent=1)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def dataset(content: Content, citation: Citation, *, public: bool, catalogue: str) -> Json:
    """Return schema.org's description of one version."""
    receipt, summary = content.receipt, content.summary or {}
    attrs = summary.get("attrs", {})
    doi = _DOI.fullmatch(citation.doi or text_of(attrs, "doi"))
    found: Json = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": text_of(attrs, "title") or receipt.identifier,
        "alternateName": receipt.identifier,
        "description": description_of(content),
        "identifier": [*([f"https://doi.org/{doi[1]}"] if doi else []), receipt.identifier, f"sha256:{receipt.sha256}"],
        "version": receipt.version_id or receipt.sha256[:12],
        "dateModified": receipt.created.isoformat(),
        "keywords": tags_of(content),
        "creator": [{"@type": "Person", "name": name} for name in citation.authors],
        "license": license_of(attrs),
        "creditText": citation.text,
        "includedInDataCatalog": {"@type": "DataCatalog", "name": catalogue},
        "variableMeasured": _variables(summary),
        "measurementTechnique": text_of(attrs, "measurement_technique", "technique", "modality"),
    }
    if public:
        found["isAccessibleForFree"] = True
        found["identifier"].insert(-1, receipt.uri)  # for `storage_plugins.load`
    if public and receipt.uri.startswith(("http://", "https://")):  # search engines understand no other addresses
        found["distribution"] = [
            {
                "@type": "DataDownload",
                "contentUrl": receipt.uri.partition("#")[0],
                "encodingFormat": _NETCDF,
                "contentSize": f"{receipt.size} B",
                "sha256": receipt.sha256,
            }
        ]
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def description_of(content: Content) -> str:
    """Return a description of 50 to 5000 characters."""
    receipt, summary = content.receipt, content.summary
    own = text_of(summary["attrs"], "description", "abstract", "summary", "comment") if summary else ""
    least, most = _DESCRIPTION
    if len(own) >= least:
        return own if len(own) <= most else f"{own[: most - 1]}…"
    made = f"Brain-data assembly {receipt.identifier}, a netCDF file of {size_in_words(receipt.size)}"
    if summary is not None:
        made += f", with data of type {summary['dtype']} and shape {shape_in_words(summary)}"
        names = [coord["name"] for coord in summary["coords"]]
        made += f". Coordinates: {', '.join(names)}" if names else ""
    text = f"{own.rstrip('.')}. {made}." if own else f"{made}."
    return text if len(text) <= most else f"{text[: most - 1]}…"


def tags_of(content: Content) -> list[str]:
    """Return the tags in an assembly's attributes."""
    return texts_of(content.summary["attrs"], "tags", "keywords") if content.summary else []


def license_of(attrs: Json) -> str | Json | None:
    """Return the licence in an assembly's attributes: an address, or a work with a name."""
    text = text_of(attrs, "license", "licence")
    if re.fullmatch(r"https?://\S+", text):
        return text
    return {"@type": "CreativeWork", "name": text} if text else None


def _variables(summary: Json) -> list[Json]:
    if not summary:
        return []
    found = [{"@type": "PropertyValue", "name": str(summary["name"] or "data"), "description": shape_in_words(summary)}]
    for coord in summary["coords"][:_MOST_VARIABLES]:
        about = f"coordinate of {', '.join(coord['dims']) or 'the whole'}, {coord['dtype']}"
        found.append({"@type": "PropertyValue", "name": coord["name"], "description": about})
    return found


def page_entity(page: str, content: Content, citation: Citation, *, public: bool) -> Json:
    """Return RO-Crate's description of an assembly, under its page; `crate` completes it."""
    receipt = content.receipt
    attrs = content.summary["attrs"] if content.summary else {}
    address = license_of(attrs)
    return {
        "@id": page,
        "@type": "File",
        "name": receipt.identifier,
        "description": description_of(content),
        "identifier": f"sha256:{receipt.sha256}",
        "version": receipt.version_id or receipt.sha256[:12],
        "dateModified": receipt.created.isoformat(),
        "encodingFormat": "text/html",
        **({"author": [{"@id": f"#{quote(name)}"} for name in citation.authors]} if citation.authors else {}),
        **({"keywords": ", ".join(tags)} if (tags := tags_of(content)) else {}),
        **({"license": address} if isinstance(address, str) else {}),
        **({"license": address["name"]} if isinstance(address, dict) else {}),
        **({"isBasedOn": receipt.uri} if public else {}),
    }


def crate(title: str, description: str, date: str, pages: Iterable[Json], files: Iterable[tuple[str, str]]) -> bytes:
    """Return the text of ``ro-crate-metadata.json``.

    Args:
        title, description: of the catalogue.
        date: when the newest assembly was uploaded, ISO 8601.
        pages: from `page_entity`.
        files: path and media type of every other file.
    """
    described = list(pages)
    people = sorted({author["@id"] for page in described for author in page.get("author", ())})
    entities = [
        *described,
        *({"@id": path, "@type": "File", "name": path, "encodingFormat": kind} for path, kind in files),
    ]
    graph: list[Json] = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "conformsTo": {"@id": _CRATE},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": title,
            "description": description,
            "datePublished": date,
            "license": {"@id": "#license"},
            **({"author": [{"@id": one} for one in people]} if people else {}),
            "hasPart": [{"@id": entity["@id"]} for entity in entities],
        },
        {
            "@id": "#license",
            "@type": "CreativeWork",
            "name": "As each assembly says",
            "description": "Each assembly has a licence of its own, given where it is described, or none.",
        },
        *({"@id": one, "@type": "Person", "name": unquote(one[1:])} for one in people),
        *entities,
    ]
    text = json.dumps({"@context": f"{_CRATE}/context", "@graph": graph}, indent=1)
    return f"{text}\n".encode()


def one_line(text: str) -> str:
    """Return a text from outside on one line, with characters that do not show as escapes."""
    return visible(" ".join(text.split()), one_line=True)
