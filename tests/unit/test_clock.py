"""The clock that follows the database's, and what is said of this machine's."""

import ast
import logging
import re
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from daemon.clock import Clock, against_postgres, distance
from daemon.process.timekeeping import OffsetWarnings, serve_clock
from daemon.uuid7 import NewIds, uuid7_time

ROOT = Path(__file__).parents[2]
DAY = 86400.0
NOON = 1_796_000_000.0


class Machine:
    """A machine whose clock is wrong by `wrong` seconds; `time` is the database's."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.time = NOON
        self.wrong = wrong
        self.up = 0.0

    def pass_(self, seconds: float) -> None:
        self.time += seconds
        self.up += seconds

    def clock(self) -> Clock:
        return Clock(steady=lambda: self.up, wall=lambda: self.time + self.wrong)

    def look(self, clock: Clock, there: float = 0.0, back: float = 0.0) -> float:
        """Ask the database, which takes so many seconds each way."""
        asked = self.up
        self.pass_(there)
        told = self.time
        self.pass_(back)
        return clock.correct(told, asked=asked, answered=self.up)


SHIFTS = st.sampled_from([-400 * DAY, -600.0, -2.5, 0.0, 1.0, 600.0, 40 * DAY]) | st.floats(-1e9, 1e9)
TRIPS = st.tuples(st.floats(0, 30), st.floats(0, 30), st.floats(0, 1000))


@given(SHIFTS, st.lists(TRIPS, min_size=1, max_size=20))
def test_after_each_look_it_is_right_to_the_time_the_answer_took(
    wrong: float, trips: list[tuple[float, float, float]]
) -> None:
    machine = Machine(wrong)
    clock = machine.clock()
    for there, back, rest in trips:
        machine.look(clock, there, back)
        assert abs(clock.now() - machine.time) <= there + back + 1e-4
        machine.pass_(rest)
        assert abs(clock.offset - wrong) <= there + back + 1e-4


@given(SHIFTS, SHIFTS)
def test_the_machines_clock_may_leap_between_looks(wrong: float, then: float) -> None:
    machine = Machine(wrong)
    clock = machine.clock()
    machine.look(clock)
    machine.wrong = then
    machine.pass_(100)
    assert clock.now() == pytest.approx(machine.time, abs=1e-4)
    assert clock.offset == pytest.approx(then, abs=1e-4)


@given(SHIFTS, st.lists(TRIPS, min_size=1, max_size=20))
def test_a_look_never_makes_it_worse(wrong: float, trips: list[tuple[float, float, float]]) -> None:
    machine = Machine(wrong)
    clock = machine.clock()
    error = abs(clock.now() - machine.time)
    for there, back, rest in trips:
        machine.look(clock, there, back)
        assert abs(clock.now() - machine.time) <= error + 1e-4
        error = abs(clock.now() - machine.time)
        machine.pass_(rest)


def test_a_clock_that_is_right_is_left_alone_and_a_leap_is_told() -> None:
    machine = Machine()
    clock = machine.clock()
    assert machine.look(clock, 0.5, 0.1) == 0.0
    machine.time -= 40 * DAY
    assert machine.look(clock) == pytest.approx(-40 * DAY)
    assert clock.now() == pytest.approx(machine.time)


def test_ids_have_the_databases_time_and_rise_over_a_small_step_back() -> None:
    machine = Machine(-400 * DAY)
    clock = machine.clock()
    machine.look(clock)
    new_id = NewIds(clock.now)
    first = new_id()
    assert abs(uuid7_time(first).timestamp() - machine.time) < 0.01
    machine.time -= 5  # as after a failover
    machine.look(clock)
    assert new_id() > first


@pytest.mark.parametrize(
    "seconds, text",
    [
        (2.5, "2.5 s"),
        (-600, "10 min 0 s"),
        (3599.9, "1 h 0 min"),
        (86399, "23 h 59 min"),
        (86400, "1 day 0 h"),
        (40 * DAY + 5000, "40 days 1 h"),
    ],
)
def test_distances_for_people(seconds: float, text: str) -> None:
    assert distance(seconds) == text


def test_ahead_and_behind() -> None:
    assert against_postgres(40 * DAY) == "40 days 0 h ahead of Postgres'"
    assert against_postgres(-600) == "10 min 0 s behind Postgres'"


def test_a_wrong_clock_is_said_once_a_minute_and_its_end_once() -> None:
    warnings = OffsetWarnings()
    assert warnings.about(1.9, 0) is None
    said = [warnings.about(600, now) is not None for now in range(0, 180, 15)]
    assert said == [True, False, False, False] * 3
    assert warnings.about(1.5, 180) is None, "neither wrong nor right"
    assert warnings.about(0.1, 181) == "the clock of this machine agrees with Postgres' again"
    assert warnings.about(0.1, 182) is None
    assert warnings.about(-2.1, 183) == (
        "the clock of this machine is 2.1 s behind Postgres': Postgres' is used; look at both (timedatectl)"
        " and correct the one that is wrong"
    )


class Answering:
    """Stands for a database whose clock is the machine's `time`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def sql(self, name: str) -> str:
        return name

    async def fetchval(self, statement: str) -> float:
        assert statement == "clock"
        return self.machine.time

    async def run(self, unit) -> float:  # type: ignore[no-untyped-def]
        await trio.lowlevel.checkpoint()
        return float(await unit(self))


