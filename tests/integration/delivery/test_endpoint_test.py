"""Tests of receivers, good and bad, over real sockets."""

import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from standardwebhooks import Webhook

from api.endpoint_tests import shown
from daemon.delivery.endpoint_test import Bounds, EndpointTests
from daemon.delivery.request_budget import RequestBudget
from daemon.delivery.sender import DeliverySettings
from daemon.delivery.targets import Target
from daemon.egress.report import EndpointTestsBusy, EndpointTestsStopping
from daemon.egress.url import UrlRefused, parse_url
from daemon.signing.secrets import generate_private_key, generate_secret, parse_secret
from daemon.signing.standard import HeaderSettings
from daemon.store.tokens import Tokens
from tests.support.egress_harness import (
    Handler,
    answering,
    closed_pools,  # noqa: F401 (used by every test)
    closing_after,
    make_exchange,
    read_request,
    reset,
    unused_port,
)
from tests.support.egress_harness import receiver as raw_receiver
from tests.support.receiver import Received, Reply, accept, hang, receiving
from tests.support.verifying import Verifying

ORG, OTHER_ORG, SUBSCRIPTION = uuid4(), uuid4(), uuid4()
CHECKS = ["wrong_signature", "stale_timestamp", "repeated_id", "unknown_event_type"]
REQUESTS = 1 + len(CHECKS)


def target(url: str | None, *secrets: str, **more: Any) -> Target:
    keys = tuple(map(parse_secret, secrets or (generate_secret(),)))
    parsed = None if url is None else parse_url(url, https_only=False)
    return Target(ORG, 1, parsed, more.pop("refused", None), keys, None, **more)


def bounds(at_once: int = 32, of_organisation: int = 4) -> Bounds:
    return Bounds(RequestBudget(rate=1e6, burst=1e6, now=time.monotonic), at_once, of_organisation)


def endpoint_tests(one: Target | None, *, timeout: float = 5.0, **more: Any) -> EndpointTests:
    """Return what tests the receiver at `one`; None: the subscription is gone."""

    async def target_of(subscription_id: UUID) -> Target | None:
        await trio.lowlevel.checkpoint()
        return one

    async def take(org_id: UUID, subscription_id: UUID, count: int) -> Tokens | None:
        return Tokens("https://a.test:443", 10.0, None, None)

    settings = DeliverySettings(timeout, (5.0,), 0.0, 60.0, HeaderSettings("X-Alter-", "hookd/test"))
    given: dict[str, Any] = {
        "target_of": target_of,
        "settings": lambda: settings,
        "stopping": lambda: False,
        "now": time.time,
        "take": take,
        "bounds": bounds(),
        **more,
    }
    return EndpointTests(post=make_exchange().post, **given)


async def tell(one: Target, *, conformance: bool = False, timeout: float = 5.0) -> dict[str, Any]:
    """Test the receiver at `one` and return what the API would tell."""
    with trio.fail_after(30):
        test = await endpoint_tests(one, timeout=timeout).run(ORG, SUBSCRIPTION, conformance=conformance)
    assert test is not None
    return shown(test)


def passed(document: dict[str, Any]) -> list[bool]:
    assert [one["check"] for one in document["conformance"]] == CHECKS
    for one in document["conformance"]:
        assert one["passed"] is (one["advice"] is None)
    return [one["passed"] for one in document["conformance"]]


async def test_a_good_receiver_gets_one_signed_event_and_every_phase_is_timed() -> None:
    behaviour = Verifying(generate_secret())
    async with receiving(behaviour) as receiver:
        told = await tell(target(receiver.url("/hook?a=1"), behaviour.secret))
    (request,) = receiver.requests
    assert (told["delivered"], told["response_status"], told["error"], told["error_detail"]) == (
        True,
        200,
        None,
        None,
    )
    assert behaviour.handled == [told["event_id"]] == [request.event_id]
    assert request.headers["x-alter-delivery"] == told["delivery_id"]
    assert request.headers["x-alter-event"] == "webhook.test"
    shown_request = told["request"]
    assert (shown_request["method"], shown_request["url"]) == ("POST", receiver.url("/hook?a=1"))
    assert {name.lower(): value for name, value in shown_request["headers"].items()} == request.headers
    assert shown_request["body"].encode() == request.body
    phases = told["phases"]
    assert set(phases) == {"dns_ms", "connect_ms", "tls_ms", "first_byte_ms"}
    assert phases["tls_ms"] is None
    assert 0 <= phases["connect_ms"] + phases["first_byte_ms"] <= told["duration_ms"]
    assert "conformance" not in told
    assert "conforms" not in told


