"""What counts as an answer of an S3 server: everything else is an error, never an empty list or a missing file.

Login pages of networks, consoles and broken proxies answer 200 to anything. The shapes are those of the Amazon S3
API reference; other servers leave optional elements out.
"""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from storage_plugins import Version

from .connection import Reply
from .errors import Refusal, not_s3, refused

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_PAGES_WITHOUT_NEWS = 3  # pages in a row that list nothing new, after which a listing is taken to be endless


@dataclasses.dataclass(frozen=True)
class Entry:
    """One object version, or one object, as a listing describes it. ``size`` is None for a delete marker."""

    key: str
    version_id: str | None
    etag: str | None
    size: int | None
    created: datetime | None
    latest: bool


@dataclasses.dataclass(frozen=True)
class Page:
    """One page of a listing: its entries, its subfolders, and the query for the next page, None at the end."""

    entries: list[Entry]
    folders: list[str]
    following: dict[str, str] | None


def refusal(reply: Reply) -> Refusal:
    """Return the error that an answer with an error status describes."""
    code = message = ""
    if reply.body:
        try:
            root = _parsed(reply.body)
        except ValueError:
            pass  # a page of some proxy's
        else:
            if _name(root) == "Error":
                code, message = _text(root, "Code") or "", _text(root, "Message") or ""
    return Refusal(reply.status, code, message, reply.headers)


def document(reply: Reply, root: str, address: str, *, other: str = "") -> Element:
    """Return an answer's XML document, whose root element has to be ``root``, or what some servers call it."""
    try:
        found = _parsed(reply.body)
    except ValueError as error:
        raise not_s3(address, f"expected {root}, got {_shown(reply.body)}") from error
    if _name(found) == "Error":  # a long request answers 200 before its result is known
        told = Refusal(500, _text(found, "Code") or "InternalError", _text(found, "Message") or "", reply.headers)
        raise refused(told, "the result", address) from told
    if _name(found) not in (root, other):
        raise not_s3(address, f"expected {root}, got {_name(found)}")
    return found


