import io
import shlex

from daemon.cli.dev_banner import show_examples, show_summary
from daemon.cli.dev_tally import Counts, Missing
from daemon.cli.screen import Screen
from daemon.uuid7 import uuid7


def test_the_lines_to_copy_are_each_one_line_and_quoted_for_a_shell() -> None:
    out = io.StringIO()
    show_examples(
        Screen(out, colour=False),
        url="http://127.0.0.1:8080",
        subscription="018f",
        token="a.b.c",
        database_url="postgresql://hookd@/postgres?host=%2Fvar%2Fx y",
        org=uuid7(),
        event_type="match.proposed",
    )
    lines = out.getvalue().splitlines()
    curl, test = (line for line in lines if line.startswith("  curl "))
    assert "-H 'Authorization: Bearer a.b.c'" in curl
    assert shlex.split(test) == [
        *("curl", "http://127.0.0.1:8080/webhooks/018f/test", "-H", "Content-Type: application/json"),
        *("-d", '{"conformance": true}', "-H", "Authorization: Bearer a.b.c"),
    ]
    assert """-d '{"type": "match.proposed", "data": {"by": "curl"}}'""" in curl
    [psql] = [line for line in lines if "psql" in line and " -c " in line]
    assert "'postgresql://hookd@/postgres?host=%2Fvar%2Fx y'" in psql
    assert "'match.proposed', jsonb_build_object('by', 'psql'))\"" in psql


def test_the_summary_names_what_is_missing_and_why() -> None:
    out = io.StringIO()
    missing = [Missing(f"id-{n}", "match.proposed", "/flaky", "answered 503") for n in range(12)]
    counts = Counts(published=20, verified=9, delivered=8, failed=3, recovered=1, refused=1)
    show_summary(Screen(out, colour=False), counts, missing, 61.23)
    text = out.getvalue()
    assert "published  20 events in 61.2 s" in text
    assert "delivered  8 of 20" in text
    assert "verified   9 of 10 requests" in text
    assert "not delivered: match.proposed id-9 to /flaky: answered 503" in text
    assert "id-10" not in text
    assert "and 2 more" in text
