-- The database knows its master key.
do $$ begin end $$;