async def test_a_good_receiver_conforms_and_handles_the_repeated_event_once() -> None:
    behaviour = Verifying(generate_secret())
    async with receiving(behaviour) as receiver:
        told = await tell(target(receiver.url(), behaviour.secret), conformance=True)
    assert passed(told) == [True] * 4
    assert told["conforms"] is True
    assert [one["response_status"] for one in told["conformance"]] == [401, 401, 200, 200]
    assert [one["error"] for one in told["conformance"]] == [None] * 4
    assert behaviour.handled == [told["event_id"]]
    assert len(receiver.requests) == REQUESTS
    assert [one.event_id for one in receiver.requests].count(told["event_id"]) == 2


async def test_both_secrets_of_an_overlap_and_an_ed25519_key_sign() -> None:
    behaviour = Verifying(generate_secret())
    async with receiving(behaviour) as receiver:
        keys = (generate_private_key(), generate_secret(), behaviour.secret)
        told = await tell(target(receiver.url(), *keys), conformance=True)
    assert told["conforms"] is True
    assert all(len(one.headers["webhook-signature"].split()) == 3 for one in receiver.requests)


async def test_a_receiver_that_takes_anything_does_not_conform() -> None:
    async with receiving(accept) as receiver:
        told = await tell(target(receiver.url()), conformance=True)
    assert told["delivered"] is True
    assert passed(told) == [False, False, True, True]
    assert told["conforms"] is False
    assert "anybody can send you events" in told["conformance"][0]["advice"]


async def test_a_receiver_that_refuses_all_does_not_conform() -> None:
    async def refuse(request: Received) -> Reply:
        return Reply(403)

    async with receiving(refuse) as receiver:
        told = await tell(target(receiver.url()), conformance=True)
    assert (told["delivered"], told["response_status"], told["error"]) == (False, 403, "status_4xx")
    assert "secret" in told["error_detail"]
    assert passed(told) == [True, True, False, False]
    assert told["conforms"] is False


async def test_a_receiver_that_handles_a_repeated_event_with_an_error_is_told_so() -> None:
    seen: set[str] = set()

    async def once(request: Received) -> Reply:
        known = request.event_id in seen
        seen.add(request.event_id)
        return Reply(409 if known else 200)

    async with receiving(once) as receiver:
        told = await tell(target(receiver.url()), conformance=True)
    assert passed(told) == [False, False, False, True]
    assert "webhook-id" in told["conformance"][2]["advice"]


async def test_a_redirect_is_not_followed() -> None:
    async def redirect(request: Received) -> Reply:
        return Reply(307, {"location": receiver.url("/elsewhere")})

    async with receiving(redirect) as receiver:
        told = await tell(target(receiver.url()), conformance=True)
    assert (told["response_status"], told["error"]) == (307, "status_3xx")
    assert passed(told) == [False] * 4
    assert {one.path for one in receiver.requests} == {"/"}
    assert len(receiver.requests) == REQUESTS


async def test_a_receiver_that_hangs_costs_one_timeout_and_another_for_all_checks() -> None:
    async with receiving(hang) as receiver:
        told = await tell(target(receiver.url()), conformance=True, timeout=0.3)
        assert len(receiver.requests) == REQUESTS
        assert receiver.most_in_flight >= len(CHECKS)  # those of the checks at once
    assert (told["delivered"], told["response_status"], told["error"]) == (False, None, "timeout")
    assert told["phases"]["connect_ms"] is not None
    assert told["phases"]["first_byte_ms"] is None
    assert told["response_excerpt"] is None
    assert told["curl"].startswith("curl ")
    assert passed(told) == [False] * 4
    assert [one["error"] for one in told["conformance"]] == ["timeout"] * 4


async def test_the_timeout_of_the_subscription_counts() -> None:
    async with receiving(hang) as receiver:
        told = await tell(target(receiver.url(), timeout=0.2), timeout=600.0)
    assert told["error"] == "timeout"