async def test_a_leap_of_postgres_clock_is_followed_said_and_told(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    machine, leaps, stopping = Machine(), [], trio.Event()
    clock = machine.clock()
    with caplog.at_level(logging.WARNING, "hookd.clock"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: serve_clock(
                    Answering(machine),  # type: ignore[arg-type]
                    clock,
                    leapt=lambda: leaps.append(trio.current_time()),
                    stopping=stopping,
                )
            )
            await trio.sleep(1)
            assert leaps == []
            machine.time += 40 * DAY
            machine.wrong = -40 * DAY
            await trio.sleep(20)
            assert clock.now() == pytest.approx(machine.time)
            stopping.set()
    assert len(leaps) == 1
    leap, offset = (record.message for record in caplog.records)
    assert leap == (
        "Postgres' clock has leapt 40 days 0 h ahead, and hookd follows it; correct it if that is wrong"
    )
    assert offset.startswith("the clock of this machine is 40 days 0 h behind Postgres': Postgres' is used")


# Where this machine's clock is the right one: it names moments of this machine, or there is no database.
OWN_CLOCK = {
    "daemon/clock.py",
    "daemon/uuid7.py",
    "daemon/process/logs.py",
    "api/request_ids.py",
    "daemon/cli/dev_inbox.py",
    "daemon/cli/publish.py",
    "daemon/cli/sample.py",
    "daemon/cli/screen.py",
    "daemon/cli/token.py",
}
WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def wall_uses(source: str) -> list[str]:
    """Return what in a module reads this machine's clock."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if f"{owner}.{node.attr}" in WALL:
                found.append(f"{owner}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [f"time.{alias.name}" for alias in node.names if f"time.{alias.name}" in WALL]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "uuid7":
            found += [] if node.args else ["uuid7()"]
    return found


def test_nothing_goes_by_this_machines_clock() -> None:
    assert wall_uses("from time import time\ntime.time_ns()\nx.datetime.now()\nuuid7()") == [
        "time.time",
        "uuid7()",
        "time.time_ns",
        "datetime.now",
    ]
    for path in (*ROOT.glob("daemon/**/*.py"), *ROOT.glob("api/**/*.py")):
        name = str(path.relative_to(ROOT))
        assert name in OWN_CLOCK or wall_uses(path.read_text()) == [], f"{name}: use the Clock"


# hookd.clock() itself, and what compares with the times of pg_stat_activity and pg_prepared_xacts.
SERVERS_OWN_CLOCK = {"10_clock.sql", "87_observe.sql", "watch.sql", "migrate.sql"}


def test_the_sql_goes_by_one_clock() -> None:
    for folder in ("functions", "queries"):
        for path in (ROOT / "daemon/store/sql" / folder).glob("*.sql"):
            text = re.sub(r"--.*", "", path.read_text())
            clocks = re.findall(r"\b(?:now\(\)|(?:current|local|transaction|statement)_?timestamp)", text)
            if path.name not in SERVERS_OWN_CLOCK:
                clocks += re.findall(r"\bclock_timestamp", text)
            assert clocks == [], f"{path.name}: use hookd.clock()"
