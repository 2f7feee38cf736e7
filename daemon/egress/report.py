"""What a test of a receiver brought to light: the half that sends writes it down, the API shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from daemon.egress.errors import Phases


class EndpointTestsBusy(Exception):
    """A test may not begin yet, for `reason`, a sentence without its full stop.

    `retry_after`: seconds after which it may.
    """

    def __init__(self, retry_after: int, reason: str) -> None:
        self.retry_after = retry_after
        self.reason = reason
        super().__init__(f"{reason}: try again in {retry_after} s")


class EndpointTestsStopping(Exception):
    """No test is begun any more, as the daemon stops."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it goes over the wire, to be shown: the values of custom headers are `***`.

    `headers` are all of them, with those that the transport adds; `curl` is a shell line that sends the same.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: str
    curl: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request, judged as that of a delivery would be.

    `error` is the stable code, None for a success; `detail` one sentence that says what to do about it.
    `duration` is in milliseconds. `excerpt`: the first part of the answer's body, None without an answer;
    `note`: what was imperfect in the answer, None if nothing was; `headers`: those of it that help, if any.
    """

    status: int | None
    error: str | None
    detail: str | None
    duration: float
    phases: Phases
    excerpt: str | None
    note: str | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """How a receiver took one request that it should treat in a special way.

    `expected` says what a good receiver does, `advice` what to change in this one, None if it passed.
    """

    check: str
    expected: str
    outcome: Outcome
    advice: str | None


@dataclass(frozen=True, slots=True)
class EndpointTest:
    """One test. `sent` is None where no request could be made; `findings` where none were asked for.

    `blocked_until`: until when deliveries wait, as the host's circuit is open; None while it is closed.
    """

    event_id: UUID
    delivery_id: UUID
    sent: Sent | None
    outcome: Outcome
    findings: Sequence[Finding] | None
    blocked_until: datetime | None = None
