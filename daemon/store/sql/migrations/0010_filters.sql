-- Filters as trees of allowed parts.
do $$ begin end $$;
