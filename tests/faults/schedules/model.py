"""What must have arrived: the verdict on a schedule. Pure; times are seconds of one clock."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.schedules.plan import Event, Subscription

TAIL = 3.0
"""Seconds after a request's answer in which a fault may keep the result from being recorded."""
LATE = ("timeout", "connection_lost", "interrupted")
"""What the history says of an attempt whose result was not known in time, as on a machine that is slow."""
REFUSED_FOR_AGE = 10.0
"""Seconds after a daemon's clock was moved in which it may still sign with the wrong time."""


@dataclass(frozen=True, slots=True)
class Published:
    """An event with an id. `began`, `ended`: of its publication, the number of which is `publication`.

    `order` is its place there. `epoch` counts the moves to another cluster: across one no order is told.
    `delayed`: for later, and not to be compared.
    """

    id: str
    event: Event
    organisation: int
    began: float
    ended: float
    publication: int
    order: int
    epoch: int
    delayed: bool


@dataclass(slots=True)
class Arrival:
    """A request as the receiver had it; `status` is 0 unless its whole answer was written, at `answered`."""

    subscription: int
    event_id: str
    delivery_id: str
    at: float
    status: int = 0
    answered: float = 0.0
    forged: bool = False
    stale: bool = False

    @property
    def accepted(self) -> bool:
        """Whether it was answered with 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault as it was: when it began and ended. A `crash` takes the last commits that nobody waited for."""

    name: str
    began: float
    ended: float
    clock: bool = False
    crash: bool = False


@dataclass(slots=True)
class Verdict:
    """What is wrong, one line each, and what came twice, by what explains it."""

    events: int = 0
    deliveries: int = 0
    lost: list[str] = field(default_factory=list)
    misordered: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    explained: dict[str, int] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Everything that is not as it should be."""
        kinds = {"lost": self.lost, "out of order": self.misordered, "twice": self.unexplained}
        return [f"{kind}: {line}" for kind, lines in {**kinds, "wrong": self.wrong}.items() for line in lines]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class Model:
    """Collects what was published and what came."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self.subscriptions = subscriptions
        self.published: dict[str, Published] = {}
        self.undone: set[str] = set()
        self.arrivals: list[Arrival] = []
        self._accepted: set[tuple[int, str]] = set()

    def note_accepted(self, arrival: Arrival) -> None:
        """Remember that it was answered with 2xx."""
        self._accepted.add((arrival.subscription, arrival.event_id))

    def wanted(self) -> Iterable[tuple[Subscription, Published]]:
        """Give what must arrive."""
        for one in self.published.values():
            for subscription in self.subscriptions:
                if subscription.wants(one.organisation, one.event):
                    yield subscription, one

    def missing(self) -> list[tuple[Subscription, Published]]:
        """Return what must arrive and was not accepted yet."""
        return [pair for pair in self.wanted() if (pair[0].number, pair[1].id) not in self._accepted]

    def judge(
        self, troubles: Sequence[Trouble], failures: Mapping[tuple[int, str], Sequence[str]]
    ) -> Verdict:
        """Return the verdict. `failures`: errors in the history by subscription and event."""
        wanted = {(subscription.number, one.id) for subscription, one in self.wanted()}
        verdict = Verdict(len(self.published), len(wanted))
        by_pair: dict[tuple[int, str], list[Arrival]] = defaultdict(list)
        for arrival in self.arrivals:
            by_pair[arrival.subscription, arrival.event_id].append(arrival)
        verdict.lost = [
            f"{one.id} to {subscription.number}; history: {failures.get((subscription.number, one.id), ())}"
            for subscription, one in self.missing()
        ]
        for (subscription, event), arrivals in by_pair.items():
            name = f"{event} to {subscription}"
            if event in self.undone:
                verdict.wrong.append(f"{name} came and was rolled back")
            elif event not in self.published:
                verdict.wrong.append(f"{name} came, of which no publisher knows")
            elif (subscription, event) not in wanted:
                verdict.wrong.append(f"{name} came and was not wanted")
            if len({one.delivery_id for one in arrivals}) > 1 and not _crashed_after(arrivals, troubles):
                verdict.wrong.append(f"{name} came as several deliveries: it was routed twice")
            _judge_repeats(verdict, name, arrivals, troubles, failures.get((subscription, event), ()))
        _judge_signatures(verdict, self.arrivals, troubles)
        for one in self.subscriptions:
            if one.ordered:
                _judge_order(verdict, one, self.published, by_pair)
        return verdict


def _crashed_after(arrivals: Sequence[Arrival], troubles: Sequence[Trouble]) -> bool:
    """Tell whether a crash of Postgres can have undone that the event was routed: then it is routed again."""
    first = min(one.at for one in arrivals)
    return any(one.crash and one.began - TAIL <= first <= one.ended for one in troubles)


def _judge_repeats(
    verdict: Verdict,
    name: str,
    arrivals: Sequence[Arrival],
    troubles: Sequence[Trouble],
    errors: Sequence[str],
) -> None:
    """Explain what came again after it was accepted."""
    accepted: Arrival | None = None
    for arrival in arrivals:
        if accepted is not None:
            reason = _reason(accepted, troubles, errors)
            if reason is None:
                verdict.unexplained.append(
                    f"{name} came at {arrival.at:.2f}, accepted at {accepted.answered:.2f}; history: {errors}"
                )
            else:
                verdict.explained[reason] = verdict.explained.get(reason, 0) + 1
        if arrival.accepted:
            accepted = arrival


def _reason(accepted: Arrival, troubles: Sequence[Trouble], errors: Sequence[str]) -> str | None:
    for one in troubles:
        if one.began <= accepted.answered + TAIL and accepted.at <= one.ended + TAIL:
            return one.name
    # the answer came too late for the daemon, or its result for the lease
    return next((error for error in errors if error in LATE), None)


def _judge_signatures(verdict: Verdict, arrivals: Sequence[Arrival], troubles: Sequence[Trouble]) -> None:
    moved = [one for one in troubles if one.clock]
    for one in arrivals:
        name = f"{one.event_id} to {one.subscription} at {one.at:.2f}"
        if one.forged:
            verdict.wrong.append(f"{name} has a wrong signature")
        # for a moment after a jump, either way
        near = any(
            moment <= one.at <= moment + REFUSED_FOR_AGE for t in moved for moment in (t.began, t.ended)
        )
        if one.stale and not near:
            verdict.wrong.append(f"{name} has a wrong timestamp")


def _judge_order(
    verdict: Verdict,
    subscription: Subscription,
    published: Mapping[str, Published],
    by_pair: Mapping[tuple[int, str], Sequence[Arrival]],
) -> None:
    """Compare first arrivals with the order of publication, as far as one is told.

    It is told where one publication had ended before the other began, and within one by its order.
    """
    came = []
    for event, one in published.items():
        arrivals = by_pair.get((subscription.number, event))
        if arrivals and not one.delayed:
            accepted = min((a.at for a in arrivals if a.accepted), default=float("inf"))
            came.append((one, arrivals[0].at, accepted))
    for one, _, accepted in came:
        for other, first, _ in came:
            if _precedes(one, other) and first < accepted:
                verdict.misordered.append(
                    f"{other.id} came to {subscription.number} at {first:.2f}, before {one.id},"
                    f" published earlier, was accepted at {accepted:.2f}"
                )


def _precedes(one: Published, other: Published) -> bool:
    if one.epoch != other.epoch:
        return False
    if one.publication == other.publication:
        return one.order < other.order
    return one.ended < other.began
