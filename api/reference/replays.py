"""The operations on replays: past events once more."""

from api.reference.answers import replays as answers
from api.reference.operation import Answer, Example, Operation, Parameter
from api.reference.parameters import CURSOR, LIMIT, SUBSCRIPTION, SUBSCRIPTION_ID
from api.replays import ReplayRequest
from daemon.model import Role

TAG = "Replays"
REPLAY = "018f6d21-7d02-7e15-b3a0-2c8f41d96b7a"
"""The replay that examples speak of."""
REPLAY_ID = Parameter(
    "replay_id", "path", "The replay's identifier.", {"type": "string", "format": "uuid"}, REPLAY
)
_SHOWN = {
    "id": REPLAY,
    "subscription_id": SUBSCRIPTION,
    "status": "running",
    "total": 1204,
    "queued": 300,
    "skipped": 0,
    "remaining": 904,
    "created_at": "2026-03-10T12:00:00.000Z",
    "ended_at": None,
}

START = Operation(
    method="POST",
    path="/webhooks/{subscription_id}/replay",
    name="replayEvents",
    tag=TAG,
    summary="Replay past events",
    description=(
        "Sends the events of a span of time once more to one subscription, new ones as well as old, which"
        " also fills a new subscription with what happened before it. It takes what is left over: live"
        " events go first.\n\n"
        "The subscription's own `events` and `filter` hold, and `events` here narrows them. `only_failed`"
        " takes only what was given up; `dry_run` counts and sends nothing."
    ),
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID,),
    body={"application/json": ReplayRequest},
    answers={
        200: Answer("The count, with `dry_run`.", answers.ReplayAnswer),
        202: Answer("It runs.", answers.ReplayAnswer, headers=("Location",)),
    },
    problems=(409,),
    examples={
        "dry_run": Example(
            "Count first",
            body={"from": "2026-03-09T00:00:00Z", "dry_run": True},
            answer={"dry_run": True, "count": 1204},
        ),
        "failed": Example(
            "What failed on one day",
            body={"from": "2026-03-09T00:00:00Z", "to": "2026-03-10T00:00:00Z", "only_failed": True},
            answer={**_SHOWN, "dry_run": False, "count": 1204, "queued": 0, "remaining": 1204},
            status=202,
        ),
    },
    links={
        name: {"subscription_id": "$request.path.subscription_id", "replay_id": "$response.body#/id"}
        for name in ("getReplay", "cancelReplay")
    },
)

LIST = Operation(
    method="GET",
    path="/webhooks/{subscription_id}/replays",
    name="listReplays",
    tag=TAG,
    summary="List replays",
    description="Returns the subscription's replays, newest first.",
    parameters=(SUBSCRIPTION_ID, LIMIT, CURSOR),
    answers={200: Answer("One page.", answers.ReplayPage, headers=("Link",))},
    examples={"page": Example("The first page", answer={"data": [_SHOWN], "next_cursor": None})},
)

GET = Operation(
    method="GET",
    path="/webhooks/{subscription_id}/replays/{replay_id}",
    name="getReplay",
    tag=TAG,
    summary="Read a replay",
    description="Returns how far a replay has come.",
    parameters=(SUBSCRIPTION_ID, REPLAY_ID),
    answers={200: Answer("The replay.", answers.Replay)},
    examples={"one": Example("A replay under way", answer=_SHOWN)},
)

CANCEL = Operation(
    method="POST",
    path="/webhooks/{subscription_id}/replays/{replay_id}/cancel",
    name="cancelReplay",
    tag=TAG,
    summary="Cancel a replay",
    description="Ends a replay: what it has not sent yet is not sent. One that has ended stays as it is.",
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, REPLAY_ID),
    answers={200: Answer("The replay as it is now.", answers.Replay)},
    examples={
        "cancelled": Example(
            "Cancel it",
            answer={
                **_SHOWN,
                "status": "cancelled",
                "skipped": 904,
                "remaining": 0,
                "ended_at": "2026-03-10T12:04:11.000Z",
            },
        )
    },
)

OPERATIONS = (START, LIST, GET, CANCEL)
