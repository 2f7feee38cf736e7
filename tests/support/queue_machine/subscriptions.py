"""Rules: what owners and operators do with subscriptions."""

from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from daemon.store.subscriptions import Change, Extras, TooManySecrets
from tests.support.queue_machine.base import HOSTS, LIMITS, ORGS, SEEDS, WHO, Machine
from tests.support.queue_model import Bucket, Filter, Subscription
from tests.support.queue_steps import Limits

PATTERNS = [
    ("*",),
    ("placement.*",),
    ("placement.created",),
    ("placement.created", "match.*"),
    ("*", "placement.*"),
]
FILTERS = [
    None,
    None,
    Filter("$.n > 4", lambda data: data["n"] > 4),
    Filter("$.n == 1 || $.n == 7", lambda data: data["n"] in (1, 7)),
    Filter("exists($.none)", lambda data: False),
]
RATES = [None, None, None, 1.0, 0.2, 3.5]
SCHEDULES = [None, None, (1.0,), (0.5, 40.0)]
FAILING = "strict ($.n == $nobody)"
"""What hookd would never write: it raises whatever the event has."""
MOST_SUBSCRIPTIONS = 8
MOST_SECRETS = 5

EXTRAS: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    filter=st.sampled_from(FILTERS),
    ordered=st.booleans(),
    rate_limit=st.sampled_from(RATES),
    schedule=st.sampled_from(SCHEDULES),
)


