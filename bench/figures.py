"""Medians, ratios and tables."""

from collections.abc import Mapping, Sequence
from statistics import median

Run = Mapping[str, float]
"""The figures of one run by their names, which end in a unit: `cpu_us`, `rate_per_s`."""


def medians(runs: Sequence[Run]) -> dict[str, float]:
    """Return the median of each figure that every run has."""
    names = [name for name in runs[0] if all(name in run for run in runs)] if runs else []
    return {name: median(run[name] for run in runs) for name in names}


def ratio(figure: str, of: Sequence[Run], to: Sequence[Run]) -> float:
    """Return the median of the ratios of runs that were made one after the other.

    What slows the machine for a while slows both of a pair, so that it hardly shows.
    """
    if not of or len(of) != len(to):
        raise ValueError(f"{len(of)} runs cannot be compared with {len(to)}: run both equally often")
    return median(one[figure] / other[figure] for one, other in zip(of, to, strict=True))


def number(value: float) -> str:
    """Return a figure in three digits, or whole if it has more."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines in columns, the first column to the left and the others to the right."""
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        sized = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        return "  ".join([cells[0].ljust(widths[0]), *sized[1:]]).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def grid(subjects: Mapping[str, Sequence[Run]]) -> str:
    """Return the medians of all subjects as a table; what one does not have is a dash."""
    found = {name: medians(runs) for name, runs in subjects.items()}
    columns = list(dict.fromkeys(figure for one in found.values() for figure in one))
    rows = [
        [name, *(number(one[column]) if column in one else "-" for column in columns)]
        for name, one in found.items()
    ]
    return table(["median", *(column.replace("_", " ") for column in columns)], rows)
