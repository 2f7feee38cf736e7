"""What is counted, how it is shown, and that its names and labels keep the rules."""

import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from api.metrics import Exposition, _wants_openmetrics
from daemon.delivery.attempt_metrics import count_attempts, count_ends, count_given_up
from daemon.metrics import Metrics
from daemon.model import Outcome
from daemon.store.observation import Holder, Observation, Sight
from daemon.store.results import Result
from daemon.uuid7 import uuid7

SEEN = Observation(
    due=7,
    oldest_due=1.5,
    pending=None,
    inbox=3,
    inbox_oldest=0.25,
    circuits=2,
    full_hosts=1,
    paced_hosts=0,
    partitions=86400.0,
    holders=(Holder("backend", 12, 3.5), Holder("slot", 99, None)),
)
NOTHING = Sight()
BOUND_NAMES = (
    "hookd_attempts_total",
    "hookd_attempt_duration_seconds",
    "hookd_delivery_latency_seconds",
    "hookd_deliveries_total",
    "hookd_queue_due",
    "hookd_queue_oldest_due_seconds",
    "hookd_in_flight",
    "hookd_host_throttled_total",
    "hookd_claim_duration_seconds",
    "hookd_record_duration_seconds",
    "hookd_config_last_reload_successful",
    "hookd_build_info",
)
FULL: dict[str, Callable[[Exposition], Iterable[Metric]]] = {
    "text": lambda shown: parse_text(generate_latest(shown).decode()),
    "openmetrics": lambda shown: parse_openmetrics(openmetrics_text(shown).decode()),  # type: ignore[no-untyped-call]
}


def result(outcome: str, published: float = 0.0, made: float = 0.0, **changed: Any) -> Result:
    """Return a result of a first attempt that began at 1000 s; the others are seconds of the same clock."""
    values: dict[str, Any] = {
        "token": uuid4(),
        "delivery_id": uuid7(made),
        "subscription_id": uuid4(),
        "host_id": 1,
        "event_id": uuid7(published),
        "event_type": "match.proposed",
        "attempt": 1,
        "outcome": Outcome(outcome),
        "started": 1000.0,
        "duration": 20.0,
    }
    return Result(**{**values, **changed})


