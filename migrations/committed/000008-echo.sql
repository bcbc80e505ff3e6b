--! Previous: sha1:899ea4287a920340df8d4e46c3cbda0b3ac8fca4
--! Hash: sha1:0da8a588cf20d30d397935ac12c31160a80dbc20
--! Message: echo

--! split: 1-current.sql
-- An echo that every partition sends, with its own number.

--! Included announcement_echo.sql
-- Sends an echo to the listeners of <schema>_sessions: {"type", "echo", "n", "from"}. n is the number of the newest announcement, and from
-- differs for each database that sends one, so that a listener knows that it hears every partition, and what it has missed there.
-- Returns how many databases sent it: 1, and behind a proxy the number of partitions.
create or replace function :PGSTORE_SCHEMA.announcement_echo(p_echo text)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_notify(
    ':PGSTORE_SCHEMA' || '_sessions',
    json_build_object(
      'type', 'echo',
      'echo', left(p_echo, 100),
      'n', coalesce(pg_sequence_last_value(':PGSTORE_SCHEMA.announcement'), 0),
      'from', gen_random_uuid()
    )::text
  );
  return 1;
end
$$;
comment on function :PGSTORE_SCHEMA.announcement_echo(text) is
  'Sends an echo on the sessions channel with the number of the newest announcement; returns how many databases sent it.';
--! EndIncluded announcement_echo.sql
