"""The operations on a subscription's signing secrets."""

from api.reference.answers import subscriptions as answers
from api.reference.operation import Answer, Example, Operation
from api.reference.parameters import IF_MATCH, SUBSCRIPTION_ID
from api.reference.subscriptions import TAG
from api.signing_secrets import Rotation
from daemon.model import Role

_WHSEC = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def _rotated(until: str) -> dict[str, str]:
    return {"secret": _WHSEC, "previous_expires_at": until}


ROTATE = Operation(
    method="POST",
    path="/webhooks/{subscription_id}/rotate-secret",
    name="rotateSecret",
    tag=TAG,
    summary="Rotate the secret",
    description=(
        "Gives the subscription a new signing secret, which is shown this once. Until `previous_expires_at`"
        " both sign in `webhook-signature`, and `X-Alter-Signature`, which has room for one, stays with the"
        " previous one, so that the receiver can take its time to learn the new one.\n\n"
        "`overlap` says how long that is: 0 where the previous secret has leaked. Once the receiver knows the"
        " new one, `DELETE …/previous-secret` ends the previous one."
    ),
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, IF_MATCH),
    body={"application/json": Rotation},
    body_required=False,
    answers={200: Answer("The new secret.", answers.Rotated)},
    problems=(409, 412),
    examples={
        "made": Example(
            "Have one made",
            answer=_rotated("2026-03-11T10:00:00Z"),
        ),
        "own": Example(
            "Bring your own",
            body={"secret": _WHSEC},
            answer=_rotated("2026-03-11T10:00:00Z"),
        ),
        "longer": Example(
            "With a week to learn it",
            body={"overlap": "7d"},
            answer=_rotated("2026-03-17T10:00:00Z"),
        ),
        "revoked": Example(
            "The previous one has leaked",
            body={"overlap": 0},
            answer=_rotated("2026-03-10T10:00:00Z"),
        ),
    },
)

END_PREVIOUS = Operation(
    method="DELETE",
    path="/webhooks/{subscription_id}/previous-secret",
    name="endPreviousSecret",
    tag=TAG,
    summary="End the previous secret",
    description=(
        "From now on the newest secret signs alone, in `webhook-signature` and in `X-Alter-Signature`: the"
        " overlap of a rotation ends before its time. 204, too, where no other secret signs."
    ),
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, IF_MATCH),
    answers={204: Answer("The newest secret signs alone.")},
    problems=(412,),
    examples={"ended": Example("End it", status=204)},
)

OPERATIONS = (ROTATE, END_PREVIOUS)
