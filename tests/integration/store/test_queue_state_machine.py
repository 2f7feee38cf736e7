"""Random histories of the queue, driven as two daemons drive it, against a model in memory.

The machine (`tests/support/queue_machine/`) plays publishers, owners, two daemons that come and die, and
time. It calls what daemons call (`tests/support/queue_steps.py`), so the statements that run are those of
production, with their arguments in production's order. `tests/support/queue_model.py` is told what happened
and objects where that cannot be; `queue_tables.py` looks at counters, floors and at who sleeps. At the end of
a history all goes well, and then everything that is owed must go out.

A failure prints the steps and, in its last line, the history. This plays it again, until rules change:

    HOOKD_HISTORY='AXic…' make test ARGS="tests/integration/store/test_queue_state_machine.py -n 0 -s"

`make histories` plays 2,000 of them, and makes a history that fails shorter; `HOOKD_HISTORIES=…` as many.
"""

import os
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import trio
from hypothesis import HealthCheck, Phase, reproduce_failure, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

import daemon
from tests.support.queue_lab import STATEMENTS, load_naive
from tests.support.queue_machine.base import LIMITS, ORGS, opened
from tests.support.queue_machine.life import Queue

HISTORIES = int(os.environ.get("HOOKD_HISTORIES", "0"))
HISTORY = os.environ.get("HOOKD_HISTORY")
SMALL, BATCH, UNTIL_FOUND = 6, 20, 500
STEPS = 50
BLOB = re.compile(r"@reproduce_failure\('[^']+', b'([^']+)'\)")

ELSEWHERE = {
    "test_database.py, test_sessions.py, test_migrate.py, process/": (
        "ping session backend server_version schema_state migration_settings migration_lock create_schema"
        " create_migration_table applied_migrations record_migration server_encoding connection_limits"
        " backends_by_name writable lock_waited_for longest_statement clock"
    ),
    "test_master_key.py": (
        "lock_master_key_check master_key_check keep_master_key_check sealed_by_key newest_secret"
    ),
    "test_observation.py": "observe",
    "test_filter_checks.py": "unchecked_filters filters_checked filter_problems",
    "test_filter_faults.py: filters that are slow": "try_event is_cheap_filter",
    "test_retention.py: a daemon died while it detached": "finish_detaching",
}
"""Statements that are not of the queue's way, or are too slow for histories, by what tests them."""

BROKEN_SOON = ["newest_first", "record_frees_no_room", "settle_without_new_lanes"]
"""Found in some histories; the rest, which take a minute, are for `make histories`."""
BROKEN_LATE = ["paused_goes_on", "redeliver_wakes_nobody", "route_forgets_slices"]


def in_database(url: str, naive: str | None, work: Callable[[type[Queue]], None]) -> Counter[str]:
    """Do `work` with the machine, on a stage of its own; return which statements were run, how many times."""
    failure: Exception | None = None
    driven = Counter[str]()

    async def main() -> None:
        nonlocal failure
        async with opened(url) as stage:
            if naive:
                await load_naive(stage.session, naive)
            machine = type("Queue", (Queue,), {"stage": stage})
            try:
                await trio.to_thread.run_sync(partial(work, machine))
            except Exception as error:  # noqa: BLE001  (raised below, and not in a group)
                failure = error
            driven.update(stage.driven)

    trio.run(main)
    if failure is not None:
        raise failure
    return driven


def play(histories: int, machine: type[Queue]) -> None:
    """Play random histories, some at a time, or the one that `HOOKD_HISTORY` names.

    Hypothesis gives some up where a history went another way than one with the same beginning, as two of one
    moment may: that tells nothing of the queue, and the next are played.
    """
    for some in [1] if HISTORY else [min(BATCH, histories - done) for done in range(0, histories, BATCH)]:
        try:
            play_some(some, machine)
        except Flaky:
            print("some histories were given up: one did not go the same way twice")


