"""The check of the built site finds what a page would load from elsewhere, and leaves links alone."""

from pathlib import Path

import pytest

from tools.check_site import foreign_loads

GOOD = """
<link rel="stylesheet" href="static/site.css"><script src="../static/x.js"></script>
<img src="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E" srcset="a.png 2x">
<a href="https://example.com">a link is followed by people</a>
"""


def test_a_page_that_stays_at_home_is_good(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "site.css").write_text("a { background: url(x.png) } /* https://example.com */")
    assert foreign_loads(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "a.html",
            '<script async src="https://cdn.example.com/x.js">',
            "<script src=https://cdn.example.com/x.js>",
        ),
        ("a.html", '<link rel="preconnect" href="//fonts.example.com">', "<link href=//fonts.example.com>"),
        (
            "a.html",
            '<p style="background: url(http://example.com/a.png)">',
            "style: http://example.com/a.png",
        ),
        ("a.css", '@import "https://fonts.example.com/css"', "https://fonts.example.com/css"),
        ("a.svg", "<style>@font-face { src: url('//example.com/f.woff2') }</style>", "//example.com/f.woff2"),
    ],
)
def test_what_comes_from_elsewhere_is_told(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    assert foreign_loads(tmp_path) == [f"{tmp_path / name}: {told}"]
