import logging

import pytest

from daemon.delivery.circuit_logging import CircuitLog
from daemon.store.results import Circuit
from tests.unit.delivery.test_attempt_logging import result


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
