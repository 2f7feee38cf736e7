-- name: register
select s.id, s.org_id, s.url, s.events, s.is_active, s.disabled_reason, s.revision, s.created_at, s.description,
    s.metadata::text as metadata, s.headers, s.filter, s.filter_problem, s.rate_limit, s.ordered, s.timeout,
    s.retry_schedule, 0 as failure_count, $5::bytea as secret
from hookd.register(
    p_id => $1, p_org_id => $2, p_url => $3, p_events => $4, p_ciphertext => $5, p_limit => $6,
    p_host => $7, p_rate => $8, p_burst => $9, p_max_in_flight => $10, p_description => $11,
    p_metadata => $12::text::jsonb, p_headers => $13, p_filter => $14, p_filter_path => $15,
    p_rate_limit => $16, p_ordered => $17, p_timeout => $18, p_retry_schedule => $19, p_active => $20) s

-- name: subscription
select s.id, s.org_id, s.url, s.events, s.is_active, s.disabled_reason, s.revision, s.created_at, s.description,
    s.metadata::text as metadata, s.headers, s.filter, s.filter_problem, s.rate_limit, s.ordered, s.timeout,
    s.retry_schedule, l.failure_count,
    (select k.ciphertext from hookd.subscription_secret k where k.subscription_id = s.id order by k.number desc limit 1) as secret
from hookd.subscription s join hookd.lane l on l.subscription_id = s.id
where s.org_id = $1 and s.id = $2

-- name: subscriptions_page
select s.id, s.org_id, s.url, s.events, s.is_active, s.disabled_reason, s.revision, s.created_at, s.description,
    s.metadata::text as metadata, s.headers, s.filter, s.filter_problem, s.rate_limit, s.ordered, s.timeout,
    s.retry_schedule, l.failure_count,
    (select k.ciphertext from hookd.subscription_secret k where k.subscription_id = s.id order by k.number desc limit 1) as secret
from hookd.subscription s join hookd.lane l on l.subscription_id = s.id
where s.org_id = $1 and ($2::uuid is null or s.id < $2)
order by s.id desc limit $3

-- name: change
select hookd.change(
    p_org_id => $1, p_id => $2, p_revisions => $3, p_given => $4, p_url => $5, p_host => $6,
    p_rate => $7, p_burst => $8, p_max_in_flight => $9, p_events => $10, p_active => $11, p_description => $12,
    p_metadata => $13::text::jsonb, p_headers => $14, p_filter => $15, p_filter_path => $16,
    p_rate_limit => $17, p_ordered => $18, p_timeout => $19, p_retry_schedule => $20)

-- name: rotate
select outcome, until from hookd.rotate(
    p_org_id => $1, p_id => $2, p_ciphertext => $3, p_overlap => $4, p_most => $5, p_revisions => $6)

-- name: end_previous_secrets
select hookd.end_previous_secrets(p_org_id => $1, p_id => $2, p_revisions => $3)

-- name: remove
select hookd.remove(p_org_id => $1, p_id => $2, p_revisions => $3)

-- name: unchecked_filters
-- Oldest first; 'for update', since a filter that is changed meanwhile is checked by whoever changes it.
select s.id, s.filter from hookd.subscription s
where s.filter is not null and s.filter_path is null and s.filter_problem is null order by s.id limit $1 for update

-- name: filters_checked
select hookd.filters_checked(p_ids => $1, p_paths => $2, p_problems => $3)

-- name: filter_problems
select s.id, s.filter_problem, count(*) over () as count from hookd.subscription s
where s.filter_problem is not null order by s.id limit $1

-- name: filters_ahead
select org_id, event_id, subscription_id from hookd.filters_ahead(
    p_shards => $1, p_bulk => $2, p_limit => $3, p_budget => $4)

-- name: filter_time
select set_config('statement_timeout', $1, true)

-- name: try_filter
select hookd.try_filter(p_org_id => $1, p_event_id => $2, p_subscription_id => $3)

-- name: try_event
-- What any filter on it costs before it looks at anything.
select hookd.data_of(e.body) is null from hookd.event e where e.org_id = $1 and e.id = $2

-- name: is_cheap_filter
-- Whether a filter is as the check wrote it, and the event shorter than so many bytes.
select bool_and(i.filter::text is not distinct from s.filter_path::jsonpath::text)
    and bool_and(octet_length(coalesce(e.body, o.data::text)) < $4)
from hookd.event e
left join hookd.inbox o on o.shard = uuid_hash($1) & 31 and o.xid = e.xid and o.org_id = $1 and o.event_id = $2
join hookd.subscription s on s.org_id = $1 and s.id = $3
join hookd.interest i on i.org_id = $1 and i.subscription_id = $3 and i.filter is not null
where e.org_id = $1 and e.id = $2

-- name: block_filter
select hookd.block_filter(p_org_id => $1, p_subscription_id => $2, p_time => $3, p_problem => $4)

-- name: take_tokens
select * from hookd.take_tokens(p_org_id => $1, p_subscription_id => $2, p_count => $3)
