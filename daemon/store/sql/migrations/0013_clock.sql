-- One clock, Postgres'.

-- When it was last looked at for retention, and since when it has gone on from there without a leap.
create table hookd.clock_seen (
    only_row   boolean primary key default true check (only_row),
    seen_at    timestamptz not null,
    even_since timestamptz not null
);

-- What one daemon does for all of them: who does it, and until when at the latest. A lock of a session would stay behind
-- wherever a pooler hands the session on.
create table hookd.duty (
    name   text primary key,
    holder uuid not null,
    until  timestamptz not null
);
