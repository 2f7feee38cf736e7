"""What a schedule is, and how it is drawn from a seed. Pure: a seed gives the same schedule everywhere.

Times are seconds from the schedule's begin. What runs it is in `run.py`.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

TYPES = ("match.proposed", "match.accepted", "placement.created")
ORGANISATIONS = 3
HOSTS = 3
DAEMONS = 2
PUBLISHING = 8.0
"""Seconds in which events are published and faults begin."""


class Way(StrEnum):
    """How events are published."""

    REST = "rest"
    SQL = "sql"


class Mood(StrEnum):
    """How a receiver answers: late, with 500 half of the time, never, or it refuses connections."""

    SLOW = "slow"
    FAILING = "failing"
    SILENT = "silent"
    AWAY = "away"


class Kind(StrEnum):
    """What goes wrong."""

    KILL = "kill -9 of a daemon"
    STOP = "SIGSTOP of a daemon"
    TERMINATE = "SIGTERM of a daemon"
    CLOCK = "a daemon's clock is moved"
    CLOCK_AT_START = "a daemon starts with its clock moved"
    CUT = "a daemon's connections are cut"
    SILENCE = "a daemon's connections carry nothing"
    CRASH = "Postgres is restarted at once"
    END_SESSIONS = "Postgres ends the daemons' sessions"
    READ_ONLY = "Postgres is read-only"
    LOCK = "a table is locked"
    LIMIT = "the role's connections are limited"
    MOVE = "dump and restore into another cluster"
    SECOND_SCHEMA = "a second schema beside"


OF_A_DAEMON = frozenset(
    {Kind.KILL, Kind.STOP, Kind.TERMINATE, Kind.CLOCK, Kind.CLOCK_AT_START, Kind.CUT, Kind.SILENCE}
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event to publish; `n` is its data, which filters look at."""

    type: str
    n: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """`pattern`: of event types. `least`: its filter passes what has at least this `n`; None: no filter."""

    number: int
    organisation: int
    host: int
    pattern: str
    least: int | None
    ordered: bool

    def wants(self, organisation: int, event: Event) -> bool:
        """Return whether an event of the organisation is to be sent to it."""
        prefix = self.pattern.removesuffix("*")
        named = event.type == self.pattern if prefix == self.pattern else event.type.startswith(prefix)
        return organisation == self.organisation and named and (self.least is None or event.n >= self.least)


@dataclass(frozen=True, slots=True)
class Publication:
    """Events that are published together. `commits`, `open_for`: of the transaction, when it is SQL.

    `after`: how much later than their publication they are to be delivered.
    """

    at: float
    organisation: int
    way: Way
    events: tuple[Event, ...]
    commits: bool = True
    open_for: float = 0.0
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Spell:
    """A receiver is in a mood."""

    at: float
    lasts: float
    host: int
    mood: Mood


@dataclass(frozen=True, slots=True)
class Fault:
    """`daemon` is meant by the kinds of `OF_A_DAEMON`, `amount` and `table` by some."""

    at: float
    lasts: float
    kind: Kind
    daemon: int
    amount: float = 0.0
    table: str = ""

    def __str__(self) -> str:
        who = f" {self.daemon}" if self.kind in OF_A_DAEMON else ""
        more = f" {self.table}" if self.table else f" {self.amount:g}" if self.amount else ""
        return f"{self.kind.value}{who}{more}, for {self.lasts:.1f} s"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that is drawn."""

    seed: int
    subscriptions: tuple[Subscription, ...]
    publications: tuple[Publication, ...]
    spells: tuple[Spell, ...]
    faults: tuple[Fault, ...]


def draw(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    chance = random.Random(f"hookd schedule {seed}")
    return Schedule(
        seed,
        tuple(_subscription(chance, number) for number in range(chance.randint(5, 9))),
        tuple(sorted(_publications(chance), key=lambda one: one.at)),
        tuple(_spell(chance) for _ in range(chance.randint(0, 4))),
        tuple(sorted((_fault(chance) for _ in range(chance.randint(2, 6))), key=lambda one: one.at)),
    )


def _subscription(chance: random.Random, number: int) -> Subscription:
    return Subscription(
        number,
        # every organisation has one
        number if number < ORGANISATIONS else chance.randrange(ORGANISATIONS),
        chance.randrange(HOSTS),
        chance.choice(("*", "*", "match.*", TYPES[0], TYPES[2])),
        chance.choice((None, None, 30, 70)),
        chance.random() < 0.5,
    )


def _publications(chance: random.Random) -> list[Publication]:
    found = []
    for organisation in range(ORGANISATIONS):
        for way in Way:
            at = chance.uniform(0.0, 0.5)
            while at < PUBLISHING:
                found.append(_publication(chance, at, organisation, way))
                at += chance.expovariate(2.0)
    return found


def _publication(chance: random.Random, at: float, organisation: int, way: Way) -> Publication:
    size = chance.choice((1, 1, 1, 2, 5, 20))
    events = tuple(Event(chance.choice(TYPES), chance.randrange(100)) for _ in range(size))
    after = chance.uniform(0.5, 3.0) if chance.random() < 0.05 else 0.0
    if way is Way.REST:
        return Publication(at, organisation, way, events, after=after)
    open_for = chance.uniform(1.0, 4.0) if chance.random() < 0.1 else 0.0
    return Publication(at, organisation, way, events, chance.random() < 0.8, open_for, after)


def _spell(chance: random.Random) -> Spell:
    return Spell(
        chance.uniform(0.5, PUBLISHING),
        chance.uniform(0.5, 3.0),
        chance.randrange(HOSTS),
        chance.choice(list(Mood)),
    )


def _fault(chance: random.Random) -> Fault:
    kind = chance.choice(list(Kind))
    at, daemon = chance.uniform(0.5, PUBLISHING), chance.randrange(DAEMONS)
    least, most, amount, table = _SIZES.get(kind, _default)(chance)
    return Fault(at, chance.uniform(least, most), kind, daemon, amount, table)


def _default(chance: random.Random) -> tuple[float, float, float, str]:
    return 0.2, 2.0, 0.0, ""


_DAY = 86400.0
_SIZES: dict[Kind, Callable[[random.Random], tuple[float, float, float, str]]] = {
    Kind.STOP: lambda chance: (1.0, 8.0, 0.0, ""),  # leases last four seconds
    Kind.CLOCK: lambda chance: (1.0, 5.0, chance.choice((-400 * _DAY, -600, -3, 3, 600, 40 * _DAY)), ""),
    Kind.CLOCK_AT_START: lambda chance: (3.0, 6.0, chance.choice((-400 * _DAY, -600, 600, 40 * _DAY)), ""),
    Kind.SILENCE: lambda chance: (0.5, 8.0, 0.0, ""),  # statements are given up after four
    Kind.READ_ONLY: lambda chance: (0.5, 5.0, 0.0, ""),
    Kind.LOCK: lambda chance: (0.5, 5.0, 0.0, chance.choice(("host", "lane", "inbox", "delivery", "lease"))),
    Kind.LIMIT: lambda chance: (1.0, 5.0, chance.choice((1, 5, 9)), ""),
    # amount: whether the new cluster's transaction counter passes the old one's while no daemon runs
    Kind.MOVE: lambda chance: (0.2, 1.0, chance.choice((0, 1)), ""),
}
