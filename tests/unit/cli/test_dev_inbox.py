import io
import time
from uuid import UUID

import pytest

from daemon.cli.dev_inbox import FLAKY, INBOX, Inbox
from daemon.cli.dev_tally import Tally
from daemon.cli.receiver import Request
from daemon.cli.screen import Screen
from daemon.signing.canonical import BigInteger, event_body
from daemon.signing.secrets import generate_secret, parse_secret
from daemon.signing.standard import HeaderSettings, Message, attempt_headers, stamp
from daemon.uuid7 import uuid7

SECRET = generate_secret()


class World:
    def __init__(self) -> None:
        self.out = io.StringIO()
        self.tally = Tally()
        self.inbox = Inbox(
            Screen(self.out, colour=False), self.tally, retry_schedule=[1.0, 2.0], header_prefix="X-Alter-"
        )
        self.inbox.secrets.update({INBOX: SECRET, FLAKY: SECRET})

    @property
    def lines(self) -> list[str]:
        return [" ".join(line.split()[1:]) for line in self.out.getvalue().splitlines()]


def request(path: str, event_id: UUID, *, secret: str = SECRET, data: object = 1) -> Request:
    made = event_body(event_id, "match.proposed", data)  # type: ignore[arg-type]
    message = Message(event_id, uuid7(), "match.proposed", int(time.time()), made.encode())
    headers = attempt_headers(stamp([parse_secret(secret)], message), HeaderSettings("X-Alter-", "test"))
    return Request(path, {name.decode().lower(): value.decode() for name, value in headers}, made.encode())


def test_a_signed_event_is_verified_and_shown_with_its_latency() -> None:
    world, event_id = World(), uuid7(time.time() - 2.5)
    assert world.inbox.answer(request(INBOX, event_id)) == 204
    [line] = world.lines
    assert line.startswith(f"delivered match.proposed …{str(event_id)[-6:]} /inbox verified 2.5")
    assert (world.tally.counts.verified, world.tally.counts.delivered) == (1, 1)


def test_the_same_event_twice_is_shown_as_such() -> None:
    world, event_id = World(), uuid7()
    assert [world.inbox.answer(request(INBOX, event_id)) for _ in range(2)] == [204, 204]
    assert [line.split()[0] for line in world.lines] == ["delivered", "again"]
    assert world.tally.counts.delivered == 1


def test_an_integer_of_any_length_is_fine() -> None:
    world = World()
    assert world.inbox.answer(request(INBOX, uuid7(), data=BigInteger("7" * 5000))) == 204


def test_the_flaky_path_takes_each_event_at_the_third_attempt() -> None:
    world, first, second = World(), uuid7(), uuid7()
    assert [world.inbox.answer(request(FLAKY, first)) for _ in range(3)] == [503, 503, 204]
    assert world.inbox.answer(request(FLAKY, second)) == 503
    assert [" ".join(line.split()[4:]) for line in world.lines[:2]] == [
        "503, retry in ~1s",
        "503, retry in ~2s",
    ]
    assert world.lines[2].startswith("recovered")
    assert world.tally.counts.recovered == 1


def test_the_last_try_is_said_to_be_that() -> None:
    world = World()
    world.inbox._schedule = [1.0]
    event_id = uuid7()
    world.inbox.answer(request(FLAKY, event_id))
    world.inbox.answer(request(FLAKY, event_id))
    assert world.lines[1].endswith("503, that was the last try")


def tampered(good: Request, **headers: str) -> Request:
    return Request(
        good.target, {**good.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}, good.body
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: Request(r.target, r.headers, r.body + b" "), "No matching signature found"),
        (lambda r: tampered(r, webhook_id="other"), "No matching signature found"),
        (lambda r: tampered(r, webhook_timestamp="1000"), "Message timestamp too old"),
        (lambda r: tampered(r, webhook_signature=""), "Missing required headers"),
        (lambda r: tampered(r, webhook_signature="v1,!"), "not verified"),
        (lambda r: tampered(r, x_alter_signature="0" * 64), "x-alter-signature does not fit the body"),
        (lambda r: Request(r.target, {}, r.body), "Missing required headers"),
        (lambda r: Request("/elsewhere", r.headers, r.body), "nothing is registered for /elsewhere"),
    ],
)
def test_what_does_not_verify_is_refused_and_counted(change: object, reason: str) -> None:
    world = World()
    assert callable(change)
    assert world.inbox.answer(change(request(INBOX, uuid7()))) == 400
    [line] = world.lines
    assert line.startswith("refused")
    assert reason in line
    assert (world.tally.counts.refused, world.tally.counts.verified, world.tally.counts.delivered) == (
        1,
        0,
        0,
    )


def test_another_subscriptions_secret_does_not_do() -> None:
    world = World()
    assert world.inbox.answer(request(INBOX, uuid7(), secret=generate_secret())) == 400
