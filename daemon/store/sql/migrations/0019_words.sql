-- What has another name from now on.
drop function if exists hookd.pulse();
