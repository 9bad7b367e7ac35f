"""A small assembly to try things with: made-up reading times of one sentence."""

from __future__ import annotations

import xarray as xr

IDENTIFIER = "demo.reading-times"


def assembly() -> xr.DataArray:
    """Return reading times in ms: 8 words by 3 readers, words with their story and position."""
    words = ["If", "you", "were", "to", "journey", "to", "the", "North"]
    lengths = [len(word) for word in words]
    times = [[250.0 + 20.0 * length + 15.0 * reader for reader in range(3)] for length in lengths]
    return xr.DataArray(
        times,
        dims=("presentation", "subject"),
        coords={
            "word": ("presentation", words),
            "story": ("presentation", [1] * len(words)),
            "position": ("presentation", list(range(1, len(words) + 1))),
            "subject_id": ("subject", ["s01", "s02", "s03"]),
        },
        name="reading_times",
        attrs={"unit_of_measure": "ms"},
    ).set_index(presentation=["word", "story", "position"])
