import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import pytest

from daemon.delivery.request_template import RequestTemplate
from daemon.delivery.sender import DeliverySettings, Sender, timeout_of
from daemon.delivery.targets import Target, Targets
from daemon.egress.answer import Answer
from daemon.egress.errors import EgressError, Fault, Phases
from daemon.egress.url import Url, parse_url
from daemon.signing.secrets import generate_secret
from daemon.signing.standard import HeaderSettings
from daemon.signing.vault import VaultError
from daemon.store.queue import Claimed, TargetRow

ORG, SUBSCRIPTION, LARGE = uuid4(), uuid4(), uuid4()
SETTINGS = DeliverySettings(
    timeout=1.0,
    retry_schedule=(5.0,),
    retry_jitter=0.0,
    retry_after_max=60.0,
    headers=HeaderSettings("X-Alter-", "hookd/test"),
)


class FakeExchange:
    """Stands for the network: gives what it is told to and keeps what it was sent."""

    def __init__(self, outcome: Answer | EgressError) -> None:
        self.outcome = outcome
        self.sent: list[tuple[Url, dict[bytes, bytes], bytes]] = []

    async def __call__(self, url: Url, request: bytes, *, owner: UUID, timeout: float) -> Answer:
        assert owner == ORG
        head, _, body = request.partition(b"\r\n\r\n")
        fields = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
        self.sent.append((url, {name: value for name, _, value in fields}, body))
        if isinstance(self.outcome, EgressError):
            raise self.outcome
        return self.outcome


class Stored:
    """Stands for the store, in which one event's large body is."""

    @asynccontextmanager
    async def of(self, subscription_id: UUID, event_id: UUID) -> AsyncIterator[bytes | None]:
        yield b"large" if event_id == LARGE else None


def answer(status: int, *headers: tuple[bytes, bytes], excerpt: bytes = b"") -> Answer:
    head = b"HTTP/1.1 %d Answer\r\n" % status + b"".join(b"%s: %s\r\n" % one for one in headers) + b"\r\n"
    return Answer(status, head, excerpt, False, Phases(first_byte=0.01, total=0.02))


def claimed(event_type: str = "match.proposed", failures: int = 0) -> Claimed:
    return Claimed(
        token=uuid4(),
        delivery_id=uuid4(),
        subscription_id=SUBSCRIPTION,
        host_id=1,
        event_id=uuid4(),
        event_type=event_type,
        attempt=failures + 1,
        failures=failures,
        revision=1,
        body='{"data":1}',
        org_id=uuid4(),
    )


def sender(
    exchange: FakeExchange,
    url: str = "https://example.com/hook",
    *,
    sealed: bool = False,
    timeout: float | None = None,
) -> Sender:
    secret = generate_secret()

    def decrypt(ciphertext: bytes, subscription: object) -> str:
        if sealed:
            raise VaultError("no key opens it")
        return secret

    targets = Targets(
        parse_url=lambda text: parse_url(text, https_only=True),
        decrypt=decrypt,
        write=partial(RequestTemplate, settings=SETTINGS.headers),
        now=time.time,
    )
    targets.learn([TargetRow(SUBSCRIPTION, ORG, 1, url, timeout, None, (b"x",), None)])
    return Sender(
        send=exchange, targets=targets, settings=lambda: SETTINGS, large_bodies=Stored(), now=time.time
    )


async def test_a_good_answer_is_recorded_with_its_phases_and_excerpt() -> None:
    exchange = FakeExchange(answer(200, excerpt=b"ok\x00\xff"))
    result = await sender(exchange).send(claimed())
    assert (result.outcome, result.status, result.error, result.host_failed) == (
        "succeeded",
        200,
        None,
        False,
    )
    assert result.excerpt == "ok\ufffd\ufffd"
    assert result.phases == "{NULL,NULL,NULL,10.00}"
    (url, headers, body) = exchange.sent[0]
    assert url.host_key == "https://example.com:443"
    assert body == b'{"data":1}'
    assert headers[b"webhook-timestamp"] == str(int(result.started or 0)).encode()


async def test_what_was_imperfect_and_the_headers_that_help_are_recorded() -> None:
    headers = ((b"Server", b"x"), (b"Set-Cookie", b"a=b"))
    good = await sender(FakeExchange(answer(200, *headers))).send(claimed())
    assert (good.note, good.headers) == (None, None)
    bad = await sender(FakeExchange(answer(500, *headers))).send(claimed())
    assert (bad.note, bad.headers) == (None, "server: x\nset-cookie: ***")
    imperfect = replace(answer(200, *headers), note="lines end without CR")
    noted = await sender(FakeExchange(imperfect)).send(claimed())
    assert (noted.outcome, noted.lane, noted.note) == ("succeeded", "answered_well", "lines end without CR")
    assert noted.headers == bad.headers


@pytest.mark.parametrize("status, outcome", [(200, "succeeded"), (500, "retry")])
async def test_a_late_answer_is_the_lanes_as_none_would_be(status: int, outcome: str) -> None:
    late = replace(answer(status), note="the body did not end in time", late=True)
    result = await sender(FakeExchange(late)).send(claimed())
    assert (result.outcome, result.lane, result.host_failed) == (outcome, "unanswered", False)


