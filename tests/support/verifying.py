"""A receiver as it should be, on the stock `standardwebhooks` package."""

import json
from dataclasses import dataclass, field

from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.receiver import Received, Reply


@dataclass
class Verifying:
    """Refuses what does not verify, handles each event of a type that it knows once, and accepts the rest.

    `handled` are the ids that it acted on. An instance is a receiver's behaviour.
    """

    secret: str = ""
    types: tuple[str, ...] = ("webhook.test", "match.proposed")
    handled: list[str] = field(default_factory=list)

    async def __call__(self, request: Received) -> Reply:
        try:
            Webhook(self.secret).verify(request.body, request.headers)
        except WebhookVerificationError:
            return Reply(401)
        event = json.loads(request.body)
        if event["type"] in self.types and event["id"] not in self.handled:
            self.handled.append(event["id"])
        return Reply(200)
