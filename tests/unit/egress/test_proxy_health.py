"""When a proxy is taken to be down, and how it is found to work again."""

import logging

import pytest
import trio
from trio.testing import MockClock

from daemon.egress.errors import EgressError, Fault
from daemon.egress.proxy_health import IN_A_ROW, PAUSE, ProxyHealth

DOWN = EgressError("proxy_failed", "It does not work.", note="it answered nonsense", fault=Fault.PROXY)


def use(health: ProxyHealth, error: EgressError | None = None) -> str:
    """Use the proxy once; return what came of it, in brackets if it was not even asked."""
    asked = False
    try:
        with health.watch():
            asked = True
            if error is not None:
                raise error
    except EgressError as raised:
        return raised.code if asked else f"({raised.code})"
    return "good"


async def test_some_faults_in_a_row_are_needed(mock_clock: MockClock) -> None:
    health = ProxyHealth("http://proxy.test:3128")
    for _ in range(3):
        assert [use(health, DOWN) for _ in range(IN_A_ROW - 1)] == ["proxy_failed"] * (IN_A_ROW - 1)
        assert use(health) == "good"
    assert health.down == ""


@pytest.mark.parametrize("code", ["proxy_refused", "proxy_connect_failed"])
async def test_a_proxy_that_refuses_or_does_not_get_through_works(code: str, mock_clock: MockClock) -> None:
    health = ProxyHealth("http://proxy.test:3128")
    for _ in range(3):
        assert [use(health, DOWN) for _ in range(IN_A_ROW - 1)] == ["proxy_failed"] * (IN_A_ROW - 1)
        assert use(health, EgressError(code, "No.")) == code
    assert health.down == ""


async def test_while_it_is_down_one_at_a_time_tries(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookd.egress")
    health = ProxyHealth("http://proxy.test:3128")
    assert [use(health, DOWN) for _ in range(IN_A_ROW + 2)] == ["proxy_failed"] * IN_A_ROW + [
        "(proxy_failed)"
    ] * 2
    assert health.down == "it answered nonsense"
    mock_clock.jump(PAUSE)
    with trio.CancelScope() as scope, health.watch():
        assert use(health) == "(proxy_failed)"
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert use(health, DOWN) == "proxy_failed", "who is cancelled has found out nothing"
    assert use(health) == "(proxy_failed)"
    mock_clock.jump(PAUSE)
    assert use(health) == "good"
    assert (health.down, use(health)) == ("", "good")
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("the proxy http://proxy.test:3128 cannot be used: it answered nonsense; ")
    assert said[1:] == ["the proxy http://proxy.test:3128 works again"]


async def test_it_is_told_of_once_a_minute(mock_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    health = ProxyHealth("http://proxy.test:3128")
    for _ in range(180):
        use(health, DOWN)
        mock_clock.jump(PAUSE)
    assert len(caplog.records) == 3


async def test_another_shortage_says_nothing_of_the_proxy(mock_clock: MockClock) -> None:
    health = ProxyHealth("http://proxy.test:3128")
    shortage = EgressError("connect_failed", "Too many open files.", fault=Fault.DAEMON)
    assert {use(health, shortage) for _ in range(9)} == {"connect_failed"}
    assert health.down == ""


async def test_what_waits_for_it_waits_half_as_long_as_it_has_been_down(mock_clock: MockClock) -> None:
    health, holds = ProxyHealth("http://proxy.test:3128"), []
    for passed in (0.0, 1.0, 9.0, 90.0):
        mock_clock.jump(passed)
        with pytest.raises(EgressError) as caught, health.watch():
            raise EgressError(DOWN.code, DOWN.detail, fault=Fault.PROXY)
        holds.append(caught.value.hold)
    assert holds == [1.0, 1.0, 5.0, 15.0]
    with pytest.raises(EgressError) as caught, health.watch():
        pass
    assert caught.value.hold == 15.0
