"""The command that prints the JSON Schema of storage.yaml."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .output import new_file, print_json


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the schema here.")
@click.option("--force", is_flag=True, help="Let --output replace a file.")
def schema(output: Path | None, force: bool) -> None:
    """Print the JSON Schema of storage.yaml, for editors that complete and check while one writes.

    It has the settings of the backends that are installed and can be used here.
    """
    from .._config.schema import schema as make

    made, left_out = make()
    for title, problem in left_out.items():
        click.echo(f"Left out: {title}: {problem}", err=True)
    if output is None:
        print_json(made)
        return
    with new_file(output, replace=force) as file:
        file.write(f"{json.dumps(made, indent=2)}\n".encode())
    click.echo(str(output))
