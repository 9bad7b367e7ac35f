"""Load stimulus sets: a table of stimuli (CSV) and their files (ZIP)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pandas as pd

from .._identifiers import check_file_name, check_identifier
from ..errors import EncodingError, IntegrityError
from ._archives import unpacked
from ._assemblies import BRAINIO
from ._buckets import store_for


class StimulusSet(pd.DataFrame):
    """A table of stimuli, one row each; used if ``brainscore_core``, which has such a class, is not installed.

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
        """Return the file of a stimulus."""
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
    """Load a stimulus set, verify its files and unpack them in the cache, like BrainIO's ``load_stimulus_set_from_s3``.

    The archive is unpacked once, not at each load. The files are read-only.

    Args:
        identifier: the stimulus set's name.
        bucket: as in `upload_data_assembly`.
        csv_sha1, csv_version_id, zip_sha1, zip_version_id: which versions of the table and of the archive.
        filename_prefix: the beginning of the files' names. None means ``stimulus_``.

    Returns:
        a table with ``identifier``, ``stimulus_paths`` and ``get_stimulus(stimulus_id)``.

    Raises:
        IntegrityError: the archive does not have the files of the table.
        EncodingError: the table is invalid, or the archive cannot be unpacked safely.
        StorageError: as ``Store.fetch``.
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
    except ValueError as error:  # pandas raises subclasses of it
        raise EncodingError(f"The table of {identifier} is not a CSV file: {error}") from error
    if "stimulus_id" not in table and "image_id" in table:
        table["stimulus_id"] = table["image_id"]  # the former name of the column, as in BrainIO
    for column in ("stimulus_id", "filename"):
        if column not in table:
            raise EncodingError(f"The table of {identifier} has no column {column!r}")
    folder, names = unpacked(archive)
    listed = set(table["filename"])
    names = {name for name in names if "/" in name or not name.endswith((".zip", ".csv"))}
    for what, odd in (
        ("does not have the file", listed - names),
        ("has files that are not in the table, such as", names - listed),
    ):
        if odd:
            raise IntegrityError(
                f"The table and the archive of {identifier} do not match: the archive {what} "
                f"{min(map(str, odd))!r} ({len(odd)} in all)",
                hint="Check that both pins are from the same upload.",
            )
    made = _stimulus_set_class()(table)
    made.identifier = identifier
    made.stimulus_paths = {
        stimulus_id: folder / name for stimulus_id, name in zip(table["stimulus_id"], table["filename"], strict=True)
    }
    return made


def unzip(zip_path: str | Path) -> str:
    """Return the folder with the unpacked files of a fetched archive, like BrainIO's ``unzip``."""
    return str(unpacked(Path(zip_path))[0])


def _stimulus_set_class() -> Any:
    try:
        return importlib.import_module(f"{BRAINIO}.stimuli").StimulusSet
    except ModuleNotFoundError:
        return StimulusSet
