"""Draining over TLS on kept connections to 100 hosts, against the same without TLS."""

from pathlib import Path

from bench.command import Options, command, say
from bench.draining import Lab, drain
from bench.filling import backlog, small
from bench.postgres import server
from bench.receiving import receiving
from bench.report import Report


def measure(options: Options, place: Path, report: Report) -> None:
    """Fill two databases, one for each receiver, and drain them in turn."""
    size, state = options.size, place / "state"
    report.parameters |= {"hosts": options.hosts}
    with (
        receiving(place / "plain", hosts=options.hosts, choice=options.receiver) as plain,
        receiving(place / "tls", hosts=options.hosts, tls=True, choice=options.receiver) as tls,
        server(place / "postgres", options.database) as postgres,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": plain.title}
        say(f"receiver: {plain.title}; Postgres {postgres.title}; filling")
        with (
            backlog(postgres, state, plain.urls, size, small()) as open_lanes,
            backlog(postgres, state, tls.urls, size, small(), settings=tls.settings) as secret_lanes,
        ):
            subjects = {
                "plain": lambda: drain(Lab(postgres, state, plain), open_lanes, size),
                "TLS": lambda: drain(Lab(postgres, state, tls), secret_lanes, size),
            }
            report.interleave(options.runs, subjects, say)
    share = report.ratio("rate_per_s", "TLS", "plain")
    report.claim("rate over TLS, part of the plain one", share, must=0.65, aim=0.8)


if __name__ == "__main__":
    command("drain_tls", __doc__, measure, size=100_000)