def described(reply: Reply, address: str, *, size: int | None) -> Version:
    """Return the version that the headers of an answer to GET or HEAD describe."""
    headers = reply.headers
    known = any(name.startswith(("x-amz-", "x-goog-")) for name in headers)
    page = headers.get("content-type", "").startswith("text/html")
    if not headers.get("etag") or not (known or "last-modified" in headers) or (page and not known):
        raise not_s3(address, "an answer without the headers of a stored object")
    metadata = {name[11:]: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    return Version.described(
        metadata,
        version_id=headers.get("x-amz-version-id") or None,
        size=size,
        created=_http_date(headers.get("last-modified", "")),
        etag=headers["etag"],
        md5=_md5(headers),
    )


def _md5(headers: Mapping[str, str]) -> str | None:
    """Return the MD5 of the bytes, where the ETag is one: of an upload in one request, not encrypted by other keys.

    "Common response headers" in the Amazon S3 API reference.
    """
    own_keys = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
    if own_keys or "x-amz-server-side-encryption-customer-algorithm" in headers:
        return None
    found = _MD5.fullmatch(headers.get("etag", ""))
    return found[1] if found else None


def length(reply: Reply) -> int | None:
    """Return the Content-Length of an answer, None where it has none."""
    return number(reply.headers.get("content-length", ""))


def number(text: str | None) -> int | None:
    """Return the number that a text is, None for other texts and for numbers of a size that nothing has."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 18 else None


def pages(ask: Callable[[Mapping[str, str]], Page], address: str) -> Iterator[Page]:
    """Yield all pages of a listing. ``ask`` gets the query for a page.

    Raises:
        StoreUnavailable: the pages do not come to an end.
    """
    query: dict[str, str] | None = {}
    asked: set[tuple[tuple[str, str], ...]] = set()
    seen: set[tuple[str, str | None]] = set()
    idle = 0
    while query is not None:
        place = tuple(sorted(query.items()))
        if place in asked:
            raise not_s3(address, "its listing goes round in circles")
        asked.add(place)
        page = ask(query)
        names = {(entry.key, entry.version_id) for entry in page.entries} | {(name, None) for name in page.folders}
        idle = 0 if names - seen else idle + 1
        if idle >= _PAGES_WITHOUT_NEWS and page.following is not None:
            raise not_s3(address, f"{idle} pages of its listing had nothing new")
        seen |= names
        yield page
        query = page.following


def objects_page(reply: Reply, prefix: str, address: str) -> Page:
    """Read one page of the listing of objects (ListObjectsV2)."""
    root = _listing(reply, "ListBucketResult", prefix, address)
    plain = _decoder(root)
    entries = [_entry(each, plain, address) for each in _all(root, "Contents")]
    folders = [plain(_text(each, "Prefix") or "") for each in _all(root, "CommonPrefixes")]
    count = number(_text(root, "KeyCount"))
    if count is not None and count > len(entries) + len(folders):
        raise not_s3(address, f"a page of its listing has {len(entries) + len(folders)} of {count} entries")
    following = None
    if _truncated(root, address):
        token = _text(root, "NextContinuationToken")
        if not token:
            raise not_s3(address, "its listing is cut and does not say how to go on")
        following = {"continuation-token": token}
    return Page(entries, folders, following)


def versions_page(reply: Reply, prefix: str, address: str) -> Page:
    """Read one page of the listing of versions (ListObjectVersions), delete markers included, in its order."""
    root = _listing(reply, "ListVersionsResult", prefix, address)
    plain = _decoder(root)
    entries = [_entry(each, plain, address) for each in root if _name(each) in ("Version", "DeleteMarker")]
    following = None
    if _truncated(root, address):
        key = _text(root, "NextKeyMarker")
        if not key:
            raise not_s3(address, "its listing is cut and does not say how to go on")
        version = _text(root, "NextVersionIdMarker")
        following = {"key-marker": plain(key), **({"version-id-marker": version} if version else {})}
    return Page(entries, [], following)


def unfinished_uploads(reply: Reply, address: str) -> list[tuple[str, str, datetime]]:
    """Return key, upload id and beginning of each unfinished upload on one page of ListMultipartUploads."""
    root = document(reply, "ListMultipartUploadsResult", address)
    plain = _decoder(root)
    found = []
    for each in _all(root, "Upload"):
        key, upload, begun = _text(each, "Key"), _text(each, "UploadId"), _iso_date(_text(each, "Initiated") or "")
        if key and upload and begun:
            found.append((plain(key), upload, begun))
    return found


def _listing(reply: Reply, name: str, prefix: str, address: str) -> Element:
    root = document(reply, name, address)
    told = _text(root, "Prefix")
    if told and prefix not in (told, _decoder(root)(told)):  # Ceph encodes keys, and this not
        raise not_s3(address, f"asked for the listing of {prefix!r}, got that of {told!r}")
    return root


def _entry(element: Element, plain: Callable[[str], str], address: str) -> Entry:
    key, size = _text(element, "Key"), number(_text(element, "Size"))
    marker = _name(element) == "DeleteMarker"
    if not key or (size is None and not marker):
        raise not_s3(address, f"an entry of its listing lacks {'Size' if key else 'Key'}")
    return Entry(
        key=plain(key),
        version_id=_text(element, "VersionId"),
        etag=_text(element, "ETag"),
        size=None if marker else size,
        created=_iso_date(_text(element, "LastModified") or ""),
        latest=_text(element, "IsLatest") == "true",
    )


def _truncated(root: Element, address: str) -> bool:
    told = _text(root, "IsTruncated")
    if told not in ("true", "false"):
        raise not_s3(address, "its listing does not say whether it is complete")
    return told == "true"


def _decoder(root: Element) -> Callable[[str], str]:
    return unquote_plus if _text(root, "EncodingType") == "url" else str


def _parsed(body: bytes) -> Element:
    """Parse XML from outside. Answers of S3 declare no document type, and so no entities that could grow."""
    if b"<!doctype" in body.lower():
        raise ValueError("a document type declaration")
    try:
        return ElementTree.fromstring(body.strip())  # noqa: S314
    except (ElementTree.ParseError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(str(error)) from error


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _all(root: Element, name: str) -> Iterator[Element]:
    return (each for each in root if _name(each) == name)


def _text(root: Element, name: str) -> str | None:
    return next((each.text or "" for each in _all(root, name)), None)


def _shown(body: bytes) -> str:
    """Return the beginning of an answer, fit for a message."""
    text = "".join(character if character.isprintable() else " " for character in body[:60].decode("utf-8", "replace"))
    return repr(" ".join(text.split())) if body else "an empty answer"


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _iso_date(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
