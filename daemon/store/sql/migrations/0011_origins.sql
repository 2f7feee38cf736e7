-- A host is an origin from now on, scheme://host:port: what a URL with the wrong scheme meets at a port says nothing of
-- those with the right one. Where lanes of both schemes shared a row, those of http get one of their own, with the same
-- limits. A request under way stays with the row that it was claimed from, as after a change of the URL.

-- Whoever claims, routes or records waits here: lanes are moved under the locks of their hosts only.
lock table hookd.host in exclusive mode;

-- Due at once: the first claim there finds out when there is something to do.
insert into hookd.host (name, rate, burst, cap, tokens, refilled_at, ready_at, probe_at, ready_floor, probe_floor)
select 'http://' || h.name, h.rate, h.burst, h.cap, h.burst, now(), 'epoch', 'epoch', '-infinity', '-infinity'
from hookd.host h
where h.name not like '%://%' and h.id in (
    select l.host_id from hookd.lane l join hookd.subscription s on s.id = l.subscription_id
    group by l.host_id having count(distinct lower(split_part(s.url, '://', 1))) > 1);

update hookd.lane l set host_id = made.id
from hookd.host h, hookd.host made, hookd.subscription s
where h.name not like '%://%' and made.name = 'http://' || h.name
    and l.host_id = h.id and s.id = l.subscription_id and lower(split_part(s.url, '://', 1)) = 'http';

update hookd.host h set name = coalesce(x.scheme, 'https') || '://' || h.name
from hookd.host k left join (
    select l.host_id, max(lower(split_part(s.url, '://', 1))) as scheme
    from hookd.lane l join hookd.subscription s on s.id = l.subscription_id group by l.host_id) x on x.host_id = k.id
where k.id = h.id and h.name not like '%://%';
