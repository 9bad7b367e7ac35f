"""``python -m storage_plugins``: the command line."""

from .cli import main

main()
