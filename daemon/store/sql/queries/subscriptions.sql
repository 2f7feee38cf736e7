-- name: register
select r.id, r.org_id, r.url, r.events, r.is_active, r.disabled_reason, r.revision, r.created_at, 0 as failure_count
from hookd.register($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) r

-- name: subscription
select s.id, s.org_id, s.url, s.events, s.is_active, s.disabled_reason, s.revision, s.created_at, l.failure_count
from hookd.subscription s join hookd.lane l on l.subscription_id = s.id
where s.org_id = $1 and s.id = $2

-- name: subscriptions_page
select s.id, s.org_id, s.url, s.events, s.is_active, s.disabled_reason, s.revision, s.created_at, l.failure_count
from hookd.subscription s join hookd.lane l on l.subscription_id = s.id
where s.org_id = $1 and ($2::uuid is null or s.id < $2)
order by s.id desc limit $3

-- name: set_active
select hookd.set_active($1, $2, $3)

-- name: newest_secret
select subscription_id, ciphertext from hookd.subscription_secret order by subscription_id desc limit 1
