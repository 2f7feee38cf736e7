"""Receivers as they are: slow, failing now and then, restarted, or away for a minute.

100 events a second, --size of them, go to one subscription at a host of its own, with the daemon as shipped,
to receivers that answer after 10, 100 and 500 ms and of whose answers 0, 1, 5, 20 and 50 % are 503, 429
without Retry-After, 400, a closed connection, or silence until delivery.timeout; and to one that is
restarted, away for 0.2, 2 and 20 s. Told is how long after its moment the first attempt of each came to the
receiver, the most that were under way, and how long after the last was published all had been tried. A case
in which all attempts, also the first retries, take more than nine tenths of hosts.in_flight is only told of:
"fits" 0.

Outage: 50 events a second, and the receiver refuses for 60 s (in proportion to --size), or answers 503: how
long after the first good answer all of it was delivered (ten seconds more than the host's rate takes for it
may be), and how late live events were from then on. And one
event that always fails beside good ones: how far its attempts are from its schedule.

--only runs some of it: 503, 429, 400, closed, silence, restart, outage, schedule, or a delay such as 500ms.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from threading import Thread
from uuid import UUID, uuid4

from bench.command import Options, command, say
from bench.faulty import TITLE, Faulty, faulty, lateness
from bench.figures import Run
from bench.hookd import hookd
from bench.postgres import Sql, connected, server
from bench.publishers import Order, Published, publish
from bench.report import Report

RATE, OUTAGE_RATE = 100, 50
DELAYS = (0.01, 0.1, 0.5)
KINDS = ("503", "429", "400", "closed", "silence")
SHARES = (0.01, 0.05, 0.2, 0.5)
AWAY = (0.2, 2.0, 20.0)
OUTAGE = 60.0
TIMEOUT = 15.0
IN_FLIGHT = 64
WARM = 3.0
"""Seconds at the same rate before the first event counts, so that the lane has its room."""
SETTINGS = {"hosts.rate": 1000, "hosts.burst": 1000, "hosts.in_flight": IN_FLIGHT}
SCHEDULE = (1.0, 2.0, 4.0, 8.0)
ONLY = (*KINDS, "restart", "outage", "schedule", *(f"{delay * 1000:.0f}ms" for delay in DELAYS))

ALWAYS_FAILS = "always fails"

Case = Callable[["Field"], Run]


class Field:
    """One daemon and one receiver; each case has an organisation and a host of its own there."""

    def __init__(self, url: str, sql: Sql, receiver: Faulty, register: Callable[[UUID, str], None]) -> None:
        self.receiver = receiver
        self._url, self._sql, self._register = url, sql, register
        self._hosts = iter(receiver.urls)
        self._org = uuid4()

    def begin(self) -> None:
        """Take the next host, and leave what is pending to those before alone."""
        for row in self._sql.rows("select id from hookd.subscription where is_active"):
            self._sql.value("select hookd.set_active($1, false, 'paused')", row[0])
        self._org = uuid4()
        self._register(self._org, next(self._hosts))

    def publish(self, count: int, rate: float, first: int = 0) -> list[Published]:
        """Publish at that rate; returns when the last is published."""
        offsets = [number / rate for number in range(count)]
        return publish(Order("sql", self._url, [str(self._org)], offsets, 4, first))

    def warm(self) -> int:
        """Let the lane get its room, and what waited for that go; return how many events it took."""
        count = int(WARM * RATE)
        self.publish(count, RATE)
        self.receiver.until(self.receiver.first, range(count), 20)
        return count


def fits(delay: float, kind: str, share: float) -> bool:
    """Whether all requests take less than nine tenths of what the host may get at once."""
    bad = TIMEOUT if kind == "silence" else delay
    held = RATE * (1 + share) * ((1 - share) * delay + share * bad)
    return held <= 0.9 * IN_FLIGHT


def share_of_bad(field: Field, size: int, delay: float, kind: str, share: float) -> Run:
    """Measure one receiver of whose answers a share is bad."""
    field.begin()
    field.receiver.set(delay=delay, kind=kind, share=share)
    warm = field.warm()
    published = field.publish(size, RATE, warm)
    field.receiver.until(field.receiver.first, range(warm, warm + size), 20)
    found = dict(lateness(published, warm, field.receiver.first))
    return {**found, "most": float(field.receiver.most), "fits": float(fits(delay, kind, share))}


def restarted(field: Field, size: int, away: float) -> Run:
    """Measure a receiver that is away for so long after a third of the events."""
    field.begin()
    field.receiver.set(delay=0.01)
    warm = field.warm()
    back = 0.0

    def leave() -> None:
        nonlocal back
        field.receiver.until(field.receiver.first, [warm + size // 3], 20)
        back = field.receiver.away(away)

    published = _beside(leave, lambda: field.publish(max(size, int((away + 5) * RATE)), RATE, warm))
    numbers = range(warm, warm + len(published))
    field.receiver.until(field.receiver.good, numbers, 60)
    found = dict(lateness(published, warm, field.receiver.good))
    waited = lateness(published, warm, field.receiver.good, back)
    return {**found, "after_back_ms": waited["worst_ms"], "most": float(field.receiver.most)}


def outage(field: Field, size: int, kind: str) -> Run:
    """Measure how soon all is delivered after an outage."""
    field.begin()
    field.receiver.set(delay=0.01)
    away = OUTAGE * size / 2000
    back = 0.0

    def leave() -> None:
        nonlocal back
        time.sleep(3)
        if kind == "refused":
            back = field.receiver.away(away)
        else:
            field.receiver.turn(kind, 1.0)
            time.sleep(away)
            field.receiver.turn(kind, 0.0)
            back = time.monotonic()

    published = _beside(leave, lambda: field.publish(int((3 + away + 15) * OUTAGE_RATE), OUTAGE_RATE))
    good = field.receiver.good
    field.receiver.until(good, range(len(published)), 400)
    missed = [n for n, one in enumerate(published) if one.scheduled < back and n in good]
    live = [n for n, one in enumerate(published) if one.scheduled >= back + 0.1]
    first = min(at for at in good.values() if at >= back)
    found = lateness([published[n] for n in live], live[0], good)
    return {
        "first_good_after_back_s": first - back,
        "missed": float(sum(good[n] > back for n in missed)),
        "all_after_first_good_s": max(good[n] for n in missed) - first,
        "live_p50_ms": found["p50_ms"],
        "live_p99_ms": found["p99_ms"],
        "missing": float(len(published) - len(good)),
    }


def schedule(field: Field, size: int) -> Run:
    """Measure the attempts of one event that always fails beside good ones."""
    field.begin()
    field.receiver.set(delay=0.01, number=OUTAGE_RATE)
    field.publish(int((sum(SCHEDULE) + 4) * OUTAGE_RATE), OUTAGE_RATE)
    field.receiver.look()
    times = field.receiver.every[OUTAGE_RATE]
    planned = [times[0] + seconds for seconds in accumulate(SCHEDULE, initial=0.0)]
    off = [abs(at - due) * 1000 for at, due in zip(times, planned, strict=False)]
    return {"attempts": float(len(times)), "planned": float(len(planned)), "worst_off_ms": max(off)}


def cases(size: int, only: tuple[str, ...]) -> dict[str, Case]:
    """Return the cases by name: all, or those that `only` names."""
    found: dict[str, Case] = {}
    for delay in DELAYS:
        title = f"{delay * 1000:.0f}ms"
        if not only or title in only:
            found[f"{title}, all good"] = partial(share_of_bad, size=size, delay=delay, kind="503", share=0.0)
        for kind in KINDS:
            for share in SHARES:
                if not only or title in only or kind in only:
                    found[f"{title}, {share:.0%} {kind}"] = partial(
                        share_of_bad, size=size, delay=delay, kind=kind, share=share
                    )
    if not only or "restart" in only:
        for away in AWAY:
            found[f"restarted, away {away:g} s"] = partial(restarted, size=size, away=away)
    if not only or "outage" in only:
        for kind in ("503", "refused"):
            found[f"outage, {kind}"] = partial(outage, size=size, kind=kind)
    if not only or "schedule" in only:
        found[ALWAYS_FAILS] = partial(schedule, size=size)
    return found


def measure(options: Options, place: Path, report: Report) -> None:
    """Run the cases one after another, with one daemon; those of a schedule of their own with another."""
    chosen = cases(options.size, options.only)
    slow = {"delivery.retry_schedule": [f"{one:g}s" for one in SCHEDULE], "delivery.retry_jitter": 0}
    state = place / "state"
    with (
        faulty(place / "receiver", hosts=options.runs * len(chosen)) as receiver,
        server(place / "postgres", options.database) as postgres,
        postgres.database() as url,
        connected(url) as sql,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": TITLE}
        last = {name: chosen.pop(name) for name in list(chosen) if name == ALWAYS_FAILS}
        for part, settings in ((chosen, SETTINGS), (last, {**SETTINGS, **slow})):
            if part:
                with hookd(state, url, settings) as daemon:
                    field = Field(url, sql, receiver, daemon.register)
                    subjects = {name: partial(case, field) for name, case in part.items()}
                    report.interleave(options.runs, subjects, say)
                receiver.urls[:] = receiver.urls[options.runs * len(part) :]
    _claim(report)


def _claim(report: Report) -> None:
    for name in report.subjects:
        found = partial(report.median, name)

        def claim(what: str, value: float, must: float, aim: float, name: str = name) -> None:
            report.claim(f"{name}: {what}", value, must=must, aim=aim, most=True)

        if name.startswith("restarted"):
            most = max(2000.0, 100 * float(name.split()[-2]))
            claim("worst after it is back, ms", found("after_back_ms"), most, most / 2)
        elif name.startswith("outage"):
            drained = found("missed") / SETTINGS["hosts.rate"]
            after = found("all_after_first_good_s")
            claim("all after the first good answer, s", after, drained + 10, drained + 3)
            claim("not delivered", found("missing"), 0, 0)
        elif name == ALWAYS_FAILS:
            claim("worst off its schedule, ms", found("worst_off_ms"), 250, 100)
        elif found("fits"):
            claim("tried after the end, s", found("after_end_s"), 1, 0.1)
            claim("not tried", found("missing"), 0, 0)


def _beside(first: Callable[[], None], then: Callable[[], list[Published]]) -> list[Published]:
    thread = Thread(target=first)
    thread.start()
    found = then()
    thread.join()
    return found


if __name__ == "__main__":
    command("receivers", __doc__, measure, size=2000, runs=1, only=ONLY)
