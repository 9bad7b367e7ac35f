"""Making a catalogue: what there is, a page for each assembly that changed, and the table."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from .._audit.configured import stores_of
from .._config.config import Config
from .._copies.receipts import Receipts
from .._identifiers import check_identifier
from .._store.cite import cite
from .._store.file_store import FileStore
from .._store.many import run
from .._store.naming import ConfigLike
from .._store.open import open_entry
from ..atomic import expanded
from ..errors import StorageError, error_in_words
from . import listing, metadata, pages
from .content import changes, content_of, number_of_values, shape_in_words, texts_of
from .folder import MANIFEST, PAGES, Folder, Manifest
from .listing import PRIVATE, Listed, Private

_log = logging.getLogger(__name__)
_ALL = "all"  # every store, unless one has this name
_AT_ONCE = 8
_ASSETS = {"catalogue.css": "text/css", "catalogue.js": "text/javascript"}
_CRATE = "ro-crate-metadata.json"
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}  # on Windows
_LONGEST_STEM = 150
Count = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CatalogueReport:
    """What became of a catalogue.

    Attributes:
        folder: where it is.
        assemblies: how many it lists.
        made: identifiers whose pages were made.
        unchanged: how many pages were left as they were.
        removed: how many files were removed.
        left_out: how many assemblies were left out, because not everyone can read them.
        failed: what could not be read, and why, by identifier.
        problems: why stores could not be listed, by name.
    """

    folder: Path
    assemblies: int
    made: tuple[str, ...]
    unchanged: int
    removed: int
    left_out: int
    failed: Mapping[str, str]
    problems: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether everything could be read."""
        return not self.failed and not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "folder": str(self.folder), "made": [*self.made], "complete": self.complete}


def catalogue(
    folder: str | os.PathLike[str],
    *,
    store: str | None = None,
    receipts: bool = False,
    title: str | None = None,
    private: Private = "hide",
    config: ConfigLike = None,
) -> CatalogueReport:
    """Write a web site of the assemblies in a store: a table to search and sort, and a page for each.

    The site consists of files alone and fetches nothing from elsewhere. Run it again to bring it up to date: only pages
    of assemblies that changed are made again, and pages of those that are gone are removed.

    Args:
        folder: where it is written: a new or empty folder, or one with a catalogue.
        store: name of the store; "all": every store of the configuration; None: the default one.
        receipts: list what has a receipt, not what stores list; without ``store``, at every address.
        title: None: made of the store's name.
        private: what is shown of a version that not everyone can read, where the store has anonymous access, or it is
            unknown: nothing ("hide"), the name of the assembly ("names"), or everything ("full").
        config: as in `open_store`.

    Returns:
        a report: what was made, left out, and what failed. One assembly that fails does not stop the others.

    Raises:
        AlreadyExists: the folder has other files.
        AccessDenied, StoreUnavailable: the one store cannot be listed.

    Example:
        >>> import storage_plugins, tempfile, xarray as xr
        >>> config = {"stores": {"lab": {"backend": "local", "root": tempfile.mkdtemp()}}}
        >>> rates = xr.DataArray([1.5, 2.0], dims="neuroid")
        >>> receipt = storage_plugins.open_store(config=config).upload(rates, "Lab2026.rates")
        >>> report = storage_plugins.catalogue(tempfile.mkdtemp(), config=config)
        >>> report.made
        ('Lab2026.rates',)
        >>> sorted(path.name for path in report.folder.iterdir())[1:5]
        ['catalogue.css', 'catalogue.js', 'catalogue.json', 'index.html']
    """
    return build(
        Config.open(config), Path(expanded(folder)), store=store, receipts=receipts, title=title, private=private
    )