async def close(stream: trio.SocketStream) -> None:
    await read_request(stream)


async def break_off(stream: trio.SocketStream) -> None:
    await read_request(stream)
    reset(stream)


async def dribble(stream: trio.SocketStream) -> None:
    await read_request(stream)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await stream.send_all(b"x")
        await trio.sleep(0.02)


@pytest.mark.parametrize(
    ("handler", "status", "error"),
    [
        (close, None, "connection_lost"),
        (break_off, None, "connection_lost"),
        (dribble, 200, None),
        (answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), None, "protocol_error"),
        (answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), None, "protocol_error"),
        (answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"), None, "response_too_large"),
        (closing_after(b"HTTP/1.1 200 OK\r\n\r\n" + b"\xff\0" * 5_000_000), 200, None),
        (answering(b"HTTP/1.1 599 ?\r\nContent-Length: 0\r\n\r\n"), 599, "status_5xx"),
    ],
)
async def test_a_bad_receiver_is_told_of_and_every_check_is_still_made(
    handler: Handler, status: int | None, error: str | None
) -> None:
    requests = 0

    async def counted(stream: trio.SocketStream) -> None:
        nonlocal requests
        requests += 1
        await handler(stream)

    async with raw_receiver(counted) as port:
        told = await tell(target(f"http://127.0.0.1:{port}/"), conformance=True, timeout=1.0)
    assert (told["response_status"], told["error"]) == (status, error)
    assert told["delivered"] is (error is None)
    assert [one["response_status"] for one in told["conformance"]] == [status] * 4
    assert requests == REQUESTS  # each over a connection of its own, and none sent twice
    assert told["error"] is None or told["error_detail"]
    if status == 200:
        assert len(told["response_excerpt"]) == 4096 or handler is dribble


async def test_nobody_listening_is_an_outcome_like_any_other() -> None:
    told = await tell(target(f"http://127.0.0.1:{unused_port()}/"), conformance=True)
    assert told["error"] == "connect_refused"
    assert [one["error"] for one in told["conformance"]] == ["connect_refused"] * 4


async def test_what_the_rules_refuse_is_told_and_nothing_is_sent() -> None:
    refused = UrlRefused("scheme", "The URL must begin with https://.", code="scheme_forbidden")
    told = await tell(target(None, refused=refused), conformance=True)
    assert (told["delivered"], told["error"]) == (False, "scheme_forbidden")
    assert told["error_detail"] == "The URL must begin with https://."
    assert told["request"] is None
    assert told["curl"] is None
    assert passed(told) == [False] * 4


async def test_secrets_that_nothing_opens_are_told() -> None:
    told = await tell(Target(ORG, 1, parse_url("https://example.com/"), None, (), None), conformance=True)
    assert (told["error"], told["request"]) == ("key_missing", None)


async def test_values_of_custom_headers_are_sent_and_not_shown() -> None:
    async with receiving(accept) as receiver:
        headers = ((b"X-Api-Token", b"a password"), (b"Accept", b"text/plain"))
        told = await tell(target(receiver.url(), headers=headers), conformance=True)
    assert [one.headers["x-api-token"] for one in receiver.requests] == ["a password"] * REQUESTS
    assert told["request"]["headers"]["X-Api-Token"] == "***"
    assert "-H 'X-Api-Token: ***'" in told["curl"]
    assert "password" not in str(told)


@pytest.mark.parametrize("path", ["/", "/a/../b/[1-3]/{x,y}?q='$(id)'&r=%20*", "/?x=`id`;!!~|&"])
async def test_the_curl_line_sends_the_same_request_when_it_is_pasted(path: str) -> None:
    behaviour = Verifying(generate_secret())
    async with receiving(behaviour) as receiver:
        told = await tell(target(receiver.url(path), behaviour.secret))
        environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        ended = await trio.run_process(
            ["bash", "-c", told["curl"]], env=environ, capture_stdout=True, capture_stderr=True
        )
    assert b"200 X" in ended.stdout
    ours, pasted = receiver.requests
    assert pasted.path == ours.path == path
    assert pasted.headers == ours.headers
    assert pasted.body == ours.body
    Webhook(behaviour.secret).verify(pasted.body, pasted.headers)


