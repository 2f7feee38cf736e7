"""Where the daemon's processor time goes during a drain: parts, functions, and a flame graph.

The stack is looked at after every two milliseconds of processor time, from inside the process, which costs
about a tenth of the rate. Beside the JSON file are profile.folded (for other tools) and profile.svg.
"""

from pathlib import Path

from bench.command import Options, command, say
from bench.draining import Lab, drain
from bench.figures import number, table
from bench.filling import backlog, small
from bench.postgres import server
from bench.receiving import receiving
from bench.report import CannotRun, Report
from bench.stacks import exclusive, flame_graph, inclusive, parse, parts

TEN = 10


def measure(options: Options, place: Path, report: Report) -> None:
    """Drain a few times, sampled, and once without."""
    size, state = options.size, place / "state"
    report.parameters |= {"hosts": options.hosts}
    collected = place / "stacks"
    texts: list[str] = []
    with (
        receiving(place / "receiver", hosts=options.hosts, choice=options.receiver) as receiver,
        server(place / "postgres", options.database) as postgres,
        backlog(postgres, state, receiver.urls, size, small()) as due,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": receiver.title}
        lab = Lab(postgres, state, receiver)

        def sampled() -> dict[str, float]:
            run = dict(drain(lab, due, size, program=("bench.sampled", str(collected))))
            texts.append(collected.read_text())
            return run

        report.interleave(
            options.runs, {"sampled": sampled, "as shipped": lambda: drain(lab, due, size)}, say
        )
    _describe(options, report, "".join(texts))


def _describe(options: Options, report: Report, text: str) -> None:
    stacks = [(names, count) for names, count in parse(text) if any("trio._core" in name for name in names)]
    if not stacks:
        raise CannotRun("no stack was seen below Trio's loop: take a larger --size")
    cpu = report.median("as shipped", "cpu_us")
    named = {"parts": parts(stacks), "functions": inclusive(stacks), "alone": exclusive(stacks)}
    report.extra = {"profile": {key: dict(found[:40]) for key, found in named.items()}}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "profile.folded").write_text(text)
    title = f"hookd during a drain: {number(cpu)} µs of processor time a delivery"
    (options.out / "profile.svg").write_text(flame_graph(stacks, title))
    heads = {"parts": "part", "functions": "in function and below", "alone": "in function alone"}
    for key, found in named.items():
        shown = [one for one in found if key != "functions" or _telling(one[0])][
            : TEN * (1 if key == "parts" else 2)
        ]
        rows = [[name, f"{share:.1%}", number(share * cpu)] for name, share in shown]
        print(f"\n{table([heads[key], 'share', 'µs of one'], rows)}", flush=True)


def _telling(name: str) -> bool:
    """Tell whether a function is not merely one of the outermost frames, which hold everything."""
    return not name.startswith(
        ("__main__", "runpy", "daemon.cli", "trio._core._run:run", "trio._core._run:unrolled")
    )


if __name__ == "__main__":
    command("profile", __doc__, measure, size=50_000, runs=1)
