"""Many subscriptions at once: what the API's registrations leave behind, written set by set.

Each registration counts its organisation's subscriptions, so that 100,000 of one, one by one, take too long.
"""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from bench.hookd import EVENT_TYPE, SETTINGS
from bench.postgres import Sql
from daemon.egress.url import parse_url
from daemon.signing.secrets import generate_secret
from daemon.signing.vault import Vault, parse_master_keys
from daemon.uuid7 import uuid7

AT_ONCE = 10_000


def subscribe(sql: Sql, state: Path, wanted: Sequence[tuple[UUID, str]]) -> None:
    """Register a subscription for each organisation and URL; a daemon has run with that state directory.

    Hosts get the limits that `bench.hookd` sets.
    """
    vault = Vault(*parse_master_keys((state / "master.key").read_bytes()))
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        ids = [uuid7() for _ in some]
        sql.execute(
            _SUBSCRIBE,
            ids,
            [org for org, _ in some],
            [url for _, url in some],
            [parse_url(url, https_only=False).host_key for _, url in some],
            [vault.encrypt(generate_secret(), one) for one in ids],
            EVENT_TYPE,
            SETTINGS["hosts.rate"],
            SETTINGS["hosts.burst"],
            SETTINGS["hosts.in_flight"],
        )
    sql.execute("vacuum analyze")


_SUBSCRIBE = """
with x as materialized (
    select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bytea[])
        x(id, org_id, url, host, secret)),
host as materialized (
    select h.name, hookd.host_of(h.name, $7, $8, $9, now()) as id from (select distinct host from x) h(name)),
subscription as (
    insert into hookd.subscription (id, org_id, url, events, created_at)
    select id, org_id, url, array[$6], now() from x),
secret as (
    insert into hookd.subscription_secret (subscription_id, number, ciphertext, created_at)
    select id, 1, secret, now() from x),
interest as (
    insert into hookd.interest (org_id, pattern, subscription_id) select org_id, $6, id from x),
lane as (
    insert into hookd.lane (subscription_id, org_id, host_id)
    select x.id, x.org_id, host.id from x join host on host.name = x.host returning host_id, org_id)
select hookd.join_host(l.host_id, l.org_id, l.lanes)
from (select host_id, org_id, count(*)::integer as lanes from lane group by host_id, org_id) l
"""
