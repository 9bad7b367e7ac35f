"""Upload the Natural Stories reading times to the configured store and load them back.

    python examples/natural_stories.py naturalstories_wordinfo.tsv

The table is the per-word summary of self-paced reading times (Futrell et al. 2018) from the
languageMIT/naturalstories corpus: 10,256 words of 10 stories. storage.yaml decides where it is stored.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import xarray as xr

import storage_plugins

MEASURES = {"mean": "meanItemRT", "sd": "sdItemRT", "geometric_mean": "gmeanItemRT", "readers": "nItem"}


def reading_times(table: Path) -> xr.DataArray:
    """Return an assembly of presentation (words in reading order) by measure: times in ms, number of readers."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows.sort(key=lambda row: (int(row["item"]), int(row["zone"])))
    return xr.DataArray(
        np.array([[float(row[column]) for column in MEASURES.values()] for row in rows]),
        dims=("presentation", "measure"),
        coords={
            "word": ("presentation", [row["word"] for row in rows]),
            "story": ("presentation", [int(row["item"]) for row in rows]),
            "position": ("presentation", [int(row["zone"]) for row in rows]),
            "measure": list(MEASURES),
        },
        name="reading_times",
        attrs={"unit_of_measure": "ms"},
    ).set_index(presentation=["word", "story", "position"])


def main() -> None:
    """Build the assembly, upload it, load it by its receipt, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="naturalstories_wordinfo.tsv")
    parser.add_argument("--store", help="name of a store (default: the default store)")
    parser.add_argument("--config", type=Path, help="path of storage.yaml")
    options = parser.parse_args()

    store = storage_plugins.open_store(options.store, config=options.config)
    assembly = reading_times(options.table)
    receipt = store.upload(assembly, "Futrell2018.natural-stories")
    print(f"uploaded to {receipt.address}\n{receipt.pin()}\n")

    loaded = store.load(receipt)
    print(loaded)
    print("identical to what was uploaded:", loaded.identical(assembly))


if __name__ == "__main__":
    main()
