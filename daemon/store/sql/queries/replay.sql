-- name: ask_replay
select outcome, total from hookd.ask_replay(
    p_id => $1, p_org_id => $2, p_subscription_id => $3, p_from => $4, p_to => $5,
    p_only_failed => $6, p_patterns => $7, p_most => $8, p_running => $9, p_running_org => $10)

-- name: settle_routing
select hookd.settle_routing($1)

-- name: count_replayable
select count(*) from hookd.replayable(
    p_org_id => $1, p_subscription_id => $2, p_from => $3, p_to => $4, p_only_failed => $5,
    p_patterns => $6, p_limit => $7)

-- name: replay
select id, subscription_id, coalesce(ended, 'running') as status, total, queued, skipped, created_at, ended_at
from hookd.replay where org_id = $1 and subscription_id = $2 and id = $3
    and exists (select from hookd.subscription s where s.id = $2) -- of a deleted one they go a little later

-- name: replays_page
select id, subscription_id, coalesce(ended, 'running') as status, total, queued, skipped, created_at, ended_at
from hookd.replay where org_id = $1 and subscription_id = $2 and ($3::uuid is null or id < $3)
order by id desc limit $4

-- name: cancel_replay
select hookd.cancel_replay(p_org_id => $1, p_subscription_id => $2, p_id => $3)

-- name: give_up_replay
select hookd.give_up_replay(p_id => $1, p_subscription_id => $2, p_after => $3, p_limit => $4)

-- name: ready_replays
select * from hookd.ready_replays(p_rate => $1, p_limit => $2)

-- name: replays_run
select exists (select from hookd.replay where ended is null)

-- name: feed_replay
select fed, last from hookd.feed_replay(p_id => $1, p_rate => $2, p_after => $3)

-- name: drop_replay_events
select hookd.drop_replay_events($1)
