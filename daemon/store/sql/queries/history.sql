-- name: subscription_is_active
select s.is_active from hookd.subscription s where s.org_id = $1 and s.id = $2

-- name: attempts_page
select * from hookd.attempts_page($1, $2, $3, $4, $5, $6, $7, $8)

-- name: owed_page
select * from hookd.owed_page($1, $2, $3, $4, $5, $6, $7)

-- name: delivery_state
select * from hookd.delivery_state($1, $2, $3)

-- name: attempts_of
select * from hookd.attempts_of($1, $2, $3)

-- name: event_of
select * from hookd.event_of($1, $2)

-- name: retry_now
select hookd.retry_now($1, $2, $3)

-- name: redeliver
select outcome, delivery_id from hookd.redeliver($1, $2, $3)
