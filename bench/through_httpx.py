"""The daemon with httpx as it comes in place of its own way of sending, to compare with.

    python -m bench.through_httpx run --set …

Everything else is as shipped: the queue, the signatures, the history. It has no guard and bounds nothing.
"""

from typing import Any
from uuid import UUID

import httpx
import trio

from daemon.cli.main import main
from daemon.egress.answer import Answer
from daemon.egress.assemble import NetworkSettings
from daemon.egress.errors import EgressError, Phases
from daemon.egress.exchange import Exchange
from daemon.egress.url import Url
from daemon.process import application


class StockExchange(Exchange):
    """Posts through an `httpx.AsyncClient` with its default settings."""

    def __init__(self, network: NetworkSettings, **settings: Any) -> None:
        self._client = httpx.AsyncClient(trust_env=False, verify=network.ca_file or True)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do nothing: httpx looks after its connections itself."""
        task_status.started()
        await trio.sleep_forever()

    async def send(
        self,
        url: Url,
        request: bytes,
        *,
        timeout: float,
        owner: UUID | None = None,
        excerpt: int | None = None,
        fresh: bool = False,
    ) -> Answer:
        """Post what `request` has; errors are `EgressError`s, as the sender expects."""
        head, _, body = request.partition(b"\r\n\r\n")
        fields = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
        headers = [(name, value) for name, value in fields]
        start = trio.current_time()
        where = f"{url.scheme}://{url.authority.decode()}{url.target.decode()}"
        try:
            answer = await self._client.post(where, headers=headers, content=body, timeout=timeout)
        except httpx.HTTPError as error:
            raise EgressError("connection_lost", repr(error)) from error
        phases = Phases()
        phases.total = trio.current_time() - start
        return Answer(answer.status_code, b"", answer.content, False, phases)


if __name__ == "__main__":
    # Not an attribute that application offers: there it looks its exchange up when it makes one.
    vars(application)["make_exchange"] = StockExchange
    main()
