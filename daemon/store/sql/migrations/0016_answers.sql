-- What was imperfect in an answer that was read all the same, and those of its headers that help, a line each.
alter table hookd.attempt
    add column note             text,
    add column response_headers text;

-- These take or return more now.
drop function if exists hookd.record;
drop function if exists hookd.attempts_page;
