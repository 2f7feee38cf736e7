from daemon.delivery.poller import BUSY, QUICK, SLOW, STEADY, PublishRate, rest


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_demand_is_that_of_the_last_second() -> None:
    clock = Clock()
    demand = PublishRate(clock)
    demand.note(int(BUSY) + 1)
    assert not demand.busy()
    clock.now += 1
    assert demand.busy()
    clock.now += 1
    assert not demand.busy()


def test_a_few_events_are_no_reason_to_stay_awake() -> None:
    clock = Clock()
    demand = PublishRate(clock)
    for _ in range(50):
        demand.note(1)
        clock.now += 0.1
        assert not demand.busy()


def test_a_long_rest_thins_out_what_came_before_it() -> None:
    clock = Clock()
    demand = PublishRate(clock)
    demand.note(int(BUSY) * 2)
    clock.now += 60
    assert not demand.busy()


def test_the_router_looks_for_itself_while_no_hints_come() -> None:
    clock = Clock()
    demand = PublishRate(clock)
    assert not demand.awake()
    demand.stay_awake(5)
    assert demand.awake()
    clock.now += 5
    assert not demand.awake()


def test_polls_are_seldom_only_where_publishers_wake_the_router() -> None:
    assert rest(awake=False, hinted=True, unhinted=False) == SLOW
    assert rest(awake=False, hinted=False, unhinted=False) == STEADY
    assert rest(awake=False, hinted=True, unhinted=True) == QUICK
    assert rest(awake=True, hinted=True, unhinted=True) == STEADY
