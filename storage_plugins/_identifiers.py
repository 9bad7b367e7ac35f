"""Which names are allowed, and which file name ("key") in a store an identifier maps to.

The rule for keys is Brain-Score's: prefix + identifier with every ``.`` as ``_`` + ``.nc``.
"""

from __future__ import annotations

import re

from .errors import InvalidIdentifier

MAX_IDENTIFIER = 200
MAX_FILE_NAME = 240  # hosts and filesystems stop at 255; temporary names need some room
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*|")


def check_identifier(identifier: object) -> str:
    """Return ``identifier`` if it is valid, otherwise raise InvalidIdentifier."""
    if not isinstance(identifier, str):
        raise InvalidIdentifier(f"An identifier must be a str, got {type(identifier).__name__}")
    return _check(identifier, "identifier", MAX_IDENTIFIER)


def check_file_name(name: object) -> str:
    """Return ``name`` if a file of any kind may have it, otherwise raise InvalidIdentifier."""
    if not isinstance(name, str):
        raise InvalidIdentifier(f"A file name must be a str, got {type(name).__name__}")
    if name.endswith("."):
        raise InvalidIdentifier(f"{name!r} ends in a dot, which Windows removes from file names")
    return _check(name, "file name", MAX_FILE_NAME)


def check_prefix(prefix: object) -> str:
    """Return ``prefix`` if file names may begin with it (``assy_``, ``ceiling_``, or the empty one)."""
    if not isinstance(prefix, str):
        raise InvalidIdentifier(f"An assembly prefix must be a str, got {type(prefix).__name__}")
    if not _PREFIX.fullmatch(prefix) or len(prefix) > 30:
        raise InvalidIdentifier(
            f"{prefix!r} cannot be an assembly prefix",
            hint="Use at most 30 ASCII letters, digits, _ - +, beginning with a letter or digit.",
        )
    return prefix


def assembly_key(identifier: object, prefix: object) -> str:
    """Return the file name of the assembly ``identifier`` in any store: ``assy_`` + ``a_b`` + ``.nc``."""
    return f"{check_prefix(prefix)}{check_identifier(identifier).replace('.', '_')}.nc"


def _check(name: str, what: str, limit: int) -> str:
    if not name:
        raise InvalidIdentifier(f"The {what} is empty")
    if len(name) > limit:
        raise InvalidIdentifier(f"The {what} {name[:40]!r}… has {len(name)} characters; the maximum is {limit}")
    if not _NAME.fullmatch(name):
        raise InvalidIdentifier(
            f"{name!r} cannot be an {what}" if what == "identifier" else f"{name!r} cannot be a {what}",
            hint="Use ASCII letters, digits, . _ - +, beginning with a letter or digit.",
        )
    return name
