import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from daemon.cli.dev_tally import Missing, Tally

EVENTS = st.sampled_from(["a", "b", "c"])
PATHS = st.sampled_from(["/inbox", "/flaky"])


@given(
    st.permutations(["a", "b", "c"]), st.lists(st.tuples(EVENTS, PATHS)), st.lists(st.tuples(EVENTS, PATHS))
)
def test_missing_is_what_was_published_and_never_arrived(
    published: list[str], before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    tally = Tally()
    arrived: set[tuple[str, str]] = set()

    def arrive(event_id: str, path: str) -> None:
        assert tally.arrived(event_id, path) is ((event_id, path) not in arrived)
        arrived.add((event_id, path))

    for event_id, path in before:
        arrive(event_id, path)
    for event_id in published:
        tally.published(event_id, "t", {"/inbox", "/flaky"})
    for event_id, path in after:
        arrive(event_id, path)
    owed = [(one.event_id, one.path) for one in tally.missing()]
    assert owed == [(e, p) for e in published for p in ("/flaky", "/inbox") if (e, p) not in arrived]
    assert tally.counts.delivered == len(arrived)


def test_failures_are_counted_by_delivery_and_forgotten_when_it_arrives() -> None:
    tally = Tally()
    tally.published("a", "t", {"/x", "/y"})
    tally.failed("a", "/x", "answered 503")
    tally.failed("a", "/x", "answered 500")
    assert (tally.failures("a", "/x"), tally.failures("a", "/y"), tally.failures("b", "/x")) == (2, 0, 0)
    assert tally.missing() == [Missing("a", "t", "/x", "answered 500"), Missing("a", "t", "/y", "")]
    assert tally.arrived("a", "/x")
    assert tally.failures("a", "/x") == 0
    assert (tally.counts.failed, tally.counts.recovered, tally.counts.delivered) == (2, 1, 1)


async def test_whoever_waits_is_woken_when_the_last_delivery_arrives() -> None:
    tally = Tally()
    tally.published("a", "t", {"/x", "/y"})
    settled = trio.Event()

    async def wait() -> None:
        await tally.settled()
        settled.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            tally.arrived("a", "/x")
            await wait_all_tasks_blocked()
            assert not settled.is_set()
            tally.arrived("a", "/y")
            await settled.wait()
    await tally.settled()  # with nothing owed it returns at once
