"""What a benchmark found: every run, the medians, and whether the figures asked for are reached."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Run, grid, medians, number, ratio, table
from bench.machine import commit, machine, versions

Subject = Callable[[], Run]


class CannotRun(Exception):
    """Something that the benchmark needs is missing, or a run went wrong; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure to reach: `must` and `aim` are lower bounds, or upper ones where `most`."""

    what: str
    value: float
    must: float
    aim: float
    most: bool = False

    @property
    def verdict(self) -> str:
        """What the value reaches: "aim", "must" or "missed"."""
        for name in ("aim", "must"):
            bound: float = getattr(self, name)
            if self.value <= bound if self.most else self.value >= bound:
                return name
        return "missed"


@dataclass(slots=True)
class Report:
    """Filled by a benchmark; `parameters` and `versions` say what it ran with."""

    name: str
    parameters: dict[str, Any]
    versions: dict[str, str] = field(default_factory=versions)
    commit: str = field(default_factory=commit)
    subjects: dict[str, list[Run]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def interleave(self, runs: int, subjects: Mapping[str, Subject], say: Callable[[str], None]) -> None:
        """Run all subjects in turn, `runs` times, so that they share what the machine goes through."""
        for turn in range(1, runs + 1):
            for name, measure in subjects.items():
                run = measure()
                self.subjects.setdefault(name, []).append(run)
                figures = ", ".join(f"{key} {number(value)}" for key, value in run.items())
                say(f"run {turn} of {runs}, {name}: {figures}")

    def ratio(self, figure: str, of: str, to: str) -> float:
        """Return the median ratio of a figure of the one subject to that of the other."""
        return ratio(figure, self.subjects[of], self.subjects[to])

    def median(self, subject: str, figure: str) -> float:
        """Return the median of a figure of a subject."""
        return medians(self.subjects[subject])[figure]

    def claim(self, what: str, value: float, *, must: float, aim: float, most: bool = False) -> None:
        """Note a figure that was to be reached."""
        self.claims.append(Claim(what, value, must, aim, most))

    def text(self) -> str:
        """Return the tables to print."""
        parts = [grid(self.subjects)] if self.subjects else []
        if self.claims:
            sign = {False: "≥", True: "≤"}
            rows = [
                [
                    c.what,
                    number(c.value),
                    *(f"{sign[c.most]} {number(v)}" for v in (c.must, c.aim)),
                    c.verdict,
                ]
                for c in self.claims
            ]
            parts.append(table(["figure", "measured", "must", "aim", "reached"], rows))
        return "\n\n".join(parts)

    def document(self) -> dict[str, Any]:
        """Return what goes into the JSON file."""
        return {
            "bench": self.name,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": self.commit,
            "machine": machine(),
            "versions": self.versions,
            "parameters": self.parameters,
            "subjects": {
                name: {"median": medians(runs), "runs": list(runs)} for name, runs in self.subjects.items()
            },
            "claims": [{**asdict(claim), "reached": claim.verdict} for claim in self.claims],
            **self.extra,
        }

    def write(self, directory: Path) -> Path:
        """Write the JSON file and return its path."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}.json"
        path.write_text(json.dumps(self.document(), indent=1, ensure_ascii=False) + "\n")
        return path
