-- name: publish_bodies
select hookd.publish_bodies($1, $2, $3, $4, $5, $6)

-- name: publish
select hookd.publish($1, $2, $3, $4, $5)
