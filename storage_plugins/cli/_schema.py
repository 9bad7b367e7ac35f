"""The command that prints the JSON Schema of storage.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ._options import example, output_options
from ._output import new_file, print_json, say


@click.command(epilog=example("storage-plugins schema -o storage.schema.json"))
@output_options
def schema(output: Path | None, force: bool) -> None:
    """Print the JSON Schema of storage.yaml, for editors.

    Editors use it to complete and check the file. It has the settings of the backends that are installed here.
    """
    from .._config.schema import schema as make

    made, left_out = make()
    for title, problem in left_out.items():
        say(f"Left out: {title}: {problem}", error=True)
    if output is None:
        print_json(made)
        return
    with new_file(output, replace=force) as file:
        file.write(schema_text(made))
    say(output)


def schema_text(made: dict[str, Any]) -> bytes:
    """Return a schema as the content of a file."""
    return f"{json.dumps(made, indent=2)}\n".encode()
