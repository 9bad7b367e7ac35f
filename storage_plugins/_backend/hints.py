"""Where the guide for authors of backends explains a mistake: the sections of ``docs/write-a-backend.md``."""

from __future__ import annotations

IMPORT = "It cannot be imported"
HOOK = "It has no hook"
DESCRIPTION = "Its description is wrong"
OPENING = "It does not open"
ANSWER = "An operation gives a wrong answer"


def see(section: str) -> str:
    """Return the sentence that leads an author to one section."""
    return f"Its author: see 'Write a backend', section {section!r}, in the documentation."
