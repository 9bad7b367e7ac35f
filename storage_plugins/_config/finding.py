"""Which ``storage.yaml`` applies in a folder, and whether somebody else could have written it.

A file that was found, in contrast to one that was named, may have been put there by another user of the computer.
It counts only if the user or root owns it, and nobody else can write to it or to its folder.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from .._user_folders import user_folder
from ..errors import ConfigError

FILE_NAME = "storage.yaml"
_MOST_LINKS = 40  # as Linux
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def find(start: Path | None = None) -> Path | None:
    """Return the ``storage.yaml`` that applies in the folder ``start`` (None: the current folder), or None."""
    here, home = Path(start or ".").absolute(), _home()
    with contextlib.suppress(OSError):  # a folder that may not be read ends the search
        for folder in (here, *here.parents):
            if (folder / FILE_NAME).is_file():
                return folder / FILE_NAME
            if folder.resolve() == home or (folder / ".git").exists():
                break
    users = users_file()
    return users if users is not None and users.is_file() else None


def users_file() -> Path | None:
    """Return the path of the ``storage.yaml`` in the user's config folder; None for a user without a home."""
    with contextlib.suppress(ConfigError):
        return user_folder("config", "Set HOME.") / FILE_NAME
    return None


def _home() -> Path | None:
    with contextlib.suppress(RuntimeError):
        return Path.home().resolve()
    return None


def why_unsafe(path: Path, file: os.stat_result | None = None) -> str | None:
    """Return why another user could have written a file, None if nobody else could.

    Looked at are the file, its folder, and each symbolic link on the way with the folder that the link is in.
    On Windows, where modes say nothing about this, the answer is None.

    Args:
        path: the file.
        file: its status if it is open already.

    Raises:
        OSError: it cannot be looked at.
    """
    if os.name == "nt":
        return None
    here = path.absolute()
    for _ in range(_MOST_LINKS):
        status = here.lstat()
        reason = _why_unsafe_folder(here.parent, status) or _why_unsafe_owner(here, status)
        if reason or not stat.S_ISLNK(status.st_mode):
            break
        here = here.parent.resolve() / here.readlink()
    if reason:
        return reason
    real = path.resolve()
    status = file or real.stat()
    return _why_unsafe_owner(real, status) or _why_writable(real, status) or _why_unsafe_folder(real.parent, status)


def _why_unsafe_folder(folder: Path, inside: os.stat_result) -> str | None:
    """Return why others could replace what is in a folder. In one with the sticky bit, only owners can."""
    if inside.st_uid == 0 != os.geteuid() and inside.st_nlink == 1:
        return None  # only root can have made it, as in the image of a container
    status = folder.stat()
    reason = _why_unsafe_owner(folder, status)
    if reason or not status.st_mode & stat.S_ISVTX:
        return reason or _why_writable(folder, status)
    if inside.st_nlink > 1 and _why_writable(folder, status):
        return f"others can write to {folder}, and the file in it is a hard link"
    return None


def _why_unsafe_owner(path: Path, status: os.stat_result) -> str | None:
    if status.st_uid in (0, os.geteuid()):
        return None
    return f"{path} belongs to another user ({_user_name(status.st_uid)})"


def _why_writable(path: Path, status: os.stat_result) -> str | None:
    if status.st_mode & stat.S_IWOTH:
        return f"every user can write to {path}"
    if status.st_mode & stat.S_IWGRP and not _is_private_group(path, status):
        return f"other users can write to {path}"
    return None


def _is_private_group(path: Path, status: os.stat_result) -> bool:
    """Whether the owner is alone in the file's group, as in systems that make a group for each user.

    With an access control list the group's bits stand for all that it allows.
    """
    import grp
    import pwd

    if hasattr(os, "getxattr"):
        with contextlib.suppress(OSError):
            os.getxattr(path, "system.posix_acl_access")
            return False
    with contextlib.suppress(KeyError):
        group, owner = grp.getgrgid(status.st_gid), pwd.getpwuid(status.st_uid)
        alone = not {*group.gr_mem} - {owner.pw_name}
        return alone and group.gr_name == owner.pw_name and owner.pw_gid == status.st_gid
    return False


def _user_name(uid: int) -> str:
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"
