"""What random schedules are made of, and what their model finds."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.schedules.model import Arrival, Model, Published, Trouble, Verdict
from tests.faults.schedules.plan import ORGANISATIONS, PUBLISHING, Event, Kind, Mood, Subscription, Way, draw

ORDERED = Subscription(0, 0, 0, "match.*", 10, ordered=True)
FREE = replace(ORDERED, number=1, ordered=False)
EVENT = Event("match.proposed", 10)
FIRST = Published("a", EVENT, 0, began=1.0, ended=1.1, publication=1, order=0, epoch=0, delayed=False)
SECOND = replace(FIRST, id="b", began=2.0, ended=2.1, publication=2)


@given(st.integers(0, 10**9))
def test_a_seed_draws_the_same_schedule_again(seed: int) -> None:
    schedule = draw(seed)
    assert schedule == draw(seed)
    assert {one.organisation for one in schedule.subscriptions} == set(range(ORGANISATIONS))
    assert {one.way for one in schedule.publications} == set(Way)
    assert all(0 <= one.at <= PUBLISHING for one in schedule.publications)
    assert all(0 <= one.at <= PUBLISHING for one in schedule.faults)
    assert all(one.commits for one in schedule.publications if one.way is Way.REST)


def test_every_kind_is_drawn() -> None:
    schedules = [draw(seed) for seed in range(200)]
    assert {fault.kind for one in schedules for fault in one.faults} == set(Kind)
    assert {spell.mood for one in schedules for spell in one.spells} == set(Mood)
    assert any(not one.commits for schedule in schedules for one in schedule.publications)


def test_a_subscription_wants_its_types_its_organisation_and_what_its_filter_passes() -> None:
    assert FREE.wants(0, EVENT)
    assert not FREE.wants(1, EVENT)
    assert not FREE.wants(0, Event("match.proposed", 9))
    assert not FREE.wants(0, Event("placement.created", 10))
    assert replace(FREE, pattern="match.proposed").wants(0, EVENT)
    assert not replace(FREE, pattern="match.proposed").wants(0, Event("match.proposed.more", 10))


def came(subscription: int, event: str, at: float, *, status: int = 204, delivery: str = "") -> Arrival:
    return Arrival(subscription, event, delivery or f"{subscription}{event}", at, status, at + 0.01)


def judged(
    *arrivals: Arrival,
    published: tuple[Published, ...] = (FIRST, SECOND),
    troubles: tuple[Trouble, ...] = (),
    errors: tuple[str, ...] = (),
) -> Verdict:
    model = Model([ORDERED, FREE])
    model.published = {one.id: one for one in published}
    model.undone = {"u"}
    for one in arrivals:
        model.arrivals.append(one)
        if one.accepted:
            model.note_accepted(one)
    return model.judge(troubles, {(1, "a"): errors})


ALL = (came(0, "a", 3.0), came(1, "b", 3.1), came(1, "a", 3.2), came(0, "b", 3.3))


def test_what_came_once_and_in_order_is_good() -> None:
    verdict = judged(*ALL)
    assert verdict.good and (verdict.events, verdict.deliveries, verdict.explained) == (2, 4, {})


def test_what_did_not_come_or_was_never_accepted_is_lost() -> None:
    assert judged(*ALL[:3]).lost == ["b to 0; history: ()"]
    assert judged(*ALL[:3], came(0, "b", 3.3, status=500)).lost == ["b to 0; history: ()"]


def test_what_was_not_to_come_is_wrong() -> None:
    assert len(judged(*ALL, came(1, "u", 4.0)).wrong) == 1
    assert len(judged(*ALL, came(1, "x", 4.0)).wrong) == 1
    unwanted = replace(FIRST, id="c", event=Event("match.proposed", 0), began=0.0, ended=0.1, publication=3)
    assert len(judged(*ALL, came(1, "c", 4.0), published=(FIRST, SECOND, unwanted)).wrong) == 1


def test_an_ordered_subscription_gets_nothing_before_what_was_published_before_is_accepted() -> None:
    refused = came(0, "a", 2.5, status=500)
    late = (came(0, "b", 2.6), came(0, "a", 2.7), came(1, "a", 3.0), came(1, "b", 3.0))
    assert len(judged(refused, *late).misordered) == 1
    at_once = replace(SECOND, began=1.05)
    assert not judged(refused, *late, published=(FIRST, at_once)).misordered
    assert not judged(refused, *late, published=(FIRST, replace(SECOND, epoch=1))).misordered
    together = replace(SECOND, publication=1, began=1.0, ended=1.1, order=1)
    assert len(judged(refused, *late, published=(FIRST, together)).misordered) == 1


def test_what_comes_twice_is_explained_by_a_fault_near_or_by_the_history() -> None:
    again = came(1, "a", 20.0)
    assert len(judged(*ALL, again).unexplained) == 1
    assert judged(*ALL, again, troubles=(Trouble("kill", 4.0, 5.0),)).explained == {"kill": 1}
    assert len(judged(*ALL, again, troubles=(Trouble("kill", 10.0, 20.0),)).unexplained) == 1
    assert judged(*ALL, again, errors=("timeout",)).explained == {"timeout": 1}
    assert len(judged(*ALL, again, errors=("status_5xx",)).unexplained) == 1
    refused = came(1, "b", 2.9, status=500)
    assert judged(refused, *ALL).good


def test_an_event_that_was_routed_twice_is_wrong_unless_a_crash_undid_the_first_time() -> None:
    again = came(1, "a", 4.0, delivery="another")
    assert len(judged(*ALL, again, troubles=(Trouble("kill", 3.0, 5.0),)).wrong) == 1
    assert judged(*ALL, again, troubles=(Trouble("crash", 3.5, 5.0, crash=True),)).good
    late = came(1, "a", 30.0, delivery="another")
    assert judged(*ALL, late, troubles=(Trouble("crash", 20.0, 21.0, crash=True),)).wrong


def test_a_wrong_signature_is_wrong_and_a_wrong_time_unless_the_clock_just_moved() -> None:
    forged = replace(came(1, "a", 2.9, status=401), forged=True)
    assert len(judged(forged, *ALL).wrong) == 1
    stale = replace(forged, forged=False, stale=True)
    assert len(judged(stale, *ALL).wrong) == 1
    assert judged(stale, *ALL, troubles=(Trouble("clock", 2.8, 9.0, clock=True),)).good
