"""The events that `hookd dev` publishes: a hiring and identity network at work."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from daemon.uuid7 import uuid7

_PEOPLE = (
    ("Amara Okafor", "Site reliability engineer", "Lagos"),
    ("Jonas Lindqvist", "Intensive care nurse", "Göteborg"),
    ("Mei-Ling Chou", "Structural engineer", "臺北"),
    ("Rafael Queiroz", "Wind turbine technician", "Fortaleza"),
    ("Zoë Haddad", "Data protection officer", "Beirut"),
)
_EMPLOYERS = ("Northlight Health", "Kestrel Grid", "Baobab Systems")


def sample_events(types: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield types and data without end: each of `types` in turn, with data as a platform would send it."""
    for turn in count():
        for event_type in types:
            yield event_type, sample_data(event_type, turn)


def sample_data(event_type: str, turn: int = 0) -> dict[str, Any]:
    """Return data for an event; `turn` chooses whom it is about. Types that are not known here get a note."""
    name, occupation, city = _PEOPLE[turn % len(_PEOPLE)]
    candidate = {"id": str(uuid7()), "name": name, "occupation": occupation, "city": city}
    employer = {"id": str(uuid7()), "name": _EMPLOYERS[turn % len(_EMPLOYERS)]}
    match event_type:
        case "placement.created":
            return {
                "placement_id": str(uuid7()),
                "candidate": candidate,
                "employer": employer,
                "starts_on": "2026-04-01",
                "salary": {"amount": 61500 + 250 * turn, "currency": "EUR", "period": "year"},
            }
        case "placement.updated":
            return {
                "placement_id": str(uuid7()),
                "changed": {"starts_on": {"from": "2026-04-01", "to": "2026-04-15"}},
                "reason": "notice period",
            }
        case "attestation.issued":
            return {
                "attestation_id": str(uuid7()),
                "subject": candidate,
                "kind": "professional_licence",
                "issuer": {"name": "National Board of Registers", "country": "SE"},
                "valid_until": "2031-03-10",
                "evidence": [{"kind": "document", "sha256": f"{turn:064x}"}],
            }
        case "attestation.revoked":
            return {
                "attestation_id": str(uuid7()),
                "reason": "superseded",
                "revoked_at": "2026-03-10T10:00:00Z",
                "replaced_by": str(uuid7()),
            }
        case "match.proposed":
            return {
                "match_id": str(uuid7()),
                "candidate": candidate,
                "employer": employer,
                "score": round(0.72 + 0.037 * (turn % 7), 3),
                "factors": {"skills": 0.91, "location": 0.64, "availability": None},
            }
        case "match.accepted":
            return {"match_id": str(uuid7()), "accepted_by": "candidate", "interview": "2026-03-17T09:30:00Z"}
        case "match.declined":
            return {"match_id": str(uuid7()), "declined_by": "employer", "reason": "position filled"}
    return {"note": f"a sample of {event_type}", "number": turn}
