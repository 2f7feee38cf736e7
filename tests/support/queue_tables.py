"""What must be true of the queue's tables at any time: counters, floors, and that nothing sleeps too long."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

SLACK = timedelta(milliseconds=1)
"""Moments of the token bucket are rounded to microseconds."""

OBSERVED_DELIVERIES = """
select d.id, d.event_id, d.subscription_id, d.lease, d.due, d.attempt, d.failures, d.replay_id
from hookd.delivery d where exists (select from hookd.lane l where l.subscription_id = d.subscription_id)
"""
OBSERVED_HOSTS = """
select h.id, h.owner, h.rate, h.burst, h.max_in_flight, h.in_flight, h.circuit_failures >= 5 as open,
    h.blocked_until,
    nullif(h.ready_at, 'infinity') as ready_at, nullif(h.probe_at, 'infinity') as probe_at,
    h.ready_floor = 'infinity' as no_ready_floor, h.probe_floor = 'infinity' as no_probe_floor,
    nullif(nullif(h.ready_floor, 'infinity'), '-infinity') as ready_floor,
    nullif(nullif(h.probe_floor, 'infinity'), '-infinity') as probe_floor,
    nullif(h.blocked_until, '-infinity') as blocked, h.tokens, h.refilled_at,
    (select count(*) from hookd.delivery d where d.host_id = h.id and d.lease is not null) as leased
from hookd.host h
"""
OBSERVED_LANES = """
select l.subscription_id, l.host_id, l.org_id, s.org_id as owner, l.active, l.proven, l.in_flight,
    l.window_size, nullif(l.due, 'infinity') as due, l.floor <= coalesce(x.first, 'infinity') as floor_holds,
    nullif(l.hold_until, '-infinity') as hold,
    nullif(hookd.pace(l.rate, l.paced_until), '-infinity') as pace, l.failure_count, l.failing_since,
    x.first, x.leased, s.is_active,
    exists (select from hookd.delivery d where d.subscription_id = l.subscription_id and d.lease is null
        and d.failed_at between l.catch_up_from and l.catch_up_to) as catches_up,
    l.due = 'infinity' or h.owner is null
        or case when l.proven then h.ready_floor else h.probe_floor end <= l.due as host_floor_holds,
    l.due = 'infinity' or h.owner is not null
        or case when l.proven then o.ready_floor else o.probe_floor end <= l.due as share_floor_holds,
    h.owner is not null or l.due = 'infinity' or case when l.proven then o.ready_at else o.probe_at end
        <= greatest(l.due, hookd.clock()) as share_wakes
from hookd.lane l
join hookd.host h on h.id = l.host_id
join hookd.host_share o on o.host_id = l.host_id and o.org_id = l.org_id
join hookd.subscription s on s.id = l.subscription_id
cross join lateral (select min(d.due) filter (where d.lease is null) as first,
        count(*) filter (where d.lease is not null) as leased
    from hookd.delivery d where d.subscription_id = l.subscription_id) x
"""
OBSERVED_SHARES = """
select s.host_id, s.org_id, s.lanes, s.in_flight,
    h.owner is not null or s.ready_at = 'infinity' or h.ready_floor <= s.ready_at as ready_floor_holds,
    h.owner is not null or s.probe_at = 'infinity' or h.probe_floor <= s.probe_at as probe_floor_holds,
    h.owner is not null or (s.ready_at > hookd.clock() or x.ready <= hookd.clock())
        and (s.probe_at > hookd.clock() or x.probe <= hookd.clock()) as has_work
from hookd.host_share s join hookd.host h on h.id = s.host_id
cross join lateral (select min(l.due) filter (where l.proven) as ready,
        min(l.due) filter (where not l.proven) as probe
    from hookd.lane l where l.host_id = s.host_id and l.org_id = s.org_id) x
