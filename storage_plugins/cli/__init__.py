"""The command line: ``storage-plugins``. What a command needs is imported when it runs."""

from ._main import cli, main

__all__ = ["cli", "main"]
