"""The page for people, as axe-core (https://github.com/dequelabs/axe-core) sees it in a headless browser."""

import json
from pathlib import Path
from typing import Any

import trio

from tests.contract.browser import Page, Screen, browsing
from tests.contract.tools import Tools
from tests.support.daemon import running

SCREENS = tuple(
    Screen(f"{name}-{scheme}", width, height, scheme)
    for name, width, height in (("desktop", 1440, 900), ("phone", 390, 844))
    for scheme in ("light", "dark")
)
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice")
# Whatever the page hides until somebody asks for it.
_OPEN_ALL = """
for (const one of document.querySelectorAll("details")) one.open = true;
for (const one of document.querySelectorAll(".tabs > .panel")) one.style.display = "block";
"""


async def pages(tools: Tools, work: Path, database: str) -> bool:
    """Look at /docs on each screen as it comes, and with all of it opened; tell whether nothing was found."""
    async with running(work, database, logging__level="warning") as daemon:
        axe = (tools.node_modules / "axe-core/axe.min.js").read_text()
        found = await trio.to_thread.run_sync(look, daemon.address, axe, work / "browser", tools.build)
        print(f"axe-core over /docs: {len(SCREENS)} screens, {found} violations")
        return await daemon.stop() == 0 and not found


def look(address: str, axe: str, directory: Path, pictures: Path) -> int:
    """Return how many violations there are; what they are is printed, and pictures are kept."""
    pictures.mkdir(parents=True, exist_ok=True)
    count = 0
    with browsing(directory) as page:
        for screen in SCREENS:
            page.show(f"{address}/docs", screen)
            page.screenshot(pictures / f"docs-{screen.name}.png")
            page.evaluate(axe)
            for state, script in (("", ""), (", opened", _OPEN_ALL)):
                page.evaluate(script)
                violations = examine(page)
                for one in violations:
                    print(f"{screen.name}{state}: {one}")
                count += len(violations)
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > screen.width:
                print(f"{screen.name}: the page is {wide} pixels wide")
                count += 1
    return count


def examine(page: Page) -> list[str]:
    """Return what axe-core has found: each rule that is broken, and where first."""
    options = json.dumps({"runOnly": list(RULES), "resultTypes": ["violations"]})
    result: list[dict[str, Any]] = page.evaluate(f"axe.run(document, {options}).then((it) => it.violations)")
    return [
        f"{one['id']}: {len(one['nodes'])} places, first {one['nodes'][0]['target'][0]}:"
        f" {one['nodes'][0]['failureSummary'].splitlines()[-1].strip()}"
        for one in result
    ]
