-- Turns at a host by organisation; daemons and their hosts.
do $$ begin end $$;
