"""What `hookd dev` does with each request it receives: verify it, show it, answer it."""

import hmac
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from daemon.cli.dev_tally import Tally
from daemon.cli.receiver import Request
from daemon.cli.screen import Screen, Verb, elapsed
from daemon.config.durations import format_duration
from daemon.signing.canonical import parse

INBOX = "/inbox"
FLAKY = "/flaky"
FLAKY_FAILURES = 2
"""How often each event fails at `FLAKY` before it is taken."""

_TAKEN = 204
_BAD = 400
_DEPTH = 1000  # what it holds has been checked when it was published
_UNAVAILABLE = 503


class Inbox:
    """Both receivers. `secrets` has the secret of each path, once it is registered."""

    def __init__(
        self, screen: Screen, tally: Tally, *, retry_schedule: Sequence[float], header_prefix: str
    ) -> None:
        self.secrets: dict[str, str] = {}
        self._screen = screen
        self._tally = tally
        self._schedule = retry_schedule
        self._signature = f"{header_prefix}Signature".lower()

    def answer(self, request: Request) -> int:
        """Return the status for a request, having verified, counted and shown it."""
        path = request.target
        event_id = request.headers.get("webhook-id", "")
        try:
            event = self._verified(request)
        except (WebhookVerificationError, ValueError) as error:
            self._tally.counts.refused += 1
            self._tally.failed(event_id, path, f"not verified: {error}")
            self._screen.happened(Verb.REFUSED, "", event_id, path, f"not verified: {error}")
            return _BAD
        self._tally.counts.verified += 1
        failures = self._tally.failures(event_id, path)
        if path == FLAKY and failures < FLAKY_FAILURES:
            self._tally.failed(event_id, path, f"answered {_UNAVAILABLE}")
            self._screen.happened(
                Verb.FAILED, event["type"], event_id, path, f"{_UNAVAILABLE}, {self._next(failures)}"
            )
            return _UNAVAILABLE
        first = self._tally.arrived(event_id, path)
        taken = elapsed(time.time() - datetime.fromisoformat(event["timestamp"]).timestamp())
        verb = Verb.AGAIN if not first else Verb.RECOVERED if failures else Verb.DELIVERED
        self._screen.happened(verb, event["type"], event_id, path, f"verified {taken}")
        return _TAKEN

    def _verified(self, request: Request) -> dict[str, str]:
        """Return type and time of the event.

        Errors: `WebhookVerificationError` or `ValueError` unless both signatures fit.
        """
        secret = self.secrets.get(request.target)
        if secret is None:
            raise ValueError(f"nothing is registered for {request.target}")
        # Parsed apart: the package would refuse integers of more than 4300 digits, which are exact here.
        Webhook(secret).verify(request.body, dict(request.headers), json_parse=False)
        expected = hmac.digest(secret.encode(), request.body, "sha256").hex()
        if not hmac.compare_digest(expected, request.headers.get(self._signature, "")):
            raise ValueError(f"{self._signature} does not fit the body")
        event: Any = parse(request.body, max_depth=_DEPTH)
        return {"type": str(event["type"]), "timestamp": str(event["timestamp"])}

    def _next(self, failures: int) -> str:
        """Say when the next attempt comes after one more failure."""
        if failures < len(self._schedule):
            return f"retry in ~{format_duration(self._schedule[failures])}"
        return "that was the last try"
