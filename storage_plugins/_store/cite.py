"""Citing one version: a sentence, BibTeX, CITATION.cff, and the lines of Python that load it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from .._visible import html_fields, visible
from ..protocol import Receipt

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_KEY = re.compile(r"[^A-Za-z0-9._+-]")  # what no identifier has
# what the schema of CITATION.cff 1.2.0 accepts
_MAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>]{2,}")
_DOI = re.compile(r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+")
_BIBTEX = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",  # BibTeX counts braces, those after a backslash too
    "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "#$%&_"},
}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Citation:
    """How one version is cited. ``str()`` of it is the sentence.

    Attributes:
        receipt: the version.
        authors: names, as ``"Doe, Jane"`` or as they are to be shown.
        contact: whom to ask, as in ``storage.yaml``; None if nobody is named there.
        doi: DOI of the location, such as an OSF project's; None where there is none.
    """

    receipt: Receipt
    authors: tuple[str, ...] = ()
    contact: str | None = None
    doi: str | None = None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return visible(f"<Citation: {self.text}>", one_line=True)

    def _repr_html_(self) -> str:
        return html_fields("Citation", {"text": self.text, "BibTeX": self.bibtex, "Python": self.python})

    @property
    def text(self) -> str:
        """One sentence or two, for a paper."""
        receipt, created = self.receipt, self.receipt.created
        version = f", version {_line(receipt.version_id)}" if receipt.version_id else ""
        parts = [
            f"{'; '.join(self.authors)} ({created.year})" if self.authors else "",
            f"{_line(receipt.identifier)}{version} [data set]",
            f"Uploaded to {_line(receipt.address)} on {created.day} {_MONTHS[created.month - 1]} {created.year}",
            f"sha256 {receipt.sha256}",
            f"https://doi.org/{self.doi}" if self.doi else "",
            _line(receipt.uri),
            f"Contact: {self.contact}" if self.contact else "",
        ]
        return ". ".join(part for part in parts if part) + "."

    @property
    def bibtex(self) -> str:
        """An entry for BibTeX and BibLaTeX. A name of more than one word is not taken apart unless it has a comma."""
        receipt, created = self.receipt, self.receipt.created
        note = f"Data set in {_line(receipt.address)}, sha256 {receipt.sha256}"
        if self.contact:
            note += f", contact: {self.contact}"
        fields = {
            "title": f"{{{_bibtex(_line(receipt.identifier))}}}",
            "author": " and ".join(_bibtex(name) if "," in name else f"{{{_bibtex(name)}}}" for name in self.authors),
            "year": str(created.year),
            "month": _MONTHS[created.month - 1][:3].lower(),
            "version": _bibtex(_line(receipt.version_id or "")),
            "doi": self.doi or "",
            "url": _as_url(receipt.uri),
            "note": _bibtex(note),
        }
        lines = [
            f"  {name:<7} = {value if name == 'month' else f'{{{value}}}'}," for name, value in fields.items() if value
        ]
        return "\n".join([f"@misc{{{_KEY.sub('', receipt.identifier)}-{receipt.sha256[:8]},", *lines, "}"])

    @property
    def cff(self) -> str:
        """The text of a CITATION.cff, of version 1.2.0 of that format."""
        import yaml

        receipt = self.receipt
        identifiers = [{"type": "other", "value": f"sha256:{receipt.sha256}", "description": "hash of the file"}]
        if receipt.uri:
            identifiers.append(
                {"type": "other", "value": _line(receipt.uri), "description": "for storage_plugins.load, in Python"}
            )
        fallback = self.contact or f"The authors of {_line(receipt.identifier)}"
        values: dict[str, Any] = {
            "cff-version": "1.2.0",
            "message": "If you use these data, please cite them as below.",
            "type": "dataset",
            "title": _line(receipt.identifier),
            "authors": [_cff_author(name) for name in self.authors or [fallback]],
            **({"contact": [_cff_author(self.contact)]} if self.contact and self.authors else {}),
            "version": _line(receipt.version_id or receipt.sha256[:12]),
            "date-released": receipt.created.date().isoformat(),
            **({"doi": self.doi} if self.doi and _DOI.fullmatch(self.doi) else {}),
            **({"url": _line(receipt.uri)} if receipt.uri.startswith(("http://", "https://")) else {}),
            "identifiers": identifiers,
        }
        text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
        return text.removesuffix("\n")

    @property
    def python(self) -> str:
        """Lines of Python that load exactly this version, with this package and with Brain-Score's function."""
        receipt = self.receipt
        pin = f"{receipt.identifier!r}, sha256={receipt.sha256!r}"
        is_file = receipt.identifier == receipt.key
        lines = ["import storage_plugins", ""]
        if receipt.uri and not is_file:
            lines += ["# from anywhere", f"assembly = storage_plugins.load({receipt.uri!r})", ""]
        lines.append(
            f"# by the name of its store in storage.yaml, which may be at {_line(receipt.address)} or elsewhere"
        )
        store = f"storage_plugins.open_store({receipt.store!r})"
        if is_file:
            return "\n".join([*lines, f"path = {store}.fetch({pin})"])
        lines += [
            f"assembly = {store}.load({pin})",
            "",
            "# with Brain-Score's function",
            "from storage_plugins.brainscore import load_from_s3",
            "",
            f"assembly = {receipt.pin()}",
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the citation in all its forms, with the receipt, as plain values."""
        forms = {form: getattr(self, form) for form in ("text", "bibtex", "cff", "python")}
        return {"receipt": self.receipt.to_dict(), "doi": self.doi, **forms}


def cite(
    receipt: Receipt, *, authors: Sequence[str] | str = (), contact: str | None = None, doi: str | None = None
) -> Citation:
    """Return how the version of a receipt is cited; nothing is asked of its store.

    Args:
        receipt: of the version.
        authors: their names, ``"Doe, Jane"`` each; a text is one name.
        contact: whom to ask for the data.
        doi: of the data set, ``10.…``.

    Example:
        >>> import storage_plugins, tempfile, xarray as xr
        >>> stores = {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}
        >>> store = storage_plugins.open_store(config={"stores": stores})
        >>> receipt = store.upload(xr.DataArray([1.5, 2.0], dims="neuroid"), "Lab2026.rates")
        >>> storage_plugins.cite(receipt, authors=["Doe, Jane"]).bibtex.splitlines()[2]
        '  author  = {Doe, Jane},'
    """
    names = [authors] if isinstance(authors, str) else authors
    return Citation(
        receipt=receipt,
        authors=tuple(name for name in map(_line, names) if name),
        contact=_line(contact or "") or None,
        doi=doi,
    )


def _line(text: str | None) -> str:
    """Return a text from outside on one line, without control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in text or "").split())


def _bibtex(text: str) -> str:
    return "".join(_BIBTEX.get(character, character) for character in text)


def _as_url(uri: str) -> str:
    """Return a URI for a ``url`` field, which BibTeX's styles print as it is: without braces and backslashes."""
    return "".join(f"%{ord(one):02X}" if one in "{}\\ " else one for one in _line(uri))


def _cff_author(name: str) -> dict[str, str]:
    family, comma, given = (part.strip() for part in name.partition(","))
    if comma and family and given:
        return {"family-names": family, "given-names": given}
    return {"name": name, "email": name} if _MAIL.fullmatch(name) else {"name": name}
