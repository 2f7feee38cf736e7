"""What `hookd dev` says before and after."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from daemon.cli.dev_tally import Counts, Missing
from daemon.cli.screen import Screen, Style
from daemon.config.durations import format_duration
from daemon.process.version import VERSION
from daemon.store.embedded_binaries import find_installation

_MAX_LISTED = 10


def show_facts(screen: Screen, rows: Sequence[tuple[str, str]]) -> None:
    """Show where everything is."""
    screen.text()
    screen.text(f"hookd {VERSION} dev", Style.BOLD)
    screen.text()
    screen.facts(rows)


def show_examples(
    screen: Screen,
    *,
    url: str,
    subscription: str,
    token: str,
    database_url: str,
    org: UUID,
    event_type: str,
) -> None:
    """Show how to publish and to test a receiver by hand, in lines that work when they are copied."""
    curl = (
        f"curl {url}/events -H 'Content-Type: application/json' -d"
        f' \'{{"type": "{event_type}", "data": {{"by": "curl"}}}}\' -H \'Authorization: Bearer {token}\''
    )
    sql = f"select hookd.publish('{org}', '{event_type}', jsonb_build_object('by', 'psql'))"
    psql = f"{psql_program()} {shlex.quote(database_url)} -c {_double_quoted(sql)}"
    test = (
        f"curl {url}/webhooks/{subscription}/test -H 'Content-Type: application/json'"
        f" -d '{{\"conformance\": true}}' -H 'Authorization: Bearer {token}'"
    )
    for title, command in (
        ("publish through the API (the token is good for a day):", curl),
        ("publish in SQL, in a transaction of your own if you like:", psql),
        ("test a receiver, with what it should refuse as well:", test),
    ):
        screen.text()
        screen.text(f"  {title}", Style.DIM)
        screen.text(f"  {command}", Style.CYAN)
    screen.text()
    screen.text("  Ctrl-C stops it.", Style.DIM)
    screen.text()


def show_summary(screen: Screen, counts: Counts, missing: Sequence[Missing], seconds: float) -> None:
    """Show what came of it all, and what did not arrive."""
    requests = counts.verified + counts.refused
    screen.text()
    screen.facts(
        [
            ("published", f"{counts.published} events in {seconds:.1f} s"),
            ("delivered", f"{counts.delivered} of {counts.delivered + len(missing)}"),
            ("verified", f"{counts.verified} of {requests} requests"),
            ("retried", f"{counts.failed} times, {counts.recovered} recovered"),
        ]
    )
    for one in missing[:_MAX_LISTED]:
        because = f": {one.last_error}" if one.last_error else ""
        screen.text(f"  not delivered: {one.event_type} {one.event_id} to {one.path}{because}", Style.YELLOW)
    if len(missing) > _MAX_LISTED:
        screen.text(f"  and {len(missing) - _MAX_LISTED} more", Style.YELLOW)


def durations(schedule: Sequence[float]) -> str:
    """Return the waits as people write them: 1s, 2s, 3s."""
    return ", ".join(format_duration(wait) for wait in schedule)


def psql_program() -> str:
    """Return how to call psql here: by its name, else that of the embedded server."""
    installation = find_installation()
    if shutil.which("psql") or installation is None:
        return "psql"
    return shlex.quote(str(Path(installation, "bin", "psql")))


def _double_quoted(text: str) -> str:
    """Return `text` for a shell, in double quotes, as single ones are within it."""
    escaped = "".join(f"\\{character}" if character in '\\"$`' else character for character in text)
    return f'"{escaped}"'