def build(
    config: Config,
    path: Path,
    *,
    store: str | None,
    receipts: bool,
    title: str | None,
    private: Private,
    count: Count = lambda done, total: None,
) -> CatalogueReport:
    """Write a catalogue; ``count`` is called with how many assemblies of how many are done. See `catalogue`."""
    if private not in PRIVATE:
        raise ValueError(f"private must be one of {', '.join(PRIVATE)}, got {private!r}")
    stores, problems = _stores(config, store, receipts)
    folder = Folder(path)
    found = (
        _Receipts(config, stores, store, private)
        if receipts
        else _Stores(stores, problems, private, only=store != _ALL)
    )
    title = title or (f"Assemblies in {', '.join(one.name for one in stores)}" if stores else "Assemblies")
    return _Site(folder, title, private, count).made_of(found.everything(), problems)


def _stores(config: Config, name: str | None, receipts: bool) -> tuple[list[FileStore], dict[str, str]]:
    """Return the stores of files that are meant, the default one first, and why others cannot be opened."""
    if (name == _ALL and _ALL not in config.stores) or (name is None and receipts):
        stores, problems = stores_of(config)
        return sorted(stores, key=lambda one: one.name != config.default), problems
    return open_entry(config.entry(name)).file_stores("a catalogue"), {}


@dataclasses.dataclass
class _Stores:
    """What stores list."""

    stores: Sequence[FileStore]
    problems: dict[str, str]
    private: Private
    only: bool

    def everything(self) -> list[Listed]:
        identifiers: dict[str, str] = {}
        holders: dict[str, list[FileStore]] = {}
        for store in self.stores:
            try:
                keys = listing.keys_in_store(store)
            except StorageError as error:
                if self.only and len(self.stores) == 1:
                    raise
                self.problems[store.name] = error.message
                continue
            for key, identifier in keys.items():
                identifiers.setdefault(key, identifier)
                holders.setdefault(key, []).append(store)
        done = run(identifiers, lambda key: self._one(key, identifiers[key], holders[key]), at_once=_AT_ONCE)
        return [
            done.done[key]
            if key in done.done
            else _failed(key, identifiers[key], holders[key], done.failed[key], self.private)
            for key in sorted(identifiers)
        ]

    def _one(self, key: str, identifier: str, holders: Sequence[FileStore]) -> Listed:
        check_identifier(identifier)
        held = [one for store in holders for one in listing.in_store(store, key, identifier, self.private)]
        contact = next((store.settings.contact for store in holders if store.settings.contact), None)
        return listing.listed(key, identifier, held, self.private, contact)


def _failed(key: str, identifier: str, holders: Iterable[FileStore], error: Exception, private: Private) -> Listed:
    """Return an assembly whose versions cannot be listed; hidden if it may be private."""
    access = [listing.access_of(store) for store in holders]
    visible = private != "hide" or any(one in ("public", None) for one in access)
    return Listed(key, identifier, problem=error_in_words(error), visible=visible)


class _Receipts:
    """What has a receipt."""

    def __init__(self, config: Config, stores: Sequence[FileStore], only: str | None, private: Private) -> None:
        self._receipts = Receipts(next(iter(config.stores.values())).receipts)
        self._stores = {store.address: store for store in stores}
        self._only = None if only in (None, _ALL) else self._stores
        self._private = private

    def everything(self) -> list[Listed]:
        keys = listing.keys_in_receipts(self._receipts)
        done = run(keys, lambda key: self._one(key, keys[key]), at_once=_AT_ONCE)
        found = [
            done.done[key] if key in done.done else _failed(key, keys[key], (), done.failed[key], self._private)
            for key in sorted(keys)
        ]
        return [one for one in found if one is not None]

    def _one(self, key: str, identifier: str) -> Listed | None:
        """Return an assembly; None if it has no receipt of a store that was asked for."""
        check_identifier(identifier)
        held = listing.in_receipts(self._receipts, key, self._stores, self._only, self._private)
        contact = next((one.store.settings.contact for one in held if one.store and one.store.settings.contact), None)
        return listing.listed(key, identifier, held, self._private, contact) if held else None


