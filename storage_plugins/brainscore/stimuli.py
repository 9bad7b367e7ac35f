"""Stimulus sets: a table of stimuli (CSV) and their files (ZIP)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pandas as pd

from .._identifiers import check_file_name, check_identifier
from ..errors import EncodingError, IntegrityError
from .assemblies import BRAINIO
from .places import store_for
from .unpacking import unpacked


class StimulusSet(pd.DataFrame):
    """A table of stimuli, one row each, where ``brainscore_core``, which has such a class, is not installed.

    Attributes:
        identifier: its name.
        stimulus_paths: the file of each ``stimulus_id``.
    """

    _metadata = ("identifier", "stimulus_paths")
    identifier: str
    stimulus_paths: dict[Any, Path]

    @property
    def _constructor(self) -> type[StimulusSet]:
        return StimulusSet

    def get_stimulus(self, stimulus_id: Any) -> Path:
        """Return a stimulus's file."""
        return self.stimulus_paths[stimulus_id]


def load_stimulus_set_from_s3(
    identifier: str,
    bucket: str | None,
    csv_sha1: str | None = None,
    zip_sha1: str | None = None,
    csv_version_id: str | None = None,
    zip_version_id: str | None = None,
    filename_prefix: str | None = None,
) -> Any:
    """Return a stimulus set, its files verified and unpacked on this computer; as BrainIO's function of that name.

    The archive is unpacked once, not at each load. The files are for reading only.

    Args:
        identifier: its name.
        bucket: ``bucket`` or ``bucket/folder``; None: as in `upload_data_assembly`.
        csv_sha1, csv_version_id, zip_sha1, zip_version_id: which versions of the table and of the archive.
        filename_prefix: what the files' names begin with; None: ``stimulus_``.

    Returns:
        a table with ``identifier``, ``stimulus_paths`` and ``get_stimulus(stimulus_id)``.

    Raises:
        IntegrityError: the files of the archive are not those of the table.
        EncodingError: a table that is none, or an archive that cannot be unpacked safely.
        and what ``Store.fetch`` raises.
    """
    prefix = "stimulus_" if filename_prefix is None else filename_prefix
    stem = check_file_name(prefix + check_identifier(identifier).replace(".", "_"))
    store = store_for(bucket)
    table = store.fetch(f"{stem}.csv", version_id=csv_version_id, sha1=csv_sha1)
    archive = store.fetch(f"{stem}.zip", version_id=zip_version_id, sha1=zip_sha1)
    return _stimulus_set(identifier, table, archive)


def _stimulus_set(identifier: str, csv: Path, archive: Path) -> Any:
    try:
        table = pd.read_csv(csv)
    except ValueError as error:  # pandas' errors of parsing are such
        raise EncodingError(f"The table of {identifier} is no CSV file: {error}") from error
    if "stimulus_id" not in table and "image_id" in table:
        table["stimulus_id"] = table["image_id"]  # BrainIO does so too, for tables from before the name changed
    for column in ("stimulus_id", "filename"):
        if column not in table:
            raise EncodingError(f"The table of {identifier} has no column {column!r}")
    folder, names = unpacked(archive)
    listed = set(table["filename"])
    names = {name for name in names if "/" in name or not name.endswith((".zip", ".csv"))}
    for what, odd in (("has no file", listed - names), ("has further files, such as", names - listed)):
        if odd:
            raise IntegrityError(
                f"The table and the archive of {identifier} do not go together: the archive {what} "
                f"{min(map(str, odd))!r} ({len(odd)} in all)",
                hint="Compare the two pins with those of one upload.",
            )
    made = _stimulus_set_class()(table)
    made.identifier = identifier
    made.stimulus_paths = {
        stimulus_id: folder / name for stimulus_id, name in zip(table["stimulus_id"], table["filename"], strict=True)
    }
    return made


def unzip(zip_path: str | Path) -> str:
    """Return the folder into which a fetched archive was unpacked; as BrainIO's function of that name."""
    return str(unpacked(Path(zip_path))[0])


def _stimulus_set_class() -> Any:
    try:
        return importlib.import_module(f"{BRAINIO}.stimuli").StimulusSet
    except ModuleNotFoundError:
        return StimulusSet
