"""The REST API as `hookd dev` uses it."""

from collections.abc import Callable, Sequence
from typing import Any

import httpx
import trio

from daemon.cli.failure import CommandError

TIMEOUT = 15.0
"""Seconds for one request."""


class Client:
    """Calls the API at `url`; `token` makes a token for each request, so that none grows too old."""

    def __init__(self, url: str, token: Callable[[], str]) -> None:
        # Without trust_env=False a proxy of the environment would be asked to reach the loopback.
        self._http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=TIMEOUT)
        self._token = token

    async def close(self) -> None:
        """Close the connections."""
        with trio.move_on_after(1, shield=True):
            await self._http.aclose()

    async def register(self, url: str, events: Sequence[str]) -> tuple[str, str]:
        """Register a subscription and return its id, and its secret, which the API shows this once."""
        answer = await self._post("/webhooks/", {"url": url, "events": list(events)})
        return str(answer["id"]), str(answer["secret"])

    async def publish(self, event_type: str, data: Any) -> str:
        """Publish an event and return its id."""
        answer = await self._post("/events", {"type": event_type, "data": data})
        return str(answer["id"])

    async def _post(self, path: str, document: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            with trio.fail_after(TIMEOUT):
                response = await self._http.post(path, json=document, headers=headers)
        except (httpx.HTTPError, trio.TooSlowError) as error:
            reason = str(error) or type(error).__name__
            raise CommandError(
                f"the API did not answer POST {path} ({reason}): see what it logs, with --verbose"
            ) from error
        if not response.is_success:
            raise CommandError(f"the API answered POST {path} with {response.status_code}: {response.text}")
        return response.json()