def full_bucket(rate: float | None, now: Any) -> Bucket | None:
    """Return the bucket of a subscription that has a rate of its own."""
    if rate is None:
        return None
    burst = max(1.0, float(-(-rate // 1)))
    return Bucket(rate, burst, burst, now)


class SubscriptionRules(Machine):
    """Registering, changing, pausing, deleting, secrets, limits."""

    def set_scene(self, chance: Random) -> None:
        for org, host in ((ORGS[0], HOSTS[0]), (ORGS[0], HOSTS[1]), (chance.choice(ORGS), HOSTS[0])):
            ordered = {"ordered": chance.random() < 0.3}
            self._register(0, org, host, chance.choice(PATTERNS), chance.choice(LIMITS), ordered)

    @precondition(lambda self: len(self.model.subscriptions) < MOST_SUBSCRIPTIONS)
    @rule(
        who=WHO,
        org=st.sampled_from(ORGS),
        host=st.sampled_from(HOSTS),
        patterns=st.sampled_from(PATTERNS),
        limits=st.sampled_from(LIMITS),
        extras=EXTRAS,
    )
    def register(
        self,
        who: int,
        org: UUID,
        host: str,
        patterns: tuple[str, ...],
        limits: Limits,
        extras: dict[str, Any],
    ) -> None:
        self._register(who, org, host, patterns, limits, extras)

    def _register(
        self,
        who: int,
        org: UUID,
        host: str,
        patterns: tuple[str, ...],
        limits: Limits,
        extras: dict[str, Any],
    ) -> None:
        if self.fetchval("select count(*) from hookd.host where name = $1", host) == 0:
            self.stage.limits[host] = limits  # else it is for limit_hosts to give it others
        id_: UUID = self.fetchval("select hookd.uuid7(hookd.clock())")
        url, secret = f"https://{host}/0", f"secret of {id_}"
        found = self.do(self.daemon(who).register, id_, org, host, patterns, secret, extras_of(extras))
        assert (found.id, found.org_id, found.url, found.events) == (id_, org, url, patterns)
        one = Subscription(
            id_,
            org,
            self.host_of(host),
            url,
            patterns,
            extras.get("filter"),
            extras.get("ordered", False),
            extras.get("rate_limit"),
            extras.get("schedule"),
            [(secret, None)],
        )
        one.bucket = full_bucket(one.rate_limit, self.now)
        self.model.subscriptions[id_] = one

    def host_of(self, name: str) -> int:
        """Return the id of a host, whose bucket is known from now on."""
        (row,) = self.fetch("select * from hookd.host where name = $1", name)
        id_: int = row["id"]
        self.model.buckets.setdefault(id_, Bucket(row["rate"], row["burst"], row["tokens"], self.now))
        return id_

    @rule(
        who=WHO,
        seed=SEEDS,
        what=st.sampled_from(["url", "events", "filter", "ordered", "rate_limit", "schedule", "all"]),
        host=st.sampled_from(HOSTS),
        patterns=st.sampled_from(PATTERNS),
        extras=EXTRAS,
    )
    def change(
        self, who: int, seed: int, what: str, host: str, patterns: tuple[str, ...], extras: dict[str, Any]
    ) -> None:
        one = self.pick(seed)
        if one is None:
            return
        given = {"url", "events", "filter", "ordered", "rate_limit", "schedule"} if what == "all" else {what}
        url = f"https://{host}/{seed % 2}"
        names = frozenset(given - {"schedule"} | ({"retry_schedule"} if "schedule" in given else set()))
        change = Change(
            names,
            url=url if "url" in given else None,
            host_key=host if "url" in given else "a:443",
            events=patterns if "events" in given else None,
            extras=extras_of({key: extras[key] for key in given if key in extras}),
        )
        found = self.do(
            self.daemon(who).subscriptions.change, one.org, one.id, change, revisions={one.revision}
        )
        one.revision += 1
        self._take_change(one, given, url, host, patterns, extras)
        assert found is not None
        assert (found.revision, found.url, found.events) == (one.revision, one.url, one.patterns)

    def _take_change(
        self,
        one: Subscription,
        given: set[str],
        url: str,
        host: str,
        patterns: tuple[str, ...],
        extras: dict[str, Any],
    ) -> None:
        if "url" in given:
            to = self.host_of(host)
            if url != one.url:
                one.hold_until, one.may_catch_up = None, True
            if to != one.host:
                one.failing_since = None
            one.url, one.host = url, to
        if "events" in given:
            one.patterns = patterns
        if "filter" in given:
            one.filter, one.blocked = extras["filter"], False
        if "ordered" in given and extras["ordered"] != one.ordered:
            one.ordered = extras["ordered"]
            if not one.ordered:
                one.hold_until = None
            for delivery in self.model.owed.values():
                if delivery.subscription == one.id:
                    delivery.rank = None
        if "rate_limit" in given and extras["rate_limit"] != one.rate_limit:
            one.rate_limit = extras["rate_limit"]
            one.bucket = full_bucket(one.rate_limit, self.now)
        if "schedule" in given:
            one.schedule = extras["schedule"]
        self.model.written_anew(one)

    @rule(who=WHO, seed=SEEDS, active=st.booleans())
    def pause_or_resume(self, who: int, seed: int, active: bool) -> None:
        if one := self.pick(seed):
            self.set_active(who, one, active)

    def set_active(self, who: int, one: Subscription, active: bool) -> None:
        """Pause or resume a subscription."""
        change = Change(frozenset({"is_active"}), host_key="a:443", is_active=active)
        found = self.do(self.daemon(who).subscriptions.change, one.org, one.id, change, revisions=None)
        assert found is not None and found.is_active == active
        one.revision += 1
        if active != one.active:
            self.model.switched(one, active)
        else:
            self.model.written_anew(one)

    @precondition(lambda self: len(self.model.subscriptions) > 2)
    @rule(who=WHO, seed=SEEDS)
    def remove(self, who: int, seed: int) -> None:
        one = self.pick(seed)
        assert one is not None
        removed = self.do(self.daemon(who).subscriptions.remove, one.org, one.id, revisions={one.revision})
        assert removed
        self.model.removed(one)

    @rule(seed=SEEDS)
    def plant_a_failing_filter(self, seed: int) -> None:
        """Put what was never checked into the table, as no function does, for routing to fall over."""
        one = self.one_of(seed, [one for one in self.model.subscriptions.values() if one.active])
        if one is None or one.blocked:
            return
        self.fetch(
            "update hookd.interest set filter = $2::text::jsonpath where subscription_id = $1",
            one.id,
            FAILING,
        )
        one.planted = True
        self.model.changed(one)

    @rule(who=WHO, seed=SEEDS, overlap=st.sampled_from([None, 0.0, 30.0, 4000.0]))
    def change_secrets(self, who: int, seed: int, overlap: float | None) -> None:
        """Rotate the secret of a subscription, or let the newest sign alone."""
        one = self.pick(seed)
        if one is not None and overlap is None:
            self.end_previous_secrets(who, one)
        elif one is not None and overlap is not None:
            self.rotate(who, one, overlap)

    def rotate(self, who: int, one: Subscription, overlap: float) -> None:
        """Give a subscription another secret."""
        secret = f"secret {one.revision} of {one.id}"
        rotate = self.daemon(who).subscriptions.rotate
        try:
            until = self.do(rotate, one.org, one.id, secret, overlap, revisions=None)
        except TooManySecrets:
            assert len(signing(one, self.now)) == MOST_SECRETS
            return
        assert len(signing(one, self.now)) < MOST_SECRETS
        assert until == self.now + timedelta(seconds=overlap)
        one.secrets = [(text, end if end is not None and end < until else until) for text, end in one.secrets]
        one.secrets.append((secret, None))
        one.revision += 1

    def end_previous_secrets(self, who: int, one: Subscription) -> None:
        """Let the newest secret sign alone."""
        assert self.do(self.daemon(who).subscriptions.end_previous_secrets, one.org, one.id, revisions=None)
        if any(end is not None and end > self.now for _, end in one.secrets):
            one.revision += 1
        one.secrets = [(text, None if end is None else min(end, self.now)) for text, end in one.secrets]

    @rule(who=WHO, host=st.sampled_from(HOSTS), limits=st.sampled_from(LIMITS))
    def limit_host(self, who: int, host: str, limits: Limits) -> None:
        self.stage.limits[host] = limits
        self.do(self.daemon(who).apply_limits)
        for row in self.fetch("select * from hookd.host"):
            now = self.stage.limits[row["name"]]
            assert (row["rate"], row["burst"], row["max_in_flight"]) == (now.rate, now.burst, now.in_flight)
            if bucket := self.model.buckets.get(row["id"]):
                bucket.refill(self.now)
                bucket.rate, bucket.burst = now.rate, now.burst
                bucket.tokens = min(now.burst, bucket.tokens)

    def test_an_endpoint(self, who: int, seed: int, count: int) -> None:
        """Take of a host's rate, as requests do that are no deliveries."""
        one = self.pick(seed)
        if one is None:
            return
        found = self.do(self.daemon(who).take_tokens, one.org, one.id, count)
        assert found is not None
        bucket = self.model.buckets[one.host]
        bucket.refill(self.now)
        enough = min(count, max(1.0, bucket.burst))
        if found.wait is None:
            assert bucket.tokens >= enough - 1e-3
            bucket.tokens -= count
        else:
            assert bucket.tokens < enough + 1e-3

    def list_them(self, who: int, org: UUID, limit: int) -> None:
        """Read an organisation's subscriptions page by page, and each by itself."""
        subscriptions = self.daemon(who).subscriptions
        listed: list[UUID] = []
        before: UUID | None = None
        while page := self.do(subscriptions.page, org, limit=limit, before=before):
            listed += [one.id for one in page]
            before = listed[-1]
        mine = {one.id: one for one in self.model.subscriptions.values() if one.org == org}
        assert listed == sorted(mine, reverse=True)
        for one in mine.values():
            found = self.do(subscriptions.get, org, one.id)
            assert found is not None
            assert (found.revision, found.is_active, found.url) == (one.revision, one.active, one.url)
            assert (found.failure_count, found.extras.ordered) == (one.failure_count, one.ordered)


def extras_of(chosen: dict[str, Any]) -> Extras:
    """Return settings as the store takes them."""
    filter_: Filter | None = chosen.get("filter")
    return Extras(
        filter=None if filter_ is None else filter_.text,
        ordered=chosen.get("ordered", False),
        rate_limit=chosen.get("rate_limit"),
        retry_schedule=chosen.get("schedule"),
    )


def signing(one: Subscription, now: Any) -> list[str]:
    """Return the secrets that sign now, newest first."""
    return [text for text, end in reversed(one.secrets) if end is None or end > now]