def play_some(histories: int, machine: type[Queue]) -> None:
    """Play so many."""
    phases = [Phase.generate, Phase.shrink] if HISTORIES else [Phase.generate]
    chosen = settings(
        max_examples=histories,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    if HISTORY:
        reproduce_failure(hypothesis.__version__, HISTORY.encode())(machine)
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except Flaky as error:
        if machine.stage.failure is None:
            raise
        raise machine.stage.failure from error  # which did not come again when the history was replayed
    except Exception as error:
        notes = [note for note in getattr(error, "__notes__", []) if "state.nothing_is_lost" not in note]
        found = BLOB.search("\n".join(notes))
        error.__notes__ = [*notes, f"HOOKD_HISTORY='{found[1]}'"] if found else notes
        raise


def test_random_histories_agree_with_the_model(postgres_url: str) -> None:
    driven = in_database(postgres_url, None, partial(play, HISTORIES or SMALL))
    if HISTORIES:
        print(f"\n{HISTORIES} histories of {STEPS} steps; statements run:")
        print(", ".join(f"{name} {count}" for name, count in sorted(driven.items()) if name))


@pytest.mark.parametrize("naive", [*BROKEN_SOON, *(BROKEN_LATE if HISTORIES else [])])
def test_histories_find_broken_sql(postgres_url: str, naive: str) -> None:
    with pytest.raises(AssertionError) as caught:
        in_database(postgres_url, naive, partial(play, UNTIL_FOUND))
    if HISTORIES:
        print(f"\n{naive}: {caught.value}")


def test_the_machine_drives_what_production_runs(postgres_url: str) -> None:
    driven = in_database(postgres_url, None, tour)
    root = Path(daemon.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in root.rglob("*.py"))
    run = {name for name in STATEMENTS if f'"{name}"' in source}
    elsewhere = {name for names in ELSEWHERE.values() for name in names.split()}
    assert elsewhere <= set(STATEMENTS)
    missing = sorted(run - elsewhere - set(driven))
    assert not missing, f"no step drives {', '.join(missing)}"


def tour(machine: type[Queue]) -> None:
    """Go by every kind of step, once, in one history."""
    one = machine()
    one.begin(1)
    publish: Any = partial(one.publish_through_the_api, 0, ORGS[0], "placement.created", 7, 2, 0, None)
    work: Any = partial(one.work, 0, 1, 1)
    kinds = {"bulk": False, "events": 40, "deliveries": 150}
    for org in ORGS:
        one.set_scene(one.chance)
        one.publish_in_sql(org, "placement.created", 7, 1, 0, "one")
        one.publish_once(0, org, "placement.created", "r", 1)
    one.begin_a_transaction(ORGS[0], "placement.created", 7)
    one.begin_a_round(0, **kinds, room=3)
    one.end_the_transaction(True)
    one.end_a_round(0)
    one.publish_batch_in_sql(ORGS[0], "placement.created", 7, 1)
    one.route(1, "lost later", **kinds, room=0)
    publish(5)
    one.route(1, "refused", **kinds, room=3)
    one.advance(10.0)
    work(False)
    publish(0)
    work(True)
    work(True)
    for seed in range(10):
        one.plant_a_failing_filter(seed)
    for org in ORGS:
        one.publish_in_sql(org, "placement.created", 7, 1, 0, None)
    work(True)
    extras = {"filter": None, "ordered": False, "rate_limit": None, "schedule": None}
    for seed in range(10):
        publish(5)
        one.work(seed % 2, seed, 2, False)
        one.ask_again(0, seed, now=seed % 2 == 0)
        one.change(0, seed, "all", "b:443", ("*",), extras)
        one.change_secrets(0, seed, [None, 30.0][seed % 2])
    for org in ORGS:
        one.publish_in_sql(org, "placement.created", 7, 1, 0, None)
    work(False)
    for seed in range(10):
        one.look(1, seed, "history")
    one.claim(1, 8, 8, 10.0, (), None, lost=0)
    for what in (
        "poll",
        "repair",
        "floors",
        "tidy",
        "endpoint",
        "subscriptions",
        "history",
        "replays",
    ):
        one.look(1, 1, what)
    for seed in range(6):
        one.ask_for_a_replay(0, seed, False, None, "all")
        one.feed(0, 50.0, False)
        one.cancel_a_replay(0, seed)
    one.remove(0, 1)
    for limits in LIMITS:
        one.limit_host(0, "a:443", limits)
    one.die(1, True)
    one.advance(61.0)
    one.sweep(0)
    one.leap(0, "back")
    one.leap(0, "a week")
    one.teardown()
