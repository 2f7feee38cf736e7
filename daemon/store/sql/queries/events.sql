-- name: publish_bodies
select hookd.publish_bodies($1, $2, $3, $4, $5, $6)

-- name: publish_once
select outcome, event_ids from hookd.publish_once($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: publish
select hookd.publish($1, $2, $3, $4, $5)
