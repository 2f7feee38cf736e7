-- name: lock_master_key_check
-- Until the end of the transaction, against other starts: of several first ones, one makes the key and the others find it.
lock table hookd.master_key_check in share row exclusive mode

-- name: master_key_check
select sealed from hookd.master_key_check

-- name: keep_master_key_check
insert into hookd.master_key_check as c (sealed) values ($1)
on conflict (single) do update set sealed = excluded.sealed, sealed_at = excluded.sealed_at

-- name: sealed_by_key
-- How many values each master key, by its id within the sealed form, is still needed for.
select substring(x.sealed from 2 for 8) as key_id, count(*) as sealed
from (
    select k.ciphertext as sealed from hookd.subscription_secret k where k.expires_at is null or k.expires_at > hookd.clock()
    union all
    select s.headers from hookd.subscription s where s.headers is not null) x
group by 1

-- name: newest_secret
select subscription_id, ciphertext from hookd.subscription_secret order by subscription_id desc limit 1
