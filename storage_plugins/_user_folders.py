"""The folders that the system gives a user for caches, configuration and data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from .errors import ConfigError


def user_folder(kind: Literal["cache", "config", "data"], hint: str) -> Path:
    """Return this package's folder of one kind.

    Raises:
        ConfigError: the user has no home folder, as in a container; ``hint`` says what to set instead.
    """
    import platformdirs

    find = getattr(platformdirs, f"user_{kind}_dir")
    try:
        folder = Path(find("storage-plugins", appauthor=False))
    except RuntimeError:
        folder = Path("~")
    if not folder.is_absolute():  # older versions return "~/.cache", which would be a folder called "~"
        user = f" and user {os.getuid()} is unknown to the system" if os.name != "nt" else ""
        raise ConfigError(f"There is no folder for {kind}: HOME is not set{user}", hint=hint)
    return folder
