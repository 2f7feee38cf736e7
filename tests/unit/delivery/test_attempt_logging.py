import logging
from dataclasses import replace
from uuid import uuid4

import pytest

from daemon.delivery.attempt_logging import log_attempt
from daemon.model import Outcome
from daemon.store.results import Held, Result


def result(outcome: str, *, attempt: int = 1, host_failed: bool | None = None, **more: object) -> Result:
    held = Held(uuid4(), uuid4(), uuid4(), 7, uuid4(), "match.proposed", attempt)
    return replace(held.result(Outcome(outcome)), host_failed=host_failed, **more)  # type: ignore[arg-type]


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
