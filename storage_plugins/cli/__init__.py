"""The command line: ``storage-plugins``. What a command needs is imported when it runs."""

from .commands import main

__all__ = ["main"]
