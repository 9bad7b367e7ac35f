"""What a backend's file operations return, checked where the core takes it over.

An author's mistake is told at once, with the plugin, the operation and both types, and not as an
AttributeError deep in the core. Only types are looked at, once an answer and never for each block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from .errors import PluginError
from .files import Content, FileOperations, Source
from .guide import ANSWER, see
from .protocol import Version

T = TypeVar("T")


def put(files: FileOperations, key: str, source: Source, *, metadata: Mapping[str, str], if_absent: bool) -> str | None:
    """Put a file; PluginError for a version id of another type, whatever the host has kept."""
    answer = files.put(key, source, metadata=metadata, if_absent=if_absent)
    return _checked(files, "put", answer, str, None)


def replace(
    files: FileOperations, key: str, source: Source, *, metadata: Mapping[str, str], seen: Version
) -> str | None:
    """Replace a file, as `put`."""
    return _checked(files, "replace", files.replace(key, source, metadata=metadata, seen=seen), str, None)


def read(files: FileOperations, key: str, version_id: str | None, *, start: int, if_match: str | None) -> Content:
    """Begin to read a file."""
    content = _checked(files, "read", files.read(key, version_id, start=start, if_match=if_match), Content)
    _checked(files, "read(…).version", content.version, Version)
    return content


def versions(files: FileOperations, key: str) -> list[Version]:
    """Return all versions of a key."""
    return list(each_version(files, key))


def each_version(files: FileOperations, key: str) -> Iterator[Version]:
    """Yield the versions of a key as they come."""
    return _each(files, "versions", files.versions(key), Version)


def newest(files: FileOperations, key: str) -> Version | None:
    """Return the newest version of a key."""
    return _checked(files, "newest", files.newest(key), Version, None)


def newest_of_all(files: FileOperations, prefix: str) -> list[tuple[str, Version]] | None:
    """Return every key with its newest version, None where each must be asked for."""
    answer = files.newest_of_all(prefix)
    if answer is None:
        return None
    found = list(_each(files, "newest_of_all", answer, tuple))
    for pair in found:
        _checked(files, "newest_of_all", pair[0], str)
        _checked(files, "newest_of_all", pair[-1], Version)
    return found


def keys(files: FileOperations, prefix: str = "") -> list[str]:
    """Return the keys that begin with ``prefix``."""
    return list(_each(files, "keys", files.keys(prefix), str))


def differing_in_case(files: FileOperations, key: str) -> list[str]:
    """Return the keys that differ from ``key`` in case only."""
    return list(_each(files, "differing_in_case", files.differing_in_case(key), str))


def keeps_versions(files: FileOperations) -> bool:
    """Ask whether versions are kept: a word, such as the host's own, is no answer that bytes may depend on."""
    return _checked(files, "keeps_versions", files.keeps_versions(), bool)


def local_file(files: FileOperations, key: str, version_id: str | None) -> tuple[Path, Version] | None:
    """Return the version's own file on this computer."""
    return _checked(files, "local_file", files.local_file(key, version_id), tuple, None)


def no_bytes(files: FileOperations, block: object) -> PluginError:
    """Return the error for a block of a file that is no bytes."""
    return _wrong(files, "read(…).blocks", "blocks of bytes", block)


def _checked(files: FileOperations, operation: str, answer: T, *kinds: type | None) -> T:
    if any(answer is None if kind is None else isinstance(answer, kind) for kind in kinds):
        return answer
    expected = " or ".join("None" if kind is None else kind.__name__ for kind in kinds)
    raise _wrong(files, operation, expected, answer)


def _each(files: FileOperations, operation: str, answer: Iterable[T], kind: type[T]) -> Iterator[T]:
    expected = f"an iterable of {kind.__name__}"
    if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
        raise _wrong(files, operation, expected, answer)
    for one in answer:
        if not isinstance(one, kind):
            raise _wrong(files, operation, expected, one, "a ")
        yield one


def _wrong(files: FileOperations, operation: str, expected: str, got: object, article: str = "") -> PluginError:
    from .plugins import title_by_package

    name = "None" if got is None else type(got).__name__
    return PluginError(f"{title_by_package(files)}: {operation} gave {article}{name}, not {expected}", hint=see(ANSWER))
