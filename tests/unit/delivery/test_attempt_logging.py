import logging
from dataclasses import replace
from uuid import uuid4

import pytest

from daemon.delivery.attempt_logging import CircuitLog, log_attempt, readable
from daemon.model import Outcome
from daemon.store.results import Circuit, Held, Result


def result(outcome: str, *, attempt: int = 1, host_failed: bool | None = None, **more: object) -> Result:
    held = Held(uuid4(), uuid4(), uuid4(), 7, uuid4(), "match.proposed", attempt)
    return replace(held.result(Outcome(outcome)), host_failed=host_failed, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "seconds, text",
    [(0.04, "0.0s"), (59.9, "59.9s"), (303, "5m 3s"), (7200, "2h 0m"), (3 * 86400 + 4 * 3600, "3d 4h")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert readable(seconds) == text


def test_attempts_are_told_by_their_weight(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookd.delivery")
    log_attempt(result("succeeded"), "a:443", None)
    log_attempt(result("succeeded", attempt=2, status=204), "a:443", None)
    log_attempt(result("retry", error="timeout", delay=5.0), "a:443", "It did not answer.")
    log_attempt(
        result("given_up", attempt=10, error="status_5xx", status=503, reason="exhausted"), "a:443", None
    )
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "attempt 2 to a:443: succeeded"),
        ("INFO", "attempt 1 to a:443: timeout (It did not answer.), next attempt in 5.0s"),
        ("WARNING", "attempt 10 to a:443: status_5xx 503, given up (exhausted)"),
    ]


def test_each_change_of_a_circuit_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookd.delivery")
    log = CircuitLog()
    failed, reached = result("retry", host_failed=True), result("succeeded", host_failed=False)
    opened = [
        log.note([failed], [Circuit(7, "a:443", 1, 5.0)]),
        log.note([failed], [Circuit(7, "a:443", 1, 4.0)]),
        log.note([failed], [Circuit(7, "a:443", 2, 10.0)]),
        log.note([reached], []),
        log.note([reached], []),
    ]
    assert opened == [1, 0, 1, 0, 0]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert "for 5.0s" in told[0]
    assert "for 10.0s" in told[1]
    assert told[2] == "a:443 accepts connections again"
