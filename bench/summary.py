"""What was claimed and what was measured: of all JSON files there are, in Markdown, missed goals first.

python -m bench summary [--results DIR] [--write]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.attacks import ATTACKS
from bench.command import FAILED, RESULTS
from bench.figures import number

HEAD = ("figure", "measured", "must", "aim", "reached", "commit", "benchmark, runs, size")
ATTACKS_HEAD = (
    "attack",
    "REST median, times alone",
    "REST p99",
    "SQL median",
    "SQL p99",
    "API's longest answer, ms",
)
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- python -m bench summary --write -->\n", "<!-- end -->\n"
WORST_FIRST = ("missed", "must", "aim")
_OF_ATTACKS = (
    "rest, median / alone",
    "rest, p99 / 3 times alone (or 50 ms more)",
    "sql, median / alone",
    "sql, p99 / 3 times alone (or 50 ms more)",
    "longest answer of the API, ms",
)


def rows(documents: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each claim of each document, those that were missed first."""
    found = [
        (claim["reached"], row(document, claim)) for document in documents for claim in document["claims"]
    ]
    return [shown for reached, shown in sorted(found, key=lambda one: WORST_FIRST.index(one[0]))]


def row(document: dict[str, Any], claim: dict[str, Any]) -> list[str]:
    """Return what one claim asked for, what was measured, of which code, and how to measure it again."""
    parameters = document["parameters"]
    in_memory = ", in memory" if parameters.get("files") == "/dev/shm" else ""
    return [
        claim["what"],
        number(claim["value"]),
        *(f"{'≤' if claim['most'] else '≥'} {number(claim[bound])}" for bound in ("must", "aim")),
        "**missed**" if claim["reached"] == "missed" else claim["reached"],
        document["commit"],
        f"{document['bench']}, {parameters['runs']}, {parameters['size']:,}{in_memory}",
    ]


def attacks(document: dict[str, Any]) -> list[list[str]]:
    """Return a row for each attack that `neighbours` plays: what those beside it notice."""
    claims = {claim["what"]: claim for claim in document["claims"]}
    return [[title(name), *(measured(claims[f"{name}: {of}"]) for of in _OF_ATTACKS)] for name in ATTACKS]


def title(attack: str) -> str:
    """Return what an attack does, in a sentence without its stop."""
    return (ATTACKS[attack].__doc__ or attack).partition("\n")[0].rstrip(".")


def measured(claim: dict[str, Any]) -> str:
    """Return the value, printed bold where it missed its must."""
    value = number(claim["value"])
    return f"**{value}**" if claim["reached"] == "missed" else value


def split(documents: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return all that belong into one table, and those that have a table of their own."""
    own = [one for one in documents if one["bench"] == "neighbours"]
    return [one for one in documents if one not in own], own


def text(documents: Sequence[dict[str, Any]]) -> str:
    """Return the tables, as bench/README.md has them. All that was missed stands in the first."""
    together, own = split(documents)
    together += [
        {**one, "claims": [claim for claim in one["claims"] if claim["reached"] == "missed"]} for one in own
    ]
    parts = [markdown([HEAD, *rows(together)])] if together else []
    return "\n\n".join([*parts, *(markdown([ATTACKS_HEAD, *attacks(one)]) for one in own)])


def within(page: str, tables: str) -> str:
    """Return a page with these tables between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables}\n\n{END}{rest.partition(END)[2]}"


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; the first row is its head."""
    head, *body = table
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def read(results: Path) -> list[dict[str, Any]]:
    """Return what the JSON files in a directory and those below it hold."""
    return [json.loads(path.read_text()) for path in sorted(results.rglob("*.json"))]


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench summary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", metavar="DIR", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help="into bench/README.md, instead of printing")
    given = parser.parse_args()
    documents = [one for one in read(given.results) if one["claims"]]
    if not documents:
        print(
            f"bench: summary cannot run: {given.results} holds no results: run `make bench`", file=sys.stderr
        )
        sys.exit(FAILED)
    if given.write:
        README.write_text(within(README.read_text(), text(documents)))
    else:
        print(text(documents))


if __name__ == "__main__":
    main()
