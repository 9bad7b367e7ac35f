"""The command ``storage-plugins``: its subcommands, and what becomes of errors."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Sequence

import click

from .. import __version__
from ..errors import StorageError
from ._cache import cache
from ._cataloguing import catalogue
from ._checking import check
from ._citing import cite
from ._exit_codes import OTHER, exit_code
from ._finding import where
from ._listing import list_names, versions
from ._loading import content_digest, fetch, load
from ._mirroring import mirror
from ._new_backend import new_backend
from ._options import example
from ._output import VisibleFormatter, say
from ._prefetching import prefetch
from ._receipts import receipts
from ._schema import schema
from ._sharing import publish, publish_store, share, unpublish
from ._showing import diff, show
from ._signals import end_as_by_ctrl_c, exit_code_of
from ._starting import demo, init
from ._stores import backends, stores
from ._trust import asking, trust
from ._uploading import upload
from ._verifying import verify
from ._withdrawing import withdraw

_COMMANDS = (
    *(demo, init, stores, backends, check, trust, schema, new_backend),
    *(upload, load, fetch, prefetch, list_names, versions, show, diff, content_digest, cite),
    *(publish, unpublish, publish_store, share, mirror, verify, where, withdraw, catalogue, receipts, cache),
)


def main() -> None:
    """Run the command line of this process and exit."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(True)
    end_as_by_ctrl_c()
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (None: that of this process); return its exit code, which says what kind of problem it met."""
    try:
        return asking(lambda: cli(arguments, prog_name="storage-plugins", standalone_mode=False)) or 0
    except StorageError as error:
        say(f"Error: {error}", error=True)
        return exit_code(error)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        say(shown.getvalue().rstrip(), error=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        say("Interrupted. Unfinished uploads were rolled back.", error=True)
        return exit_code_of(error)
    except Exception:  # a bug; its message may quote anything
        say(traceback.format_exc().rstrip(), error=True)
        return OTHER


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("storage-plugins upload rates.nc Lab2026.rates", "storage-plugins load Lab2026.rates"),
)
@click.version_option(__version__, prog_name="storage-plugins")
@click.option("-v", "--verbose", is_flag=True, help="Show what is being done.")
def cli(verbose: bool) -> None:
    """Store brain-data assemblies where storage.yaml says, and load them verified."""
    if verbose:
        logging.getLogger("storage_plugins").setLevel(logging.INFO)


for command in _COMMANDS:
    cli.add_command(command)
