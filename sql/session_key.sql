-- The primary key of the session that a token opens: SHA-256 of the token's text. A client computes the same digest itself
-- and never sends the token; this twin is for psql, for tests and for programs that already run next to the database.
create or replace function :PGSTORE_SCHEMA.session_key(p_token text)
  returns bytea
  language plpgsql
  immutable parallel safe strict
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return sha256(convert_to(p_token, 'UTF8'));
end
$$;
comment on function :PGSTORE_SCHEMA.session_key(text) is
  'The key of the session that a token opens: SHA-256 of the token, 32 bytes.';
