-- name: observe
select * from hookd.observe(p_most => $1, p_lanes => $2)
