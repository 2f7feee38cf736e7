"""Draining real payloads, 1 to 28 kB that GitHub sent (median 8 kB), against events of 450 bytes."""

from pathlib import Path

from bench.command import Options, command, say
from bench.draining import Lab, drain
from bench.filling import backlog, real, small
from bench.postgres import server
from bench.receiving import receiving
from bench.report import Report


def measure(options: Options, place: Path, report: Report) -> None:
    """Fill two databases and drain them in turn."""
    size, state = options.size, place / "state"
    report.parameters |= {"hosts": options.hosts}
    with (
        receiving(place / "receiver", hosts=options.hosts, choice=options.receiver) as receiver,
        server(place / "postgres", options.database) as postgres,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": receiver.title}
        say(f"receiver: {receiver.title}; Postgres {postgres.title}; filling")
        lab = Lab(postgres, state, receiver)
        with (
            backlog(postgres, state, receiver.urls, size, small()) as light,
            backlog(postgres, state, receiver.urls, size, real()) as heavy,
        ):
            subjects = {
                "450 bytes": lambda: drain(lab, light, size),
                "real payloads": lambda: drain(lab, heavy, size),
            }
            report.interleave(options.runs, subjects, say)
    share = report.ratio("rate_per_s", "real payloads", "450 bytes")
    report.claim("rate, part of that with 450 bytes", share, must=0.6, aim=0.8)


if __name__ == "__main__":
    command("drain_payloads", __doc__, measure, size=50_000)