async def ended(work: Callable[[], Awaitable[object]]) -> str:
    try:
        await work()
    except (EndpointTestsBusy, EndpointTestsStopping) as error:
        return type(error).__name__
    return "done"


async def test_one_organisation_cannot_take_all_the_room() -> None:
    async with receiving(hang) as receiver, trio.open_nursery() as nursery:
        tests = endpoint_tests(target(receiver.url()), timeout=60.0, bounds=bounds(3, 2))

        async def run(org: UUID) -> None:
            await tests.run(org, SUBSCRIPTION, conformance=False)

        for _ in range(2):
            nursery.start_soon(run, ORG)
        await receiver.until(lambda: receiver.in_flight == 2, 10)
        assert await ended(lambda: run(ORG)) == "EndpointTestsBusy"
        nursery.start_soon(run, OTHER_ORG)
        await receiver.until(lambda: receiver.in_flight == 3, 10)
        assert await ended(lambda: run(OTHER_ORG)) == "EndpointTestsBusy"  # none is left for anybody
        nursery.cancel_scope.cancel()
    async with receiving(accept) as receiver:
        tests = endpoint_tests(target(receiver.url()), bounds=bounds(1, 1))
        for _ in range(3):
            assert await ended(lambda: tests.run(ORG, SUBSCRIPTION, conformance=True)) == "done"


async def test_a_test_takes_of_the_hosts_rate_or_is_told_when_it_may() -> None:
    wanted: list[int] = []
    until = datetime(2026, 3, 10, tzinfo=UTC)

    async def take(org_id: UUID, subscription_id: UUID, count: int) -> Tokens | None:
        wanted.append(count)
        return Tokens("https://a.test:443", 2.0, None if len(wanted) < 3 else 1.2, until)

    async with receiving(accept) as receiver:
        tests = endpoint_tests(target(receiver.url()), take=take)
        for conformance in (False, True):
            test = await tests.run(ORG, SUBSCRIPTION, conformance=conformance)
            assert test is not None
            assert shown(test)["blocked_until"] == "2026-03-10T00:00:00.000Z"
        with pytest.raises(EndpointTestsBusy) as caught:
            await tests.run(ORG, SUBSCRIPTION, conformance=False)
        assert len(receiver.requests) == 1 + REQUESTS
    assert wanted == [1, REQUESTS, 1]
    assert caught.value.retry_after == 2
    assert "The rate of https://a.test:443 (2 requests a second" in caught.value.reason


async def test_an_organisation_has_a_budget_of_test_requests() -> None:
    budget = RequestBudget(rate=0.001, burst=2 * REQUESTS, now=time.monotonic)
    async with receiving(accept) as receiver:
        tests = endpoint_tests(target(receiver.url()), bounds=Bounds(budget))
        for _ in range(2):
            await tests.run(ORG, SUBSCRIPTION, conformance=True)
        with pytest.raises(EndpointTestsBusy, match="as many test requests"):
            await tests.run(ORG, SUBSCRIPTION, conformance=False)
        await tests.run(OTHER_ORG, SUBSCRIPTION, conformance=False)
        assert len(receiver.requests) == 2 * REQUESTS + 1


async def test_room_that_a_cancelled_or_failed_test_held_is_free_again() -> None:
    error: Exception | None = None

    async def target_of(subscription_id: UUID) -> Target | None:
        if error is not None:
            raise error
        await trio.sleep_forever()
        raise AssertionError

    tests = endpoint_tests(None, target_of=target_of, bounds=bounds(1, 1))
    with trio.move_on_after(0.05) as scope:
        await tests.run(ORG, SUBSCRIPTION, conformance=False)
    assert scope.cancelled_caught
    error = RuntimeError("no database")
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await tests.run(ORG, SUBSCRIPTION, conformance=False)


async def test_no_test_begins_while_the_daemon_stops_and_none_of_what_is_gone() -> None:
    stopping = endpoint_tests(target("http://127.0.0.1:1/"), stopping=lambda: True)
    with pytest.raises(EndpointTestsStopping):
        await stopping.run(ORG, SUBSCRIPTION, conformance=False)
    assert await endpoint_tests(None).run(ORG, SUBSCRIPTION, conformance=False) is None
