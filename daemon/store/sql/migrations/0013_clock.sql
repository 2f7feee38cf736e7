-- One clock, Postgres'.
do $$ begin end $$;
