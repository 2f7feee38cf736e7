-- What was owed is pending: these give columns of other names, or have another name.
drop function if exists hookd.record;
drop function if exists hookd.observe;
drop function if exists hookd.owed_page;