"""


def check_tables(hosts: list[Any], lanes: list[Any], shares: list[Any], now: datetime) -> None:
    """Check counters, floors and that nothing sleeps longer than it must."""
    check_shares(hosts, lanes, shares)
    for lane in lanes:
        assert lane["in_flight"] == lane["leased"], "lane.in_flight has drifted from the leases"
        assert lane["floor_holds"], "a delivery is due below its lane's floor"
        assert lane["host_floor_holds"], "a lane is due below its host's floor"
        assert lane["share_floor_holds"], "a lane is due below its organisation's floor"
        assert lane["share_wakes"], "an organisation sleeps though a lane of it could go"
        assert lane["active"] == lane["is_active"]
        room = lane["active"] and lane["in_flight"] < lane["window_size"]
        if not room or lane["first"] is None:
            assert lane["due"] is None or (room and lane["due"] <= now), (
                "a lane that may not go wakes its host"
            )
        if room and lane["first"] is not None:
            first = now if lane["catches_up"] else lane["first"]
            latest = max(one for one in (first, lane["hold"], lane["pace"], now) if one is not None)
            assert lane["due"] is not None and lane["due"] <= latest, "a lane sleeps though it could go"
            assert lane["hold"] is None or lane["due"] >= lane["hold"], "a lane does not heed Retry-After"
    for host in hosts:
        assert host["in_flight"] == host["leased"], "host.in_flight has drifted from the leases"
        for proven, at in ((True, host["ready_at"]), (False, host["probe_at"])):
            work = earliest_work(host, lanes, proven, now)
            if work is not None:
                assert at is not None, "a host sleeps for ever with work"
                assert at <= max(work, now) + SLACK, "a host sleeps longer than its work waits"
        if host["open"]:
            assert host["ready_at"] is None, "an open circuit lets proven lanes through"
            if host["blocked"] is not None and host["probe_at"] is not None:
                assert host["probe_at"] >= host["blocked"]
        if host["in_flight"] >= host["max_in_flight"]:
            assert (host["ready_at"], host["probe_at"]) == (None, None), "a full host costs claims"


def check_shares(hosts: list[Any], lanes: list[Any], shares: list[Any]) -> None:
    """Check what is known of the organisations at each host."""
    assert all(lane["org_id"] == lane["owner"] for lane in lanes)
    there = Counter((lane["host_id"], lane["org_id"]) for lane in lanes)
    assert {(one["host_id"], one["org_id"]): one["lanes"] for one in shares} == there
    for host in hosts:
        orgs = [org for at, org in there if at == host["id"]]
        assert host["owner"] == (orgs[0] if len(orgs) == 1 else None), "the host's owner is not"
        for one in shares:
            if one["host_id"] == host["id"] and host["owner"] is None:
                assert one["in_flight"] == under_way(host, lanes, one["org_id"]), (
                    "a share's in_flight has drifted"
                )
                assert one["has_work"] is not False, "an organisation has its turn without work"
                assert one["ready_floor_holds"] and one["probe_floor_holds"], (
                    "a share is due below the host's floor"
                )


def under_way(host: Any, lanes: list[Any], org: UUID) -> int:
    """Return how many requests of an organisation's lanes at a host are under way."""
    return sum(one["in_flight"] for one in lanes if (one["host_id"], one["org_id"]) == (host["id"], org))


def earliest_work(host: Any, lanes: list[Any], proven: bool, now: datetime) -> datetime | None:
    """Return when a claim of that kind could take something from the host if nothing else happens."""
    if host["in_flight"] >= host["max_in_flight"] or (host["open"] and (proven or host["in_flight"] > 0)):
        return None
    moments = [
        max(
            one
            for one in (now if lane["catches_up"] else lane["first"], lane["hold"], lane["pace"])
            if one is not None
        )
        for lane in lanes
        if lane["host_id"] == host["id"]
        and (lane["proven"] == proven or host["open"])
        and lane["active"]
        and lane["first"] is not None
        and lane["in_flight"] < lane["window_size"]
        # an organisation that shares a host has no more under way than is free
        and (
            host["owner"]
            or under_way(host, lanes, lane["org_id"]) < host["max_in_flight"] - host["in_flight"]
        )
    ]
    if not moments:
        return None
    elapsed = max(0.0, (now - host["refilled_at"]).total_seconds())
    tokens = min(host["burst"], host["tokens"] + host["rate"] * elapsed)
    moment: datetime = max(min(moments), now + timedelta(seconds=max(0.0, 1 - tokens) / host["rate"]))
    if host["open"] and host["blocked"] is not None:
        moment = max(moment, host["blocked"])
    return moment
