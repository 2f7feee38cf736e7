-- What readiness watches.
do $$ begin end $$;
