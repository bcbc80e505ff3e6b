-- Whether session_enter wrote what the setting holds, in this very transaction: a proof, a colon and the note. Compared by digests under
-- the secret, so that the time it takes tells nothing of the proof.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.is_entered(p_proving_key bytea, p_entered text)
  returns boolean
  language sql
  stable parallel restricted
as $$
  select pg_catalog.substr(p_entered, 65, 1) = ':'
    and pg_catalog.sha256(p_proving_key || pg_catalog.convert_to(pg_catalog."left"(p_entered, 64), 'UTF8'))
      = pg_catalog.sha256(p_proving_key || pg_catalog.convert_to(:PGSTORE_SCHEMA.entry_proof(p_proving_key, pg_catalog.substr(p_entered, 66)), 'UTF8'))
$$;
comment on function :PGSTORE_SCHEMA.is_entered(bytea, text) is
  'Whether session_enter wrote this in this transaction; internal.';
