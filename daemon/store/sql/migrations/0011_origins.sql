-- Hosts are origins: scheme, name and port.
do $$ begin end $$;
