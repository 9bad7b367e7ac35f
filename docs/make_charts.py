"""Makes the charts of benchmarks.md from its own tables: ``python docs/make_charts.py``.

It writes transfer.svg and files.svg into docs/pictures/. Each bar is a time as a ratio: to curl's, or to ours.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "benchmarks.md"
WIDTH, LEFT, RIGHT = 760, 130, 60  # pixels: of the whole, of the names before the bars, of the figures after them
BAR, GAP = 13, 14  # pixels: height of a bar, and between the groups
MOST = 6.0  # ratio of the longest bar; longer ones are cut, with their figure beside them
OURS, PEER = "#1f6feb", "#afb8c1"
Groups = dict[str, dict[str, float]]  # by job, then by client


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a line that begins with ``heading``."""
    lines = text[text.index(f"\n{heading}") :].splitlines()[1:]
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    stop = next(number for number, line in enumerate([*lines[start:], ""]) if not line.startswith("|"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start : start + stop]]
    return [cells[0], *cells[2:]]


def transfers(text: str) -> Groups:
    """Return the ratios to curl."""
    head, *jobs = rows(text, "Time, as a ratio to curl:")
    found = {
        job: {peer: re.search(r"\*\*([\d.]+)\*\*", cell) for peer, cell in zip(head[1:], cells, strict=True)}
        for job, *cells in jobs
    }
    return {job: {peer: float(cell[1]) for peer, cell in peers.items() if cell} for job, peers in found.items()}


def files(text: str) -> Groups:
    """Return the ratios to ours of writing and loading assemblies."""
    head, *cases = rows(text, "## Assemblies in files")
    seconds: Groups = {}
    for name, *cells in cases:
        case, _, peer = name.partition(": ")
        for action, cell in zip(head[1:], cells, strict=True):
            if action.endswith(" s") and cell != "-":
                seconds.setdefault(f"{case}: {action.removesuffix(' s')}", {})[peer] = float(cell)
    return {job: {peer: value / peers["ours"] for peer, value in peers.items()} for job, peers in seconds.items()}


def chart(title: str, unit: str, groups: Groups) -> str:
    """Return an SVG of bars."""
    scale = (WIDTH - LEFT - RIGHT) / MOST
    marks, y = [f'<text x="8" y="20" font-weight="bold">{html.escape(title)}</text>'], 36
    for job, group in groups.items():
        marks.append(f'<text x="8" y="{y + 11}" font-weight="bold">{html.escape(job)}</text>')
        for peer, ratio in group.items():
            name = html.escape(f"{peer} {ratio:.2f}")
            length, colour = min(ratio, MOST) * scale, OURS if peer == "ours" else PEER
            marks.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{colour}"/>')
            marks.append(f'<text x="{LEFT + length + 4:.1f}" y="{y + 10}">{name}</text>')
            y += BAR
        y += GAP
    line = LEFT + scale
    marks.append(f'<path d="M{line:.1f} 28V{y - GAP}" stroke="#1f2328" stroke-dasharray="2 3"/>')
    label = html.escape(f"{title}. {unit}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 60}" height="{y}" role="img" aria-label="{label}" '
        f'font-family="sans-serif" font-size="11" fill="#1f2328">\n<title>{label}</title>\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(marks) + "\n</svg>\n"
    )


def charts(text: str) -> dict[str, str]:
    """Return each chart by the name of its file."""
    shorter = "Shorter is faster; the dotted line is 1."
    return {
        "transfer.svg": chart("Transfers to and from S3: time, as a ratio to curl's", shorter, transfers(text)),
        "files.svg": chart("Assemblies in files: time, as a ratio to ours", shorter, files(text)),
    }


def main() -> None:
    """Write them."""
    for name, svg in charts(PAGE.read_text("utf-8")).items():
        (HERE / "pictures" / name).write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
