-- What `hookd dev` left behind in its own server at an earlier run.
drop schema if exists hookd cascade