async def test_a_target_is_read_when_it_is_first_sent_to() -> None:
    read: list[object] = []

    def decrypt(ciphertext: bytes, subscription: object) -> str:
        read.append(subscription)
        return generate_secret()

    targets = Targets(
        parse_url=lambda text: parse_url(text, https_only=True),
        decrypt=decrypt,
        write=partial(RequestTemplate, settings=SETTINGS.headers),
        now=time.time,
    )
    past = datetime(2020, 1, 1, tzinfo=UTC)
    targets.learn([TargetRow(SUBSCRIPTION, ORG, 7, "https://example.com/", None, None, (b"x",), None)])
    assert (targets.known(SUBSCRIPTION, 7), targets.known(SUBSCRIPTION, 8), read) == (True, False, [])
    assert targets.get(SUBSCRIPTION) is targets.get(SUBSCRIPTION)
    assert (read, targets.known(SUBSCRIPTION, 7)) == ([SUBSCRIPTION], True)
    targets.learn([TargetRow(SUBSCRIPTION, ORG, 8, "https://example.com/", None, None, (b"x",), past)])
    assert not targets.known(SUBSCRIPTION, 8), "one of its secrets has expired"


async def test_retry_after_holds_the_lane() -> None:
    result = await sender(FakeExchange(answer(429, (b"Retry-After", b"30")))).send(claimed())
    assert (result.outcome, result.hold, result.delay) == ("retry", 30.0, 30.0)
    assert result.lane == "answered_badly"


async def test_a_failed_connection_is_the_hosts_fault_and_the_last_one_gives_up() -> None:
    exchange = FakeExchange(EgressError("connect_refused", "Nobody listens there."))
    result = await sender(exchange).send(claimed(failures=1))
    assert (result.outcome, result.reason, result.host_failed) == ("given_up", "exhausted", True)
    assert result.excerpt == "Nobody listens there."


@pytest.mark.parametrize("own, host_failed", [(None, True), (0.1, None), (9999.0, True)])
async def test_a_deadline_of_the_subscriptions_own_says_nothing_of_the_host(
    own: float | None, host_failed: bool | None
) -> None:
    exchange = FakeExchange(EgressError("tls_timeout", "Slow.", fault=Fault.DEADLINE))
    result = await sender(exchange, timeout=own).send(claimed())
    assert (result.host_failed, result.lane) == (host_failed, "neutral" if host_failed else "unanswered")


async def test_the_rule_that_refused_an_address_is_for_the_operator_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hookd.delivery")
    exchange = FakeExchange(
        EgressError("address_forbidden", "Use another.", rule="private", note="it is 10.0.0.1")
    )
    result = await sender(exchange).send(claimed())
    assert result.excerpt == "Use another."
    assert "address_forbidden (it is 10.0.0.1), next attempt" in caplog.text


async def test_what_cannot_be_sent_is_a_failed_attempt_and_no_crash() -> None:
    for made, error in (
        (sender(FakeExchange(answer(200))).send(claimed(event_type="ereignis.gelöst")), "header_invalid"),
        (sender(FakeExchange(answer(200)), "http://example.com/").send(claimed()), "scheme_forbidden"),
    ):
        result = await made
        assert (result.outcome, result.error, result.status) == ("retry", error, None)
        assert result.host_failed is None


async def test_what_cannot_be_signed_waits_and_is_no_failed_attempt(caplog: pytest.LogCaptureFixture) -> None:
    exchange = FakeExchange(answer(200))
    keyless = sender(exchange, sealed=True)
    for _ in range(2):
        result = await keyless.send(claimed())
        assert (result.outcome, result.error, result.hold, exchange.sent) == ("unsent", None, 60.0, [])
    said = f"subscription {SUBSCRIPTION} cannot be signed for: no key opens it"
    assert [said in one.getMessage() for one in caplog.records] == [True, True]


async def test_a_deleted_subscription_gives_the_delivery_back() -> None:
    exchange = FakeExchange(answer(200))
    result = await sender(exchange).send(replace(claimed(), subscription_id=uuid4()))
    assert (result.outcome, exchange.sent) == ("unsent", [])


async def test_a_large_body_is_fetched_or_the_delivery_goes_back() -> None:
    exchange = FakeExchange(answer(200))
    result = await sender(exchange).send(replace(claimed(), body=None, event_id=LARGE))
    assert (result.outcome, exchange.sent[0][2]) == ("succeeded", b"large")
    result = await sender(exchange).send(replace(claimed(), body=None))
    assert (result.outcome, len(exchange.sent)) == ("unsent", 1)


@pytest.mark.parametrize("own, expected", [(None, SETTINGS.timeout), (0.5, 0.5), (9999.0, SETTINGS.timeout)])
def test_a_subscriptions_timeout_can_only_be_shorter(own: float | None, expected: float) -> None:
    target = Target(ORG, 1, None, None, (), None, timeout=own)
    assert timeout_of(target, SETTINGS) == expected


async def test_a_fault_of_the_proxy_costs_no_attempt() -> None:
    error = EgressError("proxy_failed", "It does not work.", fault=Fault.PROXY)
    error.hold = 8.0
    result = await sender(FakeExchange(error)).send(claimed())
    assert (result.outcome, result.error, result.host_failed, result.excerpt) == ("unsent", None, None, None)
    assert 4.0 <= (result.hold or 0) <= 8.0