class _Site:
    """The files of a catalogue."""

    def __init__(self, folder: Folder, title: str, private: Private, count: Count) -> None:
        self._folder, self._title, self._private, self._count = folder, title, private, count
        self._doi = functools.cache(lambda store: store._doi())
        self._about = (_generator(), title, private)

    def made_of(self, everything: Sequence[Listed], problems: Mapping[str, str]) -> CatalogueReport:
        before = self._folder.before
        visible = [one for one in everything if one.visible]
        stems = _stems(one for one in visible if one.versions)
        wanted, now, rows = {}, Manifest(files={*before.files}), dict[str, dict[str, Any]]()
        for one in visible:
            if not one.versions:
                rows[one.key] = _row(one)
                continue
            state = one.state(*self._about, stems[one.key])
            page = before.pages.get(one.key)
            if page is not None and page["state"] == state and self._folder.has(page["files"]):
                now.pages[one.key] = page
            else:
                wanted[one.key] = (one, state, stems[one.key])
        unchanged = len(now.pages)
        for name in self._of_lost_stores(problems, everything):
            now.pages[name] = before.pages[name]
        now.files |= {f"{PAGES}/{stem}.{ending}" for *_, stem in wanted.values() for ending in ("html", "png")}
        self._folder.save(now)  # so that what an interruption leaves behind is known
        made: list[str] = []

        def finished(key: str, outcome: Any) -> None:
            if isinstance(outcome, Exception):
                rows[key] = _row(dataclasses.replace(wanted[key][0], versions=(), problem=error_in_words(outcome)))
            else:
                now.pages[key] = outcome
                made.append(wanted[key][0].identifier)
            self._count(len(rows) + len(now.pages), len(visible))

        try:
            run(wanted, lambda key: self._page(*wanted[key]), at_once=_AT_ONCE, finished=finished)
        finally:
            self._folder.save(now)
        rows |= {key: page["row"] for key, page in now.pages.items()}
        self._write_index([rows[key] for key in sorted(rows, key=lambda key: rows[key]["identifier"])], now)
        files = {name for page in now.pages.values() for name in page["files"]}
        removed = self._folder.remove(sorted(now.files - files), files)
        now.files = files
        self._folder.save(now)
        problem = {row["identifier"]: row["problem"] for row in rows.values() if row["problem"]}
        hidden = {one.identifier: one.problem for one in everything if one.problem and not one.visible}
        return CatalogueReport(
            folder=self._folder.path,
            assemblies=len(rows),
            made=tuple(sorted(made)),
            unchanged=unchanged,
            removed=removed,
            left_out=len(everything) - len(visible),
            failed=problem | hidden,
            problems=dict(problems),
        )

    def _of_lost_stores(self, problems: Mapping[str, str], everything: Sequence[Listed]) -> list[str]:
        """Return the keys whose pages stay because a store that had them cannot be listed now."""
        found = {one.key for one in everything}
        pages = self._folder.before.pages
        return [key for key, page in pages.items() if key not in found and {*page["row"]["stores"]} & problems.keys()]

    def _page(self, one: Listed, state: str, stem: str) -> dict[str, Any]:
        """Write the page of an assembly, and return what the manifest notes of it."""
        newest = one.versions[0][0]
        content = content_of(newest, one.key, one.identifier)
        attrs = content.summary["attrs"] if content.summary else {}
        citation = cite(
            content.receipt,
            authors=texts_of(attrs, "authors", "author", "creators", "creator"),
            contact=one.contact,
            doi=self._doi(newest.store) if newest.store else None,
        )
        public = newest.access == "public" and bool(content.receipt.uri)
        page, picture = f"{PAGES}/{stem}.html", f"{PAGES}/{stem}.png"
        files = [page]
        if content.picture is not None:
            self._folder.write(picture, content.picture)
            files.append(picture)
        differences = changes(content, one.versions[1][0]) if len(one.versions) > 1 else []
        described = metadata.dataset(content, citation, public=public, catalogue=self._title)
        drawn = f"{stem}.png" if content.picture is not None else None
        text = pages.assembly_page(self._title, content, citation, one.versions, differences, described, drawn)
        self._folder.write(page, text)
        summary = content.summary
        row = {
            **_row(one),
            "page": page,
            "shape": shape_in_words(summary) if summary else None,
            "values": number_of_values(summary) if summary else None,
            "dtype": summary["dtype"] if summary else None,
            "size": content.receipt.size,
            "versions": len(one.versions),
            "created": content.receipt.created.isoformat(),
            "tags": metadata.tags_of(content),
            "words": [coord["name"] for coord in summary["coords"]] if summary else [],
            "problem": content.problem,
        }
        entity = metadata.page_entity(page, content, citation, public=public)
        return {"state": None if content.problem else state, "files": files, "row": row, "entity": entity}

    def _write_index(self, rows: Sequence[dict[str, Any]], now: Manifest) -> None:
        count = f"{len(rows):,} {'assembly' if len(rows) == 1 else 'assemblies'}"
        description = f"{self._title}: {count} with dimensions, coordinates, hashes and versions."
        dates = [row["created"] for row in rows if row["created"]]
        described = {
            "@context": "https://schema.org/",
            "@type": "DataCatalog",
            "name": self._title,
            "description": description,
            "dataset": [
                {
                    "@type": "Dataset",
                    "name": row["identifier"],
                    "description": now.pages[key]["entity"]["description"],
                    "url": row["page"],
                }
                for key, row in ((key, page["row"]) for key, page in sorted(now.pages.items()))
            ],
        }
        here = Path(__file__).parent
        for name in _ASSETS:
            self._folder.write(name, (here / name).read_bytes())
        self._folder.write("index.html", pages.index_page(self._title, rows, described))
        entities = [page["entity"] for _, page in sorted(now.pages.items())]
        pictures = [
            (name, "image/png") for page in now.pages.values() for name in page["files"] if name.endswith("png")
        ]
        files = [("index.html", "text/html"), *_ASSETS.items(), (MANIFEST, "application/json"), *sorted(pictures)]
        date = max(dates, default="1970-01-01T00:00:00+00:00")
        self._folder.write(_CRATE, metadata.crate(self._title, description, date, entities, files))


