"""Makes the pictures of the catalogue and of ``check`` from made-up data: ``python docs/make_pictures.py``.

It needs Chromium, and writes catalogue.png, catalogue-page.png and check.svg into docs/pictures/.
"""

from __future__ import annotations

import base64
import contextlib
import html
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import storage_plugins

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

import chromium  # noqa: E402  found by the line above

FOLDER = "/home/me/rates"  # what the pictures show instead of a temporary folder
COLOURS = {"ok": "#7ee787", "no": "#ff7b72", "-": "#8b949e"}
YAML = "default: lab\nstores:\n  lab: {backend: local, root: ./assemblies, contact: data@lab.example}\n"
# identifier, dimensions, tags, number of versions
ASSEMBLIES = [
    ("Lab2026.rates", {"presentation": 320, "neuroid": 168}, "macaque, V4", 3),
    ("Lab2026.rates-IT", {"presentation": 320, "neuroid": 88}, "macaque, IT", 1),
    ("Lab2026.reading-times", {"presentation": 10256, "subject": 18}, "reading, behaviour", 2),
    ("Doe2025.sentences", {"presentation": 243, "neuroid": 971, "time_bin": 10}, "ecog, language", 2),
    ("Doe2025.stories", {"time": 1310, "channel": 122}, "ecog, language", 1),
    ("Roe2024.passages", {"presentation": 384, "neuroid": 627}, "fmri, language", 4),
    ("Roe2024.ceiling", {"subject": 10, "neuroid": 627}, "fmri", 1),
    ("Roe2026.textures", {"presentation": 225, "neuroid": 103}, "macaque, V2", 1),
]


def made(seed: int, sizes: dict[str, int], tags: str) -> xr.DataArray:
    """Return an assembly with waves and noise."""
    noise = np.random.default_rng(seed).normal(size=tuple(sizes.values()))
    first, second = (np.arange(length) for length in noise.shape[:2])
    wave = np.sin(first[:, None] / (5 + seed)) + np.cos(second[None, :] / (9 + seed))
    values = (wave.reshape(wave.shape + (1,) * (noise.ndim - 2)) + 0.1 * noise).astype("float32")
    dims = list(sizes)
    coords = {
        "stimulus_id": (dims[0], [f"stimulus-{number:04}" for number in range(noise.shape[0])]),
        "region": (dims[1], [("V1", "V2", "V4", "IT")[number % 4] for number in range(noise.shape[1])]),
    }
    attrs = {
        "tags": tags,
        "authors": "Doe, Jane; Roe, Richard",
        "license": "CC-BY-4.0",
        "description": "Made-up responses for a picture of the catalogue: waves and noise.",
    }
    return xr.DataArray(values, dims=dims, coords=coords, name="rates", attrs=attrs)


def screenshot(tab: chromium.Tab, page: Path, size: tuple[int, int], name: str) -> None:
    """Write what the top of a page looks like."""
    page.write_text(page.read_text("utf-8").replace(str(Path.cwd()), FOLDER), "utf-8")
    tab.call("Emulation.setScrollbarsHidden", hidden=True)
    tab.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False)
    tab.colours("light")
    tab.open(page.absolute().as_uri())
    taken = tab.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)
    (HERE / "pictures" / name).write_bytes(base64.b64decode(taken["data"]))


def terminal(command: str, lines: list[str]) -> str:
    """Return an SVG of a terminal: a command, and what it printed, its marks in colours."""
    width, line_height = 8.0 * max(map(len, lines)) + 40, 21
    height = line_height * (len(lines) + 1) + 32
    rows = []
    for number, line in enumerate([f"$ {command}", *lines]):
        mark = line[2:4].strip() if line.startswith("  ") else ""
        text = html.escape(line, quote=False)
        if mark in COLOURS:
            text = f'  <tspan fill="{COLOURS[mark]}">{line[2:4]}</tspan>{html.escape(line[4:], quote=False)}'
        rows.append(f'<text x="20" y="{34 + line_height * number}" xml:space="preserve">{text}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13" fill="#e6edf3">\n'
        f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#0d1117"/>\n' + "\n".join(rows) + "\n</svg>\n"
    )


def main() -> None:
    """Make all of them."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("storage.yaml").write_text(YAML)
        os.environ["STORAGE_PLUGINS_CACHE"] = f"{folder}/cache"
        store = storage_plugins.open_store()
        for seed, (identifier, sizes, tags, versions) in enumerate(ASSEMBLIES):
            for number in range(versions):
                store.upload(made(seed, sizes, tags) + number, identifier)
        site = storage_plugins.catalogue("site", title="Assemblies of the lab").folder
        with chromium.tab() as tab:
            screenshot(tab, site / "index.html", (1120, 640), "catalogue.png")
            screenshot(tab, site / "assemblies" / "Lab2026.rates.html", (1120, 780), "catalogue-page.png")
        command = [sys.executable, "-m", "storage_plugins", "check"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  ours
        lines = done.stdout.replace(str(Path.cwd()), FOLDER).splitlines()
        (HERE / "pictures" / "check.svg").write_text(terminal("storage-plugins check", lines), "utf-8")


if __name__ == "__main__":
    main()
