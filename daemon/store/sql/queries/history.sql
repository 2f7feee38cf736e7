-- name: subscription_is_active
select s.is_active from hookd.subscription s where s.org_id = $1 and s.id = $2

-- name: attempts_page
select * from hookd.attempts_page(
    p_subscription_id => $1, p_below => $2, p_from => $3, p_to => $4, p_succeeded => $5, p_type => $6,
    p_limit => $7, p_scan => $8)

-- name: pending_page
select * from hookd.pending_page(
    p_org_id => $1, p_subscription_id => $2, p_after_due => $3, p_after_id => $4, p_type => $5,
    p_limit => $6, p_scan => $7)

-- name: delivery_state
select * from hookd.delivery_state(p_org_id => $1, p_subscription_id => $2, p_id => $3)

-- name: attempts_of
select * from hookd.attempts_of(p_subscription_id => $1, p_delivery_id => $2, p_limit => $3)

-- name: event_of
select * from hookd.event_of(p_org_id => $1, p_id => $2)

-- name: retry_now
select hookd.retry_now(p_org_id => $1, p_subscription_id => $2, p_delivery_id => $3)

-- name: redeliver
select outcome, delivery_id from hookd.redeliver(p_org_id => $1, p_subscription_id => $2, p_delivery_id => $3)
