"""What the daemon counts about itself: plain numbers, added up by its one thread and read at a scrape.

No locks and no objects in between: an attempt costs about a microsecond in all. Labels have few values: never
a URL, a host or an id.
"""

# ruff: noqa: RUF009  (what _counter() and _histogram() return is a field, not its default)

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Labels = tuple[str, ...]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0)
QUICK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATENCY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)


class Counter:
    """Counts by labels. `values` has an entry for each combination that is `known` before or has occurred."""

    __slots__ = ("help", "labels", "name", "values")

    def __init__(self, name: str, text: str, labels: Labels = (), known: Iterable[Labels] = ()) -> None:
        self.name = name
        self.help = text
        self.labels = labels
        # One that is known from the start shows as 0, so that its first increase is not missed.
        self.values: dict[Labels, int] = dict.fromkeys(known if labels else [()], 0)

    def add(self, key: Labels = (), count: int = 1) -> None:
        """Count so many more; `key` has the values of the labels, in their order."""
        self.values[key] = self.values.get(key, 0) + count


class Histogram:
    """Counts by size: `bounds` are the upper ends of the buckets, after which one more takes the rest.

    `series` holds for each combination of labels the count of every bucket and, last, the sum of all values.
    """

    __slots__ = ("bounds", "help", "labels", "name", "series")

    def __init__(
        self, name: str, text: str, bounds: tuple[float, ...] = SECONDS, labels: Labels = ()
    ) -> None:
        self.name = name
        self.help = text
        self.labels = labels
        self.bounds = bounds
        self.series: dict[Labels, list[float]] = {}
        if not labels:
            self.series[()] = self._empty()

    def observe(self, value: float, key: Labels = ()) -> None:
        """Count a value."""
        counts = self.series.get(key)
        if counts is None:
            counts = self.series[key] = self._empty()
        counts[bisect_left(self.bounds, value)] += 1
        counts[-1] += value

    def _empty(self) -> list[float]:
        return [0.0] * (len(self.bounds) + 2)


def _counter(name: str, text: str, labels: Labels = (), known: Iterable[Labels] = ()) -> Any:
    """Return the field of a dataclass that holds such a counter."""
    return field(default_factory=lambda: Counter(name, text, labels, known))


def _histogram(name: str, text: str, bounds: tuple[float, ...] = SECONDS, labels: Labels = ()) -> Any:
    """Return the field of a dataclass that holds such a histogram."""
    return field(default_factory=lambda: Histogram(name, text, bounds, labels))


@dataclass(eq=False)
class Metrics:
    """All that one daemon counts. `version` is hookd's; `in_flight` tells how many requests are under way,
    `clock_offset` by how many seconds this machine's clock is ahead of Postgres', `works` whether it
    delivers, `proxy_down` whether the proxy that it sends through does not work, `stood` for how many seconds
    each part of the way has not got through.

    `process`: the daemon's number among those of one supervisor.
    """

    version: str = "0"
    process: int = 1
    in_flight: Callable[[], int] = int
    reload_successful: bool = True
    reloaded_at: float = 0.0
    clock_offset: Callable[[], float] = float
    proxy_down: Callable[[], bool] = bool
    works: Callable[[], bool] = bool
    stood: Callable[[], Mapping[str, float]] = dict
    attempts: Counter = _counter(
        "hookd_attempts_total",
        "Requests made for deliveries. outcome: succeeded, failed, or interrupted (a stop or a crash "
        "came between). status_class: 2xx to 5xx, other, or none where no usable answer came.",
        ("outcome", "status_class"),
        [
            ("succeeded", "2xx"),
            *(("failed", one) for one in ("3xx", "4xx", "5xx", "none")),
            ("interrupted", "none"),
        ],
    )
    attempt_errors: Counter = _counter(
        "hookd_attempt_errors_total",
        "Attempts that failed, by the error code that the history shows.",
        ("error",),
    )
    attempt_seconds: Histogram = _histogram(
        "hookd_attempt_duration_seconds",
        "Time of one attempt, from looking up the name to the end of the answer.",
    )
    latency_seconds: Histogram = _histogram(
        "hookd_delivery_latency_seconds",
        "Time from publishing an event to the start of a delivery's first attempt. A wait that the "
        "publisher asked for (deliver_after) is part of it. A delivery that was made more than a minute "
        "after its event, as redelivery and replay do, counts from its making.",
        LATENCY_SECONDS,
    )
    deliveries: Counter = _counter(
        "hookd_deliveries_total",
        "Deliveries that ended in this daemon, by outcome: succeeded or given_up.",
        ("outcome",),
        [("succeeded",), ("given_up",)],
    )
    given_up: Counter = _counter(
        "hookd_deliveries_given_up_total",
        "Deliveries given up in this daemon. reason: exhausted (the last of the retries failed), gone "
        "(410), expired (retention).",
        ("reason",),
        [("exhausted",), ("gone",), ("expired",)],
    )
    late_results: Counter = _counter(
        "hookd_late_results_total",
        "Results that did not count, as their lease had ended or Postgres refused them: those deliveries "
        "are sent again.",
    )
    unrepresentable: Counter = _counter(
        "hookd_events_unrepresentable_total",
        "Events from SQL that have no JSON form to send, and are given up when they are routed.",
    )
    throttled: Counter = _counter(
        "hookd_host_throttled_total",
        "How often something made this daemon send less. reason: circuit (a host's circuit opened, after "
        "connections failed several times in a row; each daemon that meets it counts it), retry_after (a "
        "receiver's 429 or 503 asked for a pause, which holds that one subscription). Waits for a host's "
        "rate and in-flight limit cost nothing and are not counted: see hookd_hosts_waiting.",
        ("reason",),
        [("circuit",), ("retry_after",)],
    )
    claim_seconds: Histogram = _histogram(
        "hookd_claim_duration_seconds",
        "Time to claim due deliveries from Postgres, empty claims included. What is claimed as it is "
        "routed does not count.",
        QUICK_SECONDS,
    )
    record_seconds: Histogram = _histogram(
        "hookd_record_duration_seconds",
        "Time to write a batch of results to Postgres, waiting for it included.",
        QUICK_SECONDS,
    )
    egress_refused: Counter = _counter(
        "hookd_egress_refused_total",
        "What the rules for outgoing requests refused, by rule: URLs when they are registered or read to "
        "be sent to, and the addresses of every new connection.",
        ("rule",),
    )
    api_requests: Counter = _counter(
        "hookd_api_requests_total",
        "Requests to the API. route: the path's pattern, or unmatched.",
        ("method", "route", "status"),
    )
    api_seconds: Histogram = _histogram(
        "hookd_api_request_duration_seconds",
        "Time from a request's headers to the end of its answer.",
        labels=("route",),
    )

    @property
    def counters(self) -> list[Counter]:
        """All counters."""
        return [one for one in vars(self).values() if isinstance(one, Counter)]

    @property
    def histograms(self) -> list[Histogram]:
        """All histograms."""
        return [one for one in vars(self).values() if isinstance(one, Histogram)]
