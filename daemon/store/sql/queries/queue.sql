-- name: open_shards
select * from hookd.open_shards(p_limit => $1, p_shards => $2, p_bulk => $3)

-- name: route_ready
-- Then what is claimed of what was routed, while its hosts are still locked: whoever claims of all hosts cannot take it along.
select r.events, r.transactions, r.cut, r.hosts, r.more, r.shard, r.event_id, r.org_id, r.type, r.data, c.*
from hookd.route_ready(p_limit => $1, p_shards => $2, p_budget => $3, p_hold => $4, p_bulk => $5) r
left join lateral (
    select * from hookd.claim_both(
        p_token => $6, p_probe_token => $7, p_batch => $8, p_probes => $9, p_lease => $10,
        p_rank => $11, p_daemons => $12, p_full => $13, p_full_probes => $14, p_most_of_org => $15,
        p_most_of_org_probes => $16, p_among => r.hosts)
    where not r.cut and r.hosts is not null and $8 > 0 offset 0) c on true

-- name: route
select r.*, c.*
from hookd.route(p_shards => $1, p_limit => $2, p_budget => $3, p_ids => $4, p_orgs => $5, p_bodies => $6, p_problems => $7) r
left join lateral (
    select * from hookd.claim_both(
        p_token => $8, p_probe_token => $9, p_batch => $10, p_probes => $11, p_lease => $12,
        p_rank => $13, p_daemons => $14, p_full => $15, p_full_probes => $16, p_most_of_org => $17,
        p_most_of_org_probes => $18, p_among => r.hosts)
    where not r.cut and r.hosts is not null and $10 > 0 offset 0) c on true

-- name: defer_shards
select hookd.defer_shards(p_shards => $1, p_time => $2)

-- name: poll
select inbox, due, current_setting('transaction_read_only') = 'on' as read_only,
    current_setting('max_prepared_transactions') <> '0' as unhinted
from hookd.poll()

-- name: stay_awake
select hookd.stay_awake($1)

-- name: notify
select pg_notify($1, '')

-- name: claim_both
select * from hookd.claim_both(
    p_token => $1, p_probe_token => $2, p_batch => $3, p_probes => $4, p_lease => $5, p_rank => $6,
    p_daemons => $7, p_full => $8, p_full_probes => $9, p_most_of_org => $10,
    p_most_of_org_probes => $11)

-- name: attend
select rank, daemons from hookd.attend(p_id => $1, p_for => $2)

-- name: leave
select hookd.leave($1)

-- name: targets
-- Where and with what to sign: the newest secret first, then those that still overlap.
select s.id, s.org_id, s.revision, s.url, s.timeout, s.retry_schedule, s.headers,
    array(select k.ciphertext from hookd.subscription_secret k
          where k.subscription_id = s.id and (k.expires_at is null or k.expires_at > hookd.clock())
          order by k.number desc) as secrets,
    (select min(k.expires_at) from hookd.subscription_secret k
     where k.subscription_id = s.id and k.expires_at > hookd.clock()) as secrets_until
from hookd.subscription s where s.id = any ($1)

-- name: record
-- The columns of a batch are named by results.py.
select counted, pending from hookd.record(p_done => $1, p_disable_after => $2, {results})

-- name: expired_leases
select * from hookd.expired_leases($1)

-- name: leased
select * from hookd.leased($1)

-- name: repair
select * from hookd.repair(p_after => $1, p_limit => $2)

-- name: body
select e.body from hookd.subscription s join hookd.event e on e.org_id = s.org_id and e.id = $2 where s.id = $1

-- name: open_circuits
select h.id as host_id, h.name, h.circuit_trips as trips,
    extract(epoch from h.blocked_until - hookd.clock())::float8 as blocked_for
from hookd.host h where h.id = any ($1) and hookd.circuit_open(h.circuit_failures)