def values(metrics: Metrics, seen: Sight = NOTHING, parse: str = "text") -> dict[str, float]:
    """Return all that a scrape shows, by the name and the labels of each sample."""
    return {
        sample.name
        + "".join(f",{name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in FULL[parse](Exposition(metrics, seen))
        for sample in family.samples
    }


def test_attempts_are_counted_by_outcome_and_class_of_status() -> None:
    metrics = Metrics()
    count_attempts(
        metrics,
        [
            result("succeeded", status=200),
            result("succeeded", status=204),
            result("retry", status=503, error="status_5xx", hold=30.0),
            result("given_up", status=410, error="status_4xx", reason="gone"),
            result("retry", error="timeout"),
            result("retry", status=999, error="protocol_error"),
            result("interrupted", error="interrupted", duration=None),
            result("unsent", started=None, duration=None),
        ],
    )
    seen = values(metrics)
    assert {key: value for key, value in seen.items() if key.startswith("hookd_attempts_total")} == {
        "hookd_attempts_total,outcome=succeeded,status_class=2xx": 2,
        "hookd_attempts_total,outcome=failed,status_class=3xx": 0,
        "hookd_attempts_total,outcome=failed,status_class=4xx": 1,
        "hookd_attempts_total,outcome=failed,status_class=5xx": 1,
        "hookd_attempts_total,outcome=failed,status_class=none": 1,
        "hookd_attempts_total,outcome=failed,status_class=other": 1,
        "hookd_attempts_total,outcome=interrupted,status_class=none": 1,
    }
    assert seen["hookd_attempt_errors_total,error=timeout"] == 1
    assert seen["hookd_host_throttled_total,reason=retry_after"] == 1
    assert seen["hookd_attempt_duration_seconds_count"] == 6
    assert seen["hookd_attempt_duration_seconds_sum"] == pytest.approx(0.12)
    assert seen["hookd_attempt_duration_seconds_bucket,le=0.01"] == 0
    assert seen["hookd_attempt_duration_seconds_bucket,le=0.025"] == 6
    assert seen["hookd_attempt_duration_seconds_bucket,le=+Inf"] == 6


@pytest.mark.parametrize(
    "published, made, latency",
    [
        (990.0, 995.0, 10.0),
        (900.0, 940.0, 100.0),
        (100.0, 995.0, 5.0),  # redelivered or replayed
        (1005.0, 1005.0, 0.0),  # the publisher's clock is ahead
    ],
)
def test_latency_runs_from_publishing_but_for_deliveries_made_later(
    published: float, made: float, latency: float
) -> None:
    metrics = Metrics()
    count_attempts(metrics, [result("succeeded", published, made, status=200)])
    assert values(metrics)["hookd_delivery_latency_seconds_sum"] == pytest.approx(latency)


def test_only_first_attempts_have_a_latency() -> None:
    metrics = Metrics()
    count_attempts(metrics, [result("retry", 990.0, 990.0, status=500, attempt=2)])
    assert values(metrics)["hookd_delivery_latency_seconds_count"] == 0


def test_only_recorded_results_end_deliveries() -> None:
    metrics = Metrics()
    results = [
        result("succeeded", status=200),
        result("succeeded", status=200),
        result("given_up", reason="exhausted"),
        result("retry", status=500),
    ]
    count_ends(metrics, results, [True, False, True, True])
    count_given_up(metrics, "expired", 5)
    seen = values(metrics)
    assert seen["hookd_deliveries_total,outcome=succeeded"] == 1
    assert seen["hookd_deliveries_total,outcome=given_up"] == 6
    assert seen["hookd_deliveries_given_up_total,reason=exhausted"] == 1
    assert seen["hookd_deliveries_given_up_total,reason=expired"] == 5
    assert seen["hookd_late_results_total"] == 1


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics()
    for value in (0.001, 0.0011, 31.0):
        metrics.claim_seconds.observe(value)
    seen = values(metrics)
    assert seen["hookd_claim_duration_seconds_bucket,le=0.001"] == 1
    assert seen["hookd_claim_duration_seconds_bucket,le=0.0025"] == 2
    assert seen["hookd_claim_duration_seconds_bucket,le=30.0"] == 2
    assert seen["hookd_claim_duration_seconds_bucket,le=+Inf"] == 3


@pytest.mark.parametrize("parse", FULL)
def test_what_is_seen_of_the_queue_is_shown(parse: str) -> None:
    seen = values(Metrics(), Sight(True, True, SEEN), parse)
    assert seen["hookd_database_up"] == 1
    assert seen["hookd_queue_due"] == 7
    assert seen["hookd_queue_oldest_due_seconds"] == 1.5
    assert seen["hookd_hosts_waiting,reason=circuit"] == 2
    assert seen["hookd_xmin_holder_age_transactions,holder=slot"] == 99
    assert seen["hookd_xmin_holder_age_seconds,holder=backend"] == 3.5
    assert "hookd_xmin_holder_age_seconds,holder=slot" not in seen
    assert "hookd_queue_pending_estimate" not in seen
    assert seen["process_resident_memory_bytes"] > 1_000_000


@pytest.mark.parametrize("parse", FULL)
def test_without_postgres_its_gauges_are_absent(parse: str) -> None:
    seen = values(Metrics(), NOTHING, parse)
    assert seen["hookd_database_up"] == 0
    assert not [key for key in seen if re.match("hookd_(queue|inbox|hosts|partitions|xmin)", key)]
    assert seen["hookd_deliveries_total,outcome=succeeded"] == 0


@pytest.mark.parametrize("parse", FULL)
def test_names_and_labels_keep_the_rules(parse: str) -> None:
    """The rules that `promtool check metrics` has, and ours for labels."""
    metrics = Metrics("1.2.3")
    metrics.api_requests.add(("GET", "/webhooks/<uuid:subscription_id>", "200"))
    metrics.egress_refused.add(("loopback",))
    families = list(FULL[parse](Exposition(metrics, Sight(True, True, SEEN))))
    names = [family.name for family in families]
    samples = {sample.name for family in families for sample in family.samples}
    assert len(names) == len(set(names))
    assert set(BOUND_NAMES) <= {re.sub("_(bucket|sum|count)$", "", name) for name in samples}
    for family in families:
        assert re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(
            "_(ms|milliseconds|minutes|hours|kb|mb|ratio_percent|gauge|histogram)$", family.name
        )
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert set(sample.labels) <= {
                *("error", "holder", "le", "method", "outcome", "python", "reason", "route", "rule"),
                *("process", "status", "status_class", "version"),
            }
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


@pytest.mark.parametrize(
    "accept, wanted",
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4",
            True,
        ),
        ("application/openmetrics-text; q=0.1, text/plain; q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=much", False),
        ("APPLICATION/OpenMetrics-Text;version=9.9.9\u00e9", True),
        (";,;;q=,,=", False),
    ],
)
def test_the_format_is_that_which_the_scraper_prefers(accept: str, wanted: bool) -> None:
    assert _wants_openmetrics(accept) is wanted


def test_a_reload_that_fails_shows() -> None:
    metrics = Metrics()
    assert values(metrics)["hookd_config_last_reload_successful"] == 1
    metrics.reload_successful = False
    assert values(metrics)["hookd_config_last_reload_successful"] == 0
    metrics.reloaded_at = 1_796_000_000.5
    assert values(metrics)["hookd_config_last_reload_success_timestamp_seconds"] == 1_796_000_000.5


def test_the_clocks_offset_is_signed() -> None:
    metrics = Metrics()
    metrics.clock_offset = lambda: -600.25
    assert values(metrics)["hookd_clock_offset_seconds"] == -600.25
