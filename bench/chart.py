"""A chart of what was measured, drawn from the JSON files: bench/results/chart.svg.

    python -m bench chart [--results DIR] [--out FILE]

Deliveries a second, one bar for each. Without the results of `drain` there is nothing to draw.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.command import FAILED, RESULTS
from bench.figures import number
from bench.report import CannotRun

WIDTH, BAR, GAP, LEFT, RIGHT, TOP = 760, 22, 10, 270, 90, 54
# Both backgrounds that README is shown on: the text takes the reader's colour scheme, the bars suit either.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 } .small { font-size: 11px; fill: #57606a }
.ours { fill: #2f81f7 } .other { fill: #8c959f } .axis { stroke: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `ours` are drawn in another colour."""

    label: str
    value: float
    ours: bool


LABELS = {
    "floor": "floor: httptools on Trio, no database",
    "hookd": "hookd",
    "hookd, from the inbox": "hookd, routing included",
    "hookd through httpx": "hookd with httpx as transport",
    "stock httpx": "httpx.AsyncClient, no database",
}


def bars(document: dict[str, Any], figure: str = "rate_per_s") -> list[Bar]:
    """Return the bars for what a result of `drain` holds."""
    found = document["subjects"]
    return [
        Bar(label, found[name]["median"][figure], name.startswith("hookd") and "httpx" not in name)
        for name, label in LABELS.items()
        if name in found
    ]


def chart(shown: list[Bar], title: str, notes: list[str]) -> str:
    """Return the SVG."""
    most = max(bar.value for bar in shown)
    bottom = TOP + len(shown) * (BAR + GAP)
    size = f'viewBox="0 0 {WIDTH} {bottom + 48}" role="img"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="12" y="26">{escape(title)}</text>',
    ]
    for row, bar in enumerate(shown):
        y = TOP + row * (BAR + GAP)
        width = max(1.0, bar.value / most * (WIDTH - LEFT - RIGHT))
        kind = "ours" if bar.ours else "other"
        parts.append(
            f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(bar.label)}</text>'
            f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3"/>'
            f'<text x="{LEFT + width + 8:.1f}" y="{y + 16}">{number(bar.value)}</text>'
        )
    axis = f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP - 6}" y2="{bottom - 4}"/>'
    parts.append(axis)
    for row, line in enumerate(notes):
        parts.append(f'<text class="small" x="12" y="{bottom + 18 + 16 * row}">{escape(line)}</text>')
    parts.append("</svg>\n")
    return "\n".join(parts)


def notes_of(document: dict[str, Any]) -> list[str]:
    """Return the two lines that say what it was measured on."""
    machine, versions, parameters = (document[key] for key in ("machine", "versions", "parameters"))
    what = f"{parameters['size']:,} deliveries of {parameters['bytes']} bytes to {parameters['hosts']} hosts"
    where = f"All on {machine['cores']} cores of {machine['processor']}"
    return [
        f"{what}, receiver {versions['receiver']}; medians of {parameters['runs']}",
        f"{where}; Postgres {versions['postgres']}, Python {versions['python']}",
    ]


def draw(results: Path) -> str:
    """Return the chart of the results in a directory. Error: `CannotRun`."""
    path = results / "drain.json"
    if not path.exists():
        raise CannotRun(f"{path} is missing: run `python -m bench drain` first")
    document = json.loads(path.read_text())
    return chart(bars(document), "Deliveries a second, small events, more is better", notes_of(document))


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(
        prog="python -m bench chart",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", metavar="DIR", type=Path, default=RESULTS)
    parser.add_argument("--out", metavar="FILE", type=Path, help="default: chart.svg in DIR")
    given = parser.parse_args()
    out = given.out or given.results / "chart.svg"
    try:
        out.write_text(draw(given.results))
    except CannotRun as missing:
        print(f"bench: chart cannot run: {missing}", file=sys.stderr)
        sys.exit(FAILED)
    print(out)


if __name__ == "__main__":
    main()
