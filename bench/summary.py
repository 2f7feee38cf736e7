"""What was claimed and what was measured, in one table: of all JSON files there are, in Markdown.

python -m bench summary [--results DIR]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.command import FAILED, RESULTS
from bench.figures import number

HEAD = ("figure", "measured", "must", "aim", "reached", "command", "runs, size")


def rows(documents: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each claim of each document."""
    return [
        [
            claim["what"],
            number(claim["value"]),
            *(f"{'≤' if claim['most'] else '≥'} {number(claim[bound])}" for bound in ("must", "aim")),
            claim["reached"],
            f"`python -m bench {document['bench']}`",
            f"{document['parameters']['runs']}, {document['parameters']['size']:,}",
        ]
        for document in documents
        for claim in document["claims"]
    ]


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; the first row is its head."""
    head, *body = table
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench summary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", metavar="DIR", type=Path, default=RESULTS)
    given = parser.parse_args()
    documents = [json.loads(path.read_text()) for path in sorted(given.results.glob("*.json"))]
    found = rows(documents)
    if not found:
        print(
            f"bench: summary cannot run: {given.results} holds no results: run `make bench`", file=sys.stderr
        )
        sys.exit(FAILED)
    print(markdown([HEAD, *found]))


if __name__ == "__main__":
    main()
