-- What publishing and sessions need.
do $$ begin end $$;
