"""How an outgoing request can fail: a stable code, a sentence, and the phases it went through."""

from dataclasses import dataclass
from enum import StrEnum

DETAIL_LIMIT = 300

# Failures to connect: the host's, unless the subscription's own settings brought them about.
HOST_ERRORS = frozenset(
    {
        "dns_failed",
        "dns_timeout",
        "address_forbidden",
        "connect_refused",
        "connect_timeout",
        "connect_failed",
        "tls_failed",
        "tls_timeout",
        "proxy_unreachable",
        "proxy_auth_required",
        "proxy_failed",
        "proxy_refused",
        "proxy_connect_failed",
        "proxy_timeout",
    }
)
# The request was, or may have been, sent, and no answer came.
UNANSWERED_ERRORS = frozenset({"timeout", "connection_lost"})
# Something came in time, but not an answer that can be used.
BAD_ANSWER_ERRORS = frozenset({"protocol_error", "response_too_large"})
# Nothing was sent, by our own rules: nobody's fault beyond the failed attempt.
REFUSED_ERRORS = frozenset(
    {"port_forbidden", "scheme_forbidden", "url_invalid", "header_invalid", "key_missing"}
)
CODES = HOST_ERRORS | UNANSWERED_ERRORS | BAD_ANSWER_ERRORS | REFUSED_ERRORS
"""Every code that there is; none ever changes its meaning."""


class Fault(StrEnum):
    """What brought a failure about, so that what one organisation chooses is not held against a host.

    `HOST`: whoever sends there would meet it. `DEADLINE`: the caller's time was up before any limit of the
    exchange itself. `REQUEST`: it came only after the request had been written, and may be due to what was
    in it. `DAEMON`: this daemon lacks something. `PROXY`: the operator's proxy is at fault, and nothing was
    sent: no delivery pays for that with an attempt.
    """

    HOST = "host"
    DEADLINE = "deadline"
    REQUEST = "request"
    DAEMON = "daemon"
    PROXY = "proxy"


@dataclass(slots=True)
class Phases:
    """How long each phase of one request took, in seconds; None where a phase did not happen.

    `dns`, `connect` and `tls` are None on a reused connection. `first_byte` runs from the start of the
    writing to the first byte of the answer; `total` is everything. `reached` is the last phase entered:
    "dns", "connect", "proxy", "tls" or "request".
    """

    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    first_byte: float | None = None
    total: float | None = None
    reused: bool = False
    reached: str = "dns"


class EgressError(Exception):
    """A request that got no usable answer.

    `code` is one of `CODES`. `detail` is one printable sentence of at most `DETAIL_LIMIT` characters; it
    names no resolved address, because the owner of a subscription may read it and could map an internal
    network with it. `rule` names the rule that refused an address or URL, `note` is what only the operator
    may read. `phases` tells how far the request came, `fault` what brought the failure about. `hold`: for
    how many seconds it is no use to try again, where the fault is the proxy's.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        rule: str | None = None,
        note: str | None = None,
        fault: Fault = Fault.HOST,
    ) -> None:
        self.code = code
        self.detail = printable(detail)
        self.rule = rule
        self.note = note
        self.fault = fault
        self.hold = 0.0
        self.phases = Phases()
        super().__init__(f"{code}: {self.detail}")


def printable(text: str) -> str:
    """Return `text` as one printable line of at most `DETAIL_LIMIT` characters."""
    line = "".join(character if character.isprintable() else " " for character in text[:DETAIL_LIMIT])
    return line if len(text) <= DETAIL_LIMIT else line[:-1] + "…"
