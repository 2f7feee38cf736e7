-- name: ask_replay
select outcome, total from hookd.ask_replay($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: settle_routing
select hookd.settle_routing($1)

-- name: count_replayable
select count(*) from hookd.replayable($1, $2, $3, $4, $5, $6, $7)

-- name: replay
select id, subscription_id, coalesce(ended, 'running') as status, total, queued, skipped, created_at, ended_at
from hookd.replay where org_id = $1 and subscription_id = $2 and id = $3
    and exists (select from hookd.subscription s where s.id = $2) -- of a deleted one they go a little later

-- name: replays_page
select id, subscription_id, coalesce(ended, 'running') as status, total, queued, skipped, created_at, ended_at
from hookd.replay where org_id = $1 and subscription_id = $2 and ($3::uuid is null or id < $3)
order by id desc limit $4

-- name: cancel_replay
select hookd.cancel_replay($1, $2, $3)

-- name: give_up_replay
select hookd.give_up_replay($1, $2, $3, $4)

-- name: ready_replays
select * from hookd.ready_replays($1, $2)

-- name: replays_run
select exists (select from hookd.replay where ended is null)

-- name: feed_replay
select fed, last from hookd.feed_replay($1, $2, $3)

-- name: drop_replay_events
select hookd.drop_replay_events($1)