def _row(one: Listed) -> dict[str, Any]:
    """Return a row of the table; without versions, of the name alone."""
    first = one.versions[0] if one.versions else ()
    hidden = not one.versions and one.problem is None
    return {
        "identifier": one.identifier,
        "page": None,
        "shape": None,
        "values": None,
        "dtype": None,
        "size": None,
        "versions": None,
        "access": pages.access_in_words(first[0].access) if first else "private" if hidden else "-",
        "stores": list(dict.fromkeys(held.name for held in first)),
        "created": None,
        "tags": [],
        "words": [],
        "problem": one.problem,
        "ask": one.contact if hidden else None,
    }


def _stems(everything: Iterable[Listed]) -> dict[str, str]:
    """Return the file name of each page, without its ending: the identifier, where that is safe and the only one."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for one in everything:
        stem = check_identifier(one.identifier)
        short = stem[:_LONGEST_STEM]
        if short != stem or short.lower() in taken or short.lower().partition(".")[0] in _RESERVED or short[-1] == ".":
            stem = f"{short[:60].rstrip('.')}-{hashlib.sha256(one.key.encode()).hexdigest()[:16]}"
        found[one.key] = stem
        taken.add(stem.lower())
    return found


@functools.cache
def _generator() -> str:
    """Return a hash of what makes pages, so that another version of it makes them again."""
    here = Path(__file__).parent
    text = b"".join((here / name).read_bytes() for name in ("pages.py", "content.py", "metadata.py", "build.py"))
    return f"{__version__} {hashlib.sha256(text).hexdigest()}"
