"""GET /metrics: what the daemon counts and what it sees of the queue, for Prometheus and its like."""

import platform
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from quart import Blueprint
from quart.wrappers import Response
from quart_trio.wrappers import TrioResponse

from api.quart_app import current_request
from api.services import Services
from daemon.metrics import Counter, Histogram, Metrics
from daemon.store.observation import Observation, Sight

_OPENMETRICS, _PLAIN = "application/openmetrics-text", "text/plain"
_openmetrics_text: Callable[[Collector], bytes] = openmetrics.generate_latest
_EVERYWHERE = " Of the whole database, so every daemon on it tells the same."


def blueprint(services: Services) -> Blueprint:
    """Return the route /metrics; it needs no token and tells nothing of any organisation."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    async def metrics() -> Response:
        collector = Exposition(services.metrics, await services.observe())
        if _wants_openmetrics(str(current_request().headers.get("Accept", ""))):
            return TrioResponse(
                _openmetrics_text(collector), content_type=f"{_OPENMETRICS}; version=1.0.0; charset=utf-8"
            )
        return TrioResponse(
            generate_latest(collector), content_type=f"{_PLAIN}; version=0.0.4; charset=utf-8"
        )

    return routes


class Exposition(Collector):
    """All metrics at one moment."""

    _process = ProcessCollector(registry=None)

    def __init__(self, metrics: Metrics, seen: Sight) -> None:
        self._metrics = metrics
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        """Give them in the order in which they are shown."""
        metrics = self._metrics
        yield from _of_process(metrics)
        yield from map(_counter, metrics.counters)
        yield from map(_histogram, metrics.histograms)
        yield from _of_postgres(metrics, self._seen)
        if self._seen.queue is not None:
            yield from _observed(self._seen.queue)
        yield from self._process.collect()


def _of_process(metrics: Metrics) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "hookd_build",
        "The version of hookd and of the Python that runs it. process: which one of several answers.",
        value={
            "version": metrics.version,
            "python": platform.python_version(),
            "process": str(metrics.process),
        },
    )
    yield _gauge(
        "hookd_config_last_reload_successful",
        "Whether the last try to read the configuration succeeded; after a failure the old one stays.",
        metrics.reload_successful,
    )
    yield _gauge(
        "hookd_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read.",
        metrics.reloaded_at,
    )
    yield _gauge("hookd_in_flight", "Requests to receivers under way in this daemon.", metrics.in_flight())
    yield _gauge(
        "hookd_clock_offset_seconds",
        "By how many seconds the clock of this daemon's machine is ahead of Postgres', below 0: behind. "
        "Postgres' is the one that counts: nothing goes by the other.",
        metrics.clock_offset(),
    )
    yield _gauge(
        "hookd_egress_proxy_up",
        "Whether egress.proxy does what a proxy does; 1 without one. While it does not, what goes "
        "through it waits, and no attempt is counted.",
        not metrics.proxy_down(),
    )


def _of_postgres(metrics: Metrics, seen: Sight) -> Iterator[Metric]:
    yield _gauge(
        "hookd_database_up",
        "Whether Postgres answered in time. While it does not, what would be read there is absent.",
        seen.answers,
    )
    yield _gauge(
        "hookd_database_writable",
        "Whether Postgres answered in time and takes writes: a standby, or a database that is read-only, "
        "does not.",
        seen.writable,
    )
    yield _gauge(
        "hookd_ready",
        "Whether this daemon publishes and delivers: Postgres takes writes, each part of an event's way "
        "has done a round, and none stands still. What GET /health/ready says.",
        seen.writable and metrics.works(),
    )
    stalled = GaugeMetricFamily(
        "hookd_stalled_seconds",
        "For how long a part of an event's way has not got through; 0 where it does or has nothing to "
        "do. Above 5 the log says what is in the way.",
        labels=("part",),
    )
    for part, seconds in metrics.stood().items():
        stalled.add_metric((part.replace(" ", "_"),), seconds)
    yield stalled


def _observed(seen: Observation) -> Iterator[Metric]:
    yield _gauge(
        "hookd_queue_due",
        "Deliveries whose time has come and that are not being sent, those that wait for a host's or a "
        "subscription's limits included. Counted up to 100000, and among 20000 subscriptions." + _EVERYWHERE,
        seen.due,
    )
    yield _gauge(
        "hookd_queue_oldest_due_seconds",
        "For how long the oldest of those has been due, 0 if there is none." + _EVERYWHERE,
        seen.oldest_due or 0.0,
    )
    if seen.pending is not None:
        yield _gauge(
            "hookd_queue_pending_estimate",
            "Pending deliveries, due or not. An estimate from the table's size, as good as its last vacuum."
            + _EVERYWHERE,
            seen.pending,
        )
    yield _gauge(
        "hookd_unrouted_events",
        "Published events that are not yet routed, counted up to 100000." + _EVERYWHERE,
        seen.inbox,
    )
    yield _gauge(
        "hookd_unrouted_oldest_seconds",
        "Age of the oldest of those, 0 if there is none." + _EVERYWHERE,
        seen.inbox_oldest or 0.0,
    )
    hosts = GaugeMetricFamily(
        "hookd_hosts_waiting",
        "Hosts with pending deliveries and may not be sent to now. reason: circuit (it is open), in_flight "
        "(as many requests under way as allowed), rate. Among the first 20000 with pending deliveries."
        + _EVERYWHERE,
        labels=("reason",),
    )
    hosts.add_metric(("circuit",), seen.circuits)
    hosts.add_metric(("in_flight",), seen.full_hosts)
    hosts.add_metric(("rate",), seen.paced_hosts)
    yield hosts
    if seen.partitions is not None:
        yield _gauge(
            "hookd_partitions_ahead_seconds",
            "For how long there are partitions for events and attempts; publishing fails after that."
            + _EVERYWHERE,
            seen.partitions,
        )
    yield from _holders(seen)


def _holders(seen: Observation) -> Iterator[Metric]:
    transactions = GaugeMetricFamily(
        "hookd_xmin_holder_age_transactions",
        "Transactions since the oldest snapshot that is still held: no row that died since can be removed. "
        "holder: backend (a session), standby, slot, prepared_transaction; absent where there is none. "
        "Sessions of other accounts show only if hookd's is a member of pg_read_all_stats." + _EVERYWHERE,
        labels=("holder",),
    )
    seconds = GaugeMetricFamily(
        "hookd_xmin_holder_age_seconds",
        "Age of the oldest transaction of that kind, where Postgres tells it." + _EVERYWHERE,
        labels=("holder",),
    )
    for one in seen.holders:
        transactions.add_metric((one.kind,), one.transactions)
        if one.seconds is not None:
            seconds.add_metric((one.kind,), one.seconds)
    yield transactions
    yield seconds


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(counter: Counter) -> Metric:
    family = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
    for labels, count in list(counter.values.items()):
        family.add_metric(labels, count)
    return family


def _histogram(histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
    bounds = [*map(str, histogram.bounds), "+Inf"]
    for labels, counts in histogram.series.items():
        buckets = list(zip(bounds, accumulate(counts[:-1]), strict=True))
        family.add_metric(labels, buckets, counts[-1])
    return family


def _wants_openmetrics(accept: str) -> bool:
    """Tell whether the header (RFC 9110 section 12.5.1) prefers OpenMetrics to the older text format."""
    wanted = {_OPENMETRICS: 0.0, _PLAIN: 0.0}
    for one in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        if kind in wanted:
            wanted[kind] = max(wanted[kind], _quality(parameters))
    return wanted[_OPENMETRICS] > 0 and wanted[_OPENMETRICS] >= wanted[_PLAIN]


def _quality(parameters: Iterable[str]) -> float:
    for one in parameters:
        name, _, value = one.partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
