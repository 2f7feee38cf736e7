"""Check that a built site asks no other host for anything: no style, script, font or picture of theirs.

    python -m tools.check_site build/docs

Links that a reader may follow are no requests of the page, and are left alone.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
}
"""What a browser fetches by itself, by element (HTML Living Standard, section 4)."""
_FOREIGN = re.compile(r"\s*(?:https?:|wss?:)?//", re.IGNORECASE)
_IN_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)


class Page(HTMLParser):
    """Collects what a page loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        given = dict(attrs)
        for name in LOADED.get(tag, ()):
            value = given.get(name) or ""
            if _FOREIGN.match(value):
                self.foreign.append(f"<{tag} {name}={value}>")
        self.foreign += [f"style: {found}" for found in _IN_STYLE.findall(given.get("style") or "")]


def foreign_loads(site: Path) -> list[str]:
    """Return what the pages and styles below `site` load from elsewhere, each with its file."""
    found = []
    for path in sorted(site.rglob("*.html")):
        page = Page()
        page.feed(path.read_text())
        found += [f"{path}: {one}" for one in page.foreign]
    for path in sorted([*site.rglob("*.css"), *site.rglob("*.svg")]):
        found += [f"{path}: {one}" for one in _IN_STYLE.findall(path.read_text())]
    return found


def main() -> int:
    """Check the site that the command line names, and return the exit code."""
    site = Path(sys.argv[1])
    pages = len(list(site.rglob("*.html")))
    found = foreign_loads(site)
    for one in found:
        print(one, file=sys.stderr)
    if not pages:
        print(f"{site}: there are no pages here: run `make docs`", file=sys.stderr)
    if found or not pages:
        return 1
    print(f"{site}: good ({pages} pages, nothing from other hosts)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
