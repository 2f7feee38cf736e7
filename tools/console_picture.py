"""Draw what a command shows on a terminal as an SVG: for README's picture of `hookd dev`.

    hookd dev --exit --color always | python -m tools.console_picture --title "hookd dev" > dev.svg

Colours are those that ECMA-48 section 8.3.117 names by number (Select Graphic Rendition), on a dark page.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from html import escape

WIDTH, LINE, LEFT, TOP, CHARACTER = 760, 16, 16, 50, 7.2
COLOURS = {"31": "#ff7b83", "32": "#4fd08f", "33": "#f0a94a", "36": "#56c8e8", "2": "#8ea2b2"}
FONT = "12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
STYLE = f"text {{ font: {FONT}; fill: #d9e4ec; white-space: pre }}"
_CODE = re.compile(r"\x1b\[([\d;]*)m")


def pieces(line: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the parts of a line that look alike, each with its codes."""
    codes: list[str] = []
    end = 0
    for match in _CODE.finditer(line):
        if text := line[end : match.start()]:
            yield text, codes
        codes = [code for code in match[1].split(";") if code not in ("", "0")]
        end = match.end()
    if text := line[end:]:
        yield text, codes


def drawn(line: str, y: int) -> str:
    """Return the SVG of one line."""
    spans, at = [], 0
    for text, codes in pieces(line):
        colour = next((COLOURS[code] for code in codes if code in COLOURS), "")
        looks = (f' fill="{colour}"' if colour else "") + (' font-weight="700"' if "1" in codes else "")
        if text.strip():
            spans.append(f'<tspan x="{LEFT + at * CHARACTER:.1f}"{looks}>{escape(text.rstrip())}</tspan>')
        at += len(text)
    return f'<text y="{y}">{"".join(spans)}</text>' if spans else ""


def picture(lines: list[str], title: str) -> str:
    """Return an SVG of a terminal with these lines."""
    height = TOP + len(lines) * LINE + 6
    size = f'viewBox="0 0 {WIDTH} {height}" role="img"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#0f1b26"/>',
        f'<text x="{LEFT}" y="22" fill="#8ea2b2">$ {escape(title)}</text>',
        *filter(None, (drawn(line, TOP + row * LINE) for row, line in enumerate(lines))),
        "</svg>",
    ]
    return "\n".join(parts)


def main() -> None:
    """Read standard input, write standard output."""
    parser = argparse.ArgumentParser(prog="python -m tools.console_picture", description=__doc__)
    parser.add_argument("--title", required=True, help="the command, as it was typed")
    given = parser.parse_args()
    print(picture(sys.stdin.read().splitlines(), given.title))


if __name__ == "__main__":
    main()
