"""One event to 100,000 subscriptions: until all its deliveries are queued, and what others notice meanwhile.

An organisation with --size subscriptions at 100 hosts publishes one event. Queued: all its deliveries are
there, those that have been sent meanwhile counted with those that wait; the daemon sends what it can all the
while, as it does anywhere. Another organisation publishes 50 events a second: "before", and "fan-out" until
the last delivery is queued. "drain" is from then on until all have been sent, for comparison.
"""

import time
from pathlib import Path
from uuid import UUID, uuid4

from bench.command import Options, command, say
from bench.figures import Run
from bench.hookd import EVENT_TYPE, hookd
from bench.postgres import Server, connected, name_of, server
from bench.probe import probing
from bench.processes import wait_until
from bench.receiving import Receiver, receiving
from bench.report import Report
from bench.stamping import TITLE, Stamper, stamping
from bench.subscribing import subscribe

RATE = 50.0
BEFORE = 20.0
"""Seconds before the event, less where there are but few subscriptions."""
SETTLED = 2.0
"""Seconds after the start before the other's first event counts."""
_ROUTED = "select not exists (select from hookd.inbox where event_id = $1)"


def measure(options: Options, place: Path, report: Report) -> None:
    """Subscribe once; publish the event to copies, and time the other's events before it and after it."""
    before = min(BEFORE, options.size / 1000)
    report.parameters |= {"hosts": options.hosts, "others_rate_per_s": RATE, "seconds_before": before}
    state = place / "state"
    with (
        stamping(place / "other", hosts=1) as stamper,
        receiving(place / "receiver", hosts=options.hosts, choice=options.receiver) as receiver,
        server(place / "postgres", options.database) as postgres,
        postgres.database() as template,
    ):
        report.versions |= {
            "postgres": postgres.title,
            "receiver of the event": receiver.title,
            "receiver of the other": TITLE,
        }
        wide, other = uuid4(), uuid4()
        with hookd(state, template) as daemon:
            daemon.register(other, stamper.urls[0])
        began = time.monotonic()
        with connected(template) as sql:
            urls = receiver.urls
            subscribe(sql, state, [(wide, urls[n % len(urls)]) for n in range(options.size)])
        say(f"{options.size:,} subscriptions in {time.monotonic() - began:.1f} s")
        spans: list[Run] = []

        def first() -> Run:
            orgs = (wide, other)
            spans[:] = _run(postgres, name_of(template), state, receiver, stamper, orgs, options.size, before)
            return spans.pop(0)

        def following() -> Run:
            return spans.pop(0)

        subjects = {"before": first, "fan-out": following, "drain": following}
        report.interleave(options.runs, subjects, say)
    queued = report.median("fan-out", "queued_s")
    report.claim("until the last delivery is queued, s", queued, must=10, aim=3, most=True)
    others = report.ratio("p99_ms", "fan-out", "before")
    report.claim("p99 of the other: fan-out / before", others, must=2, aim=2, most=True)


def _run(
    postgres: Server,
    template: str,
    state: Path,
    receiver: Receiver,
    stamper: Stamper,
    orgs: tuple[UUID, UUID],
    subscriptions: int,
    before: float,
) -> list[Run]:
    wide, other = orgs
    had = receiver.count()
    with (
        postgres.database(template) as url,
        connected(url) as sql,
        hookd(state, url),
        probing(url, [other], RATE, stamper, state / "probe.log") as probe,
    ):
        time.sleep(SETTLED)
        began = time.monotonic()
        time.sleep(before)
        published = time.monotonic()
        event = sql.value("select hookd.publish($1, $2, '{}')", wide, EVENT_TYPE)
        queued = wait_until(
            lambda: int(sql.value(_ROUTED, event)),
            1,
            period=0.01,
            patience=300,
            what="routing the event",
        )
        sent = receiver.count() - had
        drained = wait_until(
            lambda: receiver.count() - had, subscriptions, period=0.25, patience=60, what="sending the event"
        )
        time.sleep(2 / RATE)  # at least one event is due before it ends
        ended = time.monotonic()
        probe.stop()
    return [
        probe.figures(began, published),
        {**probe.figures(published, queued), "queued_s": queued - published, "sent_meanwhile": float(sent)},
        {**probe.figures(queued, ended), "drained_s": drained - published},
    ]


if __name__ == "__main__":
    command("fan_out", __doc__, measure, size=100_000)
