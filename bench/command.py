"""What every benchmark's command has in common: options, a place to work, the report, and how it fails."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import ROOT
from bench.receiving import CHOICES
from bench.report import CannotRun, Report

RESULTS = ROOT / "bench" / "results"
FAILED = 1
HOSTS = 100


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure. `database`: "" for the embedded server; `only`: these parts, none: all."""

    runs: int
    size: int
    database: str
    receiver: str
    files: Path
    out: Path
    only: tuple[str, ...] = ()

    @property
    def hosts(self) -> int:
        """How many hosts: 100, fewer only where there are but a few deliveries for each."""
        return min(HOSTS, max(1, self.size // 10))


Measure = Callable[[Options, Path, Report], None]


def command(
    name: str,
    doc: str | None,
    measure: Measure,
    *,
    size: int,
    runs: int = 5,
    only: Sequence[str] = (),
) -> None:
    """Run `measure` with the options of the command line, print the tables and write the JSON file.

    Exits with 1, and without a figure, where the benchmark cannot run.
    """
    options = _options(name, doc or "", size, runs, only)
    parameters = {key: str(value) for key, value in asdict(options).items() if key not in ("out", "database")}
    report = Report(name, {**parameters, "size": options.size, "runs": options.runs})
    try:
        if not options.files.is_dir():
            raise CannotRun(f"{options.files} is no directory: name another one with --files")
        with TemporaryDirectory(prefix="hookd-bench-", dir=options.files) as place:
            Path(place).chmod(0o755)  # the account that runs root's embedded server must get in
            measure(options, Path(place), report)
        path = report.write(options.out)
    except CannotRun as missing:
        print(f"bench: {name} cannot run: {missing}", file=sys.stderr)
        sys.exit(FAILED)
    print(f"\n{report.text()}\n\n{path}")


def say(text: str) -> None:
    """Tell how far it is, on standard error."""
    print(text, file=sys.stderr, flush=True)


def _options(name: str, doc: str, size: int, runs: int, only: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog=f"python -m bench {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=_positive, default=runs, help=f"runs of each (default: {runs})")
    parser.add_argument("--size", type=_positive, default=size, help=f"deliveries in one (default: {size})")
    parser.add_argument(
        "--database", metavar="URL", default="", help="a Postgres instead of the embedded one"
    )
    parser.add_argument("--receiver", choices=CHOICES, default="auto", help="auto: nginx where installed")
    parser.add_argument(
        "--files",
        metavar="DIR",
        type=Path,
        default=Path("/tmp"),
        help="where the embedded Postgres has its files, until the end (default: /tmp); on a file system in"
        " memory, as /dev/shm is, what the disk does is not in the figures",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, default=RESULTS, help="where the JSON file goes")
    if only:
        parser.add_argument("--only", nargs="+", choices=only, default=(), help="run these parts alone")
    found = vars(parser.parse_args())
    return Options(**{**found, "only": tuple(found.get("only", ()))})


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
