"""Sessions with Postgres are what hookd needs, whatever the account, the database or a pooler say."""

import json
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from tests.support.daemon import running
from tests.support.postgres import with_database
from tests.support.publishing import rows
from tests.support.receiver import receiving

HOSTILE = {
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "array_nulls": "off",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Pacific/Auckland",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "xmlbinary": "hex",
    "extra_float_digits": "-15",
    "row_security": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_indexscan": "off",
    "enable_nestloop": "off",
    "work_mem": "64kB",
    "temp_buffers": "100",
    "synchronous_commit": "off",
    "jit_above_cost": "0",
    "plpgsql.extra_errors": "all",
    "exit_on_error": "on",
    "search_path": "hostile, public",
}


async def set_for_all(url: str, settings: dict[str, str]) -> None:
    """Give the sessions of the database these settings, as an operator would."""
    name = urlsplit(url).path[1:]
    for setting, value in settings.items():
        shown = value if setting in ("search_path", "DateStyle") else f"'{value}'"
        await rows(with_database(url, "postgres"), f"alter database {name} set {setting} = {shown}")


def patient(url: str) -> str:
    """Return the URL for sessions in which nothing runs out of time."""
    timeouts = [name for name in HOSTILE if name.endswith("timeout")]
    return url + ("&" if "?" in url else "?") + "&".join(f"{name}=0" for name in timeouts)


PUBLISHED = """
select hookd.publish($1, 'match.proposed', '{"text": "SQL"}', 'key'),
    hookd.publish($1, 'match.proposed', '{}', deliver_after => '2026-01-02T00:00:00Z'),
    hookd.publish_batch(
        $1, array['match.proposed', 'match.declined'], array['1', '2.5']::jsonb[], array[null, 'key'])
"""


async def test_events_arrive_once_whatever_the_sessions_are_told(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    await set_for_all(empty_postgres_url, HOSTILE)
    org = uuid4()
    async with receiving() as receiver, running(tmp_path, empty_postgres_url) as daemon:
        await daemon.register(org, receiver.url())
        async with daemon.client(org, "publisher") as client:
            answer = await client.post(
                "/events", json={"type": "match.proposed", "data": {"text": "a\\b", "number": 0.1}}
            )
        assert answer.status_code == 202, answer.text
        await rows(patient(empty_postgres_url), PUBLISHED, org)
        await receiver.until(lambda: len(receiver.requests) >= 4, 20)
        assert await daemon.stop() == 0
        said = daemon.log.read_text()
    assert "Traceback" not in said
    assert '"level": "warning"' not in said
    bodies = [json.loads(request.body)["data"] for request in receiver.requests]
    assert sorted(map(str, bodies)) == sorted(
        map(str, [{"number": 0.1, "text": "a\\b"}, {"text": "SQL"}, {}, 1])
    )
    recorded = await rows(
        patient(empty_postgres_url), "select succeeded, attempt, duration_ms is null from hookd.attempt"
    )
    assert [tuple(row) for row in recorded] == [(True, 1, False)] * 4
