"""Draining --size (100,000) deliveries while an idle transaction elsewhere keeps every dead row.

Each shape (lanes on hosts) is published, and then, with and without such a transaction, routed and drained by
one session through the functions that the daemon calls. The figures are medians of the last tenth of the
calls, for one event or delivery: there the dead rows of all before lie in the way.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from bench.command import Options, command, say
from bench.figures import Run
from bench.postgres import Server, connected, server
from bench.queue_calls import Call, Calls, drain, each, lay_out, publish, route
from bench.report import Report, Subject

SHAPES = ((1, 1), (1000, 100))
HELD, FREE = "a transaction held", "free"
STEPS = {"route_us": "routing", "claim_us": "claims", "record_us": "results"}


def measure(options: Options, place: Path, report: Report) -> None:
    """Drain each shape with such a transaction and without."""
    with server(place / "postgres", options.database) as postgres:
        report.versions["postgres"] = postgres.title

        def draining(lanes: int, hosts: int, held: bool) -> Subject:
            return lambda: drained(postgres, lanes, hosts, options.size, held=held)

        subjects = {
            f"{_title(*shape)}, {name}": draining(*shape, held=name == HELD)
            for shape in SHAPES
            for name in (FREE, HELD)
        }
        report.interleave(options.runs, subjects, say)
    for shape in SHAPES:
        title = _title(*shape)
        for figure, step in STEPS.items():
            ratio = report.ratio(figure, f"{title}, {HELD}", f"{title}, {FREE}")
            report.claim(f"{step}, {title}, {HELD}, times {FREE}", ratio, must=3, aim=1.5, most=True)


def drained(postgres: Server, lanes: int, hosts: int, deliveries: int, *, held: bool) -> Run:
    """Publish, route and drain so many in a database of their own."""
    with postgres.database() as url, connected(url) as sql:
        calls = Calls()
        publish(sql, [], lay_out(sql, lanes, hosts), deliveries)
        sql.execute("vacuum")
        with holding(url) if held else nullcontext():
            route(sql, calls.route)
            drain(sql, calls, deliveries)
    return {f"{name}_us": each(last_tenth(getattr(calls, name))) for name in ("route", "claim", "record")}


@contextmanager
def holding(url: str) -> Iterator[None]:
    """Hold a transaction open that has read and written, as one that somebody forgot."""
    with connected(url) as holder:
        holder.execute("begin isolation level repeatable read")
        holder.value("select count(*) from hookd.host")
        holder.value("select pg_current_xact_id()")
        yield


def last_tenth(calls: list[Call]) -> list[Call]:
    """Return the last tenth of the calls, at least one."""
    return calls[-max(1, len(calls) // 10) :]


def _title(lanes: int, hosts: int) -> str:
    return f"{lanes:,} lane{'s' * (lanes > 1)}" + (f" on {hosts} hosts" if hosts > 1 else "")


if __name__ == "__main__":
    command("held_xmin", __doc__, measure, size=100_000)
