-- Organisations take turns at a host, and their lanes within those.

-- Kept as the subscription has it.
alter table hookd.lane add column org_id uuid;
update hookd.lane l set org_id = s.org_id from hookd.subscription s where s.id = l.subscription_id;
delete from hookd.lane where org_id is null; -- nothing can be sent without its subscription
alter table hookd.lane alter column org_id set not null;
drop index hookd.lane_due;
create index lane_due on hookd.lane (host_id, org_id, proven, due) where due < 'infinity';

-- An organisation at a host: how many lanes it has there. Where there are several organisations also how many requests of
-- these lanes are under way, and ready_at, probe_at: when it has a lane that is due, proven or not, and since when it waits
-- for its turn. None of its lanes is due before the floors. Written under the lock of the host's row only.
create table hookd.host_share (
    host_id     integer not null,
    org_id      uuid not null,
    lanes       integer not null default 0,
    in_flight   integer not null default 0,
    ready_at    timestamptz not null default 'infinity',
    probe_at    timestamptz not null default 'infinity',
    ready_floor timestamptz not null default '-infinity',
    probe_floor timestamptz not null default '-infinity',
    primary key (host_id, org_id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
create index host_share_ready on hookd.host_share (host_id, ready_at) where ready_at < 'infinity';
create index host_share_probe on hookd.host_share (host_id, probe_at) where probe_at < 'infinity';
insert into hookd.host_share (host_id, org_id, lanes, in_flight, ready_at, probe_at)
select l.host_id, l.org_id, count(*), sum(l.in_flight), coalesce(min(l.due) filter (where l.proven), 'infinity'),
    coalesce(min(l.due) filter (where not l.proven), 'infinity')
from hookd.lane l group by l.host_id, l.org_id;

-- owner: the only organisation with lanes at the host; null where there are several, or none. The host's floors are of its
-- lanes, or where there are several organisations of their shares.
alter table hookd.host add column owner uuid;
update hookd.host h set owner = x.org_id, ready_floor = '-infinity', probe_floor = '-infinity'
from (select h.id, case when count(*) = 1 then min(s.org_id::text)::uuid end as org_id
      from hookd.host h join hookd.host_share s on s.host_id = h.id group by h.id) x
where h.id = x.id;

-- The daemons that claim, each with a part of the hosts; and when a claim last came to a host, and which daemon's.
create table hookd.daemon (
    id      uuid primary key,
    seen_at timestamptz not null
);
alter table hookd.host
    add column claimed_at timestamptz not null default '-infinity',
    add column claimed_by integer;

-- These take or return more now.
drop function if exists hookd.settle_hosts(integer[], timestamptz, uuid[], integer[], integer[], integer[], boolean[]);
drop function if exists hookd.standing(uuid, uuid, uuid);
drop function if exists hookd.claim(uuid, integer, integer, interval, boolean, integer[]);
drop function if exists hookd.claim_both(uuid, uuid, integer, integer, interval, integer[]);
drop function if exists hookd.next_due();
