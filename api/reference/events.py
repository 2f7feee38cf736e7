"""The operation that publishes."""

from typing import Annotated

from pydantic import Field

from api.ndjson import MEDIA_TYPES
from api.publishing import IncomingEvent
from api.reference.answers import events as answers
from api.reference.operation import Answer, Example, Operation
from api.reference.parameters import EVENT, IDEMPOTENCY_KEY
from daemon.model import Role

TAG = "Events"
_OTHER = "018f6d20-11ab-7cc1-8d70-3f7d5d0a4b62"
Lines = Annotated[
    str, Field(description="One event a line, each as in `application/json`; blank lines are skipped.")
]

PUBLISH = Operation(
    method="POST",
    path="/events",
    name="publishEvents",
    tag=TAG,
    summary="Publish events",
    description=(
        "Takes one event, or an array of events, of which all are published or none. Each goes to every"
        " active subscription of the organisation that wants its type.\n\n"
        "`key` is your own identifier of an event: the same key again within 24 hours publishes nothing and"
        " answers with the first event's id. The role `platform` may publish for any organisation, with"
        " `org_id`.\n\n"
        "Any number of events can be streamed as NDJSON, one a line. They are published as they come, so a"
        " bad line ends the stream with what came before it published: the answer tells the `line` and"
        " `accepted_through`."
    ),
    roles=(Role.PUBLISHER, Role.PLATFORM),
    parameters=(IDEMPOTENCY_KEY,),
    body={
        "application/json": IncomingEvent | Annotated[list[IncomingEvent], Field(min_length=1)],
        **dict.fromkeys(MEDIA_TYPES, Lines),
    },
    answers={202: Answer("Published; deliveries begin at once.", answers.Published)},
    problems=(409,),
    examples={
        "one": Example(
            "One event",
            body={"type": "match.proposed", "data": {"candidate": 7, "score": 0.93}},
            answer={"id": EVENT},
            status=202,
        ),
        "many": Example(
            "Several, all or none",
            body=[
                {"type": "match.accepted", "data": {"candidate": 7}, "key": "match-7-accepted"},
                {
                    "type": "placement.created",
                    "data": {"placement": 12},
                    "deliver_after": "2026-03-10T10:00:00Z",
                },
            ],
            answer={"ids": [EVENT, _OTHER]},
            status=202,
        ),
        "once": Example(
            "Safe to repeat",
            headers={"Idempotency-Key": "9f1c6a3e-order-1042"},
            body={"type": "placement.updated", "data": {"placement": 12, "state": "open"}},
            answer={"id": EVENT},
            status=202,
        ),
        "stream": Example(
            "A stream of lines",
            media_type=MEDIA_TYPES[0],
            body='{"type": "match.proposed", "data": {"candidate": 8}}\n'
            '{"type": "match.declined", "data": {"candidate": 7}}\n',
            answer={"accepted": 2, "ids": [EVENT, _OTHER]},
            status=202,
        ),
    },
)

OPERATIONS = (PUBLISH,)
