from daemon.process.standstill import WARNING_INTERVAL, Standstill
from daemon.progress import PATIENCE, Progress, Way
from daemon.store.blocking import describe_lock, describe_statement


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_part_stands_still_from_the_first_round_that_does_not_end() -> None:
    clock = Clock()
    part = Progress("routing", clock)
    clock.now += 60
    assert part.stood() == 0  # nothing to do
    part.begin()
    clock.now += 3
    part.failed(ConnectionError("gone"))
    clock.now += 3
    part.begin()
    assert part.stood() == 6
    assert part.error == "gone"
    assert not part.proven
    part.done()
    assert (part.stood(), part.error, part.proven) == (0, "", True)


def test_the_way_works_once_all_parts_have_done_a_round_and_none_stands_still() -> None:
    clock = Clock()
    way = Way(clock)
    assert [part.name for part in way.unproven()] == [
        "polling", "routing", "routing of bursts", "claiming", "recording",
    ]  # fmt: skip
    for part in way.unproven():
        assert not way.works()
        part.done()
    assert way.works()
    way.publishing.begin()
    clock.now += PATIENCE + 1
    assert way.standing() == [way.publishing]
    assert not way.works()


def test_a_standstill_is_told_at_once_then_each_minute_and_when_it_is_over() -> None:
    clock = Clock()
    routing, claiming = Progress("routing", clock), Progress("claiming", clock)
    standstill = Standstill()
    assert not standstill.due([], clock.now)
    assert standstill.over([], clock.now) is None
    routing.begin()
    clock.now += 6
    assert standstill.due([routing], clock.now)
    assert standstill.warning([routing], "why", clock.now) == "no progress for 6 s in routing: why"
    claiming.begin()
    clock.now += 30
    assert not standstill.due([routing, claiming], clock.now)
    assert standstill.over([routing, claiming], clock.now) is None
    clock.now += WARNING_INTERVAL - 30
    assert standstill.due([routing, claiming], clock.now)
    text = standstill.warning([routing, claiming], "still", clock.now)
    assert text == "no progress for 66 s in routing, claiming: still"
    assert standstill.over([], clock.now) == "progress again in routing, claiming, after 66 s"
    assert standstill.over([], clock.now) is None
    assert standstill.due([routing], clock.now)  # another one is told at once


def test_what_is_over_before_it_was_told_is_not_told() -> None:
    clock = Clock()
    routing = Progress("routing", clock)
    routing.begin()
    clock.now += 6
    standstill = Standstill()
    assert standstill.due([routing], clock.now)
    assert standstill.over([], clock.now) is None


def test_who_holds_a_lock_is_told_as_far_as_it_may_be_seen() -> None:
    told = describe_lock(
        waited_for="hookd.host", pid=7, account="bob", application="psql", state="idle", age=12.3
    )
    assert "waits for a lock on hookd.host that process 7 of Postgres holds" in told
    assert "(account bob, application psql, idle, in a transaction for 12 s)" in told
    assert "select pg_terminate_backend(7)" in told
    hidden = describe_lock(waited_for="a row", pid=7, account=None, application=None, state=None, age=None)
    assert "(hookd's account may not see more of it)" in hidden
    prepared = describe_lock(waited_for="a row", pid=0, account=None, application=None, state=None, age=None)
    assert "pg_prepared_xacts" in prepared
    assert describe_statement(pid=7, wait="IPC SyncRep", age=9.0).endswith("which waits for IPC SyncRep")
