-- name: register
select s.id, s.org_id, s.url, s.events, s.is_active, s.disabled_reason, s.revision, s.created_at, s.description,
    s.metadata::text as metadata, s.headers, s.filter, s.rate_limit, s.ordered, s.timeout, 0 as failure_count
from hookd.register($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb, $13, $14, $15, $16, $17) s

-- name: subscription
select s.id, s.org_id, s.url, s.events, s.is_active, s.disabled_reason, s.revision, s.created_at, s.description,
    s.metadata::text as metadata, s.headers, s.filter, s.rate_limit, s.ordered, s.timeout, l.failure_count
from hookd.subscription s join hookd.lane l on l.subscription_id = s.id
where s.org_id = $1 and s.id = $2

-- name: subscriptions_page
select s.id, s.org_id, s.url, s.events, s.is_active, s.disabled_reason, s.revision, s.created_at, s.description,
    s.metadata::text as metadata, s.headers, s.filter, s.rate_limit, s.ordered, s.timeout, l.failure_count
from hookd.subscription s join hookd.lane l on l.subscription_id = s.id
where s.org_id = $1 and ($2::uuid is null or s.id < $2)
order by s.id desc limit $3

-- name: change
select hookd.change($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::jsonb, $14, $15, $16, $17, $18)

-- name: rotate
select outcome, until from hookd.rotate($1, $2, $3, $4, $5, $6)

-- name: remove
select hookd.remove($1, $2, $3)

-- name: normal_filter
-- As Postgres understands it; fails on one that raises whatever the data is (a variable that is not there).
select f.path::text from (select hookd.filter_path($1) as path) f
where hookd.matches('{}'::jsonb, f.path) is not null

-- name: set_active
select hookd.set_active($1, $2, $3)
