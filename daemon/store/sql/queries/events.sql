-- name: publish_bodies
select hookd.publish_bodies(p_ids => $1, p_orgs => $2, p_types => $3, p_bodies => $4, p_keys => $5, p_after => $6)

-- name: publish_once
select outcome, event_ids from hookd.publish_once(
    p_org_id => $1, p_key => $2, p_part => $3, p_fingerprint => $4, p_ids => $5, p_orgs => $6,
    p_types => $7, p_bodies => $8, p_keys => $9, p_after => $10)

-- name: publish
select hookd.publish(org_id => $1, type => $2, data => $3, key => $4, deliver_after => $5)
