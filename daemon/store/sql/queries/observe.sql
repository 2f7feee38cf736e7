-- name: observe
select * from hookd.observe($1, $2)
