-- The cluster is remembered; primary keys; locks that no stranger can name.
do $$ begin end $$;
