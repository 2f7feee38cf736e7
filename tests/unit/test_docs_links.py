"""Links in the documents lead somewhere, and what they name is there."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.check_readme import documents

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    documents(
        ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md", "docs")
    )
)
_FENCED = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_PATH = re.compile(r"(?:api|bench|daemon|docs|systemd|tests|tools)/[\w./-]*\w/?")
_NAMED_IN = re.compile(r"((?:api|bench|daemon|tests|tools)/[\w/]+\.py): ([\w.]+)")
_METRIC = re.compile(r"hookd_[a-z_]+[a-z]")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, as code hosts name headings."""
    titles = (re.sub(r"[`*]", "", title) for title in _HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor of each link that stays in the repository."""
    for link in _LINK.findall(_CODE.sub("", prose(page))):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        assert path.exists(), f"{named(page)} links to {path}, which is not there"
        assert path.is_relative_to(ROOT), f"{named(page)} links out of the repository, to {path}"
        if anchor:
            assert anchor in anchors(path), f"{named(page)}: {named(path)} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_path_that_is_named_exists(page: Path) -> None:
    kept = set(subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split())
    kept |= {str(parent) for path in kept for parent in Path(path).parents}
    for code in _CODE.findall(prose(page)):
        if _PATH.fullmatch(code):
            assert code.rstrip("/") in kept, f"{named(page)} names {code}, which is not in the repository"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_name_in_a_module_exists(page: Path) -> None:
    for path, name in _NAMED_IN.findall(prose(page)):
        source = (ROOT / path).read_text()
        for part in name.split("."):
            assert re.search(rf"(?:def|class) {part}\b", source), f"{named(page)}: {path} has no {part}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_metric_that_is_named_exists(page: Path) -> None:
    known = set(_METRIC.findall((ROOT / "docs/reference/metrics.md").read_text()))
    for code in _CODE.findall(prose(page)):
        for metric in _METRIC.findall(code):
            assert metric in known, f"{named(page)} names {metric}: see docs/reference/metrics.md"


def test_the_front_pages_stay_short() -> None:
    for name in ("README.md", "bench/README.md"):
        lines = (ROOT / name).read_text().count("\n")
        assert lines <= 110, f"{name} has {lines} lines: move something to docs/"


def test_the_glossary_has_fifteen_words() -> None:
    rows = re.findall(r"^\| \*\*(\w+)\*\* \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert len(rows) == 15
    assert rows == sorted(rows)


def test_newcomers_are_led_to_the_glossary() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        assert ROOT / "docs/glossary.md" in {path for path, _ in links(ROOT / name)}
